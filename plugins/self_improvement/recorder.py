"""The recorder: takes points in, into the history and before the detectors, and lets go of metrics in both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aetherra.plugins.self_improvement import messages as m
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.history import DatabaseUnusableError, HistoryWriter, MetricHistory, Point

__all__ = ["Recorder"]


class Recorder:
    """For any number of tasks at once.

    Args:
        history: Where metrics are let go of.
        writer: Writes points into it.
        anomalies: The detectors, which are shown what is on disk.
        run_sync: Runs a function in a worker thread.
        time: Unix seconds, now.

    Attributes:
        problem: Why the disk does not take points; ``""`` if it took the last one.
    """

    def __init__(
        self,
        history: MetricHistory,
        writer: HistoryWriter,
        anomalies: Anomalies,
        run_sync: Callable[..., Awaitable[Any]],
        time: Callable[[], float],
    ) -> None:
        self._history = history
        self._writer = writer
        self._anomalies = anomalies
        self._run_sync = run_sync
        self._time = time
        self.problem = ""

    async def record(self, point: m.RecordMetric | m.MetricPoint) -> m.Recorded:
        """Keep a point: on disk, where there is one.

        Raises:
            ValueError: It is no number, or its metric has another unit.
            DatabaseUnusableError: The disk does not take it.
        """
        points = [self._dated(point)]
        try:
            stored = await self._writer.record(points)
        except DatabaseUnusableError as exc:
            self.problem = str(exc)
            raise
        self.problem = ""
        await self._run_sync(self._anomalies.observe, points)
        return m.Recorded(stored)

    async def record_each(self, sent: Sequence[m.MetricPoint]) -> m.RecordedMetrics:
        """Keep the points that can be kept, and say why the others cannot.

        Raises:
            ValueError: They are too many.
            DatabaseUnusableError: The disk does not take them.
        """
        points = [self._dated(point) for point in sent]
        problems = await self._writer.record_each(points)
        stored = [point for point, problem in zip(points, problems, strict=True) if problem is None]
        await self._run_sync(self._anomalies.observe, stored)
        refused = [
            m.RefusedPoint(index, points[index].name, str(problem))
            for index, problem in enumerate(problems)
            if problem is not None
        ]
        return m.RecordedMetrics(len(stored), tuple(refused))

    def _dated(self, point: m.RecordMetric | m.MetricPoint) -> Point:
        timestamp = self._time() if point.timestamp is None else point.timestamp
        return Point(point.name, point.unit, timestamp, point.value, point.context)

    async def forget(self, metric: str) -> m.Forgotten:
        """Drop a metric; raises ``LookupError`` if it has no history."""
        points = await self._run_sync(self._history.forget, metric)
        await self._run_sync(self._anomalies.forget, metric)
        return m.Forgotten(metric, points)

    async def rename(self, metric: str, new: str) -> m.Renamed:
        """Give a metric another name; its detector learns anew."""
        await self._run_sync(self._history.rename, metric, new)
        await self._run_sync(self._anomalies.forget, metric)
        return m.Renamed(metric, new)
