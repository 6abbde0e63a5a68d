"""A bounded mailbox: events for one subscriber, with one stated policy for when it is full."""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar, get_args

import anyio

T = TypeVar("T")
Overflow = Literal["block", "drop_oldest", "drop_newest", "latest"]
"""What a full one does: the publisher waits, the oldest or newest event is dropped, or only the last is kept."""


class Mailbox(Generic[T]):
    """A queue with one reader and any number of writers.

    ``dropped`` counts what the policy threw away. Order is kept. Closing wakes the reader, which takes
    what is left and then ends.
    """

    __slots__ = ("_arrived", "_items", "_room", "capacity", "closed", "dropped", "overflow")

    def __init__(self, capacity: int, overflow: Overflow) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox needs a capacity of at least 1, got {capacity}")
        if overflow not in get_args(Overflow):
            raise ValueError(f"expected an overflow policy out of {', '.join(get_args(Overflow))}, got {overflow!r}")
        self.capacity = 1 if overflow == "latest" else capacity
        self.overflow: Overflow = overflow
        self.dropped = 0
        self.closed = False
        self._items: deque[T] = deque()
        self._arrived: anyio.Event | None = None
        self._room: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether the next event meets the overflow policy."""
        return len(self._items) >= self.capacity

    def put_nowait(self, item: T) -> bool:
        """Add an event and say whether it was kept; a full ``block`` mailbox drops it, as nobody waits."""
        if self.closed:
            return False
        if self.full:
            self.dropped += 1
            if self.overflow in ("block", "drop_newest"):
                return False
            self._items.popleft()
        self._items.append(item)
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None
        return True

    async def put(self, item: T) -> bool:
        """Add an event; with ``block`` wait for room first. A cancelled call adds nothing."""
        while self.full and self.overflow == "block" and not self.closed:
            self._room = self._room or anyio.Event()
            await self._room.wait()
        return self.put_nowait(item)

    async def get(self) -> T:
        """Remove and return the oldest event, waiting for one if need be. A cancelled call takes none.

        Raises:
            anyio.EndOfStream: The mailbox was closed and is empty.
        """
        while not self._items:
            if self.closed:
                raise anyio.EndOfStream
            self._arrived = self._arrived or anyio.Event()
            await self._arrived.wait()
        return self.get_nowait()

    def get_nowait(self) -> T:
        """Remove and return the oldest event.

        Raises:
            anyio.WouldBlock: There is none.
        """
        if not self._items:
            raise anyio.WouldBlock
        item = self._items.popleft()
        if self._room is not None:
            self._room.set()
            self._room = None
        return item

    def close(self) -> None:
        """Take no more events, and wake the reader and the writers."""
        self.closed = True
        for event in (self._arrived, self._room):
            if event is not None:
                event.set()
        self._arrived = self._room = None
