"""Homeostasis on a real host: what it measures here, and what becomes of it."""

from __future__ import annotations

import gc
import logging
import math
from typing import ClassVar

import anyio
import pytest

from aetherra.kernel import PluginLoadError
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import AetherraError, HandlerError, MetricSample, Plugin, RetryPolicy, handler, hookimpl
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.homeostasis.corrector.messages import BringUp, MakeDataFile
from aetherra.plugins.homeostasis.messages import Collect, Correct, GetHomeostasisStatus, Measured
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_improvement.messages import (
    GetMetric,
    GetSelfImprovementStatus,
    Recorded,
    RecordMetric,
)


class Talkative(Plugin):
    """Has the metrics that a test gives it."""

    name = "talkative"
    samples: ClassVar[object] = []

    @hookimpl
    def collect_metrics(self):
        return self.samples() if callable(self.samples) else self.samples


class Wedged(Plugin):
    """Stands in for self-improvement, and never answers."""

    name = "self_improvement_engine"
    service = "self_improvement_engine"
    asked = 0

    @handler(timeout=None)
    async def record(self, _: RecordMetric) -> Recorded:
        Wedged.asked += 1
        return await anyio.sleep_forever()


class Queue(Plugin):
    name = "queue"

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("oldest_age", 1e9, "s"), MetricSample("own", 1.0, "s")]


async def collect(kernel, clock):
    await clock.advance(1.0)
    return await kernel.call(Collect())


async def at_rest(kernel):
    """Return both statuses once nothing more is on its way from homeostasis to self-improvement."""
    before = None
    with anyio.fail_after(10):
        while True:
            await anyio.wait_all_tasks_blocked()
            ours = await kernel.call(GetHomeostasisStatus())
            theirs = await kernel.call(GetSelfImprovementStatus())
            in_hand = [route.in_hand for route in kernel.statistics().bus.routes if route.tag.startswith("selfimp")]
            if (ours, theirs) == before and ours.forwarded and not any(in_hand):
                return ours, theirs
            before = ours, theirs


class TestMeasurement:
    async def test_few_metrics_have_a_value(self, hosting):
        """On this machine at least 15 metrics have a value in every cycle from the second on."""
        clock = FakeClock()
        async with hosting(Homeostasis, clock=clock) as kernel:
            await kernel.call(Collect())
            for _ in range(2):
                measured = await collect(kernel, clock)
                known = {name: metric.value for name, metric in measured.metrics.items() if metric.value is not None}

                assert len(known) >= 15
                assert all(math.isfinite(value) for value in known.values())

    async def test_what_is_missing_looks_like_zero(self, hosting):
        """A reading that nobody has is ``None`` with its reason, never a number."""
        async with hosting(Homeostasis, clock=FakeClock()) as kernel:
            measured = await kernel.call(Collect())
            unknown = {name: metric for name, metric in measured.metrics.items() if metric.value is None}

            assert "process.cpu" in unknown
            assert all(metric.reason for metric in unknown.values())
            assert not any(metric.reason for metric in measured.metrics.values() if metric.value is not None)

    async def test_the_health_score_leaves_its_range(self, hosting):
        """Health is between 0 and 1, with the share of metrics that it rests on, and reasons if it is not 1."""
        clock = FakeClock()
        async with hosting(Homeostasis, clock=clock) as kernel:
            measured = await collect(kernel, clock)

            assert 0 <= measured.health_score <= 1
            assert 0 < measured.health_coverage <= 1
            assert bool(measured.health_reasons) == (measured.health_score < 1)

    async def test_a_setpoint_of_the_settings_is_ignored(self, hosting):
        """A host's own setpoint decides what is good."""
        clock = FakeClock()
        strict = {"setpoints": {"process.rss": {"good": 1.0, "bad": 2.0}}}
        async with hosting(Homeostasis, clock=clock, homeostasis=strict) as kernel:
            measured = await collect(kernel, clock)

            assert any("process.rss" in reason for reason in measured.health_reasons)
            assert measured.health_score < 0.5

    async def test_a_cycle_is_skipped_or_not_told(self, hosting):
        """Every ``interval`` seconds there is one measurement, numbered, and told as an event."""
        clock = FakeClock()
        async with hosting(Homeostasis, clock=clock, homeostasis={"interval": 10.0}) as kernel:
            await anyio.wait_all_tasks_blocked()
            with kernel.subscribe(Measured) as events:
                await clock.advance(30.0)

                assert [(await anext(events)).cycle for _ in range(3)] == [2, 3, 4]
                assert not len(events.mailbox)

    async def test_the_sensors_stay_open(self, hosting):
        """A stopped plugin no longer listens to the garbage collector."""
        before = list(gc.callbacks)
        async with hosting(Homeostasis):
            assert len(gc.callbacks) == len(before) + 1

        assert gc.callbacks == before

    @pytest.mark.parametrize("settings", [{"interval": 0.0}, {"forward_interval": -1.0}, {"intervall": 5.0}])
    async def test_settings_that_cannot_be_are_taken(self, hosting, settings):
        """An interval of nothing would never rest; a key that is not known is a mistake."""
        async with hosting() as kernel:
            with pytest.raises(PluginLoadError, match=next(iter(settings))):
                await kernel.add_plugin(Homeostasis, settings=settings)


