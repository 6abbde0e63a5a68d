"""Restarts and quarantine: the same code brought up afresh, taken out of service, and brought back."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import (
    Config,
    DisablePlugin,
    EnablePlugin,
    Kernel,
    MetricSample,
    Plugin,
    PluginContext,
    PluginInfo,
    PluginLoadError,
    PluginNotFoundError,
    RestartPlugin,
    handler,
    hookimpl,
)
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    HandlerError,
    Message,
    NoHandlerError,
    Request,
    ServiceFailedError,
    ServiceQuarantinedError,
    ServiceRegistered,
    ServiceStatus,
    ServiceStatusChanged,
    ServiceStoppedError,
    ServiceStoppingError,
)

ROOM = """
import sys
import anyio
from aetherra.plugins import Message, Plugin, Request, handler

VERSION = 1
asked = []

class Answer(Message, tag="room.answer"):
    version: int
    asked: int

class Ask(Request[Answer], tag="room.ask"): pass
class Hang(Request[Answer], tag="room.hang"): pass

class Room(Plugin):
    name = "room"

    async def start(self, ctx):
        sys.room_starts.append(self.ctx.identity.generation)
        if sys.room_fails:
            raise ValueError("no floor")

    async def stop(self):
        sys.room_starts.append(-self.ctx.identity.generation)

    @handler
    async def ask(self, request: Ask) -> Answer:
        asked.append(request)
        return Answer(VERSION, len(asked))

    @handler
    async def hang(self, request: Hang) -> Answer:
        await anyio.sleep_forever()
"""


HANGING = "if self.ctx.identity.generation == 2:\n            await anyio.sleep_forever()\n        if 0:"
"""In place of a failing start, one that hangs, in the second generation."""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration of one plugin in a file, which notes its starts and stops, and fails if told to."""
    monkeypatch.setattr(sys, "room_starts", [], raising=False)
    monkeypatch.setattr(sys, "room_fails", False, raising=False)
    (tmp_path / "room.py").write_text(ROOM)
    plugins = {"room": PluginConfig(source=str(tmp_path / "room.py"))}
    return Config(kernel=KernelConfig(data_dir=None, discover=False), plugins=plugins, root=tmp_path)


def edit(config: Config, old: str, new: str) -> None:
    """Change the plugin's file."""
    path = config.root / "room.py"
    path.write_text(path.read_text().replace(old, new))


def noted() -> list[int]:
    """Which generations started, and as negative numbers, which stopped."""
    return sys.room_starts  # type: ignore[attr-defined, no-any-return]  # the plugin's own


def described(kernel: Kernel, name: str = "room") -> PluginInfo:
    """Return what the kernel tells of a plugin."""
    (info,) = (info for info in kernel.plugins() if info.name == name)
    return info


def modules() -> list[str]:
    """Return the modules of the plugin that are loaded."""
    return sorted(name for name in sys.modules if name.startswith("room@"))


class Ping(Request["Pong"], tag="lifecycle_test.ping"):
    pass


class Pong(Message, tag="lifecycle_test.pong"):
    instance: int


class Note(Message, tag="lifecycle_test.note"):
    number: int


