"""The quarantine: where files are kept that nobody may load, and the way back, byte for byte.

A file or a package's folder leaves its place by one rename into the vault, so it is there or here and never half. Where
the vault is on another file system, or the file has other names (hard links), it is copied first and taken away by one
rename or unlink after that. What was begun and not ended, by a kill say, is ended or undone by `recover`, which the
record in the vault tells how: before the first change it says where things stand and what they are. The names of what
is kept begin with the digest of its item, so that what has lost its record is held back all the same.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from aetherra.plugins.self_incorporation.gate.decision import Ground
from aetherra.plugins.self_incorporation.gate.quarantine_records import NAMED, QuarantineRecords
from aetherra.plugins.self_incorporation.gate.quarantined import (
    Quarantined,
    QuarantineError,
    QuarantineState,
    QuarantineStatistics,
)
from aetherra.plugins.self_incorporation.gate.vault import (
    Vault,
    arriving_of,
    give_mode,
    is_whole,
    leftover_of,
    lock,
    unlocked,
)
from aetherra.plugins.self_incorporation.gate.whole import clear
from aetherra.plugins.self_incorporation.index.paths import original

__all__ = ["QuarantineManager"]

_BEGUN: Final = frozenset(["moving", "releasing", "deleting"])


class QuarantineManager:
    """The vault, of one process. Any thread may use it, and who only asks never waits.

    It never decides: who may set aside, release or delete is the caller's to know.

    Args:
        folder: The vault, made if need be, for this user alone.
        clock: Unix time.
        step: Called with the name of each step before it is taken, so that tests may stop at any.

    Attributes:
        unreadable: What is wrong with each record that cannot be read, or is missing. It stays where it is, and so does
            what is kept under it; exactly this item is held back.

    Raises:
        OSError: The folder cannot be made or read.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float], step: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self._clock = clock
        self._changing = threading.RLock()
        self._vault = Vault(folder, step)
        self._records = QuarantineRecords(folder)
        self._stuck: Mapping[str, str] = {}
        self.unreadable = self._records.unreadable

    @property
    def problems(self) -> tuple[str, ...]:
        """What somebody must look after: records that cannot be read, and what can be neither ended nor undone."""
        return (*self.unreadable, *self._stuck.values())

    def quarantine(
        self, root: str, path: str, *, digest: str, reason: str, by: str, rationale: tuple[Ground, ...] = (),
        known_as: str = "", unchanged: Callable[[Path], bool] | None = None,
    ) -> Quarantined:  # fmt: skip
        """Take a file or folder out of its place, so that nothing can load it, and keep it.

        Args:
            root: The folder that was scanned.
            path: Relative to it, in the written form of `paths.written`.
            digest: Of the item.
            reason: Why.
            by: Who.
            rationale: Of the decision.
            known_as: What the item is known by under any name.
            unchanged: Says of the place whether it still is what was judged; asked before anything is moved.

        Raises:
            QuarantineError: It is not there, is no regular file or folder, changed, or cannot be moved; it stays where
                it is, and nothing is remembered of it.
            DataFileError: The record cannot be written; likewise.
        """
        place = Path(original(root)) / original(path)
        with self._changing:
            try:
                told = place.lstat()
            except OSError as exc:
                raise QuarantineError(path, f"cannot be set aside: {exc.strerror or exc}") from exc
            folder = stat.S_ISDIR(told.st_mode)
            if not folder and not stat.S_ISREG(told.st_mode):
                raise QuarantineError(path, "cannot be set aside: expected a regular file or a folder")
            if self._vault.lies_within(place):
                raise QuarantineError(path, "cannot be set aside: the vault itself lies within it")
            if unchanged is not None and not unchanged(place):
                raise QuarantineError(path, "changed since it was judged; scan and judge again")
            content, size = self._vault.sum(path, place)
            record = Quarantined(
                id=f"{digest[:NAMED]}-{secrets.token_hex(4)}",
                root=root,
                path=path,
                digest=digest,
                known_as=known_as,
                content=content,
                folder=folder,
                mode=stat.S_IMODE(told.st_mode),
                mtime_ns=told.st_mtime_ns,
                size=size,
                reason=reason,
                rationale=rationale,
                by=by,
                at=self._clock(),
                state="moving",
            )
            self._records.save(record)
            try:
                self._vault.take(record)
                return self._records.save(msgspec.structs.replace(record, state="kept"))
            except Exception:
                self._ended_or_stuck(record, self._give_up)
                raise

    def release(self, id: str, *, by: str) -> Quarantined:  # noqa: A002 - what it is called
        """Give back what is kept, at its place and as it was: bytes, modes, times.

        Raises:
            QuarantineError: It is not kept, its place is taken, or it is no more what was set aside; it stays here.
            DataFileError: The record cannot be written. Where it is already in its place, the next start notes it.
        """
        with self._changing:
            record = self._kept(id)
            if os.path.lexists(record.place):
                raise QuarantineError(
                    record.path, f"cannot be released: something else stands at {str(record.place)!r}; move it away"
                )
            self._vault.check(record)
            leaving = self._records.save(msgspec.structs.replace(record, state="releasing", ended_by=by))
            try:
                self._vault.give_back(leaving)
            except Exception:
                self._ended_or_stuck(leaving, self._recover)
                raise
            return self._records.save(self._ended(leaving, "released"))

    def delete(self, id: str, *, by: str) -> Quarantined:  # noqa: A002 - what it is called
        """Delete what is kept for good; the record stays.

        Raises:
            QuarantineError: It is not kept, or cannot be deleted: calling again goes on.
            DataFileError: The record cannot be written; likewise.
        """
        with self._changing:
            record = self.get(id)
            if record.state != "deleting":
                record = self._kept(id, "releasing")
            return self._deleted(self._records.save(msgspec.structs.replace(record, state="deleting", ended_by=by)))

    def review(self, id: str, *, by: str, says: str) -> Quarantined:  # noqa: A002 - what it is called
        """Note that a person has looked at it, and what they said.

        Raises:
            QuarantineError: There is none of that name.
            DataFileError: The record cannot be written.
        """
        with self._changing:
            return self._records.save(msgspec.structs.replace(self.get(id), reviewed_by=by, review=says))

    def get(self, id: str) -> Quarantined:  # noqa: A002 - what it is called
        """Return one record.

        Raises:
            QuarantineError: There is none of that name.
        """
        record = self._records.get(id)
        if record is None:
            raise QuarantineError(id, "there is nothing of that name in quarantine")
        return record

    def all(self, *, kept: bool = False) -> list[Quarantined]:
        """Return the records, latest first; with ``kept`` only of what is here."""
        records = self._records.all()
        return [record for record in records if not kept or record.state in ("kept", "deleting")]

    def holds(self, digest: str) -> bool:
        """Say whether this item is set aside, or was and is deleted: it does not come back by another way or name.

        Asked by its digest, and by what it is known as.
        What a record that cannot be read is of is held, too.
        """
        found = self._records.of(digest)
        return any(record.state != "released" for record in found) or self._records.may_be_lost(digest)

    def gave_back(self, digest: str) -> bool:
        """Say whether a person has released exactly this item."""
        return any(record.state == "released" for record in self._records.of(digest))

    def statistics(self) -> QuarantineStatistics:
        """Count."""
        records = self._records.all()
        kept = [record for record in records if record.state in ("kept", "deleting")]
        return QuarantineStatistics(
            kept=len(kept),
            released=sum(record.state == "released" for record in records),
            deleted=sum(record.state == "deleted" for record in records),
            reviewed=sum(bool(record.reviewed_by) for record in records),
            bytes_kept=sum(record.size for record in kept),
            unreadable=len(self.unreadable),
        )

    def recover(self) -> list[Quarantined]:
        """End or undo what was begun and not ended, each by itself, and return what that came to. Call it at start.

        What can be neither is left as it is, for the next start, and is among the `problems`.
        """
        with self._changing:
            for record in self.all(kept=True):
                if record.state == "kept" and not os.path.lexists(self._vault.place(record)):
                    why = f"{record.path!r} was kept at {str(self._vault.place(record))!r} and is gone from there"
                    self._stuck = {**self._stuck, record.id: f"{why}; delete it from quarantine to end this"}
            done = [self._ended_or_stuck(record, self._recover) for record in self.all() if record.state in _BEGUN]
        return [record for record in done if record is not None]

    def _ended_or_stuck(self, record: Quarantined, end: Callable[[Quarantined], Quarantined]) -> Quarantined | None:
        """End or undo what was begun; where that fails, keep why, and return nothing."""
        stuck = {id: why for id, why in self._stuck.items() if id != record.id}  # noqa: A001 - what it is called
        try:
            return end(record)
        except OSError as exc:
            why = exc.problem if isinstance(exc, QuarantineError) else str(exc)
            begun = f"{record.path!r} was {record.state}, and that can be neither ended nor undone: {why}"
            stuck[record.id] = f"{begun}; its record is {str(self._records.place(record))!r}"
            return None
        finally:
            self._stuck = stuck

    def _recover(self, record: Quarantined) -> Quarantined:
        clear(self._vault.part(record))
        clear(arriving_of(record))
        if record.state == "deleting":
            return self._deleted(record)
        if record.state == "moving":
            return self._taken_or_not(record)
        there, here = os.path.lexists(record.place), os.path.lexists(self._vault.place(record))
        if not here and not there:
            raise QuarantineError(record.path, "it is neither in its place nor here, as somebody took it meanwhile")
        if is_whole(record, record.place):  # given back, and not forgotten here yet
            clear(self._vault.place(record))
            record.place.chmod(record.mode)
            here = False
        if not here:  # given back, and maybe worked on since
            return self._records.save(self._ended(record, "released"))
        lock(self._vault.place(record))
        return self._records.save(msgspec.structs.replace(record, state="kept", ended_by=""))

    def _taken_or_not(self, record: Quarantined) -> Quarantined:
        """End what was to be set aside if it is here as it was, and is its place's no more; else undo it."""
        vault, place, leftover = self._vault.place(record), record.place, leftover_of(record)
        if not os.path.lexists(vault) or is_whole(record, place):
            return self._give_up(record)
        with unlocked(vault, record.mode):
            whole = is_whole(record, vault)
        if not whole or (os.path.lexists(leftover) and not is_whole(record, leftover)):
            return self._give_up(record)
        clear(leftover)
        return self._records.save(msgspec.structs.replace(record, state="kept"))

    def _give_up(self, record: Quarantined) -> Quarantined:
        """Put what was to be set aside back if it is gone from its place, and forget that it was."""
        vault, place, leftover = self._vault.place(record), record.place, leftover_of(record)
        away = os.path.lexists(vault) or os.path.lexists(leftover)
        if away and os.path.lexists(place) and not is_whole(record, place):
            raise QuarantineError(record.path, f"something else stands at {str(place)!r}")
        if os.path.lexists(leftover) and not os.path.lexists(place):
            leftover.rename(place)
        if os.path.lexists(place):
            clear(vault)
            clear(leftover)
            give_mode(record, record.mode)
        elif os.path.lexists(vault):
            self._vault.give_back(record)
        clear(self._vault.part(record))
        self._records.forget(record)
        return msgspec.structs.replace(record, state="given_up")

    def _deleted(self, record: Quarantined) -> Quarantined:
        self._vault.delete(record)
        self._stuck = {id: why for id, why in self._stuck.items() if id != record.id}  # noqa: A001 - what it is called
        return self._records.save(self._ended(record, "deleted"))

    def _ended(self, record: Quarantined, state: QuarantineState) -> Quarantined:
        return msgspec.structs.replace(record, state=state, ended_at=self._clock())

    def _kept(self, id: str, *others: QuarantineState) -> Quarantined:  # noqa: A002 - what it is called
        record = self.get(id)
        if record.state in _BEGUN:  # once more: what was in the way may be gone
            record = self._ended_or_stuck(record, self._recover) or record
        if record.state != "kept" and record.state not in others:
            raise QuarantineError(record.path, f"is not kept here any more: it was {record.state}")
        return record
