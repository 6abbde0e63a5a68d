"""The plugin manager: order, requirements, names, and plugins that fail beside others that do not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import (
    Config,
    Kernel,
    Plugin,
    PluginContext,
    PluginLoadError,
    PluginNotFoundError,
    Settings,
    Swapper,
)
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Identity, NoHandlerError, ServiceFailedError, ServiceStartingError, ServiceStoppingError
from tests.kernel.conftest import HEADER, files, reason, states

NOTE = """async def start(self, ctx): sys.order.append('start {0}')
    async def stop(self): sys.order.append('stop {0}')
    requires = {1!r}"""


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What plugins made with ``NOTE`` do, in order."""
    noted: list[str] = []
    monkeypatch.setattr(sys, "order", noted, raising=False)
    return noted


class TestOrder:
    async def test_a_plugin_starts_before_what_it_requires(self, tmp_path: Path, order: list[str]) -> None:
        """Plugins start after what they require and stop before it."""
        config = files(
            tmp_path,
            a=NOTE.format("a", ()),
            b=NOTE.format("b", ("a",)),
            c=NOTE.format("c", ("b", "a")),
        )
        async with Kernel(config) as kernel:
            assert set(states(kernel).values()) == {"serving"}
        assert order == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]

    async def test_a_removed_plugin_leaves_those_that_require_it(self, tmp_path: Path, order: list[str]) -> None:
        """Removing a plugin stops those that require it first, and forgets them too."""
        config = files(tmp_path, a=NOTE.format("a", ("b",)), b=NOTE.format("b", ()), c=NOTE.format("c", ()))
        async with Kernel(config) as kernel:
            await kernel.remove_plugin("b")
            assert states(kernel) == {"c": "serving"}
            assert order[-2:] == ["stop a", "stop b"]
            with pytest.raises(PluginNotFoundError, match="there is no plugin 'b' here; there are: c"):
                await kernel.remove_plugin("b")

    async def test_a_plugin_for_another_api_is_started(self, tmp_path: Path) -> None:
        """It fails with what it requires and what is here."""
        async with Kernel(files(tmp_path, future="requires = ('aetherra-api>=99',)")) as kernel:
            assert "it requires 'aetherra-api>=99', this host has aetherra-api 1" in reason(kernel, "future")


class TestNames:
    async def test_what_is_nowhere_keeps_out_who_brings_it(self, site: Path) -> None:
        """A plugin that is configured and nowhere has failed, counts as not there, and gives its name and grants."""
        (site / "one.py").write_text(f"{HEADER}class P(Plugin):\n    name = 'one'\n")
        section = PluginConfig(grants=("call:two.*",))
        config = Config(kernel=KernelConfig(data_dir=None, discover=False), plugins={"one": section}, root=site)
        async with Kernel(config) as kernel:
            plugins = kernel._running().plugins
            swapper = Swapper(plugins._host, plugins)
            assert states(kernel) == {"one": "failed"}
            assert swapper.is_wanted("one")
            assert swapper.states() == {}
            await swapper.add("one", site / "one.py")
            assert states(kernel) == {"one": "serving"}
            assert not swapper.is_wanted("one")
            identity = Identity("plugin", "one", kernel.plugins()[0].generation)
            assert kernel.registry.bus.capabilities.covers(identity, "call", "two.ask")

    async def test_a_service_or_tag_has_two_owners(self, tmp_path: Path) -> None:
        """The second plugin that answers a tag or provides a service fails, and says with whom it collides."""
        ask = "class Ask(Request[None], tag='manager_test.ask'): pass\n"
        answering = ask + "class P(Plugin):\n    name = {!r}\n    requires = {!r}\n"
        answering += "    @handler\n    async def on(self, a: Ask) -> None: ...\n"
        config = files(
            tmp_path,
            first=answering.format("first", ()),
            second=answering.format("second", ("first",)),
            third="requires = ('first',)\n    service = 'first'",
        )
        async with Kernel(config) as kernel:
            assert states(kernel) == {"first": "serving", "second": "failed", "third": "failed"}
            assert (
                "offers a handler for 'manager_test.ask', which plugin 'first' (generation 1) already answers"
                in reason(kernel, "second")
            )
            assert "wants to provide service 'first', which plugin 'first' (generation 1) already" in reason(
                kernel, "third"
            )
            assert await kernel.call_tag("manager_test.ask") is None


