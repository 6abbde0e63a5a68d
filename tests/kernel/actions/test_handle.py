"""Handles: the way to an action's result, for as many as ask, whenever they ask."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from aetherra.kernel import ActionEnvelope, ActionHandle
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Message, Request


class Echoed(Message, tag="handle.echoed"):
    text: str


class Echo(Request[Echoed], tag="handle.echo"):
    pass


@pytest.fixture
def handle() -> ActionHandle[Any]:
    return ActionHandle(ActionEnvelope(Echo(), trace_id="t"))


class TestWait:
    async def test_all_who_wait_get_the_reply(self, handle: ActionHandle[Any]) -> None:
        """Those who waited before it came, and those who ask later."""
        got: list[Any] = []

        async def ask() -> None:
            got.append(await handle.wait())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await FakeClock().advance(0)
            assert (got, handle.is_ended) == ([], False)
            handle.settle(Echoed("hello"))

        assert got == [Echoed("hello")] * 3
        assert await handle.wait() is got[0]
        assert (handle.status, handle.is_ended) == ("done", True)

    async def test_all_who_wait_get_the_error(self, handle: ActionHandle[Any]) -> None:
        """The same one."""
        error = OSError("gone")
        caught: list[BaseException] = []

        async def ask() -> None:
            with pytest.raises(OSError, match="gone") as info:
                await handle.wait()
            caught.append(info.value)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
            await FakeClock().advance(0)
            handle.settle(error=error)
        await ask()

        assert caught == [error] * 3
        assert (handle.status, handle.is_ended) == ("dead", True)

    async def test_a_reply_may_be_nothing(self, handle: ActionHandle[Any]) -> None:
        """It is done all the same."""
        handle.settle(None)

        assert await handle.wait() is None
        assert handle.status == "done"

    async def test_a_cancelled_waiter_disturbs_no_other(self, handle: ActionHandle[Any]) -> None:
        """Nor the action."""
        got: list[Any] = []

        async def ask() -> None:
            got.append(await handle.wait())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            with FakeClock().move_on_after(0):
                await handle.wait()
            assert handle.status == "queued"
            handle.settle(Echoed("hello"))

        assert got == [Echoed("hello")]


class TestHandle:
    def test_it_tells_what_it_is(self, handle: ActionHandle[Any]) -> None:
        """In logs and in a debugger."""
        handle.status, handle.attempts = "running", 2

        assert repr(handle) == "<action t 'handle.echo': running, 2 attempts>"
        assert handle.trace_id == "t"

    def test_nobody_can_cancel_what_has_no_queue(self, handle: ActionHandle[Any]) -> None:
        """Such as the work of an earlier run."""
        assert not handle.cancel()
        assert handle.status == "queued"

    def test_two_handles_are_the_same_only_if_they_are_one(self, handle: ActionHandle[Any]) -> None:
        """An action is not what it carries."""
        other: ActionHandle[Any] = ActionHandle(handle.envelope)

        assert handle != other
        assert len({handle, other}) == 2
