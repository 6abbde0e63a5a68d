"""The vault: how a file or folder gets into it and back to its place, whole in one of the two at every step."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined, QuarantineError
from aetherra.plugins.self_incorporation.gate.whole import clear, content_of, copy, put, sync

__all__ = ["Vault", "arriving_of", "give_mode", "is_whole", "leftover_of", "lock", "unlocked"]

_LOCKED: Final = 0


class Vault:
    """Moves what is set aside. It decides nothing and remembers nothing.

    Args:
        folder: The vault, made if need be, for this user alone.
        step: Called with the name of each step before it is taken, so that tests may stop at any.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: Path, step: Callable[[str], None] | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._step = step or _no_step

    def place(self, record: Quarantined) -> Path:
        """Return where it is kept."""
        return self._folder / f"{record.id}.quarantined"

    def part(self, record: Quarantined) -> Path:
        """Return where a copy of it grows."""
        return self._folder / f"{record.id}.part"

    def lies_within(self, place: Path) -> bool:
        """Say whether the vault itself is, or lies below, a place."""
        return self._folder.resolve().is_relative_to(place.resolve())

    def take(self, record: Quarantined) -> None:
        """Take it out of its place, so that nothing can load it; by a copy where one rename cannot.

        Raises:
            QuarantineError: It cannot be moved, or changed meanwhile. Where it is then, `QuarantineManager` sees to.
        """
        vault, place = self.place(record), record.place
        try:
            self._step("take")
            if record.folder:
                place.chmod(record.mode | 0o700)  # its entry for the folder above is rewritten
            elif place.lstat().st_nlink > 1:
                raise OSError(errno.EXDEV, "other names would be locked, too")
            self._step("rename")
            place.rename(vault)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise QuarantineError(record.path, f"cannot be set aside: {exc.strerror or exc}") from exc
            self._take_copy(record)
        self._step("taken")
        if not is_whole(record, vault):
            raise QuarantineError(record.path, "changed while it was set aside; it is back in its place")
        lock(vault)
        sync(self._folder, place.parent)
        self._step("locked")

    def _take_copy(self, record: Quarantined) -> None:
        vault, place, part, leftover = self.place(record), record.place, self.part(record), leftover_of(record)
        try:
            self._step("copy")
            copy(place, part)
            if not is_whole(record, part):
                raise QuarantineError(record.path, "changed while it was set aside; it stays in its place")
            part.rename(vault)
            sync(self._folder)
            self._step("copied")
            place.rename(leftover)  # what remains is under a name that nothing loads
            sync(place.parent)
            self._step("away")
            if not is_whole(record, leftover):
                raise QuarantineError(record.path, "changed while it was set aside; it is back in its place")
            clear(leftover)
        except QuarantineError:
            raise
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be set aside: {exc.strerror or exc}") from exc

    def give_back(self, record: Quarantined) -> None:
        """Put it back into its place.

        Raises:
            QuarantineError: It cannot be moved.
        """
        vault, place, arriving = self.place(record), record.place, arriving_of(record)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._step("unlock")
            vault.chmod(record.mode | (0o700 if record.folder else 0))
            try:
                self._step("give")
                put(vault, place, record.folder)
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise
                self._step("copy back")
                copy(vault, arriving)
                self._step("arrived")
                put(arriving, place, record.folder)
                sync(place.parent)
                self._step("copied back")
                clear(vault)
            self._step("given")
            place.chmod(record.mode)
            sync(place.parent, self._folder)
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be released: {exc.strerror or exc}") from exc

    def delete(self, record: Quarantined) -> None:
        """Delete it for good.

        Raises:
            QuarantineError: It cannot be deleted.
        """
        self._step("delete")
        try:
            clear(self.place(record))
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be deleted: {exc.strerror or exc}") from exc

    def check(self, record: Quarantined) -> None:
        """See that what is kept is what was set aside.

        Raises:
            QuarantineError: It was changed, or cannot be read.
        """
        vault = self.place(record)
        with unlocked(vault, record.mode):
            if self.sum(record.path, vault)[0] != record.content:
                raise QuarantineError(record.path, f"is no more what was set aside: {str(vault)!r} was changed")

    def sum(self, path: str, place: Path) -> tuple[str, int]:
        """Return what tells the content of a place from any other, and its size.

        Raises:
            QuarantineError: It cannot be read.
        """
        try:
            return content_of(place)
        except OSError as exc:
            raise QuarantineError(path, f"cannot be read: {exc.strerror or exc}") from exc


def _no_step(_: str) -> None:
    pass


def is_whole(record: Quarantined, place: Path) -> bool:
    """Say whether a place holds exactly what was set aside."""
    try:
        return content_of(place)[0] == record.content
    except OSError:
        return False


def give_mode(record: Quarantined, mode: int) -> None:
    """Give a mode to what is in its place, if it is of the kind that it was."""
    kind = stat.S_IFMT(record.place.lstat().st_mode)
    if kind == (stat.S_IFDIR if record.folder else stat.S_IFREG):
        record.place.chmod(mode)


def leftover_of(record: Quarantined) -> Path:
    """Where the original waits to be deleted once there is a copy of it."""
    return record.place.with_name(f".{record.id}.leaving")


def arriving_of(record: Quarantined) -> Path:
    """Where a copy grows on its way back."""
    return record.place.with_name(f".{record.id}.arriving")


def lock(vault: Path) -> None:
    """Have nobody read what is kept."""
    vault.chmod(_LOCKED)


class unlocked:  # noqa: N801 - reads as what it does
    """Lets what is kept be read for as long as it is looked at."""

    def __init__(self, vault: Path, mode: int) -> None:
        self._vault, self._mode = vault, mode | (0o700 if vault.is_dir() else 0o400)

    def __enter__(self) -> None:
        self._vault.chmod(self._mode)

    def __exit__(self, *_: object) -> None:
        lock(self._vault)
