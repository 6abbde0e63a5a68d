"""The action queue: admission, workers, retries, and one end for each accepted action."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from aetherra.kernel.actions.dispatch import Dead, Done, Outcome, Retry, attempt
from aetherra.kernel.actions.dlq import DeadLetterQueue, DlqStatistics
from aetherra.kernel.actions.envelope import ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.lanes import Lanes, LaneStatistics
from aetherra.kernel.actions.letter import DeadLetter, Reason
from aetherra.kernel.actions.records import Accepted
from aetherra.kernel.actions.retry import next_attempt
from aetherra.kernel.config import LanesConfig
from aetherra.kernel.errors import ActionCancelledError, ActionExpiredError, ActionQueueFullError, DataFileError
from aetherra.registry import Bus, Clock, Message, NoHandlerError, Request, ServiceRegistered, current_call
from aetherra.registry.messages import from_builtins

log = logging.getLogger("aetherra.kernel.actions")
ReplyT = TypeVar("ReplyT")
DeadLetterListener = Callable[[DeadLetter], None]


class ActionStatistics(Message, tag="kernel.actions_reply"):
    """A snapshot of the queue; counters run since the start.

    Attributes:
        lanes: Each lane.
        workers: Actions that may run at a time.
        running: Actions that run now.
        waiting: Actions between two attempts, and those of an earlier run whose plugin is not there yet.
        oldest_age: Seconds since the admission of the oldest unfinished action; ``None`` if there is none.
        accepted: Actions taken in.
        done: Actions done.
        retried: Attempts that were followed by another.
        dead: Actions dead-lettered, by reason.
        dlq: The dead letter queue.
    """

    lanes: dict[str, LaneStatistics]
    workers: int
    running: int
    waiting: int
    oldest_age: float | None
    accepted: int
    done: int
    retried: int
    dead: dict[str, int]
    dlq: DlqStatistics


class _Action:
    """An accepted action on its way."""

    __slots__ = ("attempts", "cancelled", "deadline", "envelope", "handle", "resumed", "scope", "since")

    def __init__(
        self, envelope: ActionEnvelope, clock: Clock, cancel: Callable[[_Action], bool], *, resumed: bool = False
    ) -> None:
        now, age = clock.monotonic(), clock.time() - envelope.enqueued
        self.envelope = envelope
        self.since = now - max(0.0, age)
        self.deadline = None if envelope.deadline is None else now + envelope.deadline - clock.time()
        self.attempts = 0
        self.resumed = resumed
        self.cancelled = False
        self.scope: anyio.CancelScope | None = None
        self.handle: ActionHandle[Any] = ActionHandle(envelope, lambda: cancel(self))


class ActionQueue:
    """Takes actions in and sees each to its end.

    Args:
        bus: Where handlers are called.
        dlq: Where actions end that were not done.
        lanes: Bounds and weights.
        workers: Actions that may run at a time.
        journal: Where accepted actions are kept for the next start; ``None`` keeps them in memory alone.
        on_dead_letter: Told of each dead letter.
    """

    def __init__(
        self,
        bus: Bus,
        dlq: DeadLetterQueue,
        *,
        lanes: LanesConfig,
        workers: int,
        journal: Journal | None = None,
        on_dead_letter: DeadLetterListener | None = None,
    ) -> None:
        self.dlq = dlq
        self._bus = bus
        self._clock = bus.clock
        self._workers = workers
        self._journal = journal
        self._tell = on_dead_letter
        self._lanes: Lanes[_Action] = Lanes(
            {name: (lane.capacity, lane.weight) for name in lanes.__struct_fields__ for lane in [getattr(lanes, name)]}
        )
        self._open: dict[str, _Action] = {}
        self._unclaimed: list[tuple[Accepted, int]] = []
        self._waiting = Counter[str]()
        self._running = self._accepted = self._done = self._retried = 0
        self._dead = Counter[str]()
        self._group: TaskGroup | None = None
        self._stopping = False
        self._idle: anyio.Event | None = None

    # Admission

    def submit(
        self,
        request: Request[ReplyT],
        *,
        priority: ActionPriority = ActionPriority.MEDIUM,
        deadline: float | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ActionHandle[ReplyT]:
        """Accept an action; it is in the journal, where there is one, once this returns.

        Args:
            request: What to do.
            priority: Its lane, and its place there.
            deadline: Seconds from now after which it is not worth doing.
            timeout: Seconds for one attempt; default is the kernel's.
            retry: How often to try.

        Raises:
            ActionQueueFullError: Its lane has no room; the refusal is counted and dead-lettered.
            ActionExpiredError: The deadline is not in the future; dead-lettered.
            ActionCancelledError: The host stops; dead-lettered.
            DataFileError: The journal cannot be written; the action was not accepted.
            MessageValidationError: The journal cannot hold the request; the action was not accepted.
        """
        now = self._clock.time()
        cause = current_call()
        envelope = ActionEnvelope(
            request,
            priority=priority,
            timeout=self._bus.default_timeout if timeout is None else timeout,
            deadline=None if deadline is None else now + deadline,
            retry=retry or RetryPolicy(),
            enqueued=now,
            correlation_id="" if cause is None else cause.trace_id,
            causation_id="" if cause is None else cause.id,
        )
        return self.submit_envelope(envelope)

    def submit_envelope(self, envelope: ActionEnvelope) -> ActionHandle[Any]:
        """Accept a ready envelope; see ``submit``. One whose action is not finished yet gets the handle it has."""
        if envelope.trace_id in self._open:
            return self._open[envelope.trace_id].handle
        if not envelope.enqueued:
            envelope = msgspec.structs.replace(envelope, enqueued=self._clock.time())
        refusal = self._refusal(envelope)
        if refusal is not None:
            if isinstance(refusal.error, ActionQueueFullError):
                self._lanes.refuse(refusal.error.lane)
            self._bury(envelope, refusal.reason, 0, refusal.error)
            raise refusal.error
        if self._journal is not None:
            self._journal.accepted(envelope)
        action = _Action(envelope, self._clock, self._cancel)
        self._take_in(action)
        return action.handle

    def _refusal(self, envelope: ActionEnvelope) -> Dead | None:
        """Return why an action cannot be accepted now, if it cannot."""
        lane, trace_id = envelope.priority.lane, envelope.trace_id
        if self._stopping:
            return Dead(self._cancellation(envelope, "the host is stopping"), "shutdown")
        if envelope.deadline is not None and envelope.deadline <= self._clock.time():
            return Dead(ActionExpiredError(trace_id, envelope.action_type), "expired")
        if not self._lanes.has_room(lane, self._waiting[lane]):
            return Dead(ActionQueueFullError(lane, self._lanes.capacity(lane), trace_id), "queue_full")
        return None

    def _take_in(self, action: _Action) -> None:
        self._open[action.envelope.trace_id] = action
        self._accepted += 1
        self._lanes.put(action.envelope.priority.lane, action.envelope.priority, action)

    def resume(self, record: Accepted, attempts: int) -> None:
        """Take up an action from the journal of an earlier run, with the attempts it has left.

        One whose tag nobody answers yet waits ``default_timeout`` for its plugin. One that nobody can read any more is
        dead-lettered, and so is one whose attempts are used up: each was under way when a host died, and might kill
        this one, too.
        """
        if not self._take_up(record, attempts):
            self._unclaimed.append((record, attempts))
            if len(self._unclaimed) == 1 and self._group is not None:
                self._group.start_soon(self._wait_for_plugins)

    def _take_up(self, record: Accepted, attempts: int) -> bool:
        """See an action of an earlier run into its lane or to its end; ``False`` if nobody answers its tag."""
        try:
            envelope = record.envelope(self._bus.request_type(record.action_type))
        except NoHandlerError:
            return False
        except ValueError as exc:
            self._keep(DeadLetter.of_record(record, "invalid", ts=self._clock.time(), attempts=attempts, error=exc))
            return True
        if attempts >= envelope.retry.max_attempts:
            error = self._cancellation(envelope, f"the host died during attempt {attempts} of {attempts}")
            self._keep(DeadLetter.of_record(record, "failed", ts=self._clock.time(), attempts=attempts, error=error))
            return True
        action = _Action(envelope, self._clock, self._cancel, resumed=True)
        action.attempts = action.handle.attempts = attempts
        self._take_in(action)
        return True

    async def _wait_for_plugins(self) -> None:
        with self._bus.subscribe(ServiceRegistered) as events, self._clock.move_on_after(self._bus.default_timeout):
            while self._unclaimed:
                self._unclaimed = [entry for entry in self._unclaimed if not self._take_up(*entry)]
                if self._unclaimed:
                    await anext(events)
        for record, attempts in self._unclaimed:
            error = NoHandlerError(record.action_type)
            self._keep(
                DeadLetter.of_record(record, "no_handler", ts=self._clock.time(), attempts=attempts, error=error)
            )
        self._unclaimed.clear()

    # Life

    @asynccontextmanager
    async def running(self, stop_timeout: Callable[[], float]) -> AsyncGenerator[None]:
        """Work while the body runs; then let what runs finish, for as long as ``stop_timeout`` says."""
        async with anyio.create_task_group() as self._group:
            for _ in range(self._workers):
                self._group.start_soon(self._work)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop(stop_timeout())
                self._group.cancel_scope.cancel()
        self._group = None

    async def _stop(self, timeout: float) -> None:
        self._stopping = True
        self._lanes.clear()
        self._unclaimed.clear()  # the journal has them
        for action in list(self._open.values()):
            if action.handle.status != "running":
                self._end_unfinished(action)
        with self._clock.move_on_after(timeout):
            while self._running:
                self._idle = anyio.Event()
                await self._idle.wait()
        for action in list(self._open.values()):
            log.warning("action %s (%r) was still running", action.envelope.trace_id, action.envelope.action_type)
            self._end_unfinished(action)
        self._note_finished(self.dlq.flush())

    def _end_unfinished(self, action: _Action) -> None:
        """The host stops: the journal keeps it for the next start, or, without one, the dead letter queue does."""
        envelope = action.envelope
        if action.scope is not None:
            action.scope.cancel()
        if self._journal is None:
            self._die(action, "shutdown", self._cancellation(envelope, "the host stopped; it is dead-lettered"))
            return
        self._remove(action)
        why = "the host stopped; it is in the journal for the next start"
        action.handle.settle(error=self._cancellation(envelope, why))

    # Work

    async def _work(self) -> None:
        while True:
            action = await self._lanes.get()
            self._running += 1
            try:
                await self._attempt(action)
            finally:
                self._running -= 1
                if not self._running and self._idle is not None:
                    self._idle.set()

    async def _attempt(self, action: _Action) -> None:
        if self._ended_by_itself(action):
            return
        envelope = action.envelope
        remaining = self._remaining(action)
        action.attempts += 1
        action.handle.attempts = action.attempts
        action.handle.status = "running"
        if action.resumed:
            self._note_attempts(action)
        outcome: Outcome | None = None
        with anyio.CancelScope() as action.scope:
            outcome = await attempt(self._bus, envelope, min(envelope.timeout, remaining))
        action.scope = None
        if self._is_open(action):
            self._conclude(action, outcome, last=remaining <= envelope.timeout)

    def _conclude(self, action: _Action, outcome: Outcome | None, *, last: bool) -> None:
        """Act upon an attempt's outcome; ``last`` says that its timeout was all the time that the action had."""
        match outcome:
            case Done(reply=reply):
                self._done += 1
                self._remove(action)
                self._note_finished([action.envelope.trace_id])
                action.handle.settle(reply)
            case Dead(error=error, reason=reason):
                self._die(action, reason, error)
            case Retry(error=error, reason=reason, asked=asked) if not action.cancelled:
                wait = next_attempt(
                    action.envelope.retry, action.attempts, self._remaining(action), random.random, asked
                )
                if self._is_expired(action) or (last and reason == "timeout"):
                    self._expire(action, error)
                elif wait is None or self._group is None:
                    self._die(action, reason, error)
                else:
                    self._note_attempts(action)
                    self._wait_for_retry(action, wait, self._group)
            case _:
                self._die_of_cancellation(action)

    def _wait_for_retry(self, action: _Action, wait: float, group: TaskGroup) -> None:
        if self._stopping:
            self._end_unfinished(action)
            return
        self._retried += 1
        action.handle.status = "waiting"
        action.scope = anyio.CancelScope()
        self._waiting[action.envelope.priority.lane] += 1
        group.start_soon(self._put_back_after, action, wait, action.scope)

    async def _put_back_after(self, action: _Action, wait: float, scope: anyio.CancelScope) -> None:
        lane = action.envelope.priority.lane
        with scope:
            await self._clock.sleep(wait)
        if not self._is_open(action):
            return
        self._waiting[lane] -= 1
        action.scope = None
        action.handle.status = "queued"
        if not self._ended_by_itself(action):
            self._lanes.put(lane, action.envelope.priority, action)

    def _is_open(self, action: _Action) -> bool:
        return self._open.get(action.envelope.trace_id) is action

    def _ended_by_itself(self, action: _Action) -> bool:
        """Whether the action has ended, was cancelled or is past its deadline; sees it to its end if so."""
        if not self._is_open(action):
            return True
        if action.cancelled:
            self._die_of_cancellation(action)
            return True
        if self._is_expired(action):
            self._expire(action)
            return True
        return False

    def _remaining(self, action: _Action) -> float:
        return math.inf if action.deadline is None else action.deadline - self._clock.monotonic()

    def _is_expired(self, action: _Action) -> bool:
        return self._remaining(action) <= 0

    def _cancel(self, action: _Action) -> bool:
        if not self._is_open(action) or action.cancelled:
            return False
        action.cancelled = True
        if action.handle.status == "running" and action.scope is not None:
            action.scope.cancel()
        else:
            self._die_of_cancellation(action)
        return True

    @staticmethod
    def _cancellation(envelope: ActionEnvelope, why: str) -> ActionCancelledError:
        return ActionCancelledError(envelope.trace_id, envelope.action_type, why)

    # Ends

    def _remove(self, action: _Action) -> None:
        envelope = action.envelope
        del self._open[envelope.trace_id]
        if action.handle.status == "queued":
            self._lanes.discard(envelope.priority.lane, action)
        elif action.handle.status == "waiting" and action.scope is not None:
            self._waiting[envelope.priority.lane] -= 1
            action.scope.cancel()

    def _die(self, action: _Action, reason: Reason, error: Exception) -> None:
        self._remove(action)
        action.handle.settle(error=error)
        self._bury(action.envelope, reason, action.attempts, error)

    def _die_of_cancellation(self, action: _Action) -> None:
        self._die(action, "cancelled", self._cancellation(action.envelope, "it was cancelled"))

    def _expire(self, action: _Action, cause: Exception | None = None) -> None:
        error = ActionExpiredError(action.envelope.trace_id, action.envelope.action_type)
        error.__cause__ = cause
        self._die(action, "expired", error)

    def _bury(self, envelope: ActionEnvelope, reason: Reason, attempts: int, error: Exception) -> None:
        self._keep(DeadLetter.of(envelope, reason, ts=self._clock.time(), attempts=attempts, error=error))

    def _keep(self, letter: DeadLetter) -> None:
        self._dead[letter.reason] += 1
        self._note_finished(self.dlq.add(letter))
        log.warning(
            "action %s (%r) is dead: %s: %s", letter.trace_id, letter.action_type, letter.reason, letter.message
        )
        if self._tell is not None:
            self._tell(letter)

    def _note_attempts(self, action: _Action) -> None:
        self._journal_safely(partial(Journal.attempted, trace_id=action.envelope.trace_id, attempts=action.attempts))

    def _note_finished(self, trace_ids: list[str]) -> None:
        for trace_id in trace_ids:
            self._journal_safely(partial(Journal.finished, trace_id=trace_id))

    def _journal_safely(self, write: Callable[[Journal], None]) -> None:
        """An end that cannot be written means the action may run once more after a crash: at least once."""
        try:
            if self._journal is not None:
                write(self._journal)
        except DataFileError as exc:
            log.error("the journal misses a record, its action may run again after a crash: %s", exc)  # noqa: TRY400

    # Insight and redrive

    async def redrive(self, trace_id: str) -> ActionHandle[Any]:
        """Send a dead letter's action again, as a new one with all its attempts; the letter leaves the queue.

        Raises:
            LetterNotFoundError: There is no such letter.
            NoHandlerError: Nothing answers its tag today; the letter stays.
            MessageValidationError: Today's request has other fields; the letter stays.
            ActionQueueFullError: No room; the letter stays.
            ActionCancelledError: The host stops; the letter stays.
        """
        letter = self.dlq.find(trace_id)
        request = from_builtins(letter.params, self._bus.request_type(letter.action_type))
        envelope = ActionEnvelope(request, priority=letter.priority, timeout=letter.timeout, retry=letter.retry)
        refusal = self._refusal(envelope)
        if refusal is not None:
            raise refusal.error
        handle = self.submit_envelope(envelope)
        try:
            self.dlq.remove({trace_id})
        except DataFileError as exc:
            log.error("the letter of %s, which is on its way again, cannot be removed: %s", trace_id, exc)  # noqa: TRY400
        return handle

    def statistics(self) -> ActionStatistics:
        """Return a snapshot."""
        ages = [self._clock.monotonic() - action.since for action in self._open.values()]
        ages.extend(max(0.0, self._clock.time() - record.enqueued) for record, _ in self._unclaimed)
        return ActionStatistics(
            lanes=self._lanes.statistics(),
            workers=self._workers,
            running=self._running,
            waiting=self._waiting.total() + len(self._unclaimed),
            oldest_age=max(ages, default=None),
            accepted=self._accepted,
            done=self._done,
            retried=self._retried,
            dead=dict(self._dead),
            dlq=self.dlq.statistics(),
        )
