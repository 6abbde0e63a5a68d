"""The quarantine: where files are kept that nobody may load, and the way back, byte for byte.

A file or a package's folder leaves its place by one rename into the vault, so it is there or here and never half. Where
the vault is on another file system, or the file has other names (hard links), it is copied first and taken away by one
rename or unlink after that. What was begun and not ended, by a kill say, is ended or undone by `recover`, which the
record in the vault tells how: before the first change it says where things stand and what they are. The names of what
is kept begin with the digest of its item, so that what has lost its record is held back all the same.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins import AetherraError
from aetherra.plugins.self_incorporation.gate.decision import Ground
from aetherra.plugins.self_incorporation.gate.whole import clear, content_of, copy, put, sync
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.storage import StateFile

__all__ = [
    "QuarantineError",
    "QuarantineManager",
    "QuarantineState",
    "QuarantineStatistics",
    "Quarantined",
]

QuarantineState: TypeAlias = Literal["moving", "kept", "releasing", "released", "deleting", "deleted", "given_up"]
_BEGUN: Final = frozenset(["moving", "releasing", "deleting"])
_LOCKED: Final = 0
_NAMED: Final = 16
"""Characters of an item's digest that the name of what is kept begins with."""


class QuarantineError(AetherraError, OSError):
    """Something could not be set aside, given back or deleted; nothing was changed."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path!r}: {self.problem}"


class Quarantined(Struct, frozen=True, kw_only=True):
    """What is or was in quarantine.

    Attributes:
        id: Its name here.
        root: The folder that was scanned.
        path: Relative to it, in the written form of `paths.written`.
        digest: Of the item that was set aside.
        content: SHA-256 of all that was moved: names, modes, times and bytes.
        folder: Whether it is a package's folder.
        mode: Permissions of the file or folder, to be given back.
        mtime_ns: Likewise its time of change.
        size: In bytes, of all files.
        reason: Why, in a sentence.
        rationale: Of the decision that led here.
        by: Who set it aside.
        at: Unix time.
        state: Where it stands: ``kept``, ``released``, ``deleted``, or on the way to one of these; ``given_up`` is what
            came to nothing and is not remembered.
        reviewed_by: Who has looked at it last, and what they said: ``review``.
        review: What they said.
        ended_by: Who released or deleted it, or has begun to.
        ended_at: Unix time; 0 while it is kept.
    """

    id: str
    root: str
    path: str
    digest: str
    content: str
    folder: bool
    mode: int
    mtime_ns: int
    size: int
    reason: str
    rationale: tuple[Ground, ...] = ()
    by: str = ""
    at: float
    state: QuarantineState
    reviewed_by: str = ""
    review: str = ""
    ended_by: str = ""
    ended_at: float = 0.0

    @property
    def place(self) -> Path:
        """Where it was taken from."""
        return Path(original(self.root)) / original(self.path)


class QuarantineStatistics(Struct, frozen=True):
    """How many are kept, and how many people released and deleted; the bytes that are kept, and records unread."""

    kept: int
    released: int
    deleted: int
    reviewed: int
    bytes_kept: int
    unreadable: int


class _Records(NamedTuple):
    """All records as they are at one moment; never changed, so that any thread may read them."""

    by_id: Mapping[str, Quarantined]
    by_digest: Mapping[str, tuple[Quarantined, ...]]

    @classmethod
    def of(cls, records: Iterable[Quarantined]) -> _Records:
        by_id = {record.id: record for record in records}
        by_digest: dict[str, tuple[Quarantined, ...]] = {}
        for record in by_id.values():
            by_digest[record.digest] = (*by_digest.get(record.digest, ()), record)
        return cls(by_id, by_digest)


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
        self._step = step or _no_step
        self._changing = threading.RLock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records = _Records.of(())
        self._stuck: Mapping[str, str] = {}
        self._unknown: frozenset[str] = frozenset()
        self.unreadable: tuple[str, ...] = ()
        self._load()

    def _load(self) -> None:
        decoder = msgspec.json.Decoder(Quarantined)
        found: dict[str, Quarantined] = {}
        lost: dict[str, str] = {}
        for file in sorted(self.folder.glob("*.json")):
            try:
                record = decoder.decode(file.read_bytes())
            except (OSError, ValueError, RecursionError) as exc:
                lost[file.stem] = f"the record {str(file)!r} cannot be read: {exc}"
            else:
                if record.id == file.stem:
                    found[record.id] = record
                else:
                    lost[file.stem] = f"{str(file)!r} is the record of another"
        for file in sorted([*self.folder.glob("*.json.corrupt-*"), *self.folder.glob("*.quarantined")]):
            id = file.name.partition(".")[0]  # noqa: A001 - what it is called
            if id not in found:
                lost.setdefault(id, f"{str(file)!r} is kept without a record")
        self._records = _Records.of(found.values())
        self._unknown = frozenset(id.partition("-")[0] for id in lost)  # noqa: A001 - what it is called
        self.unreadable = tuple(
            f"{problem}; what it is of is held back until the record is mended, or both are taken away by hand"
            for problem in lost.values()
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What somebody must look after: records that cannot be read, and what can be neither ended nor undone."""
        return (*self.unreadable, *self._stuck.values())

    def quarantine(
        self, root: str, path: str, *, digest: str, reason: str, by: str, rationale: tuple[Ground, ...] = (),
        unchanged: Callable[[Path], bool] | None = None,
    ) -> Quarantined:  # fmt: skip
        """Take a file or folder out of its place, so that nothing can load it, and keep it.

        Args:
            root: The folder that was scanned.
            path: Relative to it, in the written form of `paths.written`.
            digest: Of the item.
            reason: Why.
            by: Who.
            rationale: Of the decision.
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
            if self._within(place):
                raise QuarantineError(path, "cannot be set aside: the vault itself lies within it")
            if unchanged is not None and not unchanged(place):
                raise QuarantineError(path, "changed since it was judged; scan and judge again")
            content, size = self._sum(path, place)
            record = Quarantined(
                id=f"{digest[:_NAMED]}-{secrets.token_hex(4)}",
                root=root,
                path=path,
                digest=digest,
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
            self._save(record)
            try:
                self._take(record)
                return self._save(msgspec.structs.replace(record, state="kept"))
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
            self._sound(record)
            leaving = self._save(msgspec.structs.replace(record, state="releasing", ended_by=by))
            try:
                self._give_back(leaving)
            except Exception:
                self._ended_or_stuck(leaving, self._recover)
                raise
            return self._save(self._ended(leaving, "released"))

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
            return self._deleted(self._save(msgspec.structs.replace(record, state="deleting", ended_by=by)))

    def review(self, id: str, *, by: str, says: str) -> Quarantined:  # noqa: A002 - what it is called
        """Note that a person has looked at it, and what they said.

        Raises:
            QuarantineError: There is none of that name.
            DataFileError: The record cannot be written.
        """
        with self._changing:
            return self._save(msgspec.structs.replace(self.get(id), reviewed_by=by, review=says))

    def get(self, id: str) -> Quarantined:  # noqa: A002 - what it is called
        """Return one record.

        Raises:
            QuarantineError: There is none of that name.
        """
        try:
            return self._records.by_id[id]
        except KeyError:
            raise QuarantineError(id, "there is nothing of that name in quarantine") from None

    def all(self, *, kept: bool = False) -> list[Quarantined]:
        """Return the records, latest first; with ``kept`` only of what is here."""
        records = self._records.by_id.values()
        found = [record for record in records if not kept or record.state in ("kept", "deleting")]
        return sorted(found, key=lambda record: (-record.at, record.id))

    def holds(self, digest: str) -> bool:
        """Say whether exactly this item is set aside, or was and is deleted: it does not come back by another way.

        What a record that cannot be read is of is held, too.
        """
        found = self._records.by_digest.get(digest, ())
        return any(record.state != "released" for record in found) or digest[:_NAMED] in self._unknown

    def gave_back(self, digest: str) -> bool:
        """Say whether a person has released exactly this item."""
        return any(record.state == "released" for record in self._records.by_digest.get(digest, ()))

    def statistics(self) -> QuarantineStatistics:
        """Count."""
        records = list(self._records.by_id.values())
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
                if record.state == "kept" and not os.path.lexists(self._vault(record)):
                    why = f"{record.path!r} was kept at {str(self._vault(record))!r} and is gone from there"
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
            stuck[record.id] = f"{begun}; its record is {str(self._record(record))!r}"
            return None
        finally:
            self._stuck = stuck

    def _recover(self, record: Quarantined) -> Quarantined:
        clear(self._part(record))
        clear(_arriving(record))
        if record.state == "deleting":
            return self._deleted(record)
        if record.state == "moving":
            return self._taken_or_not(record)
        there, here = os.path.lexists(record.place), os.path.lexists(self._vault(record))
        if not here and not there:
            raise QuarantineError(record.path, "it is neither in its place nor here, as somebody took it meanwhile")
        if _is_whole(record, record.place):  # given back, and not forgotten here yet
            clear(self._vault(record))
            record.place.chmod(record.mode)
            here = False
        if not here:  # given back, and maybe worked on since
            return self._save(self._ended(record, "released"))
        _lock(self._vault(record))
        return self._save(msgspec.structs.replace(record, state="kept", ended_by=""))

    def _taken_or_not(self, record: Quarantined) -> Quarantined:
        """End what was to be set aside if it is here as it was, and is its place's no more; else undo it."""
        vault, place, leftover = self._vault(record), record.place, _leftover(record)
        if not os.path.lexists(vault) or _is_whole(record, place):
            return self._give_up(record)
        with _unlocked(vault, record.mode):
            whole = _is_whole(record, vault)
        if not whole or (os.path.lexists(leftover) and not _is_whole(record, leftover)):
            return self._give_up(record)
        clear(leftover)
        return self._save(msgspec.structs.replace(record, state="kept"))

    def _give_up(self, record: Quarantined) -> Quarantined:
        """Put what was to be set aside back if it is gone from its place, and forget that it was."""
        vault, place, leftover = self._vault(record), record.place, _leftover(record)
        away = os.path.lexists(vault) or os.path.lexists(leftover)
        if away and os.path.lexists(place) and not _is_whole(record, place):
            raise QuarantineError(record.path, f"something else stands at {str(place)!r}")
        if os.path.lexists(leftover) and not os.path.lexists(place):
            leftover.rename(place)
        if os.path.lexists(place):
            clear(vault)
            clear(leftover)
            _give_mode(record, record.mode)
        elif os.path.lexists(vault):
            self._give_back(record)
        clear(self._part(record))
        self._record(record).unlink(missing_ok=True)
        sync(self.folder)
        self._records = _Records.of(each for each in self._records.by_id.values() if each.id != record.id)
        return msgspec.structs.replace(record, state="given_up")

    def _take(self, record: Quarantined) -> None:
        vault, place = self._vault(record), record.place
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
        if not _is_whole(record, vault):
            raise QuarantineError(record.path, "changed while it was set aside; it is back in its place")
        _lock(vault)
        sync(self.folder, place.parent)
        self._step("locked")

    def _take_copy(self, record: Quarantined) -> None:
        vault, place, part, leftover = self._vault(record), record.place, self._part(record), _leftover(record)
        try:
            self._step("copy")
            copy(place, part)
            if not _is_whole(record, part):
                raise QuarantineError(record.path, "changed while it was set aside; it stays in its place")
            part.rename(vault)
            sync(self.folder)
            self._step("copied")
            place.rename(leftover)  # what remains is under a name that nothing loads
            sync(place.parent)
            self._step("away")
            if not _is_whole(record, leftover):
                raise QuarantineError(record.path, "changed while it was set aside; it is back in its place")
            clear(leftover)
        except QuarantineError:
            raise
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be set aside: {exc.strerror or exc}") from exc

    def _give_back(self, record: Quarantined) -> None:
        vault, place, arriving = self._vault(record), record.place, _arriving(record)
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
            sync(place.parent, self.folder)
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be released: {exc.strerror or exc}") from exc

    def _deleted(self, record: Quarantined) -> Quarantined:
        self._step("delete")
        try:
            clear(self._vault(record))
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be deleted: {exc.strerror or exc}") from exc
        self._stuck = {id: why for id, why in self._stuck.items() if id != record.id}  # noqa: A001 - what it is called
        return self._save(self._ended(record, "deleted"))

    def _ended(self, record: Quarantined, state: QuarantineState) -> Quarantined:
        return msgspec.structs.replace(record, state=state, ended_at=self._clock())

    def _kept(self, id: str, *others: QuarantineState) -> Quarantined:  # noqa: A002 - what it is called
        record = self.get(id)
        if record.state in _BEGUN:  # once more: what was in the way may be gone
            record = self._ended_or_stuck(record, self._recover) or record
        if record.state != "kept" and record.state not in others:
            raise QuarantineError(record.path, f"is not kept here any more: it was {record.state}")
        return record

    def _sound(self, record: Quarantined) -> None:
        vault = self._vault(record)
        with _unlocked(vault, record.mode):
            if self._sum(record.path, vault)[0] != record.content:
                raise QuarantineError(record.path, f"is no more what was set aside: {str(vault)!r} was changed")

    def _sum(self, path: str, place: Path) -> tuple[str, int]:
        try:
            return content_of(place)
        except OSError as exc:
            raise QuarantineError(path, f"cannot be read: {exc.strerror or exc}") from exc

    def _save(self, record: Quarantined) -> Quarantined:
        StateFile(self._record(record), Quarantined).save(record)
        self._records = _Records.of({**self._records.by_id, record.id: record}.values())
        return record

    def _record(self, record: Quarantined) -> Path:
        return self.folder / f"{record.id}.json"

    def _vault(self, record: Quarantined) -> Path:
        return self.folder / f"{record.id}.quarantined"

    def _part(self, record: Quarantined) -> Path:
        return self.folder / f"{record.id}.part"

    def _within(self, place: Path) -> bool:
        return self.folder.resolve().is_relative_to(place.resolve())


