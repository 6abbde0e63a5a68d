"""Tests of the watch: a cycle that hangs, raises, comes late or cannot be cancelled."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.watch import MAX_ABANDONED, Trouble, Watch


class BlockableClock(FakeClock):
    """A clock that goes on while nobody can run, as when the event loop is blocked."""

    def block(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock() -> BlockableClock:
    return BlockableClock()


@pytest.fixture
def told() -> list[Trouble]:
    return []


@pytest.fixture
def watch(clock: BlockableClock, told: list[Trouble]) -> Watch:
    return Watch(clock, interval=1.0, limit=10.0, tell=told.append)


@asynccontextmanager
async def running(watch: Watch, cycle: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run a watch for the length of a block."""
    async with anyio.create_task_group() as group:
        group.start_soon(watch.run, cycle)
        yield
        group.cancel_scope.cancel()


def kinds(told: list[Trouble]) -> list[str]:
    return [trouble.kind for trouble in told]


async def test_a_sound_loop_is_blamed(clock: BlockableClock, watch: Watch, told: list[Trouble]) -> None:
    """Cycles come at every interval, the first at once, and nothing is told."""
    begun = []

    async def cycle() -> None:
        begun.append(clock.monotonic())
        await clock.sleep(0.25)

    async with running(watch, cycle):
        await clock.advance(5.5)
        assert watch.statistics().in_hand is None
        await clock.advance(0.6)
        assert watch.statistics().in_hand == pytest.approx(0.1)
    assert begun == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert told == []
    assert (watch.statistics().cycles, watch.statistics().longest, watch.statistics().restarts) == (6, 0.25, 0)


async def test_long_cycles_are_made_up_for(clock: BlockableClock, watch: Watch, told: list[Trouble]) -> None:
    """After one that took longer than the interval the next comes at once, and one only."""
    begun = []

    async def cycle() -> None:
        begun.append(clock.monotonic())
        await clock.sleep(3.5 if len(begun) == 1 else 0.0)

    async with running(watch, cycle):
        await clock.advance(6.0)
    assert begun == [0.0, 3.5, 4.5, 5.5]
    assert told == []


async def test_a_cycle_that_hangs_stops_the_loop(
    clock: BlockableClock, watch: Watch, told: list[Trouble], caplog: pytest.LogCaptureFixture
) -> None:
    """It is cancelled, told, logged and counted, and the loop goes on."""
    begun, ends = [], []

    async def cycle() -> None:
        begun.append(clock.monotonic())
        try:
            if len(begun) == 1:
                await anyio.sleep_forever()
        finally:
            ends.append(clock.monotonic())

    async with running(watch, cycle):
        await clock.advance(9.0)
        assert told == []
        assert watch.statistics().in_hand == 9.0
        await clock.advance(3.0)
    assert kinds(told) == ["overrun"]
    assert told[0].text == "the controller's cycle has not ended (10.0 s; expected within 10 s)"
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [told[0].text]
    assert begun == [0.0, 10.0, 11.0, 12.0]
    assert ends == [10.0, 10.0, 11.0, 12.0]
    statistics = watch.statistics()
    assert (statistics.restarts, statistics.abandoned, statistics.troubles) == (1, 0, {"overrun": 1})


async def test_each_hanging_cycle_is_waited_for_twice(clock: BlockableClock, watch: Watch, told: list[Trouble]) -> None:
    """A loop whose every cycle hangs is begun anew each time."""
    async with running(watch, anyio.sleep_forever):
        await clock.advance(41.0)
    assert kinds(told) == ["overrun"] * 4
    assert watch.statistics().cycles == 0


async def test_a_loop_whose_cycles_all_raise_seems_well(clock: BlockableClock, watch: Watch) -> None:
    """It is said why no cycle ends well while none does, and no longer."""
    broken = True

    async def cycle() -> None:
        if broken:
            raise RuntimeError("no sensor")

    assert (watch.statistics().problem, watch.statistics().well_ago) == ("", None)
    async with running(watch, cycle):
        await clock.advance(4.5)
        assert watch.statistics().problem == "the controller's cycle raised RuntimeError('no sensor')"
        assert watch.statistics().well_ago == 4.5
        broken = False
        await clock.advance(1.0)
        assert (watch.statistics().problem, watch.statistics().well_ago) == ("", 0.5)
    assert watch.statistics().problem == "no cycle comes any more"


async def test_a_loop_whose_cycles_all_hang_seems_well(clock: BlockableClock, watch: Watch) -> None:
    """That none ends is seen once it is longer than one may take, and three intervals, that one has."""
    async with running(watch, anyio.sleep_forever):
        await clock.advance(12.5)
        assert watch.statistics().problem == ""
        await clock.advance(1.0)
        assert watch.statistics().problem == "no cycle has ended well for 14 s"


