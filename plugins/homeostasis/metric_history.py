"""The recent past of all metrics, one row a minute, bounded: what a status shows without asking anybody."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

__all__ = ["HistoryRow", "MetricHistory", "Spread"]


class Spread(msgspec.Struct, frozen=True, gc=False):
    """The values of one metric within a row.

    Attributes:
        low: The least.
        mean: Their mean.
        high: The greatest.
        last: The latest.
        count: How many there were; times at which it was unknown are not among them.
    """

    low: float
    mean: float
    high: float
    last: float
    count: int


class HistoryRow(msgspec.Struct, frozen=True):
    """One interval.

    Attributes:
        ts: Unix time of its end.
        cycles: Measurements in it.
        health: The spread of the host's health; ``None`` if nobody knew.
        metrics: The spreads by metric; one that was unknown all the time is not there.
    """

    ts: float
    cycles: int
    health: Spread | None
    metrics: dict[str, Spread]


class MetricHistory:
    """Rows of the last hour or so.

    Args:
        monotonic: Seconds that only go forward.
        time: Unix time.
        interval: Seconds that a row covers.
        rows: How many are kept; the oldest go first.
        metrics: How many metrics a row may have; the rest is left out and counted in ``left_out``.

    Raises:
        ValueError: A bound is out of range.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        time: Callable[[], float],
        *,
        interval: float = 60.0,
        rows: int = 60,
        metrics: int = 2000,
    ) -> None:
        if not (interval > 0 and rows > 0 and metrics > 0):
            raise ValueError(f"expected interval, rows and metrics above 0, got {interval!r}, {rows} and {metrics}")
        self._monotonic = monotonic
        self._time = time
        self._interval = interval
        self._rows: deque[HistoryRow] = deque(maxlen=rows)
        self._most = metrics
        self._begun = monotonic()
        self._cycles = 0
        self._health = _Sum()
        self._sums: dict[str, _Sum] = {}
        self.left_out = 0

    def add(self, metrics: Mapping[str, float | None], health: float | None) -> HistoryRow | None:
        """Take in a measurement; return the row that it ends, ``None`` if that goes on.

        An interval without a measurement has no row: nobody measured is not nothing was.
        """
        self._cycles += 1
        self._health.add(health)
        sums = self._sums
        for name, value in metrics.items():
            found = sums.get(name)
            if found is None:
                if len(sums) >= self._most:
                    self.left_out += 1
                    continue
                found = sums[name] = _Sum()
            found.add(value)
        if self._monotonic() - self._begun < self._interval:
            return None
        return self._end()

    def _end(self) -> HistoryRow:
        spreads = {name: spread for name, found in self._sums.items() if (spread := found.spread()) is not None}
        row = HistoryRow(self._time(), self._cycles, self._health.spread(), spreads)
        self._rows.append(row)
        self._begun = self._monotonic()
        self._cycles, self._health, self._sums = 0, _Sum(), {}
        return row

    def rows(self, since: float | None = None) -> list[HistoryRow]:
        """Return the rows, oldest first; of those that end after a Unix time, if one is given."""
        return [row for row in self._rows if since is None or row.ts > since]

    def past(self, name: str, since: float | None = None) -> list[tuple[float, Spread | None]]:
        """Return the past of one metric, oldest first: time and spread, ``None`` where it was unknown."""
        return [(row.ts, row.metrics.get(name)) for row in self.rows(since)]


class _Sum:
    """What has been added of one metric."""

    __slots__ = ("count", "high", "last", "low", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.last = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            return
        self.count += 1
        self.total += value
        self.last = value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def spread(self) -> Spread | None:
        if not self.count:
            return None
        mean = min(max(self.total / self.count, self.low), self.high)  # sums round, and may overflow
        return Spread(self.low, mean, self.high, self.last, self.count)
