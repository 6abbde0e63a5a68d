"""The vital signs of plugins: what is counted is true, of this generation, and cheap to ask for."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest
from anyio.abc import TaskGroup

from aetherra.kernel import GetVitals, Kernel, Plugin, PluginVitals, Vitals, handler
from aetherra.kernel.testing import FakeClock
from aetherra.kernel.vitals import LOOKED_AT, VitalSigns
from aetherra.registry import AetherraError, Latency, Message, Request, ServiceStatus


class Done(Message, tag="vitals_test.done"):
    pass


class Work(Request[Done], tag="vitals_test.work"):
    seconds: float = 0.0
    well: bool = True


class WorkBeside(Request[Done], tag="vitals_test.work_beside"):
    seconds: float = 0.0


class Worker(Plugin):
    service = "work"

    @handler
    async def work(self, request: Work) -> Done:
        await self.ctx.clock.sleep(request.seconds)
        if not request.well:
            raise ValueError("no")
        return Done()

    @handler
    async def work_beside(self, request: WorkBeside) -> Done:
        await self.ctx.clock.sleep(request.seconds)
        return Done()


class Host:
    """A kernel with a worker, and calls of it that go on beside the test."""

    def __init__(self, kernel: Kernel, clock: FakeClock, group: TaskGroup) -> None:
        self.kernel, self.clock, self._group = kernel, clock, group

    async def begin(self, *requests: Request[Done], timeout: float = 1000.0) -> None:
        """Have requests called, and return once they are with their handlers."""
        for request in requests:
            self._group.start_soon(self._call, request, timeout)
        await anyio.wait_all_tasks_blocked()

    async def _call(self, request: Request[Done], timeout: float) -> None:
        try:
            await self.kernel.call(request, timeout=timeout)
        except AetherraError:
            return

    async def vitals(self, since: float | None = None) -> Vitals:
        return await self.kernel.call(GetVitals(since))

    async def worker(self, since: float | None = None) -> PluginVitals:
        (vitals,) = (one for one in (await self.vitals(since)).plugins if one.plugin == "worker")
        return vitals


@pytest.fixture
async def host() -> AsyncGenerator[Host]:
    clock = FakeClock()
    async with Kernel(clock=clock) as kernel, anyio.create_task_group() as group:
        await kernel.add_plugin(Worker)
        yield Host(kernel, clock, group)
        group.cancel_scope.cancel()


class TestCounts:
    async def test_calls_of_one_handler_are_counted_alone(self, host: Host) -> None:
        """Calls, errors, timeouts and what is in hand are those of all of a plugin's handlers."""
        await host.begin(Work(1.0), Work(2.0, well=False), WorkBeside(3.0))
        await host.begin(Work(50.0), timeout=4.0)
        await host.clock.advance(0.5)
        await host.begin(WorkBeside(60.0))
        worker = await host.worker()
        assert (worker.calls, worker.errors, worker.timeouts, worker.in_hand) == (5, 0, 0, 5)
        assert worker.oldest_call == 0.5
        assert (worker.longest_done, worker.latency) == (None, Latency())

        await host.clock.advance(4.5)
        worker = await host.worker()
        assert (worker.calls, worker.errors, worker.timeouts, worker.in_hand) == (5, 2, 1, 1)
        assert worker.oldest_call == 4.5
        assert worker.longest_done is None, "one gave up meanwhile"
        assert worker.latency == Latency(2.0, 4.0, 4.0)
        assert (worker.service, worker.state, worker.status, worker.generation) == (
            "work",
            "serving",
            ServiceStatus.HEALTHY,
            1,
        )

    async def test_a_call_that_has_just_begun_is_not_in_hand(self, host: Host, anyio_backend_name: str) -> None:
        """What began in this turn of the event loop counts."""
        async with anyio.create_task_group() as group:
            group.start_soon(host.kernel.call, Work(1.0))
            for _ in range(1 if anyio_backend_name == "asyncio" else 2):  # trio has no order of turns
                await anyio.lowlevel.checkpoint()
            assert (await host.worker()).in_hand == 1
            await host.clock.advance(1.0)

    async def test_what_a_generation_counted_is_laid_to_the_next(self, host: Host) -> None:
        """A fresh generation begins at 0, and what is said of it is its own."""
        await host.begin(Work(5.0))
        await host.clock.advance(5.0)
        assert (await host.worker()).longest_done == 5.0
        await host.kernel.restart_plugin("worker")
        worker = await host.worker()
        assert (worker.generation, worker.calls, worker.longest_done, worker.latency) == (2, 0, None, Latency())

    async def test_a_plugin_that_does_not_serve_is_left_out(self, host: Host) -> None:
        """Plugins that are quarantined or have failed are told of, with their service's status."""
        await host.kernel.disable_plugin("worker")
        worker = await host.worker()
        assert (worker.state, worker.status, worker.calls) == ("quarantined", ServiceStatus.QUARANTINED, 0)
        assert worker.service == "work"

    async def test_faults_and_blocks_are_nobodys(self, host: Host) -> None:
        """Faults of its tasks, and how often it held the event loop, are told with their plugin."""
        entries = host.kernel._running().plugins.entries
        (entry,) = entries()
        assert entry.generation is not None

        async def fail() -> None:
            raise ValueError("no")

        entry.generation.tasks.start("fail", fail)
        await anyio.wait_all_tasks_blocked()
        _, (worker,) = VitalSigns(host.kernel.registry, entries, lambda: {"worker": 3, "other": 4}).read()
        assert (worker.faults, worker.blocked, worker.status) == (1, 3, ServiceStatus.DEGRADED)


