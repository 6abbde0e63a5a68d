"""Decisions on their way through the queue of a real host, and what becomes of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from aetherra.kernel import ActionEnvelope, ActionPriority, Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Message, MetricSample, Plugin, Request, handler, hookimpl
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.homeostasis.messages import (
    Act,
    Acted,
    Explain,
    Freeze,
    GetFreeze,
    GetHomeostasisStatus,
    ListActuators,
    Unfreeze,
)

MORE_WORKERS = {"action": "set_workers", "arguments": {"factor": 2}, "lasting": True, "settle": 5.0}
RULE = {
    "metric": "gauge.level",
    "bad_above": 1.0,
    "enter": [2, 2],
    "leave": [2, 2],
    "flapping": [60, 60],
    "undo_after": 5.0,
    "cooldown": 60.0,
    "ladder": [MORE_WORKERS],
}


LIMITS = {"set_workers": 60.0}


class Gauge(Plugin):
    """Measures what a test says."""

    name = "gauge"
    level: ClassVar[float | None] = 0.0

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("level", self.level, "m")]


class Hung(Message, tag="hanging.hung"):
    pass


class Hang(Request[Hung], tag="hanging.hang"):
    pass


class Hanging(Plugin):
    """Never answers, until it is let go."""

    name = "hanging"
    go_on: ClassVar[anyio.Event]

    async def start(self, ctx):
        Hanging.go_on = anyio.Event()

    @handler
    async def hang(self, request: Hang) -> Hung:
        await self.go_on.wait()
        return Hung()


class Meddler(Plugin):
    """Uses another's actuators."""

    name = "meddler"
    capabilities = ("call:homeostasis.act",)
    here: ClassVar[Meddler]

    async def start(self, ctx):
        Meddler.here = self


class World:
    def __init__(self, kernel, clock):
        self.kernel, self.clock = kernel, clock

    async def pass_on(self, seconds):
        """Let time pass, and what was decided be done."""
        for _ in range(int(seconds)):
            await self.clock.advance(1.0)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()

    @property
    def workers(self):
        return self.kernel.statistics().actions.workers

    async def explained(self, limit=20):
        return (await self.kernel.call(Explain(symptom="high", limit=limit))).decisions


@pytest.fixture
def hosting(tmp_path):
    @asynccontextmanager
    async def host(*, profile="standard", data=False, rule=None, **settings):
        clock, Gauge.level = FakeClock(), 0.0
        kernel_part = {"data_dir": ".state" if data else None, "discover": False, "control_socket": False}
        kernel_part["durability"] = "process" if data else "none"
        config = Config.parse({"profile": profile, "kernel": kernel_part}, root=tmp_path)
        rules = {"high": {**RULE, **(rule or {})}}
        async with Kernel(config, clock=clock) as kernel:
            await kernel.add_plugin(Gauge)
            await kernel.add_plugin(
                Homeostasis, settings={"interval": 1.0, "rules": rules, "limits": LIMITS} | settings
            )
            yield World(kernel, clock)

    return host


class TestActing:
    async def test_a_decision_is_not_carried_out(self, hosting):
        """What was decided is done through the queue, told as an event, and taken back when the symptom is gone."""
        async with hosting() as world:
            with world.kernel.subscribe(Acted) as events:
                Gauge.level = 2.0
                await world.pass_on(3)
                assert world.workers == 16
                assert (await anext(events)).summary == "workers 8 -> 16"
            assert world.kernel.statistics().actions.types["homeostasis.act"].done == 1
            Gauge.level = 0.0
            await world.pass_on(15)
            assert world.workers == 8
            assert world.kernel.statistics().actions.types["homeostasis.undo"].done == 1

    async def test_a_decision_is_not_explained(self, hosting):
        """What was seen, which rule, what was done, and what it changed; newest first."""
        async with hosting() as world:
            Gauge.level = 2.0
            await world.pass_on(3)
            Gauge.level = 0.0
            await world.pass_on(15)
            undone, done = await world.explained()
            assert "gauge.level 2, above 1: 2 of 2 samples, 2 were needed" in done.text
            assert "workers 8 -> 16" in done.text
            assert "effect" in done.text
            assert done.facts["decision"]["action"] == "set_workers"
            assert undone.facts["decision"]["kind"] == "undo"
            (again,) = (await world.kernel.call(Explain(decision=done.decision))).decisions
            assert again.text == done.text

    async def test_a_missing_reading_acts(self, hosting):
        """What nobody knows is no evidence, and what held goes on holding."""
        async with hosting() as world:
            Gauge.level = None
            await world.pass_on(30)
            assert world.workers == 8
            assert await world.explained() == ()

    async def test_a_busy_queue_keeps_corrections_out(self, hosting):
        """They get through though all workers hang and the lane is full."""
        async with hosting() as world:
            await world.kernel.add_plugin(Hanging)
            world.kernel.set_lane("normal", capacity=10)
            try:
                for waiting in (8, 10):
                    for _ in range(waiting):
                        await world.kernel.submit(Hang(), timeout=1000.0)
                    await world.clock.advance(0)
                Gauge.level = 2.0
                await world.pass_on(3)
                assert world.workers >= 16
            finally:
                Hanging.go_on.set()


