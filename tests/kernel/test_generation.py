"""One generation: it starts, serves, quiesces and stops, and what goes wrong in it stays in it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

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
    Settings,
    every,
    handler,
)
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import (
    CallTimeoutError,
    HandlerError,
    Message,
    NoHandlerError,
    Request,
    ServiceStatus,
    ServiceStoppedError,
)

Faulty = Callable[[], Awaitable[None]]


class Reading(Message, tag="generation_test.reading"):
    celsius: float


class Heat(Message, tag="generation_test.heat"):
    on: bool


class Ask(Request["Answer"], tag="generation_test.ask"):
    what: str = ""


class Answer(Message, tag="generation_test.answer"):
    text: str = ""


async def raise_error() -> None:
    raise ValueError("no such room")


async def exit_process() -> None:
    sys.exit(3)


async def cancel_oneself() -> None:
    raise asyncio.CancelledError


FAULTS = pytest.mark.parametrize("fault", [raise_error, exit_process, cancel_oneself])


class Room(Plugin):
    """A plugin that does well; the others in a test must not keep it from that."""

    @handler
    async def answer(self, ask: Ask) -> Answer:
        return Answer(ask.what)


async def assert_well(kernel: Kernel) -> None:
    """The host and the other plugin go on."""
    assert await kernel.call(Ask("still there"), timeout=1.0) == Answer("still there")


def status(kernel: Kernel, service: str) -> tuple[str, str]:
    """The status and reason of a service."""
    info = kernel.registry.get_service_info(service)
    assert info is not None
    return info.status, info.reason


@asynccontextmanager
async def hosting(*plugins: type[Plugin[Any]], clock: FakeClock | None = None) -> AsyncGenerator[Kernel]:
    """A host with these plugins, on a fake clock."""
    async with Kernel(clock=clock or FakeClock()) as kernel:
        for plugin in plugins:
            await kernel.add_plugin(plugin)
        yield kernel


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


class TestEvents:
    async def test_a_returned_message_is_not_published(self) -> None:
        """What an event's handler returns is published, ``None`` is not; ``ctx.subscribe`` does the same."""

        class Thermostat(Plugin):
            @handler
            async def switch(self, reading: Reading) -> Heat | None:
                return Heat(reading.celsius < 20) if reading.celsius < 30 else None

            async def start(self, ctx: PluginContext) -> None:
                ctx.subscribe("generation_test.heat", self.on_heat)

            async def on_heat(self, heat: Message) -> Message | None:
                return Answer(str(heat)) if heat == Heat(True) else None

        async with run_plugin(Thermostat) as kernel:
            with kernel.subscribe("generation_test.*") as events:
                for celsius in (18.0, 25.0, 35.0):
                    await kernel.publish(Reading(celsius))
                await anyio.wait_all_tasks_blocked()
                heard = [await anext(events) for _ in range(len(events.mailbox))]
        assert [event for event in heard if isinstance(event, Heat)] == [Heat(True), Heat(False)]
        assert [event for event in heard if isinstance(event, Answer)] == [Answer(str(Heat(True)))]

    @FAULTS
    async def test_a_faulty_event_handler_hears_no_more(self, fault: Faulty) -> None:
        """A fault degrades the service, is counted, and is over when the next event is heard well."""

        class Moody(Plugin):
            heard = 0

            @handler
            async def hear(self, reading: Reading) -> None:
                if reading.celsius < 0:
                    await fault()
                Moody.heard += 1

        async with hosting(Room, Moody) as kernel:
            assert status(kernel, "moody") == ("healthy", "")
            await kernel.publish(Reading(-1.0))
            await anyio.wait_all_tasks_blocked()
            state, reason = status(kernel, "moody")
            assert state == "degraded"
            assert reason.startswith("hearing 'generation_test.reading': ")
            assert kernel.plugins()[0].faults == 1
            await assert_well(kernel)
            await kernel.publish(Reading(1.0))
            await anyio.wait_all_tasks_blocked()
            assert status(kernel, "moody") == ("healthy", "")
        assert Moody.heard == 1

    async def test_a_stop_is_logged_as_a_fault(self, caplog: pytest.LogCaptureFixture) -> None:
        """Plugins that hear, repeat and forward stop without a word."""

        async def readings() -> AsyncGenerator[Reading]:
            yield Reading(1.0)
            await anyio.sleep_forever()

        class Busy(Plugin):
            @handler
            async def hear(self, reading: Reading) -> None: ...

            @every(1.0)
            async def tick(self) -> None: ...

            async def start(self, ctx: PluginContext) -> None:
                ctx.forward(readings())
                ctx.start_soon(anyio.sleep_forever)

        async with run_plugin(Busy) as kernel:
            await kernel.publish(Reading(2.0))
            await anyio.wait_all_tasks_blocked()
        assert [record.getMessage() for record in caplog.records] == []


