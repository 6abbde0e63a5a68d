"""Saves: from the moment before a file is written until a call has the new answer."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from watchfiles import awatch

from aetherra.hmr import Swapped
from aetherra.hmr.watcher import STEP_MS
from aetherra.kernel import Kernel
from aetherra.registry import Subscription
from measuring.figures import Case, Effort, figure_of
from measuring.report import Amount, Sections
from swapping.sources import FIRST, SMALL, plugin
from swapping.stage import PATIENCE, folder, hosting, percentile, version

BOUND, BOUND_MS = 1.3, 10.0
WARM = 3
"""Saves before the first that counts."""
PAUSE = (0.02, 0.03)
"""Seconds between two saves, at random, so that none keeps step with those who look every few milliseconds."""


class BareWatch:
    """The floor: watchfiles with our settings tells of a save; the file is read, compiled and executed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = anyio.Event()
        self._told = anyio.Event()
        self._found = 0

    async def run(self) -> None:
        """Follow until told to stop."""
        changes = awatch(self._path.parent, watch_filter=None, step=STEP_MS, stop_event=self._stop, recursive=False)
        async with aclosing(changes):
            async for _ in changes:
                namespace: dict[str, Any] = {"__name__": "bare"}
                exec(compile(self._path.read_bytes(), str(self._path), "exec"), namespace)  # what a load is at least
                self._found = namespace.get("VERSION", 0)
                self._told.set()

    def stop(self) -> None:
        self._stop.set()

    async def save(self, number: int) -> float:
        """Save once, and return the seconds until it has been executed."""
        data, begun = plugin(number).encode(), time.perf_counter()
        self._path.write_bytes(data)
        with anyio.fail_after(PATIENCE):
            while self._found != FIRST + number:
                await self._told.wait()
                self._told = anyio.Event()
        return time.perf_counter() - begun


@asynccontextmanager
async def bare_watch(path: Path) -> AsyncGenerator[BareWatch]:
    """Follow a file for as long as the block lasts."""
    bare = BareWatch(path)
    async with anyio.create_task_group() as group:
        group.start_soon(bare.run)
        await anyio.sleep(0.1)  # until it watches
        try:
            yield bare
        finally:
            bare.stop()


async def save(kernel: Kernel, swaps: Subscription[Any], path: Path, number: int) -> float:
    """Save once, and return the seconds until a call has the new answer; the call is made when ``Swapped`` is heard."""
    data, begun = plugin(number).encode(), time.perf_counter()
    path.write_bytes(data)  # noqa: ASYNC240  # in one step, as the floor does
    with anyio.fail_after(PATIENCE):
        await anext(swaps)
        while await version(kernel) != FIRST + number:
            await anext(swaps)
    return time.perf_counter() - begun


async def measured(effort: Effort, loop: str = "", *, bound: float | None = BOUND) -> Sections:
    """Measure saves, each turn by turn with one that meets the floor."""
    saves = 8 if effort.quick else 40
    chance = random.Random(5)
    ours: list[list[float]] = []
    floors: list[list[float]] = []
    with folder({"counter.py": plugin(0), "bare/bare.py": plugin(0)}) as root:
        async with hosting(root, watch=True) as kernel, bare_watch(root / "bare" / "bare.py") as bare:
            with kernel.subscribe(Swapped) as swaps:
                number = 0
                for count in (WARM, *[saves] * effort.rounds):
                    ours.append([])
                    floors.append([])
                    for _ in range(count):
                        number += 1
                        await anyio.sleep(chance.uniform(*PAUSE))
                        floors[-1].append(await bare.save(number))
                        await anyio.sleep(chance.uniform(*PAUSE))
                        ours[-1].append(await save(kernel, swaps, root / "counter.py", number))
    floor, name = f"floor: watchfiles, step {STEP_MS} ms, then read, compile, exec", "hot swap with watch: true"
    cases = [Case(floor, idle, unit="save"), Case(name, idle, floor, bound, "save")]
    sections: dict[str, Any] = {}
    for title, of in (("median", statistics.median), ("95th percentile", lambda them: percentile(them, 0.95))):
        taken = {floor: [of(them) for them in floors[1:]], name: [of(them) for them in ours[1:]]}
        told = cases if title == "median" else [cases[0], Case(name, idle, floor, unit="save")]
        sections[f"{loop}From save to new answer, {SMALL} lines, {title}"] = [figure_of(case, taken) for case in told]
    every = [taken for them in ours[1:] for taken in them]
    sections[f"{loop}From save to new answer, {SMALL} lines, all {len(every)} saves"] = [
        Amount("median", statistics.median(every) * 1e3, "ms", BOUND_MS if bound else None),
        Amount("95th percentile", percentile(every, 0.95) * 1e3, "ms"),
        Amount("most", max(every) * 1e3, "ms"),
    ]
    return sections


async def idle(_: int) -> None:
    """Nothing: the samples were taken already."""


async def on_asyncio(effort: Effort) -> Sections:
    """Measure on asyncio."""
    return await measured(effort)


async def on_trio(effort: Effort) -> Sections:
    """Measure on trio."""
    return await measured(effort, "On trio: ")