class TestLatency:
    async def test_old_calls_hide_what_is_slow_now(self, host: Host) -> None:
        """With ``since``, only calls that ended after that reading count; none of them means that nobody knows."""
        await host.begin(*(Work(1.0) for _ in range(50)))
        await host.clock.advance(1.0)
        first = await host.vitals()
        await host.begin(Work(9.0))
        await host.clock.advance(9.0)
        worker = await host.worker(first.at)
        assert worker.latency == Latency(9.0, 9.0, 9.0)
        assert (await host.worker(first.at)).latency == Latency(9.0, 9.0, 9.0)
        assert (await host.worker()).latency == Latency(1.0, 1.0, 9.0)
        await host.clock.advance(1.0)
        last = await host.vitals()
        await host.clock.advance(1.0)
        assert (await host.worker(last.at)).latency == Latency()
        assert (await host.worker()).longest_done == 9.0

    async def test_a_time_before_all_readings_hides_calls(self, host: Host) -> None:
        """Since a time at which nobody had looked, all that is remembered counts."""
        await host.begin(Work(1.0))
        await host.clock.advance(1.0)
        assert (await host.worker(0.5)).latency == Latency(1.0, 1.0, 1.0)

    async def test_the_longest_is_forgotten(self, host: Host) -> None:
        """The longest call that was seen stays, however many come after it."""
        await host.begin(Work(9.0))
        await host.clock.advance(9.0)
        assert (await host.worker()).longest_done == 9.0
        for _ in range(1100):
            await host.kernel.call(Work(0.0))
        worker = await host.worker()
        assert worker.longest_done == 9.0
        assert worker.latency == Latency(0.0, 0.0, 0.0)

    async def test_a_reading_looks_at_all_calls(self, host: Host) -> None:
        """Of many calls only the last are looked at, in equal shares of the busy handlers."""
        for seconds in (2.0, 3.0):
            await host.begin(*(WorkBeside(seconds) for _ in range(LOOKED_AT)))
            await host.clock.advance(seconds)
        assert (await host.worker()).latency == Latency(3.0, 3.0, 3.0)
        await host.begin(*(Work(1.0) for _ in range(LOOKED_AT)))
        await host.clock.advance(1.0)
        assert (await host.worker()).latency == Latency(1.0, 3.0, 3.0)


class TestOverdue:
    async def test_a_long_request_beside_quick_ones_is_overdue(self, host: Host) -> None:
        """What is usual is told by each request alone, and a handler's own timeout counts as its word."""
        for _ in range(5):
            await host.begin(Work(0.1))
            await host.clock.advance(0.2)
            await host.worker()
        await host.begin(WorkBeside(50.0), WorkBeside(50.0))
        await host.clock.advance(20.0)
        assert (await host.worker()).overdue == 0, "nobody knows how long that takes"
        await host.begin(Work(50.0), Work(50.0))
        await host.clock.advance(0.5)
        assert (await host.worker()).overdue == 0
        await host.clock.advance(1.0)
        assert (await host.worker()).overdue == 2
