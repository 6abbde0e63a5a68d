"""A site: a host with a plant whose latency follows a knob, points of it, and self-improvement beside it."""

from __future__ import annotations

import random
import resource
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from aetherra.kernel import Config, Kernel, PluginContext
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError, Knob, KnobTurned, ListKnobs, Plugin, SetKnob, Settings, hookimpl
from aetherra.plugins.governance import Governance
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.self_improvement import SelfImprovementEngine
from aetherra.plugins.self_improvement.messages import (
    ExplainProposal,
    GetSelfImprovementStatus,
    ListProposals,
    MakeProposals,
    MetricPoint,
    ProposalChanged,
    RecordMetric,
    RecordMetrics,
)

NOW = 1_700_000_000.0
EVERY = 15.0
"""Seconds between two points of a metric."""
TRIAL = {"before": 600.0, "settle": 30.0, "after": 300.0, "every": EVERY}
SETTINGS = {"analysis_interval": 86_400.0, "trial": TRIAL, "setpoints": {"plant.latency": {"good": 0.2, "bad": 2.0}}}
CALM = TRIAL["settle"] + TRIAL["after"]
"""Seconds that a host must be left alone before a change is tried."""
WATCHED = TRIAL["settle"] + TRIAL["after"] + 2 * EVERY
"""Seconds after which a trial that shows something is over."""


class PlantSettings(Settings):
    impact: str = "low"
    undo: str = "set the value that it had"
    pool: int = 1
    knob: bool = True


class Plant(Plugin[PlantSettings]):
    """Has a pool that others may turn; what it writes and how is a test's to replace."""

    name = "plant"

    async def start(self, ctx):
        del ctx
        self.pool = self.settings.pool

    async def write(self, value):
        self.pool = value

    @hookimpl
    def knobs(self):
        if not self.settings.knob:
            return []
        return [
            Knob(
                name="plant.pool",
                read=lambda: self.pool,
                write=self.write,
                low=1,
                high=16,
                step=2,
                scale="log",
                unit="workers",
                role="capacity",
                moves={"plant.latency": "down"},
                impact=self.settings.impact,
                cost="memory",
                undo=self.settings.undo,
            )
        ]


class Site:
    """Lets time pass and points come; ``law`` says what the latency is at a pool of so many."""

    def __init__(self, kernel, clock, threads, law):
        self.kernel, self.clock, self.law = kernel, clock, law
        self.states = []
        self.turns = []
        self.extra = {}
        self._threads = threads
        self._chance = random.Random(3)

    async def call(self, request):
        return await self.kernel.call(request)

    async def fault(self, request):
        """Return what a request fails with."""
        with pytest.raises(HandlerError) as caught:
            await self.kernel.call(request)
        return caught.value.__cause__

    async def at_rest(self):
        """Return once no worker thread has anything to do; the clock stands meanwhile."""
        quiet = 0
        with anyio.fail_after(30):
            while quiet < 2:
                await self.clock.advance(0)
                if self._threads:
                    await anyio.sleep(0.001)
                quiet = 0 if self._threads else quiet + 1

    async def go_on(self, seconds, *, measured=True):
        """Let time pass, with a point of each metric every 15 seconds."""
        left = seconds
        while left > 0:
            await self.clock.advance(min(left, EVERY))
            await self.at_rest()
            left -= EVERY
            if measured:
                await self._measure([self.clock.time()])

    async def past(self, seconds=TRIAL["before"]):
        """Have points of the last seconds, as if the plant had been as it is, and the host left alone."""
        await self.go_on(CALM, measured=False)
        count = int(seconds / EVERY)
        await self._measure([self.clock.time() - EVERY * (count - 1 - number) for number in range(count)])

    async def _measure(self, times):
        pool = await self.value()
        laws = {"plant.latency": self.law, **self.extra}
        points = [
            MetricPoint(name, law(1 if pool is None else pool) * (1 + self._chance.gauss(0, 0.03)), "s", at)
            for at in times
            for name, law in laws.items()
        ]
        reply = await self.call(RecordMetrics(tuple(points)))
        assert reply.stored == len(points), reply.refused

    async def value(self, knob="plant.pool"):
        """Return what a knob reads; ``None`` if there is none."""
        return {each.name: each.value for each in (await self.call(ListKnobs())).knobs}.get(knob)

    async def turn(self, value):
        """Turn the knob as a person does."""
        await self.call(SetKnob("plant.pool", value))
        await self.at_rest()

    async def propose(self):
        """Analyse and propose; return what is made."""
        made = (await self.call(MakeProposals())).proposals
        await self.at_rest()
        return made

    async def proposal(self):
        """Return the only proposal there is."""
        (only,) = (await self.call(ListProposals())).proposals
        return only

    async def tried(self):
        """Have a proposal made and carried out, and return it."""
        await self.past()
        await self.propose()
        await self.go_on(EVERY)
        only = await self.proposal()
        assert (only.state, await self.value()) == ("applied", only.after)
        return only

    async def kept(self):
        """Have a proposal made, carried out and kept, and return it."""
        await self.tried()
        await self.go_on(WATCHED)
        only = await self.proposal()
        assert (only.state, await self.value()) == ("kept", only.after), only.reason
        return only

    async def status(self):
        return await self.call(GetSelfImprovementStatus())

    async def explained(self, proposal):
        return (await self.call(ExplainProposal(proposal))).text


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