class TestHolding:
    async def test_a_freeze_lets_something_be_done(self, hosting):
        """Nothing is decided, and nobody may act by hand; who asks is told why. Unfrozen, it goes on at once."""
        async with hosting() as world:
            await world.kernel.call(Freeze("moving house"))
            Gauge.level = 2.0
            await world.pass_on(10)
            assert world.workers == 8
            assert await world.explained() == ()
            with pytest.raises(Exception, match="moving house"):
                await world.kernel.call(Act("set_workers", arguments={"value": 9}))
            status = await world.kernel.call(GetHomeostasisStatus())
            assert "moving house" in status.frozen
            assert status.runlevel == "MAINTENANCE"
            await world.kernel.call(Unfreeze())
            await world.pass_on(2)
            assert world.workers == 16, "it does not go on at once"
            told = "\n".join(one.text for one in (await world.kernel.call(Explain())).decisions)
            assert "frozen by the host: moving house" in told
            assert "unfrozen: by the host" in told

    async def test_what_a_person_did_is_not_told(self, hosting):
        """An act by hand stands in the history, by whom, also if it names a decision that is none of ours."""
        async with hosting() as world:
            await world.kernel.call(Act("set_workers", arguments={"value": 9}))
            await world.kernel.call(Act("set_workers", arguments={"value": 7}, decision="somebody's"))
            told = [one.text for one in (await world.kernel.call(Explain())).decisions if "by hand" in one.text]
            assert len(told) == 2
            assert "set_workers done by the host: workers 9 -> 7" in told[0]

    async def test_a_freeze_ends_with_the_host(self, hosting):
        """It holds across restarts, until somebody ends it."""
        async with hosting(data=True) as world:
            await world.kernel.call(Freeze("moving house"))
        async with hosting(data=True) as world:
            assert (await world.kernel.call(GetFreeze())).reason == "moving house"
            Gauge.level = 2.0
            await world.pass_on(10)
            assert world.workers == 8
            await world.kernel.call(Unfreeze())
        async with hosting(data=True) as world:
            assert not (await world.kernel.call(GetFreeze())).frozen

    async def test_a_freeze_never_ends(self, hosting):
        """One for so many seconds ends by itself."""
        async with hosting() as world:
            await world.kernel.call(Freeze("lunch", seconds=60.0))
            await world.pass_on(61)
            assert not (await world.kernel.call(GetFreeze())).frozen
            await world.pass_on(1)
            assert (await world.kernel.call(GetHomeostasisStatus())).runlevel != "MAINTENANCE"

    async def test_a_file_that_somebody_makes_freezes_nothing(self, hosting, tmp_path):
        """An empty one is enough, also while the host runs; the runlevel says so, and its end is seen."""
        async with hosting(data=True) as world:
            file = tmp_path / ".state" / "homeostasis" / "frozen.json"
            file.touch()
            Gauge.level = 2.0
            await world.pass_on(5)
            assert world.workers == 8
            status = await world.kernel.call(GetHomeostasisStatus())
            assert status.runlevel == "MAINTENANCE"
            assert "empty file" in status.frozen
            file.unlink()
            await world.pass_on(3)
            assert world.workers == 16

    @pytest.mark.parametrize(
        ("profile", "settings", "said"),
        [
            ("dev", {}, "'observe'"),
            ("prod", {}, "'observe'"),
            ("standard", {"mode": "observe"}, "'observe'"),
            ("standard", {"actuators": {"set_workers": "off"}}, "'off'"),
            ("standard", {"mode": "dry_run"}, "a dry run: workers 8 -> 16"),
        ],
    )
    async def test_something_is_done_that_should_only_be_told(self, hosting, profile, settings, said):
        """It is decided, told with the reason why it was not done, and nothing is changed."""
        async with hosting(profile=profile, **settings) as world:
            Gauge.level = 2.0
            await world.pass_on(5)
            assert world.workers == 8
            assert said in (await world.explained())[-1].text
            assert "homeostasis.act" not in world.kernel.statistics().actions.types

    async def test_observing_runs_through_the_ladder(self, hosting):
        """A decision that is only told has its time to settle, like one that is done."""
        ladder = [MORE_WORKERS, {"action": "shed_background", "lasting": True}]
        async with hosting(mode="observe", rule={"ladder": ladder}) as world:
            Gauge.level = 2.0
            await world.pass_on(5)
            (only,) = await world.explained()
            assert only.facts["decision"]["action"] == "set_workers"
            await world.pass_on(5)
            assert [one.facts["decision"]["action"] for one in await world.explained()][:2] == [
                "shed_background",
                "set_workers",
            ]

    async def test_a_named_actuator_does_not_act_in_prod(self, hosting, governor):
        """Who is named in the settings acts, if who governs the host lets it."""
        async with hosting(profile="prod", actuators={"set_workers": "act"}) as world:
            await world.kernel.add_plugin(governor)
            Gauge.level = 2.0
            await world.pass_on(3)
            assert world.workers == 16

    async def test_an_act_that_nobody_governs_is_done_in_prod(self, hosting):
        """There nothing is done that nobody governs; it is told so, and asked about again."""
        async with hosting(profile="prod", actuators={"set_workers": "act"}) as world:
            Gauge.level = 2.0
            await world.pass_on(10)
            assert world.workers == 8
            (only,) = await world.explained()
            assert "enable the plugin 'governance'" in only.text

    async def test_an_act_of_an_earlier_run_is_done(self, hosting):
        """What was decided by what was true then, and lay in the journal since, is refused, and a dead letter."""
        async with hosting() as world:
            act = Act("set_workers", arguments={"value": 99}, decision="d-of-yesterday")
            await world.kernel.submit_action(ActionEnvelope(act, ActionPriority.MAINTENANCE))
            await world.pass_on(2)
            assert world.workers == 8
            (letter,) = await world.kernel.get_dlq_items()
            assert "d-of-yesterday" in letter.message


