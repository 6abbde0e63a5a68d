"""Events: one publisher, subscribers that take what is in their bounded mailboxes, beside bare bounded queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

import anyio

from aetherra.kernel import Kernel
from aetherra.plugins import Plugin, PluginContext
from measuring.figures import Case, Effort, Figure, Run, measure
from messaging.vocabulary import Tick

AUDIENCES = (1, 10, 100)
CAPACITY = 1000
BOUND = 2.0


class Tally:
    """Lets a publisher wait until each subscriber has met the last event."""

    def __init__(self, subscribers: int) -> None:
        self._subscribers = self._missing = subscribers
        self._all = asyncio.Event()

    def met(self) -> None:
        """Count one subscriber that met an event with number 0."""
        self._missing -= 1
        if not self._missing:
            self._all.set()

    async def wait(self) -> None:
        """Return when all have; then it counts anew."""
        await self._all.wait()
        self._missing = self._subscribers
        self._all.clear()


async def hear(events: AsyncIterable[Tick], tally: Tally) -> None:
    """Read events for ever."""
    async for event in events:
        if not event.number:
            tally.met()


async def hear_queue(queue: asyncio.Queue[Tick], tally: Tally) -> None:
    """Read a bare queue for ever."""
    while True:
        event = await queue.get()
        if not event.number:
            tally.met()


def at_full_speed(publish: Callable[[Tick], Awaitable[object]], tally: Tally) -> Run:
    """Publish without a pause: mailboxes fill up, and the publisher waits for room."""

    async def run(count: int) -> None:
        event = Tick(1)
        for _ in range(count - 1):
            await publish(event)
        await publish(Tick(0))
        await tally.wait()

    return run


def one_by_one(publish: Callable[[Tick], Awaitable[object]], tally: Tally) -> Run:
    """Publish, and let every subscriber take it before the next."""

    async def run(count: int) -> None:
        event = Tick(0)
        for _ in range(count):
            await publish(event)
            await tally.wait()

    return run


def publish_to(queues: list[asyncio.Queue[Tick]]) -> Callable[[Tick], Awaitable[object]]:
    """Return the floor's publish: put into each queue, wait where one is full."""

    async def publish(event: Tick) -> None:
        for queue in queues:
            if queue.full():
                await queue.put(event)
            else:
                queue.put_nowait(event)

    return publish


class Listener(Plugin):
    """A plugin that hears ticks by as many handlers as it is told."""

    tally: Tally
    count = 0

    async def start(self, ctx: PluginContext) -> None:
        for _ in range(self.count):
            ctx.subscribe(Tick, self._hear, capacity=CAPACITY, overflow="block")

    async def _hear(self, event: Tick) -> None:
        if not event.number:
            self.tally.met()


@asynccontextmanager
async def audience(count: int) -> AsyncGenerator[list[Case]]:
    """Set up a floor, subscriptions and plugin handlers of one size, and yield their cases."""
    queues: list[asyncio.Queue[Tick]] = [asyncio.Queue(CAPACITY) for _ in range(count)]
    bare, ours, plugins = Tally(count), Tally(count), Tally(count)
    Listener.tally, Listener.count = plugins, count
    plural = "s" if count > 1 else ""
    many = f"{count} subscriber{plural}"
    async with Kernel() as kernel, Kernel() as other, anyio.create_task_group() as group:
        await other.add_plugin(Listener)
        with ExitStack() as stack:
            for queue in queues:
                group.start_soon(hear_queue, queue, bare)
            for _ in range(count):
                events = stack.enter_context(kernel.subscribe(Tick, capacity=CAPACITY, overflow="block"))
                group.start_soon(hear, events, ours)
            cases: list[Case] = []
            for shape, how in ((at_full_speed, "at full speed"), (one_by_one, "one by one")):
                floor = f"floor: a bounded asyncio.Queue each, {many}, {how}"
                for name, publish, tally, above, bound in (
                    (floor, publish_to(queues), bare, "", None),
                    (f"kernel.publish, {many}, {how}", kernel.publish, ours, floor, BOUND),
                    (f"kernel.publish, {count} plugin handler{plural}, {how}", other.publish, plugins, floor, None),
                ):
                    cases.append(Case(name, shape(publish, tally), above, bound, "event", deliveries=count))
            yield cases
            group.cancel_scope.cancel()


async def measured(effort: Effort) -> dict[str, list[Figure]]:
    """Measure events on asyncio."""
    figures: list[Figure] = []
    for count in AUDIENCES:
        async with audience(count) as cases:
            figures += await measure(cases, effort)
    return {"Events, until all subscribers have them": figures}
