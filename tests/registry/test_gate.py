"""A gate on its own: who goes in when, and what becomes of a place that nobody takes."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from aetherra.registry import Gate, HandlerBusyError


class TestGate:
    async def test_a_place_is_lost_with_who_gives_up_at_that_moment(self) -> None:
        """Cancelled just when its turn has come, a caller hands the place on, whether or not it got inside."""
        gate = Gate("a.b", 1, 10)
        inside: list[str] = []
        scopes = {name: anyio.CancelScope() for name in ("second", "third")}

        async def enter(name: str) -> None:
            with scopes[name]:
                await gate.enter()
                try:
                    inside.append(name)
                    await anyio.lowlevel.checkpoint()
                finally:
                    gate.leave()

        await gate.enter()
        async with anyio.create_task_group() as group:
            for name in scopes:
                group.start_soon(enter, name)
                await anyio.wait_all_tasks_blocked()
            assert gate.waiting == 2
            gate.leave()
            scopes["second"].cancel()
        assert "third" in inside
        await gate.enter()
        assert gate.waiting == 0

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_native_cancellation_takes_the_place_along(self) -> None:
        """``Task.cancel()`` between the turn and the caller's own step hands the place on."""
        gate = Gate("a.b", 1, 10)
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await anyio.wait_all_tasks_blocked()
        gate.leave()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with anyio.fail_after(5):
            await gate.enter()

    async def test_a_queue_of_none_lets_somebody_wait(self) -> None:
        """Then one more than the limit is refused at once."""
        gate = Gate("a.b", 2, 0)
        await gate.enter()
        await gate.enter()
        with pytest.raises(HandlerBusyError, match="2 calls in hand and 0 wait"):
            await gate.enter()
        gate.leave()
        await gate.enter()
