"""Concurrency limiters: how many actions may run at a time, found out from how long they take."""

from __future__ import annotations

from math import sqrt
from typing import Protocol


class ConcurrencyLimiter(Protocol):
    """Says how many actions may run at a time; the host's ``workers`` is the most that is ever used.

    It is asked and told on the event loop, so it must be quick and must not raise.
    """

    @property
    def limit(self) -> int:
        """Actions that may run at a time, 1 at least."""
        ...

    def sample(self, seconds: float, running: int, *, failed: bool) -> None:
        """Learn from an attempt.

        Args:
            seconds: How long it took.
            running: How many ran when it ended, itself included.
            failed: Whether it timed out: its duration tells nothing but that it was too long.
        """


class GradientLimiter:
    """Follows the gradient of latency: fewer at a time when attempts take longer than they usually do.

    Gradient2 of Netflix' concurrency-limits (com.netflix.concurrency.limits.limit.Gradient2Limit, Apache 2.0), its
    formula written anew: with ``short`` the last duration and ``long`` their exponential mean over ``window`` samples,
    ``gradient = clamp(tolerance * long / short, 0.5, 1)`` and ``limit <- (1 - smoothing) * limit + smoothing * (limit *
    gradient + queue)``, where ``queue = sqrt(limit)``. It grows only while at least half of the limit is in use, since
    idle workers prove nothing; ``long`` decays when it is far above ``short``, so that a recovery is found out soon.

    Args:
        least: Never fewer than these.
        most: Never more than these.
        start: How many to begin with.
        smoothing: Share of each step that is taken, 0 to 1.
        tolerance: By what factor attempts may take longer than usual before the limit shrinks.
        window: Samples that the usual duration is drawn from.
    """

    def __init__(
        self,
        *,
        least: int = 1,
        most: int = 1000,
        start: int = 8,
        smoothing: float = 0.2,
        tolerance: float = 1.5,
        window: int = 600,
    ) -> None:
        if not 1 <= least <= start <= most:
            raise ValueError(f"expected 1 <= least <= start <= most, got {least}, {start} and {most}")
        if not (0 < smoothing <= 1 and tolerance >= 1 and window >= 1):
            wanted = "0 < smoothing <= 1, tolerance >= 1 and window >= 1"
            raise ValueError(f"expected {wanted}, got {smoothing}, {tolerance} and {window}")
        self._least, self._most = least, most
        self._smoothing, self._tolerance = smoothing, tolerance
        self._factor = 2 / (window + 1)
        self._limit = float(start)
        self._usual = 0.0

    @property
    def limit(self) -> int:
        """Actions that may run at a time."""
        return int(self._limit)

    def sample(self, seconds: float, running: int, *, failed: bool) -> None:
        """Learn from an attempt; one that timed out counts as the steepest gradient there is."""
        if seconds <= 0:
            return
        if failed:
            self._step(self._limit / 2)
            return
        self._usual = seconds if not self._usual else self._usual + self._factor * (seconds - self._usual)
        if self._usual > 2 * seconds:
            self._usual *= 0.95
        gradient = max(0.5, min(1.0, self._tolerance * self._usual / seconds))
        wanted = self._limit * gradient + sqrt(self._limit)
        if wanted < self._limit or 2 * running >= self._limit:
            self._step(wanted)

    def _step(self, wanted: float) -> None:
        limit = self._limit + self._smoothing * (wanted - self._limit)
        self._limit = max(float(self._least), min(float(self._most), limit))
