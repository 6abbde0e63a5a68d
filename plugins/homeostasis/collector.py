"""The collector: all that can be measured of the host, each figure with its age, or why nobody knows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from aetherra.plugins import (
    Footprint,
    GetFootprint,
    GetStatistics,
    GetVitals,
    KernelStatistics,
    PluginContext,
    ServiceInfo,
    ServiceStatus,
    Vitals,
)
from aetherra.plugins.homeostasis.growth import Growth
from aetherra.plugins.homeostasis.host_metrics import WINDOW, host_readings
from aetherra.plugins.homeostasis.messages import Metric
from aetherra.plugins.homeostasis.plugin_metrics import PluginMetrics
from aetherra.plugins.homeostasis.plugin_samples import PluginSamples
from aetherra.plugins.homeostasis.sensors import ProcessSensors, Reading
from aetherra.plugins.homeostasis.weights import Weights

__all__ = ["Collector"]

SERVING = frozenset({ServiceStatus.HEALTHY, ServiceStatus.DEGRADED})
"""Statuses of what answers. A service that homeostasis itself holds in doubt is degraded, and no less available."""
GROWTH_WINDOW = 60.0
"""Seconds that the growth of the process is drawn from."""


class Collector:
    """Reads the operating system, the kernel and all plugins.

    Args:
        ctx: Whom to ask through.
        sensors: Of the process and its machine.
        counted: Counters of other parts of homeostasis, by metric: events since the start, turned into rates.
        heard: Readings of other plugins with their ages, at a time of ``ctx.clock``.
    """

    def __init__(
        self,
        ctx: PluginContext,
        sensors: ProcessSensors,
        counted: Callable[[], dict[str, int]],
        heard: Callable[[float], Iterable[tuple[Reading, float]]],
    ) -> None:
        self._ctx = ctx
        self._sensors = sensors
        self._counted = counted
        self._heard = heard
        self._counts: tuple[float, dict[str, int]] | None = None
        self._past: deque[KernelStatistics] = deque()
        self._vitals_at: float | None = None
        self._plugins = PluginMetrics()
        self._samples = PluginSamples(ctx)
        self._growth = Growth(GROWTH_WINDOW)
        self._weights = Weights(self._footprint)
        self._weighing = False

    async def collect(self, services: Sequence[ServiceInfo]) -> dict[str, Metric]:
        """Return all that is measured now, by name. What a plugin measures never stands in place of the host's."""
        now = self._ctx.clock.monotonic()
        metrics = {reading.name: _metric(reading) for reading in self._samples.read()}
        metrics |= {reading.name: _metric(reading) for reading in self._sensors.read(now)}
        for reading in [*await self._ask_host(services), *await self._ask_vitals(now), *self._rates(now)]:
            metrics[reading.name] = _metric(reading)
        self._watch_memory(now, metrics)
        for reading, age in (*self._weights.read(now), *self._heard(now)):
            metrics[reading.name] = _metric(reading, age)
        return metrics

    async def _ask_host(self, services: Sequence[ServiceInfo]) -> list[Reading]:
        """Ask the kernel over the bus, which measures a round trip along the way."""
        begun = self._ctx.clock.monotonic()
        now = await self._ctx.call(GetStatistics(detail=False))
        roundtrip = Reading("calls.roundtrip", self._ctx.clock.monotonic() - begun, "s")
        serving = sum(service.status in SERVING for service in services)
        available = Reading("services.available", serving / len(services), "ratio")
        readings = [roundtrip, available, *host_readings(now, self._past)]
        self._past.append(now)
        while now.uptime - self._past[0].uptime > WINDOW:
            self._past.popleft()
        return readings

    async def _ask_vitals(self, now: float) -> Iterator[Reading]:
        vitals: Vitals = await self._ctx.call(GetVitals(since=self._vitals_at))
        self._vitals_at = vitals.at
        self._serving = [(one.plugin, one.generation) for one in vitals.plugins if one.state == "serving"]
        return self._plugins.read(vitals.plugins, now)

    def _rates(self, now: float) -> Iterable[Reading]:
        counts = self._counted()
        before, self._counts = self._counts, (now, counts)
        seconds = 0.0 if before is None else now - before[0]
        for name, count in counts.items():
            if before is None or seconds <= 0:
                yield Reading(name, None, "1/s", "needs two readings")
            else:
                yield Reading(name, (count - before[1].get(name, 0)) / seconds, "1/s")

    def _watch_memory(self, now: float, metrics: dict[str, Metric]) -> None:
        resident = metrics["process.rss"].value
        if resident is not None:
            self._growth.add(now, resident)
        growth = self._growth.per_second(now)
        reason = "" if growth is not None else "it was read too few times"
        metrics["process.rss_growth"] = Metric(growth, "bytes/s", reason)
        if not self._weighing and self._weights.is_due(now, resident):
            self._weighing = True
            self._ctx.start_soon(self._weigh, self._serving)

    async def _weigh(self, plugins: list[tuple[str, int]]) -> None:
        try:
            await self._weights.weigh(plugins, self._ctx.clock.monotonic)
        finally:
            self._weighing = False

    async def _footprint(self, plugin: str) -> Footprint:
        return await self._ctx.call(GetFootprint(plugin))


def _metric(reading: Reading, age: float = 0.0) -> Metric:
    return Metric(reading.value, reading.unit, reading.reason, age)