def _no_step(_: str) -> None:
    pass


def _is_whole(record: Quarantined, place: Path) -> bool:
    try:
        return content_of(place)[0] == record.content
    except OSError:
        return False


def _give_mode(record: Quarantined, mode: int) -> None:
    """Give a mode to what is in its place, if it is of the kind that it was."""
    kind = stat.S_IFMT(record.place.lstat().st_mode)
    if kind == (stat.S_IFDIR if record.folder else stat.S_IFREG):
        record.place.chmod(mode)


def _leftover(record: Quarantined) -> Path:
    """Where the original waits to be deleted once there is a copy of it."""
    return record.place.with_name(f".{record.id}.leaving")


def _arriving(record: Quarantined) -> Path:
    """Where a copy grows on its way back."""
    return record.place.with_name(f".{record.id}.arriving")


def _lock(vault: Path) -> None:
    vault.chmod(_LOCKED)


class _unlocked:  # noqa: N801 - reads as what it does
    """Lets what is kept be read for as long as it is looked at."""

    def __init__(self, vault: Path, mode: int) -> None:
        self._vault, self._mode = vault, mode | (0o700 if vault.is_dir() else 0o400)

    def __enter__(self) -> None:
        self._vault.chmod(self._mode)

    def __exit__(self, *_: object) -> None:
        _lock(self._vault)
