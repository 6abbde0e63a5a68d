"""Whether hours of the day differ: owns the daily season of a metric.

The points become means by the hour (UTC), less the line from day to day. Two analyses of variance among 24 hours
(Fisher, Statistical Methods for Research Workers, 1925) are made: of the means, which see a wave through the day, and
of what each adds to what it remembers of the hour before (Cochrane and Orcutt, J. American Statistical Association 44,
1949), which sees an hour that differs in a metric that wanders. The smaller chance counts, doubled (Bonferroni). What
is remembered is measured beside the hours' own means, freed of its small-sample bias as in ``trends``.

At the threshold of 0.005 at most 4 % of noise, random walks, curves and steps are called a season in 3 days, 3 % in 7
and 14 (points each ten minutes with autocorrelation 0 to 0.99; 1000 series each). At hourly means with autocorrelation
0.8, a wave as high as the noise is found in nine of ten weeks, and an hour that lies 1.8 standard deviations out in
all.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist, fmean
from typing import Literal

import msgspec

from aetherra.plugins.self_improvement.analysis.series import Points, Series, in_order

__all__ = ["MINIMUM_DAYS", "Season", "seasonality"]

MINIMUM_DAYS = 3
"""Fewer whole days than this have no season, nor have hours that are seen on one day alone."""

_LONGEST_MEMORY = 0.98


class Season(msgspec.Struct, frozen=True, kw_only=True):
    """What hours of the day do to a metric.

    Attributes:
        verdict: Whether there is a daily season.
        hour_means: What each hour of the day (UTC, from 0) lies above the mean of all, in the metric's unit; empty
            unless there is a season.
        strength: Share of the variance between hours, a line taken off, that the season explains, 0 to 1 (Wang, Smith
            and Hyndman, Data Mining and Knowledge Discovery 13, 2006); None where it is unknown.
        p_value: Chance that a metric without a season looks like this or more so; None where it is unknown.
        days: Days from the first point to the last.
        reason: One sentence why.
    """

    verdict: Literal["daily", "none", "unknown"]
    hour_means: tuple[float, ...] = ()
    strength: float | None = None
    p_value: float | None = None
    days: float
    reason: str

    def offset(self, time: float) -> float:
        """Return what the season adds at a time: that of the hour, by a line between the middles of hours."""
        if not self.hour_means:
            return 0.0
        hour = time / 3600 - 0.5
        first = math.floor(hour)
        part = hour - first
        return self.hour_means[first % 24] * (1 - part) + self.hour_means[(first + 1) % 24] * part

    def removed(self, series: Series) -> Series:
        """Return the series without its season; as it is where there is none."""
        if not self.hour_means:
            return series
        scaled = [mean / series.scale for mean in self.hour_means]
        rises = [after - before for before, after in zip(scaled, [*scaled[1:], scaled[0]], strict=True)]
        hours = [time / 3600 - 0.5 for time in series.times]
        firsts = list(map(math.floor, hours))
        values = [
            value - scaled[first % 24] - rises[first % 24] * (hour - first)
            for value, hour, first in zip(series.values, hours, firsts, strict=True)
        ]
        return Series(series.times, tuple(values), series.scale)


def seasonality(points: Points | Series, *, alpha: float = 0.005) -> Season:
    """Test whether hours of the day differ, with at least 72 hours and each hour of the day seen on two days or more.

    Args:
        points: Pairs of time and value.
        alpha: Highest probability of chance that still makes a season.

    Returns:
        The season, or that there is none, or why nobody can say.

    Raises:
        ValueError: A time or value is NaN or infinite, or ``alpha`` does not lie between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"expected 0 < alpha < 1, got {alpha!r}")
    series = in_order(points)
    days = (series.times[-1] - series.times[0]) / 86_400 if series.times else 0.0
    if not series.times or series.times[-1] // 3600 - series.times[0] // 3600 + 1 < 24 * MINIMUM_DAYS:
        return Season(verdict="unknown", days=days, reason=f"needs {MINIMUM_DAYS} days, has {days:.3g}")
    hours, means = _by_hour(series)
    seldom = [hour for hour in range(24) if sum(one % 24 == hour for one in hours) < 2]
    if seldom:
        return Season(verdict="unknown", days=days, reason=f"saw {seldom[0]:02}:00 UTC on fewer than two days")
    level = _without_line(hours, means)
    daily = _group_means(hours, level)
    rest = [value - daily[hour % 24] for hour, value in zip(hours, level, strict=True)]
    whole, left = sum([value * value for value in level]), sum([value * value for value in rest])
    if whole <= 1e-24 * sum([value * value for value in means]):  # rounding, if anything
        return Season(verdict="none", strength=0.0, p_value=1.0, days=days, reason="does not move beside a line")
    p_value = min(1.0, 2 * min(_p_of_chance(hours, level, memory) for memory in (0.0, _memory(hours, rest))))
    strength = max(0.0, 1 - left / whole)
    chance = f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
    if p_value >= alpha:
        reason = f"hours of the day differ no more than by chance ({chance})"
        return Season(verdict="none", strength=strength, p_value=p_value, days=days, reason=reason)
    top, center = max(range(24), key=daily.__getitem__), fmean(daily)
    return Season(
        verdict="daily",
        hour_means=tuple([series.real(value - center) for value in daily]),
        strength=strength,
        p_value=p_value,
        days=days,
        reason=f"highest at {top:02}:00 UTC; the hour explains {strength:.0%} of the variance between hours ({chance})",
    )


