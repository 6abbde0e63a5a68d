"""Time as the host sees it: one object to inject, so that tests need not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import anyio


class Timer(Protocol):
    """Something that will be called, unless ``cancel`` comes first."""

    def cancel(self) -> None:
        """Do not call it; twice does no harm."""
        ...


class Clock(Protocol):
    """What the host asks of time; ``aetherra.kernel.testing.FakeClock`` is the other one."""

    def monotonic(self) -> float:
        """Seconds that only ever go forward; for durations and deadlines."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; for records that people or another process read."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a checkpoint even for 0."""
        ...

    def move_on_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """Cancel the body after ``seconds``; the scope tells by ``cancelled_caught`` if it was."""
        ...

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> Timer:
        """Call a function once ``monotonic()`` is ``when``, on the asyncio event loop that runs now."""
        ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await anyio.sleep(seconds)

    def move_on_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """Cancel the body after ``seconds`` of the event loop's time."""
        return anyio.move_on_after(seconds)

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> Timer:
        """Call a function once ``monotonic()`` is ``when``; asyncio only."""
        return asyncio.get_running_loop().call_later(when - time.monotonic(), function, *args)
