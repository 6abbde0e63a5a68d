"""Memory: what an action that waits in the queue weighs."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import ExitStack

import anyio
import anyio.lowlevel

from aetherra.kernel.config import Durability
from measuring.figures import Effort
from measuring.report import Amount
from queueing.stage import PATIENCE, config, folder_on_disk, held, serving
from queueing.vocabulary import Noop, Noops

BOUND = 1500
"""Bytes, its request included."""


async def measured(effort: Effort) -> dict[str, list[Amount]]:
    """Measure it in memory alone, and with a journal."""
    count = 10_000 if effort.quick else 100_000
    kinds: tuple[tuple[str, Durability, bool], ...] = (
        ("in memory", "none", False),
        ("in memory, its handle kept by the submitter", "none", True),
        ("with a journal", "process", False),
    )
    return {
        f"Memory of each of {count:,} queued actions, its request included": [
            Amount(name, await per_action(count, durability, kept=kept), "bytes", BOUND)
            for name, durability, kept in kinds
        ]
    }


async def per_action(count: int, durability: Durability, *, kept: bool) -> float:
    """Return the traced bytes of each of so many actions behind a worker that is held."""
    with ExitStack() as stack:
        folder = None if durability == "none" else stack.enter_context(folder_on_disk())
        async with serving(config(durability, folder, workers=1)) as kernel:
            async with held(kernel):
                before = traced(start=True)
                handles: list[object] = []
                for number in range(count):
                    handle = await kernel.submit(Noop(number))
                    if kept:
                        handles.append(handle)
                grown = traced() - before
                tracemalloc.stop()
            with anyio.fail_after(PATIENCE):
                while Noops.tally.ran < count:
                    await anyio.lowlevel.checkpoint()
            return grown / count


def traced(*, start: bool = False) -> int:
    """Return the bytes that are traced now, once garbage is gone."""
    gc.collect()
    if start:
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]
