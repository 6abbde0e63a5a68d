"""The watcher: tells which files and folders have changed, from when its block is entered until it is left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Self

import anyio
from anyio import AsyncContextManagerMixin
from anyio.abc import TaskStatus
from watchfiles import Change, awatch

from aetherra.hmr.poller import poll

STEP_MS = 5
"""How long watchfiles waits for further events; its default of 50 ms is most of what a save costs."""
BATCHES = 1000
"""Batches that may wait to be looked at; the rest wait in watchfiles."""


class Watcher(AsyncContextManagerMixin):
    """Watches the places that plugins' code comes from; other places need another watcher.

    A file is watched by its folder, as editors replace files. A folder is watched with all that is below it, and by
    the folder above it, as a checkout replaces folders. What is not there yet is watched by the nearest folder that is.
    Links are watched where they are and where they lead to.

    The block is entered when the watch is on: what happens from then on is told. It is left at once, where watchfiles
    alone would take seconds to notice a cancellation.

    Args:
        places: Files, and folders.
        poll_interval: Seconds between two looks at everything; 0 to have the system tell, as network and container
            file systems do not.
    """

    def __init__(self, places: Iterable[Path], *, poll_interval: float = 0.0) -> None:
        places = [target for place in places for target in dict.fromkeys((place, place.resolve()))]
        self._below = {place for place in places if place.is_dir()}
        self._folders = {_nearest_folder(place.parent) for place in places}
        self._landmarks = {landmark for place in places for landmark in (place, *place.parents)}
        self._poll_interval = poll_interval
        self._stop = anyio.Event()
        self._send, self._receive = anyio.create_memory_object_stream[set[Path]](BATCHES)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        follow = self._poll if self._poll_interval else self._follow
        async with self._send, self._receive, anyio.create_task_group() as group:
            try:
                for folders, recursive in ((self._folders, False), (self._below, True)):
                    if folders:
                        await group.start(follow, folders, recursive)
                yield self
            finally:
                self._stop.set()
                group.cancel_scope.cancel()

    async def _follow(self, folders: set[Path], recursive: bool, *, task_status: TaskStatus[None]) -> None:
        changes = awatch(*folders, watch_filter=self._matters, step=STEP_MS, stop_event=self._stop, recursive=recursive)
        async with aclosing(changes):
            task_status.started()  # nobody hears of it before the next line waits, and then the watch is on
            try:
                async for batch in changes:
                    await self._send.send({Path(path) for _, path in batch})
            except FileNotFoundError:  # a folder went away just now
                await self._send.send(set(folders))

    async def _poll(self, folders: set[Path], recursive: bool, *, task_status: TaskStatus[None]) -> None:
        started = anyio.Event()
        async with anyio.create_task_group() as group:

            async def tell() -> None:
                async for changed in poll(folders, recursive=recursive, interval=self._poll_interval, started=started):
                    if mattering := {path for path in changed if self._matters(Change.modified, str(path))}:
                        await self._send.send(mattering)

            group.start_soon(tell)
            await started.wait()
            task_status.started()

    def _matters(self, _: Change, path: str) -> bool:
        """Whether it may concern somebody: code, what is below a folder that is watched, or on the way to a place."""
        if path.endswith((".pyc", "~", ".swp")):
            return False
        found = Path(path)
        return path.endswith(".py") or found in self._landmarks or not self._below.isdisjoint(found.parents)

    async def changed(self) -> set[Path]:
        """Return what was written, made or removed since the last call, waiting for something if need be."""
        found = set(await self._receive.receive())
        while self._receive.statistics().current_buffer_used:
            found |= self._receive.receive_nowait()
        return found

    def wake(self) -> None:
        """Have ``changed`` return, though perhaps with nothing."""
        if not self._receive.statistics().current_buffer_used:
            self._send.send_nowait(set())

    def outdated_by(self, changed: set[Path]) -> bool:
        """Whether a folder on the way to a place came or went: the system may be watching one that is gone."""
        return any(path.suffix != ".py" for path in changed & self._landmarks)


def _nearest_folder(folder: Path) -> Path:
    return next((candidate for candidate in (folder, *folder.parents) if candidate.is_dir()), folder)
