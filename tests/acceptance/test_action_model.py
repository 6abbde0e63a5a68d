"""The action queue against a simple model of one: whatever is done to it, in whatever order, both tell the same.

A script of operations drives a real queue, with a real journal and real dead letters, over one or more runs of a host;
the model says beforehand what must come of each. It knows nothing of how the queue works: it looks at all actions there
are, and asks what is due next. Where two things are due at the same instant and nobody promises which comes first, the
model says so, and the script ends there.

A long run: ``AETHERRA_MODEL_EXAMPLES=5000 pytest tests/acceptance/test_action_model.py``.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import anyio
import anyio.abc
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from aetherra.kernel import (
    ActionCancelledError,
    ActionEnvelope,
    ActionExpiredError,
    ActionHandle,
    ActionPriority,
    ActionQueueFullError,
    DeadLetter,
    LaneBounds,
    LaneConfig,
    LanesConfig,
    Reject,
    RetryLater,
    RetryPolicy,
)
from aetherra.kernel.actions import journal, segments
from aetherra.kernel.actions import queue as queue_module
from aetherra.kernel.actions.action import current_action
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.resume import Resumption, without_buried
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, Identity, Message, Request, Route, ServiceRegistry

LONG = "AETHERRA_MODEL_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("AETHERRA_MODEL_EXAMPLES", "30"))
"""Scripts for each event loop."""
EPOCH = 2.0**20
"""When the wall clock begins; all times are multiples of a power of two, so that sums of them are exact."""
GRACE = 1.0
"""Seconds that a handler has to end after its time limit has cancelled it."""
START = 30.0
"""Seconds that actions of an earlier run wait for their plugin."""
RESERVE = 2
"""Maintenance actions that are taken in where others have no room."""
WEIGHTS = {"high": 5, "normal": 3, "background": 1}
TYPES = ("model.quick", "model.slow")


class Done(Message, tag="model.done"):
    number: int


class Quick(Request[Done], tag="model.quick"):
    """Its handler never waits."""

    number: int


class Slow(Request[Done], tag="model.slow"):
    """Its handler may."""

    number: int


REQUESTS: dict[str, Any] = {"model.quick": Quick, "model.slow": Slow}


class Plan(NamedTuple):
    """What one attempt does."""

    what: Literal["done", "fail", "later", "reject", "wrong", "hang", "stubborn"] = "done"
    seconds: float = 0.0
    shielded: bool = False
    later: float = 0.0

    @property
    def is_endless(self) -> bool:
        """Whether only a cancellation ends it, on which ``stubborn`` fails."""
        return self.what in ("hang", "stubborn")


class Order(NamedTuple):
    """What is submitted; ``deadline`` and ``enqueued`` are Unix times."""

    number: int
    type: str
    priority: ActionPriority
    timeout: float
    deadline: float
    retry: RetryPolicy
    target: str
    key: str
    window: float
    enqueued: float
    plans: tuple[Plan, ...]

    def plan(self, attempt: int) -> Plan:
        return self.plans[min(attempt, len(self.plans)) - 1]


# The model


class AmbiguousError(Exception):
    """Two things are due at the same instant, in an order that nobody promises."""


class Act:
    """One accepted action."""

    def __init__(self, order: Order, now: float, deadline: float, attempts: int = 0) -> None:
        self.order = order
        self.status = "queued"
        self.attempts = attempts
        self.since = now
        self.deadline = deadline
        self.due = inf  # when it expires where it waits, or its next attempt is to begin
        self.place = 0  # among those due at the same time
        self.parked = self.cancelled = self.is_beyond = self.on_reserve = False
        # While it runs
        self.until = inf
        self.ends = inf
        self.overran = False

    @property
    def key(self) -> tuple[str, str] | None:
        return (self.order.type, self.order.key) if self.order.key else None


class Waiter(NamedTuple):
    """A submitter who waits for room."""

    order: Order
    until: float
    deadline: float


class ModelLane:
    def __init__(self, capacity: int, weight: int) -> None:
        self.capacity = capacity
        self.weight = weight
        self.credit = self.refused = self.passed_over = 0
        self.shed = False
        self.items: list[Act] = []
        self.waiters: list[Waiter] = []


class Disk(NamedTuple):
    """What is in the files: unfinished actions, oldest first, with their attempts; keys of those done; letters."""

    journal: dict[int, tuple[Order, int]]
    keys: dict[int, tuple[tuple[str, str], float]]
    letters: list[tuple[int, str, int]]

    def oldest_first(self) -> list[tuple[int, tuple[Order, int]]]:
        return sorted(self.journal.items(), key=lambda entry: entry[1][0].enqueued)

    def follow(self, numbers: list[int]) -> None:
        """Let actions stand in this order, as far as nothing else is promised."""
        entries = {number: self.journal[number] for number in numbers}
        self.journal.clear()
        self.journal.update(entries)

    def copy(self) -> Disk:
        return Disk(dict(self.journal), dict(self.keys), list(self.letters))


class Model:
    """An action queue of lists, and the disk that outlives it."""

    def __init__(self, backend: str, capacity: int, workers: int) -> None:
        self.is_trio = backend == "trio"
        self.capacity = capacity
        self.first_workers = workers
        self.routes = {"model.quick", "model.slow"}
        self.disk = Disk({}, {}, [])
        self.wall_offset = EPOCH
        self.snapshot: Disk | None = None
        self.snapshot_in = 0
        self.has_jumped = False
        self.letter_times: dict[int, float] = {}
        self.outdated: set[int] = set()  # whose key counted no more, which a clock set back may undo
        self.start()

    def start(self) -> None:
        """A host starts over the files that there are."""
        self.now = 0.0
        self.lanes = {name: ModelLane(self.capacity, weight) for name, weight in WEIGHTS.items()}
        self.workers = self.first_workers
        self.parked = Counter[str]()
        self.open: list[Act] = []
        self.known: list[Act] = []
        self.lingering: list[Act] = []
        self.entering: list[Waiter] = []
        self.keys: dict[tuple[str, str], tuple[Act | int, float]] = {}
        self.duplicates = 0
        self.counts = Counter[tuple[str, str, str]]()
        self.begun: list[tuple[float, int, int]] = []
        self.answers: dict[int, Act | int | str] = {}  # what became of those who waited for room
        self.stopping = False
        self.places = 0
        self.snapshot = None
        self.snapshot_in = 0
        self.asleep = self.workers  # who waits for an action, and was not called for one that has come
        self.is_reserve_awake = self.is_trio  # which starts its tasks in any order
        self.letters_before = len(self.disk.letters)
        for number, (key, until) in self.disk.keys.items():
            if until > self.wall:
                self.keys[key] = (number, until - self.wall)
        self.outdate()
        self.unclaimed: list[Order] = []
        self.has_late_claims = False
        for _, (order, _) in self.disk.oldest_first():
            self.claim(order)

    def outdate(self) -> None:
        self.outdated.update(number for number, (_, until) in self.disk.keys.items() if until <= self.wall)
        for known, until in self.keys.values():
            if until <= self.now:
                self.outdated.add(known if isinstance(known, int) else known.order.number)

    @property
    def wall(self) -> float:
        return self.wall_offset + self.now

    # Counting

    def count(self, order: Order, what: str) -> None:
        self.counts[order.type, order.priority.lane, what] += 1

    def figures(self, *, type: str = "", lane: str = "") -> dict[str, Any]:
        def fits(tag: str, name: str) -> bool:
            return type in ("", tag) and lane in ("", name)

        acts = [act for act in self.open if fits(act.order.type, act.order.priority.lane)]
        counted = Counter[str]()
        for (tag, name, what), times in self.counts.items():
            if fits(tag, name):
                counted[what] += times
        return {
            "depth": sum(act.status == "queued" for act in acts),
            "waiting": sum(act.status == "waiting" for act in acts),
            "running": sum(act.status == "running" for act in acts),
            **{what: counted[what] for what in ("accepted", "done", "retried", "overruns")},
            "dead": {what[5:]: times for what, times in counted.items() if what.startswith("dead ")},
        }

    # Ends

    def letter(self, order: Order, reason: str, attempts: int) -> None:
        self.count(order, f"dead {reason}")
        self.letter_times[order.number] = order.enqueued
        self.disk.letters.append((order.number, reason, attempts))

    def leave(self, act: Act) -> None:
        self.open.remove(act)
        lane = self.lanes[act.order.priority.lane]
        if act in lane.items:
            lane.items.remove(act)
        act.due, act.parked = inf, False
        self.let_in(lane)

    def die(self, act: Act, reason: str) -> None:
        act.status = "dead"
        self.leave(act)
        self.letter(act.order, reason, act.attempts)
        del self.disk.journal[act.order.number]
        if act not in self.lingering:
            self.release(act)

    def succeed(self, act: Act) -> None:
        act.status = "done"
        self.leave(act)
        self.count(act.order, "done")
        del self.disk.journal[act.order.number]
        if act.key is not None:
            until = act.order.enqueued + act.order.window
            self.keys[act.key] = (act, self.now + until - self.wall)
            self.disk.keys[act.order.number] = (act.key, until)

    # Keys

    def find(self, order: Order) -> Act | int | None:
        """The action that a key stands for, or the number of one that an earlier run has done."""
        key = (order.type, order.key)
        for left in [left for left in self.unclaimed if order.key and (left.type, left.key) == key]:
            self.claim(left, asked=True)
        if not order.key or key not in self.keys:
            return None
        known, until = self.keys[key]
        self.outdate()
        if until <= self.now:
            del self.keys[key]
            return None
        self.duplicates += 1
        return known

    def release(self, act: Act) -> None:
        if act.key is not None and self.keys.get(act.key, (None,))[0] is act:
            del self.keys[act.key]

    def key_count(self) -> int:
        self.outdate()
        return sum(until > self.now for _, until in self.keys.values())

    # Admission

    def held(self, lane: ModelLane) -> int:
        """Room that is taken: by what is in it, by what will come back to it, and by whoever is on the way in."""
        inside = [act for act in self.open if act.status != "running" and self.lanes[act.order.priority.lane] is lane]
        return len(inside) + sum(self.lanes[waiter.order.priority.lane] is lane for waiter in self.entering)

    def has_room(self, lane: ModelLane) -> bool:
        return self.held(lane) < lane.capacity and not lane.waiters and not lane.shed

    def is_in_reserve(self, order: Order) -> bool:
        """Whether there is room for it where others have none."""
        beyond = [act for act in self.open if act.is_beyond and act.status != "running"]
        return order.priority is ActionPriority.MAINTENANCE and len(beyond) < RESERVE

    def let_in(self, lane: ModelLane) -> None:
        while lane.waiters and self.held(lane) < lane.capacity and not lane.shed:
            self.entering.append(lane.waiters.pop(0))

    def submit(self, order: Order, wait: float) -> Act | int | str | Waiter:
        """Return the action, the number of an earlier one, why it is refused, or the submitter, who waits."""
        known = self.find(order)
        if known is not None:
            return known
        if order.deadline <= self.wall:
            return self.refuse(order, "expired")
        lane = self.lanes[order.priority.lane]
        if self.has_room(lane):
            return self.accept(order, self.now + order.deadline - self.wall)
        if self.is_in_reserve(order):
            act = self.accept(order, self.now + order.deadline - self.wall)
            act.is_beyond = True
            return act
        if wait <= 0:
            return self.refuse(order, "shed" if lane.shed else "queue_full")
        deadline = self.now + order.deadline - self.wall
        waiter = Waiter(order, min(self.now + wait, deadline), deadline)
        lane.waiters.append(waiter)
        return waiter

    def refuse(self, order: Order, reason: str) -> str:
        if reason in ("queue_full", "shed"):
            self.lanes[order.priority.lane].refused += 1
        self.letter(order, reason, 0)
        return reason

    def enter(self, waiter: Waiter) -> None:
        """A submitter has room, and looks once more."""
        self.entering.remove(waiter)
        answer: Act | int | str | None = self.find(waiter.order)
        if answer is None and self.stopping:
            answer = self.refuse(waiter.order, "shutdown")
        if answer is None and waiter.deadline <= self.now:
            answer = self.refuse(waiter.order, "expired")
        if answer is None:
            answer = self.accept(waiter.order, waiter.deadline)
        else:
            self.let_in(self.lanes[waiter.order.priority.lane])
        self.answers[waiter.order.number] = answer

    def accept(self, order: Order, deadline: float) -> Act:
        self.disk.journal[order.number] = (order, 0)
        self.disk.keys.pop(order.number, None)
        self.outdated.discard(order.number)
        return self.take_in(Act(order, self.now, deadline))

    def take_in(self, act: Act) -> Act:
        self.count(act.order, "accepted")
        self.open.append(act)
        self.known.append(act)
        if act.key is not None:
            self.keys[act.key] = (act, inf)
        self.queue(act)
        return act

    def queue(self, act: Act) -> None:
        act.status = "queued"
        self.be_due(act, act.deadline)
        lane = self.lanes[act.order.priority.lane]
        lane.items.append(act)
        self.wake_one(lane)

    def be_due(self, act: Act, when: float) -> None:
        act.due, act.place = when, self.places
        self.places += 1

    def claim(self, order: Order, *, asked: bool = False) -> None:
        """Take up an action of an earlier run, if somebody answers its tag, or it is submitted again."""
        attempts = self.disk.journal[order.number][1]
        if order.type not in self.routes and not asked:
            if order not in self.unclaimed:
                self.unclaimed.append(order)
            return
        if order in self.unclaimed:
            self.unclaimed.remove(order)
            self.has_late_claims = True
        if attempts >= order.retry.max_attempts:
            self.bury(order, "failed")
        else:
            act = Act(order, self.now, self.now + order.deadline - self.wall, attempts)
            act.since -= max(0.0, self.wall - order.enqueued)
            self.take_in(act)

    def bury(self, order: Order, reason: str) -> None:
        self.letter(order, reason, self.disk.journal.pop(order.number)[1])

    # Attempts

    def busy(self) -> int:
        return sum(act.status == "running" and not act.overran and not act.on_reserve for act in self.open)

    def is_reserve_busy(self) -> bool:
        return any(act.status == "running" and not act.overran and act.on_reserve for act in self.open)

    def take(self) -> Act | None:
        """Deal a turn by weight, and return the most urgent of that lane; equals in the order they came."""
        ready = [lane for lane in self.lanes.values() if lane.items and not lane.shed]
        if not ready:
            return None
        for lane in ready:
            lane.credit += lane.weight
        chosen = max(ready, key=lambda lane: lane.credit)
        chosen.credit -= sum(lane.weight for lane in ready)
        for lane in self.lanes.values():
            lane.passed_over = lane.passed_over + 1 if lane is not chosen and lane in ready else 0
            assert lane.passed_over <= 3 * sum(each.weight for each in self.lanes.values()), "a lane starves"
        act = min(chosen.items, key=lambda act: act.order.priority)
        chosen.items.remove(act)
        act.due = inf
        return act

    def take_reserved(self) -> Act | None:
        """Return the first maintenance action, if its own worker is free; it has no part in the turns."""
        items = self.lanes["normal"].items
        first = next((act for act in items if act.order.priority is ActionPriority.MAINTENANCE), None)
        if first is None or self.is_reserve_busy():
            return None
        items.remove(first)
        first.due = inf
        return first

    def look_for_ambiguity(self) -> None:
        """Nobody promises who of two that are awake goes first: a worker, or that of the reserve."""
        normal = self.lanes["normal"]
        if not any(act.order.priority is ActionPriority.MAINTENANCE for act in normal.items):
            return
        for_others = any(lane.items and not lane.shed for lane in self.lanes.values())
        if self.is_reserve_awake and not self.is_reserve_busy() and for_others and self.busy() < self.workers:
            raise AmbiguousError("a worker and that of the reserve, and an action for either")

    def is_contested(self, priority: ActionPriority) -> bool:
        """Whether one more action would leave it open who takes which, as long as nobody rests."""
        waiting = [act.order.priority for act in self.lanes["normal"].items]
        return ActionPriority.MAINTENANCE in (priority, *waiting) and (self.is_reserve_awake or not self.asleep)

    def wake_one(self, lane: ModelLane) -> None:
        """Have a worker look for what came to a lane; if none waits, or may take it, that of the reserve."""
        if self.asleep and not lane.shed:
            self.asleep -= 1
        else:
            self.is_reserve_awake = True

    def wake_all(self) -> None:
        self.asleep, self.is_reserve_awake = 0, True

    def begin_next(self) -> bool:
        if self.stopping:
            return False
        self.look_for_ambiguity()
        act = self.take() if self.busy() < self.workers else None
        on_reserve = act is None
        act = act or self.take_reserved()
        if act is None:
            return False
        act.on_reserve = on_reserve
        act.status = "running"  # so that its room is free
        self.let_in(self.lanes[act.order.priority.lane])
        if act.deadline <= self.now:
            self.die(act, "expired")
        elif self.parked[act.order.type]:
            act.status, act.parked = "waiting", True
            self.be_due(act, act.deadline)
        else:
            self.begin(act)
        return True

    def begin(self, act: Act) -> None:
        order = act.order
        act.attempts += 1
        act.overran = False
        act.until = min(self.now + order.timeout, act.deadline)
        self.disk.journal[order.number] = (order, act.attempts)
        if order.target not in ("", "model") or order.type not in self.routes:
            self.end_attempt(act, "no_handler")
            return
        self.begun.append((self.now, order.number, act.attempts))
        if self.snapshot_in:
            self.snapshot_in -= 1
            if not self.snapshot_in:
                self.snapshot = self.disk.copy()
        plan = order.plan(act.attempts)
        act.ends = inf if plan.is_endless else self.now + plan.seconds
        if act.ends == self.now:
            self.end_attempt(act, plan.what)

    def end_attempt(self, act: Act, result: str) -> None:
        """An attempt is over; ``result`` is as in a plan, or ``no_handler``, or ``timeout``."""
        asked = act.order.plan(act.attempts).later if result == "later" else None
        act.ends = inf
        if act in self.lingering:
            self.lingering.remove(act)
            if act.status != "running":
                self.release(act)
        if act.status != "running":
            return
        if result == "done":
            self.succeed(act)
        elif result in ("reject", "wrong"):
            self.die(act, "rejected" if result == "reject" else "invalid")
        else:
            self.fail_attempt(act, result if result in ("timeout", "no_handler") else "failed", asked)

    def fail_attempt(self, act: Act, reason: str, asked: float | None) -> None:
        wait = self.next_attempt(act, asked)
        if act.cancelled:
            self.die(act, "cancelled")
        elif act.deadline <= self.now or (reason == "timeout" and act.until >= act.deadline):
            self.die(act, "expired")
        elif wait is None:
            self.die(act, reason)
        elif self.stopping:
            self.keep(act)
        else:
            items = [item for lane in self.lanes.values() for item in lane.items]
            if not wait and any(self.is_overtaken(item, act) for item in items):
                raise AmbiguousError("a retry at once, and a worker that looks for its next action")
            self.count(act.order, "retried")
            act.status = "waiting"
            self.be_due(act, self.now + wait)

    @staticmethod
    def is_overtaken(item: Act, act: Act) -> bool:
        """Whether an item in a lane may have its turn later if another comes back to its own."""
        return item.order.priority.lane != act.order.priority.lane or item.order.priority > act.order.priority

    def next_attempt(self, act: Act, asked: float | None) -> float | None:
        policy = act.order.retry
        backoff = min(policy.max_backoff_sec, policy.backoff_sec * policy.multiplier ** (act.attempts - 1))
        wait = backoff if asked is None else asked
        return None if act.attempts >= policy.max_attempts or wait >= act.deadline - self.now else wait

    def overrun(self, act: Act) -> None:
        """An attempt has ignored its cancellation for too long; another worker does its worker's work."""
        act.overran = True
        self.count(act.order, "overruns")
        self.lingering.append(act)
        if act.deadline <= self.now:
            self.die(act, "expired")
        elif act.cancelled:
            self.die(act, "cancelled")
        elif self.next_attempt(act, None) is None:
            self.die(act, "timeout")

    # What is done to it

    def cancel(self, act: Act) -> bool:
        if act.status in ("done", "dead") or act.cancelled:
            return False
        act.cancelled = True
        if act.status != "running":
            self.die(act, "cancelled")
        return True

    def unpark(self, tag: str) -> None:
        self.parked[tag] -= 1
        self.routes_changed()

    def routes_changed(self) -> None:
        for act in sorted((act for act in self.open if act.parked), key=lambda act: act.place):
            if not self.parked[act.order.type]:
                act.parked = False
                self.queue(act)

    def resize(self, workers: int) -> None:
        if workers < self.workers:
            self.wake_all()
        self.workers = workers

    def set_lane(self, name: str, capacity: int | None, weight: int | None, shed: bool | None) -> None:
        lane = self.lanes[name]
        if lane.shed and shed is False and lane.waiters and lane.items:
            raise AmbiguousError("a lane that is shed no more, for those who wait for room and for what waits in it")
        if shed is not None and shed is not lane.shed:
            lane.shed = shed
            self.wake_all()
        lane.capacity = lane.capacity if capacity is None else capacity
        lane.weight = lane.weight if weight is None else weight
        self.let_in(lane)

    def again(self, order: Order) -> Act | int | str | Waiter:
        """Submit a ready envelope once more; if it is accepted, that is when it was admitted."""
        for left in [left for left in self.unclaimed if left.number == order.number]:
            self.claim(left, asked=True)
        for act in [*self.open, *self.lingering]:
            if act.order.number == order.number:
                return act
        return self.submit(order._replace(enqueued=self.wall), 0.0)

    # Time

    def settle(self) -> None:
        """Let everything happen that is due now."""
        for act in [act for act in self.open if act.status == "running" and act.cancelled]:
            plan = act.order.plan(act.attempts)
            if not plan.shielded:
                self.is_reserve_awake |= act.on_reserve
                self.end_attempt(act, "fail")
        items = [act for lane in self.lanes.values() for act in lane.items]
        if len(items) > 1 and any(act.deadline <= self.now for act in items) and (self.is_trio or self.has_late_claims):
            raise AmbiguousError("actions that expired before the start, which a worker may find, or the agenda")
        while True:
            while self.begin_next():
                pass
            self.asleep = max(0, self.workers - self.busy())
            due = sorted((act for act in self.open if act.due <= self.now), key=lambda act: (act.due, act.place))
            if self.entering and (due or (self.is_trio and len(self.entering) > 1 and not self.stopping)):
                raise AmbiguousError("submitters who get room, and somebody else who comes to a lane")
            if not due and not self.entering:
                self.is_reserve_awake = False
                return
            for waiter in list(self.entering):
                self.enter(waiter)
            for act in due:
                if act.due <= self.now:
                    self.fall_due(act)

    def fall_due(self, act: Act) -> None:
        if act.deadline <= self.now:
            self.die(act, "expired")
        else:
            self.queue(act)

    def events(self) -> Generator[tuple[float, Callable[[], object] | None]]:
        """When what is to happen; ``None`` is what ``settle`` does."""
        if self.unclaimed and not self.stopping:
            yield START, self.give_up_unclaimed
        for lane in self.lanes.values():
            for waiter in lane.waiters:
                yield waiter.until, lambda lane=lane, waiter=waiter: self.give_up_waiting(lane, waiter)
        for act in self.open:
            if act.due < inf:
                yield act.due, None
        for act in {*self.open, *self.lingering}:
            plan = act.order.plan(max(1, act.attempts))
            if act.ends < inf:
                yield act.ends, lambda act=act, plan=plan: self.end_attempt(act, plan.what)
            if act.status == "running" and not plan.shielded:
                result = "fail" if plan.what == "stubborn" else "timeout"
                yield act.until, lambda act=act, result=result: self.end_attempt(act, result)
            if act.status == "running" and not act.overran:
                yield act.until + GRACE, lambda act=act: self.overrun(act)

    def give_up_unclaimed(self) -> None:
        for order in list(self.unclaimed):
            self.bury(order, "no_handler")
        self.unclaimed.clear()

    def give_up_waiting(self, lane: ModelLane, waiter: Waiter) -> None:
        lane.waiters.remove(waiter)
        self.answers[waiter.order.number] = self.refuse(
            waiter.order, "expired" if waiter.deadline <= self.now else "shed" if lane.shed else "queue_full"
        )

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        self.settle()
        while self.step(until):
            pass
        self.now = until
        self.settle()

    def step(self, until: float) -> bool:
        """Go to the next event, if it is not later."""
        events = list(self.events())
        first = min((when for when, _ in events), default=inf)
        if first > until:
            return False
        self.now = first
        here = [act for when, act in events if when == self.now]
        happening = [act for act in here if act is not None]
        if len(happening) > 1 or (happening and None in here):
            raise AmbiguousError("two times that have come")
        for happen in happening:
            happen()
        self.settle()
        return True

    # The end

    def keep(self, act: Act) -> None:
        """The host stops, and the action is in the journal for the next start; its key stays its own."""
        act.status = "dead"
        self.leave(act)

    def stop(self, timeout: float) -> None:
        self.settle()
        self.stopping = True
        for act in list(self.open):
            if act.status != "running":
                self.keep(act)
        for lane in self.lanes.values():
            lane.shed = False
            self.let_in(lane)
        self.settle()
        until = self.now + timeout
        while (self.busy() or self.is_reserve_busy()) and self.step(until):
            pass
        for act in list(self.open):
            self.keep(act)
            if not act.overran:
                self.disk.journal[act.order.number] = (act.order, act.attempts - 1)  # it was cut off


