"""The action queue: who comes in, and as what; what is accepted takes its course."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from aetherra.kernel.actions.action import Action
from aetherra.kernel.actions.course import Course, DeadLetterListener, cancellation
from aetherra.kernel.actions.dispatch import Dead
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.envelope import (
    DAY,
    DEFAULT_RETRY,
    ActionEnvelope,
    ActionPriority,
    RetryPolicy,
    check_seconds,
)
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.lanes import Lane, LaneBounds
from aetherra.kernel.actions.limiter import ConcurrencyLimiter
from aetherra.kernel.actions.records import Accepted, Finished
from aetherra.kernel.actions.tally import ActionStatistics, Tally, lane_statistics, type_statistics
from aetherra.kernel.actions.unclaimed import Unclaimed
from aetherra.kernel.config import MOST_WORKERS, LaneConfig, LanesConfig
from aetherra.kernel.errors import ActionExpiredError, ActionQueueFullError
from aetherra.registry import (
    Bus,
    MessageValidationError,
    Request,
    tag_of,
)
from aetherra.registry.call import CURRENT, new_id

log = logging.getLogger("aetherra.kernel.actions")
ReplyT = TypeVar("ReplyT")
RESERVE = 16
"""Maintenance actions that may wait beyond a lane's bounds, so that what mends an overload is not kept out by it."""


