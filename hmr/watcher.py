"""The watcher: tells which files and folders have changed, from when its block is entered until it is left."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self

import anyio
from anyio import TASK_STATUS_IGNORED, AsyncContextManagerMixin
from anyio.abc import TaskGroup, TaskStatus

from aetherra.hmr.files import is_dir, real
from aetherra.hmr.patterns import MAGIC
from aetherra.hmr.poller import Poller
from aetherra.hmr.walk import LEFT_OUT, listing
from aetherra.kernel.inotify import Inotify, remedy_of

STEP_MS = 5
"""How long watchfiles waits for further events; its default of 50 ms is most of what a save costs."""
BATCHES = 1000
"""Batches that may wait to be looked at; the rest wait in the system."""
FALLBACK_SEC = 1.0
"""Seconds between two looks where the system gives no more watches."""
Backend = Literal["inotify", "watchfiles", "polling"]
DEFAULT_BACKEND: Backend = "inotify" if sys.platform == "linux" else "watchfiles"
log = logging.getLogger("aetherra.hmr.watcher")


class Watcher(AsyncContextManagerMixin):
    """Watches the places that plugins' code comes from; other places need another watcher.

    A file is watched by its folder, as editors replace files. A folder is watched with all that is below it, and by
    the folder above it, as a checkout replaces folders. What is not there yet is watched by the nearest folder that is.
    Links are watched where they are and where they lead to.

    The block is entered when the watch is on: what happens from then on is told. It is left at once, where watchfiles
    alone would take seconds to notice a cancellation. Where the system has no more watches to give, it looks for itself
    and says so.

    Args:
        places: Files, and folders. A file's name may be a pattern, as in ``*.txt``.
        poll_interval: Seconds between two looks at everything; 0 to have the system tell, as network and container
            file systems do not.
        backend: Who tells: ``inotify`` by default on Linux, ``watchfiles`` elsewhere, ``polling`` with an interval.
    """

    def __init__(self, places: Iterable[Path], *, poll_interval: float = 0.0, backend: Backend | None = None) -> None:
        self._places = set(places)
        self._found = self._find()
        everything, self._below, self._folders = self._found
        self._patterns = {place for place in everything if MAGIC & set(place.name)}
        self._files = everything - self._below
        self._ways = {folder for place in everything for folder in place.parents} | self._below
        self._poll_interval = poll_interval
        self._backend = "polling" if poll_interval else backend or DEFAULT_BACKEND
        self._stop = anyio.Event()
        self._send, self._receive = anyio.create_memory_object_stream[set[Path]](BATCHES)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with self._send, self._receive, anyio.create_task_group() as group:
            try:
                await self._begin(group)
                if self._find() != self._found:  # while the watch was made, so that it may not be where it should
                    self._send.send_nowait(set(self._folders))
                yield self
            finally:
                self._stop.set()
                group.cancel_scope.cancel()

    def _find(self) -> tuple[set[Path], set[Path], set[Path]]:
        """Return the places with where they lead to, those that are folders, and the folders that they are in."""
        places = {target for place in self._places for target in (place, real(place))}
        below = {place for place in places if is_dir(place)}
        above_links = {folder.parent for place in self._places for folder in place.parents if _is_link(folder)}
        return places, below, {_nearest_folder(place.parent) for place in places} | above_links

    async def _begin(self, group: TaskGroup) -> None:
        if self._backend == "polling":
            await group.start(self._poll, self._poll_interval)
        elif self._backend == "watchfiles":
            for folders, recursive in ((self._folders, False), (self._below, True)):
                if folders:
                    await group.start(self._follow, folders, recursive)
        else:
            await group.start(self._listen)

    async def _listen(self, *, task_status: TaskStatus[None]) -> None:
        begun = False
        try:
            async with Inotify(self._folders, self._below, listing) as inotify:
                task_status.started()
                begun = True
                while True:
                    await self._tell(await inotify.changed())
        except (FileNotFoundError, NotADirectoryError):  # a folder went away just now
            task_status.started()
            await self._send.send(set(self._folders))
        except OSError as exc:  # no more watches, at the beginning or for folders that have come
            log.warning("%s: files are looked at every %g s instead%s", exc, FALLBACK_SEC, remedy_of(exc))
            await self._poll(FALLBACK_SEC, missed=begun, task_status=TASK_STATUS_IGNORED if begun else task_status)

    async def _follow(self, folders: set[Path], recursive: bool, *, task_status: TaskStatus[None]) -> None:
        from watchfiles import awatch  # noqa: PLC0415  # with multiprocessing, for who has no inotify

        changes = awatch(*folders, watch_filter=None, step=STEP_MS, stop_event=self._stop, recursive=recursive)
        async with aclosing(changes):
            task_status.started()  # nobody hears of it before the next line waits, and then the watch is on
            try:
                async for batch in changes:
                    await self._tell(Path(path) for _, path in batch)
            except FileNotFoundError:  # a folder went away just now
                await self._send.send(set(folders))

    async def _poll(self, interval: float, *, missed: bool = False, task_status: TaskStatus[None]) -> None:
        poller = Poller(self._folders, self._below, interval)
        await poller.begin()
        task_status.started()
        if missed:
            await self._send.send(set(self._folders))
        while True:
            await self._tell(await poller.changed())

    async def _tell(self, changed: Iterable[Path]) -> None:
        if mattering := {path for path in changed if self._matters(path)}:
            await self._send.send(mattering)

    def _matters(self, path: Path) -> bool:
        """Whether it may concern somebody: code, what is below a folder that is watched, or on the way to a place."""
        if path.name.endswith((".pyc", "~", ".swp")):
            return False
        if path.suffix == ".py" or path in self._files or path in self._ways:
            return True
        if any(path.parent == pattern.parent and fnmatchcase(path.name, pattern.name) for pattern in self._patterns):
            return True
        return any(folder in self._below and self._is_seen(path, folder) for folder in path.parents)

    def _is_seen(self, path: Path, folder: Path) -> bool:
        return LEFT_OUT.isdisjoint(path.relative_to(folder).parts)

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
        return any(path in self._ways or is_dir(path) for path in changed & (self._files | self._ways))


def _is_link(folder: Path) -> bool:
    return os.path.islink(folder)  # noqa: PTH114  # unlike a path's own method it never raises


def _nearest_folder(folder: Path) -> Path:
    return next((candidate for candidate in (folder, *folder.parents) if is_dir(candidate)), folder)
