"""What tests of plugins stand on: a clock that goes when it is told to, and a host for one plugin."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel import Plugin, PluginLoadError
from aetherra.kernel.plugin import Settings, every, handler
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import Message, Request


class Count(Message, tag="testing.count"):
    ticks: int


class GetCount(Request[Count], tag="testing.get_count"):
    pass


class CounterSettings(Settings):
    start_at: int = 0


class Counter(Plugin[CounterSettings]):
    name = "counter"
    ticks = 0

    @every(10.0)
    async def tick(self) -> None:
        self.ticks += 1

    @handler
    async def count(self, _: GetCount) -> Count:
        return Count(self.settings.start_at + self.ticks)


class TestTime:
    async def test_it_stands_still_until_it_is_advanced(self) -> None:
        """Both clocks, by the same amount."""
        clock = FakeClock(start=1000.0)
        assert (clock.monotonic(), clock.time()) == (0.0, 1000.0)
        await clock.advance(2.5)

        assert (clock.monotonic(), clock.time()) == (2.5, 1002.5)

    async def test_a_jump_of_the_wall_clock_moves_no_deadline(self) -> None:
        """An hour back: ``time()`` says so, sleeps and timeouts do not notice."""
        clock = FakeClock(start=10_000.0)
        woken: list[float] = []

        async def sleep() -> None:
            await clock.sleep(10.0)
            woken.append(clock.monotonic())

        async with anyio.create_task_group() as group:
            group.start_soon(sleep)
            await clock.advance(5.0)
            clock.set_time(clock.time() - 3600)
            assert (clock.time(), clock.monotonic()) == (6405.0, 5.0)
            await clock.advance(4.9)
            assert woken == []
            await clock.advance(0.1)
        assert woken == [10.0]
        assert clock.time() == 6410.0

    @pytest.mark.parametrize("seconds", [-1.0, float("nan")])
    async def test_it_does_not_go_back(self, seconds: float) -> None:
        """Monotonic means that."""
        with pytest.raises(ValueError, match="expected seconds from 0 on"):
            await FakeClock().advance(seconds)


class TestSleep:
    async def test_sleepers_wake_in_order_each_at_its_own_time(self) -> None:
        """One advance over many of them stops at each, and at what they begin then."""
        clock = FakeClock()
        log: list[tuple[str, float]] = []

        async def sleep(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                log.append((name, clock.monotonic()))

        async with anyio.create_task_group() as group:
            group.start_soon(sleep, "a", 3.0, 1.0)
            group.start_soon(sleep, "b", 1.0, 1.0, 5.0)
            await clock.advance(4.0)
            assert log == [("b", 1.0), ("b", 2.0), ("a", 3.0), ("a", 4.0)]
            await clock.advance(3.0)
        assert log[-1] == ("b", 7.0)

    async def test_a_sleep_of_no_time_is_a_checkpoint(self) -> None:
        """It returns without an advance, and lets others run."""
        clock = FakeClock()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await clock.sleep(0)
        await clock.sleep(-1.0)

        assert scope.cancelled_caught

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.floats(0.001, 100), max_size=8), st.sampled_from(["asyncio", "trio"]))
    def test_all_sleepers_are_awake_after_the_longest_and_none_too_early(self, naps: list[float], backend: str) -> None:
        """Whatever they ask for."""

        async def run() -> None:
            clock = FakeClock()
            woken: list[tuple[float, float]] = []

            async def sleep(nap: float) -> None:
                await clock.sleep(nap)
                woken.append((nap, clock.monotonic()))

            async with anyio.create_task_group() as group:
                for nap in naps:
                    group.start_soon(sleep, nap)
                await clock.advance(max(naps, default=0.0))
            assert [nap for nap, _ in woken] == sorted(naps)
            assert all(nap == at for nap, at in woken)

        anyio.run(run, backend=backend)


class TestMoveOnAfter:
    async def test_the_body_is_cancelled_when_its_time_has_come_and_not_before(self) -> None:
        """The scope tells that it was."""
        clock = FakeClock()
        ended: list[float] = []

        async def work() -> None:
            with clock.move_on_after(5.0) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            ended.append(clock.monotonic())

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await clock.advance(4.9)
            assert ended == []
            await clock.advance(0.1)
            assert ended == [5.0]

    async def test_a_body_that_ends_in_time_is_not_cancelled_later(self) -> None:
        """Its entry goes with it, and so does that of a sleep that was cancelled."""
        clock = FakeClock()
        with clock.move_on_after(5.0) as outer:
            with clock.move_on_after(2.0):
                pass
            with anyio.CancelScope() as cancelled:
                cancelled.cancel()
                await clock.sleep(3.0)
            await clock.advance(4.0)
            await anyio.lowlevel.checkpoint()

        assert not outer.cancel_called
        await clock.advance(10.0)
        assert not outer.cancel_called

    async def test_of_nested_scopes_the_one_that_is_due_is_cancelled(self) -> None:
        """The inner first or the outer first, as their times are."""
        clock = FakeClock()
        seen: list[tuple[bool, bool]] = []

        async def work(outer_time: float, inner_time: float) -> None:
            inner = None
            with clock.move_on_after(outer_time) as outer:
                with clock.move_on_after(inner_time) as inner:
                    await anyio.sleep_forever()
                await anyio.lowlevel.checkpoint()
            assert inner is not None
            seen.append((outer.cancelled_caught, inner.cancelled_caught))

        async with anyio.create_task_group() as group:
            group.start_soon(work, 5.0, 2.0)
            await clock.advance(10.0)
            group.start_soon(work, 2.0, 5.0)
            await clock.advance(10.0)
        assert seen == [(False, True), (True, False)]

    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    async def test_no_time_at_all_cancels_at_the_first_checkpoint(self, seconds: float) -> None:
        """As with a real clock; nobody has to advance this one for it."""
        clock = FakeClock()
        with clock.move_on_after(seconds) as scope:
            await anyio.sleep_forever()

        assert scope.cancelled_caught
        assert clock.monotonic() == 0.0


class TestRunPlugin:
    async def test_one_plugin_is_hosted_on_a_fake_clock(self) -> None:
        """Its repeated methods run when the clock says so, and its requests are answered."""
        clock = FakeClock()
        async with run_plugin(Counter, {"start_at": 100}, clock=clock) as kernel:
            await clock.advance(35.0)

            assert await kernel.call(GetCount()) == Count(103)

    async def test_settings_may_be_given_as_their_struct_or_not_at_all(self) -> None:
        """Both ways, and the defaults."""
        async with run_plugin(Counter, CounterSettings(start_at=5)) as kernel:
            assert await kernel.call(GetCount()) == Count(5)
        async with run_plugin(Counter) as kernel:
            assert await kernel.call(GetCount()) == Count(0)

    async def test_a_plugin_that_cannot_start_is_told_as_such(self) -> None:
        """The test sees the error, not a host without the plugin."""
        with pytest.raises(PluginLoadError, match="start_at"):
            async with run_plugin(Counter, {"start_at": "x"}):
                pytest.fail("it was hosted")
