"""The homeostasis plugin: measures in a loop, scores, tells, and forwards to self-improvement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec

from aetherra.plugins import (
    AetherraError,
    CycleStep,
    GetStatistics,
    KernelStatistics,
    MetricSample,
    NoHandlerError,
    Plugin,
    PluginContext,
    ServiceStatus,
    Settings,
    handler,
    hookimpl,
)
from aetherra.plugins.homeostasis.health import DEFAULT_SETPOINTS, Setpoint, health_score
from aetherra.plugins.homeostasis.host_metrics import host_readings
from aetherra.plugins.homeostasis.messages import (
    Collect,
    GetHomeostasisStatus,
    HomeostasisStatus,
    Measured,
    Metric,
)
from aetherra.plugins.homeostasis.sensors import ProcessSensors, Reading
from aetherra.plugins.self_improvement.messages import RecordMetric

RECEIVER = "self_improvement_engine"
"""The service that takes the metrics."""
Interval = Annotated[float, msgspec.Meta(gt=0)]


class HomeostasisSettings(Settings):
    """Settings of homeostasis; durations are seconds.

    Attributes:
        interval: Between two measurements.
        forward_interval: Between two times that the metrics are forwarded.
        setpoints: In place of, or beside, the built-in ones: where a metric is good, where it is bad, and its weight.
    """

    interval: Interval = 5.0
    forward_interval: Interval = 60.0
    setpoints: dict[str, Setpoint] = {}


class Homeostasis(Plugin[HomeostasisSettings]):
    """Measures the host and its process; a counter counts what happened."""

    name = "homeostasis"
    service = "homeostasis_system"
    version = "1"
    capabilities = ("call:kernel.*", "call:selfimprovement.record_metric")

    def __init__(self, settings: HomeostasisSettings | None = None) -> None:
        super().__init__(settings)
        self._setpoints: Mapping[str, Setpoint] = {**DEFAULT_SETPOINTS, **self.settings.setpoints}
        self._before: KernelStatistics | None = None
        self._last: Measured | None = None
        self._forwarded_cycle = 0
        self._forwarded = 0
        self._refused = 0
        self._problem = ""

    async def start(self, ctx: PluginContext) -> None:
        """Open the sensors."""
        self._sensors = await ctx.enter(ProcessSensors(ctx.root))
        ctx.every(self.settings.interval, self._measure, at_start=True)
        ctx.every(self.settings.forward_interval, self._forward)
        ctx.start_soon(self._forward_first)

    @handler
    async def collect(self, _: Collect) -> Measured:
        """Measure and forward, now."""
        measured = await self._measure()
        await self._forward()
        return measured

    @handler
    async def report(self, _: GetHomeostasisStatus) -> HomeostasisStatus:
        """Say what was done."""
        last = self._last
        return HomeostasisStatus(
            cycles=last.cycle if last is not None else 0,
            metrics=len(last.metrics) if last is not None else 0,
            unknown=sum(metric.value is None for metric in last.metrics.values()) if last is not None else 0,
            health_score=last.health_score if last is not None else None,
            forwarded=self._forwarded,
            forward_failed=self._refused,
            last_forward_problem=self._problem,
        )

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Measure first, so that the other phases have something to go by."""
        return [CycleStep("collect", Collect())]

    async def _measure(self) -> Measured:
        clock = self.ctx.clock
        begun = clock.monotonic()
        own = [*self._sensors.read(begun), *await self._ask_host()]
        readings = [*self._ask_plugins(), *own]  # of two of one name the last counts: no plugin speaks for the host
        metrics = {reading.name: Metric(reading.value, reading.unit, reading.reason) for reading in readings}
        health = health_score({name: metric.value for name, metric in metrics.items()}, self._setpoints)
        self._last = Measured(
            cycle=self._last.cycle + 1 if self._last is not None else 1,
            ts=clock.time(),
            health_score=health.score,
            health_coverage=health.coverage,
            health_reasons=tuple(reason.sentence for reason in health.reasons),
            metrics=metrics,
            seconds=clock.monotonic() - begun,
        )
        await self.ctx.publish(self._last)
        return self._last

    async def _ask_host(self) -> list[Reading]:
        """Ask the kernel over the bus, which measures a round trip along the way."""
        begun = self.ctx.clock.monotonic()
        now = await self.ctx.call(GetStatistics())
        roundtrip = Reading("calls.roundtrip", self.ctx.clock.monotonic() - begun, "s")
        before, self._before = self._before, now
        services = self.ctx.registry.list()
        healthy = sum(service.status is ServiceStatus.HEALTHY for service in services)
        available = Reading("services.available", healthy / len(services), "ratio")
        return [roundtrip, available, *host_readings(now, before)]

    def _ask_plugins(self) -> Iterator[Reading]:
        for name, samples in self.ctx.hooks.call("collect_metrics"):
            try:
                readings = [_checked(name, sample) for sample in samples]
            except Exception as exc:  # noqa: BLE001  # another plugin's iterator, and whatever it yields
                readings = [Reading(f"{name}.metrics", None, "", f"the plugin's metrics cannot be read: {exc!r}")]
            yield from readings

    async def _forward_first(self) -> None:
        """Forward as soon as there is somebody to forward to; plugins come up in no order of ours."""
        try:
            await self.ctx.registry.wait_for(RECEIVER, timeout=self.settings.forward_interval)
        except AetherraError:
            return
        await self._forward()

    async def _forward(self) -> None:
        """Give the last readings that have a value to self-improvement, each once, and count what it took."""
        measured = self._last or await self._measure()
        if measured.cycle <= self._forwarded_cycle:
            return
        self._forwarded_cycle = measured.cycle
        points = [
            RecordMetric(name, metric.value, metric.unit, measured.ts)
            for name, metric in measured.metrics.items()
            if metric.value is not None
        ]
        for done, point in enumerate(points):
            try:
                await self.ctx.call(point, timeout=5.0)
            except NoHandlerError as exc:  # nobody is there, or no more, as when the host stops
                self._refused += len(points) - done
                self._problem = str(exc)
                return
            except AetherraError as exc:
                self._refused += 1
                if str(exc) != self._problem:
                    self.ctx.log.warning("metric %r was not forwarded: %s", point.name, exc)
                self._problem = str(exc)
            else:
                self._forwarded += 1


def _checked(plugin: str, sample: MetricSample) -> Reading:
    """A plugin's own metric stands under its name, and is a number or unknown."""
    name = sample.name if sample.name.startswith(f"{plugin}.") else f"{plugin}.{sample.name}"
    if sample.value is None:
        return Reading(name, None, sample.unit, sample.reason)
    if not math.isfinite(sample.value):
        return Reading(name, None, sample.unit, f"the plugin measured {sample.value!r}")
    return Reading(name, float(sample.value), sample.unit)
