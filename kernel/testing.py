"""For tests of plugins and hosts: a clock that goes when it is told to, and a host for a single plugin."""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import anyio

from aetherra.kernel.kernel import Kernel
from aetherra.kernel.plugin import Plugin, Settings


class FakeClock:
    """A clock that stands still until ``advance``; sleeps and timeouts that ask it are exact and take no real time.

    Args:
        start: What ``time()`` says at first, in Unix seconds; ``monotonic()`` begins at 0.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._offset = start
        self._sequence = count()
        self._due: list[tuple[float, int, anyio.Event | anyio.CancelScope]] = []

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._now

    def time(self) -> float:
        """Unix seconds."""
        return self._offset + self._now

    def set_time(self, unix: float) -> None:
        """Let the wall clock jump, forward or back; ``monotonic()`` does not."""
        self._offset = unix - self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by ``seconds``."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        self._at(seconds, event)
        await event.wait()

    @contextmanager
    def move_on_after(self, seconds: float) -> Generator[anyio.CancelScope]:
        """Cancel the body once the clock was advanced by ``seconds``."""
        with anyio.CancelScope() as scope:
            entry = self._at(seconds, scope)
            try:
                yield scope
            finally:
                if entry in self._due:
                    self._due.remove(entry)
                    heapq.heapify(self._due)

    def _at(
        self, seconds: float, thing: anyio.Event | anyio.CancelScope
    ) -> tuple[float, int, anyio.Event | anyio.CancelScope]:
        entry = (self._now + seconds, next(self._sequence), thing)
        heapq.heappush(self._due, entry)
        return entry

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping wherever something is due until all tasks have come to rest."""
        until = self._now + seconds
        await anyio.wait_all_tasks_blocked()
        while self._due and self._due[0][0] <= until:
            self._now, _, thing = heapq.heappop(self._due)
            if isinstance(thing, anyio.CancelScope):
                thing.cancel()
            else:
                thing.set()
            await anyio.wait_all_tasks_blocked()
        self._now = until
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def run_plugin(
    plugin_type: type[Plugin[Any]],
    settings: Mapping[str, Any] | Settings | None = None,
    *,
    clock: FakeClock | None = None,
) -> AsyncGenerator[Kernel]:
    """Host one plugin in memory, on a fake clock, for the length of a test.

    Raises:
        PluginLoadError: It could not be brought up.
    """
    async with Kernel(clock=clock or FakeClock()) as kernel:
        await kernel.add_plugin(plugin_type, settings=settings)
        yield kernel
