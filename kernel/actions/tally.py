"""What is counted of actions: by type and lane, to be added up for either."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import islice
from math import inf
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from aetherra.kernel.actions.dlq import DlqStatistics
from aetherra.kernel.actions.lanes import Lane
from aetherra.registry import HOST, Message
from aetherra.registry.call import Line
from aetherra.registry.latency import KEPT, Latency


class Counted(Protocol):
    """What is counted: something that waits in a lane, and when it was admitted."""

    in_lane: bool
    since: float


CountedT = TypeVar("CountedT", bound=Counted)


class TypeStatistics(msgspec.Struct, frozen=True):
    """A snapshot of the actions of one type; counters run since the start.

    Attributes:
        depth: Actions in their lanes.
        waiting: Actions between two attempts, or held while their plugin is swapped.
        running: Actions whose attempt runs.
        oldest_age: Seconds since the admission of the oldest unfinished one; ``None`` if there is none.
        accepted: Actions taken in.
        done: Actions done.
        retried: Attempts that were followed by another.
        dead: Actions dead-lettered, by reason; those that were refused are in it, too.
        overruns: Attempts that went on after they were cancelled for their time limit.
        wait: Seconds from when an action could run until it did, of the last ones.
        run: Seconds that attempts took, of the last ones.
    """

    depth: int
    waiting: int
    running: int
    oldest_age: float | None
    accepted: int
    done: int
    retried: int
    dead: dict[str, int]
    overruns: int
    wait: Latency
    run: Latency


class LaneStatistics(TypeStatistics, frozen=True):
    """A snapshot of one lane: what ``TypeStatistics`` tells of its actions, and of itself.

    Attributes:
        capacity: Actions that may wait, in it or between two attempts.
        weight: Its share of turns.
        refused: Actions that found no room, or the lane shed.
        shed: Whether it refuses newcomers and starts nothing of what waits.
    """

    capacity: int
    weight: int
    refused: int
    shed: bool


class ActionStatistics(Message, tag="kernel.actions_reply"):
    """A snapshot of the queue; counters run since the start.

    Attributes:
        lanes: Each lane.
        types: Each type of action that was submitted.
        workers: Actions that may run at a time.
        running: Actions that run now.
        waiting: Actions between two attempts, those of a plugin that is being swapped, and those of an earlier run
            whose plugin is not there yet.
        oldest_age: Seconds since the admission of the oldest unfinished action; ``None`` if there is none.
        accepted: Actions taken in.
        done: Actions done.
        retried: Attempts that were followed by another.
        dead: Actions dead-lettered, by reason.
        overruns: Attempts that went on after they were cancelled for their time limit.
        overrunning: Those of them that still do.
        keys: Idempotency keys that count now.
        duplicates: Submissions that were found to be an action already known by its key.
        dlq: The dead letter queue.
    """

    lanes: dict[str, LaneStatistics]
    types: dict[str, TypeStatistics]
    workers: int
    running: int
    waiting: int
    oldest_age: float | None
    accepted: int
    done: int
    retried: int
    dead: dict[str, int]
    overruns: int
    overrunning: int
    keys: int
    duplicates: int
    dlq: DlqStatistics


class Tally(Generic[CountedT]):
    """The actions of one type in one lane: those that are not finished, in the order they came, and the counters."""

    __slots__ = (
        "accepted",
        "action_type",
        "dead",
        "done",
        "lane",
        "late",
        "line",
        "newest",
        "open",
        "overruns",
        "retried",
        "running",
        "runs",
        "waiting",
        "waits",
    )

    def __init__(self, action_type: str, lane: Lane[CountedT]) -> None:
        self.action_type = action_type
        self.lane = lane
        self.line = Line(HOST, action_type, "action")
        self.open: dict[str, CountedT] = {}
        self.late: list[tuple[float, str]] = []  # those that may stand behind younger ones, the oldest first
        self.newest = -inf  # when the youngest of the others was admitted, as of the last one added
        self.accepted = self.done = self.retried = self.running = self.waiting = self.overruns = 0
        self.dead: Counter[str] = Counter()
        self.waits: deque[float] = deque(maxlen=KEPT)
        self.runs: deque[float] = deque(maxlen=KEPT)

    def add(self, trace_id: str, item: CountedT) -> None:
        """Have one that may have been admitted before those that are there, as in an earlier run."""
        if self.open:
            last = next(reversed(self.open.values())).since
            self.newest = max(self.newest, last)
            if item.since < self.newest:
                heappush(self.late, (item.since, trace_id))
        self.open[trace_id] = item

    def oldest(self) -> float | None:
        """Return when the oldest unfinished one was admitted, ``None`` if there is none."""
        first = next((item.since for item in self.open.values()), inf)
        while self.late:
            since, trace_id = self.late[0]
            if trace_id in self.open and self.open[trace_id].since == since:
                return min(first, since)
            heappop(self.late)
        return first if self.open else None


def type_statistics(tallies: Iterable[Tally[Any]], now: float) -> TypeStatistics:
    """Return the snapshot of some tallies together."""
    return TypeStatistics(*_together(list(tallies), now))


def lane_statistics(lane: Lane[Any], tallies: Iterable[Tally[Any]], now: float) -> LaneStatistics:
    """Return the snapshot of a lane, given its tallies."""
    return LaneStatistics(*_together(list(tallies), now), lane.capacity, lane.weight, lane.refused, lane.is_shed)


def _together(
    tallies: list[Tally[Any]], now: float
) -> tuple[int, int, int, float | None, int, int, int, dict[str, int], int, Latency, Latency]:
    admitted = [since for tally in tallies if (since := tally.oldest()) is not None]
    each = -(-KEPT // max(1, len(tallies)))  # of each its last ones, so that many types make it no slower
    running = sum(tally.running for tally in tallies)
    waiting = sum(tally.waiting for tally in tallies)
    return (
        sum(len(tally.open) for tally in tallies) - running - waiting,
        waiting,
        running,
        now - min(admitted) if admitted else None,
        sum(tally.accepted for tally in tallies),
        sum(tally.done for tally in tallies),
        sum(tally.retried for tally in tallies),
        dict(sum((tally.dead for tally in tallies), Counter[str]())),
        sum(tally.overruns for tally in tallies),
        Latency.of(wait for tally in tallies for wait in islice(reversed(tally.waits), each)),
        Latency.of(run for tally in tallies for run in islice(reversed(tally.runs), each)),
    )