class TestRestart:
    async def test_what_was_in_memory_stays(self, room: Config) -> None:
        """A restart runs the code that was loaded in fresh modules, whatever is on disk by now, and keeps no state."""
        async with Kernel(room, clock=FakeClock()) as kernel:
            await kernel.call_tag("room.ask")
            assert await kernel.call_tag("room.ask") == {"version": 1, "asked": 2}
            edit(room, "VERSION = 1", "VERSION = 2")

            done = await kernel.restart_plugin("room", reason="it leaks")

            assert (done.plugin, done.old_generation, done.generation) == ("room", 1, 2)
            assert await kernel.call_tag("room.ask") == {"version": 1, "asked": 1}
            (room.root / "room.py").unlink()
            assert (await kernel.call(RestartPlugin("room"))).generation == 3
            assert await kernel.call_tag("room.ask") == {"version": 1, "asked": 1}
            assert noted() == [1, 2, -1, 3, -2]
            assert modules() == ["room@3"]
            assert (described(kernel).state, described(kernel).generation) == ("serving", 3)
            lifecycle = kernel.statistics().lifecycle
            assert (lifecycle.loads, lifecycle.restarts, lifecycle.load_failures) == (3, 2, 0)
            with anyio.fail_after(20):
                while kernel._running().plugins.retired.alive():
                    await anyio.to_thread.run_sync(gc.collect)

    async def test_a_wedged_plugin_cannot_be_restarted(self, room: Config) -> None:
        """The new generation answers at once; calls in the old one's hands fail when its time to stop is over."""
        clock = FakeClock()
        failures: list[ServiceStoppedError] = []

        async def hang() -> None:
            try:
                await kernel.call_tag("room.hang", timeout=1000)
            except ServiceStoppedError as exc:
                failures.append(exc)

        async with Kernel(room, clock=clock) as kernel, anyio.create_task_group() as group:
            group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()

            assert (await kernel.restart_plugin("room")).generation == 2

            assert await kernel.call_tag("room.ask") == {"version": 1, "asked": 1}
            assert (noted(), failures) == ([1, 2], [])
            await clock.advance(5.0)
            assert [str(failure) for failure in failures] == [
                "plugin 'room' (generation 1) was stopped while it answered 'room.hang'"
            ]
            assert noted() == [1, 2, -1]
            assert modules() == ["room@2"]

    async def test_a_start_that_fails_takes_the_old_one_along(self, room: Config) -> None:
        """If the fresh one does not start, what served serves on, with its state, and the error says so."""
        async with Kernel(room, clock=FakeClock()) as kernel:
            await kernel.call_tag("room.ask")
            sys.room_fails = True  # type: ignore[attr-defined]
            with pytest.raises(
                PluginLoadError, match=r"while starting: .*no floor.*; plugin 'room' \(generation 1\) serves on"
            ):
                await kernel.restart_plugin("room")
            assert await kernel.call_tag("room.ask") == {"version": 1, "asked": 2}
            assert modules() == ["room@1"]
            assert described(kernel).state == "serving"
            lifecycle = kernel.statistics().lifecycle
            assert (lifecycle.loads, lifecycle.restarts, lifecycle.load_failures) == (1, 0, 1)
            sys.room_fails = False  # type: ignore[attr-defined]
            assert (await kernel.restart_plugin("room")).old_generation == 1

    async def test_a_failed_plugin_stays_failed(self, room: Config) -> None:
        """One that has failed is loaded from its source again; if that fails too, it says why."""
        edit(room, "VERSION = 1", "VERSION = nonsense")
        async with Kernel(room, clock=FakeClock()) as kernel:
            with pytest.raises(PluginLoadError, match="nonsense"):
                await kernel.restart_plugin("room")
            assert described(kernel).state == "failed"
            with pytest.raises(NoHandlerError):
                await kernel.call_tag("room.ask")
            edit(room, "VERSION = nonsense", "VERSION = 3")
            done = await kernel.restart_plugin("room")
            assert (done.old_generation, done.generation) == (0, described(kernel).generation)
            assert (await kernel.call_tag("room.ask"))["version"] == 3
            assert kernel.statistics().lifecycle.load_failures == 2

    async def test_an_exclusive_plugin_runs_twice(self, room: Config) -> None:
        """The old generation has ended before the fresh one starts; calls made meanwhile wait for that."""
        edit(room, 'name = "room"', 'name = "room"\n    exclusive = True')
        clock = FakeClock()
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await kernel.call_tag("room.ask"))

        async def hang() -> None:
            with pytest.raises(ServiceStoppedError):
                await kernel.call_tag("room.hang", timeout=1000)

        async with Kernel(room, clock=clock) as kernel, anyio.create_task_group() as group:
            group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(kernel.restart_plugin, "room")
            with anyio.fail_after(20):
                while "room.ask" not in kernel.bus.routing.parked_tags:
                    await anyio.sleep(0.001)
                    await clock.advance(0.0)
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert replies == []
            await clock.advance(5.0)
            assert replies == [{"version": 1, "asked": 1}]
            assert noted() == [1, -1, 2]
            assert modules() == ["room@2"]

    async def test_an_exclusive_plugin_that_does_not_start_hangs_its_callers(self, room: Config) -> None:
        """It has failed then, as the old generation had to end before; a later restart brings it back."""
        edit(room, 'name = "room"', 'name = "room"\n    exclusive = True')
        async with Kernel(room, clock=FakeClock()) as kernel:
            sys.room_fails = True  # type: ignore[attr-defined]
            with pytest.raises(PluginLoadError, match="no floor"):
                await kernel.restart_plugin("room")
            assert described(kernel).state == "failed"
            assert modules() == []
            with pytest.raises(ServiceFailedError, match="no floor"):
                await kernel.call_tag("room.ask")
            info = kernel.registry.get_service_info("room")
            assert info is not None
            assert info.status is ServiceStatus.FAILED
            sys.room_fails = False  # type: ignore[attr-defined]
            await kernel.restart_plugin("room")
            assert (await kernel.call_tag("room.ask"))["asked"] == 1

    async def test_a_class_of_the_host_cannot_be_restarted(self) -> None:
        """A class that the host gave is the same class then, in a new instance, with the settings it had."""
        instances: list[Plugin[Any]] = []

        class Pinged(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                instances.append(self)

            @handler
            async def ping(self, request: Ping) -> Pong:
                return Pong(instances.index(self))

        async with Kernel(clock=FakeClock()) as kernel:
            await kernel.add_plugin(Pinged)
            assert await kernel.call(Ping()) == Pong(0)
            await kernel.restart_plugin("pinged")
            assert await kernel.call(Ping()) == Pong(1)
            assert [type(instance) for instance in instances] == [Pinged, Pinged]

    async def test_an_event_is_lost_or_heard_twice(self) -> None:
        """Events that wait when a plugin is restarted are heard by the fresh generation, the one in hand by the old."""
        heard: list[tuple[int, int]] = []
        gate = anyio.Event()

        class Hearer(Plugin):
            @handler
            async def hear(self, note: Note) -> None:
                generation = self.ctx.identity.generation
                if note.number == 0:
                    await gate.wait()
                heard.append((generation, note.number))

        async with Kernel(clock=FakeClock()) as kernel:
            await kernel.add_plugin(Hearer)
            for number in range(4):
                await kernel.publish(Note(number))
            await anyio.wait_all_tasks_blocked()
            await kernel.restart_plugin("hearer")
            await anyio.wait_all_tasks_blocked()
            assert heard == [(2, 1), (2, 2), (2, 3)]
            gate.set()
            await anyio.wait_all_tasks_blocked()
            await kernel.publish(Note(4))
            await anyio.wait_all_tasks_blocked()
            assert heard[3:] == [(1, 0), (2, 4)]

    async def test_the_old_generation_hears_what_comes_after_it(self) -> None:
        """What is published as the fresh generation takes over is heard by that alone."""
        heard: list[tuple[int, int]] = []

        class Hearer(Plugin):
            @handler
            async def hear(self, event: ServiceRegistered) -> None:
                heard.append((self.ctx.identity.generation, event.generation))

        async with Kernel(clock=FakeClock()) as kernel:
            await kernel.add_plugin(Hearer)
            await anyio.wait_all_tasks_blocked()
            heard.clear()
            await kernel.restart_plugin("hearer")
            await anyio.wait_all_tasks_blocked()
            assert heard == [(2, 2)]

    async def test_a_plugin_that_restarts_itself_hangs(self) -> None:
        """The call in which it does is the old generation's, and ends with it."""
        clock = FakeClock()

        class Phoenix(Plugin):
            @handler
            async def burn(self, request: Ping) -> Pong:
                await self.ctx.call(RestartPlugin("phoenix"))
                await anyio.sleep_forever()
                return Pong(1)

        async def call() -> None:
            with pytest.raises(ServiceStoppedError):
                await kernel.call(Ping(), timeout=100)

        async with Kernel(clock=clock) as kernel:
            await kernel.add_plugin(Phoenix)
            async with anyio.create_task_group() as group:
                group.start_soon(call)
                with anyio.fail_after(20):
                    while described(kernel, "phoenix").generation == 1:  # noqa: ASYNC110  # polls what has no event
                        await anyio.sleep(0.001)
                await clock.advance(5.0)
            assert described(kernel, "phoenix").state == "serving"

    async def test_a_cancelled_restart_leaves_half_of_it(self, room: Config) -> None:
        """Cancelled while the fresh one starts, a restart leaves all as it was."""
        edit(room, "if sys.room_fails:", HANGING)
        async with Kernel(room, clock=FakeClock()) as kernel:
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.restart_plugin, "room")
                with anyio.fail_after(20):
                    while noted() != [1, 2]:  # noqa: ASYNC110  # polls what has no event
                        await anyio.sleep(0.001)
                group.cancel_scope.cancel()
            assert (described(kernel).state, described(kernel).generation) == ("serving", 1)
            assert modules() == ["room@1"]
            await kernel.restart_plugin("room")
            assert (await kernel.call_tag("room.ask"))["asked"] == 1

    async def test_turns_get_mixed_up(self, room: Config) -> None:
        """Restarts, quarantines and a removal at once are done one after the other, and leave one state of things."""
        async with Kernel(room, clock=FakeClock()) as kernel:

            async def attempt(what: Any, *args: Any) -> None:
                with suppress(PluginLoadError, PluginNotFoundError):
                    await what(*args)

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(attempt, kernel.restart_plugin, "room")
                    group.start_soon(attempt, kernel.disable_plugin, "room")
                    group.start_soon(attempt, kernel.enable_plugin, "room")
            await attempt(kernel.enable_plugin, "room")
            assert described(kernel).state == "serving"
            serving = described(kernel).generation
            assert sorted(noted()) == sorted([*range(1, serving + 1), *(-number for number in range(1, serving))])
            assert modules() == [f"room@{serving}"]
            async with anyio.create_task_group() as group:
                group.start_soon(attempt, kernel.restart_plugin, "room")
                await anyio.lowlevel.checkpoint()
                group.start_soon(kernel.remove_plugin, "room")
            assert kernel.plugins() == []
            assert modules() == []
            assert sum(noted()) == 0
            with pytest.raises(PluginNotFoundError):
                await kernel.restart_plugin("room")

    async def test_a_host_that_stops_waits_for_a_restart(self, room: Config) -> None:
        """A restart that is under way when the host stops fails, and nothing of it is left."""
        edit(room, "if sys.room_fails:", HANGING)
        failures: list[PluginLoadError] = []

        async def restart() -> None:
            try:
                await kernel.restart_plugin("room")
            except PluginLoadError as exc:
                failures.append(exc)

        async with anyio.create_task_group() as group, Kernel(room, clock=FakeClock()) as kernel:
            group.start_soon(restart)
            with anyio.fail_after(20):
                while noted() != [1, 2]:  # noqa: ASYNC110  # polls what has no event
                    await anyio.sleep(0.001)
        assert len(failures) == 1
        assert modules() == []


