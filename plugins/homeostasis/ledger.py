"""The ledger: what was decided, what became of it and what it changed, appended line by line and never altered."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import msgspec

from aetherra.plugins import AppendFile, DataFileError
from aetherra.plugins.homeostasis.decision import Decision, Effect, Outcome
from aetherra.plugins.homeostasis.freeze import Frozen

__all__ = ["Concluded", "Decided", "Entry", "Froze", "Ledger", "LedgerStatistics", "Noted", "Question", "Settled"]

log = logging.getLogger("aetherra.plugins.homeostasis.ledger")
IN_MEMORY = 2000
"""Entries that are kept where there is no disk, or none that takes them; the oldest go first, and are counted."""
NAME = "ledger"
SLACK = 3600.0
"""Seconds by which a clock may have been set back between two entries."""


class _Entry(msgspec.Struct, frozen=True, tag_field="entry", tag=str.lower):
    """One line.

    Attributes:
        ts: Unix time.
    """

    ts: float


class Decided(_Entry, frozen=True):
    """Something was decided."""

    decision: Decision

    @property
    def subject(self) -> tuple[str, str, str]:
        """The decision's id, its symptom, its target."""
        return self.decision.id, self.decision.symptom, self.decision.target


class Concluded(_Entry, frozen=True):
    """A decision was carried out, or not."""

    decision_id: str
    symptom: str
    target: str
    outcome: Outcome

    @property
    def subject(self) -> tuple[str, str, str]:
        """The decision's id, its symptom, its target."""
        return self.decision_id, self.symptom, self.target


class Settled(_Entry, frozen=True):
    """It was found out what an act has changed."""

    effect: Effect

    @property
    def subject(self) -> tuple[str, str, str]:
        """The decision's id, its symptom, its target."""
        return self.effect.decision_id, self.effect.symptom, self.effect.target


class Froze(_Entry, frozen=True):
    """A person has frozen all actuators, or freed them."""

    frozen: Frozen

    @property
    def subject(self) -> tuple[str, str, str]:
        """That of no decision."""
        return "", "", ""


class Noted(_Entry, frozen=True):
    """Something else that bears on decisions, such as another runlevel, or an actuator in quarantine."""

    what: str
    text: str
    target: str = ""

    @property
    def subject(self) -> tuple[str, str, str]:
        """What it is about."""
        return "", self.what, self.target


Entry = Decided | Concluded | Settled | Froze | Noted


class Question(TypedDict, total=False):
    """Which entries are meant: those that fit all that is given.

    Attributes:
        decision: Those of one decision: itself, what became of it, what it changed, and what undoes it.
        symptom: Those of one symptom, or notes of that kind.
        target: Those on one target.
        since: Those from a Unix time on.
    """

    decision: str
    symptom: str
    target: str
    since: float | None


class LedgerStatistics(msgspec.Struct, frozen=True):
    """A snapshot.

    Attributes:
        written: Entries written since the start; without a disk, kept.
        unwritten: Entries that wait for the disk to take them.
        dropped: Entries that there was no room for in memory.
        strange: Lines that the last full reading could make nothing of: torn, damaged, or another version's.
        files: Files there are.
    """

    written: int
    unwritten: int
    dropped: int
    strange: int
    files: int


