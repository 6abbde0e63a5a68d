"""How long things took: the last durations of one kind, and what share of them was below what."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

KEPT = 1024
"""Durations that are kept; the next takes the place of the oldest."""


class Latency(msgspec.Struct, frozen=True, gc=False):
    """Quantiles in seconds by nearest rank, of the last ``KEPT`` durations; ``None`` where there was none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, durations: Iterable[float]) -> Latency:
        """Return the quantiles of some durations."""
        known = sorted(durations)
        if not known:
            return cls()
        return cls(*(known[max(0, -(-len(known) * percent // 100) - 1)] for percent in (50, 95, 99)))
