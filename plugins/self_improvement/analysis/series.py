"""The points of one metric, put in order: owns what an analysis may rely on about times and values."""

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby, islice, pairwise
from operator import itemgetter, lt
from statistics import median

import msgspec

__all__ = ["Points", "Series", "in_order"]

Points = Sequence[tuple[float, float]]
"""Pairs of time (seconds since the epoch) and value, in any order."""

_LATEST = 1e12
"""Times beyond this are no seconds since the epoch (the year 33658) but, most likely, milliseconds."""

_LARGEST, _SMALLEST = 1e100, 1e-100
"""Magnitudes between which sums of squares neither overflow nor vanish."""


class Series(msgspec.Struct, frozen=True, dict=True):
    """Finite values at times that only rise.

    Attributes:
        times: Seconds since the epoch, each later than the one before.
        values: As many values, each divided by ``scale``.
        scale: A power of two: 1 unless the largest magnitude is beyond 1e100 or below 1e-100, where squares would
            overflow or vanish. Then the largest scaled magnitude is about 1.
    """

    times: tuple[float, ...]
    values: tuple[float, ...]
    scale: float = 1.0

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def mean(self) -> float:
        """The mean of the values, rounded but once; of none it is 0."""
        return math.fsum(self.values) / len(self.values) if self.values else 0.0

    @cached_property
    def largest(self) -> float:
        """The largest magnitude among the values; of none it is 0."""
        return _largest(self.values)

    def real(self, value: float) -> float:
        """Return a scaled value in the metric's unit; beyond the largest float, that."""
        return bounded(value * self.scale)

    def since(self, time: float) -> "Series":
        """Return the points from ``time`` on."""
        first = next((i for i, at in enumerate(self.times) if at >= time), len(self.times))
        return Series(self.times[first:], self.values[first:], self.scale)

    def thinned(self, most: int) -> "Series":
        """Return at most ``most`` points: a longer series is cut into as many equal runs of neighbours.

        Each run becomes the middle of its time and its midmean: the mean of what is left when a quarter of the run is
        taken off at either end of its sorted values. That keeps single outliers out as the median does, and wastes
        less: on Gaussian noise it varies by a fifth more than the mean, the median by half (Huber, Robust Statistics,
        1981).
        """
        n = len(self.times)
        if n <= most:
            return self
        times, values = self.times, self.values
        runs = list(pairwise([i * n // most for i in range(most + 1)]))
        middles = {length: _middle(length) for length in (n // most, n // most + 1)}
        return Series(
            tuple([(times[a] + times[b - 1]) / 2 for a, b in runs]),
            tuple([sum(half := sorted(values[a:b])[middles[b - a]]) / len(half) for a, b in runs]),
            self.scale,
        )


def in_order(points: Points | Series) -> Series:
    """Sort points by time; those of one time become one, with the mean of their values.

    A series is returned as it is, so that what is in order is not ordered again.

    Raises:
        ValueError: A time or value is NaN or infinite, or a time lies beyond 1e12 (the error names it).
    """
    if isinstance(points, Series):
        return points
    if not points:
        return Series((), ())
    times: tuple[float, ...] = tuple(map(itemgetter(0), points))
    values: tuple[float, ...] = tuple(map(itemgetter(1), points))
    rising = all(map(lt, times, islice(times, 1, None)))
    first, last = (times[0], times[-1]) if rising else (min(times), max(times))
    if not (math.isfinite(sum(values)) and math.isfinite(sum(times)) and first >= -_LATEST and last <= _LATEST):
        _refuse(points)  # unless it is only the sum that is not finite
    largest = _largest(values)
    scale = 1.0
    if largest > _LARGEST or 0 < largest < _SMALLEST:
        scale = math.ldexp(1.0, min(math.frexp(largest)[1], 1023))
        values = tuple([value / scale for value in values])
    if not rising:
        times, values = _merged(sorted(zip(times, values, strict=True)))
    return Series(times, values, scale)


def bounded(value: float) -> float:
    """Return ``value``, or the largest float of its sign where it is infinite."""
    return math.copysign(_MOST, value) if math.isinf(value) else value


def deviation(values: Sequence[float], center: float) -> float:
    """Return the median absolute deviation from ``center``, as the standard deviation that Gaussian noise would have.

    1 / 0.6745 makes it so (Hampel, J. American Statistical Association 69, 1974).
    """
    return 1.4826 * median([abs(value - center) for value in values])


_MOST = math.nextafter(math.inf, 0)


def _largest(values: Sequence[float]) -> float:
    return max(max(values), -min(values)) if values else 0.0  # noqa: PLW3301 - one call would take all as arguments


def _middle(length: int) -> slice:
    """Return which half of so many sorted values lies in the middle: of one or two all, of three or four the middle."""
    cut = (length + 1) // 4
    return slice(cut, length - cut)


def _refuse(points: Points) -> None:
    for time, value in points:
        if not (math.isfinite(time) and math.isfinite(value)):
            raise ValueError(f"expected finite times and values, got value {value!r} at time {time!r}")
        if abs(time) > _LATEST:
            raise ValueError(f"expected a time in seconds since the epoch, got {time!r} for value {value!r}")


def _merged(points: list[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    times, values = list[float](), list[float]()
    for time, group in groupby(points, key=itemgetter(0)):
        same = [value for _, value in group]
        times.append(time)
        values.append(math.fsum(same) / len(same))
    return tuple(times), tuple(values)
