"""The three lanes: bounded queues that take turns by weight, so that none starves."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from aetherra.registry.wakeup import Wakeup, new_wakeup, wait, wake


class Item(Protocol):
    """What can wait in a lane; ``in_lane`` is the lane's to set."""

    in_lane: bool


ItemT = TypeVar("ItemT", bound=Item)
STALE = 1000
"""Removed items whose places may pile up in a lane, beyond as many as it has, until it is swept."""


class Lane(Generic[ItemT]):
    """One lane: a queue for each level of urgency.

    Attributes:
        held: Items that take up room: those in the lane, those that will come back to it, and those on their way in.
        depth: Items in the lane.
        refused: Items that found no room, or the lane shed.
        is_shed: Whether nothing is taken from it, and newcomers are to be refused.
        waiters: Who waits for room.
    """

    __slots__ = (
        "_stale", "capacity", "credit", "depth", "held", "is_shed", "levels", "name", "refused", "waiters", "weight"
    )  # fmt: skip

    def __init__(self, name: str, capacity: int, weight: int, levels: int) -> None:
        self.name = name
        self.capacity = capacity
        self.weight = weight
        self.credit = 0
        self.is_shed = False
        self.held = self.depth = self.refused = 0
        self.levels: tuple[deque[ItemT], ...] = tuple(deque() for _ in range(levels))
        self._stale = 0
        self.waiters: deque[Wakeup] = deque()

    @property
    def has_room(self) -> bool:
        """Whether it takes another item; those who wait for room come first."""
        return self.held < self.capacity and not self.waiters

    async def wait_for_room(self) -> None:
        """Return once there is room, which is then the caller's, in the order of calls; cancelled, it takes none."""
        waiter = new_wakeup()
        self.waiters.append(waiter)
        self._let_in()
        try:
            await wait(waiter)
        except BaseException:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            else:
                self.give_up_room()
            raise

    def give_up_room(self) -> None:
        """Let another item have the room of one."""
        self.held -= 1
        if self.waiters:
            self._let_in()

    def _let_in(self) -> None:
        while self.waiters and self.held < self.capacity:
            self.held += 1
            wake(self.waiters.popleft())

    def set(self, capacity: int, weight: int) -> None:
        """Change its bounds; what is there stays, also beyond them."""
        self.capacity, self.weight = capacity, weight
        self._let_in()

    def take(self) -> ItemT:
        """Remove and return the most urgent item; equals leave in the order they came. There must be one."""
        for level in self.levels:
            while level:
                item = level.popleft()
                if item.in_lane:
                    item.in_lane = False
                    self.depth -= 1
                    self.held -= 1
                    if self.waiters:
                        self._let_in()
                    return item
                self._stale -= 1
        raise LookupError("the lane is empty")

    def discard(self, item: ItemT) -> None:
        """Remove an item; its room stays taken until it is given up."""
        if item.in_lane:
            item.in_lane = False
            self.depth -= 1
            self._stale += 1
            if self._stale > self.depth + STALE:
                self._sweep()

    def _sweep(self) -> None:
        for level in self.levels:
            kept = [item for item in level if item.in_lane]
            level.clear()
            level.extend(kept)
        self._stale = 0


class Lanes(Generic[ItemT]):
    """A queue of several lanes for many readers.

    In a lane the most urgent level leaves first, and equals in the order they came. Between lanes that hold something,
    turns are dealt by smooth weighted round robin (as nginx deals its upstreams).

    Args:
        lanes: Name to capacity, weight, and how many levels of urgency.
    """

    def __init__(self, lanes: Mapping[str, tuple[int, int, int]]) -> None:
        self.lanes: dict[str, Lane[ItemT]] = {name: Lane(name, *bounds) for name, bounds in lanes.items()}
        self._all = tuple(self.lanes.values())
        self._readers: list[Wakeup] = []

    def __len__(self) -> int:
        return sum(lane.depth for lane in self._all)

    def put(self, lane: Lane[ItemT], level: deque[ItemT], item: ItemT) -> None:
        """Put an item in one of a lane's levels; its room is taken already."""
        item.in_lane = True
        level.append(item)
        lane.depth += 1
        if self._readers:
            wake(self._readers.pop())

    def take(self) -> ItemT | None:
        """Remove and return the next item, ``None`` if all lanes are empty; its room is free."""
        chosen = None
        for lane in self._all:
            if lane.depth:
                if chosen is not None:
                    return self._by_turn().take()
                chosen = lane
        return None if chosen is None else chosen.take()

    def _by_turn(self) -> Lane[ItemT]:
        ready = [lane for lane in self._all if lane.depth]
        for lane in ready:
            lane.credit += lane.weight
        chosen = max(ready, key=lambda lane: lane.credit)
        chosen.credit -= sum(lane.weight for lane in ready)
        return chosen

    async def wait(self) -> None:
        """Return when there may be an item to take, or after ``wake_all``. A cancelled call takes no wake-up along."""
        reader = new_wakeup()
        self._readers.append(reader)
        try:
            await wait(reader)
        except BaseException:
            if reader in self._readers:
                self._readers.remove(reader)
            elif len(self):
                self.wake_one()  # the wake-up was ours; hand it on
            raise

    def wake_one(self) -> None:
        """Let one reader look again."""
        if self._readers:
            wake(self._readers.pop())

    def wake_all(self) -> None:
        """Let all readers look again."""
        while self._readers:
            wake(self._readers.pop())
