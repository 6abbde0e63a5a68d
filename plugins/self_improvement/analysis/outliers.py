"""Single values that do not belong: owns what is far from its neighbours and what the series is without it."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean, median

import msgspec

from aetherra.plugins.self_improvement.analysis.series import Points, Series, bounded, in_order

__all__ = ["Outlier", "outliers", "without"]

_RUN = 15
"""Neighbours that share a level. A burst of at most 7 is an outlier, a longer one is a new level."""

_FEWEST = 8
"""Fewer points than this have no outliers: nothing says which of them are the usual ones."""

_COMMON = 0.05
"""What more than one value in twenty does belongs to the metric, however far out it lies."""


class Outlier(msgspec.Struct, frozen=True, kw_only=True):
    """One value far from its neighbours.

    Attributes:
        timestamp: When, in seconds since the epoch.
        value: The value.
        expected: The level around it.
        deviation: How far it lies above (or, negative, below) that level, in standard deviations of the usual noise.
    """

    timestamp: float
    value: float
    expected: float
    deviation: float


def outliers(points: Points | Series, *, threshold: float = 5.0, most: int = 100) -> tuple[Outlier, ...]:
    """Find the values that lie further than ``threshold`` standard deviations from the level of their neighbours.

    This is the identifier of Hampel (J. American Statistical Association 69, 1974) with runs of about 15 points in
    place of a sliding window: a run's level is its median, and a value must also be far from the levels of the runs
    beside its own, so that neither side of a step is an outlier. The noise is the median absolute deviation of all
    values from their levels; where that is 0 (a counter that hardly ever moves), the mean absolute deviation times
    1.2533 (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993). Values that differ from the level by less
    than a billionth of the largest value are rounding.

    Args:
        points: Pairs of time and value.
        threshold: How far is too far, in standard deviations.
        most: How many are told at most: those furthest away.

    Returns:
        The outliers, in order of time. None among fewer than 8 points, in a constant, and where more than one value in
        twenty would be one: that is how the metric is distributed. On Gaussian noise with autocorrelation 0, 0.8 and
        0.95 less than 1 value in 10,000 is called one (300 points and more), and a spike of 8 standard deviations
        always.

    Raises:
        ValueError: A time or value is NaN or infinite, or an argument is not positive.
    """
    if not threshold > 0 or not most > 0:
        raise ValueError(f"expected threshold and most above 0, got {threshold!r} and {most!r}")
    series = in_order(points)
    n, values = len(series), series.values
    if n < _FEWEST:
        return ()
    runs = max(n // _RUN, 1)
    edges = [i * n // runs for i in range(runs + 1)]
    ranked = [sorted(values[a:b]) for a, b in pairwise(edges)]
    levels = [(run[(len(run) - 1) // 2] + run[len(run) // 2]) / 2 for run in ranked]
    distances = [
        abs(value - level) for (a, b), level in zip(pairwise(edges), levels, strict=True) for value in values[a:b]
    ]
    noise = 1.4826 * median(distances) or 1.2533 * fmean(distances)
    far = max(threshold * noise, 1e-9 * series.largest)
    if max(distances) <= far:
        return ()
    suspects = [i for i, distance in enumerate(distances) if distance > far]
    found = list[tuple[float, int, float]]()
    for i in suspects:
        run = next(k for k in range(i * runs // n, runs) if i < edges[k + 1])
        level = min(levels[max(run - 1, 0) : run + 2], key=lambda level: abs(values[i] - level))
        if abs(values[i] - level) > far:
            found.append((abs(values[i] - level), i, level))
    if len(found) > max(n * _COMMON, 1):
        return ()
    found = sorted(sorted(found)[-most:], key=lambda one: one[1])
    return tuple(
        Outlier(
            timestamp=series.times[i],
            value=series.real(values[i]),
            expected=series.real(level),
            deviation=bounded((values[i] - level) / noise),
        )
        for _, i, level in found
    )


def without(series: Series, found: Iterable[Outlier]) -> Series:
    """Return the series with each outlier replaced by the level around it."""
    values = list(series.values)
    for outlier in found:
        values[bisect_left(series.times, outlier.timestamp)] = outlier.expected / series.scale
    return Series(series.times, tuple(values), series.scale)
