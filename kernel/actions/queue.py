"""The action queue: admission, workers, retries, and one end for each accepted action."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from aetherra.kernel.actions.action import Action
from aetherra.kernel.actions.agenda import Agenda
from aetherra.kernel.actions.dispatch import Dead, Retry
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.envelope import DAY, DEFAULT_RETRY, ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.keys import Keys
from aetherra.kernel.actions.lanes import Lane, Lanes
from aetherra.kernel.actions.letter import DeadLetter, Reason
from aetherra.kernel.actions.limiter import ConcurrencyLimiter
from aetherra.kernel.actions.records import Accepted, Finished
from aetherra.kernel.actions.retry import next_attempt
from aetherra.kernel.actions.tally import ActionStatistics, Tally, lane_statistics, type_statistics
from aetherra.kernel.actions.unclaimed import Unclaimed
from aetherra.kernel.actions.workers import Workers
from aetherra.kernel.config import LanesConfig
from aetherra.kernel.errors import ActionCancelledError, ActionExpiredError, ActionQueueFullError
from aetherra.registry import (
    Bus,
    CallTimeoutError,
    Message,
    MessageValidationError,
    Request,
    tag_of,
)
from aetherra.registry.call import CURRENT, new_id

log = logging.getLogger("aetherra.kernel.actions")
ReplyT = TypeVar("ReplyT")
DeadLetterListener = Callable[[DeadLetter], None]
MOST_WORKERS = 1000
"""Actions that may run at a time, whatever is asked for."""
FLUSH_INTERVAL = 1.0
"""Seconds between two tries to write dead letters that the disk has refused."""
_LEVELS = {"high": 3, "normal": 2, "background": 1}


class ActionOverrun(Message, tag="kernel.action_overrun"):
    """An attempt goes on although it was cancelled for its time limit; another worker does its worker's work.

    Attributes:
        trace_id: Which action's.
        action_type: Its tag.
        seconds: How long the attempt has run.
        stack: Where it waits, or why that is not known.
    """

    trace_id: str
    action_type: str
    seconds: float
    stack: str


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
        self.clock = bus.clock
        self._bus = bus
        self._monotonic = bus.clock.monotonic
        self._time = bus.clock.time
        self._journal = journal
        self._is_careful = journal is not None and journal.is_synced
        self._tell = on_dead_letter
        self._lanes: Lanes[Action] = Lanes(
            {
                name: (lane.capacity, lane.weight, _LEVELS[name])
                for name in lanes.__struct_fields__
                for lane in [getattr(lanes, name)]
            }
        )
        names = [priority.lane for priority in ActionPriority]
        self._levels: tuple[deque[Action], ...] = tuple(
            self._lanes.lanes[name].levels[place - names.index(name)] for place, name in enumerate(names)
        )
        self._tallies: dict[tuple[str, str], Tally[Action]] = {}
        self._by_class: tuple[dict[type, Tally[Action]], ...] = tuple({} for _ in names)
        self._keys = Keys(bus.clock)
        self._agenda: Agenda[Action] = Agenda(bus.clock, self._fall_due, self._look)
        self._workers = Workers(bus, self._lanes, self._agenda, journal, limiter, workers, self)
        self._parked: list[Action] = []
        self._lingering: dict[str, Action] = {}
        self._outcomes: dict[str, Retry] = {}
        self._unburied: dict[str, Action] = {}
        self._entering: dict[str, Action] = {}  # those that wait for the disk
        self._stopping = False
        bus.forget_lines_of(self)
        if journal is not None:
            journal.recall = self._recall

    def forget_lines(self) -> None:
        """Hear that routes have changed: keep no old class, and go on with actions whose plugin was swapped."""
        for known in self._by_class:
            known.clear()
        parked, self._parked = self._parked, []
        for action in parked:
            if action.tally.action_type in self._bus.routing.parked_tags:
                self._parked.append(action)
            else:
                self._put_back(action)

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
            wait_for_room: Seconds to wait for room in a full lane, in the order in which submitters came.

        Raises:
            ActionQueueFullError: Its lane has no room; the refusal is counted and dead-lettered.
            ActionExpiredError: The deadline is not in the future; dead-lettered.
            ActionCancelledError: The host stops; dead-lettered.
            DataFileError: The journal cannot be written; the action was not accepted.
            MessageValidationError: The journal cannot hold the request; the action was not accepted.
        """
        now = self._time()
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
        if self._is_careful or deadline is not None or idempotency_key or lane.held >= lane.capacity or lane.waiters:
            return await self._admit(envelope, tally, wait_for_room, bury=True)
        if self._journal is not None:
            self._journal.accept(envelope)
        admitted = self._monotonic()
        action = Action(envelope, "queued", 0, None, None, None, self, tally, inf, admitted, admitted)
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
        """
        claimed = self.unclaimed.claim(envelope.trace_id)
        if claimed is not None:
            self.take_up(*claimed, type(envelope.request))
        known = self._known(envelope.trace_id)
        if known is not None and await self._is_in(known):
            return known
        if not envelope.enqueued:
            envelope = msgspec.structs.replace(envelope, enqueued=self._time())
        return await self._admit(envelope, self._tally_of(envelope), wait_for_room, bury=bury)

    def _known(self, trace_id: str) -> Action | None:
        for tally in self._tallies.values():
            if trace_id in tally.open:
                return tally.open[trace_id]
        return self._entering.get(trace_id) or self._lingering.get(trace_id)

    async def _is_in(self, known: ActionHandle[Any]) -> bool:
        """Wait until an action is in the journal; ``False`` if it does not get there, as its submitter has left."""
        action = self._entering.get(known.trace_id)
        if self._journal is None or action is None:
            return True
        await self._journal.sync()
        return action.owner is not None

    def _recall(self, trace_id: str) -> tuple[ActionEnvelope, int] | None:
        action = self._known(trace_id) or self._unburied.get(trace_id)
        return None if action is None else (action.envelope, action.attempts)

    def lingers(self, trace_id: str) -> bool:
        """Whether a handler is still at work for an action that is dead."""
        return trace_id in self._lingering

    def _tally_of(self, envelope: ActionEnvelope) -> Tally[Action]:
        request_type = type(envelope.request)
        tally = self._tally(tag_of(request_type), envelope.priority)
        self._by_class[envelope.priority][request_type] = tally
        return tally

    def _tally(self, action_type: str, priority: ActionPriority) -> Tally[Action]:
        key = (action_type, priority.lane)
        if key not in self._tallies:
            self._tallies[key] = Tally(action_type, self._lanes.lanes[priority.lane])
        return self._tallies[key]

    def _action(self, envelope: ActionEnvelope, tally: Tally[Action]) -> Action:
        now = self._monotonic()
        deadline = inf if envelope.deadline is None else now + envelope.deadline - self._time()
        return Action(envelope, "queued", 0, None, None, None, self, tally, deadline, now, now)

    def _take_in(self, action: Action) -> None:
        """Have an action that has its room and its record."""
        tally = action.tally
        tally.open[action.trace_id] = action
        tally.accepted += 1
        if action.key is not None:
            self._keys.hold(action.key, action)
        self._queue(action)

    def _queue(self, action: Action) -> None:
        """Put an action in its lane, until its turn comes or its time is over."""
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)
        self._lanes.put(action.tally.lane, self._levels[action.envelope.priority], action)

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
                lane.refused += 1
                refusal = Dead(ActionQueueFullError(lane.name, lane.capacity, envelope.trace_id), "queue_full")
            else:
                known = self._of_key(action) or (self._known(action.trace_id) if waits else None)  # again, as it waited
                refusal = self._refusal(action)
                if known is not None or refusal is not None:
                    lane.give_up_room()
        if known is not None:
            if await self._is_in(known):
                return known
            return await self._admit(envelope, tally, wait_for_room, bury=bury)
        if refusal is not None:
            if bury:
                self._bury(envelope, refusal.reason, 0, refusal.error)
            raise refusal.error
        await self._record(action)
        self._take_in(action)
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
        if self._stopping:
            return Dead(_cancellation(action.envelope, "the host is stopping"), "shutdown")
        if self._is_expired(action):
            return Dead(ActionExpiredError(action.trace_id, action.tally.action_type), "expired")
        return None

    async def _has_room(self, lane: Lane[Action], action: Action, seconds: float) -> bool:
        """Take the room of one in a lane, waiting for it if the submitter may; a full one has one turn to drain."""
        if lane.has_room:
            lane.held += 1
            return True
        if not seconds > 0:
            await anyio.lowlevel.checkpoint()
            if lane.has_room:
                lane.held += 1
                return True
            return False
        with self.clock.move_on_after(min(seconds, action.deadline - self._monotonic())):
            await lane.wait_for_room()
            return True
        return False

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
                if self._stopping:
                    raise _cancellation(envelope, "the host is stopping")
        except BaseException as exc:
            journal.finish(envelope.trace_id)
            action.owner = None
            action.tally.lane.give_up_room()
            if action.key is not None:
                self._keys.release(action.key, action)
            action.settle(error=exc if isinstance(exc, Exception) else _cancellation(envelope, "its submitter left"))
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
            self.bury_record(record, "invalid", attempts, exc)
            return
        if attempts >= envelope.retry.max_attempts:
            why = f"the host died during attempt {attempts} of {envelope.retry.max_attempts}"
            self.bury_record(record, "failed", attempts, _cancellation(envelope, why))
            return
        action = self._action(envelope, self._tally_of(envelope))
        action.attempts = attempts
        action.since -= max(0.0, self._time() - envelope.enqueued)
        action.tally.lane.held += 1
        self._take_in(action)

    def remember(self, finished: Finished) -> None:
        """Honour the idempotency key of an action that an earlier run has done."""
        if finished.key is not None:
            self._keys.keep(finished.key, finished, finished.until)

    def bury_record(self, record: Accepted, reason: Reason, attempts: int, error: Exception) -> None:
        """Dead-letter an action of an earlier run that cannot be taken up."""
        self._count_dead(record.action_type, record.priority, reason)
        self._keep(DeadLetter.of_record(record, reason, ts=self._time(), attempts=attempts, error=error))

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more actions."""
        return self._stopping

    # Life

    @asynccontextmanager
    async def running(self, stop_timeout: Callable[[], float]) -> AsyncGenerator[None]:
        """Work while the body runs; then let what runs finish, for as long as ``stop_timeout`` says."""
        async with anyio.create_task_group() as group, self._workers.running():
            group.start_soon(self._agenda.run)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop(stop_timeout())
                group.cancel_scope.cancel()

    async def _stop(self, timeout: float) -> None:
        self._stopping = self._is_careful = True
        for action in self._open():
            if action.status != "running":
                self._end_unfinished(action)
        with self.clock.move_on_after(timeout):
            await self._workers.wait_idle()
        for action in self._open():
            log.warning("action %s (%r) was still running", action.trace_id, action.tally.action_type)
            if self._journal is not None and action.trace_id not in self._lingering:
                self._journal.begin(action.trace_id, action.attempts - 1)  # that it was not done is no fault of its own
            self._end_unfinished(action)
        self._note_finished(self.dlq.flush(wait=1.0))

    def _open(self) -> list[Action]:
        return [action for tally in self._tallies.values() for action in tally.open.values()]

    def _end_unfinished(self, action: Action) -> None:
        """The host stops: the journal keeps it for the next start, or, without one, the dead letter queue does."""
        envelope = action.envelope
        if self._journal is None:
            self._die(action, "shutdown", _cancellation(envelope, "the host stopped; it is dead-lettered"))
            return
        self._remove(action)
        why = "the host stopped; it is in the journal for the next start"
        action.settle(error=_cancellation(envelope, why))

    # Workers

    def tune(
        self, *, workers: int | None = None, lanes: Mapping[str, tuple[int | None, int | None]] | None = None
    ) -> None:
        """Change how many actions may run at a time, and lanes' capacities and weights, all of it or nothing.

        What runs or waits beyond the new bounds is let finish. ``None`` leaves a bound as it is.

        Raises:
            ValueError: There is no such lane, a bound is less than 1, or there are more than 1,000 workers.
        """
        bounds: list[tuple[Lane[Action], int, int]] = []
        for name, (capacity, weight) in (lanes or {}).items():
            lane = self._lanes.lanes.get(name)
            if lane is None:
                raise ValueError(f"expected one of {', '.join(self._lanes.lanes)}, got {name!r}")
            new = (lane.capacity if capacity is None else capacity, lane.weight if weight is None else weight)
            if min(new) < 1:
                raise ValueError(
                    f"expected a capacity and a weight of 1 or more, got {new[0]} and {new[1]} for {name!r}"
                )
            bounds.append((lane, *new))
        if workers is not None:
            if not 1 <= workers <= MOST_WORKERS:
                raise ValueError(f"expected 1 to {MOST_WORKERS} workers, got {workers}")
            self._workers.resize(workers)
        for lane, capacity, weight in bounds:
            lane.set(capacity, weight)

    # Between attempts

    def park(self, action: Action) -> None:
        """Hold an action whose plugin is being swapped, without a worker, until the swap is over or its time is."""
        self._let_wait(action)
        self._parked.append(action)
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)

    def _let_wait(self, action: Action) -> None:
        action.status = "waiting"
        action.tally.waiting += 1
        action.tally.lane.held += 1

    def conclude(self, action: Action, outcome: Retry | Dead, *, last: bool) -> None:
        """Act upon an attempt that brought no reply; ``last`` says that its time limit was the action's deadline."""
        match outcome:
            case Dead(error=error, reason=reason):
                self._die(action, reason, error)
            case Retry() if action.cancelled:
                self._die_of_cancellation(action)
            case Retry(error=error, reason=reason):
                wait = self._next_attempt(action, outcome)
                if self._is_expired(action) or (last and reason == "timeout"):
                    self.expire(action, error)
                elif wait is None:
                    self._die(action, reason, error)
                elif self._stopping:
                    self._end_unfinished(action)
                elif action.left:
                    self._linger(action, outcome)
                else:
                    self._wait_for_retry(action, wait)

    def _next_attempt(self, action: Action, outcome: Retry) -> float | None:
        policy, remaining = action.envelope.retry, action.deadline - self._monotonic()
        return next_attempt(policy, action.attempts, remaining, random.random, outcome.asked)

    def _wait_for_retry(self, action: Action, wait: float) -> None:
        action.tally.retried += 1
        action.tally.running -= 1
        self._let_wait(action)
        self._agenda.put(action, min(self._monotonic() + wait, action.deadline))

    def _put_back(self, action: Action) -> None:
        """Let an action wait for its turn again."""
        action.tally.waiting -= 1
        action.status = "queued"
        action.ready = self._monotonic()
        self._queue(action)

    def _fall_due(self, action: Action) -> None:
        """See to an action whose deadline has come, or the time of its next attempt."""
        if self._is_expired(action):
            self.expire(action)
        elif action.status == "waiting":
            self._put_back(action)

    # Attempts that go on beyond their time

    def _look(self, now: float) -> float:
        again = self._workers.look(now)
        if self.dlq.statistics().unwritten:
            self._note_finished(self.dlq.flush())
            again = min(again, now + FLUSH_INTERVAL)
        return again

    def overrun(self, action: Action, seconds: float, limit: float, stack: str) -> None:
        """Let nobody wait for an attempt that does not end, if there can be no other; else that waits for its end."""
        self._lingering[action.trace_id] = action
        self._report_overrun(action, seconds, stack)
        error = CallTimeoutError(action.tally.action_type, limit, "it ignores its cancellation")
        if action.is_ended:
            return
        if self._is_expired(action):
            self.expire(action, error)
        elif action.cancelled:
            self._die_of_cancellation(action)
        elif self._next_attempt(action, Retry(error, "timeout")) is None:
            self._die(action, "timeout", error)

    def overrun_ended(self, action: Action, reply: Any, outcome: Retry | Dead | None) -> None:
        """Act upon the end of such an attempt: what came late is done all the same, if nobody has given it up."""
        self._stop_lingering(action)
        if action.is_ended:
            return
        if outcome is not None:
            self.conclude(action, outcome, last=False)
            return
        self._remove(action)
        action.tally.done += 1
        self.note_done(action, reply)
        action.settle(reply)

    def _report_overrun(self, action: Action, seconds: float, stack: str) -> None:
        action.tally.overruns += 1
        action_type = action.tally.action_type
        log.error(
            "action %s (%r) goes on after %.3g s, although it was cancelled; it waits at\n%s",
            action.trace_id, action_type, seconds, stack,
        )  # fmt: skip
        self._bus.publish_nowait(ActionOverrun(action.trace_id, action_type, seconds, stack))

    def left_behind(self, action: Action) -> None:
        """Hear that an attempt has left a thread behind: the action is not run again before that is done."""
        if not action.left:
            self._lingering[action.trace_id] = action
            since = action.ready if action.call is None else action.call.started
            self._report_overrun(action, self._monotonic() - since, "  (a worker thread, which cannot be ended)")
        action.left += 1

    def thread_returned(self, action: Action) -> None:
        """Hear that one of them is done."""
        action.left -= 1
        if not action.left:
            self._stop_lingering(action)
            outcome = self._outcomes.pop(action.trace_id, None)
            if outcome is not None and not action.is_ended and not self._stopping:
                self._agenda.put(action, self._monotonic() + (self._next_attempt(action, outcome) or 0.0))

    def _linger(self, action: Action, outcome: Retry) -> None:
        """Wait for threads that an attempt has left behind."""
        self._outcomes[action.trace_id] = outcome
        self._wait_for_retry(action, inf)

    def _stop_lingering(self, action: Action) -> None:
        self._lingering.pop(action.trace_id, None)
        log.warning("action %s (%r) has let go at last", action.trace_id, action.tally.action_type)
        if action.is_ended and action.key is not None:
            self._keys.release(action.key, action)

    # Ends

    def _is_expired(self, action: Action) -> bool:
        return action.deadline <= self._monotonic()

    def cancel(self, action: Action) -> bool:
        """End an action before its time; ``False`` if it had ended, or was cancelled, already."""
        if action.is_ended or action.cancelled or action.trace_id not in action.tally.open:
            return False
        action.cancelled = True
        if action.status == "running":
            self._bus.cancel_within(action.call)
        else:
            self._die_of_cancellation(action)
        return True

    def _remove(self, action: Action) -> None:
        """Have an action no more."""
        tally = action.tally
        del tally.open[action.trace_id]
        self._agenda.discard(action)
        if action.status == "running":
            tally.running -= 1
            return
        if action.in_lane:
            tally.lane.discard(action)
            tally.lane.give_up_room()
        elif action.status == "waiting":
            tally.waiting -= 1
            tally.lane.give_up_room()
            if action in self._parked:
                self._parked.remove(action)

    def _die(self, action: Action, reason: Reason, error: Exception) -> None:
        self._remove(action)
        if action.key is not None and action.trace_id not in self._lingering:
            self._keys.release(action.key, action)
        action.settle(error=error)
        if self._journal is not None:
            self._unburied[action.trace_id] = action
        self._bury(action.envelope, reason, action.attempts, error)

    def _die_of_cancellation(self, action: Action) -> None:
        self._die(action, "cancelled", _cancellation(action.envelope, "it was cancelled"))

    def expire(self, action: Action, cause: Exception | None = None) -> None:
        """Dead-letter an action whose deadline has passed."""
        error = ActionExpiredError(action.trace_id, action.tally.action_type)
        error.__cause__ = cause
        self._die(action, "expired", error)

    def _bury(self, envelope: ActionEnvelope, reason: Reason, attempts: int, error: Exception) -> None:
        self._count_dead(envelope.action_type, envelope.priority, reason)
        self._keep(DeadLetter.of(envelope, reason, ts=self._time(), attempts=attempts, error=error))

    def _count_dead(self, action_type: str, priority: ActionPriority, reason: Reason) -> None:
        self._tally(action_type, priority).dead[reason] += 1

    def _keep(self, letter: DeadLetter) -> None:
        self._note_finished(self.dlq.add(letter))
        if self.dlq.statistics().unwritten:
            self._agenda.look_by(self._monotonic() + FLUSH_INTERVAL)
        log.warning(
            "action %s (%r) is dead: %s: %s", letter.trace_id, letter.action_type, letter.reason, letter.message
        )
        if self._tell is not None:
            self._tell(letter)

    def note_done(self, action: Action, reply: Any) -> None:
        """Note that an action was done, before its submitter is told."""
        key, envelope = action.key, action.envelope
        if key is None:
            if self._journal is not None:
                self._journal.finish(envelope.trace_id)
            return
        until = envelope.enqueued + envelope.idempotency_window
        self._keys.keep(key, action, until)
        if self._journal is not None:
            self._journal.finish_done(Finished(envelope.trace_id, key, until, reply))

    def _note_finished(self, trace_ids: Iterable[str]) -> None:
        """Note that letters are where they are to stay."""
        if self._journal is not None:
            for trace_id in trace_ids:
                self._unburied.pop(trace_id, None)
                known = self._known(trace_id)
                if known is None or known.is_ended:  # else it was submitted again meanwhile
                    self._journal.finish(trace_id)

    # Insight

    def statistics(self) -> ActionStatistics:
        """Return a snapshot."""
        now = self._monotonic()
        tallies = list(self._tallies.values())
        types = sorted({tally.action_type for tally in tallies})
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
            workers=self._workers.target,
            running=total.running,
            waiting=total.waiting + len(self.unclaimed),
            oldest_age=max(ages, default=None),
            accepted=total.accepted,
            done=total.done,
            retried=total.retried,
            dead=total.dead,
            overruns=total.overruns,
            overrunning=len(self._lingering),
            keys=len(self._keys),
            duplicates=self._keys.duplicates,
            dlq=self.dlq.statistics(),
        )


def _cancellation(envelope: ActionEnvelope, why: str) -> ActionCancelledError:
    return ActionCancelledError(envelope.trace_id, envelope.action_type, why)