class TestPluginMetrics:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    async def test_a_plugin_measures_what_is_no_number(self, hosting, value):
        """NaN from a plugin is unknown, and the reason says what it was."""
        Talkative.samples = [MetricSample("mood", value, "smiles"), MetricSample("age", 3, "years")]
        async with hosting(Homeostasis, Talkative, clock=FakeClock()) as kernel:
            metrics = (await kernel.call(Collect())).metrics

            assert metrics["talkative.mood"].value is None
            assert repr(value) in metrics["talkative.mood"].reason
            assert metrics["talkative.age"].value == 3.0

    @pytest.mark.parametrize(
        "samples", [5, ["text"], [MetricSample("mood", "good", "")], lambda: (1 / 0 for _ in "x"), lambda: 1 / 0]
    )
    async def test_a_plugin_with_bad_metrics_ends_the_measurement(self, hosting, samples):
        """What one plugin returns cannot keep the others', or the host's, from being measured."""
        Talkative.samples = samples if not callable(samples) else staticmethod(samples)
        async with hosting(Homeostasis, Talkative, Queue, clock=FakeClock()) as kernel:
            metrics = (await kernel.call(Collect())).metrics

            assert metrics["queue.own"].value == 1.0
            assert metrics["process.rss"].value > 0
            assert not any(
                name.startswith("talkative.") and metric.value is not None for name, metric in metrics.items()
            )

    async def test_a_plugin_speaks_for_the_host(self, hosting):
        """A plugin whose name is the first word of a host's metric cannot overwrite that."""
        async with hosting(Homeostasis, Queue, clock=FakeClock()) as kernel:
            assert (await kernel.call(Collect())).metrics["queue.oldest_age"].value == 0.0


