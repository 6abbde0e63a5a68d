"""A bounded mailbox: things for one reader, with one stated policy for when it is full."""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar, get_args

import anyio

from aetherra.registry.wakeup import Wakeup, new_wakeup, wait, wake

T = TypeVar("T")
Overflow = Literal["block", "drop_oldest", "drop_newest", "latest"]
"""What a full one does: the writer waits, the oldest or newest thing is dropped, or only the last is kept."""


class Mailbox(Generic[T]):
    """A queue with one reader (two, while one takes over from another) and any number of writers.

    ``dropped`` counts what the policy threw away. Order is kept. Closing wakes the reader, which takes
    what is left and then ends.
    """

    __slots__ = ("_had_its_turn", "_readers", "_room", "capacity", "closed", "dropped", "items", "overflow")

    def __init__(self, capacity: int, overflow: Overflow) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox needs a capacity of at least 1, got {capacity}")
        if overflow not in get_args(Overflow):
            raise ValueError(f"expected an overflow policy out of {', '.join(get_args(Overflow))}, got {overflow!r}")
        self.capacity = 1 if overflow == "latest" else capacity
        self.overflow: Overflow = overflow
        self.dropped = 0
        self.closed = False
        self.items: deque[T] = deque()
        self._readers: list[Wakeup] = []
        self._room: anyio.Event | None = None
        self._had_its_turn = False

    def __len__(self) -> int:
        return len(self.items)

    @property
    def full(self) -> bool:
        """Whether the next thing meets the overflow policy."""
        return len(self.items) >= self.capacity

    def put_nowait(self, item: T) -> bool:
        """Add something and say whether it was kept; a full ``block`` mailbox drops it, as nobody waits."""
        if self.closed:
            return False
        items = self.items
        if len(items) >= self.capacity:
            self.dropped += 1
            if self.overflow in ("block", "drop_newest"):
                return False
            items.popleft()
        items.append(item)
        if self._readers:
            self._wake_readers()
        return True

    def ask_turn(self) -> bool:
        """Whether its reader should get a turn of the event loop before something is dropped.

        A reader that does not use its turn gets no other until it has taken something: one that hangs costs its
        writers nothing.
        """
        wanted = self.full and not self._had_its_turn
        self._had_its_turn = True
        return wanted

    async def put(self, item: T) -> bool:
        """Add something; with ``block`` wait for room first. A cancelled call adds nothing."""
        while self.full and self.overflow == "block" and not self.closed:
            self._room = self._room or anyio.Event()
            await self._room.wait()
        return self.put_nowait(item)

    async def get(self) -> T:
        """Remove and return the oldest thing, waiting for one if need be. A cancelled call takes none.

        Raises:
            anyio.EndOfStream: The mailbox was closed and is empty.
        """
        while not self.items:
            if self.closed:
                raise anyio.EndOfStream
            wakeup = new_wakeup()
            self._readers.append(wakeup)
            try:
                await wait(wakeup)
            finally:
                if wakeup in self._readers:
                    self._readers.remove(wakeup)
        return self.get_nowait()

    def _wake_readers(self) -> None:
        for wakeup in self._readers:
            wake(wakeup)
        self._readers.clear()

    def get_nowait(self) -> T:
        """Remove and return the oldest thing.

        Raises:
            anyio.WouldBlock: There is none.
        """
        if not self.items:
            raise anyio.WouldBlock
        self._had_its_turn = False
        item = self.items.popleft()
        if self._room is not None:
            self._room.set()
            self._room = None
        return item

    def close(self) -> None:
        """Take no more, and wake the reader and the writers."""
        self.closed = True
        self._wake_readers()
        if self._room is not None:
            self._room.set()
            self._room = None
