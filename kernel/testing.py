"""For tests of plugins and hosts: a clock that goes when it is told to, and a host for a single plugin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel

from aetherra.kernel.kernel import Kernel
from aetherra.kernel.plugin import Plugin, Settings
from aetherra.registry import Timer

TURNS = 30
"""Turns of the event loop in which most tasks come to rest."""


class FakeClock:
    """A clock that stands still until ``advance``; sleeps and timeouts that ask it are exact and take no real time.

    Args:
        start: What ``time()`` says at first, in Unix seconds; ``monotonic()`` begins at 0.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._offset = start
        self._sequence = count()
        self._due: dict[int, tuple[float, Callable[[], object]]] = {}

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
        with self._due_after(seconds, event.set):
            await event.wait()

    @contextmanager
    def move_on_after(self, seconds: float) -> Generator[anyio.CancelScope]:
        """Cancel the body once the clock was advanced by ``seconds``; at its first checkpoint if that is no time."""
        with anyio.CancelScope() as scope:
            if seconds <= 0:
                scope.cancel()
            with self._due_after(seconds, scope.cancel):
                yield scope

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> Timer:
        """Call a function once the clock was advanced to ``when``."""
        number = next(self._sequence)
        self._due[number] = (when, partial(function, *args))
        return _Due(self._due, number)

    @contextmanager
    def _due_after(self, seconds: float, action: Callable[[], object]) -> Generator[None]:
        timer = self.call_at(self._now + max(0.0, seconds), action)
        try:
            yield
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping wherever something is due until all tasks have come to rest.

        Raises:
            ValueError: ``seconds`` is less than 0; time goes forward only.
        """
        if not seconds >= 0:
            raise ValueError(f"expected seconds from 0 on, got {seconds!r}")
        until = self._now + seconds
        await _rest()
        while self._due:
            number = min(self._due, key=lambda due: (self._due[due][0], due))
            when, action = self._due[number]
            if when > until:
                break
            del self._due[number]
            self._now = max(self._now, when)
            action()
            await _rest()
        self._now = until
        await _rest()


class _Due:
    """One thing that is due on a fake clock."""

    def __init__(self, due: dict[int, tuple[float, Callable[[], object]]], number: int) -> None:
        self._due = due
        self._number = number

    def cancel(self) -> None:
        self._due.pop(self._number, None)


async def _rest() -> None:
    """Return once all tasks wait; tries turns of the loop first, as asyncio's own way sleeps 0.1 s at a time."""
    for _ in range(TURNS):
        await anyio.lowlevel.checkpoint()
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
