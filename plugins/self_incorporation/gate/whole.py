"""A file or a folder as a whole: what tells it from any other, and how it is copied, put in its place and removed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from aetherra.plugins.self_incorporation.index.reading import regular_file

__all__ = ["clear", "content_of", "copy", "put", "sync"]

_CHUNK = 1 << 20


def content_of(place: Path) -> tuple[str, int]:
    """Return a digest of a file or tree: every name, kind, mode, time and byte but those of the top; and its size."""
    whole = hashlib.sha256()
    size = 0
    for name, path in _below(place):
        told = path.lstat()
        if stat.S_ISREG(told.st_mode):
            said, length = _digest(path)
            size += length
        elif stat.S_ISLNK(told.st_mode):
            said = os.fsencode(path.readlink()).hex()
        else:
            said = "" if stat.S_ISDIR(told.st_mode) else "special"
        mode = 0 if not name else told.st_mode
        when = told.st_mtime_ns if not stat.S_ISLNK(told.st_mode) else 0
        whole.update(repr((name, stat.S_IFMT(told.st_mode), mode, when, said)).encode())
    return whole.hexdigest(), size


def _below(place: Path) -> Iterator[tuple[bytes, Path]]:
    """Yield what is copied, by its name from the top, the top first, in an order that depends on names alone."""
    yield b"", place
    if place.is_symlink() or not place.is_dir():
        return
    for folder, folders, files in os.walk(place, onerror=_raise):
        folders.sort(key=os.fsencode)
        for name in sorted([*folders, *files], key=os.fsencode):
            path = Path(folder) / name
            yield os.fsencode(path.relative_to(place)), path


def _raise(error: OSError) -> None:
    raise error


def _digest(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    length = 0
    with regular_file(path) as (descriptor, _):
        while chunk := os.read(descriptor, _CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return digest.hexdigest(), length


def copy(source: Path, target: Path) -> None:
    """Copy a file or tree with modes and times, links as links; on disk when this returns."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
    else:
        _copy_file(source, target)


def _copy_file(source: str | Path, target: str | Path) -> None:
    if not Path(source).is_symlink() and not stat.S_ISREG(Path(source).lstat().st_mode):
        raise OSError(errno.EINVAL, "a special file cannot be copied")
    shutil.copy2(source, target, follow_symlinks=False)
    if not Path(target).is_symlink():
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put(source: Path, place: Path, folder: bool) -> None:
    """Put a file or a folder in its place.

    Raises:
        FileExistsError: Something else stands there.
    """
    if folder:
        if os.path.lexists(place):
            raise FileExistsError(errno.EEXIST, "something else stands there")
        source.rename(place)
        return
    os.link(source, place, follow_symlinks=False)
    source.unlink()


def clear(place: Path) -> None:
    """Remove what is there, if anything is, whatever its modes are."""
    try:
        told = place.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(told.st_mode):
        place.chmod(0o700)
        for folder, folders, _ in os.walk(place):
            for below in (Path(folder, name) for name in folders):
                if not below.is_symlink():
                    below.chmod(0o700)  # before it is read in its turn
        shutil.rmtree(place)
    else:
        place.unlink()


def sync(*folders: Path) -> None:
    """Have the disk know what lies in some folders."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
