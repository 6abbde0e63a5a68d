"""The context: what a plugin takes through it comes from the host, and goes back to it."""

from __future__ import annotations

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
