"""A loop of a plugin: it waits, then acts, and can be paused between the two but never inside an act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Loop(Generic[T]):
    """Waits for something and acts on it, again and again.

    Args:
        wait: Returns the next thing, or raises ``anyio.EndOfStream`` when there will be none; it may be cancelled at
            any time and then must have taken nothing.
        act: Handles it; it is not cancelled by a pause. It contains its own faults.
    """

    def __init__(self, wait: Callable[[], Awaitable[T]], act: Callable[[T], Awaitable[None]]) -> None:
        self._wait = wait
        self._act = act
        self._paused = False
        self._waiting: anyio.CancelScope | None = None
        self._resting: anyio.Event | None = None

    async def run(self) -> None:
        """Loop until paused, or until there is nothing more to come; one that has not come to rest goes on."""
        self._paused = False
        if self._resting is not None and not self._resting.is_set():
            return
        self._resting = anyio.Event()
        try:
            while not self._paused:
                things: list[T] = []
                with anyio.CancelScope() as scope:
                    self._waiting = scope
                    things.append(await self._wait())
                self._waiting = None  # a pause that comes now must not reach the act
                for thing in things:
                    await self._act(thing)
        except anyio.EndOfStream:
            return
        finally:
            self._waiting = None
            self._resting.set()

    async def pause(self) -> None:
        """Take nothing more and return once the act in hand is over; ``run`` starts it again."""
        self._paused = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._resting is not None:
            await self._resting.wait()
