"""Errands: plain functions in threads that nobody has to wait for."""

from __future__ import annotations

import threading

import anyio
import pytest

from aetherra.kernel.threads import Errand


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
