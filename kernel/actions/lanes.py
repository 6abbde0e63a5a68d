"""The three lanes: bounded queues that take turns by weight, so that none starves, and a reserve beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from aetherra.registry.wakeup import Wakeup, new_wakeup, wait, wake


class Item(Protocol):
    """What can wait in a lane; ``in_lane`` is the lane's to set."""

    in_lane: bool


ItemT = TypeVar("ItemT", bound=Item)
STALE = 1000
"""Removed items whose places may pile up in a lane, beyond as many as it has, until it is swept."""


class LaneBounds(msgspec.Struct, frozen=True):
    """What to change of a lane; ``None`` leaves it as it is.

    Attributes:
        capacity: Actions that may wait, in it or between two attempts.
        weight: Its share of turns.
        shed: Whether it refuses newcomers and starts nothing of what waits, which stays until it is shed no more.
    """

    capacity: int | None = None
    weight: int | None = None
    shed: bool | None = None


class Lane(Generic[ItemT]):
    """One lane: a queue for each level of urgency.

    Attributes:
        room: Items that it takes: its capacity, none while it is shed.
        held: Items that take up room: those in the lane, those that will come back to it, and those on their way in.
        depth: Items in the lane.
        refused: Items that found no room, or the lane shed.
        is_shed: Whether nothing is taken from it, and newcomers are to be refused.
        waiters: Who waits for room.
    """

    __slots__ = (
        "_stale", "capacity", "credit", "depth", "held", "is_shed", "levels", "name", "refused", "room", "waiters",
        "weight",
    )  # fmt: skip

    def __init__(self, name: str, capacity: int, weight: int, levels: int) -> None:
        self.name = name
        self.capacity = self.room = capacity
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
        return self.held < self.room and not self.waiters

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
        while self.waiters and self.held < self.room:
            self.held += 1
            wake(self.waiters.popleft())

    def set(self, capacity: int, weight: int, *, shed: bool = False) -> None:
        """Change its bounds; what is there stays, also beyond them, and whoever waits for room waits on."""
        self.capacity, self.weight, self.is_shed = capacity, weight, shed
        self.room = 0 if shed else capacity
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

    def take_of(self, level: deque[ItemT]) -> ItemT | None:
        """Remove and return the first item of one level, ``None`` if there is none."""
        while level:
            item = level.popleft()
            if item.in_lane:
                item.in_lane = False
                self.depth -= 1
                self.give_up_room()
                return item
            self._stale -= 1
        return None

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
    turns are dealt by smooth weighted round robin (as nginx deals its upstreams). A lane that is shed gets none.

    One level may be reserved: beside all readers, one of its own takes what no other is free to take, and what is there
    while its lane is shed.

    Args:
        lanes: Name to capacity, weight, and how many levels of urgency.
        reserved: The lane and the level that have a reader of their own; ``None`` for no such level.
    """

    def __init__(self, lanes: Mapping[str, tuple[int, int, int]], reserved: tuple[str, int] | None = None) -> None:
        self.lanes: dict[str, Lane[ItemT]] = {name: Lane(name, *bounds) for name, bounds in lanes.items()}
        self._all = self._open = tuple(self.lanes.values())
        self._readers: list[Wakeup] = []
        self._reserved_lane = None if reserved is None else self.lanes[reserved[0]]
        self.reserved = None if reserved is None else self.lanes[reserved[0]].levels[reserved[1]]
        self._reserve: Wakeup | None = None

    def __len__(self) -> int:
        return sum(lane.depth for lane in self._all)

    def put(self, lane: Lane[ItemT], level: deque[ItemT], item: ItemT) -> None:
        """Put an item in one of a lane's levels; its room is taken already."""
        item.in_lane = True
        level.append(item)
        lane.depth += 1
        if self._readers and lane.room:
            wake(self._readers.pop())
        elif self.reserved and self._reserve is not None:
            wake(self._reserve)

    def set(self, lane: Lane[ItemT], capacity: int, weight: int, *, shed: bool) -> None:
        """Change a lane's bounds, and whether it is shed; what waits in one that is no more is there to be taken."""
        was_shed = lane.is_shed
        lane.set(capacity, weight, shed=shed)
        if shed is not was_shed:
            self._open = tuple(lane for lane in self._all if not lane.is_shed)
            self.wake_all()

    def take(self) -> ItemT | None:
        """Remove and return the next item, ``None`` if all lanes are empty or shed; its room is free."""
        chosen = None
        for lane in self._open:
            if lane.depth:
                if chosen is not None:
                    return self._by_turn().take()
                chosen = lane
        return None if chosen is None else chosen.take()

    def _by_turn(self) -> Lane[ItemT]:
        ready = [lane for lane in self._open if lane.depth]
        for lane in ready:
            lane.credit += lane.weight
        chosen = max(ready, key=lambda lane: lane.credit)
        chosen.credit -= sum(lane.weight for lane in ready)
        return chosen

    def take_reserved(self) -> ItemT | None:
        """Remove and return the first item of the reserved level, ``None`` if there is none."""
        if self._reserved_lane is None or self.reserved is None:
            return None
        return self._reserved_lane.take_of(self.reserved)

    async def wait_reserved(self) -> None:
        """Return when there may be an item of the reserved level to take; there is one who waits at a time."""
        self._reserve = new_wakeup()
        try:
            await wait(self._reserve)
        finally:
            self._reserve = None

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
        """Let all readers look again, that of the reserve among them."""
        while self._readers:
            wake(self._readers.pop())
        if self._reserve is not None:
            wake(self._reserve)
