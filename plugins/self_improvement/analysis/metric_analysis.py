"""All that the points of one metric say: owns the order in which they are asked."""

import math

import msgspec

from aetherra.plugins.self_improvement.analysis.change_points import ChangePoint, change_points
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.forecast import Crossing, Forecast, Outlook
from aetherra.plugins.self_improvement.analysis.outliers import Outlier, outliers, without
from aetherra.plugins.self_improvement.analysis.seasonality import Season, seasonality
from aetherra.plugins.self_improvement.analysis.series import Points, Series, in_order
from aetherra.plugins.self_improvement.analysis.summary import Summary, summary
from aetherra.plugins.self_improvement.analysis.trends import Trend, trend

__all__ = ["MetricAnalysis", "analyse"]

_ENOUGH = 30
"""Points after the latest step that a forecast needs to leave out what was before."""
_RUNS, _RUN = 96, 5
"""Runs of neighbours that tell a day by the quarter of an hour, and points that each has at least."""


class MetricAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one metric.

    Attributes:
        name: The metric.
        unit: Its unit.
        trend: Where it has been going, over all points; where there is a season, that is taken off first.
        summary: Its values in a few figures.
        change_points: Its steps, in order of time; where there is a season, beside that.
        outliers: Single values that do not belong, in order of time.
        season: What hours of the day do to it.
        forecast: What it is expected to be at the horizon, or as far ahead as its points reach back.
        course: The same for even steps up to there; empty unless they were asked for.
        crossing: When it will cross its setpoint, up to there; None without one.
        runs: Where it stood meanwhile: the middle of the time and the midmean of up to 96 equal runs of neighbours,
            each of 5 points or more; without outliers and season.
    """

    name: str
    unit: str
    trend: Trend
    summary: Summary
    change_points: tuple[ChangePoint, ...]
    outliers: tuple[Outlier, ...]
    season: Season
    forecast: Forecast
    crossing: Crossing | None
    course: tuple[Forecast, ...] = ()
    runs: tuple[tuple[float, float], ...] = ()


def analyse(
    points: Points | Series,
    *,
    name: str,
    unit: str,
    good: Direction,
    target: float | None = None,
    setpoint: float | None = None,
    now: float,
    horizon: float = 86_400.0,
    minimum_effect: float = 0.05,
    season: Season | None = None,
    ahead: int = 0,
) -> MetricAnalysis:
    """Analyse one metric.

    The forecast begins at the latest step, if 30 points or more lie behind it: what came before says nothing of where
    the metric goes from there. Then the trend that carries it over a setpoint is also that since the step.

    Forecast and crossing look no further ahead of the latest point than the points that they are made from reach back:
    what was seen for two minutes says nothing of tomorrow. Where even now lies further ahead, nothing is said.

    Args:
        points: Pairs of time and value, in any order; the fewer there are, the more findings are unknown.
        name: The metric.
        unit: Its unit.
        good: Which way it should move.
        target: The wanted value, where it should stay near one.
        setpoint: A value whose crossing is worth knowing beforehand, in the metric's unit.
        now: Seconds since the epoch.
        horizon: Seconds from now, or from the latest point where that is later, that a forecast looks ahead at most.
        minimum_effect: Smallest relative change that counts as a movement.
        season: What hours of the day are known to do to it from more points than these, if that is known; taken from
            these where it is not.
        ahead: Steps up to the horizon that are forecast as well, to be drawn.

    Raises:
        ValueError: A time or value is NaN or infinite (the error names the time), or an argument is out of its range.
    """
    series = in_order(points)
    odd = outliers(series)
    calm = without(series, odd) if odd else series
    if season is None or season.verdict == "unknown":
        season = seasonality(calm)
    level = season.removed(calm)
    figures = summary(series)
    steps = change_points(level, found=())
    moved = trend(level, good=good, target=target, minimum_effect=minimum_effect)
    if len(series):
        moved = msgspec.structs.replace(moved, mean=figures.mean, last=series.real(series.values[-1]))

    recent, movement = level, moved.movement
    since = level.since(steps[-1].timestamp) if steps else level
    if _ENOUGH <= len(since) < len(level):
        recent = since
        if setpoint is not None:
            movement = trend(since, good="unknown", minimum_effect=minimum_effect).movement
    reach = 2 * recent.times[-1] - recent.times[0] if len(recent) else math.inf
    outlook = Outlook(recent, season=season, reach=reach)
    runs = level.thinned(min(_RUNS, max(len(level) // _RUN, 1)))
    begin = max(now, series.times[-1] if len(series) else now)
    until = max(min(begin + horizon, reach), begin)
    return MetricAnalysis(
        name=name,
        unit=unit,
        trend=moved,
        summary=figures,
        change_points=steps,
        outliers=odd,
        season=season,
        forecast=outlook.forecast(until),
        crossing=None if setpoint is None else outlook.crossing(setpoint, movement=movement, until=until),
        course=tuple(outlook.forecast(begin + (until - begin) * step / ahead) for step in range(1, ahead + 1)),
        runs=tuple(zip(runs.times, map(level.real, runs.values), strict=True)),
    )
