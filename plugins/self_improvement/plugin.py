"""The self-improvement plugin: writes the history, one at a time, and answers what it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

import anyio
import msgspec

from aetherra.plugins import CycleStep, Plugin, PluginContext, Settings, every, handler, hookimpl
from aetherra.plugins.self_improvement.analysis.directions import Direction, good_direction
from aetherra.plugins.self_improvement.analysis.trends import trend
from aetherra.plugins.self_improvement.history import HistoryStatistics, MetricHistory, Point
from aetherra.plugins.self_improvement.messages import (
    GetSelfImprovementStatus,
    GetTrends,
    MetricTrend,
    Recorded,
    RecordMetric,
    SelfImprovementStatus,
    Trends,
)

T = TypeVar("T")


class SelfImprovementSettings(Settings):
    """Settings of self-improvement.

    Attributes:
        retention_days: How long points are kept.
        directions: Which way is good for a metric, by name or shell pattern: ``up``, ``down``, ``near`` or ``unknown``.
        minimum_effect: The least change over the window, as a share of the metric's level, that counts as a movement.
    """

    retention_days: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    directions: dict[str, Direction] = {}
    minimum_effect: Annotated[float, msgspec.Meta(ge=0)] = 0.05


class SelfImprovementEngine(Plugin[SelfImprovementSettings]):
    """Keeps and reads the history in worker threads, one at a time, so that the event loop never waits for a disk."""

    name = "self_improvement"
    service = "self_improvement_engine"
    version = "1"

    def __init__(self, settings: SelfImprovementSettings | None = None) -> None:
        super().__init__(settings)
        self._turn = anyio.Lock()
        self._recorded = 0
        self._refused = 0

    async def start(self, ctx: PluginContext) -> None:
        """Open the history."""
        folder = ctx.data_dir
        location = ":memory:" if folder is None else folder / "history.sqlite3"
        self._history = await ctx.enter(await ctx.run_sync(MetricHistory, location, ctx.clock.time))
        if self._history.set_aside is not None:
            ctx.log.error(
                "the history could not be read (%s); it was moved to %s and a new one begun",
                self._history.set_aside_reason,
                self._history.set_aside,
            )

    @handler
    async def record(self, request: RecordMetric) -> Recorded:
        """Keep a point; raises ``ValueError`` for one that is no number or changes its metric's unit."""
        timestamp = self.ctx.clock.time() if request.timestamp is None else request.timestamp
        point = Point(request.name, request.unit, timestamp, request.value, request.context)
        try:
            stored = await self._in_turn(lambda: self._history.record([point]))
        except ValueError:
            self._refused += 1
            raise
        self._recorded += stored
        return Recorded(stored)

    @handler
    async def tell_trends(self, request: GetTrends) -> Trends:
        """Analyse one metric, or all; raises ``LookupError`` for a name that has no history."""
        since = self.ctx.clock.time() - request.window
        trends = await self._in_turn(lambda: self._trends(request.name, since))
        return Trends(request.window, tuple(trends))

    @handler
    async def report(self, _: GetSelfImprovementStatus) -> SelfImprovementStatus:
        """Say what is in the history."""
        statistics: HistoryStatistics = await self._in_turn(self._history.statistics)
        aside = self._history.set_aside
        return SelfImprovementStatus(
            metrics=statistics.metrics,
            points=statistics.points,
            size=statistics.size,
            recorded=self._recorded,
            refused=self._refused,
            set_aside="" if aside is None else str(aside),
        )

    @every(3600.0)
    async def prune(self) -> None:
        """Forget what is older than the retention."""
        before = self.ctx.clock.time() - self.settings.retention_days * 86_400.0
        await self._in_turn(lambda: self._history.prune(before))

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Analyse what was collected."""
        return [CycleStep("analyse", GetTrends())]

    async def _in_turn(self, function: Callable[[], T]) -> T:
        async with self._turn:
            return await self.ctx.run_sync(function)

    def _trends(self, wanted: str | None, since: float) -> list[MetricTrend]:
        known = {info.name: info.unit for info in self._history.names()}
        if wanted is not None and wanted not in known:
            raise LookupError(f"no metric {wanted!r} has been recorded; there are {', '.join(sorted(known)) or 'none'}")
        return [self._trend(name, known[name], since) for name in ([wanted] if wanted is not None else sorted(known))]

    def _trend(self, name: str, unit: str, since: float) -> MetricTrend:
        good = good_direction(name, unit, self.settings.directions)
        found = trend(self._history.points(name, since), good=good, minimum_effect=self.settings.minimum_effect)
        return MetricTrend(
            name=name,
            unit=unit,
            direction=found.direction,
            movement=found.movement,
            slope_per_hour=found.slope_per_hour,
            p_value=found.p_value,
            points=found.points,
            mean=found.mean,
            last=found.last,
            reason=found.reason,
        )
