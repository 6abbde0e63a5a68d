"""The follower: has what is saved swapped in, for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aetherra.hmr.disk import Disk
from aetherra.hmr.messages import TakeIn
from aetherra.hmr.watcher import Watcher
from aetherra.kernel import PluginContext
from aetherra.registry import AetherraError, HandlerError, NoHandlerError

RELOAD_TIMEOUT = 300.0
"""Seconds for a swap after a save; each of its steps has a deadline of its own."""


class Follower:
    """Watches plugins' code and asks to take it in when it was saved.

    Args:
        disk: Says what is new.
        ctx: Of the plugin that answers ``TakeIn``.
        places: Returns where the code of each plugin is that is to be watched.

    Attributes:
        watching: Whether every save from now on is noticed.
    """

    def __init__(self, disk: Disk, ctx: PluginContext, places: Callable[[], dict[str, Path]]) -> None:
        self._disk = disk
        self._ctx = ctx
        self._places = places
        self.watching = False
        self._watcher: Watcher | None = None

    def look_again(self) -> None:
        """Plugins came or went: there may be others to watch."""
        if self._watcher is not None:
            self._watcher.wake()

    async def run(self) -> None:
        """Follow until cancelled; what was saved before the watch was on is taken in first."""
        while True:
            watched = self._watched()
            async with Watcher(watched) as watcher:
                self._watcher = watcher
                try:
                    await self._take_in(None)
                    self.watching = True
                    changed: set[Path] = set()
                    while watched == self._watched() and not watcher.outdated_by(changed):
                        changed = await watcher.changed()
                        await self._take_in(changed)
                finally:
                    self._watcher, self.watching = None, False

    def _watched(self) -> set[Path]:
        """The plugins' own places, and the packages beside them that they have imported."""
        places = self._places()
        self._disk.forget_all_but(places)
        return {*places.values()}.union(*(self._disk.packages_beside(*item) for item in places.items()))

    async def _take_in(self, changed: set[Path] | None) -> None:
        """Swap in what was saved, by what has changed; ``None`` means anything may have."""
        for plugin, place in self._places().items():
            concerned = (
                changed is None
                or not changed.isdisjoint(self._disk.files(plugin, place))
                or any(place in path.parents for path in changed)
            )
            if concerned:
                await self._ask(plugin)

    async def _ask(self, plugin: str) -> None:
        """Ask over the bus, so that a stop of hot swap waits for the swap in its hands."""
        try:
            await self._ctx.call(TakeIn(plugin), timeout=RELOAD_TIMEOUT)
        except (HandlerError, NoHandlerError) as exc:  # told already, or this plugin is being stopped
            self._ctx.log.debug("%s was not swapped: %s", plugin, exc)
        except AetherraError as exc:
            self._ctx.log.warning("%s was not swapped: %s", plugin, exc)
