"""The three lanes: bounded heaps that take turns by weight, so that none starves."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import count
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel
import msgspec

T = TypeVar("T")


class LaneStatistics(msgspec.Struct, frozen=True):
    """A snapshot of one lane: waiting now, room in all, share of turns, and refused since the start."""

    depth: int
    capacity: int
    weight: int
    refused: int


class _Lane(Generic[T]):
    __slots__ = ("capacity", "credit", "heap", "refused", "weight")

    def __init__(self, capacity: int, weight: int) -> None:
        self.capacity = capacity
        self.weight = weight
        self.credit = 0
        self.refused = 0
        self.heap: list[tuple[int, int, T]] = []


class Lanes(Generic[T]):
    """A queue of several lanes for many readers.

    In a lane the lowest priority number leaves first, and equals in the order they came. Between lanes that hold
    something, turns are dealt by smooth weighted round robin (as nginx deals its upstreams).

    Args:
        lanes: Name to capacity and weight.
    """

    def __init__(self, lanes: Mapping[str, tuple[int, int]]) -> None:
        self._lanes: dict[str, _Lane[T]] = {name: _Lane(*bounds) for name, bounds in lanes.items()}
        self._sequence = count()
        self._waiting: list[anyio.Event] = []

    def __len__(self) -> int:
        return sum(len(lane.heap) for lane in self._lanes.values())

    def has_room(self, lane_name: str, extra: int = 0) -> bool:
        """Whether a lane takes another item; ``extra`` counts those that belong to it and wait elsewhere."""
        lane = self._lanes[lane_name]
        return len(lane.heap) + extra < lane.capacity

    def refuse(self, lane_name: str) -> None:
        """Count an item that found no room."""
        self._lanes[lane_name].refused += 1

    def put(self, lane_name: str, priority: int, item: T) -> None:
        """Put an item in, also beyond the capacity: what was accepted before must find room again."""
        heapq.heappush(self._lanes[lane_name].heap, (priority, next(self._sequence), item))
        if self._waiting:
            self._waiting.pop().set()

    def discard(self, lane_name: str, item: T) -> None:
        """Remove an item that need not wait any longer; one that is not there does no harm."""
        heap = self._lanes[lane_name].heap
        heap[:] = [entry for entry in heap if entry[2] is not item]
        heapq.heapify(heap)

    async def get(self) -> T:
        """Remove and return the next item, waiting for one if need be. A cancelled call takes none.

        Always lets other tasks run first, so that a reader of a lane that never empties holds up nobody.
        """
        await anyio.lowlevel.checkpoint()
        while not self:
            event = anyio.Event()
            self._waiting.append(event)
            try:
                await event.wait()
            except BaseException:
                if event in self._waiting:
                    self._waiting.remove(event)
                elif self and self._waiting:
                    self._waiting.pop().set()  # the wake-up was ours; hand it on
                raise
        return self._take()

    def _take(self) -> T:
        ready = [lane for lane in self._lanes.values() if lane.heap]
        for lane in ready:
            lane.credit += lane.weight
        chosen = max(ready, key=lambda lane: lane.credit)
        chosen.credit -= sum(lane.weight for lane in ready)
        return heapq.heappop(chosen.heap)[2]

    def clear(self) -> None:
        """Remove all that waits."""
        for lane in self._lanes.values():
            lane.heap.clear()

    def capacity(self, lane_name: str) -> int:
        """How many items a lane may hold."""
        return self._lanes[lane_name].capacity

    def statistics(self) -> dict[str, LaneStatistics]:
        """Return a snapshot of each lane."""
        return {
            name: LaneStatistics(len(lane.heap), lane.capacity, lane.weight, lane.refused)
            for name, lane in self._lanes.items()
        }
