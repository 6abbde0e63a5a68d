"""Contenders: our detector, what it is without one of its parts, and simple ones that it has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

from aetherra.plugins.self_improvement.analysis import Detector
from improving.nab import Series

THRESHOLD = 0.5


class Scorer(Protocol):
    """What scores one point at a time."""

    def update(self, timestamp: float, value: float, /) -> float:
        """Return the score of a point, 0 to 1."""
        ...


class WithoutHold(Detector):
    """Reports each point that clears the bar."""

    HOLD = 0


class WithoutFatigue(Detector):
    """Keeps its bar however much it reports."""

    TIRES = 0.0


class WithoutEither(WithoutHold, WithoutFatigue):
    """Reports whatever clears the same bar."""


class Ewma:
    """The distance from an exponentially weighted mean over 200 points, 0.5 at 6 standard deviations: the floor."""

    LIMIT = 6.0
    SHARE = 1 / 200
    HOLD = 0

    def __init__(self) -> None:
        self._points = self._quiet = 0
        self._mean = self._variance = 0.0

    def update(self, timestamp: float, value: float, /) -> float:  # noqa: ARG002  # it knows no time
        """Return the score of a point, 0 to 1."""
        if not self._points:
            self._mean = value
        distance = value - self._mean
        z = abs(distance) / math.sqrt(self._variance) if self._variance > 0 and self._points > 50 else 0.0
        self._points += 1
        self._mean += self.SHARE * distance
        self._variance = (1 - self.SHARE) * (self._variance + self.SHARE * distance * distance)
        score = z / (z + self.LIMIT)
        if self._quiet:
            self._quiet -= 1
            return 0.0
        if score >= THRESHOLD:
            self._quiet = self.HOLD
        return score


class EwmaWithHold(Ewma):
    """The same, silent for 100 points after a report as ours is."""

    HOLD = 100


class Metronome:
    """Reports every 300th point and looks at none: what chance is worth under these rules."""

    def __init__(self) -> None:
        self._points = 0

    def update(self, timestamp: float, value: float, /) -> float:  # noqa: ARG002  # blind
        """Return the score of a point, 0 or 1."""
        self._points += 1
        return float(self._points % 300 == 0)


OURS = "ours"
CONTENDERS: dict[str, Callable[[], Scorer]] = {
    OURS: Detector,
    "ours without hold": WithoutHold,
    "ours without fatigue": WithoutFatigue,
    "ours without either": WithoutEither,
    "EWMA z-score, with hold": EwmaWithHold,
    "EWMA z-score": Ewma,
    "blind metronome": Metronome,
}


def reports(make: Callable[[], Scorer], series: Series) -> Iterator[int]:
    """Yield the rows that a fresh detector reports, which sees them one at a time."""
    update = make().update
    for row, (time, value) in enumerate(zip(series.times, series.values, strict=True)):
        if update(time, value) >= THRESHOLD:
            yield row
