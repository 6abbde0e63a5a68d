"""What is wrong with a metric: owns the reading of an analysis against what is wanted."""

from __future__ import annotations

import msgspec

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.forecast import Crossing
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis
from aetherra.plugins.self_improvement.analysis.trends import Trend
from aetherra.plugins.self_improvement.proposals.proposal import Evidence, Load, Problem
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint

__all__ = ["Judgement", "Known", "judge", "load_band"]

_FEWEST_SINCE = 5
"""Points after a change that make a level; before that the level is the one from before the change."""
_TREND_EFFECT = 0.2
"""Least change over the window, as a share of the level, by which a metric without a setpoint is degrading."""
_TREND_P_VALUE = 0.001
"""Highest chance that it is none: there are hundreds of looks a day."""
_LONGER_THAN_A_DAY = 36 * 3600.0
_TREND_WEIGHT = 0.5
"""What a metric without a setpoint counts: nobody said that it matters."""
_OLDEST = 900.0
"""Seconds after which the latest point tells nothing about now, or three times the distance of points if that is more.
"""


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


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """How one metric is doing.

    Attributes:
        metric: Its name.
        unit: Its unit.
        good: Which way it should move.
        setpoint: What is wanted of it; None where nobody said.
        level: Where it stands now, in its unit; None if unknown.
        problem: What is wrong; None where nothing is, or nothing is known.
        severity: How wrong, 0 to 1.
        weight: How much the metric matters, 0 to 1.
        need: By how much it would have to get better to be well, as a share of its level; None where nobody can say.
        evidence: The rows that say so.
        text: The same in a sentence; where the metric is unknown, why.
        known: Whether anything can be said at all.
    """

    metric: str
    unit: str = ""
    good: Direction = "unknown"
    setpoint: Setpoint | None = None
    level: float | None = None
    problem: Problem | None = None
    severity: float = 0.0
    weight: float = 1.0
    need: float | None = None
    evidence: tuple[Evidence, ...] = ()
    text: str = ""
    known: bool = True

    @property
    def is_well(self) -> bool:
        """Whether it is known to be well: nothing is wrong, and it is not even a little beyond its setpoint."""
        if not self.known or self.problem is not None:
            return False
        return self.setpoint is None or (self.level is not None and self.setpoint.severity(self.level) == 0)


def judge(
    analysis: MetricAnalysis,
    *,
    setpoint: Setpoint | None,
    good: Direction,
    now: float,
    horizon: float,
    measured: Known | None = None,
) -> Judgement:
    """Say what is wrong with a metric, the worst only.

    *Beyond its setpoint* is a matter of the level: the mean since the latest change point, or the median of all points
    where there was none, or what a comparison measured after either; one point alone never counts. *Crossing soon* is
    a matter of a forecast that is sure of it, and no further ahead than the points reach back. *Degrading* is a matter
    of the trend, and of metrics without a setpoint alone: while a metric is within its setpoint, that it moves is no
    problem until it will leave it. As half a day of a daily season is a trend, too, that counts only where the season
    is known, or over a day and a half.

    Args:
        analysis: What the points say.
        setpoint: What is wanted; its direction is the good one, whatever ``good`` says.
        good: Which way the metric should move, where there is no setpoint.
        now: Unix seconds.
        horizon: Seconds ahead that a crossing is looked for.
        measured: The level that a comparison measured lately.
    """
    if setpoint is not None:
        good = setpoint.direction
    blank = Judgement(
        metric=analysis.name,
        unit=analysis.unit,
        good=good,
        setpoint=setpoint,
        weight=_TREND_WEIGHT if setpoint is None else setpoint.weight,
    )
    first, last, points = analysis.trend.first_timestamp, analysis.trend.last_timestamp, analysis.trend.points
    if first is None or last is None or points < 2 * _FEWEST_SINCE or analysis.trend.movement == "unknown":
        return msgspec.structs.replace(blank, known=False, text=f"UNKNOWN: {analysis.trend.reason}")
    apart = (last - first) / (points - 1)
    if now - last > max(_OLDEST, 3 * apart):
        return msgspec.structs.replace(blank, known=False, text=f"UNKNOWN: the latest point is {now - last:.0f} s old")
    level = _level(analysis, apart, measured)
    blank = msgspec.structs.replace(blank, level=level.value, evidence=(level,), text=f"{level.text}, as wanted")
    if setpoint is None:
        return _by_trend(blank, analysis)
    if setpoint.is_beyond(level.value):
        return _beyond(blank, level, setpoint)
    return _by_forecast(blank, analysis, now, horizon)


