"""The context: what a plugin takes through it comes from the host, and goes back to it."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import anyio
import pytest

from aetherra.kernel import (
    ActionPriority,
    Config,
    Kernel,
    MetricSample,
    Plugin,
    PluginContext,
    PrivilegeError,
    handler,
    hookimpl,
)
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import Message, NoHandlerError, Request, ServiceStatus


class Ask(Request["Answer"], tag="context_test.ask"):
    what: str = ""


class Answer(Message, tag="context_test.answer"):
    text: str = ""


class Room(Plugin):
    @handler
    async def answer(self, ask: Ask) -> Answer:
        return Answer(ask.what)

    @hookimpl
    def collect_metrics(self) -> list[MetricSample]:
        return [MetricSample("rooms", 1.0, "")]


def config_in(folder: Path) -> Config:
    """A configuration with a data directory."""
    return Config.parse({"kernel": {"discover": False, "control_socket": False}}, root=folder)


class TestMessages:
    async def test_a_plugin_cannot_call_publish_or_submit(self) -> None:
        """Calls by class and by name, events and actions go through the context."""
        async with run_plugin(Room) as kernel, anyio.create_task_group():
            room = kernel._running().plugins.entry("room").generation
            assert room is not None
            ctx = room.context
            assert await ctx.call(Ask("a")) == Answer("a")
            assert await ctx.call_tag("context_test.ask", {"what": "b"}) == {"text": "b"}
            handle = await ctx.submit(Ask("c"), priority=ActionPriority.HIGH)
            assert await handle.wait() == Answer("c")
            with kernel.subscribe(Answer) as events:
                assert await ctx.publish(Answer("d")) == 1
                assert await anext(events) == Answer("d")
            with pytest.raises(NoHandlerError):
                await ctx.call_tag("context_test.nobody")

    async def test_hooks_cannot_be_asked(self) -> None:
        """All plugins can be asked something through the context, under their names."""
        async with run_plugin(Room) as kernel:
            room = kernel._running().plugins.entry("room").generation
            assert room is not None
            assert list(room.context.hooks.call("collect_metrics")) == [("room", (MetricSample("rooms", 1.0, ""),))]


class TestStanding:
    async def test_it_is_somebody_elses(self, tmp_path: Path) -> None:
        """Name, identity, log, clock and root are the plugin's and the host's."""
        clock = FakeClock()
        seen: list[PluginContext] = []

        class Curious(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                assert self.ctx is ctx
                seen.append(ctx)

        async with Kernel(config_in(tmp_path), clock=clock) as kernel:
            await kernel.add_plugin(Curious)
            (ctx,) = seen
            assert (ctx.name, ctx.log.name, ctx.root) == ("curious", "aetherra.plugins.curious", tmp_path)
            assert str(ctx.identity) == "plugin 'curious' (generation 1)"
            assert ctx.clock is clock
            assert ctx.registry is kernel.registry
            ctx.set_status(ServiceStatus.DEGRADED, "cold")
            assert (info := kernel.registry.get_service_info("curious")) is not None
            assert (info.status, info.reason) == ("degraded", "cold")

    async def test_its_folder_is_shared_or_open(self, tmp_path: Path) -> None:
        """The plugin's folder is its own, made on first use, for this user alone; in memory there is none."""
        folders: list[Path | None] = []

        class Keeping(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                folders.append(ctx.data_dir)

        async with Kernel(config_in(tmp_path)) as kernel:
            await kernel.add_plugin(Keeping)
        async with Kernel() as kernel:
            await kernel.add_plugin(Keeping)
        folder = tmp_path / ".aetherra/keeping"
        assert folders == [folder, None]
        assert folder.stat().st_mode & 0o777 == 0o700

    async def test_a_privilege_is_taken(self, tmp_path: Path) -> None:
        """A privilege is the configuration's to grant, or asked for by a class that the host gave."""
        got: list[object] = []

        class Asking(Plugin):
            privileges = ("kernel:swap", "kernel:nothing")

            async def start(self, ctx: PluginContext) -> None:
                got.append(ctx.privilege("kernel:swap"))
                for name in ("kernel:nothing", "kernel:other"):
                    with pytest.raises(PrivilegeError, match=f"plugin 'asking' asks for '{name}'; grant it with"):
                        ctx.privilege(name)

        text = "from aetherra.plugins import Plugin\nclass File(Plugin):\n    privileges = ('kernel:swap',)\n"
        text += "    async def start(self, ctx): ctx.privilege('kernel:swap')\n"
        (tmp_path / "file.py").write_text(text)
        async with Kernel() as kernel:
            await kernel.add_plugin(Asking)
        assert len(got) == 1
        for grants, state in (([], "failed"), (["kernel:swap"], "serving")):
            document = {
                "kernel": {"discover": False, "data_dir": None},
                "plugins": {"file": {"source": "file.py", "grants": grants}},
            }
            async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
                assert [info.state for info in kernel.plugins()] == [state]


class TestResources:
    async def test_something_is_taken_after_the_end(self) -> None:
        """A plugin that is stopped can start no task and take nothing more."""
        seen: list[PluginContext] = []

        class Late(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                seen.append(ctx)
                await ctx.run_sync(lambda: None)

        async with run_plugin(Late) as kernel:
            await kernel.remove_plugin("late")
            (ctx,) = seen
            with pytest.raises(RuntimeError, match=r"plugin 'late' \(generation 1\) is not running"):
                ctx.start_soon(anyio.sleep_forever)
            with pytest.raises(RuntimeError, match="can take nothing more"):
                ctx.defer(lambda: None)
            with pytest.raises(RuntimeError, match="can take nothing more"):
                await ctx.enter(anyio.create_task_group())

    async def test_a_log_handler_outlives_its_plugin(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is on its logger, the root by default, until the plugin ends, and then flushed and closed."""
        done: list[str] = []

        class Noting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                done.append(record.getMessage())

            def flush(self) -> None:
                done.append("flush")

            def close(self) -> None:
                done.append("close")
                super().close()

        handler = Noting()

        class Listener(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.add_log_handler(handler, "context_test")
                with pytest.raises(ValueError, match="logger 'context_test' is there already"):
                    ctx.add_log_handler(handler, "context_test")
                ctx.add_log_handler(logging.NullHandler())

        on_root = list(logging.root.handlers)
        async with run_plugin(Listener) as kernel:
            assert len(logging.root.handlers) == len(on_root) + 1
            logging.getLogger("context_test").warning("heard")
            await kernel.remove_plugin("listener")
            logging.getLogger("context_test").warning("unheard")
        assert done == ["heard", "flush", "close"]
        assert logging.root.handlers == on_root
        assert handler not in logging.getLogger("context_test").handlers

    async def test_threads_and_folders_outlive_their_plugin(self) -> None:
        """A thread is told to end and the folder removed after it; both carry the plugin's name."""
        seen: list[tuple[str, bool]] = []
        folders: list[Path] = []

        class Worker(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                folders.append(ctx.temporary_folder())
                ctx.start_thread(self.work, folders[0], name="writing")

            def work(self, stop: threading.Event, folder: Path) -> None:
                stop.wait(10.0)
                seen.append((threading.current_thread().name, folder.is_dir()))

        async with run_plugin(Worker) as kernel:
            await kernel.remove_plugin("worker")
            assert seen == [("worker: writing", True)]
            assert folders[0].name.startswith("aetherra-worker-1-")
            assert not folders[0].exists()

    async def test_a_thread_fails_unseen(self) -> None:
        """What it raises makes the plugin degraded, as in a task."""

        class Worker(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.start_thread(self.work)

            def work(self, _: threading.Event) -> None:
                raise ValueError("no ink")

        async with run_plugin(Worker) as kernel:
            with anyio.fail_after(10):
                while (info := kernel.registry.list()[-1]).status is ServiceStatus.HEALTHY:  # noqa: ASYNC110
                    await anyio.sleep(0.001)  # what a thread brings about has no event
            assert info.name == "worker"
            assert info.status is ServiceStatus.DEGRADED
            assert "Worker.work'" in info.reason
            assert "no ink" in info.reason

    async def test_a_thread_that_does_not_end_is_not_named(self, caplog: pytest.LogCaptureFixture) -> None:
        """After ``stop_timeout`` the log has its name and its line, and the plugin's end goes on without it."""
        release = threading.Event()
        left: list[bool] = []

        class Worker(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.defer(lambda: left.append(True))
                ctx.start_thread(self.work)

            def work(self, _: threading.Event) -> None:
                release.wait(60.0)

        clock = FakeClock()
        try:
            async with run_plugin(Worker, clock=clock) as kernel, anyio.create_task_group() as group:
                group.start_soon(kernel.remove_plugin, "worker")
                await clock.advance(30.0)
            assert left == [True]
            assert "release.wait(60.0)" in caplog.text
            assert "Worker.work'" in caplog.text
        finally:
            release.set()
