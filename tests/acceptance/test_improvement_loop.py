"""A knob that is set badly on a real host: found, turned, measured, and kept or taken back, within a simulated hour."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.plugins import PluginContext
from aetherra.plugins.self_improvement import SelfImprovementEngine
from tests.acceptance import healing_world
from tests.acceptance.healing_world import Load, Scenario, World, a_world

SHOP = '''
import random
from collections import deque

import anyio

from aetherra.plugins import Knob, Message, MetricSample, Plugin, Request, handler, hookimpl


class Buy(Request["Bought"], tag="shop.buy"):
    pass


class Bought(Message, tag="shop.bought"):
    pass


class Shop(Plugin):
    """Serves at most ``pool`` customers at a time; each ``chat`` costs every customer a second."""

    name = "shop"

    async def start(self, ctx):
        self.room = anyio.CapacityLimiter({pool})
        self.chat = {chat}
        self.took = deque(maxlen=24)
        self.chance = random.Random(7)

    @handler
    async def buy(self, request: Buy) -> Bought:
        begun = self.ctx.clock.monotonic()
        async with self.room:
            await self.ctx.clock.sleep(self.chance.uniform(0.8, 1.2) + self.chat)
        self.took.append(self.ctx.clock.monotonic() - begun)
        return Bought()

    @hookimpl
    def collect_metrics(self):
        mean = sum(self.took) / len(self.took) if self.took else None
        return [MetricSample("latency", mean, "s", "" if self.took else "nobody has bought yet")]

    def set_pool(self, value):
        self.room.total_tokens = value

    def set_chat(self, value):
        self.chat = value

    @hookimpl
    def knobs(self):
        return [{knobs}]
'''
POOL = """Knob(
    name="shop.pool", read=lambda: int(self.room.total_tokens), write=self.set_pool, low=1, high=16, step=2,
    scale="log", unit="customers", role="capacity", moves={"shop.latency": "down"}, impact="low", cost="room",
)"""
CHAT = """Knob(
    name="shop.chat", read=lambda: self.chat, write=self.set_chat, low=0, high=4, step=1, unit="s",
    role="tuning", moves={"shop.latency": "down"}, impact="low", cost="time",
)"""
ASK = {"limit": 1000}


def shop(*, knobs, pool=4, chat=0):
    return SHOP.replace("{pool}", str(pool)).replace("{chat}", str(chat)).replace("[{knobs}]", f"[{', '.join(knobs)}]")


@pytest.fixture(autouse=True)
def no_time_passes_unseen(monkeypatch):
    """Let time pass at half its real pace while a plugin's worker thread is at work, however busy the machine."""
    monkeypatch.setattr(healing_world, "SLOW_STEP", 0.0005)
    at_work = set()
    run_sync, is_acting = PluginContext.run_sync, World._is_acting

    async def counted(self, function, *args):
        errand = object()
        at_work.add(errand)
        try:
            return await run_sync(self, function, *args)
        finally:
            at_work.remove(errand)

    monkeypatch.setattr(PluginContext, "run_sync", counted)
    monkeypatch.setattr(World, "_is_acting", lambda self: bool(at_work) or is_acting(self))


@asynccontextmanager
async def open_shop(folder, source, **settings):
    """Host a shop with four customers every ten seconds, homeostasis and self-improvement."""
    scenario = Scenario(
        name="shop", plugins={"shop": source}, loads=dict, strikes=None, tick=10.0, homeostasis={"interval": 10.0}
    )
    load = Load("shop.buy", 0.4, timeout=60.0)
    async with a_world(scenario, folder, healing=True) as world, anyio.create_task_group() as group:
        await world.kernel.add_plugin(
            SelfImprovementEngine,
            settings={"setpoints": {"shop.latency": {"good": 1.2, "bad": 4.0}}, **settings},
        )
        group.start_soon(world.bear, [load], 10.0)
        try:
            yield world
        finally:
            group.cancel_scope.cancel()


async def proposals(world):
    return (await world.ask("selfimprovement.proposals", ASK))["proposals"][::-1]


async def value_of(world, name):
    knobs = (await world.ask("kernel.list_knobs"))["knobs"]
    return next(knob["value"] for knob in knobs if knob["name"] == name)


@pytest.mark.timeout(300)
async def test_a_badly_set_knob_stays_as_it_is(tmp_path):
    """Too small a pool is found by its latency, widened step by step, and the better value stands after an hour."""
    async with open_shop(tmp_path, shop(knobs=[POOL], pool=1)) as world:
        await world.go_on(3600.0)
        found = await proposals(world)

        kept = [one for one in found if one["state"] == "kept"]
        assert kept, [(one["id"], one["state"], one["reason"]) for one in found]
        assert kept[0]["knob"] == "shop.pool"
        assert (kept[0]["before"], kept[0]["after"]) == (1, 2)
        assert kept[0]["outcome"]["verdict"] == "better"
        assert kept[0]["outcome"]["lift"] > 0.2
        stands = [one for one in found if one["state"] in ("kept", "applied")]  # the next step may be on trial by now
        assert await value_of(world, "shop.pool") == stands[-1]["after"] > 1
        assert kept[0]["evidence"][0]["metric"] == "shop.latency"


@pytest.mark.timeout(300)
@pytest.mark.slow
async def test_a_change_that_makes_things_worse_stays(tmp_path):
    """A knob whose owner is wrong about it is tried once, found to harm, and set back; the library remembers."""
    async with open_shop(tmp_path, shop(knobs=[CHAT], pool=2)) as world:
        await world.go_on(3600.0)
        found = await proposals(world)

        assert [one["state"] for one in found] == ["undone"], [
            (one["id"], one["state"], one["reason"]) for one in found
        ]
        assert found[0]["outcome"]["verdict"] == "worse"
        assert await value_of(world, "shop.chat") == 0
        (strategy,) = (await world.ask("selfimprovement.strategies"))["strategies"]
        assert (strategy["tried"], strategy["worse"]) == (1, 1)
        assert strategy["confidence"] < 0.6
