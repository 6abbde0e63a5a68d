"""What happened, for nights to learn from: corrected kinds, files that changed, how steps of integration ended."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from aetherra.plugins import AppendFile
from aetherra.plugins.self_incorporation.code.classifier import FileKind

__all__ = ["Changes", "Evidence", "Label", "Log", "PlanOutcome", "StepOutcome", "Vote"]

KEPT = 5_000
"""Records of one sort that are kept, the latest."""
MOST_PATHS = 1_000
"""Changed files of one scan that are kept."""

StepEnd: TypeAlias = Literal["done", "failed", "untried"]


class Vote(Struct, frozen=True):
    """One feature of a file: the kind that it speaks for, and with what weight if nothing was learnt."""

    feature: str
    kind: FileKind
    weight: float


class Label(Struct, frozen=True, kw_only=True):
    """What a file really is.

    Attributes:
        at: Unix time at which somebody said so.
        root: Of the file.
        path: Relative to the root.
        kind: What it is.
        by: Who says so: a person; or its integration, which did with it what is done with that kind.
        votes: The features that it had then.
    """

    at: float
    root: str
    path: str
    kind: FileKind
    by: Literal["person", "integration"]
    votes: tuple[Vote, ...]


class Changes(Struct, frozen=True, kw_only=True):
    """What one scan found changed, or new; a scan that found nothing is none.

    Attributes:
        at: Unix time of the scan.
        root: What was scanned.
        paths: Of those files, relative to the root; at most `MOST_PATHS`.
    """

    at: float
    root: str
    paths: tuple[str, ...]


class StepOutcome(Struct, frozen=True, kw_only=True):
    """How one step of a plan ended.

    Attributes:
        item: Its path.
        after: The places, from 0 on, of the steps that had to be done before it.
        risk: Of the item, 0 to 1.
        features: Of the item, as `learning.plan_features` tells them, at that time.
        end: ``untried`` where one before it failed.
    """

    item: str
    after: tuple[int, ...]
    risk: float
    features: Mapping[str, float]
    end: StepEnd


class PlanOutcome(Struct, frozen=True, kw_only=True):
    """How one plan ended: its steps in the order in which they were planned."""

    at: float
    steps: tuple[StepOutcome, ...]


RecordT = TypeVar("RecordT", bound=Struct)


class Log(Generic[RecordT]):
    """Records of one sort, the latest `KEPT`, in a file of one line each; a line that cannot be read is left out.

    Any thread may use it, one at a time.

    Args:
        path: Of the file; None keeps them in memory alone.
        kind: The type of a record.
        kept: How many are kept.

    Attributes:
        unreadable: Lines that were left out.
    """

    def __init__(self, path: Path | None, kind: type[RecordT], kept: int = KEPT) -> None:
        self._file = AppendFile(path) if path is not None else None
        self._kept = kept
        self.unreadable = 0
        self._records: deque[RecordT] = deque(maxlen=kept)
        self._lines = 0
        decoder = msgspec.json.Decoder(kind)
        for line in self._file.lines() if self._file else ():
            self._lines += 1
            try:
                self._records.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.unreadable += 1

    def add(self, record: RecordT) -> None:
        """Keep a record, and let go of the oldest if there are too many.

        Raises:
            DataFileError: The disk does not take it; it is not kept.
        """
        if self._file is not None:
            if self._lines >= 2 * self._kept:
                kept = [msgspec.json.encode(old) for old in self._records]
                self._file.replace(kept)
                self._lines = len(kept)
            self._file.append(msgspec.json.encode(record))
            self._lines += 1
        self._records.append(record)

    def all(self) -> Sequence[RecordT]:
        """Return all records, the oldest first."""
        return tuple(self._records)

    @property
    def last(self) -> RecordT | None:
        """The latest record; None if there is none."""
        return self._records[-1] if self._records else None

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class Evidence:
    """All that nights learn from, kept in a folder.

    Args:
        folder: Where, which must exist; None keeps it in memory alone.
        time: Unix time.

    Attributes:
        labels: What files really are.
        changes: What scans found changed.
        plans: How plans ended.
    """

    def __init__(self, folder: Path | None, time: Callable[[], float]) -> None:
        self._time = time
        self.labels = Log(None if folder is None else folder / "labels.jsonl", Label)
        self.changes = Log(None if folder is None else folder / "changes.jsonl", Changes)
        self.plans = Log(None if folder is None else folder / "plans.jsonl", PlanOutcome)

    def add_label(
        self, root: str, path: str, kind: FileKind, votes: Iterable[Vote], *, by: Literal["person", "integration"]
    ) -> None:
        """Note what a file really is; raises `DataFileError` if that cannot be kept."""
        label = Label(at=self._time(), root=root, path=path, kind=kind, by=by, votes=tuple(votes))
        self.labels.add(label)

    def add_changes(self, root: str, paths: Iterable[str]) -> None:
        """Note what a scan found changed; raises `DataFileError` if that cannot be kept."""
        if changed := tuple(paths)[:MOST_PATHS]:
            self.changes.add(Changes(at=self._time(), root=root, paths=changed))

    def add_plan(self, steps: Iterable[StepOutcome]) -> None:
        """Note how a plan ended; raises `DataFileError` if that cannot be kept."""
        if ended := tuple(steps):
            self.plans.add(PlanOutcome(at=self._time(), steps=ended))

    @property
    def latest(self) -> float:
        """Unix time of the latest piece; 0 if there is none."""
        logs = (self.labels, self.changes, self.plans)
        return max((log.last.at for log in logs if log.last is not None), default=0.0)

    def close(self) -> None:
        """Close all files."""
        for log in (self.labels, self.changes, self.plans):
            log.close()