# The real one


class Run:
    """One host, from its start to its stop or its crash."""

    def __init__(self, folder: Path, wall: float, orders: dict[int, Order], capacity: int, workers: int) -> None:
        self.folder = folder
        self.clock = FakeClock(wall)
        self.orders = orders
        self.bus = Bus(clock=self.clock, default_timeout=START)
        self.routes = {
            "model.quick": Route(Quick, self.answer_quickly, Identity("plugin", "model", 1)),
            "model.slow": Route(Slow, self.answer, Identity("plugin", "model", 1)),
        }
        self.letters: list[DeadLetter] = []
        self.begun: list[tuple[float, int, int]] = []
        self.active = Counter[int]()
        self.faults: list[str] = []
        self.answers: dict[int, ActionHandle[Any] | Exception] = {}
        self.handles: dict[Act, ActionHandle[Any]] = {}
        self.again: set[int] = set()
        self.snapshot: dict[str, bytes] | None = None
        self.snapshot_in = 0
        self.stop_timeout = 0.0
        self.parkings: dict[str, list[ExitStack]] = {tag: [] for tag in TYPES}
        self._stop = anyio.Event()
        self._stopped = anyio.Event()
        self._lives = False
        self._submitters: list[anyio.CancelScope] = []
        self.journal = Journal(folder, self.clock, sync=False)
        self.dlq = DeadLetterQueue(folder / "kernel_dlq.jsonl")
        self.unfinished = without_buried(self.journal, self.dlq, self.journal.open())
        self.queue = ActionQueue(
            self.bus,
            self.dlq,
            lanes=LanesConfig(**{name: LaneConfig(capacity=capacity, weight=WEIGHTS[name]) for name in WEIGHTS}),
            workers=workers,
            journal=self.journal,
            on_dead_letter=self.letters.append,
        )

    # Handlers

    async def answer_quickly(self, request: Quick) -> Done:
        return self.do(self.begin(request.number), request.number)

    async def answer(self, request: Slow) -> Done:
        plan = self.begin(request.number)
        self.active[request.number] += 1
        try:
            with anyio.CancelScope(shield=plan.shielded):
                if plan.is_endless:
                    await anyio.sleep_forever()
                elif plan.seconds:
                    await self.clock.sleep(plan.seconds)
        except anyio.get_cancelled_exc_class():
            if plan.what == "stubborn":
                raise OSError("cannot tidy up") from None
            raise
        finally:
            self.active[request.number] -= 1
        return self.do(plan, request.number)

    def begin(self, number: int) -> Plan:
        action = current_action()
        attempts = 0 if action is None else action.attempts
        self.begun.append((self.clock.monotonic(), number, attempts))
        if self.active[number]:
            self.faults.append(f"two attempts of action {number} at a time")
        if self.snapshot_in:
            self.snapshot_in -= 1
            if not self.snapshot_in:
                self.snapshot = self.files()
        return self.orders[number].plan(attempts)

    def do(self, plan: Plan, number: int) -> Any:
        match plan.what:
            case "done":
                return Done(number)
            case "later":
                raise RetryLater(plan.later)
            case "reject":
                raise Reject("no")
            case "wrong":
                return Quick(number)
            case _:
                raise OSError("dry")

    # Life

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    async def live(self, routes: Iterable[str], *, task_status: anyio.abc.TaskStatus[None]) -> None:
        self.bus.add_routes([self.routes[tag] for tag in sorted(routes)])
        resumption = Resumption(self.bus, self.queue)
        async with self.queue.running(lambda: self.stop_timeout), anyio.create_task_group() as group:
            resumption.begin(self.unfinished)
            group.start_soon(resumption.run)
            self._lives = True
            task_status.started()
            await self._stop.wait()
            group.cancel_scope.cancel()
        self.dlq.close()
        self.journal.close()
        self._stopped.set()

    async def stop(self, timeout: float, *, crash: bool = False) -> None:
        """End the host; handlers that ignore it are let go on to their end."""
        if crash:
            for scope in self._submitters:
                scope.cancel()
        self.stop_timeout = timeout
        self._stop.set()
        await self.clock.advance(timeout)
        while self._lives and not self._stopped.is_set():
            await self.clock.advance(100.0)
        for parkings in self.parkings.values():
            for parking in parkings:
                parking.close()

    async def wait_for_room(self, number: int, submit: Callable[[], Any]) -> None:
        """Submit as one who waits; the host's death ends that, too."""
        with anyio.CancelScope() as scope:
            self._submitters.append(scope)
            self.answers[number] = await answer_of(submit)

    def held(self) -> dict[str, int]:
        return {name: lane.held for name, lane in self.queue._lanes.lanes.items()}


