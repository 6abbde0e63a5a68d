"""The watcher: tells when the content of watched files has changed, and comes to rest."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from watchfiles import Change, awatch

STEP_MS = 5
"""How long watchfiles waits for further events; its default of 50 ms is most of what a save costs."""
QUIET_SEC = 0.02
"""How long a file must stay as it is before it counts as wholly written."""


class Watcher:
    """Watches plugins' files; a new set needs a new watcher."""

    def __init__(self) -> None:
        self._stop = anyio.Event()

    def stop(self) -> None:
        """End ``changes`` at once; cancelling it alone would take watchfiles seconds."""
        self._stop.set()

    async def changes(self, watched: Iterable[Path]) -> AsyncIterator[set[Path]]:
        """Yield sets of Python files that were written, made or removed, until stopped.

        A file is watched by its folder, as editors replace files; a folder with all that is below it.
        """
        paths = list(watched)
        flat = {path.parent for path in paths if not path.is_dir()}
        deep = {path for path in paths if path.is_dir()}
        send, receive = anyio.create_memory_object_stream[set[Path]](1000)
        async with anyio.create_task_group() as group, receive:
            for folders, recursive in ((flat, False), (deep, True)):
                if folders:
                    group.start_soon(self._follow, folders, recursive, send.clone())
            send.close()
            async for change in receive:
                yield change
            group.cancel_scope.cancel()

    async def _follow(self, folders: set[Path], recursive: bool, send: MemoryObjectSendStream[set[Path]]) -> None:
        async with send:
            async for batch in awatch(
                *folders, watch_filter=_is_python, step=STEP_MS, stop_event=self._stop, recursive=recursive
            ):
                await send.send({Path(path) for _, path in batch})


def _is_python(_: Change, path: str) -> bool:
    return path.endswith(".py")


def python_files(path: Path) -> list[Path]:
    """Return the Python files that ``path`` stands for: itself, or those below it."""
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def fingerprints(files: Iterable[Path]) -> dict[Path, str]:
    """Return a hash of each file's content; one that is not there has none."""
    found: dict[Path, str] = {}
    for file in files:
        try:
            found[file] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:
            continue
    return found


async def settled_fingerprints(files: Iterable[Path], quiet: float = QUIET_SEC) -> dict[Path, str]:
    """Return the hashes once they have been the same for ``quiet`` seconds, or as they are after 2 s of writing."""
    names = list(files)
    before = fingerprints(names)
    with anyio.move_on_after(2.0):
        while True:
            await anyio.sleep(quiet)
            now = fingerprints(names)
            if now == before:
                break
            before = now
    return before
