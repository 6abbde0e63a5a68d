"""Peers: the same job done by others that are installed, each in its own way, beside the same floor."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import anyio

from aetherra.kernel import Kernel
from measuring.figures import Case, Effort, Figure, Run, measure
from measuring.report import installed
from messaging.calls import BARE, bare, called
from messaging.events import CAPACITY, Tally, hear, hear_queue, one_by_one, publish_to
from messaging.vocabulary import Add, Adder, AddMaybeLater, Tick

LISTENERS = 10
QUEUES = f"floor: a bounded asyncio.Queue each, {LISTENERS} subscribers, one by one"
MODULES = {
    "asphalt": "asphalt.core",
    "blinker": "blinker",
    "bubus": "bubus",
    "plugins-kernel": "pkl",
    "pyee": "pyee.asyncio",
    "waku": "waku.messaging",
}
"""Distributions, and what of each is imported."""


@dataclass(frozen=True)
class Answer:
    """What a peer answers that knows no msgspec."""

    total: int


def call_case(name: str, run: Run, lacks: str) -> Case:
    """A peer's way to ask one and get the reply."""
    return Case(f"{name} {version(name)}", run, BARE, lacks=lacks)


def event_case(name: str, run: Run, lacks: str) -> Case:
    """A peer's way to tell all subscribers."""
    title = f"{name} {version(name)}, {LISTENERS} subscribers"
    return Case(title, run, QUEUES, unit="event", deliveries=LISTENERS, lacks=lacks)


@asynccontextmanager
async def asphalt(adder: Adder) -> AsyncGenerator[list[Case]]:
    """Asphalt: a component as a resource of the context, its method awaited; a signal streamed from queues."""
    from asphalt.core import Context, Event, Signal

    class Ticked(Event):
        def __init__(self, source: Any, topic: str, tick: Tick) -> None:
            super().__init__(source, topic)
            self.number = tick.number

    class Source:
        ticked = Signal(Ticked)

    async def call(count: int) -> None:
        for _ in range(count):
            await context.require_resource(Adder).add(request)

    source, tally, request = Source(), Tally(LISTENERS), Add(2, 3)
    async with Context() as context, anyio.create_task_group() as group:
        context.add_resource(adder)
        for _ in range(LISTENERS):
            group.start_soon(hear, source.ticked.stream_events(max_queue_size=CAPACITY), tally)
        await anyio.wait_all_tasks_blocked()
        yield [
            call_case("asphalt", call, "time limit, schema, statistics, routing by tag, reload"),
            event_case(
                "asphalt", one_by_one(source.ticked.dispatch, tally), "policy when full (drops, logged), schema"
            ),
        ]
        group.cancel_scope.cancel()


@asynccontextmanager
async def plugins_kernel(adder: Adder) -> AsyncGenerator[list[Case]]:
    """plugins-kernel: a system call, which runs as the plugin that defined it."""
    from pkl import Plugin, PluginTracker
    from pkl.syscall import syscall

    plugins: Any = PluginTracker()
    with plugins.executing(Plugin()):
        add = syscall(plugins, adder.add)
    yield [call_case("plugins-kernel", bare(add, Add(2, 3)), "time limit, schema, statistics, routing by tag")]


@asynccontextmanager
async def waku(_: Adder) -> AsyncGenerator[list[Case]]:
    """waku: a request to its handler, an event to its handlers, both resolved from the container's scope."""
    from waku import WakuFactory, module
    from waku.messaging import (
        EventHandler,
        IEvent,
        IMessageBus,
        IRequest,
        MessagingExtension,
        MessagingModule,
        RequestHandler,
    )

    @dataclass(frozen=True)
    class Ask(IRequest[Answer]):
        left: int
        right: int

    @dataclass(frozen=True)
    class Told(IEvent):
        number: int

    class Answering(RequestHandler[Ask, Answer]):
        async def handle(self, request: Ask, /) -> Answer:
            return Answer(request.left + request.right)

    def hearer() -> type[EventHandler[Told]]:
        class Hearing(EventHandler[Told]):
            async def handle(self, event: Told, /) -> None:
                if event.number:
                    raise AssertionError

        return Hearing

    bindings = MessagingExtension().bind(Ask, Answering).bind(Told, *(hearer() for _ in range(LISTENERS)))

    @module(extensions=[bindings])
    class Part:
        pass

    @module(imports=[Part, MessagingModule.register()])
    class Whole:
        pass

    async with WakuFactory(Whole).create() as app, app.container() as scope:
        bus = await scope.get(IMessageBus)

        async def call(count: int) -> None:
            request = Ask(2, 3)
            for _ in range(count):
                await bus.invoke(request)

        async def publish(count: int) -> None:
            event = Told(0)
            for _ in range(count):
                await bus.publish(event)

        yield [
            call_case("waku", call, "time limit, statistics, routing by tag, reload"),
            event_case("waku", publish, "mailboxes: handlers run one after the other, in the publisher"),
        ]