async def answer_of(submit: Callable[[], Any]) -> ActionHandle[Any] | Exception:
    try:
        handle: ActionHandle[Any] = await submit()
    except (ActionQueueFullError, ActionExpiredError, ActionCancelledError) as exc:
        return exc
    return handle


REFUSALS = {
    "queue_full": ActionQueueFullError,
    "shed": ActionQueueFullError,
    "expired": ActionExpiredError,
    "shutdown": ActionCancelledError,
}


class Wish(NamedTuple):
    """What a script submits; times are in seconds from then, without what keeps two from coming at the same time."""

    type: str
    priority: ActionPriority
    timeout: float
    deadline: float | None
    retry: RetryPolicy
    target: str
    key: str
    window: float
    plans: tuple[Plan, ...]


def fitting(plan: Plan, type: str, salt: float) -> Plan:
    """Return a plan as a handler of a type can follow it, at a time of its own."""
    if type == "model.quick":
        return Plan("fail" if plan.is_endless else plan.what, later=plan.later)
    seconds = plan.seconds + salt if plan.seconds else 0.0
    return Plan(plan.what, seconds, plan.shielded and not plan.is_endless, plan.later)


class World:
    """A real queue and its model, to which the same is done."""

    def __init__(
        self, backend: str, folder: Path, group: anyio.abc.TaskGroup, capacity: int, workers: int, tiny: bool
    ) -> None:
        self.is_tiny = tiny
        self.model = Model(backend, capacity, workers)
        self.capacity, self.workers = capacity, workers
        self.folder = folder
        self.group = group
        self.runs = 0
        self.orders: dict[int, Order] = {}
        self.envelopes: dict[int, ActionEnvelope] = {}
        self.run: Run

    async def start(self, files: dict[str, bytes] | None = None) -> None:
        """Start a host over the files that the last one left, or over a copy of what they once were."""
        model = self.model
        if files is not None:
            self.runs += 1
            folder = self.folder / str(self.runs)
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
        else:
            folder = self.run.folder
        self.run = run = Run(folder, model.wall, self.orders, self.capacity, self.workers)
        kept = [(record.request["number"], attempts) for record, attempts in run.unfinished.actions]
        wanted = [(number, attempts) for number, (_, attempts) in model.disk.oldest_first()]
        assert sorted(kept) == sorted(wanted), (kept, wanted)
        if self.is_tiny:  # what was admitted at the same instant may have changed places as it moved
            model.disk.follow([number for number, _ in kept])
            wanted = [(number, attempts) for number, (_, attempts) in model.disk.oldest_first()]
        assert kept == wanted, (kept, wanted)
        keys = {finished.reply["number"]: (finished.key, finished.until) for finished in run.unfinished.done}
        wanted_keys = {number: known for number, known in model.disk.keys.items() if known[1] > model.wall}
        for number in (wanted_keys.keys() - keys.keys()) & model.outdated:
            del wanted_keys[number], model.disk.keys[number]
        assert keys == wanted_keys, (keys, wanted_keys, model.outdated)
        letters = run.dlq.items(limit=1000)
        assert sorted(map(told, letters)) == sorted(model.disk.letters)
        for record, _ in run.unfinished.actions:
            self.envelopes[record.request["number"]] = record.envelope(REQUESTS[record.action_type])
        model.start()
        await self.group.start(run.live, model.routes)
        await self.rest()

    async def step(self, step: tuple[Any, ...]) -> None:
        await getattr(self, f"_{step[0]}")(*step[1:])
        if self.model.snapshot is not None and self.run.snapshot is not None:
            await self._crash(0, 1.0)

    # Submissions

    def order(self, wish: Wish) -> Order:
        number = len(self.orders) + 1
        salt = number * 7919 % 8191 / 2**16
        plans = tuple(fitting(plan, wish.type, salt) for plan in wish.plans)
        wall = self.model.wall
        deadline = inf if wish.deadline is None else wall + wish.deadline + (salt / 3 if wish.deadline > 0 else 0.0)
        deadline = deadline if deadline == inf else round(deadline * 2**20) / 2**20
        self.orders[number] = order = Order(
            number, wish.type, wish.priority, wish.timeout + salt / 2, deadline, wish.retry, wish.target, wish.key,
            wish.window, wall, plans,
        )  # fmt: skip
        return order

    async def _submit(self, wish: Wish, wait: float, ready: bool, rest: bool) -> None:
        model, lane = self.model, self.model.lanes[wish.priority.lane]
        if not model.has_room(lane) or model.is_contested(wish.priority):
            await self.rest()  # a full lane has one turn to drain, wherever that leads
        order = self.order(wish)
        wait += order.timeout - wish.timeout if wait else 0.0
        answer = model.submit(order, wait)
        submit = self.submission(order, wait, ready=ready)
        if isinstance(answer, Waiter):
            await self.rest()
            self.group.start_soon(self.run.wait_for_room, order.number, submit)
            await self.rest()
            return
        self.compare_answer(order.number, answer, await answer_of(submit))
        if rest:
            await self.rest()

    def submission(self, order: Order, wait: float, *, ready: bool) -> Callable[[], Any]:
        queue, request = self.run.queue, REQUESTS[order.type](order.number)
        if ready:
            self.envelopes[order.number] = envelope = ActionEnvelope(
                request, order.priority, order.timeout, None if order.deadline == inf else order.deadline, order.retry,
                order.target, order.key, order.window, enqueued=order.enqueued,
            )  # fmt: skip
            return lambda: queue.submit_envelope(envelope, wait_for_room=wait)
        return lambda: queue.submit(
            request,
            priority=order.priority,
            deadline=None if order.deadline == inf else order.deadline - self.run.clock.time(),
            timeout=order.timeout,
            retry=order.retry,
            target=order.target,
            idempotency_key=order.key,
            idempotency_window=order.window,
            wait_for_room=wait,
        )

    async def _again(self, index: int) -> None:
        numbers = list(self.envelopes)
        if not numbers:
            return
        await self.rest()
        number = numbers[index % len(numbers)]
        if self.model.letter_times.get(number) == self.model.wall:
            return  # two submissions of one envelope at the same instant are not told apart
        answer = self.model.again(self.orders[number])
        envelope = self.envelopes[number]
        self.run.again.add(number)
        self.compare_answer(number, answer, await answer_of(lambda: self.run.queue.submit_envelope(envelope)))
        await self.rest()

    def compare_answer(self, number: int, wanted: Any, answer: ActionHandle[Any] | Exception) -> None:
        if isinstance(wanted, str):
            assert type(answer) is REFUSALS[wanted], (number, wanted, answer)
            return
        assert isinstance(answer, ActionHandle), (number, wanted, answer)
        if isinstance(wanted, int):
            assert (answer.status, answer._reply) == ("done", Done(wanted))
            return
        known = self.run.handles.setdefault(wanted, answer)
        assert known is answer
        self.envelopes[wanted.order.number] = answer.envelope

    async def _cancel(self, index: int) -> None:
        acts = [act for act in self.model.known if act in self.run.handles]
        if acts:
            act = acts[-1 - index % len(acts)]
            await self.rest_if_order_matters()
            assert self.run.handles[act].cancel() == self.model.cancel(act)
            await self.rest_if_order_matters()

    # Conditions

    async def _nothing(self) -> None:
        pass

    async def _workers(self, workers: int) -> None:
        self.model.resize(workers)
        self.run.queue.tune(workers=workers)
        await self.rest()  # new ones are not there before

    async def _lane(self, name: str, capacity: int | None, weight: int | None, shed: bool | None) -> None:
        await (self.rest_if_order_matters() if shed is None else self.rest())
        self.model.set_lane(name, capacity, weight, shed)
        self.run.queue.tune(lanes={name: LaneBounds(capacity, weight, shed)})
        await self.rest_if_order_matters()

    async def _park(self, tag: str) -> None:
        self.model.parked[tag] += 1
        parking = ExitStack()
        parking.enter_context(self.run.bus.parked([tag]))
        self.run.parkings[tag].append(parking)

    async def _unpark(self, tag: str) -> None:
        if self.run.parkings[tag]:
            self.model.unpark(tag)
            self.run.parkings[tag].pop(0).close()

    async def _route(self, tag: str) -> None:
        """Add a route, or remove it."""
        model, run = self.model, self.run
        await self.rest()
        if tag in model.routes:
            model.routes.remove(tag)
            run.bus.remove_routes([run.routes[tag]])
        else:
            model.routes.add(tag)
            for order in list(model.unclaimed):
                model.claim(order)
            run.bus.add_routes([run.routes[tag]])
            ServiceRegistry(run.bus).register(f"model{model.places}", tags=[tag])
        await self.rest()

    # Time

    async def _advance(self, seconds: float) -> None:
        self.model.advance(seconds)
        await self.run.clock.advance(seconds)
        await self.check()

    async def _jump(self, seconds: float) -> None:
        self.model.has_jumped = True
        self.model.outdate()
        self.model.wall_offset += seconds
        self.run.clock.set_time(self.run.clock.time() + seconds)

    async def rest_if_order_matters(self) -> None:
        """Let what was done so far have its effect, if what comes next might overtake it."""
        model = self.model
        if model.snapshot_in or model.entering or any(lane.waiters for lane in model.lanes.values()):
            await self.rest()

    async def rest(self) -> None:
        await self._advance(0.0)

    # The end

    async def _stop(self, timeout: float, down: float) -> None:
        model, run = self.model, self.run
        await self.rest()
        model.stop(timeout)
        await run.stop(timeout)
        self.check_counts()
        self.check_handles()
        self.check_letters()
        model.wall_offset = model.wall + timeout + down
        model.now = 0.0
        await self.start()

    async def _crash(self, begins: int, down: float) -> None:
        """Die now, or when so many more attempts have begun."""
        model, run = self.model, self.run
        await self.rest()
        if begins:
            model.snapshot_in = run.snapshot_in = begins
            return
        files = run.snapshot or run.files()
        model.disk = model.snapshot or model.disk
        await run.stop(0.0, crash=True)
        model.wall_offset = model.wall + down
        model.now = 0.0
        await self.start(files)

    # Comparing

    async def check(self) -> None:
        run, model = self.run, self.model
        assert (run.snapshot is None) == (model.snapshot is None)
        self.check_handles()
        for act in model.open:
            if act not in run.handles:
                run.handles[act] = await run.queue.submit_envelope(self.envelopes[act.order.number])
        self.check_counts()
        self.check_handles()
        self.check_letters()
        assert run.held() == {name: model.held(lane) for name, lane in model.lanes.items()}

    def check_counts(self) -> None:
        run, model = self.run, self.model
        assert run.begun == model.begun
        assert not run.faults
        numbers = run.queue.statistics()
        for name, lane in model.lanes.items():
            told = numbers.lanes[name]
            wanted = (lane.capacity, lane.weight, lane.refused, lane.shed)
            assert (told.capacity, told.weight, told.refused, told.shed) == wanted
            assert figures(told) == model.figures(lane=name), name
        for tag, told_of_type in numbers.types.items():
            assert figures(told_of_type) == model.figures(type=tag), tag
        total = model.figures()
        del total["depth"]
        total["waiting"] += len(model.unclaimed)
        assert {name: getattr(numbers, name) for name in total} == total
        assert numbers.workers == model.workers
        assert numbers.duplicates == model.duplicates
        assert numbers.accepted == numbers.done + sum(act.status == "dead" for act in model.known) + len(model.open)
        if not model.stopping:
            assert numbers.keys == model.key_count()
            assert numbers.overrunning == len(model.lingering)
            ages = [model.now - act.since for act in model.open]
            ages += [model.wall - order.enqueued for order in model.unclaimed]
            if not model.has_jumped:
                assert numbers.oldest_age == max(ages, default=None)

    def check_handles(self) -> None:
        run, model = self.run, self.model
        assert run.answers.keys() == model.answers.keys()
        for number, answer in run.answers.items():
            self.compare_answer(number, model.answers[number], answer)
        for act, handle in run.handles.items():
            assert (handle.status, handle.attempts) == (act.status, act.attempts), act.order
            if act.status == "done":
                assert handle._reply == Done(act.order.number)

    def check_letters(self) -> None:
        run, model = self.run, self.model
        assert sorted(map(told, run.letters)) == sorted(model.disk.letters[model.letters_before :])
        assert run.queue.statistics().dlq.depth == len(model.disk.letters)

    def check_ends(self) -> None:
        """Whatever the model says: each accepted action has one end, and is in one place."""
        run = self.run
        kept = {record.trace_id for record, _ in Journal(run.folder, run.clock, sync=False).open().actions}
        dead = Counter(letter.trace_id for letter in run.letters)
        names = Counter(handle.trace_id for handle in run.handles.values())
        for handle in run.handles.values():
            name = handle.trace_id
            if names[name] == 1 and handle.envelope.request.number not in run.again:
                assert (handle.status == "done") + dead[name] + (name in kept) == 1
        assert not run.faults


