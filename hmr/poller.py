"""The poller: finds changes by looking again and again, where the file system tells of none."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread

from aetherra.hmr.walk import entries

Seen = dict[Path, tuple[int, int, int]]


class Poller:
    """Looks at folders, and at what is below some of them.

    What decides is the time of writing in nanoseconds, the size and the inode: network file systems have no finer
    clock than they have, and a second write within its tick that keeps the size goes unseen until the next one.

    Args:
        flat: Folders to look into alone; those that are not there yet are seen when they come.
        deep: Folders to look into with all that is below.
        interval: Seconds from the end of one look to the next.
    """

    def __init__(self, flat: Iterable[Path], deep: Iterable[Path], interval: float) -> None:
        self._flat, self._deep = list(flat), list(deep)
        self._interval = interval
        self._seen: Seen = {}

    async def begin(self) -> None:
        """Look for the first time: changes from then on are found."""
        self._seen = await anyio.to_thread.run_sync(_look, self._flat, self._deep)

    async def changed(self) -> set[Path]:
        """Return the paths that were written, came or went since the last look, looking until there are some."""
        while True:
            await anyio.sleep(self._interval)
            before, self._seen = self._seen, await anyio.to_thread.run_sync(_look, self._flat, self._deep)
            now = self._seen
            if changed := {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}:
                return changed


def _look(flat: list[Path], deep: list[Path]) -> Seen:
    seen: Seen = {}
    for folder in flat:
        _look_into(os.fspath(folder), seen)
    ahead = [os.fspath(folder) for folder in deep]
    entered: set[tuple[int, int]] = set()
    while ahead:
        for below, identity in _look_into(ahead.pop(), seen):
            if identity not in entered:  # links can lead in a circle
                entered.add(identity)
                ahead.append(below)
    return seen


def _look_into(folder: str, seen: Seen) -> list[tuple[str, tuple[int, int]]]:
    """Note what is in a folder, and return the folders in it with the identity of each."""
    folders: list[tuple[str, tuple[int, int]]] = []
    for entry in entries(folder):
        try:
            found = entry.stat()
        except OSError:  # it went away, or is a link that leads nowhere
            continue
        if stat.S_ISDIR(found.st_mode):
            seen[Path(entry.path)] = (0, 0, found.st_ino)
            folders.append((entry.path, (found.st_dev, found.st_ino)))
        else:
            seen[Path(entry.path)] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return folders