@asynccontextmanager
async def bubus(_: Adder) -> AsyncGenerator[list[Case]]:
    """bubus: an event whose result is the reply; an event that is complete once all handlers have run."""
    logging.getLogger("bubus").setLevel(logging.CRITICAL)
    from bubus import BaseEvent, EventBus

    class BusAdd(BaseEvent[int]):
        left: int
        right: int

    class BusTick(BaseEvent[None]):
        number: int

    async def add(event: BusAdd) -> int:
        return event.left + event.right

    def hearer(number: int) -> Callable[[Any], Any]:
        async def listen(event: BusTick) -> None:
            if event.number:
                raise AssertionError

        listen.__name__ = f"listen_{number}"
        return listen

    bus: Any = EventBus(name="bench")
    bus.on(BusAdd, add)
    for number in range(LISTENERS):
        bus.on(BusTick, hearer(number))

    async def call(count: int) -> None:
        for _ in range(count):
            await bus.dispatch(BusAdd(left=2, right=3)).event_result()

    async def publish(count: int) -> None:
        for _ in range(count):
            await bus.dispatch(BusTick(number=0))

    yield [
        call_case(
            "bubus", call, "calls at a time (one event after the other), reload; has time limit, schema, history"
        ),
        event_case("bubus", publish, "mailboxes: one queue for all, one event at a time"),
    ]
    await bus.stop(timeout=1.0, clear=True)


@asynccontextmanager
async def blinker(adder: Adder) -> AsyncGenerator[list[Case]]:
    """Blinker: a signal that awaits its receivers."""
    from blinker import Signal

    signal, question = Signal(), Signal()

    def hearer() -> Callable[..., Any]:
        async def listen(_: object, *, event: Tick) -> None:
            if event.number:
                raise AssertionError

        return listen

    receivers = [hearer() for _ in range(LISTENERS)]
    for receiver in receivers:
        signal.connect(receiver)

    async def publish(count: int) -> None:
        event = Tick(0)
        for _ in range(count):
            await signal.send_async(None, event=event)

    async def call(count: int) -> None:
        request = Add(2, 3)
        for _ in range(count):
            ((_, _reply),) = await question.send_async(None, request=request)

    async def answer(_: object, *, request: Add) -> Any:
        return await adder.add(request)

    question.connect(answer)
    yield [
        call_case("blinker", call, "time limit, schema, statistics, reload; any number may answer"),
        event_case("blinker", publish, "mailboxes: receivers run one after the other, in the publisher"),
    ]


@asynccontextmanager
async def pyee(_: Adder) -> AsyncGenerator[list[Case]]:
    """pyee: an emitter that starts a task for each handler of each event."""
    from pyee.asyncio import AsyncIOEventEmitter

    emitter, tally = AsyncIOEventEmitter(), Tally(LISTENERS)

    def hearer() -> Callable[[Tick], Any]:
        async def listen(event: Tick) -> None:
            if not event.number:
                tally.met()

        return listen

    for _ in range(LISTENERS):
        emitter.on("tick", hearer())

    async def emit(event: Tick) -> None:
        emitter.emit("tick", event)

    yield [
        event_case(
            "pyee",
            one_by_one(emit, tally),
            "calls, a bound (a task each), order where handlers wait, schema, statistics",
        )
    ]


SETUPS: dict[str, Callable[[Adder], AbstractAsyncContextManager[list[Case]]]] = {
    "asphalt": asphalt,
    "blinker": blinker,
    "bubus": bubus,
    "plugins-kernel": plugins_kernel,
    "pyee": pyee,
    "waku": waku,
}


async def measured(effort: Effort) -> dict[str, list[Figure]]:
    """Measure ours and theirs, in the same rounds."""
    adder, request = Adder(), Add(2, 3)
    queues: list[asyncio.Queue[Tick]] = [asyncio.Queue(CAPACITY) for _ in range(LISTENERS)]
    bare_tally, tally = Tally(LISTENERS), Tally(LISTENERS)
    async with AsyncExitStack() as stack:
        kernel = await stack.enter_async_context(Kernel())
        await kernel.add_plugin(Adder)
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        for queue in queues:
            group.start_soon(hear_queue, queue, bare_tally)
            events = stack.enter_context(kernel.subscribe(Tick, capacity=CAPACITY, overflow="block"))
            group.start_soon(hear, events, tally)

        calls = [
            Case(BARE, bare(adder.add, request)),
            Case("aetherra kernel.call", called(kernel, request), BARE),
            Case("aetherra kernel.call, a handler that could wait", called(kernel, AddMaybeLater(2, 3)), BARE),
        ]
        told = [
            Case(QUEUES, one_by_one(publish_to(queues), bare_tally), unit="event", deliveries=LISTENERS),
            Case(
                f"aetherra kernel.publish, {LISTENERS} subscribers",
                one_by_one(kernel.publish, tally),
                QUEUES,
                unit="event",
                deliveries=LISTENERS,
            ),
        ]
        for name in installed(MODULES):
            importlib.import_module(MODULES[name])
            for case in await stack.enter_async_context(SETUPS[name](adder)):
                (calls if case.floor == BARE else told).append(case)
        return {
            "Peers: one typed request, one handler, its reply": await measure(calls, effort),
            f"Peers: one event, {LISTENERS} async subscribers, until all have it": await measure(told, effort),
        }
