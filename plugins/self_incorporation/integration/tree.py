"""The tree: the files and folders that integrations look after, and the way from one state of them to another.

A change is taken to its end from wherever a crash left it: each path is at any moment as it was before or as it is to
be, since a file is written beside its place, synced, and put there in one step.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.index.paths import original, written
from aetherra.plugins.self_incorporation.integration.blobs import Blobs, look, sync_folder, telling
from aetherra.plugins.self_incorporation.integration.errors import PlaceChangedError

__all__ = ["Change", "File", "Folder", "Side", "State", "Tree"]

BESIDE = ".aetherra-new-"
CACHE = "__pycache__"
NEW = 0o700
"""Permissions of a folder until all that is to be in it is."""


class File(Struct, frozen=True, tag="file"):
    """A regular file: the SHA-256 of its content in hex, its size, its permission bits."""

    sha256: str
    size: int
    mode: int


class Folder(Struct, frozen=True, tag="folder"):
    """A folder, and its permission bits."""

    mode: int


State: TypeAlias = File | Folder | None
"""What is at a path; ``None`` for nothing."""
Side: TypeAlias = Literal["before", "after"]


class Change(Struct, frozen=True):
    """What was at a path, and what is to be there.

    Attributes:
        place: One of the tree's places, by name.
        path: Relative to it, in the written form of `paths.written`.
        before: What was there.
        after: What is to be.
    """

    place: str
    path: str
    before: State
    after: State


class Tree:
    """Some places on disk, each a folder of its own, and the blobs of what is and was in them.

    Args:
        places: By name; made when they are first written to.
        blobs: Where contents are kept.
    """

    def __init__(self, places: Mapping[str, Path], blobs: Blobs) -> None:
        self.places = dict(places)
        self.blobs = blobs

    def path(self, place: str, path: str) -> Path:
        """Return the path of the operating system.

        Raises:
            ValueError: It leads out of its place.
        """
        parts = PurePosixPath(original(path)).parts
        if not parts or ".." in parts or parts[0].startswith("/"):
            raise ValueError(f"expected a path below {place!r}, got {path!r}")
        return self.places[place].joinpath(*parts)

    def state(self, place: str, path: str, *, keep: bool = False) -> State:
        """Return what is at a path now.

        Args:
            place: Which.
            path: Relative to it, written.
            keep: Whether its content is put among the blobs.

        Raises:
            PlaceChangedError: It is neither a file nor a folder, or a folder on the way to it is none.
            DataFileError: It cannot be read.
        """
        target = self.path(place, path)
        self._refuse_detour(place, target)
        with telling(target, "read"):
            try:
                told = target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        if stat.S_ISDIR(told.st_mode):
            return Folder(stat.S_IMODE(told.st_mode))
        if not stat.S_ISREG(told.st_mode):
            raise PlaceChangedError(str(target), "it is neither a regular file nor a folder; remove it")
        blob = self.blobs.take(target) if keep else look(target)
        return File(blob.sha256, blob.size, blob.mode)

    def _refuse_detour(self, place: str, target: Path) -> None:
        base = self.places[place]
        for folder in target.relative_to(base).parents:
            if (base / folder).is_symlink() and folder.parts:
                raise PlaceChangedError(str(base / folder), "it is a symbolic link; remove it")

    def change(self, place: str, top: str, wanted: Mapping[str, File], *, keep: bool = True) -> tuple[Change, ...]:
        """Return what it takes for ``top`` to hold these files and nothing else.

        Args:
            place: Which.
            top: A path below it, written: that of the only file, or of the folder of all; what is there now goes.
            wanted: Files by their paths, written, from the place on.
            keep: Whether what is there now is put among the blobs.

        Raises:
            PlaceChangedError: Something there is neither a file nor a folder.
            DataFileError: It cannot be read, or kept.
            ValueError: A path is not below ``top``.
        """
        after: dict[str, State] = {}
        for path, file in wanted.items():
            if path != top and not path.startswith(f"{top}/"):
                raise ValueError(f"expected a path below {top!r}, got {path!r}")
            after[path] = file
            for folder in PurePosixPath(path).parents:
                if folder.parts:
                    after.setdefault(str(folder), Folder(0o755))
        above = {str(folder) for folder in PurePosixPath(top).parents if folder.parts}
        changes: list[Change] = []
        for path in sorted({*after, *self._below(place, top)}):
            before, wish = self.state(place, path, keep=keep), after.get(path)
            if isinstance(before, Folder) and (isinstance(wish, Folder) or path in above):
                continue  # a folder that is there stays as it is
            if before != wish:
                changes.append(Change(place, path, before, wish))
        return tuple(changes)

    def _below(self, place: str, top: str) -> Iterable[str]:
        """Yield the path and all that is below it."""
        target = self.path(place, top)
        self._refuse_detour(place, target)
        if not os.path.lexists(target):
            return
        yield top
        if target.is_dir() and not target.is_symlink():
            with telling(target, "listed"):
                names = sorted(os.listdir(target))  # noqa: PTH208  # names alone, in any bytes
            for name in names:
                yield from self._below(place, f"{top}/{written(name)}")

    def differing(self, changes: Sequence[Change], *sides: Side) -> list[tuple[Change, State]]:
        """Return the changes whose path is on none of these sides now, with what is there.

        Raises:
            PlaceChangedError: Something there is neither a file nor a folder.
            DataFileError: It cannot be read.
        """
        found: list[tuple[Change, State]] = []
        for change in changes:
            now = self.state(change.place, change.path)
            allowed = {getattr(change, side) for side in sides}
            if len(sides) > 1 and type(change.before) is not type(change.after):
                allowed |= {None, Folder(NEW)}  # a file that becomes a folder is nothing in between, then a new one
            if now not in allowed:
                found.append((change, now))
        return found

    def become(self, changes: Sequence[Change], side: Side) -> tuple[str, ...]:
        """Have each path be as it is on one side, from wherever it is; it survives a power cut when this returns.

        What is so already is left alone. It may be called again after a crash in the middle of it.

        Returns:
            Folders that could not be removed, as somebody else has put something there.

        Raises:
            DataFileError: A file cannot be written or removed, or a blob is damaged or gone.
        """
        wanted = [(self.path(change.place, change.path), getattr(change, side)) for change in changes]
        touched: set[Path] = set()
        left: list[str] = []
        for folder in {target.parent for target, _ in wanted}:
            self._sweep(folder)
        for target, wish in sorted(wanted, key=lambda pair: -len(pair[0].parts)):
            if not isinstance(wish, Folder) and (problem := self._clear(target, wish, touched)):
                left.append(problem)
        for target, wish in sorted(wanted, key=lambda pair: len(pair[0].parts)):
            if isinstance(wish, Folder):
                self._make(target, touched)
        for number, (target, wish) in enumerate(wanted):
            if isinstance(wish, File):
                self._put(target, wish, touched, number)
        for target, wish in sorted(wanted, key=lambda pair: -len(pair[0].parts)):
            if isinstance(wish, Folder):
                self._permit(target, wish, touched)
        for folder in sorted(touched):
            if folder.is_dir():
                with telling(folder, "synced"):
                    sync_folder(folder)
        return tuple(left)

    def _clear(self, target: Path, wish: State, touched: set[Path]) -> str:
        """Remove what is not to be at a path; return what is left there against all wishes."""
        with telling(target, "removed"):
            try:
                told = target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return ""
            touched.add(target.parent)
            if not stat.S_ISDIR(told.st_mode):
                if wish is None:
                    target.unlink()
                return ""
            self._sweep(target)
            _sweep_cache(target / CACHE)
            try:
                target.rmdir()
            except OSError:
                if not any(target.iterdir()):
                    raise
                return f"{target}: somebody has put files there"
            return ""

    def _sweep(self, folder: Path) -> None:
        """Remove what a killed process was writing."""
        with telling(folder, "tidied up"):
            for left in folder.glob(f"{BESIDE}*"):
                left.unlink()

    def _make(self, target: Path, touched: set[Path]) -> None:
        with telling(target, "made"):
            try:
                told = target.lstat()
            except (FileNotFoundError, NotADirectoryError):
                pass
            else:
                if stat.S_ISDIR(told.st_mode):
                    return
                target.unlink()
            target.mkdir(mode=NEW, parents=True)
            target.chmod(NEW)
            touched.update((target, target.parent))

    def _permit(self, target: Path, wish: Folder, touched: set[Path]) -> None:
        with telling(target, "given its permissions"):
            if stat.S_IMODE(target.lstat().st_mode) != wish.mode:
                target.chmod(wish.mode)
                touched.add(target)

    def _put(self, target: Path, wish: File, touched: set[Path], number: int) -> None:
        with telling(target, "written"):
            beside = target.with_name(f"{BESIDE}{number}")
            beside.unlink(missing_ok=True)
            if target.is_file() and not target.is_symlink():
                blob = look(target)
                if blob.sha256 == wish.sha256:
                    if blob.mode != wish.mode:
                        target.chmod(wish.mode)
                        touched.add(target.parent)
                    return
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.blobs.write(wish.sha256, beside, wish.mode)
            os.replace(beside, target)  # noqa: PTH105
            touched.add(target.parent)


def _sweep_cache(folder: Path) -> None:
    """Remove the interpreter's compiled files, if there is nothing else among them."""
    if not folder.is_symlink() and folder.is_dir():
        compiled = list(folder.iterdir())
        if all(path.suffix == ".pyc" for path in compiled):
            for path in compiled:
                path.unlink()
            folder.rmdir()
