"""How fast a figure grows: the median slope of its last readings."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["Growth"]

POINTS = 12
"""Readings that are kept; 66 pairs of them cost about 10 us."""
FEWEST = 4
"""Readings below which nobody knows."""


class Growth:
    """The slope of a figure over time, by Theil and Sen: the median of the slopes between all pairs of readings.

    A jump, as of one large allocation, moves a median little; steady growth moves it at once (H. Theil 1950, P. K. Sen
    1968, "Estimates of the regression coefficient based on Kendall's tau").

    Args:
        window: Seconds that it looks back on; readings closer together than a twelfth of it are passed over.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._points: deque[tuple[float, float]] = deque(maxlen=POINTS)

    def add(self, now: float, value: float) -> None:
        """Take in a reading, at ``now`` seconds of a clock that never goes back."""
        if not self._points or now - self._points[-1][0] >= self._window / POINTS:
            self._points.append((now, value))

    def per_second(self, now: float) -> float | None:
        """Return the slope; ``None`` while too few readings are young enough."""
        points = [point for point in self._points if point[0] >= now - self._window]
        if len(points) < FEWEST:
            return None
        return median(
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for i, later in enumerate(points)
            for earlier in points[:i]
        )
