"""Where a metric went from one level to another: owns the search for steps in a series.

The search is binary segmentation (Scott and Knott, Biometrics 30, 1974; Vostrikova, Soviet Mathematics Doklady 24,
1981): cut where two levels leave the smallest sum of squares, then look at either part, the greatest gain first. A cut
must gain more than ``3 log n`` times the variance of the noise, the penalty of Yao (Statistics & Probability Letters 6,
1988) with some to spare. Four things are ours, each because levels are not all that metrics have:

1. The variance comes from differences of neighbours, which levels do not touch (von Neumann, Annals of Mathematical
   Statistics 12, 1941), the largest tenth left out, as steps are in there.
2. Noise that resembles itself wanders, and a wandering mean is no level. The penalty counts with the variance of the
   *mean of many points*: that of a first-order autoregression whose autocorrelation the differences at lag 2 tell from
   those at lag 1, or that of the means of 4, 8, 16... neighbours, whichever is more.
3. Where a line explains more than a step does, the step is looked for beside that line.
4. A step is there however closely one looks, a curve is not. So four short runs of points around the cut must show it
   beside the slope and bend of their neighbourhood, else the cut is only a detour: made to look into its parts.

Measured in 500 series each, noise in which a change is called, in percent at autocorrelation 0, 0.5, 0.8, 0.9, 0.95:
0, 3, 9, 12, 12 for 60 points; 0, 0, 3, 9, 19 for 300; 0, 0, 0, 1, 4 for 1440. Of steps by three standard deviations in
the middle of independent noise 97 % are found in 60 points and all in more; at autocorrelation 0.8, where 60 points are
worth 7, a quarter in 60 points, two thirds in 300 and 97 % in 1440. A random walk has no levels, and is told in some.
So is a wave one to three times as high as the noise, with its period in the window; take a known season off first.
"""

import math
from bisect import bisect, insort
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import mul
from statistics import fmean, median

import msgspec

from aetherra.plugins.self_improvement.analysis.outliers import Outlier, outliers, without
from aetherra.plugins.self_improvement.analysis.series import Points, Series, bounded, in_order

__all__ = ["ChangePoint", "change_points"]

_MOST_POINTS = 1500
"""Points looked at; more are thinned, which also bounds how exactly a step is placed."""

_SHORTEST = 6
"""Points that a level needs. What is shorter is a burst of outliers, if anything."""

_NEAREST = 60
"""Points on either side of a step that its levels are taken from."""

_DETOURS = 3
"""Cuts that may be made only to look closer."""

_FEWEST_RUNS = 32
"""Means of neighbours must be so many that half of their differences, whose median counts, hold no step."""

_LONGEST_MEMORY = 0.98
"""Highest autocorrelation assumed: at 1 the series is a random walk and has no levels at all."""


class ChangePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a metric.

    Attributes:
        timestamp: When the new level began, in seconds since the epoch.
        before: Level before: the mean of up to 60 points, outliers left out.
        after: Level after, likewise.
        size: The step, in standard deviations of the noise around the levels; negative for one down.
        reason: One sentence why it is one.
    """

    timestamp: float
    before: float
    after: float
    size: float
    reason: str


def change_points(
    points: Points | Series, *, most: int = 10, found: Sequence[Outlier] | None = None
) -> tuple[ChangePoint, ...]:
    """Find where the level of the values changed.

    Args:
        points: Pairs of time and value.
        most: How many changes are told at most: those that explain most.
        found: The outliers of these points where they are known, so that they are not looked for again.

    Returns:
        The changes, in order of time. None among fewer than 12 points and in a constant.

    Raises:
        ValueError: A time or value is NaN or infinite, or ``most`` is not positive.
    """
    if most < 1:
        raise ValueError(f"expected most to be at least 1, got {most!r}")
    series = in_order(points)
    if len(series) < 2 * _SHORTEST:
        return ()
    clean = without(series, outliers(series) if found is None else found)
    thin = clean.thinned(_MOST_POINTS)
    noise = _noise(thin)
    if noise.variance == 0:
        return ()
    around = math.sqrt(noise.variance if thin is clean else _noise(clean).variance)
    return tuple(
        _told(thin, at, before, after, (after - before) / around)
        for at, before, after in _Search(thin, noise).run(most)
    )


def _told(series: Series, at: int, before: float, after: float, size: float) -> ChangePoint:
    before, after, size = series.real(before), series.real(after), bounded(size)
    move = "up" if size > 0 else "down"
    return ChangePoint(
        timestamp=series.times[at],
        before=before,
        after=after,
        size=size,
        reason=f"{move} from {before:.4g} to {after:.4g}, {abs(size):.2g} times the noise around these levels",
    )


class _Noise(msgspec.Struct, frozen=True):
    """The noise around the levels.

    Attributes:
        variance: Of one point.
        brief: Of the mean of n points, times n, if a first-order autoregression is all there is to it.
        lasting: The same, if slower wandering is noise, too.
    """

    variance: float
    brief: float
    lasting: float


def _noise(series: Series) -> _Noise:
    n, values = len(series), series.values
    first = [(rise := after - before) * rise for before, after in pairwise(values)]
    half = _trimmed(first) / 2
    if math.sqrt(half) <= 1e-13 * series.largest:  # rounding, if anything, but for some steps
        variance = fmean(first) / 2 if max(first) > 1e-24 * series.largest * series.largest else 0.0
        return _Noise(variance, variance, variance)
    every = 2 if n > 600 else 1
    second = [(rise := after - before) * rise for before, after in zip(values[::every], values[2::every], strict=False)]
    memory = min(max(_trimmed(second) / 2 / half - 1 + 2 / n, 0.0), _LONGEST_MEMORY)
    variance = half / (1 - memory)
    lasting = brief = variance * (1 + memory) / (1 - memory)
    sums = [0.0, *accumulate(values)]
    run = 4
    while n // run >= _FEWEST_RUNS:
        squares = [
            (bend := after - 2 * middle + before) * bend
            for before, middle, after in zip(sums[::run], sums[run::run], sums[2 * run :: run], strict=False)
        ]
        lasting = max(lasting, 2.198 * median(squares) / 2 / run)
        run *= 2
    return _Noise(variance, brief, lasting)


def _trimmed(squares: list[float]) -> float:
    """Return the mean of squares of Gaussian noise from all but the largest tenth.

    1.6045 is ``0.9 / (0.9 - 2 q phi(q))`` for the normal distribution's 95 % quantile ``q``.
    """
    rest = sorted(squares)[: len(squares) - len(squares) // 10]
    return 1.6045 * sum(rest) / len(rest)


class _Cut(msgspec.Struct, frozen=True, order=True):
    """A place to cut: what that gains, the part it lies in, where, and whether the level changes there."""

    gain: float
    first: int
    end: int
    at: int
    step: bool


class _Search:
    """One search through the values of a series."""

    def __init__(self, series: Series, noise: _Noise) -> None:
        self._values, mean = series.values, series.mean
        self._centred = [value - mean for value in series.values]
        self._sums = [0.0, *accumulate(self._centred)]
        self._moments: list[float] = []
        self._noise = noise
        self._penalty = 3 * math.log(len(series)) * noise.lasting
        self._cuts = [0, len(series)]

    def run(self, most: int) -> list[tuple[int, float, float]]:
        """Return where steps are, with the levels before and after."""
        found = list[int]()
        detours = 0
        waiting = self._candidates(0, len(self._values))
        while waiting and len(found) < most:
            cut = waiting.pop()
            if cut.step:
                found.append(cut.at)
            elif detours < _DETOURS:
                detours += 1
            else:
                continue
            insort(self._cuts, cut.at)
            for one in self._candidates(cut.first, cut.at) + self._candidates(cut.at, cut.end):
                insort(waiting, one)
        return [(at, *self._levels(at)) for at in sorted(found)]

    def _candidates(self, first: int, end: int) -> list[_Cut]:
        at, gain = self._between_levels(first, end)
        if gain <= self._penalty:
            return []
        slope, line = self._line(first, end)
        if gain >= line + self._penalty / 3 and self._is_step(first, at, end):
            return [_Cut(gain, first, end, at, step=True)]
        beside, rest = self._beside_a_line(first, end, slope)
        if rest > self._penalty:
            return [_Cut(rest, first, end, beside, step=self._is_step(first, beside, end))]
        # What rises in a few stairs looks like a line until they are cut once more; a step explains 3/4 of a line.
        if gain < 0.8 * line:
            return []
        stairs = gain + self._between_levels(first, at)[1] + self._between_levels(at, end)[1]
        if stairs >= line + self._penalty and self._is_step(first, at, end):
            return [_Cut(gain, first, end, at, step=True)]
        return []

    def _between_levels(self, first: int, end: int) -> tuple[int, float]:
        """Return where two levels fit best, and by how much the sum of squares falls."""
        n = end - first
        if n < 2 * _SHORTEST:
            return first, 0.0
        sums = self._sums[first + _SHORTEST : end - _SHORTEST + 1]
        if n == len(self._values):  # the mean of all is 0, but for its last digit
            gains = list(map(mul, map(mul, sums, sums), _shares(n)))
        else:
            start = self._sums[first]
            mean = (self._sums[end] - start) / n
            gains = [
                (rest := total - start - k * mean) * rest / (k * (n - k)) for k, total in enumerate(sums, _SHORTEST)
            ]
        best = max(gains)
        return first + _SHORTEST + gains.index(best), best * n

    def _line(self, first: int, end: int) -> tuple[float, float]:
        """Return the slope of the best line, and by how much it lets the sum of squares fall."""
        if not self._moments:
            self._moments = [0.0, *accumulate(map(mul, range(len(self._centred)), self._centred))]
        n = end - first
        power = n * (n * n - 1) / 12
        middle = (first + end - 1) / 2
        slope = (self._moments[end] - self._moments[first] - middle * (self._sums[end] - self._sums[first])) / power
        return slope, slope * slope * power

    def _beside_a_line(self, first: int, end: int, slope: float) -> tuple[int, float]:
        """Return where a step beside a line fits best, and by how much the sum of squares falls further.

        Least squares of ``a + b t + c [t >= k]``: of the residuals of the line those before k sum to what c takes, and
        ``m - 3 m^2 n / (n^2 - 1)``, ``m = k (n - k) / n``, is what is left of the step's power beside the line.
        """
        n = end - first
        start = self._sums[first]
        mean = (self._sums[end] - start) / n
        bend, half = 3 * n / (n * n - 1), slope * n / 2
        gains = [
            (rest := total - start - k * mean + half * (m := k * (n - k) / n)) * rest / (m * (1 - bend * m))
            for k, total in enumerate(self._sums[first + _SHORTEST : end - _SHORTEST + 1], _SHORTEST)
        ]
        best = max(gains)
        return first + _SHORTEST + gains.index(best), best

    def _is_step(self, first: int, at: int, end: int) -> bool:
        """Whether the step is there when looked at as closely as the noise allows.

        Of the means of four neighbouring runs, ``1.5 (c - b) - 0.5 (d - a)`` is the step between b and c, whatever the
        slope and bend of a parabola through them; its variance is 5 times that of a mean. The runs are as long as make
        the step 6 standard deviations of that, if there is room.
        """
        room = min(at - first, end - at)
        near = min(room, _NEAREST)
        step = self._mean(at, at + near) - self._mean(at - near, at)
        if step == 0:
            return False
        enough = 200 * self._noise.brief / (step * step)
        run = max(math.ceil(min(enough, room // 2)), 3)
        inner = self._mean(at, at + run) - self._mean(at - run, at)
        outer = self._mean(at + run, at + 2 * run) - self._mean(at - 2 * run, at - run)
        return (1.5 * inner - 0.5 * outer) / step > 0.4

    def _levels(self, at: int) -> tuple[float, float]:
        place = bisect(self._cuts, at)
        first, end = max(self._cuts[place - 2], at - _NEAREST), min(self._cuts[place], at + _NEAREST)
        return fmean(self._values[first:at]), fmean(self._values[at:end])

    def _mean(self, first: int, end: int) -> float:
        return (self._sums[end] - self._sums[first]) / (end - first)


@lru_cache(maxsize=16)  # most metrics have the same number of points
def _shares(n: int) -> list[float]:
    """Return ``1 / (k (n - k))`` for each k that n points may be cut at."""
    return [1 / (k * (n - k)) for k in range(_SHORTEST, n - _SHORTEST + 1)]
