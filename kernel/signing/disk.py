"""How keys, rings and signatures are read and written: regular files only, bounded, whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from aetherra.kernel.datadir import sync_folder

NO_WAIT = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""How a file is opened that may be anything: a pipe without a writer makes nobody wait."""
CHUNK = 1 << 18
"""Bytes read at once."""


@contextmanager
def opened(
    path: Path | str, *, within: int | None = None, follow: bool = False
) -> Generator[tuple[int, os.stat_result]]:
    """Open a regular file to read, and tell what it is.

    Args:
        path: Which one.
        within: The descriptor of the folder that ``path`` is relative to.
        follow: Whether a symbolic link will do.

    Raises:
        OSError: It is not there, not readable, a symbolic link or no regular file; the text says which.
    """
    descriptor = os.open(path, NO_WAIT | (0 if follow else os.O_NOFOLLOW), dir_fd=within)
    try:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(0, "it is no regular file")
        yield descriptor, told
    finally:
        os.close(descriptor)


def read_bounded(descriptor: int, limit: int) -> bytes:
    """Read an open file to its end.

    Raises:
        OSError: It cannot be read, or has more than ``limit`` bytes.
    """
    parts: list[bytes] = []
    size = 0
    while part := os.read(descriptor, CHUNK):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise OSError(0, f"it has more than {limit:,} bytes")
    return b"".join(parts)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for this user alone; what is there stays, and a power cut takes none away.

    Raises:
        OSError: It cannot be made, or there is something else.
    """
    if not folder.is_dir():
        if folder.parent != folder:
            make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Put a file in its place in one step, on disk when this returns; what was there stays if that does not go.

    A symbolic link there is replaced, and not followed.

    Raises:
        OSError: It cannot be written.
    """
    beside = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        write_new(beside, data, mode=mode)
        beside.replace(path)
        sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that is not there yet, and have the disk have it.

    Raises:
        FileExistsError: There is one; it stays as it is.
        OSError: It cannot be written; nothing is left of it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def placed(path: Path) -> Path:
    """Return an absolute path with the name that something has in its folder; the thing itself may be a link."""
    if path.name in ("", ".."):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def why(fault: OSError) -> str:
    """Say what was wrong, without the path."""
    if fault.errno == errno.ELOOP:  # what O_NOFOLLOW answers
        return "it is a symbolic link"
    return fault.strerror or str(fault)
