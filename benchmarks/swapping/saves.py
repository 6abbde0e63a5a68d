"""Saves: from the moment before a file is written until a call has the new answer."""

from __future__ import annotations

import ctypes
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from watchfiles import awatch

from aetherra.hmr import Swapped
from aetherra.hmr.watcher import STEP_MS
from measuring.figures import Case, Effort, Figure, figure_of
from measuring.report import Amount, Sections
from swapping.sources import FIRST, SMALL, plugin
from swapping.stage import PATIENCE, folder, hosting, percentile, version

BOUND, BOUND_MS = 1.3, 10.0
WARM = 3
"""Saves before the first that counts."""
PAUSE = (0.02, 0.03)
"""Seconds between two saves, at random, so that none keeps step with those who look every few milliseconds."""
FLOOR = f"floor: watchfiles, step {STEP_MS} ms, then read, compile, exec"
BARE = "beside: a bare inotify event, then read, compile, exec"
OURS = "hot swap with watch: true"
IN_CLOSE_WRITE = 0x8

Save = Callable[[int], Awaitable[object]]
"""Saves a version, and returns when that answers."""


class BareWatch:
    """A floor: somebody tells of a save; the file is read, compiled and executed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = anyio.Event()
        self._found = 0

    async def run(self, changes: AsyncIterator[object]) -> None:
        """Follow what tells of changes."""
        async for _ in changes:
            namespace: dict[str, Any] = {"__name__": "bare"}
            exec(compile(self._path.read_bytes(), str(self._path), "exec"), namespace)  # what a load is at least
            self._found = namespace.get("VERSION", 0)
            self._told.set()

    async def save(self, number: int) -> None:
        """Save once, and return when it has been executed."""
        self._path.write_bytes(plugin(number).encode())
        while self._found != FIRST + number:
            await self._told.wait()
            self._told = anyio.Event()


@asynccontextmanager
async def told_by_watchfiles(path: Path) -> AsyncGenerator[Save]:
    """Follow a file by watchfiles, as our own watcher would set it."""
    bare, stop = BareWatch(path), anyio.Event()
    changes = awatch(path.parent, watch_filter=None, step=STEP_MS, stop_event=stop, recursive=False)
    async with aclosing(changes), anyio.create_task_group() as group:
        group.start_soon(bare.run, changes)
        await anyio.sleep(0.1)  # until it watches
        try:
            yield bare.save
        finally:
            stop.set()


@asynccontextmanager
async def told_by_inotify(path: Path) -> AsyncGenerator[Save]:
    """Follow a file by nothing but the system's own descriptor."""
    system = ctypes.CDLL(None, use_errno=True)
    descriptor = system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0 or system.inotify_add_watch(descriptor, os.fsencode(path.parent), IN_CLOSE_WRITE) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    async def changes() -> AsyncGenerator[bytes]:
        while True:
            await anyio.wait_readable(descriptor)
            yield os.read(descriptor, 4096)

    bare = BareWatch(path)
    async with anyio.create_task_group() as group:
        group.start_soon(bare.run, changes())
        await anyio.lowlevel.checkpoint()
        try:
            yield bare.save
        finally:
            group.cancel_scope.cancel()
    os.close(descriptor)


@asynccontextmanager
async def swapped(root: Path) -> AsyncGenerator[Save]:
    """Run a host that watches; when ``Swapped`` is heard, one call is made."""
    async with hosting(root, watch=True) as kernel:
        path = root / "counter.py"
        with kernel.subscribe(Swapped) as swaps:

            async def save(number: int) -> None:
                path.write_bytes(plugin(number).encode())  # in one step, as the floors do
                await anext(swaps)
                while await version(kernel) != FIRST + number:
                    await anext(swaps)

            yield save


async def sampled(saves: Mapping[str, Save], effort: Effort) -> dict[str, list[list[float]]]:
    """Save by each in turn, and return what it took in seconds, by round."""
    chance, number = random.Random(5), 0
    taken: dict[str, list[list[float]]] = {name: [] for name in saves}
    for count in (WARM, *[8 if effort.quick else 40] * effort.rounds):
        for rounds in taken.values():
            rounds.append([])
        for _ in range(count):
            number += 1
            for name, save in saves.items():
                await anyio.sleep(chance.uniform(*PAUSE))
                begun = time.perf_counter()
                with anyio.fail_after(PATIENCE):
                    await save(number)
                taken[name][-1].append(time.perf_counter() - begun)
    return {name: rounds[1:] for name, rounds in taken.items()}


def figures(
    taken: Mapping[str, list[list[float]]],
    share: float,
    *,
    bounds: Mapping[str, float | None] | None = None,
    lacks: Mapping[str, str] | None = None,
) -> list[Figure]:
    """Fold the rounds, of each the sample below which so many are; the floor comes first."""
    floor, told = next(iter(taken)), {name: [percentile(one, share) for one in them] for name, them in taken.items()}
    return [
        figure_of(
            Case(
                name,
                nothing,
                "" if name == floor else floor,
                (bounds or {}).get(name),
                "save",
                lacks=(lacks or {}).get(name, ""),
            ),
            told,
        )
        for name in taken
    ]


async def nothing(_: int) -> None:
    """What is there to run: the samples were taken already."""


async def measured(effort: Effort, loop: str = "") -> Sections:
    """Measure saves, each turn by turn with those that meet the floors."""
    async with AsyncExitStack() as stack:
        bare = stack.enter_context(folder({"watched/bare.py": plugin(0), "listened/bare.py": plugin(0)}))
        root = stack.enter_context(folder({"counter.py": plugin(0)}))
        saves = {FLOOR: await stack.enter_async_context(told_by_watchfiles(bare / "watched" / "bare.py"))}
        if sys.platform == "linux":
            saves[BARE] = await stack.enter_async_context(told_by_inotify(bare / "listened" / "bare.py"))
        saves[OURS] = await stack.enter_async_context(swapped(root))
        taken = await sampled(saves, effort)
    title = f"{loop}From save to new answer, {SMALL} lines"
    every = [seconds for them in taken[OURS] for seconds in them]
    return {
        f"{title}, median": figures(taken, 0.5, bounds={OURS: BOUND}),
        f"{title}, 95th percentile": figures(taken, 0.95),
        f"{title}, all {len(every)} saves": [
            Amount("median", statistics.median(every) * 1e3, "ms", BOUND_MS),
            Amount("95th percentile", percentile(every, 0.95) * 1e3, "ms"),
            Amount("most", max(every) * 1e3, "ms"),
        ],
    }


on_asyncio = measured
on_trio = partial(measured, loop="On trio: ")