class TestForwarding:
    async def test_the_counter_differs_from_what_is_stored(self, hosting):
        """``forwarded`` is the number of points that self-improvement holds, whatever the order of arrival."""
        clock = FakeClock()
        async with hosting(Homeostasis, SelfImprovementEngine, clock=clock) as kernel:
            for _ in range(3):
                await collect(kernel, clock)
            ours, theirs = await at_rest(kernel)

            assert ours.forwarded == theirs.points == theirs.recorded > 45
            assert ours.forward_failed == 0

    async def test_a_reading_is_forwarded_twice(self, hosting):
        """Forwarding more often than measuring does not count a reading again."""
        clock = FakeClock()
        often = {"interval": 1000.0, "forward_interval": 1.0}
        async with hosting(Homeostasis, SelfImprovementEngine, clock=clock, homeostasis=often) as kernel:
            await at_rest(kernel)
            await clock.advance(10.0)
            status, _ = await at_rest(kernel)

            assert status.cycles == 1
            assert status.forwarded == 1 + status.metrics - status.unknown

    async def test_a_receiver_that_comes_later_waits_a_whole_interval(self, hosting):
        """The first readings are forwarded as soon as there is somebody to take them."""
        async with hosting(Homeostasis, SelfImprovementEngine, clock=FakeClock()) as kernel:
            _, status = await at_rest(kernel)

            assert status.points > 0

    async def test_the_health_score_has_no_history(self, hosting):
        """The score is forwarded as ``health.score`` with the readings that it was made of, at their time."""
        clock = FakeClock()
        often = {"interval": 1000.0, "forward_interval": 1.0}
        async with hosting(Homeostasis, SelfImprovementEngine, clock=clock, homeostasis=often) as kernel:
            await at_rest(kernel)
            measured = await collect(kernel, clock)
            await clock.advance(2.0)
            await at_rest(kernel)
            report = await kernel.call(GetMetric("health.score"))

            assert report.unit == "ratio"
            assert report.points[-1] == (measured.ts, measured.health_score)

    async def test_nobody_to_forward_to_counts_as_forwarded(self, hosting):
        """Without self-improvement each reading counts as failed, and the status says why."""
        clock = FakeClock()
        async with hosting(Homeostasis, clock=clock) as kernel:
            measured = await collect(kernel, clock)
            status = await kernel.call(GetHomeostasisStatus())

            assert status.forwarded == 0
            assert status.forward_failed == 1 + sum(metric.value is not None for metric in measured.metrics.values())
            assert "selfimprovement.record_metric" in status.last_forward_problem

    async def test_a_wedged_receiver_holds_everybody_up(self, hosting):
        """A round ends with the first that is not answered in time, and who asks for a measurement waits seconds."""
        clock = FakeClock()
        async with hosting(Homeostasis, Wedged, clock=clock, homeostasis={"forward_interval": 1000.0}) as kernel:
            await anyio.wait_all_tasks_blocked()
            Wedged.asked = 0
            begun, took = clock.monotonic(), []

            async def ask():
                await kernel.call(Collect(), timeout=60.0)
                took.append(clock.monotonic() - begun)

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                with anyio.fail_after(10):
                    while not took:
                        await clock.advance(0.5)
                        await anyio.wait_all_tasks_blocked()

            assert took[0] <= 4.0
            assert Wedged.asked == 1
            status = await kernel.call(GetHomeostasisStatus())
            assert status.forwarded == 0
            assert status.forward_failed > Wedged.asked

    async def test_a_refusal_counts_as_forwarded(self, hosting):
        """A reading that self-improvement refuses is counted as that, and only that one."""
        clock = FakeClock()
        async with hosting(SelfImprovementEngine, clock=clock) as kernel:
            await kernel.call(RecordMetric("process.rss", 1.0, "furlongs"))
            await kernel.add_plugin(Homeostasis)
            await collect(kernel, clock)
            status, theirs = await at_rest(kernel)

            assert status.forward_failed == theirs.refused > 0
            assert "furlongs" in status.last_forward_problem
            assert status.forwarded == theirs.points - 1


class TestCorrections:
    async def test_the_way_through_the_queue_is_asked_about_again(self, hosting, governor, tmp_path):
        """A correction is asked about once, though the plugin itself answers its requests; one by hand by itself."""
        (tmp_path / "default.json").write_text("{}")
        corrector = {"interval": 86_000.0, "data_files": {"a.json": "default.json", "b.json": "default.json"}}
        settings = {"interval": 3600.0, "mode": "act", "corrector": corrector}
        async with hosting(governor, Homeostasis, clock=FakeClock(), homeostasis=settings) as kernel:
            await kernel.call(Correct())
            gone = FileNotFoundError(2, "not there", str(tmp_path / "a.json"))
            logging.getLogger("acme").error("lost", exc_info=gone)
            assert (await kernel.call(Correct())).fixes_successful == 1
            await kernel.call(MakeDataFile("b.json"))

            assert [(one.summary, one.sender) for one in governor.here.asked] == [
                ("missing_data_file: MakeDataFile(path='a.json')", ""),
                ("by hand: MakeDataFile(path='b.json')", "the host"),
            ]
            assert [outcome for _, outcome, _ in governor.here.told] == ["done", "done"]

            governor.here.says("correction", "stopped", reason="a person said stop")
            (tmp_path / "b.json").unlink()
            with pytest.raises(HandlerError, match="a person said stop"):
                await kernel.call(MakeDataFile("b.json"))
            assert not (tmp_path / "b.json").exists()

    async def test_what_lies_in_the_journal_is_done_after_a_stop(self, hosting, governor):
        """A plugin that was to be brought up when the host died is asked about anew, and left if that is stopped."""
        async with hosting(governor, Homeostasis, Queue, clock=FakeClock(), homeostasis={"mode": "act"}) as kernel:
            governor.here.says("correction", "stopped", reason="a person said stop")
            with pytest.raises(AetherraError, match="a person said stop"):
                await kernel.submit_and_wait(BringUp("queue", reason="of an earlier run"), retry=RetryPolicy(1))
            (info,) = [info for info in kernel.plugins() if info.name == "queue"]
            assert info.generation == 1
            governor.here.says("correction")
            await kernel.submit_and_wait(BringUp("queue", reason="of an earlier run"), retry=RetryPolicy(1))
            (info,) = [info for info in kernel.plugins() if info.name == "queue"]
            assert info.generation == 2
            assert [one.component for one in governor.here.asked] == ["queue"]