def told(letter: DeadLetter) -> tuple[int, str, int]:
    return (letter.params["number"], letter.reason, letter.attempts)


def figures(statistics: Any) -> dict[str, Any]:
    names = ("depth", "waiting", "running", "accepted", "done", "retried", "overruns", "dead")
    return {name: getattr(statistics, name) for name in names}


# Scripts

seconds = st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 4.0])
plans = st.builds(
    Plan,
    st.sampled_from(["done", "done", "done", "fail", "fail", "later", "reject", "wrong", "hang", "stubborn"]),
    seconds,
    st.sampled_from([False, False, True]),
    st.sampled_from([1.0, 5.0] * 8 + [0.0]),
)
policies = st.builds(
    RetryPolicy,
    st.integers(1, 3),
    st.sampled_from([1.0, 2.0] * 8 + [0.0]),
    st.sampled_from([2.0, 3.0, 30.0]),
    st.sampled_from([1.0, 2.0]),
    st.just(False),
)
wishes = st.builds(
    Wish,
    st.sampled_from(TYPES),
    st.sampled_from(list(ActionPriority)),
    st.sampled_from([1.0, 3.0, 30.0]),
    st.sampled_from([None] * 8 + [0.0, 1.0, 3.0, 8.0, 40.0]),
    policies,
    st.sampled_from([""] * 10 + ["model", "other"]),
    st.sampled_from(["", "", "", "k", "l"]),
    st.sampled_from([2.0, 10.0, 1000.0]),
    st.lists(plans, min_size=1, max_size=3).map(tuple),
)
tags = st.sampled_from(TYPES)
downs = st.sampled_from([0.0, 0.0, 1.0, 1.0, 5.0, 60.0])
STEPS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "nothing": (1, ()),  # what a script that fails is boiled down to
    "submit": (24, (wishes, st.sampled_from([0.0, 0.0, 2.0, 6.0]), st.booleans(), st.booleans())),
    "advance": (10, (st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 5.0, 40.0]),)),
    "again": (3, (st.integers(0, 9),)),
    "cancel": (3, (st.integers(0, 9),)),
    "jump": (1, (st.sampled_from([3600.0, -3600.0, 5.0]),)),
    "workers": (2, (st.integers(1, 4),)),
    "lane": (
        4,
        (
            st.sampled_from(sorted(WEIGHTS)),
            st.sampled_from([None, 1, 3, 6]),
            st.sampled_from([None, 1, 2, 7]),
            st.sampled_from([None, False, True]),
        ),
    ),
    "park": (1, (tags,)),
    "unpark": (3, (tags,)),
    "route": (1, (tags,)),
    "stop": (1, (st.sampled_from([0.0, 2.0, 20.0]), downs)),
    "crash": (1, (st.integers(0, 3), downs)),
}
"""How often each step is taken, and with what."""
steps = st.sampled_from([name for name, (weight, _) in STEPS.items() for _ in range(weight)]).flatmap(
    lambda name: st.tuples(st.just(name), *STEPS[name][1])
)
scripts = st.tuples(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.lists(steps, min_size=30, max_size=60))


