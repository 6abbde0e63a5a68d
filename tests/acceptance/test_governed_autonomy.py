"""A whole host that heals and improves itself, and is governed: what it does is in the ledger, and stops when told."""

from __future__ import annotations

import itertools
import random
import textwrap
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import Config, Kernel, PluginContext
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError, ListKnobs
from aetherra.plugins.governance.messages import (
    Approve,
    EmergencyStopAll,
    GetAuditTail,
    GetGovernanceStatus,
    LiftStop,
    ListApprovals,
    VerifyAudit,
)
from aetherra.plugins.homeostasis.messages import Act, Explain, GetHomeostasisStatus
from aetherra.plugins.self_improvement.messages import ListProposals, MakeProposals, MetricPoint, RecordMetrics

NOW = 1_700_000_000.0
EVERY = 15.0
TRIAL = {"before": 600.0, "settle": 30.0, "after": 300.0, "every": EVERY}
CALM = TRIAL["settle"] + TRIAL["after"]
WORKS = """
from aetherra.plugins import Knob, Message, MetricSample, Plugin, Request, handler, hookimpl
from aetherra.plugins.homeostasis.messages import Act


class Set(Message, tag="works.is_set"):
    level: float


class SetLevel(Request[Set], tag="works.set"):
    level: float


class Meddled(Message, tag="works.meddled"):
    pass


class Meddle(Request[Meddled], tag="works.meddle"):
    pass


class Works(Plugin):
    name = "works"
    capabilities = ("call:homeostasis.act",)
    level = 0.0
    pool = 1

    @handler
    async def set_level(self, request: SetLevel) -> Set:
        self.level = request.level
        return Set(self.level)

    @handler
    async def meddle(self, request: Meddle) -> Meddled:
        await self.ctx.call(Act("set_workers", arguments={"factor": 2}))
        return Meddled()

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("level", self.level, "m")]

    def set_pool(self, value):
        self.pool = value

    @hookimpl
    def knobs(self):
        return [
            Knob(
                name="works.pool", read=lambda: self.pool, write=self.set_pool, low=1, high=16, step=2, scale="log",
                unit="workers", role="capacity", moves={"works.latency": "down"}, impact="IMPACT", cost="memory",
                undo="set the value that it had",
            )
        ]
"""
RUNG = {"action": "set_workers", "arguments": {"factor": 2, "highest": 1000}, "tries": 50, "settle": 5.0}
HIGH = {"metric": "works.level", "bad_above": 1.0, "enter": [2, 2], "leave": [2, 2], "ladder": [RUNG]}
HOMEOSTASIS = {
    "interval": 1.0,
    "mode": "act",
    "forward_interval": 86_000.0,
    "rules": {"high": HIGH},
    "knobs": {"workers": None},
    "limits": {"set_workers": 60.0},
    "flap_budget": 100,
}
IMPROVEMENT = {
    "mode": "act",
    "analysis_interval": 86_000.0,
    "trial": TRIAL,
    "setpoints": {"works.latency": {"good": 0.2, "bad": 2.0}},
}


