"""Calls: those whose handler answers at once, those whose handler waits, and many at a time."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any, Protocol, cast

import anyio
import msgspec

from aetherra.kernel import Kernel
from aetherra.registry import Request
from measuring.figures import Case, Effort, Figure, Run, measure
from measuring.report import Amount
from messaging.vocabulary import (
    Add,
    AddAfterTurn,
    Adder,
    AddMaybeLater,
    AddOnceTold,
    AddPlainly,
    Caller,
    Relay,
    Repeat,
    Sum,
)

DEADLINE = 30.0
"""What every call has; also the kernel's default."""
CALLERS = 64
BARE = "floor: bare await handler(request)"
BOUND_AT_ONCE, BOUND_WAITING, BOUND_CONCURRENT = 8.0, 1.5, 1.1
BOUND_MEMORY = 100_000
"""Bytes by which a process may differ after as many calls again, as asyncio keeps a hundred cancelled timers, each with
its context, before it clears them; one object kept of each call would be 16 bytes times the calls, or more."""


class Partner(Protocol):
    """Another task, that the handler asks to be told by."""

    async def run(self) -> None: ...
    async def told(self) -> None: ...


class AsyncioPartner:
    """Tells with bare futures, asyncio's cheapest way from one task to another."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bell = self._loop.create_future()
        self._waiting: list[asyncio.Future[None]] = []

    async def told(self) -> None:
        answer = self._loop.create_future()
        self._waiting.append(answer)
        if not self._bell.done():
            self._bell.set_result(None)
        await answer

    async def run(self) -> None:
        while True:
            await self._bell
            self._bell = self._loop.create_future()
            waiting, self._waiting = self._waiting, []
            for answer in waiting:
                if not answer.done():
                    answer.set_result(None)


class AnyPartner:
    """Tells with events, on any backend."""

    def __init__(self) -> None:
        self._bell = anyio.Event()
        self._waiting: list[anyio.Event] = []

    async def told(self) -> None:
        answer = anyio.Event()
        self._waiting.append(answer)
        self._bell.set()
        await answer.wait()

    async def run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            waiting, self._waiting = self._waiting, []
            for answer in waiting:
                answer.set()


class Stage:
    """A kernel with the two plugins, and the adder's twin outside it for the floors."""

    def __init__(self, kernel: Kernel, twin: Adder) -> None:
        self.kernel = kernel
        self.twin = twin


@asynccontextmanager
async def stage(partner: Partner, turn: Callable[[], Awaitable[object]]) -> AsyncGenerator[Stage]:
    """Set it up; handlers wait by ``turn``, or for ``partner``."""
    Adder.turn, Adder.told = staticmethod(turn), staticmethod(partner.told)
    async with Kernel() as kernel, anyio.create_task_group() as group:
        group.start_soon(partner.run)
        await kernel.add_plugin(Adder)
        await kernel.add_plugin(Caller)
        yield Stage(kernel, Adder())
        group.cancel_scope.cancel()


def bare(handler: Callable[[Any], Awaitable[Any]], request: Request[Any]) -> Run:
    """The floor: the handler itself."""

    async def run(count: int) -> None:
        for _ in range(count):
            await handler(request)

    return run


def within(
    scope: Callable[[], AbstractAsyncContextManager[Any]], handler: Callable[[Any], Awaitable[Any]], request: Any
) -> Run:
    """The handler inside a scope that is entered by ``async with``."""

    async def run(count: int) -> None:
        for _ in range(count):
            async with scope():
                await handler(request)

    return run


def inside(
    scope: Callable[[], AbstractContextManager[Any]], handler: Callable[[Any], Awaitable[Any]], request: Any
) -> Run:
    """The handler inside a scope that is entered by ``with``."""

    async def run(count: int) -> None:
        for _ in range(count):
            with scope():
                await handler(request)

    return run


def called(kernel: Kernel, request: Request[Any], timeout: float | None = None) -> Run:
    """A call through the kernel."""

    async def run(count: int) -> None:
        if timeout is None:
            for _ in range(count):
                await kernel.call(request)
        else:
            for _ in range(count):
                await kernel.call(request, timeout=timeout)

    return run


def called_from_plugin(kernel: Kernel) -> Run:
    """Calls by ``ctx.call`` from inside a handler, whose own call is one among all of these."""

    async def run(count: int) -> None:
        await kernel.call(Repeat(count), timeout=600.0)

    return run


def concurrently(run: Run, callers: int = CALLERS) -> Run:
    """The same by so many tasks at a time, each its share."""

    async def run_all(count: int) -> None:
        share = count // callers
        async with anyio.create_task_group() as group:
            for _ in range(callers):
                group.start_soon(cast("Callable[[int], Awaitable[Any]]", run), share)

    return run_all


