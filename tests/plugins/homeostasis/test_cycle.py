"""Cycles on a real host: what they lead to, and what survives a swap, a restart, and a damaged file."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from aetherra.hmr import HmrController, Reload
from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import AetherraError, HealthReport, MetricSample, Plugin, ServiceStatus, hookimpl
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.homeostasis.messages import (
    Act,
    Collect,
    Correct,
    GetDeadLetterGroups,
    GetHomeostasisStatus,
    GetHostHealth,
    GetMetricHistory,
    GetPrometheus,
    RunlevelChanged,
    Undo,
)

RULE = {"metric": "gauge.level", "bad_above": 1.0, "enter": [1, 1], "leave": [1, 1]}


LADDER = [{"action": "set_workers", "arguments": {"factor": 2.0}}]


class Gauge(Plugin):
    """Measures, and feels, what a test says."""

    name = "gauge"
    level: ClassVar[float | None] = 0.0
    feels: ClassVar[HealthReport | None] = None

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("level", self.level, "m")]

    @hookimpl
    def health(self):
        return self.feels


@pytest.fixture
def hosting(tmp_path):
    @asynccontextmanager
    async def host(*, data=False, hmr=False, **settings):
        clock, Gauge.level, Gauge.feels = FakeClock(), 0.0, None
        kernel_part = {"data_dir": ".state" if data else None, "discover": False, "control_socket": False}
        kernel_part["durability"] = "process" if data else "none"
        async with Kernel(Config.parse({"kernel": kernel_part}, root=tmp_path), clock=clock) as kernel:
            if hmr:
                await kernel.add_plugin(HmrController, settings={"watch": False})
            await kernel.add_plugin(Gauge)
            rules = {"high": RULE}
            await kernel.add_plugin(Homeostasis, settings={"interval": 1.0, "rules": rules, "knobs": {}} | settings)
            yield kernel, clock

    return host


async def pass_on(clock, seconds):
    for _ in range(int(seconds)):
        await clock.advance(1.0)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()


class TestJudging:
    async def test_a_symptom_is_not_seen_in_the_health(self, hosting):
        """Health falls while it holds, says why, and is well again afterwards."""
        async with hosting() as (kernel, clock):
            await pass_on(clock, 2)
            before = (await kernel.call(GetHostHealth())).overall.score
            Gauge.level = 5.0
            await pass_on(clock, 2)
            ill = await kernel.call(GetHostHealth())
            assert ill.overall.score < before
            assert any("high" in reason for part in ill.components for reason in part.reasons)

    async def test_a_plugin_that_feels_ill_is_well(self, hosting):
        """What it says by the hook ``health`` counts for its own component."""
        async with hosting() as (kernel, clock):
            Gauge.feels = HealthReport("gauge", ServiceStatus.DEGRADED, 0.2, ("its needle sticks",))
            await pass_on(clock, 2)
            parts = {part.component: part for part in (await kernel.call(GetHostHealth())).components}
            assert parts["gauge"].score == 0.2
            assert "its needle sticks" in parts["gauge"].reasons

    async def test_a_runlevel_is_told_late(self, hosting):
        """A change is an event, kept for who subscribes later."""
        async with hosting() as (kernel, clock):
            await pass_on(clock, 3)
            event = await kernel.wait_for(RunlevelChanged)
            assert (event.old, event.new) == ("BOOTING", (await kernel.call(GetHomeostasisStatus())).runlevel)


class TestStopping:
    async def test_nobody_is_told_that_the_host_stops(self, hosting, tmp_path):
        """That the host stops is told as a runlevel; that homeostasis alone does is not."""
        async with hosting(data=True) as (kernel, clock):
            await pass_on(clock, 2)
            await kernel.restart_plugin("homeostasis")
            await pass_on(clock, 2)
            assert (await kernel.call(GetHostHealth())).runlevel != "STOPPING"
            ledger = [file.read_text() for file in tmp_path.rglob("ledger*")]
            assert "STOPPING" not in "".join(ledger)
        ledger = [file.read_text() for file in tmp_path.rglob("ledger*")]
        assert "STOPPING" in "".join(ledger)


class TestPhases:
    async def test_a_phase_is_missing(self, hosting):
        """All nine are told, in order, with what they counted."""
        async with hosting() as (kernel, clock):
            await pass_on(clock, 2)
            phases = (await kernel.call(GetHomeostasisStatus())).phases
            assert [phase.number for phase in phases] == list(range(1, 10))
            assert all(phase.summary for phase in phases)
            states = {phase.name: phase.state for phase in phases}
            assert states["stability metrics"] == states["controller"] == states["actuators"] == "working"
            assert states["bridge from self-incorporation"] == "waiting"

    async def test_phases_say_that_all_is_well_when_nothing_acts(self, hosting):
        """Actuators that may not act are off."""
        async with hosting(mode="observe") as (kernel, clock):
            await pass_on(clock, 2)
            phases = {phase.name: phase for phase in (await kernel.call(GetHomeostasisStatus())).phases}
            assert phases["actuators"].state == "off"
            assert phases["actuators"].figures["mode"] == "observe"


class TestTelling:
    async def test_the_texts_for_others_are_empty(self, hosting):
        """Prometheus gets the metrics, the history has a row a minute, dead letters are grouped."""
        async with hosting() as (kernel, clock):
            Gauge.level = 0.5
            await pass_on(clock, 62)
            text = (await kernel.call(GetPrometheus())).text
            assert "aetherra_gauge_level 0.5" in text
            assert "aetherra_system_health" in text
            past = await kernel.call(GetMetricHistory("gauge.level"))
            assert (past.unit, [point.value for point in past.points]) == ("m", [0.5])
            with pytest.raises(AetherraError):
                await kernel.submit_and_wait(Act("no_such_actuator"))
            with anyio.fail_after(20):
                while not (await kernel.call(GetDeadLetterGroups(), timeout=1000.0)).groups:
                    await anyio.to_thread.run_sync(lambda: None)  # letters are read in a thread
                    await clock.advance(5.0)
            (group,) = (await kernel.call(GetDeadLetterGroups())).groups
            assert (group.action_type, group.count) == ("homeostasis.act", 1)

    async def test_a_correction_is_asked_for_in_vain(self, hosting):
        """One look at the log, as the maintenance cycle asks for."""
        async with hosting() as (kernel, _):
            assert (await kernel.call(Correct())).fixes_failed == 0


class TestSurviving:
    async def test_a_swap_forgets_what_stands(self, hosting):
        """The next generation goes on counting, and can take back what the one before has changed."""
        async with hosting(hmr=True) as (kernel, clock):
            await pass_on(clock, 3)
            await kernel.call(Act("set_workers", arguments={"value": 20}))
            cycles = (await kernel.call(GetHomeostasisStatus())).cycles
            await kernel.call(Reload("homeostasis"))
            await pass_on(clock, 2)
            assert (await kernel.call(GetHomeostasisStatus())).cycles > cycles
            assert (await kernel.call(Undo("set_workers"))).changed
            assert kernel.statistics().actions.workers == 8

    async def test_a_restart_of_homeostasis_forgets_what_stands(self, hosting):
        """It is kept for the run of the host: what was changed can still be taken back."""
        async with hosting(data=True) as (kernel, clock):
            await pass_on(clock, 2)
            await kernel.call(Act("set_workers", arguments={"value": 20}))
            await kernel.remove_plugin("homeostasis")
            await kernel.add_plugin(Homeostasis, settings={"rules": {"high": RULE}})
            assert (await kernel.call(Undo("set_workers"))).changed
            await kernel.call(Act("set_workers", arguments={"value": 20}))
        async with hosting(data=True) as (kernel, clock):
            assert not (await kernel.call(Undo("set_workers"))).changed, "another run began with nothing changed"

    async def test_a_look_between_two_cycles_is_evidence(self, hosting):
        """Whoever asks often makes nothing worse."""
        async with hosting(interval=1000.0, rules={"high": {**RULE, "enter": [3, 3], "ladder": LADDER}}) as (kernel, _):
            Gauge.level = 5.0
            for _ in range(20):
                await kernel.call(Collect())
            assert (await kernel.call(GetHomeostasisStatus())).phases[1].figures.get("decisions_act", 0) == 0

    async def test_two_generations_control_one_host(self, hosting):
        """During and after a swap each cycle is one generation's."""
        async with hosting(hmr=True) as (kernel, clock):
            await pass_on(clock, 2)
            await kernel.call(Reload("homeostasis"))
            before = (await kernel.call(GetHomeostasisStatus())).cycles
            await pass_on(clock, 5)
            assert (await kernel.call(GetHomeostasisStatus())).cycles - before in (4, 5, 6)

    async def test_a_restart_forgets_what_was_learnt(self, hosting, tmp_path):
        """The decision core's state is on disk, and read at the next start."""
        async with hosting(data=True) as (_, clock):
            await pass_on(clock, 2)
        (file,) = tmp_path.rglob("controller.state")
        assert file.read_bytes()
        async with hosting(data=True) as (kernel, clock):
            await pass_on(clock, 2)
            assert (await kernel.call(Collect())).cycle > 0

    async def test_a_damaged_state_keeps_the_host_from_starting(self, hosting, tmp_path, caplog):
        """It is put aside, told, and learning begins anew."""
        async with hosting(data=True) as (_, clock):
            await pass_on(clock, 2)
        (file,) = tmp_path.rglob("controller.state")
        file.write_bytes(file.read_bytes()[:-3])
        async with hosting(data=True) as (kernel, clock):
            await pass_on(clock, 2)
            assert (await kernel.call(Collect())).cycle > 0
        assert "learning begins anew" in caplog.text
        assert list(tmp_path.rglob("controller.state.corrupt-1"))
