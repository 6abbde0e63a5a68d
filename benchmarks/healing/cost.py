"""Cost: what homeostasis takes of a core in a host with fifty services, idle and under load.

One host runs with and without it in turns, so that the machine's noise meets both alike; what its coming and going
takes is left out. The share is the processor time of the whole process, all threads included.
"""

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from aetherra.kernel import Config, Kernel
from aetherra.plugins import Message, Plugin, Request, handler
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.homeostasis.messages import Measured

SERVICES = 50
INTERVAL = 1.0
RATE = 500
BOUND = 0.5  # percent of one core
CYCLE_BOUND = 5.0  # milliseconds, at the very most


class Effort(msgspec.Struct, frozen=True):
    """How much to measure: so many turns with and as many without, of so many seconds each, after as much rest."""

    turns: int = 4
    seconds: float = 6.0
    rest: float = 2.0


class Cost(msgspec.Struct, frozen=True):
    """What it took.

    Attributes:
        without: Percent of one core that the host takes without it, the median of the turns.
        share: Percent that it takes beyond that: the median of the differences of turns that follow each other.
        least: The least of these differences.
        most: The most.
        cycles: Cycles that were measured.
        cycle: Milliseconds of one cycle as it measures itself, the median.
        cycle_most: The longest.
        metrics: Readings of the last cycle.
    """

    without: float
    share: float
    least: float
    most: float
    cycles: int
    cycle: float
    cycle_most: float
    metrics: int


class Answer(Message, tag="cost.answer"):
    number: int


def service(number: int) -> tuple[type[Plugin[Any]], type[Request[Answer]]]:
    """Return a plugin with a service of its own, and what can be asked of it."""

    class Ask(Request[Answer], tag=f"cost.ask_{number}"):
        number: int

    class Service(Plugin):
        name = f"part_{number}"
        service = f"part_{number}"

        @handler
        async def ask(self, request: Ask) -> Answer:
            return Answer(request.number)

    return Service, Ask


@asynccontextmanager
async def hosting() -> AsyncIterator[tuple[Kernel, list[type[Request[Answer]]]]]:
    """Run a host with so many services, nothing on disk."""
    document = {"kernel": {"data_dir": None, "discover": False, "durability": "none"}}
    async with Kernel(Config.parse(document)) as kernel:
        asks: list[type[Request[Answer]]] = []
        for number in range(SERVICES):
            plugin, ask = service(number)
            await kernel.add_plugin(plugin)
            asks.append(ask)
        yield kernel, asks


async def call_all(kernel: Kernel, asks: list[type[Request[Answer]]], rate: float) -> None:
    """Call one service after the other, so many times a second in all, until cancelled."""
    begun, done = time.perf_counter(), 0
    while True:
        while done < (time.perf_counter() - begun) * rate:
            await kernel.call(asks[done % len(asks)](done))
            done += 1
        await anyio.sleep(0.01)


async def used(effort: Effort) -> float:
    """Return the percentage of a core that this process uses, from after a rest on."""
    await anyio.sleep(effort.rest)
    begun, before = time.perf_counter(), time.process_time()
    await anyio.sleep(effort.seconds)
    return (time.process_time() - before) / (time.perf_counter() - begun) * 100


async def cost(rate: float, effort: Effort) -> Cost:
    """Measure under so many calls a second."""
    without: list[float] = []
    differences: list[float] = []
    cycles: list[Measured] = []
    async with hosting() as (kernel, asks), anyio.create_task_group() as group:
        if rate:
            group.start_soon(call_all, kernel, asks, rate)
        for _ in range(effort.turns):
            bare = await used(effort)
            await kernel.add_plugin(Homeostasis, settings={"interval": INTERVAL})
            with kernel.subscribe(Measured) as events:
                group.start_soon(keep, events, cycles)
                differences.append(await used(effort) - bare)
            await kernel.remove_plugin(Homeostasis.name)
            without.append(bare)
        group.cancel_scope.cancel()
    seconds = [cycle.seconds * 1000 for cycle in cycles]
    return Cost(
        without=statistics.median(without),
        share=statistics.median(differences),
        least=min(differences),
        most=max(differences),
        cycles=len(cycles),
        cycle=statistics.median(seconds),
        cycle_most=max(seconds),
        metrics=len(cycles[-1].metrics),
    )


async def keep(events: Any, cycles: list[Measured]) -> None:
    """Keep what is heard."""
    async for event in events:
        cycles.append(event)  # noqa: PERF401  # each counts at once: this is cancelled in the middle


def costs(effort: Effort) -> dict[str, Cost]:
    """Measure idle and under load."""
    return {
        "idle": anyio.run(cost, 0.0, effort),
        f"{RATE} calls/s": anyio.run(cost, float(RATE), effort),
    }