class Ledger:
    """Entries as lines of JSON in numbered files, the highest number the youngest; in memory where there is no folder.

    An entry is in the file when ``append`` returns, so a killed process loses none; a power cut may take the last
    seconds. Entries that the disk does not take now wait in memory and are
    written, in their order, before the next. A file that is full is followed by another, and the oldest leaves when
    there are more than ``files``.

    A line that is torn, damaged or of another version is passed over, counted, and left where it is.

    ``append`` and ``statistics`` are for the event loop; ``entries`` and ``scan`` read files: call them in a worker
    thread. Both may run at once.

    Args:
        folder: Where the files stand.
        time: Unix time.
        max_bytes: Size from which on a file is full.
        files: How many of them are kept.

    Raises:
        ValueError: A bound is below 1.
    """

    def __init__(
        self,
        folder: Path | None,
        time: Callable[[], float],
        *,
        max_bytes: int = 4 * 2**20,
        files: int = 4,
    ) -> None:
        if max_bytes < 1 or files < 1:
            raise ValueError(f"expected max_bytes and files from 1 on, got {max_bytes} and {files}")
        self._folder = folder
        self._time = time
        self._max_bytes = max_bytes
        self._files = files
        self._file: AppendFile | None = None
        self._number = 0
        self._guard = threading.Lock()
        self._kept: deque[tuple[bytes, Entry]] = deque()
        self._written = self._dropped = self._strange = 0
        self._trouble = ""

    # Writing

    def decided(self, decision: Decision) -> None:
        """Append a decision."""
        self.append(Decided(self._time(), decision))

    def concluded(self, decision: Decision, outcome: Outcome) -> None:
        """Append what became of a decision."""
        self.append(Concluded(self._time(), decision.id, decision.symptom, decision.target, outcome))

    def settled(self, effect: Effect) -> None:
        """Append what an act has changed."""
        self.append(Settled(self._time(), effect))

    def froze(self, frozen: Frozen) -> None:
        """Append that a person has frozen all actuators, or freed them."""
        self.append(Froze(self._time(), frozen))

    def note(self, what: str, text: str, *, target: str = "") -> None:
        """Append something else."""
        self.append(Noted(self._time(), what, text, target))

    def append(self, entry: Entry) -> None:
        """Append an entry. Never raises: what the disk does not take is kept, logged once, and tried again."""
        line = _line_of(entry)
        with self._guard:
            self._kept.append((line, entry))
        if self._folder is None:
            self._written += 1
        else:
            self.flush()
        with self._guard:
            while len(self._kept) > IN_MEMORY:
                self._kept.popleft()
                self._dropped += 1

    def flush(self) -> bool:
        """Write what waits for the disk; return whether nothing waits any more."""
        if self._folder is None:
            return True
        while self._kept:
            line, _ = self._kept[0]
            try:
                self._file_for(self._folder, len(line) + 1).append(line)
            except OSError as exc:
                if str(exc) != self._trouble:
                    log.warning("the ledger cannot be written, its entries wait in memory: %s", exc)
                    self._trouble = str(exc)
                return False
            with self._guard:
                self._kept.popleft()
            self._written += 1
        self._trouble = ""
        return True

    def close(self) -> None:
        """Write what waits, if the disk takes it, and close the file; the next entry opens it again."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _file_for(self, folder: Path, more: int) -> AppendFile:
        """Return the file that a line belongs in, and let the oldest go if it is a new one."""
        if self._file is None:
            self._number = max(_numbers(folder), default=1)
            self._file = AppendFile(_path(folder, self._number), sync=False)
        size = _size(self._file.path)
        if size and size + more > self._max_bytes:
            self._file.close()
            self._number += 1
            self._file = AppendFile(_path(folder, self._number), sync=False)
            for number in _numbers(folder):
                if number <= self._number - self._files:
                    _path(folder, number).unlink(missing_ok=True)
        return self._file

    # Reading

    def entries(self, *, limit: int | None = None, **question: Unpack[Question]) -> list[Entry]:
        """Return the entries that fit all that is given, newest first, ``limit`` at most; see ``scan``."""
        return list(islice(self.scan(**question), limit))

    def scan(self, **question: Unpack[Question]) -> Iterator[Entry]:
        """Yield the entries that fit all that is given, newest first, reading no further back than is asked for.

        With ``since``, a file is the last one that is read if it has an entry from longer before than ``SLACK``: those
        of a clock that was set back by no more are found. Never raises for what stands in the files.
        """
        decision, symptom, target = (question.get(name, "") for name in ("decision", "symptom", "target"))
        since = question.get("since")
        for entry in self._backwards():
            if since is not None and entry.ts < since - SLACK:
                return
            if (
                (not decision or decision == entry.subject[0] or decision == _undone_by(entry))
                and (not symptom or symptom == entry.subject[1])
                and (not target or target == entry.subject[2])
                and (since is None or entry.ts >= since)
            ):
                yield entry

    def _backwards(self) -> Iterator[Entry]:
        """Yield all entries, newest first."""
        with self._guard:
            kept = [entry for _, entry in reversed(self._kept)]
        yield from kept
        if self._folder is None:
            return
        strange = 0
        for number in reversed(_numbers(self._folder)):
            try:
                lines = AppendFile(_path(self._folder, number)).lines()
            except DataFileError as exc:
                log.warning("a part of the ledger cannot be read: %s", exc)
                strange += 1
                continue
            for line in reversed(lines):
                entry = _entry_of(line)
                if entry is not None:
                    yield entry
                else:
                    strange += bool(line.strip())
        self._strange = strange

    def statistics(self) -> LedgerStatistics:
        """Return a snapshot."""
        return LedgerStatistics(
            written=self._written,
            unwritten=0 if self._folder is None else len(self._kept),
            dropped=self._dropped,
            strange=self._strange,
            files=0 if self._folder is None else len(_numbers(self._folder)),
        )


def _undone_by(entry: Entry) -> str:
    """Return the id of the act that an entry's decision takes back; ``""`` if it takes none back."""
    return entry.decision.undoes if isinstance(entry, Decided) else ""


@cache
def _decoder() -> msgspec.json.Decoder[Entry]:
    """Return what reads lines: made with the first, as a start reads none."""
    return msgspec.json.Decoder(Entry)


def _entry_of(line: bytes) -> Entry | None:
    try:
        return _decoder().decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _line_of(entry: Entry) -> bytes:
    """Return the line that holds an entry; what JSON cannot hold of it is there as text."""
    try:
        return msgspec.json.encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass
    try:
        return msgspec.json.encode(_clean(msgspec.to_builtins(entry, enc_hook=repr)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return msgspec.json.encode(Noted(entry.ts, "unwritable", _text(repr(entry))))


def _clean(value: Any) -> Any:
    """Return builtins whose texts UTF-8 can hold: a file name in an error may bring half a character along."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(part) for key, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_clean(part) for part in cast("list[object]", value)]
    return value


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


def _path(folder: Path, number: int) -> Path:
    return folder / f"{NAME}.{number:08}.jsonl"


def _numbers(folder: Path) -> list[int]:
    """Return the numbers of the files there are, the oldest first; none where the folder cannot be read."""
    pattern = re.compile(rf"{NAME}\.(\d{{8}})\.jsonl")
    try:
        matches = [pattern.fullmatch(path.name) for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(int(match[1]) for match in matches if match is not None)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
