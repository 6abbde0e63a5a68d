"""A route on its own: what is in hand, and when nothing is."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from aetherra.registry import HandlerError, Identity, Message, Request, Route

PROVIDER = Identity("plugin", "worker", 1)


class Done(Message, tag="worker.done"):
    pass


class Work(Request[Done], tag="worker.work"):
    pass


class Gate:
    """A handler that finishes one call each time it is told to."""

    def __init__(self) -> None:
        self.waiting: list[anyio.Event] = []

    async def __call__(self, _: Work) -> Done:
        self.waiting.append(anyio.Event())
        await self.waiting[-1].wait()
        return Done()

    async def open(self) -> None:
        self.waiting.pop(0).set()
        await anyio.wait_all_tasks_blocked()


class TestRoute:
    def test_the_requests_own_reply_counts_before_the_handlers(self) -> None:
        """What the handler annotates stands in only where the request names nothing known."""

        class Ask(Request["Nowhere"], tag="worker.ask"):  # type: ignore[name-defined]
            pass

        assert Route(Work, Gate(), PROVIDER, (Work,)).replies == (Done,)
        assert Route(Ask, Gate(), PROVIDER, (Done,)).replies == (Done,)

    async def test_idle_is_told_to_all_who_wait_for_it(self) -> None:
        """A call that begins as one is woken makes every waiter wait again, and then wakes every one."""
        gate = Gate()
        route = Route(Work, gate, PROVIDER)
        idle: list[str] = []

        async def work() -> None:
            await route.call(Work(), anyio.CancelScope())

        async def wait(name: str) -> None:
            await route.wait_idle()
            idle.append(name)

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            for name in ("a", "b"):
                group.start_soon(wait, name)
            await anyio.wait_all_tasks_blocked()
            gate.waiting.pop(0).set()
            group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            for _ in list(gate.waiting):
                await gate.open()
        assert sorted(idle) == ["a", "b"]

    async def test_idle_at_once_when_nothing_is_in_hand(self) -> None:
        """Waiting for what holds already does not wait."""
        await Route(Work, Gate(), PROVIDER).wait_idle()

    async def test_abandoning_cancels_each_call_in_hand(self) -> None:
        """The number says how many were."""
        route = Route(Work, Gate(), PROVIDER)
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def work(scope: anyio.CancelScope) -> None:
            with scope:
                await route.call(Work(), scope)

        async with anyio.create_task_group() as group:
            for scope in scopes:
                group.start_soon(work, scope)
            await anyio.wait_all_tasks_blocked()
            assert route.abandon() == 3
        assert route.stopped
        assert all(scope.cancelled_caught for scope in scopes)
        assert (route.statistics().in_hand, route.errors) == (0, 0)

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_cancelled_future_inside_a_handler_is_its_fault(self) -> None:
        """It does not look as if the caller were cancelled, which would end a worker without a word."""

        async def fail(_: Work) -> Done:
            future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
            future.cancel()
            return await future

        with pytest.raises(HandlerError, match="CancelledError"):
            await Route(Work, fail, PROVIDER).call(Work(), anyio.CancelScope())
