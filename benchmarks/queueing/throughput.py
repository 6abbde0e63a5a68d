"""Throughput: actions that do nothing, submitted and done in memory, beside a bare heap and eight workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from aetherra.registry import Request
from measuring.figures import Case, Effort, Figure, measure
from queueing.stage import WORKERS, BareLoop, config, serving, submitted
from queueing.vocabulary import Noop, NoopAfterTurn, NoopMaybeLater, NoopPlainly, Noops

BOUND = 8.0


def actions(effort: Effort) -> int:
    """Return how many actions a sample makes."""
    return 5_000 if effort.quick else 100_000


@asynccontextmanager
async def bare_loop(loop: BareLoop) -> AsyncGenerator[None]:
    """Let a floor's workers work while the body runs."""
    async with anyio.create_task_group() as group:
        for _ in range(WORKERS):
            group.start_soon(loop.work)
        yield
        group.cancel_scope.cancel()


async def measured(
    effort: Effort,
    event_type: Callable[[], Any],
    turn: Callable[[], Awaitable[object]],
    title: str,
    *,
    bound: float | None = BOUND,
) -> dict[str, list[Figure]]:
    """Measure each kind of handler; those that wait do so by ``turn``."""
    Noops.turn = staticmethod(turn)
    twin, number = Noops(), actions(effort)
    kinds: list[tuple[str, Callable[[Any], Any], Request[Any]]] = [
        ("an async handler", twin.noop, Noop()),
        ("an async handler that could wait", twin.noop_maybe_later, NoopMaybeLater()),
        ("a plain handler", twin.noop_plainly, NoopPlainly()),
        ("a handler that waits for a turn of the loop", twin.noop_after_turn, NoopAfterTurn()),
    ]
    figures: list[Figure] = []
    async with serving(config()) as kernel:
        for kind, handler, request in kinds:
            loop = BareLoop(event_type, handler, waits=handler != twin.noop_plainly)
            floor = f"floor: a bare heap and {WORKERS} workers, {kind}"
            async with bare_loop(loop):
                figures += await measure(
                    [
                        Case(floor, loop.submitted(request), unit="action", count=number),
                        Case(
                            f"kernel.submit, {kind}", submitted(kernel, request), floor, bound, "action", count=number
                        ),
                    ],
                    effort,
                )
    return {f"{title}{number:,} actions that do nothing, in memory, submitted and done": figures}


async def on_asyncio(effort: Effort) -> dict[str, list[Figure]]:
    """Measure on asyncio."""
    return await measured(effort, asyncio.Event, partial(asyncio.sleep, 0), "")


async def on_trio(effort: Effort) -> dict[str, list[Figure]]:
    """Measure on trio, beside its own floor; nothing is promised there."""
    import trio  # noqa: PLC0415  # an extra

    return await measured(effort, trio.Event, trio.lowlevel.checkpoint, "On trio: ", bound=None)
