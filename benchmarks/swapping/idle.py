"""Idle: what a watch costs while nobody saves; each host has a process of its own."""

from __future__ import annotations

import time
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import anyio
from watchfiles import awatch

from aetherra.hmr.watcher import STEP_MS
from measuring.figures import Effort
from measuring.report import Amount, Sections
from swapping.sources import module, plugin
from swapping.stage import folder, hosting, in_process

BOUND = 1.0
FILES = 200
What = Literal["bare", "unwatched", "watched"]
NAMES: dict[What, str] = {
    "bare": f"beside: watchfiles alone, step {STEP_MS} ms",
    "unwatched": "beside: a host with hot swap, watch: false",
    "watched": "a host with hot swap, watch: true",
}


async def used(seconds: float) -> float:
    """Return the percentage of a core that this process uses while it sleeps, all its threads included."""
    await anyio.sleep(min(2.0, seconds / 2))  # what comes after a start is over by then
    begun, before = time.perf_counter(), time.process_time()
    await anyio.sleep(seconds)
    return (time.process_time() - before) / (time.perf_counter() - begun) * 100


async def bare(root: Path, seconds: float) -> float:
    """Watch with nothing but watchfiles."""
    stop = anyio.Event()

    async def follow() -> None:
        async with aclosing(awatch(root, step=STEP_MS, stop_event=stop)) as changes:
            async for _ in changes:
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        share = await used(seconds)
        stop.set()
    return share


async def share(what: What, seconds: float) -> float:
    """Measure one of them over a package of so many files."""
    names = {"__init__.py": plugin(0), **{f"part_{number}.py": module(number, 0) for number in range(FILES - 1)}}
    with folder({f"package/{name}": text for name, text in names.items()}) as root:
        if what == "bare":
            return await bare(root, seconds)
        async with hosting(root, "package", watch=what == "watched"):
            return await used(seconds)


def run(what: What, seconds: float, backend: str) -> float:
    """Run it in this process."""
    return anyio.run(share, what, seconds, backend=backend)


async def measured(effort: Effort) -> Sections:
    """Measure them one after the other."""
    seconds = 3.0 if effort.quick else 20.0
    beside = seconds / 3 if effort.quick else seconds
    told = [
        Amount(
            name,
            await in_process(run, what, seconds if what == "watched" else beside, "asyncio"),
            "% of one core",
            BOUND if what == "watched" else None,
        )
        for what, name in NAMES.items()
    ]
    return {f"Idle over {FILES} files, for {seconds:g} s": told}