async def test_a_cycle_that_raises_stops_the_loop(
    clock: BlockableClock, watch: Watch, told: list[Trouble], caplog: pytest.LogCaptureFixture
) -> None:
    """It is told and logged with its traceback; the next comes as planned, in the same loop."""

    async def cycle() -> None:
        if clock.monotonic() < 2.0:
            raise LookupError("no such plugin")

    async with running(watch, cycle):
        await clock.advance(3.5)
    assert kinds(told) == ["raised", "raised"]
    assert "LookupError('no such plugin')" in told[0].text
    assert all(record.exc_info for record in caplog.records)
    assert (watch.statistics().cycles, watch.statistics().restarts) == (2, 0)


async def test_a_blocked_event_loop_is_taken_for_a_hanging_cycle(
    clock: BlockableClock, watch: Watch, told: list[Trouble]
) -> None:
    """Nothing is cancelled when nobody could run; it is told that a cycle came late."""
    cancelled = []

    async def cycle() -> None:
        try:
            await clock.sleep(0.7)  # the watch looks first
        except BaseException:
            cancelled.append(clock.monotonic())
            raise

    async with running(watch, cycle):
        await clock.advance(0.05)
        clock.block(60.0)
        await clock.advance(0.8)
        assert (kinds(told), cancelled) == (["late"], [])
        clock.block(60.0)
        await clock.advance(0.2)
        assert (kinds(told), cancelled) == (["late", "late"], [])
    assert told[0].text == "the controller's cycle ended late (60.0 s; expected within 10 s)"
    assert told[1].text == "the controller's cycle came late (59.8 s; expected within 10 s)"
    assert watch.statistics().restarts == 0


async def test_a_loop_that_begins_no_cycle_is_not_noticed(told: list[Trouble]) -> None:
    """When the next cycle does not come though the watch is awake, a loop is begun anew."""

    class SleepyClock(BlockableClock):
        """Whoever sleeps for a whole interval first never wakes."""

        lost = 0

        async def sleep(self, seconds: float) -> None:
            if seconds == 1.0 and not self.lost:
                self.lost += 1
                await anyio.sleep_forever()
            await super().sleep(seconds)

    clock = SleepyClock()
    watch = Watch(clock, interval=1.0, limit=10.0, tell=told.append)

    async def cycle() -> None:
        await anyio.lowlevel.checkpoint()

    async with running(watch, cycle):
        await clock.advance(15.0)
    assert kinds(told) == ["missing"]
    assert (watch.statistics().restarts, watch.statistics().abandoned) == (1, 0)
    assert watch.statistics().cycles == 6  # at 0, and from 11 to 15


async def test_cycles_that_cannot_be_cancelled_pile_up(
    clock: BlockableClock, watch: Watch, told: list[Trouble]
) -> None:
    """Some are left behind, each beside a new loop; of more than that none is begun, which is told."""
    released = anyio.Event()
    count = 0

    async def cycle() -> None:
        nonlocal count
        count += 1
        with anyio.CancelScope(shield=True):
            await released.wait()

    async with running(watch, cycle):
        await clock.advance(200.0)
        assert kinds(told) == ["overrun"] * (MAX_ABANDONED + 1) + ["abandoned"]
        assert count == MAX_ABANDONED + 1
        assert watch.statistics().running is False
        released.set()


async def test_an_abandoned_cycle_goes_on_beside_the_new_loop(
    clock: BlockableClock, watch: Watch, told: list[Trouble]
) -> None:
    """Once it lets go, its loop ends: there is one loop, and the count of those left behind says so."""
    released = anyio.Event()
    begun = []

    async def cycle() -> None:
        begun.append(clock.monotonic())
        if len(begun) == 1:
            with anyio.CancelScope(shield=True):
                await released.wait()

    async with running(watch, cycle):
        await clock.advance(11.5)
        assert watch.statistics().abandoned == 1
        released.set()
        await clock.advance(2.0)
        assert watch.statistics().abandoned == 0
    assert begun == [0.0, 10.0, 11.0, 12.0, 13.0]


async def test_it_outlives_its_plugin(clock: BlockableClock, watch: Watch) -> None:
    """Cancelled, it ends with its loop."""

    async def cycle() -> None:
        await clock.sleep(0.1)

    async with running(watch, cycle):
        await clock.advance(2.0)
        assert watch.statistics().running is True
    cycles = watch.statistics().cycles
    await clock.advance(5.0)
    assert (watch.statistics().cycles, watch.statistics().running) == (cycles, False)


@pytest.mark.parametrize("bounds", [{"interval": 0.0, "limit": 1.0}, {"interval": 1.0, "limit": 0.0}])
def test_a_bound_without_meaning_is_taken(clock: BlockableClock, bounds: dict[str, float]) -> None:
    """A loop without a pause, or with no time for a cycle, is an error."""
    with pytest.raises(ValueError, match="above 0"):
        Watch(clock, **bounds)
