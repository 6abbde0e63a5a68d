"""All that the night cycle has on disk: evidence, what was learnt, measures, marks, an unfinished night, reports."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.evidence import Evidence, Log
from aetherra.plugins.self_incorporation.night.insights.census_taker import MeasureCache
from aetherra.plugins.self_incorporation.night.learned import Learned
from aetherra.plugins.self_incorporation.night.progress import Progress
from aetherra.plugins.self_incorporation.night.report import NightReport
from aetherra.plugins.storage import StateFile

__all__ = ["NightStore"]

REPORTS = 30
"""Reports that are kept."""


class _Unfinished(Struct, frozen=True):
    progress: Progress | None = None


class NightStore:
    """Opens it; leaving the ``with`` block closes it. Any thread may use it, one at a time.

    Args:
        folder: Where it is, made if it is not there; None keeps all in memory.
        time: Unix time.
        problem: Told what is wrong with a file that cannot be used: it is moved aside.

    Attributes:
        evidence: What nights learn from.
        learned: What is in use.
        measures: Of files.
        reports: Of nights.
        marks: What the last night has marked files and items with, by path.
        unfinished: A night that was not finished; None if there is none.

    Raises:
        OSError: The folder cannot be made, or a file in it cannot be read.
    """

    def __init__(
        self, folder: Path | None, time: Callable[[], float], problem: Callable[[str], object] = lambda _: None
    ) -> None:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.evidence = Evidence(folder, time)
        self.learned = Learned(None if folder is None else folder / "learned.json", problem)
        self.measures = MeasureCache(None if folder is None else folder / "measures.jsonl")
        self.reports = Log(None if folder is None else folder / "reports.jsonl", NightReport, REPORTS)
        self._marks = StateFile(None if folder is None else folder / "marks.json", dict[str, dict[str, float]])
        self._progress = StateFile(None if folder is None else folder / "unfinished.json", _Unfinished)
        self.marks: Mapping[str, Mapping[str, float]] = self._marks.load() or {}
        self.unfinished = (self._progress.load() or _Unfinished()).progress
        for file in (self._marks, self._progress):
            if file.problem:
                problem(file.problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self.evidence.close()
        self.measures.close()
        self.reports.close()

    def save_progress(self, progress: Progress | None) -> None:
        """Keep how far a night has come; raises `DataFileError` if the disk does not take it."""
        self._progress.save(_Unfinished(progress))
        self.unfinished = progress

    def save_marks(self, marks: dict[str, dict[str, float]]) -> None:
        """Keep marks in the place of those before; raises `DataFileError` if the disk does not take them."""
        self._marks.save(marks)
        self.marks = marks
