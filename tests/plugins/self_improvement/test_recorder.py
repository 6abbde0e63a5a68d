"""The recorder on a real host: points that come one by one, many at a time, or cannot be kept."""

from __future__ import annotations

import math

import anyio
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_improvement.history import DatabaseUnusableError
from aetherra.plugins.self_improvement.history.metric_history import UnitMismatchError
from aetherra.plugins.self_improvement.messages import (
    ForgetMetric,
    GetMetric,
    GetSelfImprovementStatus,
    GetTrends,
    MetricPoint,
    RecordedMetrics,
    RecordMetric,
    RecordMetrics,
)

from .conftest import NOW, fault_of, full_disk, record


class TestRecord:
    async def test_a_point_is_lost(self, hosting, data):
        """Each point that is answered with ``Recorded`` is in the history and counted."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:
            await record(kernel, "probe.latency", [1.0, 2.0, 3.0])
            await kernel.call(RecordMetric("probe.other", 1.0, context={"zone": "A"}))

            status = await kernel.call(GetSelfImprovementStatus())
            assert (status.metrics, status.points, status.recorded, status.refused) == (2, 4, 4, 0)

    async def test_a_point_without_a_time_is_of_the_epoch(self, hosting):
        """A point that names no time is of now."""
        async with hosting(SelfImprovementEngine, clock=FakeClock()) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))
            (trend,) = (await kernel.call(GetTrends("probe.latency", window=1.0))).trends

            assert trend.last == 1.0

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    async def test_what_is_no_number_is_recorded(self, hosting, data, value):
        """NaN and infinity are refused with the metric's name, counted, and leave nothing."""
        async with hosting(SelfImprovementEngine, data=data) as kernel:
            fault = await fault_of(kernel.call(RecordMetric("probe.latency", value, "s")))

            assert isinstance(fault, ValueError)
            assert "'probe.latency': expected a finite value" in str(fault)
            status = await kernel.call(GetSelfImprovementStatus())
            assert (status.points, status.recorded, status.refused) == (0, 0, 1)

    async def test_a_metric_changes_its_unit(self, hosting, data):
        """A metric keeps its unit; the error names both and what to do."""
        async with hosting(SelfImprovementEngine, data=data) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))
            fault = await fault_of(kernel.call(RecordMetric("probe.latency", 1000.0, "ms")))

            assert isinstance(fault, UnitMismatchError)
            assert "stored in 's', got 'ms'" in str(fault)
            assert (await kernel.call(GetSelfImprovementStatus())).points == 1

    async def test_builtins_cannot_record(self, hosting):
        """What comes as JSON is recorded the same way."""
        async with hosting(SelfImprovementEngine) as kernel:
            body = {"name": "probe.latency", "value": 1.5, "unit": "s"}

            assert await kernel.call_tag("selfimprovement.record_metric", body) == {"stored": 1}


class TestRecordEach:
    async def test_one_bad_point_keeps_the_others_out(self, hosting, data):
        """Of many points the good ones are kept; each other is told with its place, its metric and why."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:
            await kernel.call(RecordMetric("a", 1.0, "s", NOW - 100.0))
            points = [
                MetricPoint("a", 1.0, "s"),
                MetricPoint("a", math.nan, "s"),
                MetricPoint("b", 2.0, "ms", NOW - 60.0),
                MetricPoint("a", 1000.0, "ms"),
                MetricPoint("b", math.inf, "ms"),
                MetricPoint("c", 3.0, "", NOW + 1e9),
                MetricPoint("", 3.0),
                MetricPoint("c", 3.0, "", NOW, {"zone": "A"}),
            ]
            reply = await kernel.call(RecordMetrics(tuple(points)))

            assert reply.stored == 3
            assert [(one.index, one.name) for one in reply.refused] == [(1, "a"), (3, "a"), (4, "b"), (5, "c"), (6, "")]
            assert "finite" in reply.refused[0].reason
            assert "stored in 's', got 'ms'" in reply.refused[1].reason
            assert "timestamp" in reply.refused[3].reason
            status = await kernel.call(GetSelfImprovementStatus())
            assert (status.points, status.metrics, status.refused) == (4, 3, 5)

    async def test_no_points_are_an_error(self, hosting):
        """Nothing to record is nothing recorded."""
        async with hosting(SelfImprovementEngine) as kernel:
            assert await kernel.call(RecordMetrics(())) == RecordedMetrics(0)

    async def test_recorders_at_once_lose_points(self, hosting, data):
        """A hundred who record at once, one by one or many at a time, each have all of theirs stored."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:

            async def many(number):
                points = (MetricPoint("m", 1.0, "s", NOW - place - number / 200) for place in range(50))
                await kernel.call(RecordMetrics(tuple(points)))

            async def single(number):
                await kernel.call(RecordMetric(f"s{number}", 1.0, "s"))

            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(many, number)
                    group.start_soon(single, number)
            status = await kernel.call(GetSelfImprovementStatus())

            assert (status.points, status.recorded, status.metrics) == (2550, 2550, 51)

    async def test_a_metric_cannot_take_another_unit(self, hosting, data):
        """Once it is forgotten it begins anew, in whatever unit; what the detector knew is gone with it."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:
            await record(kernel, "probe.latency", [1.0 + step % 5 / 100 for step in range(200)] + [50.0])
            assert (await kernel.call(GetMetric("probe.latency"))).anomalies
            assert (await kernel.call(ForgetMetric("probe.latency"))).points == 201
            assert isinstance(await fault_of(kernel.call(GetMetric("probe.latency"))), LookupError)
            assert isinstance(await fault_of(kernel.call(ForgetMetric("probe.latency"))), LookupError)
            await kernel.call(RecordMetric("probe.latency", 1000.0, "ms"))
            report = await kernel.call(GetMetric("probe.latency"))

            assert (report.unit, report.points, report.anomalies) == ("ms", ((NOW, 1000.0),), ())

    async def test_a_full_disk_is_kept_to_itself(self, hosting, tmp_path):
        """Who records on a full disk is told so, with the file; when there is room again it goes on."""
        async with hosting(SelfImprovementEngine, data=True, clock=FakeClock()) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s", NOW - 60.0))
            with full_disk():
                single = await fault_of(kernel.call(RecordMetric("probe.latency", 2.0, "s")))
                many = await fault_of(kernel.call(RecordMetrics((MetricPoint("probe.latency", 2.0, "s"),))))
            await kernel.call(RecordMetric("probe.latency", 3.0, "s"))
            points = (await kernel.call(GetMetric("probe.latency"))).points

            assert isinstance(single, DatabaseUnusableError)
            assert isinstance(many, DatabaseUnusableError)
            assert str(tmp_path) in str(single)
            assert [value for _, value in points] == [1.0, 3.0]
