"""A line through noise that remembers: owns the regression behind a forecast, and how far it may be off.

The noise is a first-order autoregression. Its autocorrelation is that of the residuals of ordinary least squares, freed
of its small-sample bias as in ``trends``; with it the line is fitted again by generalized least squares (Prais and
Winsten, Cowles Commission Discussion Paper 383, 1954), for uneven times as Robinson (J. Applied Probability 14, 1977)
has it. What is predicted is the best linear prediction (Goldberger, J. American Statistical Association 57, 1962): the
line, and of the last residual what is still remembered; its variance that of the noise to come and of the line.
"""

import math
from itertools import pairwise
from operator import mul
from statistics import median

from aetherra.plugins.self_improvement.analysis.series import Series

__all__ = ["Drift", "variance_within"]

_LONGEST_MEMORY = 0.98
"""Highest autocorrelation assumed; from one point to the next that is hardly less than a random walk."""

_CLOSEST = 1e-6
"""Seconds below which a clock does not tell times apart."""


class Drift:
    """A line fitted to 8 points or more.

    Args:
        series: These points; the work is some 2 us for each, so they should be thinned.

    Attributes:
        slope: In values per second.
        memory: Autocorrelation of the noise from one point to the next.
        level: The last value.
        freedom: Degrees of freedom of the noise: independent points that the series is worth, less two.
    """

    def __init__(self, series: Series) -> None:
        times, values = series.times, series.values
        n = len(series)
        self._last, self.level = times[-1], values[-1]
        gaps = [after - before for before, after in pairwise(times)]
        self._step = max(median(gaps), _CLOSEST)
        places = [(time - self._last) / self._step for time in times]
        memory = _memory(places, values)

        first = math.sqrt(1 - memory * memory)
        kept = [memory ** max(gap / self._step, 0.001) for gap in gaps]
        weights = [first / math.sqrt(1 - one * one) for one in kept]
        ones = [first, *[weight * (1 - one) for weight, one in zip(weights, kept, strict=True)]]
        lines, freed = (
            [
                first * column[0],
                *[w * (b - k * a) for w, k, a, b in zip(weights, kept, column, column[1:], strict=False)],
            ]
            for column in (places, values)
        )
        self._ones = math.fsum(map(mul, ones, ones))
        self._lean = math.fsum(map(mul, ones, lines)) / self._ones
        across = [line - self._lean * one for one, line in zip(ones, lines, strict=True)]
        self._lines = math.fsum(map(mul, across, across))
        slope = math.fsum(map(mul, across, freed)) / self._lines
        middle = math.fsum(map(mul, ones, freed)) / self._ones
        rest = [value - middle * a - slope * b for value, a, b in zip(freed, ones, across, strict=True)]
        self._variance = math.fsum(map(mul, rest, rest)) / (n - 2) / (1 - memory * memory)
        self.memory, self._slope, self._start = memory, slope, middle - slope * self._lean
        self.slope = slope / self._step
        self.freedom = max(2, int(n * (1 - memory) / (1 + memory)) - 2)

    def predict(self, time: float) -> tuple[float, float]:
        """Return the value to be expected at a time after the last point, and the variance around it."""
        ahead = (time - self._last) / self._step
        kept = self.memory**ahead
        value = self._start * (1 - kept) + self._slope * ahead + kept * self.level
        one, across = 1 - kept, ahead - self._lean * (1 - kept)
        unsure = one * one / self._ones + across * across / self._lines
        noise = 1 - kept * kept + (1 - self.memory**2) * unsure
        return value, self._variance * noise


def _memory(places: list[float], values: tuple[float, ...]) -> float:
    """Return the lag-1 autocorrelation beside the line of least squares, between 0 and 0.98."""
    n = len(values)
    center, level = sum(places) / n, sum(values) / n
    across = [place - center for place in places]
    slope = sum([a * (value - level) for a, value in zip(across, values, strict=True)]) / sum(map(mul, across, across))
    rest = [value - level - slope * a for a, value in zip(across, values, strict=True)]
    power: float = sum(map(mul, rest, rest))
    if power <= 1e-24 * sum(map(mul, values, values)):  # rounding, if anything
        return 0.0
    raw: float = sum(map(mul, rest, rest[1:])) / power
    return min(max((n * raw + 2) / (n - 4), 0.0), _LONGEST_MEMORY)


def variance_within(series: Series, thin: Series, slope: float) -> float:
    """Return the variance of single points around the means that thinning left, 0 where it left all points.

    Of ``slope`` per second, which runs through them, it is free.
    """
    n, most = len(series), len(thin)
    if n == most:
        return 0.0
    times, values, runs = series.times, series.values, pairwise([i * n // most for i in range(most + 1)])
    some = max(n // 400, 1)  # of the points are enough
    distances = [
        abs(value - mean - slope * (at - time))
        for time, mean, (a, b) in zip(thin.times, thin.values, runs, strict=True)
        for at, value in zip(times[a:b:some], values[a:b:some], strict=True)
    ]
    run = n / most
    return (1.4826 * median(distances)) ** 2 * run / (run - 1)
