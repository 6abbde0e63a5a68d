"""The follower: has what is saved swapped in, for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from logging import DEBUG, WARNING
from pathlib import Path
from typing import Any

import anyio

from aetherra.hmr.disk import Disk
from aetherra.hmr.errors import SwapError
from aetherra.hmr.files import PluginFiles
from aetherra.hmr.folders import PluginFolders
from aetherra.hmr.messages import TakeIn
from aetherra.hmr.watcher import Watcher
from aetherra.kernel import PluginContext
from aetherra.registry import AetherraError, NoHandlerError

FOLDERS = ""
"""What stands for the folders where the name of a plugin stands otherwise."""
RESTART_SEC = 1.0
"""Seconds after which a watch that failed begins anew."""
RELOAD_TIMEOUT = 300.0
"""Seconds for a swap after a save; each of its steps has a deadline of its own."""


class Follower:
    """Watches plugins' code and asks to take it in when it was saved.

    Args:
        disk: Says what is new.
        files: Says where to look.
        folders: Where plugins come and go.
        ctx: Of the plugin that answers ``TakeIn``.
        places: Returns where the code of each plugin is that is to be watched.
        poll_interval: Seconds between two looks at everything, 0 to have the system tell.

    Attributes:
        watching: Whether every save from now on is noticed.
    """

    def __init__(
        self,
        disk: Disk,
        files: PluginFiles,
        folders: PluginFolders,
        ctx: PluginContext,
        places: Callable[[], dict[str, Path]],
        *,
        poll_interval: float,
    ) -> None:
        self._disk = disk
        self._files = files
        self._folders = folders
        self._ctx = ctx
        self._places = places
        self._poll_interval = poll_interval
        self.watching = False
        self._watcher: Watcher | None = None
        self._again: dict[str, bool] = {}
        self._first: set[str] = set()

    def look_again(self) -> None:
        """Plugins came or went: there may be others to watch."""
        if self._watcher is not None:
            self._watcher.wake()

    def look_at(self, plugin: str) -> None:
        """What was saved of a plugin while it could not be swapped may be taken in now."""
        if (place := self._places().get(plugin)) is not None:
            self._do(plugin, self._follow, plugin, place)

    async def run(self) -> None:
        """Follow until cancelled; what was saved before the watch was on is taken in first."""
        while True:
            try:
                await self._watch()
            except Exception:
                self._ctx.log.exception("the watch failed, and begins anew in %g s", RESTART_SEC)
                await anyio.sleep(RESTART_SEC)

    async def _watch(self) -> None:
        """Watch until there is something else to be watched."""
        watched = self._watched()
        async with Watcher(watched, poll_interval=self._poll_interval) as watcher:
            self._watcher = watcher
            try:
                await self._catch_up()
                changed: set[Path] = set()
                while watched == self._watched() and not watcher.outdated_by(changed):
                    changed = await watcher.changed()
                    self._take_in(changed)
            finally:
                self._watcher, self.watching = None, False

    def _watched(self) -> set[Path]:
        """The plugins' own places, what they use beside them, and the folders where plugins come and go."""
        places = self._places()
        self._disk.forget_all_but(places)
        return set(self._folders.folders).union(*(self._files.places(*item) for item in places.items()))

    async def _catch_up(self) -> None:
        """Have what was saved while nobody watched swapped in; when all of it was looked at, ``watching`` says so."""
        places = self._places()
        for plugin, place in places.items():
            await self._disk.adopt(plugin, place)
        self._first = {*places, FOLDERS}
        for plugin, place in places.items():
            self._do(plugin, self._follow, plugin, place)
        self._do(FOLDERS, self._look_into_folders)

    def _take_in(self, changed: set[Path]) -> None:
        """Have what was saved swapped in, by what has changed; a slow import holds up nobody else's."""
        self._disk.distrust(changed)
        for plugin, place in self._places().items():
            if self._disk.concerns(plugin, place, changed):
                self._do(plugin, self._follow, plugin, place)
        if self._folders.folders:
            self._do(FOLDERS, self._look_into_folders)

    def _do(self, key: str, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run something, one at a time of one key; what is asked for meanwhile is run once more, not once each."""
        if key in self._again:
            self._again[key] = True
            return
        self._again[key] = True
        self._ctx.start_soon(self._repeat, key, function, *args)

    async def _repeat(self, key: str, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        try:
            while self._again[key]:
                self._again[key] = False
                await function(*args)
        finally:
            del self._again[key]
            self._first.discard(key)
            self.watching = self._watcher is not None and not self._first

    async def _follow(self, plugin: str, place: Path) -> None:
        """Have a plugin's news taken in, as soon as they have come to rest."""
        while pause := await self._ask(plugin):  # noqa: ASYNC110  # nobody tells when a file was left alone long enough
            await anyio.sleep(pause)
        await self._folders.remove_if_gone(plugin, place)

    async def _look_into_folders(self) -> None:
        while pause := await self._folders.look():  # noqa: ASYNC110  # as above
            await anyio.sleep(pause)

    async def _ask(self, plugin: str) -> float:
        """Ask over the bus, so that a stop of hot swap waits for the swap in its hands; return when to ask again."""
        try:
            taken = await self._ctx.call(TakeIn(plugin), timeout=RELOAD_TIMEOUT)
        except AetherraError as exc:
            told = isinstance(exc.__cause__, SwapError) or isinstance(exc, NoHandlerError)  # or hot swap is stopped
            self._ctx.log.log(DEBUG if told else WARNING, "%s was not swapped: %s", plugin, exc)
        else:
            return taken.again_in
        return 0.0
