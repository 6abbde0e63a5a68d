"""A host that is overloaded: what mends it starts all the same, and what may wait is held back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import (
    ActionExpiredError,
    ActionHandle,
    ActionPriority,
    ActionQueueFullError,
    Config,
    Kernel,
    KernelConfig,
    LaneConfig,
    LanesConfig,
    RetryLater,
    RetryPolicy,
)
from aetherra.kernel.actions.queue import RESERVE
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Plugin, Request, handler

MAINTENANCE = ActionPriority.MAINTENANCE


class Dig(Request[None], tag="overload.dig"):
    """Goes on until the gate of its name opens."""

    name: str


class Deaf(Request[None], tag="overload.deaf"):
    """The same, and ignores its cancellation."""

    name: str


class Later(Request[None], tag="overload.later"):
    """Asks for another attempt in a second, at the first one."""

    name: str


class Field(Plugin):
    name = "overload"
    begun: list[str] = []
    gates: dict[str, anyio.Event] = {}

    @handler
    async def dig(self, request: Dig) -> None:
        self.begun.append(request.name)
        await self.gates.setdefault(request.name, anyio.Event()).wait()

    @handler
    async def ignore(self, request: Deaf) -> None:
        with anyio.CancelScope(shield=True):
            await self.dig(Dig(request.name))

    @handler
    async def later(self, request: Later) -> None:
        self.begun.append(request.name)
        if self.begun.count(request.name) == 1:
            raise RetryLater(1.0)


class Host:
    def __init__(self, kernel: Kernel, clock: FakeClock) -> None:
        self.kernel, self.clock = kernel, clock
        self.begun = Field.begun

    async def dig(
        self, name: str, priority: ActionPriority = ActionPriority.MEDIUM, **options: Any
    ) -> ActionHandle[None]:
        handle = await self.kernel.submit(Dig(name), priority=priority, **{"timeout": 1000.0, **options})
        await self.rest()
        return handle

    async def rest(self) -> None:
        await self.clock.advance(0)

    def end(self, name: str) -> None:
        Field.gates[name].set()

    def lane(self, name: str = "normal") -> Any:
        return self.kernel.statistics().actions.lanes[name]

    async def reasons(self) -> list[str]:
        return [letter.reason for letter in await self.kernel.get_dlq_items()]


@asynccontextmanager
async def host(
    folder: Path | None = None, *, workers: int = 2, capacity: int = 2, limiter: Any = None
) -> AsyncGenerator[Host]:
    lane = LaneConfig(capacity=capacity)
    lanes = LanesConfig(high=lane, normal=lane, background=lane)
    limits = KernelConfig(workers=workers, lanes=lanes, discover=False, control_socket=False)
    config = Config(root=folder or Path(), kernel=limits) if folder else Config.in_memory()
    if folder is None:
        config = Config(root=Path(), kernel=KernelConfig(data_dir=None, workers=workers, lanes=lanes, discover=False))
    clock = FakeClock()
    Field.begun, Field.gates = [], {}
    async with anyio.create_task_group() as group:
        async with Kernel(config, clock=clock, limiter=limiter) as kernel:
            await kernel.add_plugin(Field)
            yield Host(kernel, clock)
            group.start_soon(pass_time, clock)  # for what is still in hand at the end
        group.cancel_scope.cancel()


async def pass_time(clock: FakeClock) -> None:
    while True:
        await clock.advance(1.0)


async def overload(h: Host, workers: int = 2, waiting: int = 2) -> None:
    """Have all workers taken by actions that never end, and a lane full of others."""
    for number in range(workers + waiting):
        await h.dig(f"busy{number}")
    assert h.begun == [f"busy{number}" for number in range(workers)]


class OneAtATime:
    limit = 1

    def __init__(self) -> None:
        self.samples: list[int] = []

    def sample(self, seconds: float, running: int, *, failed: bool) -> None:
        self.samples.append(running)


class TestReserve:
    async def test_maintenance_waits_for_actions_that_never_end(self) -> None:
        """It starts though all workers are taken and its lane is full, one at a time."""
        async with host() as h:
            await overload(h)
            first = await h.dig("m1", MAINTENANCE)
            await h.dig("m2", MAINTENANCE)
            assert h.begun[2:] == ["m1"]
            assert h.lane().running == 3

            h.end("m1")
            await first.wait()
            await h.rest()
            assert h.begun[2:] == ["m1", "m2"]
            with pytest.raises(ActionQueueFullError):
                await h.dig("late")

    async def test_maintenance_has_no_bound(self) -> None:
        """As many as the reserve has places are taken in beyond the lane's; then it is full for them as well."""
        async with host() as h:
            await overload(h)
            await h.dig("running", MAINTENANCE)
            for number in range(RESERVE):
                await h.dig(f"m{number}", MAINTENANCE)
            with pytest.raises(ActionQueueFullError, match="the normal lane is full"):
                await h.dig("one too many", MAINTENANCE)
            assert h.lane().refused == 1
            assert h.lane().depth == 2 + RESERVE

            h.end("running")
            await h.rest()
            await h.dig("fits again", MAINTENANCE)

    async def test_a_lane_that_was_made_smaller_has_no_reserve(self) -> None:
        """Its places are counted by those who have them, not by what the lane holds."""
        async with host(capacity=100) as h:
            await overload(h, waiting=50)
            h.kernel.set_lane("normal", capacity=1)
            await h.dig("m1", MAINTENANCE)
            assert "m1" in h.begun

    async def test_free_workers_leave_maintenance_to_the_reserve(self) -> None:
        """They run as many of them at a time as they are."""
        async with host() as h:
            for number in range(4):
                await h.dig(f"m{number}", MAINTENANCE)
            assert h.begun == ["m0", "m1", "m2"]  # two workers, and the reserve

    async def test_a_limiter_keeps_maintenance_back_and_learns_from_it(self) -> None:
        """The reserve is beside what it allows, and not among what it hears of."""
        limiter = OneAtATime()
        async with host(limiter=limiter) as h:
            await overload(h, workers=1, waiting=2)
            mended = await h.dig("m1", MAINTENANCE)
            assert h.begun == ["busy0", "m1"]
            h.end("m1")
            await mended.wait()
            assert limiter.samples == []
            await h.dig("m2", MAINTENANCE)
            h.end("busy0")
            await h.rest()
            assert limiter.samples == [1]

    async def test_a_maintenance_action_that_does_not_end_blocks_the_next_for_ever(self) -> None:
        """One that ignores its cancellation has its worker replaced, as any other."""
        async with host() as h:
            await overload(h)

            await h.kernel.submit(Deaf("deaf"), priority=MAINTENANCE, timeout=5.0, retry=RetryPolicy(1))
            await h.rest()
            await h.dig("m2", MAINTENANCE)
            assert h.begun[2:] == ["deaf"]
            await h.clock.advance(7.0)
            assert h.begun[2:] == ["deaf", "m2"]
            h.end("deaf")
            await h.rest()

    async def test_maintenance_of_an_earlier_run_waits_behind_others(self, tmp_path: Path) -> None:
        """What the journal brings back has the reserve, too; and a stop waits for what runs there."""
        async with host(tmp_path) as h:
            await overload(h)
            await h.dig("m1", MAINTENANCE)
            await h.dig("m2", MAINTENANCE)
        async with host(tmp_path) as again:
            await again.rest()
            assert sorted(again.begun) == ["busy0", "busy1", "m1"]
            assert again.lane().depth == 3


