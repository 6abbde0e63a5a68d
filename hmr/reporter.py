"""The reporter: remembers how swaps ended, and tells it to the log and to all who listen."""

from __future__ import annotations

from collections import deque

import anyio

from aetherra.hmr.errors import SwapError
from aetherra.hmr.messages import How, SwapFailed, Swapped, SwapRecord
from aetherra.kernel import PluginContext
from aetherra.registry import Message

HISTORY = 200
"""Swaps that ``hmr.status`` remembers."""
PUBLISH_SEC = 5.0
"""How long listeners that block their publishers may hold an event up."""


class Reporter:
    """Tells each attempt once."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._records: deque[SwapRecord] = deque(maxlen=HISTORY)

    @property
    def records(self) -> tuple[SwapRecord, ...]:
        """The last swaps, newest last."""
        return tuple(self._records)

    async def tell_swapped(self, swapped: Swapped) -> None:
        """Tell of a swap that happened."""
        self._records.append(
            SwapRecord(
                ts=self._ctx.clock.time(),
                plugin=swapped.plugin,
                how=swapped.how,
                outcome="swapped",
                generation=swapped.generation,
                seconds=swapped.seconds,
            )
        )
        self._ctx.log.info(
            "%s swapped by %s: generation %d -> %d in %.1f ms",
            swapped.plugin,
            swapped.how,
            swapped.old_generation,
            swapped.generation,
            swapped.seconds * 1000,
        )
        await self._publish(swapped)

    async def tell_failed(self, error: SwapError, how: How, seconds: float) -> None:
        """Tell of one that did not."""
        problem = f"{error.code}: {error.problem}"
        self._records.append(SwapRecord(self._ctx.clock.time(), error.plugin, how, "failed", 0, seconds, problem))
        self._ctx.log.warning("%s", error)
        await self._publish(SwapFailed(error.plugin, error.code, error.problem))

    async def _publish(self, event: Message) -> None:
        """Publish also when cancelled, for it has happened; one who blocks his publishers is waited for a while."""
        with anyio.CancelScope(shield=True), self._ctx.clock.move_on_after(PUBLISH_SEC):
            await self._ctx.publish(event)