def load_band(analysis: MetricAnalysis | None) -> Load:
    """Say how busy the host is, by the level of a metric of load against its own window.

    ``low`` and ``high`` are more than a standard deviation from the mean.
    """
    if analysis is None or analysis.summary.mean is None or analysis.summary.variance is None:
        return "unknown"
    first, last, points = analysis.trend.first_timestamp, analysis.trend.last_timestamp, analysis.trend.points
    if first is None or last is None or points < 2 * _FEWEST_SINCE:
        return "unknown"
    level = _level(analysis, (last - first) / (points - 1), None).value
    spread: float = analysis.summary.variance**0.5
    if abs(level - analysis.summary.mean) <= spread:
        return "normal"
    return "high" if level > analysis.summary.mean else "low"


def _level(analysis: MetricAnalysis, apart: float, measured: Known | None) -> Evidence:
    """Return where a metric stands, as the row of evidence that says so."""
    first, last = analysis.trend.first_timestamp or 0.0, analysis.trend.last_timestamp or 0.0
    changes = sorted(analysis.change_points, key=lambda change: change.timestamp)
    since, value, statistic = first, analysis.summary.p50, "p50"
    for change in changes:
        if (last - change.timestamp) / apart >= _FEWEST_SINCE - 1:
            since, value, statistic = change.timestamp, change.after, "mean"
    if measured is not None and since <= measured.at and first <= measured.at:
        since, value, statistic = measured.at, measured.value, "level after trial"
    if value is None:
        raise ValueError(f"expected a summary of {analysis.trend.points} points of {analysis.name!r}, got none")
    points = analysis.trend.points if since == first else max(round((last - since) / apart), 0) + 1
    what = {"p50": "has a median of", "mean": "is at", "level after trial": "was measured at"}[statistic]
    return Evidence(
        metric=analysis.name,
        since=since,
        until=last,
        points=points,
        statistic=statistic,
        value=value,
        text=f"{analysis.name} {what} {value:.4g}{_unit(analysis.unit)}",
    )


def _beyond(blank: Judgement, level: Evidence, setpoint: Setpoint) -> Judgement:
    side = "most" if setpoint.direction == "down" else "least"
    return msgspec.structs.replace(
        blank,
        problem="beyond_setpoint",
        severity=setpoint.severity(level.value),
        need=abs(level.value - setpoint.good) / abs(level.value) if level.value else None,
        text=f"{level.text}, wanted at {side} {setpoint.good:g}",
    )


def _by_trend(blank: Judgement, analysis: MetricAnalysis) -> Judgement:
    trend = analysis.trend
    if trend.direction != "degrading" or trend.slope_per_hour is None or trend.p_value is None or blank.level is None:
        return blank
    first, last = trend.first_timestamp or 0.0, trend.last_timestamp or 0.0
    if analysis.season.verdict == "unknown" and last - first < _LONGER_THAN_A_DAY:
        return msgspec.structs.replace(blank, text=f"{trend.reason}, which may be the time of day")
    change = abs(trend.slope_per_hour) * (last - first) / 3600
    share = change / abs(trend.mean or blank.level) if trend.mean or blank.level else 0.0
    if share < _TREND_EFFECT or trend.p_value > _TREND_P_VALUE:
        return blank
    slope = Evidence(
        metric=analysis.name,
        since=first,
        until=last,
        points=trend.points,
        statistic="slope_per_hour",
        value=trend.slope_per_hour,
        text=trend.reason,
    )
    return msgspec.structs.replace(
        blank,
        problem="degrading",
        severity=min(share, 1.0),
        need=min(share, 0.5),
        evidence=(slope, *blank.evidence),
        text=f"{analysis.name} is degrading: {trend.reason}",
    )


def _by_forecast(blank: Judgement, analysis: MetricAnalysis, now: float, horizon: float) -> Judgement:
    crossing, trend = analysis.crossing, analysis.trend
    if crossing is None or crossing.expected is None or not _is_sure(crossing, trend):
        return blank
    ahead = crossing.expected - now
    if not 0 <= ahead <= min(horizon, (trend.last_timestamp or 0.0) - (trend.first_timestamp or 0.0)):
        return blank
    row = Evidence(
        metric=analysis.name,
        since=trend.first_timestamp or 0.0,
        until=trend.last_timestamp or 0.0,
        points=trend.points,
        statistic="crossing",
        value=crossing.expected,
        text=f"{analysis.name} is forecast to cross {crossing.setpoint:g} in {ahead / 3600:.1f} h",
    )
    return msgspec.structs.replace(
        blank,
        problem="crossing_soon",
        severity=0.5 * (1 - ahead / horizon),
        evidence=(row, *blank.evidence),
        text=f"{row.text}; {trend.reason}",
    )


def _is_sure(crossing: Crossing, trend: Trend) -> bool:
    """Whether a crossing is more than what a chance trend would lead to: even the late end of its interval is known."""
    p_value = 1.0 if trend.p_value is None else trend.p_value
    return crossing.latest is not None or (trend.direction == "degrading" and p_value <= _TREND_P_VALUE)


def _unit(unit: str) -> str:
    return f" {unit}" if unit and unit != "ratio" else ""
