"""The footprint of a plugin: what it keeps is found, what others keep is not, and the loop goes on meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aetherra.kernel import Config, GetFootprint, Kernel, Plugin, PluginNotFoundError
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.kernel.footprint import PIECE, SLICE, footprint_of
from aetherra.registry import HandlerError, Message

MB = 1_000_000


class Kept(Message, tag="footprint_test.kept"):
    data: bytes


class Keeper(Plugin):
    """Keeps what tests give it."""

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.kept: Any = None


class Neighbour(Keeper):
    """Another."""

    name = "neighbour"


def instance(kernel: Kernel, name: str = "keeper") -> Any:
    """Return a plugin's object."""
    generation = kernel._running().plugins.entry(name).generation
    assert generation is not None
    return generation.plugin


async def weigh(kernel: Kernel, name: str = "keeper", **options: int) -> tuple[int, int, bool]:
    """Return bytes, objects, and whether that is all."""
    weight = await footprint_of(name, kernel._running().plugins, **options)
    return weight.bytes, weight.objects, weight.complete


def blocks(megabytes: int, size: int = MB) -> list[bytes]:
    """Return so much, in blocks."""
    return [bytes(size) for _ in range(megabytes * MB // size)]


def grown(megabytes: float) -> Any:
    """What a measure of so much may be: within 20 %."""
    return pytest.approx(megabytes * MB, rel=0.2)


class TestWeight:
    @pytest.mark.parametrize("size", [MB, 1000])
    async def test_a_plugin_that_leaks_weighs_nothing(self, size: int) -> None:
        """50 MB in a list on its object are found, in big blocks or small ones."""
        async with Kernel() as kernel:
            await kernel.add_plugin(Keeper)
            empty, _, complete = await weigh(kernel)
            assert complete
            assert empty < MB / 100
            instance(kernel).kept = blocks(50, size)
            footprint = await kernel.call(GetFootprint("keeper"))
            assert footprint.bytes - empty == grown(50)
            assert footprint.objects >= 50 * MB // size
            assert footprint.complete

    async def test_a_kind_of_container_is_overlooked(self) -> None:
        """It follows what is inside dicts, objects, closures, messages, and a task's own generator."""

        class Cache(dict[str, Any]):
            pass

        def close_over(data: bytes) -> Any:
            return lambda: data

        def hold(data: bytes) -> Any:
            yield data

        async with Kernel() as kernel:
            await kernel.add_plugin(Keeper)
            plugin = instance(kernel)
            empty, _, _ = await weigh(kernel)
            cache = Cache(a={"b": (bytes(MB), {frozenset([bytes(MB)])})})
            cache.extra = bytearray(MB)  # type: ignore[attr-defined]
            waiting = hold(bytes(MB))
            next(waiting)
            plugin.kept = [cache, close_over(bytes(MB)), Kept(bytes(MB)), waiting, plugin]
            assert (await weigh(kernel))[0] - empty == grown(6)

    async def test_the_code_of_a_plugin_weighs_nothing(self, tmp_path: Path) -> None:
        """What stands in the globals of its modules, and in its classes, is its own."""
        (tmp_path / "shelf.py").write_text(
            "from aetherra.plugins import Plugin\nfrom shelves import LIST\n"
            "class Shelf(Plugin):\n    books = [bytes(1_000_000) for _ in range(3)]\n"
        )
        (tmp_path / "shelves.py").write_text("LIST = [bytes(1_000_000) for _ in range(2)]\n")
        plugins = {"shelf": PluginConfig(source=str(tmp_path / "shelf.py"))}
        config = Config(kernel=KernelConfig(data_dir=None, discover=False), plugins=plugins, root=tmp_path)
        async with Kernel(config) as kernel:
            assert (await weigh(kernel, "shelf"))[0] == grown(5)
            await kernel.disable_plugin("shelf")
            assert (await weigh(kernel, "shelf"))[0] == grown(5)

    async def test_the_host_is_laid_to_its_plugin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither other modules' globals, nor what is on other plugins, nor the kernel itself is counted."""
        host = ModuleType("footprint_host")
        host.table = blocks(5)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "footprint_host", host)
        async with Kernel() as kernel:
            await kernel.add_plugin(Keeper)
            await kernel.add_plugin(Neighbour)
            neighbour = instance(kernel, "neighbour")
            neighbour.kept = blocks(5)
            empty, objects, _ = await weigh(kernel)
            instance(kernel).kept = [
                host,
                host.table,
                neighbour,
                neighbour.kept,
                kernel,
                anyio,
                sys.modules,
                Neighbour,
                blocks,
                weigh,
            ]
            full, more, complete = await weigh(kernel)
            assert complete
            assert more - objects < 50
            assert full - empty < MB / 10
            assert (await weigh(kernel, "neighbour"))[0] == grown(5)

    async def test_there_is_no_end_to_it(self) -> None:
        """It looks at so many objects and no more, and says that this was not all."""
        async with Kernel() as kernel:
            await kernel.add_plugin(Keeper)
            instance(kernel).kept = [{"number": object()} for _ in range(2000)]
            assert (await weigh(kernel, most=1000))[1:] == (1000, False)
            instance(kernel).kept = [None] * 5000
            assert (await weigh(kernel, most=1000))[2] is False
            with pytest.raises(HandlerError) as caught:
                await kernel.call(GetFootprint("nobody"))
            assert isinstance(caught.value.__cause__, PluginNotFoundError)

    async def test_a_size_of_its_own_making_breaks_it(self) -> None:
        """An object whose ``__sizeof__`` raises is weighed without it."""

        class Odd:
            def __sizeof__(self) -> int:
                raise RuntimeError("no")

        async with Kernel() as kernel:
            await kernel.add_plugin(Keeper)
            instance(kernel).kept = Odd()
            assert (await weigh(kernel))[2]


class TestTurns:
    async def test_the_event_loop_stands_still(self) -> None:
        """The loop has its turn after each slice of objects."""
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await checkpoint()
                turns += 1

        async with Kernel() as kernel, anyio.create_task_group() as group:
            await kernel.add_plugin(Keeper)
            instance(kernel).kept = [{} for _ in range(20 * SLICE)]
            group.start_soon(count)
            _, objects, _ = await weigh(kernel)
            group.cancel_scope.cancel()
        assert turns >= objects // SLICE >= 20

    async def test_what_changes_meanwhile_breaks_it(self) -> None:
        """A plugin that goes on filling what is weighed is weighed all the same."""

        async def fill() -> None:
            while True:
                await checkpoint()
                plugin.kept["more"] = plugin.kept.pop("more", ())
                plugin.kept[len(plugin.kept)] = []

        async with Kernel() as kernel, anyio.create_task_group() as group:
            await kernel.add_plugin(Keeper)
            plugin = instance(kernel)
            plugin.kept = {number: [] for number in range(2 * PIECE)}
            group.start_soon(fill)
            assert (await weigh(kernel))[2]
            group.cancel_scope.cancel()
