"""A metric in a few figures: owns count, mean, variance, extremes and percentiles of a series."""

import math
from operator import mul

import msgspec

from aetherra.plugins.self_improvement.analysis.series import Points, Series, in_order

__all__ = ["Summary", "percentile", "summary"]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the values of a series are like, whatever their order.

    Attributes:
        count: Points at different times.
        mean: Arithmetic mean.
        variance: Sample variance (divided by ``count - 1``), 0 for a single point; None where no float holds it, as
            from values of 1e154 on.
        deviation: Its root, the standard deviation, which is known there as well; None where no float holds that.
        minimum: Least value.
        maximum: Greatest value.
        p50: Median.
        p95: What 95 % of the values do not exceed.
        p99: What 99 % of the values do not exceed.
    """

    count: int
    mean: float | None = None
    variance: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def summary(points: Points | Series) -> Summary:
    """Sum up the values; without points there is a count of 0 and nothing else.

    Sums of values and of squares are exact (Shewchuk, Discrete & Computational Geometry 18, 1997, as ``math.fsum``
    does), and the variance goes over the values twice with a correction for the rounded mean (Chan, Golub and LeVeque,
    The American Statistician 37, 1983): a small variance around a large mean is not lost, and values near the largest
    float do not overflow.

    Raises:
        ValueError: A time or value is NaN or infinite.
    """
    series = in_order(points)
    n = len(series)
    if n == 0:
        return Summary(count=0)
    values = sorted(series.values)
    mean = series.mean
    rest = [value - mean for value in series.values]
    squares = math.fsum(map(mul, rest, rest))
    squares -= sum(rest) ** 2 / n
    deviation = math.sqrt(max(squares, 0.0) / (n - 1)) * series.scale if n > 1 else 0.0
    return Summary(
        count=n,
        mean=series.real(min(max(mean, values[0]), values[-1])),
        variance=_held(deviation * deviation),
        deviation=_held(deviation),
        minimum=series.real(values[0]),
        maximum=series.real(values[-1]),
        p50=series.real(percentile(values, 0.50)),
        p95=series.real(percentile(values, 0.95)),
        p99=series.real(percentile(values, 0.99)),
    )


def _held(value: float) -> float | None:
    return value if math.isfinite(value) else None


def percentile(ranked: list[float], share: float) -> float:
    """Return the value below which ``share`` of the sorted values lie, between neighbours by a line.

    Definition 7 of Hyndman and Fan (The American Statistician 50, 1996), as numpy does.
    """
    position = share * (len(ranked) - 1)
    below = int(position)
    above = min(below + 1, len(ranked) - 1)
    part = position - below
    return min(ranked[below] + (ranked[above] - ranked[below]) * part, ranked[above])
