"""What lies under a root: every file, every path that is no file to read, every folder left out; folder by folder.

Links are not followed, so a loop cannot be entered: a link is itself a refusal, whatever it points at. Left out, and
always reported, are the folders of version control (``.git .hg .svn``), of caches (``__pycache__ .mypy_cache
.ruff_cache .pytest_cache .tox .nox .hypothesis``), of installed things (``node_modules``, ``.venv``, ``venv``, and any
other folder that holds a ``pyvenv.cfg``), our own ``.aetherra``, and those that `Tree` is told to leave out. ``build``,
``dist`` and ``*.egg-info`` are walked: what lies there is shipped or run, and would be a good place to hide.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.index.paths import original, written

__all__ = [
    "EXCLUDED_FOLDERS",
    "ExcludedFolder",
    "Folder",
    "FoundFile",
    "RefusedFolder",
    "Stamp",
    "Tree",
    "Walked",
    "folder_of",
]

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


class Folder(Struct, frozen=True):
    """A folder that was listed: its written path relative to the root, and all that is in it but folders, by name."""

    path: str
    items: tuple[FoundFile | Refusal, ...]


class ExcludedFolder(Struct, frozen=True):
    """A folder that was not entered, on purpose."""

    path: str


class RefusedFolder(Struct, frozen=True):
    """A folder that could not be listed."""

    refusal: Refusal


Walked: TypeAlias = Folder | ExcludedFolder | RefusedFolder
_PENDING: TypeAlias = tuple[str, str]


class Tree:
    """A root, and what of it is not entered.

    Paths are relative to the root, in the written form of `paths.written`; the root itself is ``""``. A root that is a
    file is a folder of that one file.

    Args:
        root: Where it is: absolute, and no link on the way.
        excluded: Names of folders not to enter.
        apart: Folders not to enter, by their absolute paths: such as the one that the index lies in, which would
            otherwise change at each scan for having been scanned.
    """

    def __init__(
        self, root: str, *, excluded: AbstractSet[str] = EXCLUDED_FOLDERS, apart: AbstractSet[str] = frozenset()
    ) -> None:
        self.root = root
        self._excluded, self._apart = excluded, apart

    def walk(self, folder: str = "") -> Iterator[Walked]:
        """Yield all that lies under a folder, and the folder first, in an order that depends on names alone.

        The folder itself is never left out.

        Raises:
            OSError: The root cannot be looked at.
        """
        if not folder and not stat.S_ISDIR(Path(self.root).stat().st_mode):
            yield Folder("", (_look(self.root, written(Path(self.root).name), Path(self.root).stat),))
            return
        pending: list[_PENDING] = [(self._location(folder), folder and folder + "/")]
        while pending:
            location, prefix = pending.pop()
            inner: list[_PENDING] = []
            yield from self._list(location, prefix, inner)
            pending.extend(reversed(inner))

    def look(self, folder: str) -> Iterator[Walked]:
        """Yield what lies right in a folder, and none of what lies deeper."""
        return self._list(self._location(folder), folder and folder + "/", [])

    def find(self, path: str) -> FoundFile | Refusal | None:
        """Return what a walk would find at one path, or None if it would find nothing there."""
        location = self._location(path)
        if not self.reaches(folder_of(path)) or not os.path.lexists(location) or _is_folder(location):
            return None
        return _look(location, path, Path(location).lstat)

    def reaches(self, folder: str) -> bool:
        """Say whether a walk from the root would enter a folder: it is there, and no link or left-out one above it."""
        above = [folder[: match.start()] for match in re.finditer("/", folder)] if folder else []
        entered = (each for each in (*above, folder) if each)
        return all(self.may_enter(each) and not _is_regular(f"{self._location(each)}/pyvenv.cfg") for each in entered)

    def leaves_out(self, folder: str) -> bool:
        """Say whether a walk would come upon a folder and not enter it, on purpose."""
        return _is_folder(self._location(folder)) and self.reaches(folder_of(folder)) and not self.reaches(folder)

    def may_enter(self, folder: str) -> bool:
        """Say whether a path is a folder, and none to leave out by its name or its place."""
        location = self._location(folder)
        name = location.rpartition("/")[2]
        return name not in self._excluded and location not in self._apart and _is_folder(location)

    def count(self, should_stop: Callable[[], bool]) -> int:
        """Return how many files and links a walk would find, quickly; fewer if it is told to stop."""
        if not Path(self.root).is_dir():
            return 1
        total, pending = 0, [self.root]
        while pending and not should_stop():
            location = pending.pop()
            try:
                with os.scandir(location) as listing:
                    entries = list(listing)
            except OSError:
                continue
            if location != self.root and _is_environment(entries):
                continue
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    total += 1
                elif not self._is_left_out(entry):
                    pending.append(entry.path)
        return total

    def _location(self, folder: str) -> str:
        return f"{self.root}/{original(folder)}" if folder else self.root

    def _is_left_out(self, entry: os.DirEntry[str]) -> bool:
        return entry.name in self._excluded or entry.path in self._apart

    def _list(self, location: str, prefix: str, inner: list[_PENDING]) -> Iterator[Walked]:
        try:
            with os.scandir(location) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as exc:
            yield RefusedFolder(Refusal(prefix.rstrip("/") or ".", "unreadable", _why(exc)))
            return
        if prefix and _is_environment(entries):
            yield ExcludedFolder(prefix.rstrip("/"))
            return
        items: list[FoundFile | Refusal] = []
        for entry in entries:
            path = prefix + written(entry.name)
            if not entry.is_dir(follow_symlinks=False):
                items.append(_look(entry.path, path, partial(entry.stat, follow_symlinks=False)))
            elif self._is_left_out(entry):
                yield ExcludedFolder(path)
            else:
                inner.append((entry.path, path + "/"))
        yield Folder(prefix.rstrip("/"), tuple(items))


def folder_of(path: str) -> str:
    """Return the folder that a path lies in."""
    return path.rpartition("/")[0]


def _is_folder(location: str) -> bool:
    return stat.S_ISDIR(_mode(location))


def _is_regular(location: str) -> bool:
    return stat.S_ISREG(_mode(location))


def _mode(location: str) -> int:
    try:
        return Path(location).lstat().st_mode
    except OSError:
        return 0


def _is_environment(entries: list[os.DirEntry[str]]) -> bool:
    return any(entry.name == "pyvenv.cfg" and entry.is_file(follow_symlinks=False) for entry in entries)


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
