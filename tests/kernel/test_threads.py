"""Errands: plain functions in threads that nobody has to wait for."""

from __future__ import annotations

import threading

import anyio
import pytest

from aetherra.kernel.threads import Errand, run_in_thread
from aetherra.registry import Gate


class TestErrand:
    async def test_its_result_is_lost(self) -> None:
        """What the function returns is there after the wait."""
        errand = Errand(lambda: 42, name="errand", unwanted=print)
        await errand.wait()
        assert errand.result() == 42

    @pytest.mark.parametrize("fault", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
    async def test_what_it_raises_ends_the_wait_or_the_thread(self, fault: BaseException) -> None:
        """What the function raises, signals included, is raised where the result is asked for."""

        def fail() -> None:
            raise fault

        errand = Errand(fail, name="errand", unwanted=print)
        await errand.wait()
        with pytest.raises(type(fault)):
            errand.result()

    async def test_the_process_would_wait_for_it(self) -> None:
        """A thread that was left behind is a daemon, and where it hangs can be told."""
        release = threading.Event()
        unwanted: list[str] = []
        discarded = threading.Event()

        def hang_here() -> str:
            release.wait()
            return "late"

        def discard(result: str) -> None:
            unwanted.append(result)
            discarded.set()

        errand = Errand(hang_here, name="errand to be left", unwanted=discard)
        async with anyio.create_task_group() as group:
            group.start_soon(errand.wait)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert "hang_here" in errand.stack()
        assert "in _run" not in errand.stack()
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "errand to be left"] == [True]
        release.set()
        assert discarded.wait(10)
        assert unwanted == ["late"]


class TestGated:
    async def test_a_thread_that_is_left_gives_its_place_away(self) -> None:
        """However many callers give up, no more threads are inside than the gate lets in."""
        gate, limiter = Gate("a.b", 1, 10, kept=True), anyio.CapacityLimiter(10)
        go_on = threading.Event()
        inside: list[int] = []
        most: list[int] = []

        def work(number: int) -> int:
            inside.append(number)
            most.append(len(inside))
            go_on.wait(20)
            inside.remove(number)
            return number

        async def call(number: int, seconds: float) -> None:
            with anyio.move_on_after(seconds):
                await gate.enter()
                await run_in_thread(work, number, limiter, gate)

        for number in range(4):
            await call(number, 0.02)
        assert most == [1]
        go_on.set()
        with anyio.fail_after(10):
            await gate.enter()
            assert await run_in_thread(work, 9, limiter, gate) == 9
            await gate.enter()
        assert max(most) == 1

    async def test_a_call_that_never_began_keeps_its_place(self) -> None:
        """Cancelled while it waits for a thread, it gives its place back at once."""
        gate, limiter = Gate("a.b", 1, 10, kept=True), anyio.CapacityLimiter(1)
        await limiter.acquire_on_behalf_of(self)
        with anyio.move_on_after(0.02):
            await gate.enter()
            await run_in_thread(str, 1, limiter, gate)
        with anyio.fail_after(5):
            await gate.enter()
