"""The poller: finds changes by looking again and again, where the file system tells of none."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import anyio
import anyio.to_thread

Seen = dict[Path, tuple[int, int, int]]


async def poll(
    folders: Iterable[Path], *, recursive: bool, interval: float, started: anyio.Event
) -> AsyncIterator[set[Path]]:
    """Yield the paths that came, went or were written, for as long as it is iterated.

    What decides is the time of writing in nanoseconds, the size and the inode: network file systems have no finer
    clock than they have, and a second write within its tick that keeps the size goes unseen until the next one.

    Args:
        folders: What to look at; folders that are not there yet are seen when they come.
        recursive: Whether to look below them, too.
        interval: Seconds from the end of one look to the next.
        started: Set when the first look is done, from when on changes are found.
    """
    folders = list(folders)
    before = await anyio.to_thread.run_sync(_look, folders, recursive)
    started.set()
    while True:
        await anyio.sleep(interval)
        now = await anyio.to_thread.run_sync(_look, folders, recursive)
        if changed := {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}:
            yield changed
        before = now


def _look(folders: list[Path], recursive: bool) -> Seen:
    seen: Seen = {}
    ahead = [os.fspath(folder) for folder in folders]
    entered: set[tuple[int, int]] = set()
    while ahead:
        for entry in _entries(ahead.pop()):
            try:
                found = entry.stat()
            except OSError:  # it went away, or is a link that leads nowhere
                continue
            if not stat.S_ISDIR(found.st_mode):
                seen[Path(entry.path)] = (found.st_mtime_ns, found.st_size, found.st_ino)
                continue
            seen[Path(entry.path)] = (0, 0, found.st_ino)
            if recursive and (found.st_dev, found.st_ino) not in entered:  # links can lead in a circle
                entered.add((found.st_dev, found.st_ino))
                ahead.append(entry.path)
    return seen


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name != "__pycache__"]
    except OSError:
        return []
