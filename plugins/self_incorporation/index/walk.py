"""What lies under a root: every file, every path that is no file to read, every folder left out.

Links are not followed, so a loop cannot be entered: a link is itself a refusal, whatever it points at. Left out, and
always reported, are the folders of version control (``.git .hg .svn``), of caches (``__pycache__ .mypy_cache
.ruff_cache .pytest_cache .tox .nox .hypothesis``), of installed things (``node_modules``, ``.venv``, ``venv``, and any
other folder that holds a ``pyvenv.cfg``) and our own ``.aetherra``. ``build``, ``dist`` and ``*.egg-info`` are walked:
what lies there is shipped or run, and would be a good place to hide.
"""

import os
import stat
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.index.paths import written

__all__ = ["EXCLUDED_FOLDERS", "ExcludedFolder", "FoundFile", "RefusedFolder", "Stamp", "Walked", "walk"]

EXCLUDED_FOLDERS = frozenset(
    [
        ".git",
        ".hg",
        ".svn",
        ".aetherra",
        "__pycache__",
        ".venv",
        "node_modules",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
    ]
)
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Stamp(Struct, frozen=True):
    """What the file system says of a file's content without reading it.

    The change time stands beside the modification time because a program can set the latter back.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Take the stamp from a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class FoundFile(Struct, frozen=True):
    """A regular file: its written path relative to the root, its place, and its stamp."""

    path: str
    location: str
    stamp: Stamp


class ExcludedFolder(Struct, frozen=True):
    """A folder that was not entered, on purpose."""

    path: str


class RefusedFolder(Struct, frozen=True):
    """A folder that could not be listed."""

    refusal: Refusal


Walked: TypeAlias = FoundFile | Refusal | ExcludedFolder | RefusedFolder


def walk(root: str, *, excluded: AbstractSet[str] = EXCLUDED_FOLDERS) -> Iterator[Walked]:
    """Yield all that lies under a root, in an order that depends on names alone.

    A root that is a file yields that file, by its name. The root itself is never left out.

    Raises:
        OSError: The root itself cannot be looked at.
    """
    top = Path(root)
    if not stat.S_ISDIR(top.stat().st_mode):
        yield _look(root, written(top.name), top.stat)
        return
    folders = [(root, "")]
    while folders:
        location, prefix = folders.pop()
        try:
            with os.scandir(location) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as exc:
            yield RefusedFolder(Refusal(prefix.rstrip("/") or ".", "unreadable", _why(exc)))
            continue
        if prefix and any(entry.name == "pyvenv.cfg" and entry.is_file(follow_symlinks=False) for entry in entries):
            yield ExcludedFolder(prefix.rstrip("/"))
            continue
        inner: list[tuple[str, str]] = []
        for entry in entries:
            path = prefix + written(entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield _look(entry.path, path, partial(entry.stat, follow_symlinks=False))
            elif entry.name in excluded:
                yield ExcludedFolder(path)
            else:
                inner.append((entry.path, path + "/"))
        folders.extend(reversed(inner))


def _look(location: str, path: str, status_of: Callable[[], os.stat_result]) -> FoundFile | Refusal:
    try:
        status = status_of()
        if stat.S_ISREG(status.st_mode):
            return FoundFile(path, location, Stamp.of(status))
        if stat.S_ISLNK(status.st_mode):
            return Refusal(path, "symlink", f"a link to {written(str(Path(location).readlink()))} is not followed")
    except OSError as exc:
        return Refusal(path, "unreadable", _why(exc))
    kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "a special file")
    return Refusal(path, "not_a_regular_file", f"{kind} is never opened")


def _why(exc: OSError) -> str:
    return exc.strerror or str(exc)
