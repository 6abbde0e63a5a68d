"""The Numenta Anomaly Benchmark: labelled series, and what reports on them are worth by its published rules.

Lavin and Ahmad, Evaluating Real-time Anomaly Detection Algorithms, ICMLA 2015, and version 1.1 of the benchmark's own
scorer where the paper leaves a choice: the relative position within a window, and full marks at its left edge.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

LABELS = "combined_windows.json"
PROBATION = 0.15
LONGEST_PROBATION = 0.15 * 5000
FAR = 3.0
"""Window widths behind a window from which on a false report costs all it can."""


class Series(msgspec.Struct, frozen=True):
    """One file.

    Attributes:
        name: Its folder and name.
        times: Unix times of its rows, taking its own clock for UTC.
        values: Their values.
        windows: First and last row of each labelled window, in order.
    """

    name: str
    times: tuple[float, ...]
    values: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]

    @property
    def group(self) -> str:
        """The folder: series of one kind."""
        return self.name.partition("/")[0]

    @property
    def probation(self) -> int:
        """Rows at the beginning in which nothing counts."""
        return math.floor(min(PROBATION * len(self.values), LONGEST_PROBATION))


class Profile(msgspec.Struct, frozen=True):
    """What a found window, a false report and a missed window weigh."""

    found: float
    false: float
    missed: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "few false reports": Profile(1.0, 0.22, 1.0),
    "few missed windows": Profile(1.0, 0.11, 2.0),
}
"""``standard``, ``reward_low_FP_rate`` and ``reward_low_FN_rate``."""


class Tally(msgspec.Struct, frozen=True):
    """What reports on one series came to, before a profile weighs it.

    Attributes:
        windows: Windows that count.
        found: Those of them with a report.
        early: How early: for each found window 1 at its left edge, nearly 0 at its right.
        false: False reports.
        cost: What they cost: 1 each, less shortly behind a window.
    """

    windows: int = 0
    found: int = 0
    early: float = 0.0
    false: int = 0
    cost: float = 0.0


def load(folder: Path) -> list[Series]:
    """Read all labelled series of a folder, in the order of their names.

    Raises:
        OSError: The labels or a file that they name cannot be read.
    """
    labels: dict[str, list[tuple[str, str]]] = json.loads((folder / LABELS).read_text(encoding="utf-8"))
    return [_series(folder, name, windows) for name, windows in sorted(labels.items())]


def _series(folder: Path, name: str, windows: list[tuple[str, str]]) -> Series:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        rows = [(_seconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    times = tuple(time for time, _ in rows)
    last_rows = {time: i for i, time in enumerate(times)}
    places = sorted((times.index(_seconds(begin)), last_rows[_seconds(end)]) for begin, end in windows)
    return Series(name, times, tuple(value for _, value in rows), tuple(places))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def worth(position: float) -> float:
    """Return the scaled sigmoid: nearly 1 at -1, a window's left edge, 0 at its right, -1 far behind."""
    return -1.0 if position >= FAR else 2 / (1 + math.exp(5 * position)) - 1


def tally(series: Series, reports: Iterable[int]) -> Tally:
    """Count what reported rows are worth: of each window the earliest, and each one outside."""
    found: dict[int, float] = {}
    false, cost = 0, 0.0
    for row in sorted(reports):
        if row < series.probation:
            continue
        inside = [i for i, (first, last) in enumerate(series.windows) if first <= row <= last]
        if inside:
            first, last = series.windows[inside[0]]
            found.setdefault(inside[0], worth(-(last - row + 1) / (last - first + 1)) / worth(-1.0))
        else:
            false += 1
            cost -= worth(_behind(series, row))
    windows = sum(last >= series.probation for _, last in series.windows)
    return Tally(windows, len(found), sum(found.values()), false, cost)


def _behind(series: Series, row: int) -> float:
    """Return how many widths a row lies behind the window before it."""
    before = [window for window in series.windows if window[1] < row]
    if not before or before[-1][0] == before[-1][1]:
        return FAR
    first, last = before[-1]
    return (row - last) / (last - first)


def score(tallies: Iterable[Tally], profile: Profile) -> float:
    """Return what a detector is worth: 0 for one that never reports, 100 for one that is never late or wrong."""
    raw = none = perfect = 0.0
    for it in tallies:
        raw += profile.found * it.early - profile.false * it.cost - profile.missed * (it.windows - it.found)
        none -= profile.missed * it.windows
        perfect += profile.found * it.windows
    return 100 * (raw - none) / (perfect - none) if perfect else 0.0
