"""The forwarder: gives the metrics to self-improvement, each once, and counts what it took."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aetherra.plugins import AetherraError, NoHandlerError, PluginContext
from aetherra.plugins.homeostasis.messages import Metric
from aetherra.plugins.self_improvement.messages import RecordMetric

__all__ = ["RECEIVER", "Forwarder", "ForwarderStatistics"]

RECEIVER = "self_improvement_engine"
"""The service that takes the metrics."""
PATIENCE = 5.0
"""Seconds that one of them may take."""


class ForwarderStatistics(msgspec.Struct, frozen=True):
    """What became of the metrics, since the start.

    Attributes:
        forwarded: Those that were taken.
        failed: Those that were refused, or could not be given.
        success_rate: The share that was taken; ``None`` before the first.
        problem: Why the latest of the failed ones was.
    """

    forwarded: int
    failed: int
    success_rate: float | None
    problem: str


class Forwarder:
    """Sends readings that have a value to whoever provides ``RECEIVER``."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._forwarded = 0
        self._failed = 0
        self._problem = ""

    async def forward(self, metrics: Mapping[str, Metric], ts: float) -> None:
        """Send the readings of one cycle, one after the other; what is not taken is counted, and not sent again."""
        points = [
            RecordMetric(name, metric.value, metric.unit, ts - metric.age)
            for name, metric in metrics.items()
            if metric.value is not None
        ]
        for done, point in enumerate(points):
            try:
                await self._ctx.call(point, timeout=PATIENCE)
            except NoHandlerError as exc:  # nobody is there, or no more, as when the host stops
                self._failed += len(points) - done
                self._problem = str(exc)
                return
            except AetherraError as exc:
                self._failed += 1
                if str(exc) != self._problem:
                    self._ctx.log.warning("metric %r was not forwarded: %s", point.name, exc)
                self._problem = str(exc)
            else:
                self._forwarded += 1

    def statistics(self) -> ForwarderStatistics:
        """Return what was counted."""
        sent = self._forwarded + self._failed
        rate = self._forwarded / sent if sent else None
        return ForwarderStatistics(self._forwarded, self._failed, rate, self._problem)