def _by_hour(series: Series) -> tuple[list[int], list[float]]:
    hours, means, first = list[int](), list[float](), 0
    while first < len(series):
        hour = int(series.times[first] // 3600)
        end = bisect_left(series.times, (hour + 1) * 3600, first)
        hours.append(hour)
        means.append(fmean(series.values[first:end]))
        first = end
    return hours, means


def _without_line(hours: Sequence[int], values: Sequence[float]) -> list[float]:
    """Take off the line that runs from day to day: that of least squares beside a mean for each hour of the day."""
    places = [float(hour) for hour in hours]
    center, level = fmean(places), fmean(values)
    middles, means = _group_means(hours, places), _group_means(hours, values)
    across = [hour - middles[hour % 24] for hour in hours]
    rise = sum([a * (value - means[hour % 24]) for a, hour, value in zip(across, hours, values, strict=True)])
    slope = rise / sum([a * a for a in across])
    return [value - level - slope * (hour - center) for hour, value in zip(hours, values, strict=True)]


def _group_means(hours: Sequence[int], values: Sequence[float]) -> list[float]:
    groups = [list[float]() for _ in range(24)]
    for hour, value in zip(hours, values, strict=True):
        groups[hour % 24].append(value)
    return [fmean(group) if group else 0.0 for group in groups]


def _memory(hours: Sequence[int], rest: Sequence[float]) -> float:
    n = len(rest)
    power = sum([one * one for one in rest])
    if power == 0:
        return 0.0
    points = zip(hours, rest, strict=True)
    raw = sum([a * b for (hour, a), (after, b) in pairwise(points) if after == hour + 1]) / power
    return min(max((n * raw + 2) / (n - 4), 0.0), _LONGEST_MEMORY)


def _p_of_chance(hours: Sequence[int], level: Sequence[float], memory: float) -> float:
    """Analyse the variance of what each hour adds to what it remembers, among hours of the day."""
    points = zip(hours, level, strict=True)
    fresh = [(after, b - memory * a) for (hour, a), (after, b) in pairwise(points) if after == hour + 1]
    places, values = [hour for hour, _ in fresh], [value for _, value in fresh]
    groups = len({hour % 24 for hour in places})
    between, within = groups - 1, len(fresh) - groups - 1
    if between < 1 or within < 1:
        return 1.0
    center, means = fmean(values), _group_means(places, values)
    explained = sum([(means[hour % 24] - center) ** 2 for hour in places])
    left = sum([(value - means[hour % 24]) ** 2 for hour, value in fresh])
    return _upper_f(explained / between / (left / within), between, within) if left > 0 else 0.0


def _upper_f(f: float, between: int, within: int) -> float:
    """Return the chance that Fisher's F is above ``f`` (Paulson, Annals of Mathematical Statistics 13, 1942)."""
    a, b, root = 2 / (9 * between), 2 / (9 * within), f ** (1 / 3)
    return 1 - NormalDist().cdf(((1 - b) * root - (1 - a)) / math.sqrt(b * root * root + a))
