"""What is wrong with a metric: owns the reading of an analysis against what is wanted."""

from __future__ import annotations

import msgspec

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.forecast import Crossing
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis
from aetherra.plugins.self_improvement.analysis.trends import Trend
from aetherra.plugins.self_improvement.proposals.levels import FEWEST, Known, Level, is_sure, level, slope_of
from aetherra.plugins.self_improvement.proposals.proposal import Evidence, Load, Problem
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint

__all__ = ["Judgement", "judge", "load_band"]

_TREND_EFFECT = 0.2
"""Least change over the window, as a share of the level, by which a metric without a setpoint is degrading."""
_LONGER_THAN_A_DAY = 36 * 3600.0
_TREND_WEIGHT = 0.5
"""What a metric without a setpoint counts: nobody said that it matters."""
_OLDEST = 900.0
"""Seconds after which the latest point tells nothing about now, or three times the distance of points if that is more.
"""


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

    *Beyond its setpoint* is a matter of the level; one point alone never counts. *Crossing soon* is a matter of a
    forecast that is sure of it, and no further ahead than the points reach back, or of the trend itself, where that is
    so near that there is nothing left to forecast. *Degrading* is a matter of the trend, and of metrics without a
    setpoint alone: while a metric is within its setpoint, that it moves is no problem until it will leave it. As half a
    day of a daily season is a trend, too, that counts only where the season is known, or over a day and a half.

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
    if first is None or last is None or points < 2 * FEWEST or analysis.trend.movement == "unknown":
        return msgspec.structs.replace(blank, known=False, text=f"UNKNOWN: {analysis.trend.reason}")
    apart = (last - first) / (points - 1)
    if now - last > max(_OLDEST, 3 * apart):
        return msgspec.structs.replace(blank, known=False, text=f"UNKNOWN: the latest point is {now - last:.0f} s old")
    stands = level(analysis, good, measured)
    told = f"{stands.evidence[0].text}, as wanted"
    blank = msgspec.structs.replace(blank, level=stands.value, evidence=stands.evidence, text=told)
    if setpoint is None:
        return _by_trend(blank, analysis)
    if setpoint.is_beyond(stands.value):
        return _beyond(blank, stands, setpoint)
    is_out = setpoint.is_beyond(analysis.runs[-1][1])  # and what it is forecast to do is to come back
    found = blank if is_out else _by_forecast(blank, analysis, now, horizon)
    if found.problem is None and setpoint.is_beyond(stands.soon) and (stands.slope > 0) == (good == "down"):
        return _crossing(blank, setpoint)
    return found


def load_band(analysis: MetricAnalysis | None) -> Load:
    """Say how busy the host is, by the level of a metric of load against its own window.

    ``low`` and ``high`` are more than a standard deviation from the mean.
    """
    if analysis is None or analysis.summary.mean is None or analysis.summary.deviation is None:
        return "unknown"
    first, last, points = analysis.trend.first_timestamp, analysis.trend.last_timestamp, analysis.trend.points
    if first is None or last is None or points < 2 * FEWEST:
        return "unknown"
    above: float = level(analysis, "unknown").value - analysis.summary.mean
    if abs(above) <= analysis.summary.deviation:
        return "normal"
    return "high" if above > 0 else "low"


def _beyond(blank: Judgement, level: Level, setpoint: Setpoint) -> Judgement:
    side = "most" if setpoint.direction == "down" else "least"
    stands, *trend = (row.text for row in level.evidence)
    return msgspec.structs.replace(
        blank,
        problem="beyond_setpoint",
        severity=setpoint.severity(level.value),
        need=abs(level.value - setpoint.good) / abs(level.value) if level.value else None,
        text="; ".join([f"{stands}, wanted at {side} {setpoint.good:g}", *trend]),
    )


def _crossing(blank: Judgement, setpoint: Setpoint) -> Judgement:
    """Judge a metric that is so near to its setpoint that its latest points are beyond, and its level is not yet."""
    *_, slope = blank.evidence
    return msgspec.structs.replace(
        blank,
        problem="crossing_soon",
        severity=0.5,
        text=f"{blank.metric} is about to cross {setpoint.limit:g}; {slope.text}",
    )


def _by_trend(blank: Judgement, analysis: MetricAnalysis) -> Judgement:
    trend = analysis.trend
    if trend.direction != "degrading" or trend.slope_per_hour is None or blank.level is None:
        return blank
    first, last = trend.first_timestamp or 0.0, trend.last_timestamp or 0.0
    if analysis.season.verdict == "unknown" and last - first < _LONGER_THAN_A_DAY:
        return msgspec.structs.replace(blank, text=f"{trend.reason}, which may be the time of day")
    change = abs(trend.slope_per_hour) * (last - first) / 3600
    share = change / abs(trend.mean or blank.level) if trend.mean or blank.level else 0.0
    if share < _TREND_EFFECT or not is_sure(trend):
        return blank
    row, *_ = blank.evidence
    return msgspec.structs.replace(
        blank,
        problem="degrading",
        severity=min(share, 1.0),
        need=min(share, 0.5),
        evidence=(slope_of(analysis, first, trend), row),
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
        text=f"{row.text}; {trend.reason if trend.direction == 'degrading' else crossing.reason}",
    )


def _is_sure(crossing: Crossing, trend: Trend) -> bool:
    """Whether a crossing is more than what a chance trend would lead to: even the late end of its interval is known."""
    return crossing.latest is not None or (trend.direction == "degrading" and is_sure(trend))
