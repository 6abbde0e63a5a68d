"""The watchdog: who held the event loop. The only tests that take real time, some tenths of a second."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import FrameType

import anyio
import pytest

from aetherra.kernel import Config, Kernel, KernelConfig, LoopBlocked, Plugin, handler
from aetherra.kernel.code import CodeGeneration
from aetherra.kernel.config import PluginConfig
from aetherra.kernel.watchdog import Watchdog, owner_of
from aetherra.registry import Bus, Request, Subscription

THRESHOLD = 0.05


class Block(Request[None], tag="watchdog_test.block"):
    pass


def block_here() -> None:
    """Hold the thread for long enough to be seen."""
    time.sleep(10 * THRESHOLD)


class Blocking(Plugin):
    @handler
    async def block(self, block: Block) -> None:
        block_here()


async def told_of(plugin: str, events: Subscription[LoopBlocked]) -> LoopBlocked:
    """Return the next event of a block by a plugin: a busy machine stands still by itself now and then, too."""
    while (event := await anext(events)).plugin != plugin:
        pass
    return event


def config(**plugins: str) -> Config:
    """A configuration with a short threshold."""
    return Config(
        kernel=KernelConfig(data_dir=None, discover=False, block_threshold=THRESHOLD),
        plugins={name: PluginConfig(source=source) for name, source in plugins.items()},
    )


class TestBlock:
    async def test_a_blocking_plugin_is_not_named(self, caplog: pytest.LogCaptureFixture) -> None:
        """The plugin is counted, logged with the line, and told of by an event once the loop goes on."""
        async with Kernel(config()) as kernel:
            await kernel.add_plugin(Blocking)
            with kernel.subscribe(LoopBlocked) as events:
                await kernel.call(Block())
                event = await told_of("blocking", events)
            assert event.seconds > THRESHOLD
            assert "in block_here" in event.stack
            numbers = kernel.statistics().loop
            assert numbers.blocked["blocking"] == 1
            assert numbers.lag_max > THRESHOLD
            assert (await kernel.call_tag("kernel.status"))["blocked_by"]["blocking"] == 1
        assert "plugin 'blocking' blocks the event loop for more than 0.05 s" in caplog.text

    async def test_a_function_of_a_plugins_module_is_not_named(self, tmp_path: Path) -> None:
        """Code of a plugin's module is known by its module, without any ``self``."""
        # It waits at first: a start that takes long on a busy machine is a block too, until the loop has gone on.
        hold = f"async def hold():\n    await anyio.sleep({4 * THRESHOLD})\n    time.sleep({10 * THRESHOLD})\n"
        text = f"import time\nimport anyio\nfrom aetherra.plugins import Plugin\n{hold}"
        start = "class Held(Plugin):\n    async def start(self, ctx): ctx.start_soon(hold)\n"
        (tmp_path / "held.py").write_text(text + start)
        async with Kernel(config(held=str(tmp_path / "held.py"))) as kernel:
            with kernel.subscribe(LoopBlocked) as events:
                if "held" not in kernel.statistics().loop.blocked:
                    await told_of("held", events)
            assert kernel.statistics().loop.blocked["held"] == 1

    async def test_every_block_fills_the_log_with_a_stack(self, caplog: pytest.LogCaptureFixture) -> None:
        """The first one is shown from where the plugin was called, without the host above; later ones take a line."""
        async with Kernel(config()) as kernel:
            await kernel.add_plugin(Blocking)
            with kernel.subscribe(LoopBlocked) as events:
                for _ in range(2):
                    await kernel.call_tag("watchdog_test.block")
                    assert "run_forever" not in (await told_of("blocking", events)).stack
        said = [record.getMessage() for record in caplog.records]
        first, second = [text for text in said if text.startswith("plugin 'blocking' blocks the event")]
        assert "time.sleep" in first
        assert "run_forever" not in first
        assert second.endswith("for the 2. time; the event tells where")

    async def test_the_hosts_own_block_is_put_on_a_plugin(self) -> None:
        """A block by nobody that is known is counted under no name."""
        async with Kernel(config()) as kernel:
            await kernel.add_plugin(Blocking)
            with kernel.subscribe(LoopBlocked) as events:
                block_here()
                assert (await anext(events)).plugin == ""
            assert set(kernel.statistics().loop.blocked) == {""}

    async def test_a_block_that_nobody_could_look_at_is_missed(self) -> None:
        """One that holds the interpreter, too, so that no thread can look, is counted once it is over."""
        bus = Bus()
        watchdog = Watchdog(bus, threshold=THRESHOLD)
        with bus.subscribe(LoopBlocked) as events:
            watchdog._beat(late=THRESHOLD)
            watchdog._beat(late=3 * THRESHOLD)
            assert events.mailbox.get_nowait().event == LoopBlocked("", 3 * THRESHOLD, "  (nobody could look)")
            with pytest.raises(anyio.WouldBlock):
                events.mailbox.get_nowait()
        assert watchdog.statistics().blocked == {"": 1}


class Framed(Plugin):
    def frame(self) -> FrameType:
        return sys._getframe()


class TestOwner:
    def test_a_frame_is_put_on_another(self, tmp_path: Path) -> None:
        """A frame belongs to the plugin whose module or method it runs, the innermost that tells."""
        (tmp_path / "room.py").write_text("import sys\ndef frame(): return sys._getframe()\n")
        code = CodeGeneration("room", 1, tmp_path / "room.py", "room")
        of_module, of_method = code.load().frame(), Framed().frame()
        assert owner_of([of_module]) == "room"
        assert owner_of([of_method]) == "framed"
        assert owner_of([sys._getframe(), of_module, of_method]) == "room"
        assert owner_of([sys._getframe(), of_method, of_module]) == "framed"
        assert owner_of([sys._getframe()]) == ""
        code.unload()


class TestThread:
    async def test_it_outlives_the_watchdog(self) -> None:
        """The watching thread ends with the watchdog."""
        watchdog = Watchdog(Bus(), threshold=THRESHOLD)
        async with anyio.create_task_group() as group:
            group.start_soon(watchdog.run)
            await anyio.wait_all_tasks_blocked()
            assert not watchdog._ended.is_set()
            group.cancel_scope.cancel()
        assert watchdog._ended.is_set()
