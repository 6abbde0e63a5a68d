"""Two windows of one metric, before and after a change, put on common terms: owns what a comparison may rely on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

from aetherra.plugins.self_improvement.analysis.autoregression import Lines
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.series import Points, Series, bounded, in_order
from aetherra.plugins.self_improvement.analysis.trends import trend

__all__ = ["Windows", "mean", "windows"]


_MOST = 1000
"""Values that are looked at on either side, the nearest to the change."""


class Windows(NamedTuple):
    """The values of both windows, divided by ``scale``; where close to a target is good, their distances from it.

    Attributes:
        points: How many points at different times there are in each.
        before: In the order of their times; of long windows the means of runs of neighbours, at most 1000.
        after: Likewise.
        scale: See ``Series``.
        sense: 1 where more is better, -1 where less is (so also of distances), 0 where nobody said.
        times: Those of both windows, as parts of the span, 0 at the end of the first.
        drift: By how much the values rose over a whole span before, beyond chance; 0 where they did not, and where the
            second window begins so much later than the first one lasted that nobody can say that they went on.
        problem: Why they cannot be compared, or "".
    """

    points: tuple[int, int]
    before: Sequence[float]
    after: Sequence[float]
    scale: float
    sense: int
    times: tuple[Sequence[float], Sequence[float]]
    drift: float
    problem: str

    @property
    def projected(self) -> tuple[list[float], list[float]]:
        """What is left of the values when they are freed of the drift that they had before."""
        first, second = (
            [value - self.drift * time for value, time in zip(values, times, strict=True)]
            for values, times in zip((self.before, self.after), self.times, strict=True)
        )
        return first, second

    @property
    def gap(self) -> float:
        """The time between the windows, in steps between points."""
        first, second = self.times
        return max(1.0, (second[0] - first[-1]) / (first[-1] - first[0]) * (len(first) - 1))

    @property
    def lines(self) -> Lines:
        """What a regression is to allow for: where there is a drift, one before and another after."""
        if not self.drift:
            return ()
        first, second = self.times
        middle = mean(second)
        return (first, [middle] * len(second)), ([0.0] * len(first), [time - middle for time in second])

    def level(self, middle: Callable[[Sequence[float]], float]) -> float:
        """Return the magnitude that a shift is measured by.

        It is the ``middle`` of the magnitudes before; where that is 0, their mean; where all are 0, the mean of those
        after.
        """
        magnitudes = list(map(abs, self.before))
        return middle(magnitudes) or mean(magnitudes) or mean(list(map(abs, self.after)))

    def real(self, value: float) -> float:
        """Return a scaled value in the metric's unit."""
        return bounded(value * self.scale)

    def lift(self, shift: float, level: float) -> float:
        """Return a shift in parts of the level: positive is better, or upwards where nobody said what is."""
        return (self.sense or 1) * shift / level if shift else 0.0


def windows(
    before: Points | Series,
    after: Points | Series,
    *,
    good: Direction,
    target: float | None,
    alpha: float,
    least: tuple[int, int],
    run: Callable[[int, int], int],
) -> Windows:
    """Put two windows on common terms.

    Args:
        before: The points before the change, in any order.
        after: Those after it.
        good: Which way the metric should move.
        target: The wanted value, read only with ``near``.
        alpha: Highest probability of chance with which the values before are said to have drifted.
        least: Values that either window must have at different times, averaged as ``run`` says.
        run: How many neighbours are averaged to one value, given the numbers of points before and after.

    Raises:
        ValueError: A time or value is NaN or infinite, or ``good`` is no direction.
    """
    if good not in get_args(Direction):
        raise ValueError(f"expected good to be one of {get_args(Direction)}, got {good!r}")
    first, second = in_order(before), in_order(after)
    points = len(first), len(second)
    scale = max((series.scale for series in (first, second) if any(series.values)), default=1.0)
    x, y = (_rescaled(series, scale) for series in (first, second))
    sense = {"up": 1, "down": -1, "near": -1, "unknown": 0}[good]
    if good == "near":
        if target is None:
            sense = 0
        else:
            x, y = ([abs(value - target / scale) for value in values] for values in (x, y))
    length = max(1, run(*points))
    enough = least[0] * length, least[1] * length
    problem = ""
    if points[0] < enough[0] or points[1] < enough[1]:
        problem = f"needs at least {enough[0]} points before and {enough[1]} after, has {points[0]} and {points[1]}"
    elif second.times[0] <= first.times[-1]:
        problem = "the points after begin before those before have ended"
    if problem:
        return Windows(points, x, y, scale, sense, ((), ()), 0.0, problem)
    end, span = first.times[-1], second.times[-1] - first.times[0]
    drift = 0.0
    if second.times[0] - end <= end - first.times[0]:
        found = trend(Series(first.times, tuple(x)), good="unknown", minimum_effect=0.0, alpha=alpha)
        drift = (found.slope_per_hour or 0.0) / 3600 * span if found.movement in ("rising", "falling") else 0.0
    times = tuple([(time - end) / span for time in series.times] for series in (first, second))
    return Windows(
        points,
        _runs(x[len(x) % length :], length)[-_MOST:],
        _runs(y, length)[:_MOST],
        scale,
        sense,
        (_runs(times[0][len(x) % length :], length)[-_MOST:], _runs(times[1], length)[:_MOST]),
        drift,
        "",
    )


def _runs(values: list[float], length: int) -> list[float]:
    """Return the means of whole runs of neighbours: what is over at the end is left out."""
    return [mean(values[i : i + length]) for i in range(0, len(values) - length + 1, length)]


def _rescaled(series: Series, scale: float) -> list[float]:
    if series.scale == scale or not any(series.values):
        return list(series.values)
    return [value * (series.scale / scale) for value in series.values]


def mean(values: Sequence[float]) -> float:
    """Return the mean, without the care that ``statistics.mean`` takes of fractions."""
    return sum(values) / len(values)
