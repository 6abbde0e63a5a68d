"""What hours of the day do to metrics: known from two weeks, looked at in turn, as it takes longer than a look may."""

from __future__ import annotations

import math
from collections.abc import Iterable

from aetherra.plugins.self_improvement.analysis import Season, seasonality
from aetherra.plugins.self_improvement.history import MetricHistory, MetricInfo

__all__ = ["Seasons"]

LONG = 14 * 86_400.0
"""Seconds of the past that a season is taken from."""
FRESH = 6 * 3600.0
"""Seconds for which it is not taken anew."""
AT_ONCE = 3
"""Metrics whose season is taken at one look: some 20 ms each, where there is a point a minute."""
SHORTEST = 3 * 86_400.0
"""Seconds of history without which there is no season."""
MOST_POINTS = 50_000


class Seasons:
    """Synchronous and slow: for worker threads, one at a time.

    Args:
        history: Where they are taken from.
    """

    def __init__(self, history: MetricHistory) -> None:
        self._history = history
        self._known: dict[str, tuple[float, Season]] = {}

    def get(self, metric: str) -> Season | None:
        """Return what is known of a metric, None before that was looked at."""
        known = self._known.get(metric)
        return None if known is None else known[1]

    def refresh(self, infos: Iterable[MetricInfo], now: float) -> None:
        """Take the seasons of those few metrics anew whose are the oldest; forget metrics that are gone."""
        long = {info.name: info for info in infos if now - info.first >= SHORTEST}
        self._known = {name: known for name, known in self._known.items() if name in long}
        stale = sorted((self._known[name][0] if name in self._known else -math.inf, name) for name in long)
        for at, name in stale[:AT_ONCE]:
            if now - at >= FRESH:
                points = self._history.points(name, now - LONG, math.nextafter(now, math.inf), MOST_POINTS)
                self._known[name] = now, seasonality(points)
