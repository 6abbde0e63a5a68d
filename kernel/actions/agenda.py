"""The agenda: which actions are due when, in one task instead of one for each that waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Generic, Protocol, TypeVar

import anyio

from aetherra.registry import Clock


class Entry(Protocol):
    """What can be due; ``due`` is the agenda's to set: the number of its entry, 0 for none."""

    due: int


EntryT = TypeVar("EntryT", bound=Entry)
STALE = 1000
"""Entries that count no more and may pile up, beyond as many as do."""


class Agenda(Generic[EntryT]):
    """Calls ``act`` for each entry when it is due, and ``look`` when it is time to.

    Args:
        clock: Where time comes from.
        act: Told of an entry that is due; it is off the agenda.
        look: Asked to look around, with the time; returns when to do so again.
    """

    def __init__(self, clock: Clock, act: Callable[[EntryT], None], look: Callable[[float], float]) -> None:
        self.look_at = inf
        self._clock = clock
        self._act = act
        self._look = look
        self._heap: list[tuple[float, int, EntryT]] = []
        self._next_number = count(1).__next__
        self._stale = 0
        self._asleep_until = -inf
        self._changed: anyio.Event | None = None

    def put(self, entry: EntryT, when: float) -> None:
        """Have an entry fall due at a time of ``clock.monotonic()``; it is on the agenda once."""
        self.discard(entry)
        entry.due = self._next_number()
        heapq.heappush(self._heap, (when, entry.due, entry))
        self._wake_by(when)

    def discard(self, entry: EntryT) -> None:
        """Take an entry off; one that is not on it does no harm."""
        if entry.due:
            entry.due = 0
            self._stale += 1
            if self._stale > STALE + len(self._heap) // 2:
                self._heap = [known for known in self._heap if known[2].due == known[1]]
                heapq.heapify(self._heap)
                self._stale = 0

    def look_by(self, when: float) -> None:
        """Look around at a time, or before."""
        if when < self.look_at:
            self.look_at = when
            self._wake_by(when)

    def _wake_by(self, when: float) -> None:
        if when < self._asleep_until and self._changed is not None:
            self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._asleep_until = -inf
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                _, number, entry = heapq.heappop(self._heap)
                if entry.due == number:
                    entry.due = 0
                    self._act(entry)
                else:
                    self._stale -= 1
            if self.look_at <= now:
                self.look_at = inf
                again = self._look(now)  # which may have asked for another itself
                self.look_at = min(self.look_at, again)
            await self._sleep(min(self.look_at, self._heap[0][0] if self._heap else inf))

    async def _sleep(self, until: float) -> None:
        self._asleep_until = until
        self._changed = anyio.Event()
        if until == inf:
            await self._changed.wait()
            return
        with self._clock.move_on_after(max(0.0, until - self._clock.monotonic())):
            await self._changed.wait()
