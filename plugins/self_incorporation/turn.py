"""The turn: lets one thread at a time at what no two may use at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from aetherra.plugins import PluginContext

__all__ = ["Turn"]

T = TypeVar("T")


class Turn:
    """Whoever asks waits for those that asked before; a cancelled caller waits for its own function's end."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._lock = anyio.Lock()

    async def ask(self, function: Callable[[], T]) -> T:
        """Run a function in a worker thread, once it is its turn."""
        async with self._lock:
            return await self._ctx.run_sync(function)
