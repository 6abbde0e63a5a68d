"""Endurance: a plugin and its helper are swapped again and again while calls come at a steady rate; what is left then.

Each run has a process of its own, whose memory is nobody else's.
"""

from __future__ import annotations

import gc
import linecache
import os
import statistics
import sys
import threading
import time
from array import array
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr import Reload
from measuring.figures import Effort
from measuring.report import Amount, Sections
from swapping.load import RATE, Load
from swapping.sources import FIRST, LARGE, SMALL, helper, plugin
from swapping.stage import PATIENCE, folder, hosting, in_process, percentile, version, write

BOUND_P99_MS, BOUND_GROWTH, BOUND_SWAP_MS = 5.0, 5.0, 2.5
PERIOD, SETTLE = 0.04, 2.0
"""Seconds from one swap to the next, longer if it takes longer; and without calls before one looks what is left, as the
host looks after what has ended for a while, too."""


class Footprint(msgspec.Struct, frozen=True):
    """What a process holds, once garbage is gone."""

    memory: float
    blocks: float
    objects: float
    modules: float
    sources: float
    threads: float


class Endured(msgspec.Struct, frozen=True):
    """What came of a run; times in seconds."""

    swaps: int
    calls: int
    rate: float
    failed: int
    problem: str
    mixed: int
    lost: int
    overlapping: int
    p99_during: float
    p99_beside: float
    median: float
    p99: float
    pause: float
    early: Footprint
    late: Footprint


def footprint() -> Footprint:
    """Look at this process; 0 for the memory where the system does not tell."""
    for _ in range(3):
        gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    return Footprint(
        memory=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        blocks=sys.getallocatedblocks(),
        objects=len(gc.get_objects()),
        modules=len(sys.modules),
        sources=len(linecache.cache),
        threads=threading.active_count(),
    )


@contextmanager
def pauses() -> Generator[list[float]]:
    """Note what each garbage collection takes, during which nothing else runs, in seconds."""
    begun, taken = [0.0], list[float]()

    def note(phase: str, _: object) -> None:
        if phase == "start":
            begun[0] = time.perf_counter()
        else:
            taken.append(time.perf_counter() - begun[0])

    gc.callbacks.append(note)
    try:
        yield taken
    finally:
        gc.callbacks.remove(note)


def files(number: int, lines: int) -> dict[str, str]:
    """Return the plugin, which imports its helper."""
    return {"counter.py": plugin(number, lines, "from helper import HELPER"), "helper.py": helper(number)}


async def endured(early: int, swaps: int, lines: int, settle: float) -> Endured:
    """Swap so many times, and look what is left after a first part and at the end."""
    begins, ends, seconds = array("d"), array("d"), array("d")  # which leave as much of ours at the end as before
    left: list[Footprint] = []
    longest = 0.0
    with folder(files(0, lines)) as root:
        async with hosting(root) as kernel:
            load = Load(kernel, room=int(swaps * 10 * PERIOD * RATE) + 100_000)
            done = 0
            for goal in (early, swaps):
                with pauses() as taken:
                    async with load.running():
                        for number in range(done + 1, goal + 1):
                            await anyio.to_thread.run_sync(write, root, files(number, lines))
                            begun = time.perf_counter()
                            swapped = await kernel.call(Reload("counter"), timeout=PATIENCE)
                            begins.append(begun)
                            ends.append(time.perf_counter())
                            seconds.append(swapped.seconds)
                            await anyio.sleep(max(0.0, begun + PERIOD - time.perf_counter()))
                done, longest = goal, max(longest, *taken, 0.0)
                await anyio.sleep(settle)
                left.append(footprint())
            if await version(kernel) != FIRST + swaps:
                raise AssertionError(f"after {swaps} swaps another version answers")
    during, beside = load.latencies(list(zip(begins, ends, strict=True)))
    return Endured(
        swaps=swaps,
        calls=load.made,
        rate=load.made / load.seconds,
        failed=load.failed,
        problem=load.problem,
        mixed=load.mixed,
        lost=load.answered - load.highest,
        overlapping=len(during),
        p99_during=percentile(during, 0.99),
        p99_beside=percentile(beside, 0.99),
        median=statistics.median(seconds),
        p99=percentile(seconds, 0.99),
        pause=longest,
        early=left[0],
        late=left[1],
    )


def run(backend: str, early: int, swaps: int, lines: int, settle: float) -> Endured:
    """Run it in this process."""
    return anyio.run(endured, early, swaps, lines, settle, backend=backend)


async def measured(effort: Effort, backend: str, title: str) -> Sections:
    """Measure the small plugin and the large one."""
    early, swaps, settle = (10, 50, SETTLE / 4) if effort.quick else (100, 1000, SETTLE)
    sections: dict[str, list[Amount]] = {}
    for lines in (SMALL,) if effort.quick and title else (SMALL, LARGE):
        came = await in_process(run, backend, early, swaps, lines, settle)
        what = f"{title}{swaps:,} swaps of {lines} lines and a helper under {came.rate:,.0f} calls/s"
        if came.failed:
            what += f" ({came.problem})"
        sections[what] = amounts(came, BOUND_SWAP_MS if lines == LARGE else None)
        sections[f"{title}What is left after {swaps:,} swaps of {lines} lines, beyond that after {early}"] = [
            grown(name, getattr(came.early, field), getattr(came.late, field), unit) for name, field, unit in LEFT
        ]
    return sections


LEFT = (
    ("resident memory", "memory", " MB"),
    ("blocks of memory that Python has given out", "blocks", ""),
    ("objects that the garbage collector tracks", "objects", ""),
    ("modules", "modules", ""),
    ("files in linecache", "sources", ""),
    ("threads", "threads", ""),
)


def grown(name: str, early: float, late: float, unit: str) -> Amount:
    """Tell by how much something has grown."""
    amount = (late / early - 1) * 100 if early else 0.0
    return Amount(f"{name}, {early:,.4g}{unit} and then {late:,.4g}{unit}", amount, "%", BOUND_GROWTH)


def amounts(came: Endured, bound: float | None) -> list[Amount]:
    """Tell what came of a run."""
    return [
        Amount("that failed", came.failed, f"of {came.calls:,} calls", 0),
        Amount("that mix two versions", came.mixed, "answers", 0),
        Amount("of its state that were lost", came.lost, "increments", 0),
        Amount("99th percentile of calls that meet no swap", came.p99_beside * 1e3, "ms"),
        Amount(f"99th percentile of the {came.overlapping:,} that overlap one", came.p99_during * 1e3, "ms"),
        Amount("by how much that is above", (came.p99_during - came.p99_beside) * 1e3, "ms", BOUND_P99_MS),
        Amount("one swap as Swapped.seconds has it, median", came.median * 1e3, "ms", bound),
        Amount("one swap, 99th percentile", came.p99 * 1e3, "ms"),
        Amount("beside: the longest garbage collection meanwhile", came.pause * 1e3, "ms"),
    ]


on_asyncio = partial(measured, backend="asyncio", title="")
on_trio = partial(measured, backend="trio", title="On trio: ")
