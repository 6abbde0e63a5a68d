"""Self-improvement on a real host: points in, trends out, in memory and over a data directory."""

from __future__ import annotations

import logging
import math

import pytest

from aetherra.kernel import PluginLoadError
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_improvement.history.metric_history import UnitMismatchError
from aetherra.plugins.self_improvement.messages import GetSelfImprovementStatus, GetTrends, RecordMetric

NOW = 1_700_000_000.0


async def record(kernel, name, values, unit="s"):
    """Record values a minute apart, the last one now."""
    for index, value in enumerate(values):
        await kernel.call(RecordMetric(name, value, unit, NOW - 60.0 * (len(values) - 1 - index)))


async def fault_of(awaitable):
    with pytest.raises(HandlerError) as caught:
        await awaitable
    return caught.value.__cause__


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def data(request):
    return request.param


class TestRecording:
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


class TestTrends:
    async def test_a_rising_latency_is_not_called_degrading(self, hosting, data):
        """The trend of one name comes with direction, slope in the metric's unit, and a sentence."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:
            await record(kernel, "probe.latency", [1.0 + 0.1 * step for step in range(30)])
            (trend,) = (await kernel.call(GetTrends("probe.latency"))).trends

            assert (trend.direction, trend.movement, trend.unit, trend.points) == ("degrading", "rising", "s", 30)
            assert trend.slope_per_hour == pytest.approx(6.0)
            assert trend.reason

    async def test_a_name_of_all_is_left_out(self, hosting):
        """Without a name there is a trend for every metric, by name, also where too little is known for one."""
        async with hosting(SelfImprovementEngine, clock=FakeClock()) as kernel:
            await record(kernel, "b.latency", range(20))
            await record(kernel, "a.latency", [1.0])
            trends = (await kernel.call(GetTrends())).trends

            assert [trend.name for trend in trends] == ["a.latency", "b.latency"]
            assert [trend.direction for trend in trends] == ["unknown", "degrading"]

    async def test_an_empty_history_has_trends(self, hosting):
        """Nothing recorded is no trends, and no error."""
        async with hosting(SelfImprovementEngine) as kernel:
            assert (await kernel.call(GetTrends())).trends == ()

    async def test_an_unknown_name_has_a_trend(self, hosting):
        """A name that was never recorded is an error that says which were."""
        async with hosting(SelfImprovementEngine) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))
            fault = await fault_of(kernel.call(GetTrends("probe.latencies")))

            assert isinstance(fault, LookupError)
            assert "'probe.latencies'" in str(fault)
            assert "probe.latency" in str(fault)

    async def test_a_direction_of_the_settings_is_ignored(self, hosting):
        """A host may say which way is good for its own metrics."""
        settings = {"directions": {"probe.*": "up"}}
        async with hosting(SelfImprovementEngine, clock=FakeClock(), self_improvement=settings) as kernel:
            await record(kernel, "probe.latency", range(20))
            (trend,) = (await kernel.call(GetTrends())).trends

            assert trend.direction == "improving"

    async def test_points_outside_of_the_window_count(self, hosting):
        """Only the points of the last ``window`` seconds are looked at."""
        async with hosting(SelfImprovementEngine, clock=FakeClock()) as kernel:
            await record(kernel, "probe.latency", range(20))
            (trend,) = (await kernel.call(GetTrends(window=301.0))).trends

            assert trend.points == 6


class TestHistory:
    async def test_a_restart_forgets(self, hosting):
        """With a data directory points outlive the host."""
        async with hosting(SelfImprovementEngine, data=True) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))
        async with hosting(SelfImprovementEngine, data=True) as kernel:
            status = await kernel.call(GetSelfImprovementStatus())

            assert (status.points, status.recorded, status.set_aside) == (1, 0, "")

    async def test_a_host_in_memory_writes_to_disk(self, hosting, tmp_path):
        """Without a data directory nothing is left on disk."""
        async with hosting(SelfImprovementEngine) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))

        assert list(tmp_path.iterdir()) == []

    async def test_a_corrupt_database_is_deleted_or_passed_over(self, hosting, tmp_path, caplog):
        """A database that cannot be read is moved aside, said so in log and status, and a new one begun."""
        async with hosting(SelfImprovementEngine, data=True) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))
        (database,) = tmp_path.rglob("history.sqlite3")
        database.write_bytes(b"not a database" * 1000)
        with caplog.at_level(logging.ERROR):
            async with hosting(SelfImprovementEngine, data=True) as kernel:
                status = await kernel.call(GetSelfImprovementStatus())
                await kernel.call(RecordMetric("probe.latency", 1.0, "s"))

        aside = database.with_name("history.sqlite3.corrupt-1")
        assert status.set_aside == str(aside)
        assert status.points == 0
        assert aside.read_bytes().startswith(b"not a database")
        assert str(aside) in caplog.text

    async def test_old_points_are_kept_for_ever(self, hosting):
        """Points older than the retention are gone within the hour."""
        clock = FakeClock()
        settings = {"retention_days": 1.0}
        async with hosting(SelfImprovementEngine, clock=clock, self_improvement=settings) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s", NOW - 90_000.0))
            await kernel.call(RecordMetric("probe.latency", 2.0, "s", NOW))
            await clock.advance(3600.0)

            assert (await kernel.call(GetSelfImprovementStatus())).points == 1

    @pytest.mark.parametrize("settings", [{"retention_days": -1.0}, {"directions": {"x": "sideways"}}])
    async def test_settings_that_cannot_be_are_taken(self, hosting, settings):
        """A retention of less than nothing, or a direction that is none, is an error that names the key."""
        async with hosting() as kernel:
            with pytest.raises(PluginLoadError, match=next(iter(settings))):
                await kernel.add_plugin(SelfImprovementEngine, settings=settings)
