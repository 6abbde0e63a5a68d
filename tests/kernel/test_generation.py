"""One generation: it starts, serves, quiesces and stops, and what goes wrong in it stays in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.from_thread
import pytest

from aetherra.kernel import (
    Config,
    Kernel,
    KernelConfig,
    Plugin,
    PluginContext,
    PluginLoadError,
    handler,
)
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import (
    CallTimeoutError,
    HandlerError,
    NoHandlerError,
    Request,
    ServiceStoppedError,
)
from tests.kernel.conftest import FAULTS, Answer, Ask, Faulty, Heat, Reading, Room, assert_well, hosting


class TestHandlers:
    async def test_a_plain_handler_is_not_answered(self) -> None:
        """A handler may be a plain function, run where it is called or in a worker thread."""

        class Plain(Plugin):
            @handler
            def answer(self, ask: Ask) -> Answer:
                return Answer(threading.current_thread().name)

        class Blocking(Plugin):
            @handler(blocking=True)
            def answer(self, ask: Ask) -> Answer:
                heat = anyio.from_thread.run(self.ctx.publish, Heat(on=True))
                return Answer(f"{heat} {threading.current_thread().name}")

        async with run_plugin(Plain) as kernel:
            assert (await kernel.call(Ask())).text == threading.current_thread().name
        async with run_plugin(Blocking) as kernel:
            assert (await kernel.call(Ask())).text != f"0 {threading.current_thread().name}"

    async def test_a_hanging_thread_holds_up_the_caller(self) -> None:
        """A blocking handler that outlives its call's timeout is left behind, and its plugin can be removed."""
        release = threading.Event()

        class Stuck(Plugin):
            @handler(blocking=True)
            def answer(self, ask: Ask) -> Answer:
                release.wait(30)
                return Answer()

        clock = FakeClock()
        async with run_plugin(Stuck, clock=clock) as kernel, anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(CallTimeoutError):
                    await kernel.call(Ask(), timeout=2.0)
                await kernel.remove_plugin("stuck")
                release.set()

            group.start_soon(call)
            await clock.advance(2.0)

    async def test_hanging_threads_of_one_plugin_take_those_of_another(self) -> None:
        """A plugin whose blocking handlers all hang leaves the other plugins their worker threads."""
        release = threading.Event()

        class Stuck(Plugin):
            @handler(blocking=True)
            def hang(self, ask: Ask) -> Answer:
                release.wait(30)
                return Answer()

        class Other(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                assert await ctx.run_sync(lambda: 1) == 1

        clock = FakeClock()
        async with run_plugin(Stuck, clock=clock) as kernel, anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(kernel.call, Ask())
            await anyio.wait_all_tasks_blocked()
            await kernel.add_plugin(Other)
            assert await kernel.get_dlq_items() == []
            release.set()

    async def test_a_handlers_own_timeout_is_not_kept(self) -> None:
        """``handler(timeout=)`` bounds one message, whatever its caller allows."""

        class Slow(Plugin):
            @handler(timeout=2.0)
            async def answer(self, ask: Ask) -> Answer:
                await anyio.sleep_forever()
                return Answer()

        clock = FakeClock()
        async with run_plugin(Slow, clock=clock) as kernel, anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(HandlerError, match="handler 'answer' took longer than its 2 s"):
                    await kernel.call(Ask(), timeout=100.0)
                calls.append(clock.monotonic())

            calls: list[float] = []
            group.start_soon(call)
            await clock.advance(2.0)
            assert calls == [2.0]

    @FAULTS
    async def test_a_faulty_handler_harms_more_than_its_call(self, fault: Faulty) -> None:
        """Whatever a handler raises is its caller's error."""

        class Broken(Plugin):
            @handler
            async def answer(self, heat: AskBroken) -> Answer:
                await fault()
                return Answer()

        async with hosting(Room, Broken) as kernel:
            with pytest.raises(HandlerError, match="plugin 'broken'"):
                await kernel.call(AskBroken())
            await assert_well(kernel)
            assert [info.state for info in kernel.plugins()] == ["serving", "serving"]


class AskBroken(Request["Answer"], tag="generation_test.ask_broken"):
    pass


class TestStart:
    @FAULTS
    async def test_a_faulty_start_leaves_something(self, fault: Faulty) -> None:
        """A plugin whose start raises is not there, and what it took is given back."""
        left: list[str] = []

        @asynccontextmanager
        async def probe() -> AsyncGenerator[None]:
            yield
            left.append("probe")

        class Broken(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                await ctx.enter(probe())
                ctx.start_soon(anyio.sleep_forever)
                await fault()

            @handler
            async def answer(self, ask: AskBroken) -> Answer:
                return Answer()

        async with hosting(Room) as kernel:
            with pytest.raises(PluginLoadError, match="plugin 'broken' failed while starting"):
                await kernel.add_plugin(Broken)
            assert left == ["probe"]
            assert kernel.registry.get_service_info("broken") is None
            with pytest.raises(NoHandlerError):
                await kernel.call(AskBroken())
            await assert_well(kernel)

    async def test_a_hanging_start_is_waited_for(self) -> None:
        """After its deadline a start is cancelled and named with the line where it waits, also inside a resource."""
        clock = FakeClock()

        @asynccontextmanager
        async def open_probe() -> AsyncGenerator[None]:
            await anyio.sleep_forever()
            yield

        class Hanging(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                await ctx.enter(open_probe())  # the line

        async with hosting(Room, clock=clock) as kernel, anyio.create_task_group() as group:

            async def add() -> None:
                with pytest.raises(PluginLoadError) as caught:
                    await kernel.add_plugin(Hanging)
                assert "was not done with start() after 10 s" in str(caught.value)
                assert "await ctx.enter(open_probe())  # the line" in str(caught.value)
                ended.append(clock.monotonic())

            ended: list[float] = []
            group.start_soon(add)
            await clock.advance(9.0)
            await assert_well(kernel)
            await clock.advance(1.0)
            assert ended == [10.0]

    async def test_a_start_that_never_waits_may_take_as_long_as_it_likes(self) -> None:
        """Nothing can end it before it is done, and it has failed all the same: it held up the whole host."""

        class Stalled(FakeClock):
            def stall(self, seconds: float) -> None:
                self._now += seconds

        clock = Stalled()

        class Hog(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.defer(lambda: ended.append("resource"))
                clock.stall(20.0)

        ended: list[str] = []
        async with hosting(Room, clock=clock) as kernel:
            with pytest.raises(PluginLoadError, match="after 10 s; it held the event loop all the while"):
                await kernel.add_plugin(Hog)
            assert ended == ["resource"]
            await assert_well(kernel)

    async def test_a_start_that_swallows_its_cancellation_hangs_the_host(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is named, and the caller goes on a second later; nothing else waits for it."""
        clock, release = FakeClock(), anyio.Event()

        class Stubborn(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                while not release.is_set():
                    try:
                        await release.wait()
                    except BaseException:
                        if not clinging.is_set():
                            clinging.set()
                        with anyio.CancelScope(shield=True):
                            await release.wait()

        clinging = anyio.Event()
        async with hosting(Room, clock=clock) as kernel, anyio.create_task_group() as group:

            async def add() -> None:
                with pytest.raises(PluginLoadError, match=r"was not done with start\(\)"):
                    await kernel.add_plugin(Stubborn)
                ended.append(clock.monotonic())

            ended: list[float] = []
            group.start_soon(add)
            await clock.advance(10.0)
            assert clinging.is_set()
            await clock.advance(1.0 + 5.0)
            assert ended == [16.0]
            assert "start() was cancelled and does not end; it waits at" in caplog.text
            await assert_well(kernel)
            release.set()


class TestStop:
    @FAULTS
    async def test_a_faulty_stop_keeps_resources(self, fault: Faulty, caplog: pytest.LogCaptureFixture) -> None:
        """What stop raises is logged; tasks end, then resources are left, and the plugin is gone."""
        order: list[str] = []

        @asynccontextmanager
        async def probe(name: str) -> AsyncGenerator[None]:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield
                group.cancel_scope.cancel()
            order.append(name)

        class Broken(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                await ctx.enter(probe("first"))
                ctx.defer(lambda: order.append("deferred"))
                await ctx.enter(probe("second"))
                ctx.start_soon(self.work)

            async def work(self) -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    order.append("task")

            async def stop(self) -> None:
                order.append("stop")
                await fault()

        async with hosting(Room, Broken) as kernel:
            await anyio.wait_all_tasks_blocked()
            await kernel.remove_plugin("broken")
            assert order == ["stop", "task", "second", "deferred", "first"]
            assert "raised in stop()" in caplog.text
            await assert_well(kernel)

    async def test_a_removed_plugin_still_answers(self) -> None:
        """Its tags say that it was stopped, its service and its hooks are gone."""
        async with hosting(Room) as kernel:
            await kernel.remove_plugin("room")
            with pytest.raises(NoHandlerError, match=r"plugin 'room' \(generation 1\) was stopped"):
                await kernel.call(Ask())
            assert kernel.registry.get_service_info("room") is None
            assert kernel.plugins() == []

    async def test_calls_in_hand_are_cut(self) -> None:
        """A call in hand may finish while its plugin stops; stop() comes after it."""
        release = anyio.Event()
        order: list[str] = []

        class Slow(Plugin):
            @handler
            async def answer(self, ask: Ask) -> Answer:
                await release.wait()
                order.append("answered")
                return Answer("done")

            async def stop(self) -> None:
                order.append("stopped")

        async with hosting(Slow) as kernel, anyio.create_task_group() as group:

            async def call() -> None:
                assert await kernel.call(Ask()) == Answer("done")

            group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(kernel.remove_plugin, "slow")
            await anyio.wait_all_tasks_blocked()
            release.set()
        assert order == ["answered", "stopped"]

    async def test_calls_that_do_not_end_hold_up_the_stop(self, caplog: pytest.LogCaptureFixture) -> None:
        """After the deadline calls and events in hand are cancelled, named, and callers told why."""
        clock = FakeClock()

        class Stuck(Plugin):
            @handler
            async def answer(self, ask: Ask) -> Answer:
                await anyio.sleep_forever()
                return Answer()

            @handler
            async def hear_for_ever(self, reading: Reading) -> None:
                await anyio.sleep_forever()

        async with hosting(Stuck, clock=clock) as kernel, anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(ServiceStoppedError):
                    await kernel.call(Ask(), timeout=100.0)

            group.start_soon(call)
            await kernel.publish(Reading(1.0))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(kernel.remove_plugin, "stuck")
            await clock.advance(5.0)
            assert kernel.plugins() == []
        assert "1 of 'generation_test.ask'" in caplog.text
        assert "in hear_for_ever" in caplog.text

    async def test_a_hanging_stop_is_waited_for(self, caplog: pytest.LogCaptureFixture) -> None:
        """After its deadline stop() is cancelled and named with the line where it waits."""
        clock = FakeClock()

        class Hanging(Plugin):
            async def stop(self) -> None:
                await anyio.sleep_forever()  # the line

        async with hosting(Hanging, Room, clock=clock) as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.remove_plugin, "hanging")
            await clock.advance(4.0)
            await assert_well(kernel)
            assert len(kernel.plugins()) == 2
            await clock.advance(1.0)
            assert len(kernel.plugins()) == 1
        assert "plugin 'hanging' was not done with stop() after 5 s" in caplog.text
        assert "await anyio.sleep_forever()  # the line" in caplog.text

    async def test_a_leave_that_hangs_is_waited_for(self, caplog: pytest.LogCaptureFixture) -> None:
        """After its deadline what hangs is cancelled and named; the others are still left."""
        clock = FakeClock()
        left: list[str] = []

        @asynccontextmanager
        async def probe() -> AsyncGenerator[None]:
            yield
            left.append("probe")

        @asynccontextmanager
        async def sticky() -> AsyncGenerator[None]:
            try:
                yield
            finally:
                await anyio.sleep_forever()  # the line

        class Hanging(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.defer(lambda: left.append("deferred"))
                await ctx.enter(sticky())
                await ctx.enter(probe())

        async with hosting(Hanging, Room, clock=clock) as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.remove_plugin, "hanging")
            await clock.advance(5.0)
            assert len(kernel.plugins()) == 1
            await assert_well(kernel)
        assert left == ["probe", "deferred"]
        assert "what it entered was not left after 5 s; it waits at" in caplog.text
        assert "await anyio.sleep_forever()  # the line" in caplog.text

    async def test_a_task_that_swallows_its_cancellation_holds_up_the_others(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is named after the deadline, with where it waits, and left behind."""
        clock, release = FakeClock(), anyio.Event()

        class Stubborn(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.start_soon(self.cling)

            async def cling(self) -> None:
                with anyio.CancelScope(shield=True):
                    await release.wait()  # the line

        async with hosting(Stubborn, Room, clock=clock) as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.remove_plugin, "stubborn")
            await clock.advance(5.0)
            assert len(kernel.plugins()) == 1
            assert "Stubborn.cling was cancelled and does not end; it waits at" in caplog.text
            assert "await release.wait()  # the line" in caplog.text
            await assert_well(kernel)
            release.set()


class TestSilence:
    async def test_a_healthy_life_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing above debug is logged of a plugin that starts, serves and stops."""
        caplog.set_level(logging.INFO, "aetherra")
        config = Config(kernel=KernelConfig(data_dir=None, discover=False))
        async with Kernel(config, clock=FakeClock()) as kernel:
            await kernel.add_plugin(Room)
            await assert_well(kernel)
        assert caplog.records == []
