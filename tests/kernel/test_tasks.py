"""The tasks of a generation: each fails alone, all end together, and a step ends by its deadline."""

from __future__ import annotations

import anyio
import pytest

from aetherra.kernel import Plugin, PluginContext
from aetherra.kernel.tasks import Tasks
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Identity
from tests.kernel.conftest import FAULTS, Faulty, Room, assert_well, hosting, status


class TestTasks:
    @FAULTS
    async def test_a_faulty_task_ends_others(self, fault: Faulty) -> None:
        """A task that raises is logged and degrades the plugin; its other tasks go on until the end."""
        ended: list[str] = []

        class Worker(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.start_soon(fault)
                ctx.start_soon(self.work, "a")

            async def work(self, name: str) -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    ended.append(name)

        async with hosting(Room, Worker) as kernel:
            await anyio.wait_all_tasks_blocked()
            assert status(kernel, "worker")[0] == "degraded"
            assert status(kernel, "worker")[1].startswith(f"task {fault.__qualname__}: ")
            assert ended == []
            await assert_well(kernel)
            await kernel.remove_plugin("worker")
            assert ended == ["a"]

    async def test_one_that_clings_or_comes_late_is_not_named(self) -> None:
        """What does not end stays listed with where it waits; once all have ended, nothing is begun."""
        faults: list[str] = []
        clock, release = FakeClock(), anyio.Event()
        tasks = Tasks(Identity("plugin", "room", 1), clock, lambda what, fault: faults.append(f"{what}: {fault!r}"))

        async def cling() -> None:
            with anyio.CancelScope(shield=True):
                await release.wait()  # the line
            raise ValueError("at last")

        async with anyio.create_task_group() as group:
            await group.start(tasks.live)
            tasks.start("cling", cling)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(tasks.end, 5.0)
            await clock.advance(5.0)
            ((name, stack),) = tasks.stacks()
            assert (name, "await release.wait()  # the line" in stack) == ("task cling", True)
            release.set()
        assert (tasks.stacks(), tasks.living, faults) == ([], False, ["task cling: ValueError('at last')"])
        with pytest.raises(RuntimeError, match="is not running: it can start no task"):
            tasks.start("late", anyio.sleep_forever)
        with pytest.raises(RuntimeError, match=r"is not running: it cannot late\(\)"):
            await tasks.step("late()", anyio.sleep_forever, 1.0)