class World:
    """A host, and the time that passes on it."""

    def __init__(self, kernel: Kernel, clock: FakeClock, threads: set[object]) -> None:
        self.kernel, self.clock, self._threads = kernel, clock, threads
        self._chance = random.Random(3)

    async def call(self, request: Any) -> Any:
        return await self.kernel.call(request)

    async def at_rest(self) -> None:
        """Return once no worker thread has anything to do."""
        quiet = 0
        with anyio.fail_after(30):
            while quiet < 3:
                await self.clock.advance(0)
                if self._threads:
                    await anyio.sleep(0.001)
                quiet = 0 if self._threads else quiet + 1

    async def pass_on(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            await self.clock.advance(1.0)
            await self.at_rest()

    async def level(self, level: float) -> None:
        await self.kernel.call_tag("works.set", {"level": level})

    @property
    def workers(self) -> int:
        return self.kernel.statistics().actions.workers

    async def pool(self) -> Any:
        return next(knob.value for knob in (await self.call(ListKnobs())).knobs if knob.name == "works.pool")

    async def propose(self) -> Any:
        """Have the host left alone for long enough, points of a latency that is too high, and a proposal upon them."""
        await self.pass_on(CALM)
        times = [self.clock.time() - EVERY * number for number in range(40)]
        points = [MetricPoint("works.latency", 2.0 + self._chance.gauss(0, 0.05), "s", at) for at in times]
        await self.call(RecordMetrics(tuple(points)))
        (made,) = (await self.call(MakeProposals())).proposals
        return made

    async def proposal(self) -> Any:
        (only,) = (await self.call(ListProposals())).proposals
        return only

    async def ledger(self) -> list[tuple[str, str, str, str]]:
        """Return what plugins asked and told, each with who did."""
        entries = (await self.call(GetAuditTail(1000))).entries
        return [
            (entry.actor, entry.kind, entry.component, entry.code)
            for entry in entries
            if entry.actor in ("homeostasis", "self_improvement")
        ]

    async def acts(self) -> list[float]:
        """Return when acts of homeostasis were allowed."""
        entries = (await self.call(GetAuditTail(1000))).entries
        return [entry.at for entry in entries if (entry.kind, entry.code) == ("actuator", "allowed")]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Open a host over ``tmp_path`` with all that is installed, but for what reads the whole tree."""
    at_work: set[object] = set()
    run_sync = PluginContext.run_sync

    async def counted(self, function, *args):
        errand = object()
        at_work.add(errand)
        try:
            return await run_sync(self, function, *args)
        finally:
            at_work.remove(errand)

    monkeypatch.setattr(PluginContext, "run_sync", counted)

    @asynccontextmanager
    async def opened(*, clock=None, impact="low", profile="standard", **homeostasis):
        (tmp_path / "works.py").write_text(textwrap.dedent(WORKS).replace("IMPACT", impact))
        document = {
            "profile": profile,
            "kernel": {"data_dir": ".state", "durability": "process", "control_socket": False},
            "plugins": {
                "works": {"source": "works.py"},
                "homeostasis": HOMEOSTASIS | homeostasis,
                "self_improvement": IMPROVEMENT,
                "self_incorporation": {"enabled": False},
            },
        }
        clock = clock or FakeClock(NOW)
        async with Kernel(Config.parse(document, root=tmp_path), clock=clock) as kernel:
            here = World(kernel, clock, at_work)
            await here.at_rest()
            yield here
            await here.at_rest()

    return opened


class TestLedger:
    async def test_what_the_host_does_by_itself_is_in_no_ledger(self, world):
        """A proposal that is carried out and an actuator's act are asked about, and told with their outcome."""
        async with world() as here:
            await here.propose()
            await here.pass_on(2 * EVERY)
            assert await here.pool() == 2
            await here.level(2.0)
            await here.pass_on(4)
            assert here.workers == 16
            assert await here.ledger() == [
                ("self_improvement", "proposal", "works.pool", "allowed"),
                ("self_improvement", "proposal", "works.pool", "done"),
                ("homeostasis", "actuator", "kernel.workers", "allowed"),
                ("homeostasis", "actuator", "kernel.workers", "done"),
            ]
            entries = (await here.call(GetAuditTail(1000))).entries
            (asked,) = [entry for entry in entries if (entry.kind, entry.code) == ("actuator", "allowed")]
            (told,) = [entry for entry in entries if entry.refers_to == asked.sequence]
            assert "works.level is 2" in asked.facts["why"]
            assert told.code == "done"
            verified = (await here.call(VerifyAudit())).verification
            assert verified.ok, verified.problems


class TestStop:
    async def test_the_emergency_stop_stops_not_everything(self, world):
        """Neither acts, also not what a person had approved; it outlives the host, and lifted both go on."""
        async with world(impact="high") as here:
            await here.propose()
            (asked,) = (await here.call(ListApprovals("pending"))).approvals
            await here.level(2.0)
            await here.call(Approve(asked.id))
            await here.at_rest()
            assert (await here.proposal()).state == "approved"
            await here.call(EmergencyStopAll("the cooling has failed"))
            await here.pass_on(60)
            assert (here.workers, await here.pool()) == (8, 1)
            status = await here.call(GetHomeostasisStatus())
            assert "the cooling has failed" in status.frozen
            assert status.runlevel == "MAINTENANCE"

        async with world(impact="high", clock=here.clock) as here:
            await here.level(2.0)
            await here.pass_on(CALM)
            assert (here.workers, await here.pool()) == (8, 1)
            assert (await here.proposal()).state == "approved"
            with pytest.raises(HandlerError, match="the cooling has failed"):
                await here.call(Act("set_workers", arguments={"value": 20}))
            assert [code for *_, code in await here.ledger() if code in ("allowed", "done")] == []

            await here.call(LiftStop("it is cool again"))
            await here.pass_on(4)
            assert here.workers == 16
            await here.level(0.0)
            await here.pass_on(CALM + 90)
            assert ((await here.proposal()).state, await here.pool()) == ("applied", 2)
            told = [one.text for one in (await here.call(Explain(limit=1000))).decisions]
            assert any("the cooling has failed" in text for text in told)


class TestGuard:
    async def test_homeostasis_breaches_a_guard(self, world):
        """It would act every few seconds: one act a minute is let pass, it waits for the next, and breaches nothing."""
        async with world() as here:
            await here.level(2.0)
            await here.pass_on(200)
            acts = await here.acts()
            assert len(acts) == 4
            assert min(after - before for before, after in itertools.pairwise(acts)) >= 60.0
            assert here.workers == 8 * 2**4
            status = await here.call(GetGovernanceStatus())
            assert status.measures == ()
            assert set(status.codes) == {"allowed"}
            actuators = (await here.kernel.call_tag("homeostasis.actuators"))["actuators"]
            (workers,) = [one for one in actuators if one["name"] == "set_workers"]
            assert (workers["acted"], workers["failed"], workers["quarantined"]) == (4, 0, "")

    async def test_a_breach_has_no_effect(self, world):
        """A plugin that asks for one more disables the actuator for a while; homeostasis waits for that, too."""
        async with world() as here:
            await here.level(2.0)
            await here.pass_on(4)
            with pytest.raises(HandlerError, match="would be more than guard"):
                await here.kernel.call_tag("works.meddle")
            (measure,) = (await here.call(GetGovernanceStatus())).measures
            assert (measure.breach, measure.actuator) == ("disable_actuator", "set_workers")
            await here.pass_on(300)
            assert here.workers == 16
            await here.pass_on(310)
            assert here.workers == 32


class TestProd:
    async def test_a_governed_host_in_prod_does_nothing(self, world):
        """There who is named in the settings acts, as somebody governs."""
        async with world(profile="prod", actuators={"set_workers": "act"}) as here:
            await here.level(2.0)
            await here.pass_on(4)
            assert here.workers == 16
            assert ("homeostasis", "actuator", "kernel.workers", "done") in await here.ledger()
