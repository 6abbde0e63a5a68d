"""The actuator on memory, on a real process."""

from __future__ import annotations

from typing import ClassVar

from aetherra.plugins import Plugin, hookimpl
from aetherra.plugins.homeostasis.actuators import memory
from aetherra.plugins.homeostasis.actuators.actuator import NoArguments
from aetherra.plugins.homeostasis.actuators.memory import ReleaseMemory

LOAD = 64 * 2**20


class Caching(Plugin):
    """Holds a cache, and lets it go."""

    name = "caching"
    cache: ClassVar[list[bytes]] = []

    @hookimpl
    def release_memory(self):
        freed = sum(map(len, self.cache))
        self.cache.clear()
        return freed


class Boasting(Plugin):
    """Says that it has let go of a lot."""

    name = "boasting"

    @hookimpl
    def release_memory(self):
        return 2**40


class TestReleaseMemory:
    async def test_a_cache_is_kept(self, lending):
        """It is let go of, and the process uses that much less, as measured."""
        async with lending(Caching) as (_, ctx):
            Caching.cache.append(b"x" * LOAD)
            actuator = ReleaseMemory(ctx)
            assert "ask" in (await actuator.plan("", actuator.read({}))).summary
            assert Caching.cache, "a plan has changed something"
            applied = await actuator.apply("", actuator.read({}))
            assert Caching.cache == []
            assert applied.changed
            freed = float(applied.summary.split(",")[1].split()[0])
            assert freed > 0.9 * LOAD / 2**20

    async def test_noise_is_a_change(self, lending, monkeypatch):
        """A process breathes: only a MiB less, or more, is a change."""
        for freed, changed in ((2**20, True), (2**20 - 4096, False), (0, False), (-(2**20), False)):
            sizes = iter([2**30, 2**30 - freed])
            monkeypatch.setattr(memory, "resident_bytes", lambda sizes=sizes: next(sizes))
            async with lending() as (_, ctx):
                assert (await ReleaseMemory(ctx).apply("", NoArguments())).changed is changed

    async def test_what_a_plugin_says_is_believed(self, lending):
        """What counts is what the process uses before and after."""
        async with lending(Boasting) as (_, ctx):
            actuator = ReleaseMemory(ctx)
            await actuator.apply("", actuator.read({}))
            summary = (await actuator.apply("", actuator.read({}))).summary
            assert float(summary.split(",")[1].split()[0]) < 64
