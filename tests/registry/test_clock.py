"""The machine's clock."""

from __future__ import annotations

import anyio

from aetherra.registry import Clock, SystemClock


class TestSystemClock:
    async def test_it_is_a_clock(self) -> None:
        """What the host asks of time, the machine's clock answers."""
        clock: Clock = SystemClock()
        before = clock.monotonic()
        await clock.sleep(0)
        assert clock.monotonic() >= before
        assert clock.time() > 1_600_000_000

    async def test_a_timeout_cancels_its_body(self) -> None:
        """The scope tells that it did."""
        with SystemClock().move_on_after(0) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught

    async def test_sleeping_no_time_lets_others_run(self) -> None:
        """Even a sleep of 0 is a checkpoint."""
        ran = anyio.Event()
        async with anyio.create_task_group() as group:

            async def other() -> None:
                ran.set()

            group.start_soon(other)
            while not ran.is_set():
                await SystemClock().sleep(0)
