"""The quarantine: where files are kept that nobody may load, and the way back, byte for byte.

A file or a package's folder leaves its place by one rename into the vault, so it is there or here and never half. Where
the vault is on another file system, or the file has other names (hard links), it is copied first and taken away by one
rename or unlink after that. What was begun and not ended, by a kill say, is ended or undone by `recover`, which the
record in the vault tells how: before the first change it says where things stand and what they are.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins import AetherraError
from aetherra.plugins.self_incorporation.gate.decision import Ground
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.storage import StateFile

__all__ = [
    "QuarantineError",
    "QuarantineManager",
    "QuarantineState",
    "QuarantineStatistics",
    "Quarantined",
]

QuarantineState: TypeAlias = Literal["moving", "kept", "releasing", "released", "deleting", "deleted"]
_LOCKED: Final = 0
_CHUNK = 1 << 20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


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
        state: Where it stands: ``kept``, ``released``, ``deleted``, or on the way to one of these.
        reviewed_by: Who has looked at it last, and what they said: ``review``.
        review: What they said.
        ended_by: Who released or deleted it.
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
    """How many were ever set aside, and what became of them; the bytes that are kept now, and vault entries unread."""

    kept: int
    released: int
    deleted: int
    reviewed: int
    bytes_kept: int
    unreadable: int


class QuarantineManager:
    """The vault. One thread at a time; one process, as the data directory is one host's.

    It never decides: who may set aside, release or delete is the caller's to know.

    Args:
        folder: The vault, made if need be, for this user alone.
        clock: Unix time.
        step: Called with the name of each step before it is taken, so that tests may stop at any.

    Raises:
        OSError: The folder cannot be made.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float], step: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self._clock = clock
        self._step = step or _no_step
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records: dict[str, Quarantined] = {}
        self.unreadable: list[str] = []
        self._load()

    def _load(self) -> None:
        for file in sorted(self.folder.glob("*.json")):
            stored: StateFile[Quarantined] = StateFile(file, Quarantined)
            record = stored.load()
            if record is None or record.id != file.stem:
                self.unreadable.append(stored.problem or f"{file} is the record of another")
            else:
                self._records[record.id] = record

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
                it is.
        """
        place = Path(original(root)) / original(path)
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
            id=f"{content[:16]}-{secrets.token_hex(4)}",
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
        except Exception:
            self._recover(record)
            raise
        return self._save(msgspec.structs.replace(record, state="kept"))

    def release(self, id: str, *, by: str) -> Quarantined:  # noqa: A002 - what it is called
        """Give back what is kept, at its place and as it was: bytes, modes, times.

        Raises:
            QuarantineError: It is not kept, its place is taken, or it is no more what was set aside; it stays here.
        """
        record = self._kept(id)
        if os.path.lexists(record.place):
            raise QuarantineError(
                record.path, f"cannot be released: something else stands at {str(record.place)!r}; move it away"
            )
        self._sound(record)
        leaving = self._save(msgspec.structs.replace(record, state="releasing"))
        try:
            self._give_back(leaving)
        except Exception:
            self._recover(leaving, by)
            raise
        return self._save(_ended(record, "released", by, self._clock()))

    def delete(self, id: str, *, by: str) -> Quarantined:  # noqa: A002 - what it is called
        """Delete what is kept for good; the record stays.

        Raises:
            QuarantineError: It is not kept, or cannot be deleted: calling again goes on.
        """
        return self._deleted(self._save(msgspec.structs.replace(self._kept(id, "deleting"), state="deleting")), by)

    def review(self, id: str, *, by: str, says: str) -> Quarantined:  # noqa: A002 - what it is called
        """Note that a person has looked at it, and what they said.

        Raises:
            QuarantineError: There is none of that name.
        """
        return self._save(msgspec.structs.replace(self.get(id), reviewed_by=by, review=says))

    def get(self, id: str) -> Quarantined:  # noqa: A002 - what it is called
        """Return one record.

        Raises:
            QuarantineError: There is none of that name.
        """
        try:
            return self._records[id]
        except KeyError:
            raise QuarantineError(id, "there is nothing of that name in quarantine") from None

    def all(self, *, kept: bool = False) -> list[Quarantined]:
        """Return the records, latest first; with ``kept`` only of what is here."""
        found = [record for record in self._records.values() if not kept or record.state in ("kept", "deleting")]
        return sorted(found, key=lambda record: (-record.at, record.id))

    def holds(self, digest: str) -> bool:
        """Say whether exactly this item is set aside, or was and is deleted: it does not come back by another way."""
        return any(record.digest == digest and record.state != "released" for record in self._records.values())

    def gave_back(self, digest: str) -> bool:
        """Say whether a person has released exactly this item."""
        return any(record.digest == digest and record.state == "released" for record in self._records.values())

    def content(self, id: str, *, limit: int = 100_000) -> dict[str, bytes]:  # noqa: A002 - what it is called
        """Return the beginning of each file that is kept, by its path within the item, for a person to review."""
        record = self._kept(id)
        vault = self._vault(record)
        with _unlocked(vault, record.mode):
            files = sorted(vault.rglob("*")) if record.folder else [vault]
            return {
                str(file.relative_to(vault)) if record.folder else record.place.name: _head(file, limit)
                for file in files
                if stat.S_ISREG(file.lstat().st_mode)
            }

    def statistics(self) -> QuarantineStatistics:
        """Count."""
        records = list(self._records.values())
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
        """End or undo what was begun and not ended, and return what that came to. Call it at start.

        Raises:
            QuarantineError: It can be neither; says why.
        """
        return [self._recover(record) for record in self.all() if record.state in ("moving", "releasing", "deleting")]

    def _recover(self, record: Quarantined, by: str = "recovery") -> Quarantined:
        self._clear(self._part(record))
        if record.state == "deleting":
            return self._deleted(record, by)
        there, here = self._is_whole(record, record.place), os.path.lexists(self._vault(record))
        self._clear(_arriving(record))
        if record.state == "moving" and not here:
            if there:
                record.place.chmod(record.mode)
            return self._save(_ended(record, "released", by, self._clock()))
        if there:  # copied and not yet taken away, or given back and not yet forgotten
            self._clear(self._vault(record))
            record.place.chmod(record.mode)
            return self._save(_ended(record, "released", by, self._clock()))
        if not here:
            raise QuarantineError(record.path, "is neither in its place nor here: somebody took it meanwhile")
        self._clear(_leftover(record))
        _lock(self._vault(record))
        return self._save(msgspec.structs.replace(record, state="kept"))

    def _is_whole(self, record: Quarantined, place: Path) -> bool:
        try:
            return _content_of(place)[0] == record.content
        except OSError:
            return False

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
        if not self._is_whole(record, vault):
            if not os.path.lexists(place):
                vault.rename(place)
            raise QuarantineError(record.path, "changed while it was set aside; it is back in its place")
        _lock(vault)
        _sync(self.folder, place.parent)
        self._step("locked")

    def _take_copy(self, record: Quarantined) -> None:
        vault, place, part, leftover = self._vault(record), record.place, self._part(record), _leftover(record)
        try:
            self._step("copy")
            _copy(place, part)
            if not self._is_whole(record, part):
                raise QuarantineError(record.path, "changed while it was set aside; it stays in its place")
            part.rename(vault)
            _sync(self.folder)
            self._step("copied")
            place.rename(leftover)  # what remains is under a name that nothing loads
            _sync(place.parent)
            self._step("away")
            if not self._is_whole(record, leftover):
                leftover.rename(place)
                raise QuarantineError(record.path, "changed while it was set aside; it is back in its place")
            self._clear(leftover)
        except QuarantineError:
            self._clear(vault)
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
                _put(vault, place, record.folder)
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise
                self._step("copy back")
                _copy(vault, arriving)
                self._step("arrived")
                _put(arriving, place, record.folder)
                _sync(place.parent)
                self._step("copied back")
                self._clear(vault)
            self._step("given")
            place.chmod(record.mode)
            _sync(place.parent, self.folder)
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be released: {exc.strerror or exc}") from exc

    def _deleted(self, record: Quarantined, by: str) -> Quarantined:
        self._step("delete")
        try:
            self._clear(self._vault(record))
        except OSError as exc:
            raise QuarantineError(record.path, f"cannot be deleted: {exc.strerror or exc}") from exc
        return self._save(_ended(record, "deleted", by, self._clock()))

    def _kept(self, id: str, *others: QuarantineState) -> Quarantined:  # noqa: A002 - what it is called
        record = self.get(id)
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
            return _content_of(place)
        except OSError as exc:
            raise QuarantineError(path, f"cannot be read: {exc.strerror or exc}") from exc

    def _save(self, record: Quarantined) -> Quarantined:
        StateFile(self.folder / f"{record.id}.json", Quarantined).save(record)
        self._records[record.id] = record
        return record

    def _vault(self, record: Quarantined) -> Path:
        return self.folder / f"{record.id}.quarantined"

    def _part(self, record: Quarantined) -> Path:
        return self.folder / f"{record.id}.part"

    def _within(self, place: Path) -> bool:
        return self.folder.resolve().is_relative_to(place.resolve())

    def _clear(self, place: Path) -> None:
        try:
            told = place.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(told.st_mode):
            place.chmod(0o700)
            for folder, _, _ in os.walk(place):
                Path(folder).chmod(0o700)
            shutil.rmtree(place)
        else:
            place.unlink()


def _no_step(_: str) -> None:
    pass


def _ended(record: Quarantined, state: QuarantineState, by: str, at: float) -> Quarantined:
    return msgspec.structs.replace(record, state=state, ended_by=by, ended_at=at)


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


def _content_of(place: Path) -> tuple[str, int]:
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
    descriptor = os.open(path, _FILE)
    try:
        while chunk := os.read(descriptor, _CHUNK):
            digest.update(chunk)
            length += len(chunk)
    finally:
        os.close(descriptor)
    return digest.hexdigest(), length


def _head(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, _FILE)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _copy(source: Path, target: Path) -> None:
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


def _put(source: Path, place: Path, folder: bool) -> None:
    """Put it in its place unless something stands there."""
    if folder:
        if os.path.lexists(place):
            raise FileExistsError(errno.EEXIST, "something else stands there")
        source.rename(place)
        return
    os.link(source, place, follow_symlinks=False)
    source.unlink()


def _sync(*folders: Path) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
