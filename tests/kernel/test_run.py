"""The run of a kernel: it starts and stops, however its body ends and whatever its plugins do."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import (
    Config,
    ConfigError,
    DataFileError,
    HostRunningError,
    Kernel,
    KernelConfig,
    Plugin,
    PluginContext,
    handler,
)
from aetherra.kernel.config import PluginConfig
from aetherra.kernel.testing import FakeClock
from aetherra.registry import AetherraError, Message, Request, connect


class Ask(Request["Answer"], tag="kernel_test.ask"):
    pass


class Answer(Message, tag="kernel_test.answer"):
    pass


class Noted(Plugin):
    """Notes when it is stopped."""

    stopped: bool = False

    async def start(self, ctx: PluginContext) -> None:
        Noted.stopped = False

    async def stop(self) -> None:
        await anyio.lowlevel.checkpoint()
        Noted.stopped = True


class Clinging(Plugin):
    """Its handler ignores cancellation until it is released."""

    release: anyio.Event

    async def start(self, ctx: PluginContext) -> None:
        Clinging.release = anyio.Event()

    @handler
    async def cling_here(self, ask: Ask) -> Answer:
        with anyio.CancelScope(shield=True):
            await self.release.wait()
        return Answer()


def config_in(folder: Path, **kernel: object) -> Config:
    """A configuration with a data directory and no plugins but those that are added."""
    return Config.parse({"kernel": {"discover": False, **kernel}}, root=folder)


async def drive(clock: FakeClock, host: Callable[[anyio.Event], Awaitable[None]], seconds: float) -> None:
    """Run a host, tell it to leave its body, and let time pass."""
    leave = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(host, leave)
        await anyio.wait_all_tasks_blocked()
        leave.set()
        await clock.advance(seconds)


async def cancelled_while_it_starts(plugin: Path, begun: Awaitable[object]) -> None:
    """Start a host of one plugin on a clock that stands still, and cancel it once that has begun."""
    config = Config(
        kernel=KernelConfig(data_dir=None, discover=False),
        plugins={"hanging": PluginConfig(source=str(plugin))},
    )

    async def host() -> None:
        async with Kernel(config, clock=FakeClock()):
            raise AssertionError("it never started")

    async with anyio.create_task_group() as group:
        group.start_soon(host)
        await begun
        group.cancel_scope.cancel()


class TestBody:
    @pytest.mark.parametrize(
        "fault", [ValueError("mine"), SystemExit(3), KeyboardInterrupt(), ExceptionGroup("g", [OSError()])]
    )
    async def test_an_error_of_the_body_comes_out_wrapped(self, fault: BaseException) -> None:
        """What the body raises comes out as it is, once everything has been stopped."""

        async def host() -> None:
            async with Kernel() as kernel:
                await kernel.add_plugin(Noted)
                raise fault

        with pytest.raises(type(fault)) as caught:
            await host()
        assert caught.value is fault
        assert Noted.stopped

    async def test_a_cancelled_body_leaves_plugins_running(self) -> None:
        """A cancelled body stops everything before the cancellation goes on."""
        with anyio.CancelScope() as scope:
            async with Kernel() as kernel:
                await kernel.add_plugin(Noted)
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert Noted.stopped

    async def test_an_early_return_leaves_plugins_running(self) -> None:
        """A body may be left by return."""

        async def host() -> int:
            async with Kernel() as kernel:
                await kernel.add_plugin(Noted)
                return 3

        assert await host() == 3
        assert Noted.stopped


HANGING = """
import anyio, sys
from aetherra.plugins import Plugin

class Hanging(Plugin):
    async def start(self, ctx):
        sys.begun.set()
        {}
"""


class TestStart:
    @pytest.mark.parametrize(
        "hang",
        ["await anyio.sleep_forever()", "await ctx.enter(anyio.create_task_group()); await anyio.sleep_forever()"],
    )
    async def test_a_cancel_during_start_waits_for_a_hanging_plugin(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: str
    ) -> None:
        """A host that is cancelled while a plugin starts stops at once, without any time passing."""
        begun = anyio.Event()
        monkeypatch.setattr(sys, "begun", begun, raising=False)
        (tmp_path / "hanging.py").write_text(HANGING.format(hang))
        await cancelled_while_it_starts(tmp_path / "hanging.py", begun.wait())

    async def test_a_cancel_during_start_waits_for_a_hanging_import(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A host that is cancelled while a plugin is imported stops at once, and leaves the thread behind."""
        begun, release = threading.Event(), threading.Event()
        monkeypatch.setattr(sys, "hanging", (begun, release), raising=False)
        (tmp_path / "hanging.py").write_text("import sys\nsys.hanging[0].set()\nsys.hanging[1].wait(30)\n")
        await cancelled_while_it_starts(tmp_path / "hanging.py", anyio.to_thread.run_sync(begun.wait))
        assert not release.is_set()
        release.set()

    async def test_a_data_dir_that_cannot_be_used_is_wrapped(self, tmp_path: Path) -> None:
        """An error on entering comes out as it is."""
        (tmp_path / ".aetherra").write_text("in the way")
        with pytest.raises(DataFileError):
            async with Kernel(config_in(tmp_path)):
                pass

    async def test_a_socket_that_cannot_be_made_is_wrapped(self, tmp_path: Path) -> None:
        """A control socket that cannot be served ends the start with its own error, and the lock is free again."""
        (tmp_path / ".aetherra/control.sock").mkdir(parents=True)
        with pytest.raises(OSError, match=r"(?i)address|directory|socket|in use|not permitted"):
            async with Kernel(config_in(tmp_path)):
                pass
        (tmp_path / ".aetherra/control.sock").rmdir()
        async with Kernel(config_in(tmp_path)):
            pass

    async def test_a_wrong_configuration_is_started(self, tmp_path: Path) -> None:
        """A wrong key is an error before anything runs."""
        with pytest.raises(ConfigError, match="unknown key 'wrokers'; did you mean 'workers'"):
            config_in(tmp_path, wrokers=3)