class TestForward:
    async def test_an_iterator_is_not_published(self) -> None:
        """What an iterator yields is published, from when the plugin serves; one that raises degrades the plugin."""

        async def readings() -> AsyncGenerator[Reading]:
            for celsius in (1.0, 2.0):
                yield Reading(celsius)
            raise OSError("lost the probe")

        class Probe(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.forward(readings())
                await anyio.wait_all_tasks_blocked()

        async with hosting(Room) as kernel:
            with kernel.subscribe(Reading) as events:
                await kernel.add_plugin(Probe)
                assert [await anext(events), await anext(events)] == [Reading(1.0), Reading(2.0)]
            await anyio.wait_all_tasks_blocked()
            assert status(kernel, "probe")[0] == "degraded"
            assert "lost the probe" in status(kernel, "probe")[1]
            await assert_well(kernel)

    async def test_a_stop_loses_what_was_drawn(self) -> None:
        """What was drawn from the iterator is published, even if it comes while the plugin is paused."""
        release = anyio.Event()

        async def readings() -> AsyncGenerator[Reading]:
            await release.wait()
            yield Reading(1.0)
            await anyio.sleep_forever()

        class Probe(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.forward(readings())

        async with hosting() as kernel:
            await kernel.add_plugin(Probe)
            generation = kernel._running().plugins.entry("probe").generation
            assert generation is not None
            await anyio.wait_all_tasks_blocked()
            with kernel.subscribe(Reading) as events:
                await generation.pause()
                release.set()
                await anyio.wait_all_tasks_blocked()
                assert len(events.mailbox) == 0
                await kernel.remove_plugin("probe")
                assert events.mailbox.get_nowait().event == Reading(1.0)


class TestPause:
    async def test_a_paused_plugin_takes_an_event(self) -> None:
        """While an event in hand comes to its end nothing else is taken, and after a resume everything is."""
        release = anyio.Event()
        heard: list[Message] = []

        class Busy(Plugin):
            @handler
            async def slowly(self, reading: Reading) -> None:
                await release.wait()
                heard.append(reading)

            @handler
            async def quickly(self, heat: Heat) -> None:
                heard.append(heat)

            async def start(self, ctx: PluginContext) -> None:
                ctx.start_soon(self.add_later)

            async def add_later(self) -> None:
                await release.wait()
                self.ctx.every(1.0, self.tick, at_start=True)

            async def tick(self) -> None:
                heard.append(Answer("tick"))

        async with hosting(Busy) as kernel, anyio.create_task_group() as group:
            generation = kernel._running().plugins.entry("busy").generation
            assert generation is not None
            await kernel.publish(Reading(1.0))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(generation.pause)
            await anyio.wait_all_tasks_blocked()
            await kernel.publish(Heat(True))
            await anyio.wait_all_tasks_blocked()
            assert heard == []
            release.set()
            await anyio.wait_all_tasks_blocked()
            assert heard == [Reading(1.0)]
            generation.resume()
            await anyio.wait_all_tasks_blocked()
            assert heard[1:] in ([Heat(True), Answer("tick")], [Answer("tick"), Heat(True)])


class RepeatSettings(Settings):
    interval: float = 5.0


class TestEvery:
    async def test_a_method_is_repeated_at_other_times(self) -> None:
        """The first run comes after one interval or at once, each other an interval after the start of the last."""
        clock = FakeClock()
        runs: dict[str, list[float]] = {"tick": [], "at_once": [], "added": []}

        class Clocked(Plugin[RepeatSettings]):
            @every("interval")
            async def tick(self) -> None:
                runs["tick"].append(clock.monotonic())

            @every(4.0, at_start=True)
            async def at_once(self) -> None:
                runs["at_once"].append(clock.monotonic())
                await clock.sleep(1.0)

            async def start(self, ctx: PluginContext) -> None:
                ctx.every(6.0, self.added)

            async def added(self) -> None:
                runs["added"].append(clock.monotonic())

        async with run_plugin(Clocked, clock=clock):
            await clock.advance(13.0)
        assert runs == {"tick": [5.0, 10.0], "at_once": [0.0, 4.0, 8.0, 12.0], "added": [6.0, 12.0]}

    async def test_runs_overlap(self) -> None:
        """A run that takes longer than the interval delays the next."""
        clock = FakeClock()
        runs: list[float] = []

        class Slow(Plugin):
            @every(1.0)
            async def tick(self) -> None:
                runs.append(clock.monotonic())
                await clock.sleep(2.5)

        async with run_plugin(Slow, clock=clock) as kernel:
            await clock.advance(7.0)
            assert runs == [1.0, 3.5, 6.0]
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.remove_plugin, "slow")
                await clock.advance(2.0)
        assert runs == [1.0, 3.5, 6.0]

    @FAULTS
    async def test_a_faulty_run_ends_the_series(self, fault: Faulty) -> None:
        """A fault degrades the service and is counted; the next run that goes well ends that."""
        clock = FakeClock()

        class Moody(Plugin):
            runs = 0

            @every(1.0)
            async def tick(self) -> None:
                Moody.runs += 1
                if Moody.runs == 2:
                    await fault()

        async with hosting(Room, Moody, clock=clock) as kernel:
            await clock.advance(2.0)
            assert status(kernel, "moody")[0] == "degraded"
            assert status(kernel, "moody")[1].startswith("repeating ")
            await assert_well(kernel)
            await clock.advance(1.0)
            assert status(kernel, "moody") == ("healthy", "")
            assert kernel.plugins()[0].faults == 1

    async def test_one_that_recovers_hides_another_that_fails(self) -> None:
        """The service is well again when all its repeated methods are."""
        clock = FakeClock()

        class Moody(Plugin):
            broken = True

            @every(1.0)
            async def good(self) -> None:
                if clock.monotonic() < 2:
                    raise OSError("good, for now")

            @every(1.0)
            async def bad(self) -> None:
                if self.broken:
                    raise OSError("bad")

        async with run_plugin(Moody, clock=clock) as kernel:
            await clock.advance(2.0)
            assert status(kernel, "moody")[0] == "degraded"
            assert "bad" in status(kernel, "moody")[1]
            Moody.broken = False
            await clock.advance(1.0)
            assert status(kernel, "moody") == ("healthy", "")

    async def test_a_setting_without_length_spins(self) -> None:
        """An interval of 0 from the settings is refused."""

        class Spinning(Plugin[RepeatSettings]):
            @every("interval")
            async def tick(self) -> None: ...

        async with hosting() as kernel:
            with pytest.raises(PluginLoadError, match="expected an interval of more than 0 seconds, got 0"):
                await kernel.add_plugin(Spinning, settings={"interval": 0.0})


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

    async def test_a_status_said_in_start_is_lost(self) -> None:
        """What a plugin says of itself before it serves counts from then on, and ``HEALTHY`` ends old troubles."""

        class Sick(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.set_status(ServiceStatus.DEGRADED, "no probe yet")

        async with run_plugin(Sick) as kernel:
            assert status(kernel, "sick") == ("degraded", "no probe yet")


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
