"""A route on its own: what is in hand, and when nothing is."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from aetherra.registry import Bus, HandlerError, Identity, Message, Request, Route, ServiceStoppedError

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


def bus_with(*routes: Route) -> Bus:
    bus = Bus()
    bus.add_routes(routes)
    return bus


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
        bus = bus_with(route)
        idle: list[str] = []

        async def work() -> None:
            await bus.call(Work())

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
        bus = bus_with(route)
        stopped: list[ServiceStoppedError] = []

        async def work() -> None:
            with pytest.raises(ServiceStoppedError) as raised:
                await bus.call(Work())
            stopped.append(raised.value)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            assert bus.abandon(route) == 3
        assert [error.provider for error in stopped] == [str(PROVIDER)] * 3
        assert (route.statistics().in_hand, route.errors) == (0, 3)

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_cancelled_future_inside_a_handler_is_its_fault(self) -> None:
        """It does not look as if the caller were cancelled, which would end a worker without a word."""

        async def fail(_: Work) -> Done:
            future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
            future.cancel()
            return await future

        with pytest.raises(HandlerError, match="CancelledError"):
            await bus_with(Route(Work, fail, PROVIDER)).call(Work())