def at_once_cases(stage: Stage) -> list[Case]:
    """Handlers that do not wait."""
    kernel, twin, add = stage.kernel, stage.twin, Add(2, 3)

    async def bare_relay(request: Relay) -> Sum:
        return await twin.add(Add(request.left, request.right))

    nested, maybe = "floor: bare await of two nested handlers", "floor: bare await of a handler that could wait"
    return [
        Case(BARE, bare(twin.add, add)),
        Case("kernel.call", called(kernel, add), BARE, BOUND_AT_ONCE),
        Case("kernel.call with timeout=", called(kernel, add, DEADLINE), BARE, BOUND_AT_ONCE),
        Case("ctx.call, from a plugin's handler", called_from_plugin(kernel), BARE, BOUND_AT_ONCE),
        Case("kernel.call, sync handler", called(kernel, AddPlainly(2, 3)), BARE, BOUND_AT_ONCE),
        Case(maybe, bare(twin.add_maybe_later, AddMaybeLater(2, 3))),
        Case("kernel.call, a handler that could wait", called(kernel, AddMaybeLater(2, 3)), maybe, BOUND_AT_ONCE),
        Case(nested, bare(bare_relay, Relay(2, 3))),
        Case("kernel.call whose handler makes a ctx.call", called(kernel, Relay(2, 3)), nested, BOUND_AT_ONCE),
    ]


def waiting_cases(stage: Stage, floor: str, scoped: Callable[..., Run]) -> list[Case]:
    """Handlers that wait, beside the same handler in the backend's own time limit."""
    kernel, twin = stage.kernel, stage.twin
    cases: list[Case] = []
    bound = BOUND_WAITING if floor == "asyncio.timeout" else None
    for how, handler, request in (
        ("a turn of the loop", twin.add_after_turn, AddAfterTurn(2, 3)),
        ("another task", twin.add_once_told, AddOnceTold(2, 3)),
    ):
        handler = cast("Callable[[Any], Awaitable[Any]]", handler)
        one = f"floor: {floor} around the bare handler, waits for {how}"
        many = f"{one}, {CALLERS} callers"
        limited, call = scoped(handler, request), called(kernel, request)
        cases += [
            Case(one, limited),
            Case(f"the bare handler, waits for {how}", bare(handler, request), one),
            Case(f"kernel.call, waits for {how}", call, one, bound),
            Case(many, concurrently(limited), step=CALLERS),
            Case(f"kernel.call, waits for {how}, {CALLERS} callers", concurrently(call), many, bound, step=CALLERS),
        ]
    return cases


def concurrent_cases(stage: Stage) -> list[Case]:
    """Many callers, per call beside one."""
    at_once, waiting = called(stage.kernel, AddMaybeLater(2, 3)), called(stage.kernel, AddAfterTurn(2, 3))
    one, other = "floor: kernel.call, one caller", "floor: kernel.call that waits, one caller"
    return [
        Case(one, at_once),
        Case(f"kernel.call, {CALLERS} callers", concurrently(at_once), one, BOUND_CONCURRENT, step=CALLERS),
        Case(other, waiting),
        Case(
            f"kernel.call that waits, {CALLERS} callers", concurrently(waiting), other, BOUND_CONCURRENT, step=CALLERS
        ),
    ]


async def on_asyncio(effort: Effort) -> dict[str, list[Figure]]:
    """Measure calls on asyncio."""

    def scoped(handler: Callable[[Any], Awaitable[Any]], request: Request[Any]) -> Run:
        return within(lambda: asyncio.timeout(DEADLINE), handler, request)

    async with stage(AsyncioPartner(), partial(asyncio.sleep, 0)) as it:
        add, request = it.twin.add, Add(2, 3)
        beside = [
            Case("beside: asyncio.timeout around the bare handler", scoped(add, request), BARE),
            Case(
                "beside: anyio.fail_after around the bare handler",
                inside(lambda: anyio.fail_after(DEADLINE), add, request),
                BARE,
            ),
        ]
        return {
            "Calls, the handler answers at once": await measure(at_once_cases(it) + beside, effort),
            "Calls, the handler waits": await measure(waiting_cases(it, "asyncio.timeout", scoped), effort),
            "Calls at a time, per call": await measure(concurrent_cases(it), effort),
        }


async def on_trio(effort: Effort) -> dict[str, list[Figure]]:
    """Measure calls on trio, beside its own floors."""
    import trio  # noqa: PLC0415  # an extra

    def scoped(handler: Callable[[Any], Awaitable[Any]], request: Request[Any]) -> Run:
        return inside(lambda: trio.move_on_after(DEADLINE), handler, request)

    async with stage(AnyPartner(), trio.lowlevel.checkpoint) as it:
        beside = [
            Case("beside: trio.move_on_after around the bare handler", scoped(it.twin.add, Add(2, 3)), BARE),
        ]
        unbound = [msgspec.structs.replace(case, bound=None) for case in at_once_cases(it)]
        return {
            "On trio: calls, the handler answers at once": await measure(unbound + beside, effort),
            "On trio: calls, the handler waits": await measure(waiting_cases(it, "trio.move_on_after", scoped), effort),
        }


async def memory(effort: Effort) -> dict[str, list[Amount]]:
    """Measure by how many traced bytes as many calls again left the process larger, once they are over."""
    count = 20_000 if effort.quick else 200_000
    async with stage(AsyncioPartner(), partial(asyncio.sleep, 0)) as it:
        run, wait = called(it.kernel, AddMaybeLater(2, 3)), called(it.kernel, AddAfterTurn(2, 3))

        async def batch() -> int:
            for _ in range(100):  # each with turns of the loop, which clear the timers that are over
                await run(count * 9 // 1000)
                await wait(count // 1000)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await batch()
            grown = await batch() - before
        finally:
            tracemalloc.stop()
        return {"Memory": [Amount(f"{count:,} calls, then as many again, left", grown, "bytes", BOUND_MEMORY)]}