class TestQuarantine:
    async def test_callers_are_not_told_why(self, room: Config) -> None:
        """A disabled plugin is stopped and kept: its service is quarantined, its callers are told so, and why."""
        changes: list[ServiceStatusChanged] = []
        async with Kernel(room, clock=FakeClock()) as kernel:
            with kernel.subscribe(ServiceStatusChanged) as events:
                done = await kernel.disable_plugin("room", reason="3 restarts did not help")
                changes.append(await anext(events))
            assert (done.plugin, done.generation) == ("room", 1)
            assert (changes[0].old, changes[0].new) == (ServiceStatus.HEALTHY, ServiceStatus.QUARANTINED)
            assert (described(kernel).state, described(kernel).reason) == ("quarantined", "3 restarts did not help")
            with pytest.raises(
                ServiceQuarantinedError, match=r"\(generation 1\) is quarantined: 3 restarts did not help"
            ):
                await kernel.call_tag("room.ask")
            info = kernel.registry.get_service_info("room")
            assert info is not None
            assert (info.status, info.reason) == (ServiceStatus.QUARANTINED, "3 restarts did not help")
            assert noted() == [1, -1]
            assert kernel.statistics().plugins == {"quarantined": 1}

            await kernel.disable_plugin("room", reason="by hand")
            with pytest.raises(ServiceQuarantinedError, match="by hand"):
                await kernel.call_tag("room.ask")
            assert kernel.statistics().lifecycle.disabled == 1

            assert (await kernel.enable_plugin("room")).generation == 2
            assert (await kernel.call_tag("room.ask"))["asked"] == 1
            info = kernel.registry.get_service_info("room")
            assert info is not None
            assert (info.status, info.generation) == (ServiceStatus.HEALTHY, 2)
            assert modules() == ["room@2"]

    async def test_a_quarantined_plugin_is_brought_back_by_others(self, room: Config) -> None:
        """Neither a restart nor another plugin of its name does that; what serves is not enabled."""

        class Room(Plugin):
            name = "room"

        async with Kernel(room, clock=FakeClock()) as kernel:
            with pytest.raises(PluginLoadError, match="it is serving, not quarantined"):
                await kernel.enable_plugin("room")
            await kernel.call(DisablePlugin("room", reason="sick"))
            with pytest.raises(PluginLoadError, match=r"it is quarantined \(sick\); enable it instead"):
                await kernel.restart_plugin("room")
            with pytest.raises(PluginLoadError, match="the name is taken"):
                await kernel.add_plugin(Room)
            assert described(kernel).state == "quarantined"

    async def test_what_does_not_start_leaves_quarantine(self, room: Config) -> None:
        """If it does not start, it stays where it is, and can be enabled later."""
        async with Kernel(room, clock=FakeClock()) as kernel:
            await kernel.disable_plugin("room", reason="sick")
            sys.room_fails = True  # type: ignore[attr-defined]
            with pytest.raises(HandlerError, match=r"no floor.*; it stays quarantined"):
                await kernel.call(EnablePlugin("room"))
            with pytest.raises(ServiceQuarantinedError, match="sick"):
                await kernel.call_tag("room.ask")
            sys.room_fails = False  # type: ignore[attr-defined]
            await kernel.enable_plugin("room")
            assert (await kernel.call_tag("room.ask"))["asked"] == 1

    async def test_a_wedged_plugin_cannot_be_disabled(self, room: Config) -> None:
        """New callers are told at once; calls in its hands fail when its time to stop is over."""
        clock = FakeClock()
        failures: list[ServiceStoppedError] = []

        async def hang() -> None:
            try:
                await kernel.call_tag("room.hang", timeout=1000)
            except ServiceStoppedError as exc:
                failures.append(exc)

        async with Kernel(room, clock=clock) as kernel, anyio.create_task_group() as group:
            group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            await kernel.disable_plugin("room")
            with pytest.raises(ServiceQuarantinedError, match="it was disabled"):
                await kernel.call_tag("room.ask")
            assert failures == []
            await clock.advance(5.0)
            assert len(failures) == 1
            assert noted() == [1, -1]

    async def test_a_failed_plugin_cannot_be_disabled(self, room: Config) -> None:
        """One that has failed is quarantined too, and loaded from its source when it is enabled."""
        edit(room, "VERSION = 1", "VERSION = nonsense")
        async with Kernel(room, clock=FakeClock()) as kernel:
            await kernel.disable_plugin("room", reason="broken")
            info = kernel.registry.get_service_info("room")
            assert info is not None
            assert info.status is ServiceStatus.QUARANTINED
            edit(room, "VERSION = nonsense", "VERSION = 3")
            await kernel.enable_plugin("room")
            assert (await kernel.call_tag("room.ask"))["version"] == 3

    async def test_a_quarantined_plugin_cannot_be_removed(self, room: Config) -> None:
        """Removed, it is gone: with its code, its service, and what its callers are told."""
        async with Kernel(room, clock=FakeClock()) as kernel:
            await kernel.disable_plugin("room")
            await kernel.remove_plugin("room")
            assert kernel.plugins() == []
            assert kernel.registry.get_service_info("room") is None
            assert modules() == []
            with pytest.raises(ServiceStoppingError):
                await kernel.call_tag("room.ask")

    async def test_its_hooks_are_called(self) -> None:
        """Nothing of a quarantined plugin is asked or heard."""

        class Measured(Plugin):
            @hookimpl
            def collect_metrics(self) -> list[MetricSample]:
                return [MetricSample("one", 1.0, "")]

        async with Kernel(clock=FakeClock()) as kernel:
            await kernel.add_plugin(Measured)
            assert len(list(kernel._hooks.call("collect_metrics"))) == 1
            await kernel.disable_plugin("measured")
            assert list(kernel._hooks.call("collect_metrics")) == []
            await kernel.enable_plugin("measured")
            assert len(list(kernel._hooks.call("collect_metrics"))) == 1