class TestControlSocket:
    async def test_other_processes_cannot_call_or_others_can(self, tmp_path: Path) -> None:
        """The socket is for this user alone, answers, and is gone with the host."""
        socket = tmp_path / ".aetherra/control.sock"
        async with Kernel(config_in(tmp_path)):
            assert socket.stat().st_mode & 0o777 == 0o600
            async with connect(socket) as remote:
                assert (await remote.call_tag("kernel.status"))["pid"] > 0
        assert not socket.exists()

    async def test_a_second_host_takes_the_data_dir(self, tmp_path: Path) -> None:
        """A second host over the same data directory is refused, and the first goes on."""
        async with Kernel(config_in(tmp_path)) as kernel:
            with pytest.raises(HostRunningError):
                async with Kernel(config_in(tmp_path)):
                    pass
            async with connect(tmp_path / ".aetherra/control.sock") as remote:
                assert "uptime" in await remote.call_tag("kernel.statistics")
            assert kernel.plugins() == []

    async def test_a_switched_off_socket_is_served(self, tmp_path: Path) -> None:
        """``control_socket: false`` means there is none."""
        async with Kernel(config_in(tmp_path, control_socket=False)):
            assert not (tmp_path / ".aetherra/control.sock").exists()


class TestStop:
    async def test_a_clinging_action_keeps_plugins_from_being_stopped(self, caplog: pytest.LogCaptureFixture) -> None:
        """An action that ignores its cancellation is named; the plugins are stopped within the host's deadline."""
        clock = FakeClock()
        ended: list[str] = []

        async def host(leave: anyio.Event) -> None:
            async with Kernel(clock=clock) as kernel:
                await kernel.add_plugin(Clinging)
                await kernel.add_plugin(Noted)
                await kernel.submit(Ask(), timeout=100.0)
                await leave.wait()
            ended.append("host")

        async def stop_late(leave: anyio.Event) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(host, leave)
                await leave.wait()
                await clock.sleep(9.0)
                assert Noted.stopped
                await clock.sleep(2.5)
                assert "the host cannot end, as this ignores its cancellation: plugin 'clinging', at" in caplog.text
                assert ended == []
                Clinging.release.set()

        await drive(clock, stop_late, 12.0)
        assert ended == ["host"]
        assert "the action queue was not left after" in caplog.text
        assert "in cling_here" in caplog.text
        assert "plugin 'noted'" not in caplog.text

    async def test_a_clinging_remote_call_keeps_plugins_from_being_stopped(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A call over the control socket that ignores its cancellation is named, and left behind."""
        clock = FakeClock()

        async def call() -> None:
            async with connect(tmp_path / ".aetherra/control.sock") as remote:
                with contextlib.suppress(AetherraError):  # it may still be answered, once it lets go
                    await remote.call_tag("kernel_test.ask", timeout=100.0)

        async def host(leave: anyio.Event) -> None:
            async with Kernel(config_in(tmp_path, durability="none"), clock=clock) as kernel:
                await kernel.add_plugin(Clinging)
                await kernel.add_plugin(Noted)
                calling.start_soon(call)
                while not any(route.statistics().in_hand for route in kernel.bus.routes()):
                    await anyio.lowlevel.checkpoint()
                ready.set()
                await leave.wait()

        leave, ready = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as calling, anyio.create_task_group() as group:
            group.start_soon(host, leave)
            await ready.wait()
            leave.set()
            try:
                await clock.advance(10.0)
            finally:
                Clinging.release.set()
            assert Noted.stopped
            assert (
                "the control socket was not left after 2.5 s, as this is in hand: plugin 'clinging', at" in caplog.text
            )
            Clinging.release.set()

    async def test_actions_in_hand_are_cut(self) -> None:
        """An action that runs when the host stops may finish."""
        release = anyio.Event()

        class Slow(Plugin):
            @handler
            async def answer(self, ask: Ask) -> Answer:
                await release.wait()
                return Answer()

        async with anyio.create_task_group() as group:

            async def free() -> None:
                await anyio.wait_all_tasks_blocked()
                release.set()

            async with Kernel(clock=FakeClock()) as kernel:
                await kernel.add_plugin(Slow)
                handle = await kernel.submit(Ask())
                await anyio.wait_all_tasks_blocked()
                group.start_soon(free)
            assert await handle.wait() == Answer()