class TestFailure:
    @pytest.mark.parametrize(
        ("where", "fault"),
        [
            (where, fault)
            for where in ("{}", "def __init__(self, s): {}", "async def start(self, ctx): {}")
            for fault in ("raise ValueError('broken here')", "sys.exit(3)")
        ]
        + [("{}", "raise KeyboardInterrupt")],
    )
    async def test_a_broken_plugin_harms_another(
        self, tmp_path: Path, where: str, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever its import, ``__init__`` or start raises, it is listed with the reason and its service is failed."""
        async with Kernel(files(tmp_path, bad=where.format(fault), good="pass")) as kernel:
            assert states(kernel) == {"bad": "failed", "good": "serving"}
            info = kernel.registry.get_service_info("bad")
            assert info is not None
            assert (info.status, info.reason) == ("failed", reason(kernel, "bad"))
            assert ("broken here" in info.reason) or ("sys.exit(3)" in info.reason) or ("Keyboard" in info.reason)
            assert str(tmp_path / "bad.py") in caplog.text
            assert not any(name.startswith("bad@") for name in sys.modules)
            assert kernel.statistics().plugins == {"failed": 1, "serving": 1}
            assert kernel.health().overall.status == "degraded"
            await kernel.remove_plugin("bad")
            assert kernel.registry.get_service_info("bad") is None

    async def test_a_failed_add_forgets_what_was_listed(self, tmp_path: Path) -> None:
        """A class that cannot take the place of a failed plugin leaves its record; one that can takes it over."""

        class Bad(Plugin):
            broken = True

            async def start(self, ctx: PluginContext) -> None:
                if self.broken:
                    raise ValueError("still broken")

        async with Kernel(files(tmp_path, bad="raise ValueError('at first')  # class")) as kernel:
            with pytest.raises(PluginLoadError, match="still broken"):
                await kernel.add_plugin(Bad)
            assert "at first" in reason(kernel, "bad")
            assert (info := kernel.registry.get_service_info("bad")) is not None
            assert info.status == "failed"
            Bad.broken = False
            await kernel.add_plugin(Bad)
            assert (info := kernel.registry.get_service_info("bad")) is not None
            assert info.status == "healthy"
            assert states(kernel) == {"bad": "serving"}


class Sized(Settings):
    size: int = 1


class Plain(Plugin[Sized]):
    pass


class TestAdd:
    async def test_an_added_plugin_does_not_serve(self) -> None:
        """The snapshot says all; settings come as a mapping, as their class, or from the configuration."""
        config = Config(
            kernel=KernelConfig(data_dir=None, discover=False), plugins={"plain": PluginConfig(settings={"size": 5})}
        )
        async with Kernel(config.in_memory()) as kernel:
            info = await kernel.add_plugin(Plain, settings={"size": 2})
            assert (info.name, info.state, info.generation, info.service) == ("plain", "serving", 1, "plain")
            await kernel.remove_plugin("plain")
            await kernel.add_plugin(Plain, settings=Sized(size=3))
            with pytest.raises(PluginLoadError, match="the name is taken"):
                await kernel.add_plugin(Plain)
            await kernel.remove_plugin("plain")
            with pytest.raises(
                PluginLoadError, match=r"settings of plugin 'plain': `\$\.size`: expected `int`, got `str`"
            ):
                await kernel.add_plugin(Plain, settings={"size": "big"})
            assert kernel.plugins() == []

    async def test_a_cancelled_add_leaves_a_plugin(self) -> None:
        """Nothing is left of a plugin whose addition was given up, and nobody waits for it."""

        class Slow(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                await anyio.sleep_forever()

        class Waiting(Plugin):
            requires = ("slow",)

        async with Kernel(clock=FakeClock()) as kernel:

            async def add_waiting() -> None:
                with pytest.raises(PluginLoadError, match="requires plugin 'slow', which is failed"):
                    await kernel.add_plugin(Waiting)

            async with anyio.create_task_group() as outer, anyio.create_task_group() as group:
                group.start_soon(kernel.add_plugin, Slow)
                await anyio.wait_all_tasks_blocked()
                outer.start_soon(add_waiting)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            assert kernel.plugins() == []

    async def test_two_removals_stop_it_twice(self) -> None:
        """A plugin that is being removed is not stopped again, and its name is free for another at once."""
        stops: list[str] = []
        release = anyio.Event()

        class Slow(Plugin):
            async def stop(self) -> None:
                stops.append("stop")
                await release.wait()

        again: type[Plugin[Any]] = type("Slow", (Plugin,), {"__module__": __name__})
        async with Kernel(clock=FakeClock()) as kernel:
            await kernel.add_plugin(Slow)
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.remove_plugin, "slow")
                await anyio.wait_all_tasks_blocked()
                await kernel.remove_plugin("slow")
                await kernel.add_plugin(again)
                release.set()
            assert stops == ["stop"]
            assert states(kernel) == {"slow": "serving"}


class TestStopAll:
    async def test_a_stuck_plugin_holds_up_those_it_does_not_concern(self, caplog: pytest.LogCaptureFixture) -> None:
        """A stop is bounded by the host's deadline, at which the stuck ones are named with where they wait."""
        clock = FakeClock()
        stopped: dict[str, float] = {}

        class Quick(Plugin):
            async def stop(self) -> None:
                stopped["quick"] = clock.monotonic()

        class Stuck(Plugin):
            async def stop(self) -> None:
                await anyio.sleep_forever()  # the line

        config = Config(kernel=KernelConfig(data_dir=None, discover=False, stop_timeout=100.0, shutdown_timeout=10.0))
        leave = anyio.Event()

        async def host() -> None:
            async with Kernel(config, clock=clock) as kernel:
                await kernel.add_plugin(Quick)
                await kernel.add_plugin(Stuck)
                await leave.wait()
            stopped["host"] = clock.monotonic()

        async with anyio.create_task_group() as group:
            group.start_soon(host)
            await anyio.wait_all_tasks_blocked()
            leave.set()
            await clock.advance(20.0)
        assert stopped == {"quick": 0.0, "host": 10.0}
        assert "plugin 'stuck' (generation 1) was not stopped in time; it waits at" in caplog.text
        assert "await anyio.sleep_forever()  # the line" in caplog.text
        assert "plugin 'quick'" not in caplog.text


ASKED = """
class Ask(Request[None], tag="{name}.ask"):
    pass

class P(Plugin):
    name = "{name}"

    @handler
    async def ask(self, _: Ask) -> None:
        pass

    async def start(self, ctx):
        {start}
"""


class TestAbsence:
    async def test_a_failed_plugins_callers_hear_that_nobody_answers(self, tmp_path: Path) -> None:
        """They hear that it failed, and why; those of one that is removed, that it was stopped."""
        config = files(
            tmp_path, broken=ASKED.format(name="broken", start="1 / 0"), sound=ASKED.format(name="sound", start="pass")
        )
        async with Kernel(config) as kernel:
            with pytest.raises(ServiceFailedError, match=r"'broken\.ask' is not answered.*has failed.*ZeroDivision"):
                await kernel.call_tag("broken.ask")
            assert await kernel.call_tag("sound.ask") is None
            await kernel.remove_plugin("sound")
            with pytest.raises(ServiceStoppingError, match=r"plugin 'sound' .* was stopped"):
                await kernel.call_tag("sound.ask")

    async def test_a_starting_plugins_callers_wait_or_hear_nothing(self, tmp_path: Path) -> None:
        """While it starts, its callers are told so at once; then it answers."""
        clock = FakeClock()
        config = files(tmp_path, slow=ASKED.format(name="slow", start="await ctx.clock.sleep(5.0)"))
        kernel = Kernel(config, clock=clock)
        errors: list[Exception] = []

        async def run(ready: anyio.Event, done: anyio.Event) -> None:
            async with kernel:
                assert await kernel.call_tag("slow.ask") is None
                ready.set()
                await done.wait()

        ready, done = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(run, ready, done)
            while not errors:
                try:
                    await kernel.bus.call_tag("slow.ask")
                except ServiceStartingError as exc:
                    errors.append(exc)
                except NoHandlerError:  # its code is being imported, so nobody knows its tags yet
                    await anyio.sleep(0.001)
            await clock.advance(5.0)
            await ready.wait()
            done.set()
        assert "is starting" in str(errors[0])
