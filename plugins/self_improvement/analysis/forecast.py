"""Where a metric is going: owns forecasts with an interval, and when a setpoint will be crossed.

A forecast is a line through noise that remembers (``drift``), always with its slope: how sure that is, the interval
says. It is fitted twice, to at most 80 points and to at most 20 means of many, and the wider interval counts: the first
sees how fast the noise forgets, the second sees the slow wandering that lies beneath fast noise. The interval is
Student's, with as many degrees of freedom as there are independent points.

Measured in 400 series each that drift by four standard deviations, with noise of autocorrelation 0 to 0.8, the interval
of 90 % holds 87 to 97 % of the values 1/20, 1/4 and 1 window ahead, for 20, 60, 300 and 1440 points; at 0.95 it is 83
to 97 %. A random walk stays within in 89 to 98 % up to 1/4 window ahead, and in 78 to 87 % a whole window ahead. Of
drifts in noise that were found to be trends, the time at which the line itself crosses lies between the earliest and
the latest in 96 to 100 % of series up to autocorrelation 0.8, in 90 to 99 % at 0.95. The ends are those of single
values at one time: the first of many values beyond the setpoint may come before the earliest.

Nothing here knows of limits that the world sets: a share rises beyond 1.
"""

import math
from collections.abc import Callable

import msgspec

from aetherra.plugins.self_improvement.analysis.drift import Drift, variance_within
from aetherra.plugins.self_improvement.analysis.seasonality import Season
from aetherra.plugins.self_improvement.analysis.series import Points, Series, in_order
from aetherra.plugins.self_improvement.analysis.student import quantile
from aetherra.plugins.self_improvement.analysis.trends import MINIMUM_POINTS, Movement

__all__ = ["Crossing", "Forecast", "Outlook"]

_FINE, _COARSE = 80, 20
_LOOKS = 32
"""Times looked at for a crossing, unless hours differ."""