def play(backend: str, capacity: int, workers: int, tiny: bool, todo: list[tuple[Any, ...]]) -> None:
    """Run a script, the journal's files being tiny, so that it moves what it needs again and again, or not."""

    async def run(folder: Path) -> None:
        async with anyio.create_task_group() as group:
            world = World(backend, folder, group, capacity, workers, tiny)
            await world.start({})
            try:
                for step in todo:
                    await world.step(step)
                await world.rest()
            except AmbiguousError as exc:
                event(f"at the same instant: {exc}")
            finally:
                await world.run.stop(0.0, crash=True)
            world.check_ends()

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue_module, "RESERVE", RESERVE)
        if tiny:
            patch.setattr(segments, "SEGMENT_BYTES", 1500)
            patch.setattr(journal, "SPARE", 3)
        anyio.run(run, Path(folder), backend=backend)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Generator[None]:
    """Thousands of deaths are not worth a line of log each."""
    log = logging.getLogger("aetherra")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


@pytest.mark.timeout(60 + EXAMPLES)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not LONG,  # the same scripts each time, but for a long run
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(script=scripts)
def test_the_queue_and_its_model_differ(backend: str, script: tuple[int, int, bool, list[Any]]) -> None:
    """Turns, retries, deadlines, keys, room, parking, stops, crashes: all counts, ends and files, after each step."""
    play(backend, *script)
