"""The journal of integrations: what is intended, on disk before anything is changed, and whether it came to its end."""

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Struct

from aetherra.plugins import AppendFile
from aetherra.plugins.self_incorporation.integration.blobs import telling
from aetherra.plugins.self_incorporation.integration.tree import Change

__all__ = [
    "Begun",
    "Committed",
    "GoingBack",
    "History",
    "Journal",
    "Record",
    "Sent",
    "Stage",
    "TakenBack",
    "Undone",
    "WayBack",
    "take_in",
]

Stage: TypeAlias = Literal["open", "committed", "going_back", "undone"]


class WayBack(Struct, frozen=True):
    """The action that undoes an action."""

    tag: str
    body: dict[str, Any]


class Begun(Struct, frozen=True, kw_only=True, tag="begun"):
    """An integration is about to change something; all contents that it takes are among the blobs.

    Attributes:
        token: Its name.
        at: Unix time.
        plan: The plan's digest.
        summary: What it is, for people.
        names: What its steps are registered as, in their order.
        changes: All it will do to files, in the order of its steps.
    """

    token: str
    at: float
    plan: str
    summary: str
    names: tuple[str, ...]
    changes: tuple[Change, ...]


class Sent(Struct, frozen=True, kw_only=True, tag="sent"):
    """An action is about to be submitted for an integration.

    Attributes:
        token: The integration's.
        key: The idempotency key that the action is submitted under.
        tag: The action's.
        undo: Its way back; ``None`` if there is none.
    """

    token: str
    key: str
    tag: str
    undo: WayBack | None


class TakenBack(Struct, frozen=True, kw_only=True, tag="taken_back"):
    """An action that was sent is undone, or was never done, or cannot be undone, which is said."""

    token: str
    key: str


class Committed(Struct, frozen=True, kw_only=True, tag="committed"):
    """All of it is done."""

    token: str
    at: float


class GoingBack(Struct, frozen=True, kw_only=True, tag="going_back"):
    """It is about to be rolled back, for a reason; whatever happens now, it will be."""

    token: str
    at: float
    reason: str


class Undone(Struct, frozen=True, kw_only=True, tag="undone"):
    """All is as it was before it, but for what is named.

    Attributes:
        token: Its name.
        at: Unix time.
        reason: Why.
        left: What could not be undone.
    """

    token: str
    at: float
    reason: str
    left: tuple[str, ...] = ()


Record: TypeAlias = Begun | Sent | TakenBack | Committed | GoingBack | Undone


class History(Struct, frozen=True, kw_only=True):
    """What the journal knows of one integration.

    Attributes:
        begun: Its beginning.
        stage: How far it is: ``open`` until it is committed or undone.
        sent: The actions that were submitted for it, or were about to be, and are not taken back.
        at: When it came to this stage.
        reason: Why it was undone, or is being.
        left: What could not be undone.
    """

    begun: Begun
    stage: Stage
    sent: tuple[Sent, ...]
    at: float
    reason: str = ""
    left: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """Its name."""
        return self.begun.token


class Journal:
    """One file of records, each behind its checksum, and on disk before ``append`` returns.

    Args:
        path: The file; made with its first record.

    Attributes:
        unreadable: Lines that are no record, as a crash tears the last one of a run; they are left out.
        damaged: The numbers of those that are not the last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        self.damaged: tuple[int, ...] = ()
        self._file = AppendFile(path, sync=True)

    def append(self, record: Record) -> None:
        """Have a record on disk.

        Raises:
            DataFileError: It is not there: the disk is full, or cannot be written.
        """
        self._file.append(_line(record))

    def histories(self) -> dict[str, History]:
        """Return all integrations that are known, by token, the oldest first.

        Raises:
            DataFileError: The file cannot be read.
        """
        found: dict[str, History] = {}
        unreadable: list[int] = []
        last = 0
        for number, line in enumerate(self._file.lines(), 1):
            if not line:
                continue
            last, record = number, _record(line)
            if record is None:
                unreadable.append(number)
            else:
                take_in(found, record)
        self.unreadable = len(unreadable)
        self.damaged = tuple(number for number in unreadable if number < last)
        return found

    def signature(self) -> object:
        """Return what changes whenever the file does.

        Raises:
            DataFileError: It cannot be looked at.
        """
        with telling(self.path, "looked at"):
            try:
                told = self.path.stat()
            except FileNotFoundError:
                return None
        return told.st_ino, told.st_size, told.st_mtime_ns

    def keep_only(self, histories: Iterable[History]) -> None:
        """Forget all other integrations, in one step.

        Raises:
            DataFileError: It cannot be written; the journal is as it was.
        """
        self._file.replace([_line(record) for history in histories for record in _records(history)])


def take_in(histories: dict[str, History], record: Record) -> None:
    """Know of one more record."""
    if isinstance(record, Begun):
        histories[record.token] = History(begun=record, stage="open", sent=(), at=record.at)
    elif record.token in histories:
        histories[record.token] = _advanced(histories[record.token], record)


def _advanced(history: History, record: Sent | TakenBack | Committed | GoingBack | Undone) -> History:
    replace = msgspec.structs.replace
    match record:
        case Sent():
            return replace(history, sent=(*history.sent, record))
        case TakenBack():
            return replace(history, sent=tuple(sent for sent in history.sent if sent.key != record.key))
        case Committed():
            return replace(history, stage="committed", at=record.at)
        case GoingBack():
            return replace(history, stage="going_back", at=record.at, reason=record.reason)
        case Undone():
            return replace(history, stage="undone", at=record.at, reason=record.reason, left=record.left)


def _records(history: History) -> Sequence[Record]:
    records: list[Record] = [history.begun, *history.sent]
    token, at = history.token, history.at
    match history.stage:
        case "open":
            pass
        case "committed":
            records.append(Committed(token=token, at=at))
        case "going_back":
            records.append(GoingBack(token=token, at=at, reason=history.reason))
        case "undone":
            records.append(Undone(token=token, at=at, reason=history.reason, left=history.left))
    return records


def _line(record: Record) -> bytes:
    body = msgspec.json.encode(record)
    return b"%08x %b" % (zlib.crc32(body), body)


def _record(line: bytes) -> Record | None:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return cast("Record", msgspec.json.decode(body, type=Record))
    except msgspec.ValidationError:
        return None
