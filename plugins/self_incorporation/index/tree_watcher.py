"""The tree watcher: tells which paths of some roots were made, changed or removed, once they are left alone.

On Linux by inotify, which is told when a writer closes its file; elsewhere by watchfiles. Constructing that one's watch
holds the interpreter for 0.1 ms a folder, in whichever thread it is done, so where there is the choice it is not taken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, Self

import anyio
from anyio import AsyncContextManagerMixin
from anyio.abc import TaskStatus

from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.self_incorporation.index.walk import EXCLUDED_FOLDERS
from aetherra.plugins.watching import Inotify, remedy_of

__all__ = ["ANYTHING", "TreeWatcher"]

ANYTHING: frozenset[str] = frozenset([""])
"""The paths of a root of which nobody knows what has changed: all of it is to be scanned."""
_BATCHES = 100
Backend = Literal["inotify", "watchfiles"]
_BACKEND: Backend = "inotify" if sys.platform == "linux" else "watchfiles"


class TreeWatcher(AsyncContextManagerMixin):
    """A watch on roots, on from when its block is entered until it is left.

    What a scan does not enter is not watched. Where the system gives no watch that is said, and every ``fallback``
    seconds anything may have changed.

    Args:
        roots: Files and folders.
        excluded: Names of folders that are not entered.
        apart: Folders that are not entered.
        settle: Seconds without a change after which changes are told.
        longest: Seconds after the first change at which they are told in any case.
        fallback: Seconds between two looks where the system does not tell.
        say: Told why the system does not.
        backend: Who tells.
    """

    def __init__(
        self,
        roots: Iterable[Path],
        *,
        excluded: AbstractSet[str] = EXCLUDED_FOLDERS,
        apart: Iterable[Path] = (),
        settle: float = 0.5,
        longest: float = 10.0,
        fallback: float = 300.0,
        say: Callable[[str], None] = lambda _: None,
        backend: Backend = _BACKEND,
    ) -> None:
        self._roots = {Path(os.path.realpath(root)): root for root in roots}
        self._excluded, self._apart = excluded, frozenset(Path(os.path.realpath(folder)) for folder in apart)
        self._settle, self._longest, self._fallback = settle, longest, fallback
        self._say, self._backend = say, backend
        self._has_missed = False
        self._stop = anyio.Event()
        self._send, self._receive = anyio.create_memory_object_stream[set[Path]](_BATCHES)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with self._send, self._receive, anyio.create_task_group() as group:
            try:
                await group.start(self._keep_on)
                yield self
            finally:
                self._stop.set()  # watchfiles heeds this at once, and a cancellation after seconds
                group.cancel_scope.cancel()

    async def changed(self) -> Mapping[Path, AbstractSet[str]]:
        """Return what changed since the last call, by root, waiting for something if need be.

        Paths are relative to the root, in the written form of `paths.written`; `ANYTHING` where that is not known.
        """
        while True:
            found = await self._receive.receive()
            with anyio.move_on_after(self._longest):
                while True:
                    more: set[Path] | None = None
                    with anyio.move_on_after(self._settle):
                        more = await self._receive.receive()
                    if more is None:
                        break
                    found |= more
            if self._has_missed:
                found.update(self._roots)
                self._has_missed = False
            if changes := self._by_root(found):
                return changes

    def _by_root(self, found: set[Path]) -> dict[Path, AbstractSet[str]]:
        changes: dict[Path, AbstractSet[str]] = {}
        for place, root in self._roots.items():
            if place in found:
                changes[root] = ANYTHING
                continue
            below = (path for path in found if place in path.parents and self._apart.isdisjoint(path.parents))
            inside = (path.relative_to(place) for path in below)
            if told := {written(str(path)) for path in inside if self._excluded.isdisjoint(path.parts[:-1])}:
                changes[root] = told
        return changes

    async def _keep_on(self, *, task_status: TaskStatus[None]) -> None:
        """Watch again and again: a root that was moved away or made anew needs another watch."""
        watch = self._listen if self._backend == "inotify" else self._follow
        begun, said = False, ""
        while True:
            try:
                await watch(self._missed if begun else task_status.started)
                begun = True
            except OSError as exc:
                every = f"every {self._fallback:g} s"
                problem = f"changes are looked for {every} instead of being told: {exc}{remedy_of(exc)}"
                if problem != said:
                    self._say(problem)
                said = problem
                if not begun:
                    task_status.started()
                begun = True
                await anyio.sleep(self._fallback)
                self._missed()

    def _missed(self) -> None:
        """Tell that anything may have changed, as nobody watched."""
        self._has_missed = True
        with suppress(anyio.WouldBlock):  # then there is enough to wake who waits
            self._send.send_nowait(set())

    async def _listen(self, on: Callable[[], None]) -> None:
        """Watch by inotify until a root itself came or went."""
        files = {root for root in self._roots if root.is_file()}
        deep = {root for root in self._roots.keys() - files if root.is_dir()}
        above = {root.parent for root in self._roots}  # where a root comes, or is replaced
        async with Inotify(above, deep, self._listing) as inotify:
            on()
            while True:
                changed = await inotify.changed()
                await self._send.send(changed)
                if not files.issuperset(changed & self._roots.keys()):
                    return

    async def _follow(self, on: Callable[[], None]) -> None:
        """Watch by watchfiles until a root is gone."""
        from watchfiles import awatch  # noqa: PLC0415  # with multiprocessing, for who has no inotify

        changes = awatch(*self._roots, watch_filter=None, debounce=50, step=20, stop_event=self._stop)
        async with aclosing(changes):
            on()  # nobody hears of it before the next line waits, and then the watch is on
            async for batch in changes:
                changed = {Path(path) for _, path in batch}
                await self._send.send(changed)
                if not all(root.exists() for root in changed & self._roots.keys()):
                    return

    def _listing(self, folder: Path) -> list[tuple[Path, bool]]:
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:
            return []
        if folder not in self._roots and any(entry.name == "pyvenv.cfg" for entry in entries):
            return []
        return [(Path(entry.path), self._is_watched(entry)) for entry in entries]

    def _is_watched(self, entry: os.DirEntry[str]) -> bool:
        return (
            entry.is_dir(follow_symlinks=False)
            and entry.name not in self._excluded
            and Path(entry.path) not in self._apart
        )