class TestFailing:
    async def test_a_failed_act_vanishes(self, hosting):
        """It is a dead letter like any other, and the decision says that it failed."""
        broken = {"ladder": [{**MORE_WORKERS, "arguments": {"value": 5000}}]}
        async with hosting(rule=broken) as world:
            Gauge.level = 2.0
            await world.pass_on(6)
            (letter,) = await world.kernel.get_dlq_items()
            assert (letter.action_type, letter.params["actuator"]) == ("homeostasis.act", "set_workers")
            assert "expected 1 to 1000 workers" in (await world.explained())[-1].text

    async def test_an_actuator_that_always_fails_is_used_for_ever(self, hosting):
        """It is quarantined by its failures, told so, tried once later, and quarantined for longer."""
        broken = {"ladder": [{**MORE_WORKERS, "arguments": {"value": 5000}, "tries": 50}], "cooldown": 1.0}
        quarantine = {"failures": 2, "minimum": 2, "rest": 120.0}
        async with hosting(rule=broken, quarantine=quarantine) as world:
            Gauge.level = 2.0
            await world.pass_on(100)
            actuators = {one.name: one for one in (await world.kernel.call(ListActuators())).actuators}
            assert "2 of its last 2 runs failed" in actuators["set_workers"].quarantined
            failed = actuators["set_workers"].failed
            await world.pass_on(20)
            actuators = {one.name: one for one in (await world.kernel.call(ListActuators())).actuators}
            assert actuators["set_workers"].failed == failed


