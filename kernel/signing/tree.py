"""The files below a folder, each read through the folder that it stands in, so that no link leads elsewhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from aetherra.kernel.signing.disk import CHUNK, opened, why

DEEPEST = 64
"""Folders in one another that are looked into."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


Size = Annotated[int, Meta(ge=0, lt=2**53)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class ManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that was read whole: where it is, with ``/`` between folders, and what is in it."""

    path: str
    sha256: Digest
    size: Size


class Fault(msgspec.Struct, frozen=True):
    """Something that is no file to rely on, and why."""

    path: str
    problem: str


def walk(top: Path, only: AbstractSet[str] | None = None) -> Iterator[ManifestFile | Fault]:
    """Read all files below a folder, or only those, and say of everything else but folders what is wrong with it.

    Symbolic links are not followed, at any place of a path. Empty folders count for nothing.
    """
    wanted = None if only is None else only | folders_of(only)
    try:
        descriptor = os.open(top, FOLDER)
    except OSError as exc:
        yield Fault("", f"cannot look into it: {why(exc)}")
        return
    yield from _below(descriptor, "", DEEPEST, wanted)


def read(path: Path) -> ManifestFile | Fault:
    """Read one file, as ``walk`` does, under its own name; it is no symbolic link."""
    return _read(str(path), path.name)


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return all folders that these files are in, near and far."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _digest(path: str, within: int | None) -> tuple[str, int]:
    with opened(path, within=within) as (descriptor, before):
        sha = hashlib.sha256()
        size = 0
        while part := os.read(descriptor, CHUNK):
            sha.update(part)
            size += len(part)
        after = os.fstat(descriptor)
    if size != after.st_size or _stamp(before) != _stamp(after):
        raise OSError(0, "it changed while it was read; try again")
    return sha.hexdigest(), size


def _stamp(told: os.stat_result) -> tuple[int, int, int]:
    return told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _below(
    descriptor: int, prefix: str, deeper: int, wanted: AbstractSet[str] | None
) -> Iterator[ManifestFile | Fault]:
    try:
        try:
            with os.scandir(descriptor) as listing:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing)
        except OSError as exc:
            yield Fault(prefix.rstrip("/"), f"cannot look into it: {why(exc)}")
            return
        for name, is_folder in entries:
            if wanted is not None and prefix + name not in wanted:
                continue
            if is_folder:
                yield from _inside(descriptor, name, prefix + name, deeper, wanted)
            else:
                yield _read(name, prefix + name, descriptor)
    finally:
        os.close(descriptor)


def _inside(
    descriptor: int, name: str, path: str, deeper: int, wanted: AbstractSet[str] | None
) -> Iterator[ManifestFile | Fault]:
    if not deeper:
        yield Fault(path, f"is nested deeper than {DEEPEST} folders")
        return
    try:
        folder = os.open(name, FOLDER, dir_fd=descriptor)
    except OSError as exc:
        yield Fault(path, f"cannot look into it: {why(exc)}")
        return
    yield from _below(folder, path + "/", deeper - 1, wanted)


def _read(location: str, path: str, within: int | None = None) -> ManifestFile | Fault:
    try:
        return ManifestFile(path, *_digest(location, within))
    except OSError as exc:
        return Fault(path, why(exc))
