"""What is wanted of a metric: owns the setpoints, and the table of those that a host begins with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

import msgspec

__all__ = ["DEFAULT_SETPOINTS", "Setpoint", "find_setpoint"]

_DEADBAND = 0.05
"""Part of the way from good to bad that is still no problem: a metric that hovers about its setpoint is left alone."""


class Setpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Between which two values a metric goes from well to bad.

    Which of the two is higher says which way is better.

    Attributes:
        good: Value up to which all is well, in the metric's unit.
        bad: Value from which on it is as bad as counts, in the same.
        weight: How much the metric matters, above 0 and at most 1.

    Raises:
        ValueError: A figure is not finite, ``good`` equals ``bad``, or ``weight`` is out of its range.
    """

    good: float
    bad: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.good - self.bad) or self.good == self.bad:
            raise ValueError(f"expected two different finite values, got good {self.good!r} and bad {self.bad!r}")
        if not 0 < self.weight <= 1:
            raise ValueError(f"expected a weight above 0 and at most 1, got {self.weight!r}")

    @property
    def direction(self) -> Literal["up", "down"]:
        """Which way is better."""
        return "down" if self.bad > self.good else "up"

    @property
    def limit(self) -> float:
        """The value beyond which something is to be done: a twentieth of the way from good to bad."""
        return self.good + _DEADBAND * (self.bad - self.good)

    def severity(self, value: float) -> float:
        """Return how bad ``value`` is: 0 at ``good`` or better, 1 at ``bad`` or worse, linear between."""
        return min(max((value - self.good) / (self.bad - self.good), 0.0), 1.0)

    def is_beyond(self, value: float) -> bool:
        """Whether ``value`` is worse than the limit."""
        return self.severity(value) > _DEADBAND


def find_setpoint(metric: str, own: Mapping[str, Setpoint | None] | None = None) -> Setpoint | None:
    """Return what is wanted of a metric, None where nobody said.

    Asked in this order, the first answer counts: ``own`` by exactly this name, ``own`` by shell pattern (in its
    order), the defaults likewise. None in ``own`` is an answer: nothing is wanted of it.
    """
    for table in (own or {}, DEFAULT_SETPOINTS):
        if metric in table:
            return table[metric]
        for pattern, setpoint in table.items():
            if fnmatchcase(metric, pattern):
                return setpoint
    return None


DEFAULT_SETPOINTS: Mapping[str, Setpoint] = MappingProxyType(
    {
        # What the host promises to those who use it.
        "loop.lag": Setpoint(0.02, 0.5),
        "loop.lag_max": Setpoint(0.1, 2.0, weight=0.5),
        "calls.roundtrip": Setpoint(0.005, 0.5),
        "calls.error_ratio": Setpoint(0.0, 0.2),
        "calls.timeouts": Setpoint(0.0, 1.0),
        "actions.failed_ratio": Setpoint(0.0, 0.2),
        "actions.retry_ratio": Setpoint(0.05, 0.5, weight=0.5),
        "service.*.rtt_p95": Setpoint(0.05, 1.0),
        "plugin.*.error_ratio": Setpoint(0.02, 0.2),
        # How long work waits: who submits in the background has time.
        "queue.high.wait_p95": Setpoint(0.1, 10.0),
        "queue.background.wait_p95": Setpoint(60.0, 600.0, weight=0.5),
        "queue.background.oldest_age": Setpoint(120.0, 3600.0, weight=0.5),
        "queue.*.wait_p95": Setpoint(1.0, 30.0),
        "queue.*.oldest_age": Setpoint(2.0, 60.0),
        "queue.oldest_age": Setpoint(1.0, 60.0),
        "queue.depth_ratio": Setpoint(0.1, 1.0),
        "queue.refused": Setpoint(0.0, 0.5),
        "queue.expired": Setpoint(0.0, 0.5),
        "bus.dropped": Setpoint(0.0, 10.0),
        "dlq.rate": Setpoint(0.0, 0.5),
        "dlq.depth": Setpoint(0.0, 100.0),
        "services.available": Setpoint(1.0, 0.5),
        "plugins.failed": Setpoint(0.0, 2.0),
        # What ends the process when it runs out.
        "process.open_files_used": Setpoint(0.5, 0.95),
        "host.memory_available": Setpoint(0.15, 0.03),
        "host.disk_free_bytes": Setpoint(2.0**30, 2.0**26),
        # Signs of strain, which others on the machine may cause.
        "actions.utilisation": Setpoint(0.8, 1.2, weight=0.5),
        "host.disk_free": Setpoint(0.1, 0.01, weight=0.5),
        "process.cpu": Setpoint(0.8, 1.5, weight=0.5),
        "process.gc_pause": Setpoint(0.02, 0.2, weight=0.5),
        "process.page_faults_major": Setpoint(10.0, 500.0, weight=0.5),
        "host.load": Setpoint(1.0, 4.0, weight=0.5),
        "host.pressure_cpu": Setpoint(0.2, 0.8, weight=0.5),
        "host.pressure_memory": Setpoint(0.05, 0.4, weight=0.5),
        "host.pressure_io": Setpoint(0.1, 0.6, weight=0.5),
    }
)
"""Setpoints of what homeostasis measures, in its units; it scores the same figures with the same values where it has
them. What is much of ``process.rss``, threads or open files depends on the host: they have none, and are judged by
their trend."""