class ActionQueue:
    """Takes actions in and sees each to its end.

    Args:
        bus: Where handlers are called.
        dlq: Where actions end that were not done.
        lanes: Bounds and weights.
        workers: Actions that may run at a time.
        journal: Where accepted actions are kept for the next start; ``None`` keeps them in memory alone.
        limiter: Finds out how many may run at a time, ``workers`` at most; ``None``: as many as those.
        on_dead_letter: Told of each dead letter.

    ``unclaimed`` are actions of an earlier run whose plugin is not there yet.
    """

    def __init__(
        self,
        bus: Bus,
        dlq: DeadLetterQueue,
        *,
        lanes: LanesConfig,
        workers: int,
        journal: Journal | None = None,
        limiter: ConcurrencyLimiter | None = None,
        on_dead_letter: DeadLetterListener | None = None,
    ) -> None:
        self.dlq = dlq
        self.unclaimed = Unclaimed()
        self._bus = bus
        self._monotonic = bus.clock.monotonic
        self._time = bus.clock.time
        self._journal = journal
        self._course = Course(
            bus, dlq, lanes=lanes, workers=workers, journal=journal, limiter=limiter, on_dead_letter=on_dead_letter
        )
        self._lanes, self._levels, self._keys = self._course.lanes, self._course.levels, self._course.keys
        self._by_class: tuple[dict[type, Tally[Action]], ...] = tuple({} for _ in ActionPriority)
        self._entering: dict[str, Action] = {}  # those that wait for the disk
        self._beyond: list[Action] = []  # those that were taken in where others had no room
        self._is_careful = journal is not None and journal.is_synced
        bus.forget_lines_of(self)
        if journal is not None:
            journal.recall = self._recall

    def forget_lines(self) -> None:
        """Hear that routes have changed: keep no old class, and go on with actions whose plugin was swapped."""
        for known in self._by_class:
            known.clear()
        self._course.unpark()

    # Admission

    async def submit(
        self,
        request: Request[ReplyT],
        *,
        priority: ActionPriority = ActionPriority.MEDIUM,
        deadline: float | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        target: str = "",
        idempotency_key: str = "",
        idempotency_window: float = DAY,
        wait_for_room: float = 0.0,
    ) -> ActionHandle[ReplyT]:
        """Accept an action; it is in the journal, where there is one, once this returns.

        Cancelled while it waits for room, or for the disk, it has not accepted it.

        Args:
            request: What to do.
            priority: Its lane, and its place there.
            deadline: Seconds from now after which it is not worth doing.
            timeout: Seconds for one attempt; default is the kernel's.
            retry: How often to try.
            target: The plugin that is to do it; default is whichever answers its tag.
            idempotency_key: A submission of the same type under the same key is the same action, and gets its handle:
                while it is not finished, and once it was done for the rest of the window. Death sets the key free.
            idempotency_window: Seconds from now for which the key counts.
            wait_for_room: Seconds to wait for room in a full or shed lane, in the order in which submitters came.

        Raises:
            ActionQueueFullError: Its lane has no room, or is shed; the refusal is counted and dead-lettered.
            ActionExpiredError: The deadline is not in the future; dead-lettered.
            ActionCancelledError: The host stops; dead-lettered.
            DataFileError: The journal cannot be written; the action was not accepted.
            MessageValidationError: The journal cannot hold the request; the action was not accepted.
        """
        now = self._time()
        if deadline is not None and (isinstance(deadline, bool) or not isinstance(deadline, (int, float))):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(f"expected deadline in seconds from now, got {deadline!r}")
        cause = CURRENT.get()
        if cause is not None and cause.task is None:
            cause = None
        envelope = ActionEnvelope(
            request,
            priority,
            self._bus.default_timeout if timeout is None else timeout,
            None if deadline is None else now + deadline,
            retry or DEFAULT_RETRY,
            target,
            idempotency_key,
            idempotency_window,
            new_id(),
            now,
            "" if cause is None else cause.trace_id,
            "" if cause is None else cause.id,
        )
        tally = self._by_class[priority].get(type(request)) or self._tally_of(envelope)
        lane = tally.lane
        if self._is_careful or deadline is not None or idempotency_key or lane.held >= lane.room or lane.waiters:
            return await self._admit(envelope, tally, wait_for_room, bury=True)
        if self._journal is not None:
            self._journal.accept(envelope)
        admitted = self._monotonic()
        action = Action(envelope, "queued", 0, None, None, None, self._course, tally, inf, admitted, admitted)
        tally.open[envelope.trace_id] = action
        tally.accepted += 1
        lane.held += 1
        self._lanes.put(lane, self._levels[priority], action)
        return action

    async def submit_envelope(
        self, envelope: ActionEnvelope, *, wait_for_room: float = 0.0, bury: bool = True
    ) -> ActionHandle[Any]:
        """Accept a ready envelope; see ``submit``. One whose action is not finished yet gets the handle it has.

        Args:
            envelope: The action.
            wait_for_room: Seconds to wait for room in a full lane.
            bury: Whether a refusal makes a dead letter.

        Raises:
            ValueError: Its trace id is that of an action of another type.
        """
        if not isinstance(envelope, ActionEnvelope):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(f"expected an ActionEnvelope, got {type(envelope).__name__!r}")
        claimed = self.unclaimed.claim(envelope.trace_id, envelope.action_type)
        if claimed is not None:
            self.take_up(*claimed, type(envelope.request))
        known = self._known(envelope.trace_id)
        if known is not None and known.tally.action_type != envelope.action_type:
            other = known.tally.action_type
            raise ValueError(f"expected a trace_id of its own, got {envelope.trace_id!r}, an action of {other!r}")
        if known is not None and await self._is_in(known):
            return known
        envelope = msgspec.structs.replace(envelope, enqueued=self._time())  # also of one that was admitted before
        return await self._admit(envelope, self._tally_of(envelope), wait_for_room, bury=bury)

    def _known(self, trace_id: str) -> Action | None:
        return self._entering.get(trace_id) or self._course.known(trace_id)

    def _recall(self, trace_id: str) -> tuple[ActionEnvelope, int] | None:
        entering = self._entering.get(trace_id)
        return self._course.recall(trace_id) if entering is None else (entering.envelope, 0)

    def lingers(self, trace_id: str) -> bool:
        """Whether a handler is still at work for an action that is dead."""
        return self._course.lingers(trace_id)

    async def _is_in(self, known: ActionHandle[Any]) -> bool:
        """Wait until an action is in the journal; ``False`` if it does not get there, as its submitter has left."""
        action = self._entering.get(known.trace_id)
        if self._journal is None or action is None:
            return True
        await self._journal.sync()
        return action.owner is not None

    def _tally_of(self, envelope: ActionEnvelope) -> Tally[Action]:
        request_type = type(envelope.request)
        tally = self._course.tally(tag_of(request_type), envelope.priority)
        self._by_class[envelope.priority][request_type] = tally
        return tally

    def _action(self, envelope: ActionEnvelope, tally: Tally[Action]) -> Action:
        now = self._monotonic()
        deadline = inf if envelope.deadline is None else now + envelope.deadline - self._time()
        return Action(envelope, "queued", 0, None, None, None, self._course, tally, deadline, now, now)

    async def _admit(
        self, envelope: ActionEnvelope, tally: Tally[Action], wait_for_room: float, *, bury: bool
    ) -> ActionHandle[Any]:
        """See an action in, or refuse it."""
        lane = tally.lane
        action = self._action(envelope, tally)
        waits = not lane.has_room
        known, refusal = self._of_key(action), self._refusal(action)
        if known is None and refusal is None:
            if not await self._has_room(lane, action, wait_for_room):
                error = ActionQueueFullError(lane.name, lane.capacity, envelope.trace_id, lane.is_shed)
                full = Dead(error, "shed" if lane.is_shed else "queue_full")
                refusal = self._refusal(action) or full
                lane.refused += refusal is full
            else:
                action.since = action.ready = self._monotonic()
                known = self._of_key(action) or (self._known(action.trace_id) if waits else None)  # again, as it waited
                refusal = self._refusal(action)
                if known is not None or refusal is not None:
                    lane.give_up_room()
                    self._beyond = [other for other in self._beyond if other is not action]
        if known is not None:
            if await self._is_in(known):
                return known
            return await self._admit(envelope, tally, wait_for_room, bury=bury)
        if refusal is not None:
            if bury:
                self._course.bury(envelope, refusal.reason, 0, refusal.error)
            raise refusal.error
        await self._record(action)
        self._course.take_in(action)
        return action

    def _of_key(self, action: Action) -> ActionHandle[Any] | None:
        """Return the handle of the work that an action's key stands for, ``None`` if it is new or has no key."""
        key, request = action.key, action.envelope.request
        if key is None:
            return None
        claimed = self.unclaimed.claim_key(key)
        if claimed is not None:
            self.take_up(*claimed, type(request))
        return self._keys.find(key, request)

    def _refusal(self, action: Action) -> Dead | None:
        """Return why an action cannot be accepted now, if it cannot; whether there is room is another question."""
        if self._course.is_stopping:
            return Dead(cancellation(action.envelope, "the host is stopping"), "shutdown")
        if action.deadline <= self._monotonic():
            return Dead(ActionExpiredError(action.trace_id, action.tally.action_type), "expired")
        return None

    async def _has_room(self, lane: Lane[Action], action: Action, seconds: float) -> bool:
        """Take the room of one in a lane, waiting for it if the submitter may; a full one has one turn to make some."""
        if seconds:
            check_seconds("wait_for_room", seconds)
        if lane.has_room or self._is_beyond(action):
            lane.held += 1
            return True
        if not seconds > 0:
            await anyio.lowlevel.checkpoint()
            if lane.has_room:
                lane.held += 1
                return True
            return False
        with self._bus.clock.move_on_after(min(seconds, action.deadline - self._monotonic())):
            await lane.wait_for_room()
            return True
        return False

    def _is_beyond(self, action: Action) -> bool:
        """Give a maintenance action one of the places beyond its lane's bounds, if one is left."""
        if action.envelope.priority is not ActionPriority.MAINTENANCE:
            return False
        self._beyond = [other for other in self._beyond if not other.is_ended]
        if sum(other.status != "running" for other in self._beyond) >= RESERVE:
            return False
        self._beyond.append(action)
        return True

    async def _record(self, action: Action) -> None:
        """Put an action into the journal; if that fails, it is as if it had not been submitted."""
        journal, envelope = self._journal, action.envelope
        if action.key is not None:
            self._keys.hold(action.key, action)
        if journal is None:
            return
        try:
            journal.accept(envelope)
            if journal.is_synced:
                self._entering[action.trace_id] = action
                await journal.sync()
                if self._course.is_stopping:
                    raise cancellation(envelope, "the host is stopping")
        except BaseException as exc:
            journal.finish(envelope.trace_id)
            action.owner = None
            action.tally.lane.give_up_room()
            if action.key is not None:
                self._keys.release(action.key, action)
            action.settle(error=exc if isinstance(exc, Exception) else cancellation(envelope, "its submitter left"))
            raise
        finally:
            self._entering.pop(action.trace_id, None)

    # Actions of an earlier run

    def take_up(self, record: Accepted, attempts: int, request_type: type[Request[Any]]) -> None:
        """See an action of an earlier run, whose record the journal has, into its lane, or to its end.

        One that nobody can read any more is dead-lettered, and so is one whose attempts are used up.
        """
        try:
            envelope = record.envelope(request_type)
        except MessageValidationError as exc:
            self._course.bury_record(record, "invalid", attempts, exc)
            return
        if attempts >= envelope.retry.max_attempts:
            why = f"the host died during attempt {attempts} of {envelope.retry.max_attempts}"
            self._course.bury_record(record, "failed", attempts, cancellation(envelope, why))
            return
        action = self._action(envelope, self._tally_of(envelope))
        action.attempts = attempts
        action.since -= max(0.0, self._time() - envelope.enqueued)
        action.tally.lane.held += 1
        self._course.take_in(action)

    def remember(self, finished: Finished) -> None:
        """Honour the idempotency key of an action that an earlier run has done."""
        if finished.key is not None:
            self._keys.keep(finished.key, finished, finished.until)

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more actions."""
        return self._course.is_stopping

    def give_up(self, record: Accepted, attempts: int, error: Exception) -> None:
        """Dead-letter an action of an earlier run that nobody has claimed."""
        self._course.bury_record(record, "no_handler", attempts, error)

    # Life

    @asynccontextmanager
    async def running(self, stop_timeout: Callable[[], float]) -> AsyncGenerator[None]:
        """Work while the body runs; then let what runs finish, for as long as ``stop_timeout`` says."""

        def stops_in() -> float:
            self._is_careful = True
            return stop_timeout()

        async with self._course.running(stops_in):
            yield

    def tune(self, *, workers: int | None = None, lanes: Mapping[str, LaneBounds] | None = None) -> None:
        """Change how many actions may run at a time, and lanes' bounds, all of it or nothing.

        What runs or waits beyond the new bounds is let finish; what waits in a shed lane stays. ``None`` leaves a bound
        as it is.

        Raises:
            ValueError: There is no such lane, or a bound is not what the configuration would take.
        """
        changes: list[tuple[Lane[Action], LaneConfig, bool]] = []
        for name, bounds in (lanes or {}).items():
            lane = self._lanes.lanes.get(name)
            if lane is None:
                raise ValueError(f"expected one of {', '.join(self._lanes.lanes)}, got {name!r}")
            new = LaneConfig(
                capacity=lane.capacity if bounds.capacity is None else bounds.capacity,
                weight=lane.weight if bounds.weight is None else bounds.weight,
            )
            shed = lane.is_shed if bounds.shed is None else bounds.shed
            if type(shed) is not bool:
                raise ValueError(f"expected shed to be True or False, got {shed!r}")
            changes.append((lane, new, shed))
        if workers is not None:
            if type(workers) is not int or not 1 <= workers <= MOST_WORKERS:
                raise ValueError(f"expected 1 to {MOST_WORKERS} workers, got {workers!r}")
            self._course.workers.resize(workers)
        for lane, new, shed in changes:
            self._lanes.set(lane, new.capacity, new.weight, shed=shed)

    # Insight

    @property
    def workers(self) -> int:
        """Actions that may run at a time."""
        return self._course.workers.target

    def bounds(self) -> dict[str, LaneBounds]:
        """Return each lane's bounds, as ``tune`` takes them; costs next to nothing."""
        return {name: LaneBounds(lane.capacity, lane.weight, lane.is_shed) for name, lane in self._lanes.lanes.items()}

    def statistics(self, *, detail: bool = True) -> ActionStatistics:
        """Return a snapshot; without ``detail`` it has no types."""
        now = self._monotonic()
        tallies = list(self._course.tallies.values())
        types = sorted({tally.action_type for tally in tallies}) if detail else []
        total = type_statistics(tallies, now)
        ages = [self._time() - record.enqueued for record, _ in self.unclaimed]
        ages += [] if total.oldest_age is None else [total.oldest_age]
        return ActionStatistics(
            lanes={
                name: lane_statistics(lane, (tally for tally in tallies if tally.lane is lane), now)
                for name, lane in self._lanes.lanes.items()
            },
            types={
                action_type: type_statistics((tally for tally in tallies if tally.action_type == action_type), now)
                for action_type in types
            },
            workers=self._course.workers.target,
            running=total.running,
            waiting=total.waiting + len(self.unclaimed),
            oldest_age=max(ages, default=None),
            accepted=total.accepted,
            done=total.done,
            retried=total.retried,
            dead=total.dead,
            overruns=total.overruns,
            overrunning=self._course.lingering,
            keys=len(self._keys),
            duplicates=self._keys.duplicates,
            dlq=self.dlq.statistics(),
        )
