"""A loop of a plugin: it waits, then acts, and can be paused between the two but never inside an act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import anyio

from aetherra.kernel.stacks import coroutine_stack

T = TypeVar("T")


class Loop(Generic[T]):
    """Waits for something and acts on it, again and again; paused until it is first resumed.

    Args:
        name: What logs call it.
        wait: Returns the next thing, or raises ``StopAsyncIteration`` when there will be none; it may be cancelled at
            any time and then must have taken nothing.
        act: Handles it; it is not cancelled by a pause. It contains its own faults.
    """

    def __init__(
        self, name: str, wait: Callable[[], Awaitable[T]], act: Callable[[T], Coroutine[Any, Any, None]]
    ) -> None:
        self.name = name
        self._wait = wait
        self._act = act
        self._resumed = anyio.Event()
        self._rested = anyio.Event()
        self._busy = False
        self._waiting: anyio.CancelScope | None = None
        self._acting: Coroutine[Any, Any, None] | None = None

    async def run(self) -> None:
        """Loop while not paused, until there is nothing more to come."""
        try:
            while True:
                self._rest()
                await self._resumed.wait()
                self._busy = True
                await self._turn()
        except StopAsyncIteration:
            return
        finally:
            self._rest()

    async def _turn(self) -> None:
        while self._resumed.is_set():
            things: list[T] = []
            with anyio.CancelScope() as self._waiting:
                things.append(await self._wait())
            for thing in things:
                self._acting = self._act(thing)
                try:
                    await self._acting
                finally:
                    self._acting = None

    def _rest(self) -> None:
        self._busy = False
        self._rested.set()

    def resume(self) -> None:
        """Go on; a pause that has not come to rest is over, too."""
        self._resumed.set()
        self._rested.set()

    def hold(self) -> None:
        """Take nothing more."""
        if self._resumed.is_set():
            self._resumed = anyio.Event()
            self._rested = anyio.Event()
        if self._waiting is not None:
            self._waiting.cancel()

    async def pause(self) -> None:
        """Take nothing more and return once the act in hand is over, or somebody resumed the loop."""
        self.hold()
        if self._busy:
            await self._rested.wait()

    @property
    def acting(self) -> bool:
        """Whether an act is in hand."""
        return self._acting is not None

    def stack(self) -> str:
        """Return where the act in hand waits, as text."""
        return coroutine_stack(self._acting)


class Relay(Generic[T]):
    """An async iterator whose next item can be waited for, and the waiting cancelled, without harm to the iterator.

    Cancelling an async generator ends it for good. So ``draw`` runs in a task of its own and draws one item ahead.
    """

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._drawn: list[T] = []
        self._ended = False
        self._changed = anyio.Event()

    async def draw(self) -> None:
        """Draw items, each once the one before was taken; raises what the iterator raises."""
        try:
            async for item in self._items:
                self._drawn.append(item)
                self._tell()
                while self._drawn:
                    await self._changed.wait()
        finally:
            self._ended = True
            self._tell()
            aclose: Callable[[], Awaitable[None]] | None = getattr(self._items, "aclose", None)
            if aclose is not None:
                await aclose()

    async def __anext__(self) -> T:
        """Return the next item; a cancelled call takes none."""
        while not self._drawn:
            if self._ended:
                raise StopAsyncIteration
            await self._changed.wait()
        (item,) = self.take()
        return item

    def take(self) -> list[T]:
        """Return the item that was drawn and not taken, if there is one."""
        items, self._drawn = self._drawn, []
        self._tell()
        return items

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
