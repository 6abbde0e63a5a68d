"""The kernel: with nothing given, while it does not run, and with plugins."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import (
    Config,
    Kernel,
    KernelConfig,
    KernelNotRunningError,
    PluginDefinitionError,
)
from aetherra.kernel.config import PluginConfig
from aetherra.kernel.testing import FakeClock
from aetherra.registry import HandlerError, NoHandlerError
from tests.kernel.conftest import Answer, Ask, Room


class TestBare:
    def test_it_writes_to_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
        """``Kernel()`` alone writes nothing to disk."""
        monkeypatch.chdir(tmp_path)
        anyio.run(self.test_it_has_plugins, backend=anyio_backend)
        assert list(tmp_path.iterdir()) == []

    async def test_it_has_plugins(self) -> None:
        """``Kernel()`` alone has no plugins."""
        async with Kernel() as kernel:
            assert kernel.plugins() == []
            assert [info.name for info in kernel.registry.list()] == ["kernel"]
            assert kernel.statistics().plugins == {}
            handle = await kernel.submit(Ask(), deadline=0.5)
            assert handle.trace_id

    async def test_it_is_used_while_it_does_not_run(self) -> None:
        """Before and after its block a kernel says that it does not run, and it runs once."""
        kernel = Kernel()
        with pytest.raises(KernelNotRunningError):
            await kernel.call(Ask())
        async with kernel:
            assert kernel.plugins() == []
        with pytest.raises(KernelNotRunningError):
            kernel.plugins()
        with pytest.raises(RuntimeError, match="a kernel runs once; make another one"):
            await kernel.__aenter__()
        assert kernel.registry.get_service_info("kernel") is None


COUNTING = """
from aetherra.plugins import Message, Plugin, Request, handler

class Count(Request["Counted"], tag="kernel_test.count"): ...
class Counted(Message, tag="kernel_test.counted"):
    number: int

class Counting(Plugin):
    number = 0

    @handler
    async def count(self, _: Count) -> Counted:
        Counting.number += 1
        return Counted(Counting.number)
"""


class TestPlugins:
    async def test_two_kernels_in_a_process_share_a_plugin(self, tmp_path: Path) -> None:
        """The same plugin file of two kernels is loaded twice, and freed by each."""
        (tmp_path / "counting.py").write_text(COUNTING)
        config = Config(
            kernel=KernelConfig(data_dir=None, discover=False),
            plugins={"counting": PluginConfig(source=str(tmp_path / "counting.py"))},
        )
        async with Kernel(config) as first:
            async with Kernel(config) as second:
                for kernel in (first, first, second):
                    last = await kernel.call_tag("kernel_test.count")
                assert last == {"number": 1}
            assert await first.call_tag("kernel_test.count") == {"number": 3}
            refs = [weakref.ref(sys.modules[name]) for name in sys.modules if name.startswith("counting@")]
            assert len(refs) == 1
        gc.collect()
        assert [ref() for ref in refs] == [None]

    @pytest.mark.parametrize("given", [dict, 3, Room(), "room"], ids=["class", "number", "instance", "name"])
    async def test_what_is_no_plugin_class_is_added(self, given: Any) -> None:
        """It is refused as that, and nothing is left."""
        async with Kernel() as kernel:
            with pytest.raises(PluginDefinitionError, match="expected a subclass of Plugin, got"):
                await kernel.add_plugin(given)
            assert kernel.plugins() == []

    async def test_a_plugin_added_in_the_body_is_not_answering(self) -> None:
        """What is added serves when ``add_plugin`` returns, and no more once it is removed."""
        async with Kernel(clock=FakeClock()) as kernel:
            await kernel.add_plugin(Room)
            assert await kernel.call(Ask("who?")) == Answer("who?")
            assert await kernel.call_tag("generation_test.ask") == {"text": ""}
            assert await kernel.publish(Answer()) == 0
            with kernel.subscribe("generation_test.*") as events:
                await kernel.publish(Answer())
                assert await anext(events) == Answer()
            await kernel.remove_plugin("room")
            with pytest.raises(NoHandlerError):
                await kernel.call(Ask())

    async def test_a_kernel_handler_that_raises_ends_the_host(self) -> None:
        """A wrong request to the kernel itself is its caller's error."""
        async with Kernel() as kernel:
            with pytest.raises(HandlerError, match="PluginNotFoundError"):
                await kernel.call_tag("kernel.remove_plugin", {"plugin": "nobody"})
            assert kernel.plugins() == []
