"""Peers: the same actions that do nothing, done by others that are installed, each in its own way, in memory."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from itertools import count

from aetherra.kernel import ActionPriority
from measuring.figures import Case, Effort, Figure, Run, measure
from measuring.report import installed
from queueing.stage import WORKERS, BareLoop, config, serving, submitted
from queueing.throughput import bare_loop
from queueing.vocabulary import Noop, Noops, Tally

FLOOR = f"floor: a bare heap and {WORKERS} workers"
MODULES = {"dramatiq": "dramatiq", "huey": "huey", "repid": "repid", "taskiq": "taskiq"}
"""Distributions, and what of each is imported."""


def counted(run: Run, tally: Tally) -> Run:
    """The same, where it is looked at that the task ran as often as was asked."""

    async def run_all(number: int) -> None:
        expected = tally.ran + number
        await run(number)
        if tally.ran != expected:
            raise AssertionError(f"{number} tasks, but they ran {number + tally.ran - expected} times")

    return run_all


@asynccontextmanager
async def priority_queue(twin: Noops) -> AsyncGenerator[Run]:
    """The standard library's: workers take from an ``asyncio.PriorityQueue``, and say when they are done."""
    queue: asyncio.PriorityQueue[tuple[int, int, Noop]] = asyncio.PriorityQueue()
    sequence, request = count(), Noop()

    async def work() -> None:
        while True:
            _, _, taken = await queue.get()
            await twin.noop(taken)
            queue.task_done()

    async def run(number: int) -> None:
        for _ in range(number):
            await queue.put((int(ActionPriority.MEDIUM), next(sequence), request))
        await queue.join()

    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    yield run
    for worker in workers:
        worker.cancel()


@asynccontextmanager
async def huey(twin: Noops) -> AsyncGenerator[Run]:
    """huey: tasks in its memory storage, taken and executed one after the other, as its consumer does in a thread."""
    from huey import MemoryHuey

    app = MemoryHuey("bench")

    @app.task()
    def noop() -> None:
        twin.tally.ran += 1

    async def run(number: int) -> None:
        for _ in range(number):
            noop()
        while (task := app.dequeue()) is not None:
            app.execute(task)

    logging.getLogger("huey").setLevel(logging.WARNING)
    yield run


@asynccontextmanager
async def taskiq(twin: Noops) -> AsyncGenerator[Run]:
    """taskiq: its in-memory broker, which starts a task of the event loop for each."""
    from taskiq import InMemoryBroker

    broker = InMemoryBroker()

    @broker.task(task_name="noop")
    async def noop() -> None:
        twin.tally.ran += 1

    async def run(number: int) -> None:
        for _ in range(number):
            await noop.kiq()
        await broker.wait_all()

    await broker.startup()
    yield run
    await broker.shutdown()


@asynccontextmanager
async def repid(twin: Noops) -> AsyncGenerator[Run]:
    """repid: messages sent to its in-memory server, and a worker that runs until it has done as many."""
    from repid import InMemoryServer, Repid, Router

    app, router = Repid(), Router()
    app.servers.register_server("default", InMemoryServer(), is_default=True)

    @router.actor(channel="noop")
    async def noop() -> None:
        twin.tally.ran += 1

    app.include_router(router)

    async def run(number: int) -> None:
        for _ in range(number):
            await app.send_message_json(channel="noop", payload={}, headers={"topic": "noop"})
        await app.run_worker(messages_limit=number, tasks_limit=WORKERS, register_signals=[])

    async with app.servers.default.connection():
        yield run


@asynccontextmanager
async def dramatiq(twin: Noops) -> AsyncGenerator[Run]:
    """Dramatiq: its broker for tests, which keeps messages encoded, and a worker with threads."""
    from dramatiq import Worker, actor
    from dramatiq.brokers.stub import StubBroker

    broker = StubBroker()
    ran = count()

    @actor(broker=broker)
    def noop() -> None:
        next(ran)  # by threads, of which none may miss another's

    async def run(number: int) -> None:
        before = next(ran)
        for _ in range(number):
            noop.send()
        broker.join(noop.queue_name)
        twin.tally.ran += next(ran) - before - 1

    worker = Worker(broker, worker_threads=WORKERS)
    worker.start()
    yield run
    worker.stop()
    broker.close()


SETUPS: dict[str, tuple[Callable[[Noops], AbstractAsyncContextManager[Run]], str]] = {
    "dramatiq": (dramatiq, "a bound, fair lanes, schema; has threads, retries, limits of time and age, dead letters"),
    "huey": (huey, "a bound, fair lanes, dead letters, schema; one thread here; has retries, priority, expiry"),
    "repid": (repid, "a bound, priority, retries, deadline, dead letters; has schema, time limit"),
    "taskiq": (taskiq, "a queue in memory (a task each), so a bound and priority; deadline, dead letters; has schema"),
}
"""Each peer, and what it lacks."""


async def measured(effort: Effort) -> dict[str, list[Figure]]:
    """Measure ours and theirs, in the same rounds."""
    number, request = 1_000 if effort.quick else 10_000, Noop()
    async with AsyncExitStack() as stack:
        kernel = await stack.enter_async_context(serving(config()))
        twin = Noops()
        loop = BareLoop(asyncio.Event, twin.noop)
        await stack.enter_async_context(bare_loop(loop))
        queue = await stack.enter_async_context(priority_queue(twin))
        lacks = "retries, deadline, time limit, fair lanes, dead letters, schema, statistics"
        cases = [
            Case(FLOOR, loop.submitted(request), unit="action", count=number),
            Case("aetherra kernel.submit", submitted(kernel, request), FLOOR, unit="action", count=number),
            Case("asyncio.PriorityQueue", counted(queue, twin.tally), FLOOR, unit="action", count=number, lacks=lacks),
        ]
        for name in installed(MODULES):
            importlib.import_module(MODULES[name])
            setup, lacks = SETUPS[name]
            run = counted(await stack.enter_async_context(setup(twin)), twin.tally)
            cases.append(Case(f"{name} {version(name)}", run, FLOOR, unit="action", count=number, lacks=lacks))
        return {
            f"Peers: {number:,} actions that do nothing, in memory, submitted and done": await measure(cases, effort)
        }