class TestLeave:
    """Who governs the host is asked before, and told after."""

    async def test_an_act_is_not_asked_about_or_its_outcome_not_told(self, hosting, governor):
        """Act and undoing are asked about once each, by what they turn, and what came of them is told."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            Gauge.level = 2.0
            await world.pass_on(3)
            Gauge.level = 0.0
            await world.pass_on(15)
            done, undone = governor.here.asked
            assert (done.kind, done.component, done.actuator, done.undo) == (
                "actuator",
                "kernel.workers",
                "set_workers",
                False,
            )
            assert done.summary == "set_workers factor 2"
            assert "gauge.level is 2" in done.facts["why"]
            assert (undone.component, undone.undo) == ("kernel.workers", True)
            assert len(done.digest) == 64
            assert done.digest != undone.digest
            assert [(outcome, detail) for _, outcome, detail in governor.here.told] == [
                ("done", "workers 8 -> 16"),
                ("done", "workers 16 -> 8"),
            ]

    async def test_each_attempt_is_asked_about(self, hosting, governor):
        """An act that fails and is tried once more is one act; that it failed is told once."""
        broken = {"ladder": [{**MORE_WORKERS, "arguments": {"value": 5000}}]}
        async with hosting(rule=broken) as world:
            await world.kernel.add_plugin(governor)
            Gauge.level = 2.0
            await world.pass_on(6)
            assert world.kernel.statistics().actions.types["homeostasis.act"].retried == 1
            assert len(governor.here.asked) == 1
            ((_, outcome, detail),) = governor.here.told
            assert outcome == "failed"
            assert "expected 1 to 1000 workers" in detail

    async def test_a_guard_is_breached(self, hosting, governor):
        """It is only looked at; the act waits for as long as the guard says, and counts as no failure."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            governor.here.says("actuator", "guard", reason="one a minute", retry_after=20.0)
            Gauge.level = 2.0
            await world.pass_on(10)
            assert (governor.here.asked, world.workers) == ([], 8)
            assert len(await world.explained()) == 1, "it is decided over and over"
            assert "one a minute" in (await world.explained())[0].text
            governor.here.says("actuator")
            await world.pass_on(15)
            assert world.workers == 16
            actuators = {one.name: one for one in (await world.kernel.call(ListActuators())).actuators}
            assert (actuators["set_workers"].failed, actuators["set_workers"].quarantined) == (0, "")

    async def test_a_person_is_asked_over_and_over(self, hosting, governor):
        """Their agreement is asked for once; from then on it is only looked whether they gave it."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            governor.here.says("actuator", "needs_approval", reason="it waits for a person")
            Gauge.level = 2.0
            await world.pass_on(4)
            assert len(governor.here.asked) == 1
            governor.here.says("actuator", "needs_approval", reason="it waits for a person", approval="a1")
            await world.pass_on(300)
            assert len(governor.here.asked) == 1
            governor.here.says("actuator", approval="a1")
            await world.pass_on(130)
            assert world.workers == 16
            first, second = governor.here.asked
            assert first.digest == second.digest, "the approval is of something else"

    async def test_an_act_under_way_is_not_stopped(self, hosting, governor):
        """What was permitted, and waits in the queue, is not done once everything is stopped, and is no failure."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            await world.kernel.add_plugin(Hanging)
            try:
                world.kernel.set_workers(1)
                for _ in range(2):
                    await world.kernel.submit(Hang(), priority=ActionPriority.MAINTENANCE, timeout=1000.0)
                await world.clock.advance(0)
                Gauge.level = 2.0
                for _ in range(5):
                    await world.clock.advance(1.0)
                    await anyio.lowlevel.checkpoint()
                assert len(governor.here.asked) == 1
                governor.here.says("*", "stopped", reason="a person said stop")
            finally:
                Hanging.go_on.set()
            await world.pass_on(5)
            assert world.kernel.statistics().actions.workers == 1
            assert governor.here.told[0][1] == "failed"
            (told,) = await world.explained()
            assert "skipped" in told.text
            actuators = {one.name: one for one in (await world.kernel.call(ListActuators())).actuators}
            assert actuators["set_workers"].failed == 0

    async def test_an_emergency_stop_is_no_freeze(self, hosting, governor):
        """It shows as one, nothing is decided while it holds, and lifted it goes on; unfreezing does not lift it."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            governor.here.says("*", "stopped", reason="everything is stopped by the desk: fire")
            Gauge.level = 2.0
            await world.pass_on(10)
            status = await world.kernel.call(GetHomeostasisStatus())
            assert (status.frozen, status.runlevel) == ("everything is stopped by the desk: fire", "MAINTENANCE")
            await world.kernel.call(Freeze())
            await world.kernel.call(Unfreeze())
            assert (await world.kernel.call(GetHomeostasisStatus())).runlevel == "MAINTENANCE"
            assert (await world.explained(), governor.here.asked, world.workers) == ((), [], 8)
            governor.here.says("*")
            await world.pass_on(4)
            assert world.workers == 16
            told = "\n".join(one.text for one in (await world.kernel.call(Explain())).decisions)
            assert "emergency stop: everything is stopped by the desk: fire" in told
            assert "emergency stop: it is lifted" in told

    async def test_a_stop_is_over_where_nobody_says_so(self, hosting, governor):
        """While who governs is restarted, or its disk is full, it holds on, and nothing is told of it."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            governor.here.says("*", "stopped", reason="fire")
            await world.pass_on(3)
            for code in ("refused", "unrecorded"):
                governor.here.says("*", code, reason="nobody knows")
                await world.pass_on(3)
                assert (await world.kernel.call(GetHomeostasisStatus())).frozen == "fire"
            told = [one.text for one in (await world.kernel.call(Explain())).decisions]
            assert not [text for text in told if "lifted" in text]
            governor.here.says("*", "guard", reason="one a minute")
            await world.pass_on(3)
            assert (await world.kernel.call(GetHomeostasisStatus())).frozen == ""

    async def test_a_plugin_acts_by_hand_without_leave(self, hosting, governor):
        """It is asked for on its behalf, and meets every guard; a person only waits for one."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            await world.kernel.add_plugin(Meddler)
            governor.here.says("actuator", "guard", reason="one a minute", retry_after=20.0)
            with pytest.raises(Exception, match="one a minute"):
                await world.kernel.call(Act("set_workers", arguments={"value": 9}))
            assert governor.here.asked == []
            with pytest.raises(Exception, match="one a minute"):
                await Meddler.here.ctx.call(Act("set_workers", arguments={"value": 9}))
            (only,) = governor.here.asked
            assert only.sender == "plugin 'meddler' (generation 1)"
            assert world.workers == 8

    async def test_another_act_goes_by_the_leave_of_a_decision_that_waits(self, hosting, governor):
        """It was given for one act, to the last argument: whoever names the decision for another asks for that."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            await world.kernel.add_plugin(Hanging)
            try:
                world.kernel.set_workers(1)
                for _ in range(2):
                    await world.kernel.submit(Hang(), priority=ActionPriority.MAINTENANCE, timeout=1000.0)
                Gauge.level = 2.0
                for _ in range(5):
                    await world.clock.advance(1.0)
                    await anyio.lowlevel.checkpoint()
                (asked,) = governor.here.asked
                other = Act("set_workers", arguments={"value": 3}, decision=asked.facts["decision"])
                await world.kernel.submit(other, priority=ActionPriority.CRITICAL)
            finally:
                Hanging.go_on.set()
            await world.pass_on(5)
            assert [one.summary for one in governor.here.asked] == [asked.summary, "set_workers value 3"]

    async def test_a_decision_is_carried_out_by_somebody_elses_leave(self, hosting, governor):
        """Only what the queue does for a decision goes by the leave that was given for it."""
        async with hosting() as world:
            await world.kernel.add_plugin(governor)
            await world.kernel.call(Act("set_workers", arguments={"value": 9}, decision="d1"))
            await world.kernel.call(Act("set_workers", arguments={"value": 7}, decision="d1"))
            assert [one.summary for one in governor.here.asked] == ["set_workers value 9", "set_workers value 7"]