@contextmanager
def full_disk():
    """Have every write to a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def threads(monkeypatch):
    """What runs in worker threads of plugins now; the clock must not go on meanwhile."""
    at_work = set()
    run_sync = PluginContext.run_sync

    async def counted(self, function, *args):
        errand = object()
        at_work.add(errand)
        try:
            return await run_sync(self, function, *args)
        finally:
            at_work.remove(errand)

    monkeypatch.setattr(PluginContext, "run_sync", counted)
    return at_work


@pytest.fixture
def site(tmp_path, threads):
    """Open a site in memory, or over ``tmp_path`` with ``data``; further arguments are settings of the engine.

    ``governed`` are the settings of governance, which is there if there are any.
    """

    @asynccontextmanager
    async def opened(
        *,
        data=False,
        profile="standard",
        clock=None,
        engine=SelfImprovementEngine,
        plant=None,
        healing=False,
        governed=None,
        law=lambda pool: 2.0 / pool,
        more=(),
        sources=None,
        **settings,
    ):
        document = {
            "profile": profile,
            "kernel": {"data_dir": ".state" if data else None, "discover": False, "control_socket": False},
            "plugins": {name: {"source": source, **SETTINGS, **settings} for name, source in (sources or {}).items()},
        }
        clock = clock or FakeClock(NOW)
        async with Kernel(Config.parse(document, root=tmp_path), clock=clock) as kernel:
            opened = Site(kernel, clock, threads, law)
            with (
                kernel.subscribe(ProposalChanged, capacity=1000) as states,
                kernel.subscribe(KnobTurned, capacity=1000) as turns,
            ):
                async with anyio.create_task_group() as group:
                    group.start_soon(_note, states, opened.states)
                    group.start_soon(_note, turns, opened.turns)
                    if governed is not None:
                        await kernel.add_plugin(Governance, settings=governed)
                    if healing:
                        await kernel.add_plugin(Homeostasis, settings={"interval": 3600.0, "mode": "act"})
                    await kernel.add_plugin(Plant, settings=plant or {})
                    if engine is not None:
                        await kernel.add_plugin(engine, settings=SETTINGS | settings)
                    for each in more:
                        await kernel.add_plugin(each)
                    await opened.at_rest()
                    yield opened
                    await opened.at_rest()
                    group.cancel_scope.cancel()

    return opened


async def _note(events, heard):
    async for event in events:
        heard.append(event)
