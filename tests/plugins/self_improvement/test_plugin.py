"""Self-improvement on a real host: points in, trends out, in memory and over a data directory."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.hmr import HmrController, Reload
from aetherra.kernel import PluginLoadError
from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.messages import Collect
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_improvement.messages import (
    ExplainProposal,
    GetMetric,
    GetPoints,
    GetSelfImprovementStatus,
    GetStrategies,
    GetTrends,
    ListMetrics,
    ListProposals,
    RecordMetric,
    RenameMetric,
)

from .conftest import EVERY, NOW, WATCHED, fault_of, record


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

    async def test_old_points_are_kept_for_ever(self, site):
        """Points that are older than the retention when others come are gone within the hour."""
        async with site(mode="off", retention=dict.fromkeys(("raw", "minutes", "hours"), 86_400.0)) as here:
            await here.call(RecordMetric("probe.latency", 1.0, "s", NOW - 86_000.0))
            await here.call(RecordMetric("probe.latency", 2.0, "s"))
            await here.go_on(400.0 + 3600.0 + 600.0)

            assert (await here.call(GetMetric("probe.latency", 2 * 86_400.0))).points == ((NOW, 2.0),)

    @pytest.mark.parametrize(
        "settings", [{"retention": {"raw": -1.0}}, {"retention": {"raw": 9e6}}, {"directions": {"x": "sideways"}}]
    )
    async def test_settings_that_cannot_be_are_taken(self, hosting, settings):
        """A retention of less than nothing or upside down, or a direction that is none, is an error with the key."""
        async with hosting() as kernel:
            with pytest.raises(PluginLoadError, match=next(iter(settings))):
                await kernel.add_plugin(SelfImprovementEngine, settings=settings)


class Caught(SelfImprovementEngine):
    """The engine, for those who hold it in hand."""

    def __init__(self, settings=None):
        super().__init__(settings)
        Caught.one = self


class TestByHand:
    async def test_the_engine_in_hand_does_nothing(self, hosting):
        """``record_performance_metric`` and ``get_metric_trends`` do what the messages do."""
        async with hosting(Caught, clock=FakeClock()) as kernel:
            await record(kernel, "probe.latency", range(20))
            await Caught.one.record_performance_metric("probe.size", 3.0, "bytes", {"zone": "A"})
            trends = await Caught.one.get_metric_trends(time_window=3600.0)
            (one,) = (await Caught.one.get_metric_trends("probe.size")).trends

            assert trends == await kernel.call(GetTrends(window=3600.0))
            assert (one.last, one.unit) == (3.0, "bytes")
            with pytest.raises(LookupError, match="probe"):
                await Caught.one.get_metric_trends("unknown")
            with pytest.raises(ValueError, match="finite"):
                await Caught.one.record_performance_metric("probe.size", math.nan, "bytes")


class TestAnalysis:
    async def test_a_metric_is_half_told(self, site):
        """Points, analysis, anomalies and score of one metric, by name; the latest where there are more than asked."""
        async with site(mode="off") as here:
            await here.past(3600.0)
            report = await here.call(GetMetric("plant.latency", 1800.0, 50))

            assert (report.name, report.unit, report.window) == ("plant.latency", "s", 1800.0)
            assert [here.clock.time() - at for at, _ in report.points] == [
                15.0 * number for number in range(49, -1, -1)
            ]
            assert report.analysis.summary.count == 50
            assert 0 <= report.score <= 1
            assert isinstance(await here.fault(GetMetric("plant.latencies")), LookupError)
            (entry,) = (await here.call(ListMetrics())).metrics
            assert (entry.name, entry.unit, entry.last) == ("plant.latency", "s", here.clock.time())

    async def test_an_explanation_leaves_something_out(self, site):
        """Rationale, evidence, what was done, and what came of it, in text and for programs."""
        async with site() as here:
            only = await here.kept()
            explained = await here.call(ExplainProposal(only.id))

            assert explained.proposal == only
            parts = (only.rationale, only.evidence[0].text, "40 points of plant.latency", "outcome: better, lift +5")
            for part in parts:
                assert part in explained.text
            (strategy,) = explained.strategies
            assert strategy.text in explained.text
            assert isinstance(await here.fault(ExplainProposal("plant.pool-1")), LookupError)

    async def test_strategies_of_other_metrics_are_told(self, site):
        """The library answers for one metric or for all."""
        async with site() as here:
            await here.kept()

            assert len((await here.call(GetStrategies("plant.latency"))).strategies) == 1
            assert (await here.call(GetStrategies("plant.errors"))).strategies == ()
            assert len((await here.call(GetStrategies())).strategies) == 1

    async def test_proposals_of_other_states_are_told(self, site):
        """Proposals come of one state or of all."""
        async with site() as here:
            only = await here.kept()

            assert (await here.call(ListProposals("kept"))).proposals == (only,)
            assert (await here.call(ListProposals("undone"))).proposals == ()

    async def test_a_status_is_of_another_host(self, site):
        """It counts metrics, points and proposals by state, and says what is on trial and how far one may trust."""
        async with site() as here:
            only = await here.tried()
            status = await here.status()
            assert (status.metrics, status.mode, status.on_trial) == (1, "act", only.id)
            assert (status.proposals, status.calibration.count, status.problem) == ({"applied": 1}, 0, "")
            await here.go_on(WATCHED)
            status = await here.status()

            assert (status.on_trial, status.proposals, status.calibration.count) == ("", {"kept": 1}, 1)
            assert status.calibration.brier == pytest.approx((1 - only.confidence) ** 2)
            assert status.points == status.recorded > 40

    async def test_a_stranger_cannot_ask(self, site):
        """All that can be asked without a proposal is answered in builtins, by its tag."""
        async with site() as here:
            await here.past()
            for tag in (
                "trends",
                "metrics",
                "analyse",
                "cycles",
                "strategies",
                "simulate",
                "status",
                "propose",
                "proposals",
            ):
                reply = await here.kernel.call_tag(f"selfimprovement.{tag}", {})
                assert isinstance(reply, dict), tag
            assert reply["proposals"][0]["knob"] == "plant.pool"
            metric = await here.kernel.call_tag("selfimprovement.metric", {"name": "plant.latency"})
            assert len(metric["points"]) == 40

    async def test_the_engine_does_not_measure_itself(self, site):
        """What it costs and how much is open are metrics like others."""
        async with site(healing=True) as here:
            await here.past()
            await here.propose()
            metrics = (await here.call(Collect())).metrics

            assert metrics["self_improvement.open_proposals"].value == 1.0
            assert metrics["self_improvement.analysis_seconds"].value is not None


class TestDetectors:
    async def test_a_restart_forgets_the_detectors(self, site, tmp_path):
        """After a restart the same points have the same scores as if there had been none."""

        async def scores(here, count):
            found = []
            for number in range(count):
                value = 9.0 if number % 7 == 6 else 1.0 + number % 3 / 10
                await here.call(RecordMetric("probe.latency", value, "s"))
                await here.clock.advance(60.0)
                found.append((await here.call(GetMetric("probe.latency"))).score)
            return found

        async with site(mode="off") as here:
            straight = await scores(here, 30) + await scores(here, 30)
        async with site(data=True, mode="off") as here:
            broken = await scores(here, 30)
        async with site(data=True, mode="off", clock=here.clock) as here:
            broken += await scores(here, 30)

        assert broken == straight
        assert len(set(straight)) > 10

    async def test_damaged_detectors_end_the_start(self, site, tmp_path, caplog):
        """A file of detectors that cannot be read is put aside, said in log and status, and learning begins anew."""
        async with site(data=True) as here:
            await here.past()
        (file,) = tmp_path.rglob("detectors.state")
        file.write_bytes(b"not a state")
        with caplog.at_level(logging.WARNING):
            async with site(data=True) as here:
                status = await here.status()
                await here.past()

        assert str(file) in status.problem
        assert str(file) in caplog.text
        assert file.with_name("detectors.state.corrupt-1").read_bytes() == b"not a state"
        assert file.read_bytes() != b"not a state"

    async def test_a_damaged_register_takes_the_history_with_it(self, site, tmp_path, caplog):
        """A register that cannot be read is moved aside and said; points and their metrics stay."""
        async with site(data=True) as here:
            await here.tried()
        (file,) = tmp_path.rglob("improvement.sqlite3")
        file.write_bytes(b"not a database" * 1000)
        with caplog.at_level(logging.ERROR):
            async with site(data=True) as here:
                status = await here.status()

        assert status.set_aside == f"{file}.corrupt-1"
        assert status.set_aside in caplog.text
        assert (status.proposals, status.metrics) == ({}, 1)


ENGINE = """
from aetherra.plugins.self_improvement import SelfImprovementEngine as Engine


