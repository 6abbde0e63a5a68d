"""What a generation does by itself: it hears, repeats and forwards, rests when told, and goes on after a fault."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest

from aetherra.kernel import Plugin, PluginContext, PluginLoadError, Settings, every, handler
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import Message
from tests.kernel.conftest import FAULTS, Answer, Faulty, Heat, Reading, Room, assert_well, hosting, status


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
                await generation.activity.pause()
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
            group.start_soon(generation.activity.pause)
            await anyio.wait_all_tasks_blocked()
            await kernel.publish(Heat(True))
            await anyio.wait_all_tasks_blocked()
            assert heard == []
            release.set()
            await anyio.wait_all_tasks_blocked()
            assert heard == [Reading(1.0)]
            generation.activity.resume()
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

    async def test_a_setting_without_length_spins(self) -> None:
        """An interval of 0 from the settings is refused."""

        class Spinning(Plugin[RepeatSettings]):
            @every("interval")
            async def tick(self) -> None: ...

        async with hosting() as kernel:
            with pytest.raises(PluginLoadError, match="expected an interval of more than 0 seconds, got 0"):
                await kernel.add_plugin(Spinning, settings={"interval": 0.0})