_MOST_LOOKS = 1000


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric is expected to be at one time.

    Attributes:
        at: That time, in seconds since the epoch. Where a metric is analysed, it lies no further after the latest point
            than the points reach back, unless that is over already.
        value: The value to be expected; None where nothing can be said.
        low: The lower end of the interval that a single value lies in with a chance of ``coverage``.
        high: The upper end.
        coverage: That chance.
        reason: One sentence why.
    """

    at: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    coverage: float
    reason: str


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """When a metric will cross a setpoint.

    Attributes:
        setpoint: The value that is crossed, in the metric's unit.
        earliest: When a single value may first lie beyond it, in seconds since the epoch; None for not before the end
            of what was looked at, or where nothing can be said.
        expected: When the middle of the forecast crosses it; None likewise.
        latest: From when on hardly a value is still on this side of it; None likewise.
        reason: One sentence why.
    """

    setpoint: float
    earliest: float | None = None
    expected: float | None = None
    latest: float | None = None
    reason: str


class Outlook:
    """What can be said of the time after a series.

    Args:
        points: Pairs of time and value; of a metric with a season, without it (``Season.removed``).
        season: That season: put on what is forecast.
        coverage: How sure an interval is to be.
        reach: The latest time of which anything is said.

    Raises:
        ValueError: A time or value is NaN or infinite, or ``coverage`` does not lie between 0 and 1.
    """

    def __init__(
        self, points: Points | Series, *, season: Season | None = None, coverage: float = 0.9, reach: float = math.inf
    ) -> None:
        if not 0 < coverage < 1:
            raise ValueError(f"expected 0 < coverage < 1, got {coverage!r}")
        self._series = in_order(points)
        self._season = season if season is not None and season.hour_means else None
        self._coverage = coverage
        self._reach = reach
        self._fits = list[Drift]()
        self._beside = list[float]()  # what single points scatter by around those that a fit was made to
        n = len(self._series)
        if n >= MINIMUM_POINTS:
            fine = self._series.thinned(_FINE)
            self._fits = [Drift(fine)]
            self._beside = [variance_within(self._series, fine, self._fits[0].slope)]
            if n >= 2 * _COARSE:
                coarse = fine.thinned(_COARSE)
                self._fits.append(Drift(coarse))
                self._beside.append(self._beside[0] + variance_within(fine, coarse, self._fits[1].slope))

    def forecast(self, at: float) -> Forecast:
        """Forecast the value at a time after the last point; with fewer than 8 points there is none."""
        why_not = self._why_not(at)
        if why_not:
            return Forecast(at=at, coverage=self._coverage, reason=why_not)
        low, value, high = self._interval(at)
        return Forecast(
            at=at,
            value=self._series.real(value),
            low=self._series.real(low),
            high=self._series.real(high),
            coverage=self._coverage,
            reason=f"a line through {len(self._series)} points, worth {self._fits[0].freedom + 2} independent ones",
        )

    def crossing(self, setpoint: float, *, movement: Movement, until: float) -> Crossing:
        """Say when a metric that moves will cross ``setpoint``.

        Args:
            setpoint: The value, in the metric's unit.
            movement: What ``trend`` found: nothing is said of a metric that neither rises nor falls beyond chance.
            until: The latest time that is looked at, in seconds since the epoch.

        Returns:
            When, or why nobody can say.
        """
        why_not = self._why_not(until) or self._why_not_crossed(setpoint / self._series.scale, movement)
        if why_not:
            return Crossing(setpoint=setpoint, reason=why_not)
        sign = 1.0 if movement == "rising" else -1.0
        limit = sign * setpoint / self._series.scale

        def highest_first(time: float) -> list[float]:
            return sorted([sign * bound for bound in self._interval(time)], reverse=True)

        times = [self._series.times[-1], *self._looks(until)]
        lines = [highest_first(time) for time in times[1:]]
        earliest, expected, latest = (_first_above(limit, times, lines, rank, highest_first) for rank in range(3))
        return Crossing(
            setpoint=setpoint,
            earliest=earliest,
            expected=expected,
            latest=latest,
            reason=self._told(setpoint, movement, until, (earliest, expected, latest)),
        )

    def _told(
        self, setpoint: float, movement: Movement, until: float, when: tuple[float | None, float | None, float | None]
    ) -> str:
        last = self._series.times[-1]
        earliest, expected, latest = (None if time is None else f"{(time - last) / 3600:.3g} h" for time in when)
        hours = f"{(until - last) / 3600:.3g} h"
        if expected is None:
            if earliest is None:
                return f"{movement}, and not to reach {setpoint:g} within {hours}"
            return f"{movement}, and not expected to reach {setpoint:g} within {hours}, though it may in {earliest}"
        return (
            f"{movement}, and expected to reach {setpoint:g} in {expected}, "
            f"between {earliest} and {latest or f'more than {hours}'}"
        )

    def _why_not(self, at: float) -> str:
        n = len(self._series)
        if not self._fits:
            return f"needs at least {MINIMUM_POINTS} points at different times, has {n}"
        if at <= self._series.times[-1]:
            return "lies before the last point"
        if at > self._reach:
            first, last = self._series.times[0], self._series.times[-1]
            after, span = (f"{seconds / 3600:.3g} h" for seconds in (at - last, last - first))
            return f"lies {after} after the last point, further than the points reach back, which is {span}"
        return ""

    def _why_not_crossed(self, setpoint: float, movement: Movement) -> str:
        if movement not in ("rising", "falling"):
            return "no trend that would carry it anywhere"
        sign = 1.0 if movement == "rising" else -1.0
        fit = self._fits[0]
        if sign * fit.slope <= 0:
            return f"{movement} on the whole, but not of late"
        if sign * (setpoint - fit.level - self._offset(self._series.times[-1])) <= 0:
            return f"{movement}, and beyond {self._series.real(setpoint):g} already"
        return ""

    def _looks(self, until: float) -> list[float]:
        last = self._series.times[-1]
        count = _LOOKS if self._season is None else min(max(_LOOKS, int((until - last) / 3600)), _MOST_LOOKS)
        return [last + (until - last) * i / count for i in range(1, count + 1)]

    def _interval(self, at: float) -> tuple[float, float, float]:
        offset = self._offset(at)
        half, value = -1.0, 0.0
        for fit, beside in zip(self._fits, self._beside, strict=True):
            middle, variance = fit.predict(at)
            room = quantile(self._coverage, fit.freedom) * math.sqrt(variance + beside)
            if room > half:
                half, value = room, middle + offset
        return value - half, value, value + half

    def _offset(self, at: float) -> float:
        return 0.0 if self._season is None else self._season.offset(at) / self._series.scale


def _first_above(
    limit: float, times: list[float], lines: list[list[float]], rank: int, line: Callable[[float], list[float]]
) -> float | None:
    """Return the first time at which one of three lines reaches ``limit``, to a thousandth of a look.

    ``lines`` are their values at all ``times`` but the first, where nothing has reached it yet.
    """
    first = next((i for i, values in enumerate(lines) if values[rank] >= limit), None)
    if first is None:
        return None
    before, after = times[first], times[first + 1]
    for _ in range(10):
        middle = (before + after) / 2
        before, after = (before, middle) if line(middle)[rank] >= limit else (middle, after)
    return after