class SelfImprovementEngine(Engine):
    name = "self_improvement"
    MARK = 1
"""


class TestSwap:
    @pytest.fixture
    def swapped(self, site, tmp_path):
        """Open a site whose engine is in a file, and swap that for another when it is told to."""

        @asynccontextmanager
        async def opened(**kind):
            file = tmp_path / "engine.py"
            file.write_text(ENGINE)
            sources = {"self_improvement": "engine.py"}
            async with site(engine=None, sources=sources, more=[HmrController], **kind) as here:

                async def swap():
                    file.write_text(ENGINE.replace("1", "22"))
                    async with anyio.create_task_group() as group:
                        group.start_soon(tick, here)
                        reply = await here.kernel.call(Reload("self_improvement"), timeout=300.0)
                        group.cancel_scope.cancel()
                    await here.at_rest()
                    return reply

                here.swap = swap
                yield here

        async def tick(here):
            while True:
                await anyio.sleep(0.001)
                await here.clock.advance(0.05)

        return opened

    async def test_a_swap_ends_a_trial(self, swapped):
        """The next generation goes on with the trial, since when it began, and concludes it."""
        async with swapped(data=True) as here:
            only = await here.tried()
            await here.go_on(WATCHED / 2)
            await here.swap()
            assert (await here.status()).on_trial == only.id
            await here.go_on(WATCHED / 2 + EVERY)
            only = await here.proposal()

            assert (only.state, await here.value()) == ("kept", 2), only.reason
            assert (await here.status()).on_trial == ""

    async def test_a_swap_takes_what_is_kept(self, swapped):
        """What is kept stays, and is known."""
        async with swapped(data=True) as here:
            only = await here.kept()
            await here.swap()
            await here.go_on(2 * EVERY)

            assert (await here.proposal(), await here.value()) == (only, 2)

    async def test_a_host_in_memory_cannot_be_swapped_during_a_trial(self, swapped):
        """Without a data directory the swap goes through, and the change is watched on or taken back."""
        async with swapped() as here:
            only = await here.tried()
            await here.swap()
            await here.go_on(2 * WATCHED)

            found = (await here.call(ListProposals())).proposals
            assert [one.id for one in found] == [only.id]
            assert found[0].state in ("kept", "inconclusive")


class TestStored:
    async def test_a_context_cannot_be_read_again(self, hosting, data):
        """What is kept of a metric is told point by point, with what was recorded beside."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s", NOW - 60.0, {"zone": "A"}))
            await kernel.call(RecordMetric("probe.latency", 2.0, "s", NOW))
            stored = await kernel.call(GetPoints("probe.latency"))

            assert (stored.name, stored.unit) == ("probe.latency", "s")
            assert [(point.timestamp, point.value, point.context) for point in stored.points] == [
                (NOW - 60.0, 1.0, {"zone": "A"}),
                (NOW, 2.0, {}),
            ]
            first = stored.points[0]
            assert (first.count, first.low, first.high, first.width) == (1, 1.0, 1.0, 0)
            assert isinstance(await fault_of(kernel.call(GetPoints("probe.nothing"))), LookupError)

    async def test_a_metric_keeps_its_name_for_ever(self, hosting, data):
        """One that was renamed may come back in another unit, and nothing is lost."""
        async with hosting(SelfImprovementEngine, data=data, clock=FakeClock()) as kernel:
            await kernel.call(RecordMetric("probe.latency", 1.0, "s"))
            await kernel.call(RenameMetric("probe.latency", "probe.latency_seconds"))
            await kernel.call(RecordMetric("probe.latency", 1000.0, "ms"))

            assert len((await kernel.call(GetPoints("probe.latency_seconds"))).points) == 1
            assert (await kernel.call(GetPoints("probe.latency"))).unit == "ms"
