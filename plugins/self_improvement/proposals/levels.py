"""Where a metric stands now: owns the level that is held against what is wanted.

A level is one of many points, never of one alone. It begins with the *basis*: the median of all points since the latest
change point, or the end of the latest trial, if that is later; while these are few, the mean that the change point
tells, or what the trial measured. Where the points have a trend that is hardly chance, the level goes along with it, as
far as two figures say: the end of a line through all of them, and the median of the latest sixteenth. The line alone
would go on where a rise has ended, and the latest points alone wander with noise that remembers; so the one that is
nearer to the basis counts, and where they lie on either side of that, the basis does.
"""

from __future__ import annotations

from statistics import median

import msgspec

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis
from aetherra.plugins.self_improvement.analysis.trends import Trend, trend
from aetherra.plugins.self_improvement.proposals.proposal import Evidence

__all__ = ["FEWEST", "Known", "Level", "is_sure", "level", "slope_of"]

FEWEST = 5
"""Points after a change that make a level; before that the level is the one from before the change."""
_SURE = 0.001
"""Highest chance that a trend is none: there are hundreds of looks a day."""
_FEWEST_RUNS = 8
"""Runs of points, each of five or more, that tell a level since a change, and whether it moves."""
_LATEST, _FEWEST_LATEST = 16, 3
"""Part of the runs that are the latest, and how many these are at least: a burst is shorter than half of them."""


class Known(msgspec.Struct, frozen=True):
    """A level that was measured otherwise: by a comparison of before and after.

    Attributes:
        at: When the measurement ended, Unix seconds.
        value: The level since then, in the metric's unit.
        proposal: Whose trial it was.
    """

    at: float
    value: float
    proposal: str


class Level(msgspec.Struct, frozen=True):
    """Where a metric stands.

    Attributes:
        value: In its unit.
        evidence: The row that says so, and that of the trend that it goes along with, if any.
        slope: That trend's slope, in the unit per hour; 0 where there is none.
        soon: Where that is taking it, by the line and the latest run, in as long as the latest sixteenth took.
    """

    value: float
    evidence: tuple[Evidence, ...]
    slope: float
    soon: float


def level(analysis: MetricAnalysis, good: Direction, measured: Known | None = None) -> Level:
    """Return where a metric stands.

    Args:
        analysis: What the points say: twice ``FEWEST`` at least.
        good: Which way it should move, for the wording.
        measured: The level that a comparison measured lately.
    """
    basis = _basis(analysis, measured)
    is_whole, half = basis.since == analysis.trend.first_timestamp, _half(analysis)
    runs = [run for run in analysis.runs if is_whole or run[0] - half >= basis.since]
    if len(runs) < _FEWEST_RUNS:
        return Level(basis.value, (basis,), 0.0, basis.value)
    if not is_whole:
        basis = _row(analysis, basis.since, median([value for _, value in runs]), "p50")
    moved = analysis.trend if is_whole else trend(runs, good=good)
    if moved.slope_per_hour is None or not is_sure(moved):
        return Level(basis.value, (basis,), 0.0, basis.value)
    latest = runs[-max(len(runs) // _LATEST, _FEWEST_LATEST) :]
    line = median([value + moved.slope_per_hour * (basis.until - time) / 3600 for time, value in runs])
    value = _middle(basis.value, line, median([value for _, value in latest]))
    row = basis
    if value != basis.value:
        since, statistic = (basis.since, "end_of_line") if value == line else (latest[0][0] - half, "latest")
        row = _row(analysis, since, value, statistic)
    ahead = moved.slope_per_hour * (latest[-1][0] - latest[0][0] + 2 * half) / 3600
    soon = _middle(basis.value, line + ahead, runs[-1][1] + ahead)
    return Level(value, (row, slope_of(analysis, basis.since, moved)), moved.slope_per_hour, soon)


def is_sure(moved: Trend) -> bool:
    """Whether something moves and chance hardly explains it."""
    return moved.movement in ("rising", "falling") and moved.p_value is not None and moved.p_value <= _SURE


def slope_of(analysis: MetricAnalysis, since: float, moved: Trend) -> Evidence:
    """Return the row that a trend since a time makes."""
    return _row(analysis, since, moved.slope_per_hour or 0.0, "slope_per_hour", moved.reason)


def _half(analysis: MetricAnalysis) -> float:
    """Return the time from the first point of a run to its middle."""
    runs = analysis.runs
    return ((runs[-1][0] - runs[0][0]) / (len(runs) - 1) - _apart(analysis)) / 2 if len(runs) > 1 else 0.0


def _middle(one: float, two: float, three: float) -> float:
    return sorted((one, two, three))[1]


def _basis(analysis: MetricAnalysis, measured: Known | None) -> Evidence:
    first, last = analysis.trend.first_timestamp or 0.0, analysis.trend.last_timestamp or 0.0
    since, value, statistic = first, analysis.summary.p50, "p50"
    for change in sorted(analysis.change_points, key=lambda change: change.timestamp):
        if last - change.timestamp >= (FEWEST - 1) * _apart(analysis):
            since, value, statistic = change.timestamp, change.after, "mean"
    if measured is not None and since <= measured.at and first <= measured.at:
        since, value, statistic = measured.at, measured.value, "level after trial"
    if value is None:
        raise ValueError(f"expected a summary of {analysis.trend.points} points of {analysis.name!r}, got none")
    return _row(analysis, since, value, statistic)


def _apart(analysis: MetricAnalysis) -> float:
    """Return how far apart points are, on the whole."""
    first, last = analysis.trend.first_timestamp or 0.0, analysis.trend.last_timestamp or 0.0
    return (last - first) / (analysis.trend.points - 1)


def _row(analysis: MetricAnalysis, since: float, value: float, statistic: str, text: str = "") -> Evidence:
    """Return what the points since a time say."""
    first, last = analysis.trend.first_timestamp, analysis.trend.last_timestamp or 0.0
    points = analysis.trend.points if since == first else max(round((last - since) / _apart(analysis)), 0) + 1
    said = {
        "p50": "has a median of",
        "mean": "is at",
        "level after trial": "was measured at",
        "end_of_line": "has come to about",
        "latest": f"has of late, in {points} points, a median of",
    }
    unit = f" {analysis.unit}" if analysis.unit not in ("", "ratio") else ""
    return Evidence(
        metric=analysis.name,
        since=since,
        until=last,
        points=points,
        statistic=statistic,
        value=value,
        text=text or f"{analysis.name} {said[statistic]} {value:.4g}{unit}",
    )