class TestShed:
    async def test_a_shed_lane_takes_and_starts_something(self) -> None:
        """It refuses newcomers, says why, and keeps what waits, which runs once it is shed no more."""
        async with host(workers=1) as h:
            await h.dig("runs", ActionPriority.LOW)
            waits = await h.dig("waits", ActionPriority.LOW)
            h.kernel.set_lane("background", shed=True)
            with pytest.raises(ActionQueueFullError, match="the background lane is shed and takes nothing") as caught:
                await h.dig("new", ActionPriority.LOW)
            assert caught.value.shed
            assert await h.reasons() == ["shed"]
            h.end("runs")
            await h.rest()
            assert (waits.status, h.begun) == ("queued", ["runs"])
            lane = h.lane("background")
            assert (lane.shed, lane.refused, lane.depth, lane.dead) == (True, 1, 1, {"shed": 1})
            await h.dig("other lane")
            assert h.begun == ["runs", "other lane"]

            h.end("other lane")
            h.kernel.set_lane("background", shed=False)
            await h.rest()
            assert h.begun == ["runs", "other lane", "waits"]
            assert not h.lane("background").shed

    async def test_bounds_end_the_shedding(self) -> None:
        """A lane that is given another weight or capacity stays shed."""
        async with host() as h:
            h.kernel.set_lane("background", shed=True)
            h.kernel.set_lane("background", capacity=7, weight=2)
            lane = h.lane("background")
            assert (lane.shed, lane.capacity, lane.weight) == (True, 7, 2)

    async def test_a_submitter_that_may_wait_is_refused_by_a_shed_lane(self) -> None:
        """It waits on, until there is room or its time is over."""
        async with host() as h, anyio.create_task_group() as group:
            h.kernel.set_lane("background", shed=True)
            group.start_soon(lambda: h.dig("patient", ActionPriority.LOW, wait_for_room=100.0))
            await h.clock.advance(50.0)
            assert await h.reasons() == []
            h.kernel.set_lane("background", shed=False)
            await h.rest()
            assert h.begun == ["patient"]

    async def test_a_retry_that_comes_due_runs_in_a_shed_lane(self) -> None:
        """It waits for its turn; it is as old as its admission."""
        async with host() as h:
            handle = await h.kernel.submit(Later("again"), priority=ActionPriority.LOW)
            await h.rest()
            assert handle.status == "waiting"
            assert h.lane("background").oldest_age == 0.0
            h.kernel.set_lane("background", shed=True)
            await h.clock.advance(5.0)
            assert (handle.status, h.begun) == ("queued", ["again"])
            assert h.lane("background").oldest_age == 5.0
            h.kernel.set_lane("background", shed=False)
            await handle.wait()

    async def test_an_action_outlives_its_deadline_in_a_shed_lane(self) -> None:
        """It is dead-lettered as expired when it comes."""
        async with host(workers=1) as h:
            await h.dig("runs")
            handle = await h.dig("waits", ActionPriority.LOW, deadline=3.0)
            h.kernel.set_lane("background", shed=True)
            await h.clock.advance(4.0)
            with pytest.raises(ActionExpiredError):
                await handle.wait()
            assert await h.reasons() == ["expired"]

    async def test_a_shed_normal_lane_keeps_maintenance_out(self) -> None:
        """It is what sheds lanes and opens them again: it is admitted and started by the reserve."""
        async with host() as h:
            h.kernel.set_lane("normal", shed=True)
            await h.dig("m1", MAINTENANCE)
            await h.dig("m2", MAINTENANCE)
            assert h.begun == ["m1"]
            h.end("m1")
            await h.rest()
            assert h.begun == ["m1", "m2"]

    async def test_what_waits_in_a_shed_lane_is_lost_at_a_stop(self, tmp_path: Path) -> None:
        """It is in the journal, and runs at the next start, which sheds nothing."""
        async with host(tmp_path, workers=1) as h:
            await h.dig("runs")
            await h.dig("waits", ActionPriority.LOW)
            h.kernel.set_lane("background", shed=True)
            h.end("runs")
            await h.rest()
            assert h.begun == ["runs"]
        async with host(tmp_path, workers=1) as again:
            await again.rest()
            for _ in range(3):
                await again.clock.advance(1.0)
            assert again.begun == ["waits"]


class TestTimeout:
    async def test_a_new_default_is_for_calls_alone(self) -> None:
        """Actions that are submitted from then on have it, too; those from before keep what they have."""
        async with host() as h:
            before = await h.kernel.submit(Dig("before"))
            h.kernel.set_default_timeout(100.0)
            after = await h.kernel.submit(Dig("after"))
            assert (before.envelope.timeout, after.envelope.timeout) == (30.0, 100.0)
