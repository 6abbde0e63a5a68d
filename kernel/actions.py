"""The action queue: admission, workers, retries, and one end for each accepted action."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from aetherra.kernel.config import LanesConfig
from aetherra.kernel.dispatch import Dead, Done, Outcome, Retry, attempt
from aetherra.kernel.dlq import DeadLetter, DeadLetterQueue, DlqStatistics, Reason
from aetherra.kernel.envelope import ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.errors import ActionCancelledError, ActionExpiredError, ActionQueueFullError, DataFileError
from aetherra.kernel.handle import ActionHandle
from aetherra.kernel.journal import Accepted, Journal
from aetherra.kernel.lanes import Lanes, LaneStatistics
from aetherra.kernel.retry import next_attempt
from aetherra.registry import Bus, Message, NoHandlerError, Request
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
        waiting: Actions between two attempts.
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

    __slots__ = ("attempts", "cancelled", "deadline", "envelope", "handle", "scope")

    def __init__(self, envelope: ActionEnvelope, deadline: float | None, cancel: Callable[[_Action], bool]) -> None:
        self.envelope = envelope
        self.deadline = deadline
        self.attempts = 0
        self.cancelled = ""
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
        self._waiting = Counter[str]()
        self._running = self._accepted = self._done = self._retried = 0
        self._dead = Counter[str]()
        self._group: TaskGroup | None = None
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
            DataFileError: The journal cannot be written; the action was not accepted.
        """
        now = self._clock.time()
        envelope = ActionEnvelope(
            request,
            priority=priority,
            timeout=self._bus.default_timeout if timeout is None else timeout,
            deadline=None if deadline is None else now + deadline,
            retry=retry or RetryPolicy(),
            enqueued=now,
        )
        return self.submit_envelope(envelope)

    def submit_envelope(self, envelope: ActionEnvelope) -> ActionHandle[Any]:
        """Accept a ready envelope; see ``submit``."""
        now = self._clock.time()
        if not envelope.enqueued:
            envelope = msgspec.structs.replace(envelope, enqueued=now)
        remaining = None if envelope.deadline is None else envelope.deadline - now
        if remaining is not None and remaining <= 0:
            error = ActionExpiredError(envelope.trace_id, envelope.action_type)
            self._bury(envelope, "expired", 0, error)
            raise error
        action = _Action(envelope, None if remaining is None else self._clock.monotonic() + remaining, self._cancel)
        lane = envelope.priority.lane
        if not self._lanes.has_room(lane, self._waiting[lane]):
            self._lanes.refuse(lane)
            full = ActionQueueFullError(lane, self._lanes.capacity(lane), envelope.trace_id)
            self._bury(envelope, "queue_full", 0, full)
            raise full
        if self._journal is not None:
            self._journal.accepted(envelope)
        self._open[envelope.trace_id] = action
        self._accepted += 1
        self._lanes.put(lane, envelope.priority, action)
        return action.handle

    def resume(self, record: Accepted, attempts: int) -> None:
        """Take up an action from the journal of an earlier run; one that nobody can read any more is dead-lettered."""
        try:
            envelope = self._envelope_of(record)
        except (NoHandlerError, ValueError) as exc:
            letter = DeadLetter(
                ts=self._clock.time(),
                reason="no_handler" if isinstance(exc, NoHandlerError) else "invalid",
                trace_id=record.trace_id,
                action_type=record.action_type,
                params=record.params,
                priority=record.priority,
                attempts=attempts,
                timeout=record.timeout,
                retry=record.retry,
                error_type=type(exc).__name__,
                message=str(exc),
            )
            self._keep(letter)
            self._note_finished(record.trace_id)
            return
        remaining = None if envelope.deadline is None else envelope.deadline - self._clock.time()
        action = _Action(envelope, None if remaining is None else self._clock.monotonic() + remaining, self._cancel)
        action.attempts = action.handle.attempts = attempts
        self._open[envelope.trace_id] = action
        self._accepted += 1
        self._lanes.put(envelope.priority.lane, envelope.priority, action)

    def _envelope_of(self, record: Accepted) -> ActionEnvelope:
        return ActionEnvelope(
            from_builtins(record.params, self._bus.request_type(record.action_type)),
            priority=record.priority,
            timeout=record.timeout,
            deadline=record.deadline,
            retry=record.retry,
            trace_id=record.trace_id,
            enqueued=record.enqueued,
        )

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
        for action in self._lanes.drain():
            self._end_unfinished(action)
        with self._clock.move_on_after(timeout):
            while self._running:
                self._idle = anyio.Event()
                await self._idle.wait()
        for action in list(self._open.values()):
            if action.scope is not None:
                log.warning("action %s (%r) was still running", action.envelope.trace_id, action.envelope.action_type)
            self._end_unfinished(action)

    def _end_unfinished(self, action: _Action) -> None:
        """The host stops: the journal keeps it for the next start, or, without one, the dead letter queue does."""
        envelope = action.envelope
        if self._open.pop(envelope.trace_id, None) is None:
            return
        action.cancelled = "the host stopped"
        if action.scope is not None:
            action.scope.cancel()
        where = "it is in the journal for the next start" if self._journal is not None else "it is dead-lettered"
        error = ActionCancelledError(envelope.trace_id, envelope.action_type, f"the host stopped; {where}")
        if self._journal is None:
            self._bury(envelope, "shutdown", action.attempts, error)
        action.handle.settle(error=error)

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
        self._note_attempt(action)
        timeout = envelope.timeout if remaining is None else min(envelope.timeout, remaining)
        outcome: Outcome | None = None
        with anyio.CancelScope() as scope:
            action.scope = scope
            outcome = await attempt(self._bus, envelope, timeout)
        action.scope = None
        if outcome is None:
            self._ended_by_itself(action)
        else:
            self._conclude(action, outcome)

    def _conclude(self, action: _Action, outcome: Outcome) -> None:
        if action.envelope.trace_id not in self._open:  # the host's stop has ended it
            return
        match outcome:
            case Done(reply=reply):
                self._done += 1
                self._finish(action)
                action.handle.settle(reply)
            case Dead(error=error, reason=reason):
                self._die(action, reason, error)
            case Retry(error=error, reason=reason, asked=asked):
                remaining = self._remaining(action)
                wait = next_attempt(action.envelope.retry, action.attempts, remaining, random.random, asked)
                if remaining is not None and remaining <= 0:
                    self._die(action, "expired", error)
                elif wait is None or self._group is None:
                    self._die(action, reason, error)
                else:
                    self._retried += 1
                    action.handle.status = "waiting"
                    self._group.start_soon(self._put_back_after, action, wait)

    async def _put_back_after(self, action: _Action, wait: float) -> None:
        lane = action.envelope.priority.lane
        self._waiting[lane] += 1
        try:
            with anyio.CancelScope() as scope:
                action.scope = scope
                await self._clock.sleep(wait)
        finally:
            action.scope = None
            self._waiting[lane] -= 1
        if not self._ended_by_itself(action):
            action.handle.status = "queued"
            self._lanes.put(lane, action.envelope.priority, action)

    def _ended_by_itself(self, action: _Action) -> bool:
        """Whether the action has ended, was cancelled or is past its deadline; sees it to its end if so."""
        envelope = action.envelope
        if envelope.trace_id not in self._open:
            return True
        if action.cancelled:
            error = ActionCancelledError(envelope.trace_id, envelope.action_type, action.cancelled)
            self._die(action, "cancelled", error)
            return True
        remaining = self._remaining(action)
        if remaining is not None and remaining <= 0:
            self._die(action, "expired", ActionExpiredError(envelope.trace_id, envelope.action_type))
            return True
        return False

    def _remaining(self, action: _Action) -> float | None:
        return None if action.deadline is None else action.deadline - self._clock.monotonic()

    def _cancel(self, action: _Action) -> bool:
        if action.envelope.trace_id not in self._open or action.cancelled:
            return False
        action.cancelled = "it was cancelled"
        if action.scope is not None:
            action.scope.cancel()
        elif action.handle.status == "queued":
            self._ended_by_itself(action)
        return True

    # Ends

    def _finish(self, action: _Action) -> None:
        del self._open[action.envelope.trace_id]
        self._note_finished(action.envelope.trace_id)

    def _die(self, action: _Action, reason: Reason, error: Exception) -> None:
        self._bury(action.envelope, reason, action.attempts, error)
        self._finish(action)
        action.handle.settle(error=error)

    def _bury(self, envelope: ActionEnvelope, reason: Reason, attempts: int, error: Exception) -> None:
        self._keep(DeadLetter.of(envelope, reason, ts=self._clock.time(), attempts=attempts, error=error))

    def _keep(self, letter: DeadLetter) -> None:
        self._dead[letter.reason] += 1
        self.dlq.add(letter)
        log.warning(
            "action %s (%r) is dead: %s: %s", letter.trace_id, letter.action_type, letter.reason, letter.message
        )
        if self._tell is not None:
            self._tell(letter)

    def _note_attempt(self, action: _Action) -> None:
        if self._journal is not None and action.attempts > 1:
            self._journal_safely(lambda journal: journal.attempted(action.envelope.trace_id, action.attempts))

    def _note_finished(self, trace_id: str) -> None:
        if self._journal is not None:
            self._journal_safely(lambda journal: journal.finished(trace_id))

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
        """
        letter = await anyio.to_thread.run_sync(self.dlq.find, trace_id)
        request = from_builtins(letter.params, self._bus.request_type(letter.action_type))
        if not self._lanes.has_room(letter.priority.lane, self._waiting[letter.priority.lane]):
            raise ActionQueueFullError(
                letter.priority.lane, self._lanes.capacity(letter.priority.lane), letter.trace_id
            )
        handle = self.submit(request, priority=letter.priority, timeout=letter.timeout, retry=letter.retry)
        self.dlq.remove({trace_id})
        return handle

    def statistics(self) -> ActionStatistics:
        """Return a snapshot."""
        now = self._clock.time()
        return ActionStatistics(
            lanes=self._lanes.statistics(),
            workers=self._workers,
            running=self._running,
            waiting=self._waiting.total(),
            oldest_age=max((max(0.0, now - a.envelope.enqueued) for a in self._open.values()), default=None),
            accepted=self._accepted,
            done=self._done,
            retried=self._retried,
            dead=dict(self._dead),
            dlq=self.dlq.statistics(),
        )
