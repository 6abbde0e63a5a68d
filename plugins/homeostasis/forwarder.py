"""The forwarder: gives the metrics to self-improvement, each once, and counts what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from aetherra.plugins import AetherraError, CallTimeoutError, NoHandlerError, PluginContext
from aetherra.plugins.homeostasis.messages import Measured, Metric
from aetherra.plugins.self_improvement.messages import RecordMetric

__all__ = ["RECEIVER", "Forwarder", "ForwarderStatistics"]

RECEIVER = "self_improvement_engine"
"""The service that takes the metrics."""
PATIENCE = 5.0
"""Seconds that one of them may take."""
ROUND_SEC = 30.0
"""Seconds that all of one cycle may take."""


class ForwarderStatistics(msgspec.Struct, frozen=True):
    """What became of the metrics, since the start.

    Attributes:
        forwarded: Those that were taken.
        failed: Those that were refused, or could not be given.
        success_rate: The share that was taken; ``None`` before the first.
        last_success_rate: The same of the last round: how it is now.
        problem: Why the latest of the failed ones was.
    """

    forwarded: int
    failed: int
    success_rate: float | None
    last_success_rate: float | None
    problem: str


class Forwarder:
    """Sends readings that have a value to whoever provides ``RECEIVER``."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._forwarded = 0
        self._failed = 0
        self._last_rate: float | None = None
        self._problem = ""
        self._cycle = 0

    async def forward_once(self, measured: Measured, within: float = ROUND_SEC) -> None:
        """Send what a cycle has measured, and the host's health, unless it was sent."""
        if measured.cycle > self._cycle:
            self._cycle = measured.cycle
            health = Metric(measured.health_score, "ratio")
            await self.forward({**measured.metrics, "health.score": health}, measured.ts, within)

    async def forward(self, metrics: Mapping[str, Metric], ts: float, within: float = ROUND_SEC) -> None:
        """Send the readings of one cycle, one after the other; what is not taken is counted, and not sent again.

        The round is broken off when nobody is there to take them, when one is not answered in time, and after so many
        seconds; what is left then was not taken.
        """
        points = [
            RecordMetric(name, metric.value, metric.unit, ts - metric.age)
            for name, metric in metrics.items()
            if metric.value is not None
        ]
        if not points:
            return
        taken = await self._send(points, self._ctx.clock.monotonic() + within)
        self._forwarded += taken
        self._failed += len(points) - taken
        self._last_rate = taken / len(points)

    async def _send(self, points: Sequence[RecordMetric], end: float) -> int:
        """Send points until a time of the clock; return how many were taken."""
        taken = 0
        for done, point in enumerate(points):
            left = end - self._ctx.clock.monotonic()
            if left <= 0:
                self._fail(f"time was over when {done} of {len(points)} had been sent", point)
                break
            try:
                await self._ctx.call(point, timeout=min(PATIENCE, left))
            except NoHandlerError as exc:  # nobody is there, or no more, as when the host stops: no news
                self._problem = str(exc)
                break
            except AetherraError as exc:
                self._fail(str(exc), point)
                if isinstance(exc, CallTimeoutError):  # each of the others would take as long
                    break
            else:
                taken += 1
        return taken

    def _fail(self, why: str, point: RecordMetric) -> None:
        if why != self._problem:
            self._ctx.log.warning("metric %r was not forwarded: %s", point.name, why)
        self._problem = why

    def statistics(self) -> ForwarderStatistics:
        """Return what was counted."""
        sent = self._forwarded + self._failed
        rate = self._forwarded / sent if sent else None
        return ForwarderStatistics(self._forwarded, self._failed, rate, self._last_rate, self._problem)
