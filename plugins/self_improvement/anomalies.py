"""Points that are out of the ordinary: one detector a metric, fed as points come, and what they reported."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Container, Iterable
from pathlib import Path

import msgspec

from aetherra.plugins import DataFileError
from aetherra.plugins.self_improvement.analysis import Detector, DetectorState
from aetherra.plugins.self_improvement.history import Point
from aetherra.plugins.self_improvement.messages import Anomaly
from aetherra.plugins.storage import StateFile, silent

__all__ = ["THRESHOLD", "Anomalies"]

THRESHOLD = 0.5
"""Score from which on a point is reported: that of the detector."""
REMEMBERED = 100
"""Reports of one metric that are remembered, the latest."""
FILE = "detectors.state"


class _Saved(msgspec.Struct, frozen=True):
    """What is kept in the file."""

    detectors: dict[str, DetectorState]
    reports: dict[str, list[Anomaly]]


class Anomalies:
    """Any number of threads may use it at once.

    Args:
        folder: Where the detectors are kept, so that they need not learn anew; ``None`` keeps nothing.
        most: Metrics that are watched; those that come later are not.
        warn: Hears of a problem with the file, once.

    Attributes:
        problem: Why the file could not be read or written, the last time; ``""`` if it could.
    """

    def __init__(self, folder: Path | None, most: int = 1_000, *, warn: Callable[[str], object] = silent) -> None:
        self._file = StateFile(None if folder is None else folder / FILE, _Saved, packed=True)
        self._most = most
        self._lock = threading.Lock()
        self._detectors: dict[str, Detector] = {}
        self._scores: dict[str, float] = {}
        self._reports: dict[str, deque[Anomaly]] = {}
        self._warn = warn
        self.problem = ""

    def observe(self, points: Iterable[Point]) -> None:
        """Look at points as they come, the points of one metric in the order of their times."""
        with self._lock:
            for point in points:
                detector = self._detectors.get(point.name)
                if detector is None:
                    if len(self._detectors) >= self._most:
                        continue
                    detector = self._detectors[point.name] = Detector()
                score = self._scores[point.name] = detector.update(point.timestamp, point.value)
                if score >= THRESHOLD:
                    reports = self._reports.setdefault(point.name, deque(maxlen=REMEMBERED))
                    reports.append(Anomaly(point.name, point.timestamp, point.value, score))

    def since(self, since: float, metric: str | None = None) -> list[Anomaly]:
        """Return what was reported of points since a time (Unix seconds), of one metric or of all, by time."""
        with self._lock:
            names = self._reports if metric is None else [metric]
            found = [one for name in names for one in self._reports.get(name, ()) if one.timestamp >= since]
        return sorted(found, key=lambda one: (one.timestamp, one.metric))

    def score(self, metric: str) -> float | None:
        """Return the score of the last point of a metric; ``None`` before the first."""
        with self._lock:
            return self._scores.get(metric)

    def forget(self, metric: str) -> None:
        """Begin anew with a metric, as its history does."""
        with self._lock:
            for table in (self._detectors, self._scores, self._reports):
                table.pop(metric, None)

    def retain(self, metrics: Container[str]) -> None:
        """Forget all metrics but these, as the history has: others may be watched in their place."""
        with self._lock:
            for table in (self._detectors, self._scores, self._reports):
                for metric in [metric for metric in table if metric not in metrics]:
                    del table[metric]

    # On disk

    def load(self) -> None:
        """Take up what was saved last. A file that cannot be read is moved aside, and ``problem`` says so."""
        try:
            saved = self._file.load()
        except OSError as exc:
            self._file.begin_anew(str(exc))
            saved = None
        if self._file.problem:
            self._tell(f"{self._file.problem}; detectors learn anew")
        if saved is None:
            return
        with self._lock:
            self._detectors = {name: Detector.restore(state) for name, state in saved.detectors.items()}
            self._reports = {name: deque(reports, maxlen=REMEMBERED) for name, reports in saved.reports.items()}

    def save(self) -> None:
        """Put what is known in the place of what was saved before, as a whole; ``problem`` says if it cannot be."""
        with self._lock:
            detectors = {name: detector.state() for name, detector in self._detectors.items()}
            saved = _Saved(detectors, {name: list(reports) for name, reports in self._reports.items()})
        try:
            self._file.save(saved)
        except DataFileError as exc:
            self._tell(f"{exc}; detectors will learn anew")
        else:
            self.problem = ""

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self._warn(problem)
        self.problem = problem
