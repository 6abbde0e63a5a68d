"""The course of accepted actions: lanes, attempts, what comes between two of them, and one end for each."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import anyio

from aetherra.kernel.actions import records
from aetherra.kernel.actions.action import Action
from aetherra.kernel.actions.agenda import Agenda
from aetherra.kernel.actions.dispatch import Dead, Retry
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.envelope import ActionEnvelope, ActionPriority
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.keys import Keys
from aetherra.kernel.actions.lanes import Lanes
from aetherra.kernel.actions.letter import DeadLetter, Reason
from aetherra.kernel.actions.limiter import ConcurrencyLimiter
from aetherra.kernel.actions.records import Accepted, Finished
from aetherra.kernel.actions.retry import next_attempt
from aetherra.kernel.actions.tally import Tally
from aetherra.kernel.actions.workers import Workers
from aetherra.kernel.config import LanesConfig
from aetherra.kernel.errors import ActionCancelledError, ActionExpiredError
from aetherra.kernel.leftovers import root_of
from aetherra.registry import Bus, CallTimeoutError, Message

log = logging.getLogger("aetherra.kernel.actions")
DeadLetterListener = Callable[[DeadLetter], None]
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


class Course:
    """Sees each action that the queue has accepted to its end.

    Args:
        bus: Where handlers are called.
        dlq: Where actions end that were not done.
        lanes: Bounds and weights.
        workers: Actions that may run at a time.
        journal: Where accepted actions are kept for the next start, if anywhere.
        limiter: Finds out how many may run at a time, if anybody does.
        on_dead_letter: Told of each dead letter.

    Attributes:
        lanes: Where actions wait for their turn.
        levels: The place in its lane for each priority.
        keys: Which work is known by its key.
        tallies: Those that are not finished, and the counters, by type and lane.
        workers: Who runs them.
        is_stopping: Whether the host stops, and takes no more of them.
    """

    def __init__(
        self,
        bus: Bus,
        dlq: DeadLetterQueue,
        *,
        lanes: LanesConfig,
        workers: int,
        journal: Journal | None,
        limiter: ConcurrencyLimiter | None,
        on_dead_letter: DeadLetterListener | None,
    ) -> None:
        self._bus = bus
        self._clock = bus.clock
        self._monotonic = bus.clock.monotonic
        self._dlq = dlq
        self._journal = journal
        self._tell = on_dead_letter
        self.lanes: Lanes[Action] = Lanes(
            {
                name: (lane.capacity, lane.weight, _LEVELS[name])
                for name in lanes.__struct_fields__
                for lane in [getattr(lanes, name)]
            },
            reserved=_place(ActionPriority.MAINTENANCE),
        )
        places = map(_place, ActionPriority)
        self.levels: tuple[deque[Action], ...] = tuple(self.lanes.lanes[name].levels[level] for name, level in places)
        self.keys = Keys(bus.clock) if journal is None else Keys(bus.clock, journal.forget_done)
        self.tallies: dict[tuple[str, str], Tally[Action]] = {}
        self.is_stopping = False
        self._agenda: Agenda[Action] = Agenda(bus.clock, self._fall_due, self._look)
        self.workers = Workers(bus, self.lanes, self._agenda, journal, limiter, workers, self)
        self._parked: dict[str, Action] = {}
        self._lingering: dict[str, Action] = {}
        self._waits: dict[str, float] = {}
        self._unburied: dict[str, Action] = {}
        self._left: dict[str, tuple[ActionEnvelope, int]] = {}  # to the journal, for the next start

    def tally(self, action_type: str, priority: ActionPriority) -> Tally[Action]:
        """Return where actions of a type and a lane are counted."""
        key = (action_type, priority.lane)
        if key not in self.tallies:
            self.tallies[key] = Tally(action_type, self.lanes.lanes[priority.lane])
        return self.tallies[key]

    def known(self, trace_id: str) -> Action | None:
        """Return the action of a trace id that is not finished, or for which a handler is still at work."""
        for tally in self.tallies.values():
            if trace_id in tally.open:
                return tally.open[trace_id]
        return self._lingering.get(trace_id)

    def lingers(self, trace_id: str) -> bool:
        """Whether a handler is still at work for an action that is dead."""
        return trace_id in self._lingering

    @property
    def lingering(self) -> int:
        """Actions for which a handler is at work that ignores its cancellation."""
        return len(self._lingering)

    def recall(self, trace_id: str) -> tuple[ActionEnvelope, int] | None:
        """Tell the journal of an action that it has to keep: its envelope and its attempts."""
        if trace_id in self._left:
            return self._left[trace_id]
        action = self.known(trace_id) or self._unburied.get(trace_id)
        return None if action is None else (action.envelope, action.attempts)

    # Life

    @asynccontextmanager
    async def running(self, stop_timeout: Callable[[], float]) -> AsyncGenerator[None]:
        """Work while the body runs; then let what runs finish, for as long as ``stop_timeout`` says."""
        async with anyio.create_task_group() as group, self.workers.running():
            group.start_soon(self._agenda.run)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop(stop_timeout())
                group.cancel_scope.cancel()

    async def _stop(self, timeout: float) -> None:
        self.is_stopping = True
        for action in self._open():
            if action.status != "running":
                self._end_unfinished(action)
        for lane in self.lanes.lanes.values():  # whoever waits for one to be shed no more is told now
            self.lanes.set(lane, lane.capacity, lane.weight, shed=False)
        with self._clock.move_on_after(timeout):
            await self.workers.wait_idle()
        for action in self._open():
            log.warning("action %s (%r) was still running", action.trace_id, action.tally.action_type)
            own_fault = action.is_fatal or action.trace_id in self._lingering
            if self._journal is not None and not own_fault:
                self._left[action.trace_id] = (action.envelope, action.attempts - 1)
                self._journal.begin(action.trace_id, action.attempts - 1)
            self._end_unfinished(action)
        self._note_finished(self._dlq.flush(wait=1.0))

    def _open(self) -> list[Action]:
        return [action for tally in self.tallies.values() for action in tally.open.values()]

    def _end_unfinished(self, action: Action) -> None:
        """The host stops: the journal keeps it for the next start, or, without one, the dead letter queue does."""
        envelope = action.envelope
        if self._journal is None:
            self._die(action, "shutdown", cancellation(envelope, "the host stopped; it is dead-lettered"))
            return
        self._left.setdefault(action.trace_id, (envelope, action.attempts))
        self._remove(action)
        why = "the host stopped; it is in the journal for the next start"
        action.settle(error=cancellation(envelope, why))

    # Before an attempt

    def take_in(self, action: Action) -> None:
        """Have an action that has its room and its record."""
        tally = action.tally
        tally.add(action.trace_id, action)
        tally.accepted += 1
        if action.key is not None:
            self.keys.hold(action.key, action)
        self._queue(action)

    def _queue(self, action: Action) -> None:
        """Put an action in its lane, until its turn comes or its time is over."""
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)
        self.lanes.put(action.tally.lane, self.levels[action.envelope.priority], action)

    def unpark(self) -> None:
        """Let actions go on whose plugin is not being swapped any longer."""
        for action in list(self._parked.values()):
            if action.tally.action_type not in self._bus.routing.parked_tags:
                del self._parked[action.trace_id]
                self._put_back(action)

    def park(self, action: Action) -> None:
        """Hold an action whose plugin is being swapped, without a worker, until the swap is over or its time is."""
        self._let_wait(action)
        self._parked[action.trace_id] = action
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)

    def _let_wait(self, action: Action) -> None:
        action.status = "waiting"
        action.tally.waiting += 1
        action.tally.lane.held += 1

    # After an attempt

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
                elif self.is_stopping:
                    self._end_unfinished(action)
                elif action.left:
                    self._waits[action.trace_id] = wait  # for the threads that the attempt has left behind
                    self._wait_for_retry(action, inf)
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
        again = self.workers.look(now)
        if self._dlq.statistics().unwritten:
            self._note_finished(self._dlq.flush())
            again = min(again, now + FLUSH_INTERVAL)
        return again

    def fail(self, action: Action, error: Exception) -> None:
        """End an action that a fault of the host itself has stopped."""
        self._die(action, "failed", error)

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
            wait = self._waits.pop(action.trace_id, None)
            if wait is not None and not action.is_ended and not self.is_stopping:
                self._agenda.put(action, min(self._monotonic() + wait, action.deadline))

    def _stop_lingering(self, action: Action) -> None:
        self._lingering.pop(action.trace_id, None)
        log.warning("action %s (%r) has let go at last", action.trace_id, action.tally.action_type)
        if action.is_ended and action.key is not None:
            self.keys.release(action.key, action)

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
            self._parked.pop(action.trace_id, None)

    def _die(self, action: Action, reason: Reason, error: Exception) -> None:
        self._remove(action)
        if action.key is not None and action.trace_id not in self._lingering:
            self.keys.release(action.key, action)
        action.settle(error=error)
        if self._journal is not None:
            self._unburied[action.trace_id] = action
        self.bury(action.envelope, reason, action.attempts, error)

    def _die_of_cancellation(self, action: Action) -> None:
        self._die(action, "cancelled", cancellation(action.envelope, "it was cancelled"))

    def expire(self, action: Action, cause: Exception | None = None) -> None:
        """Dead-letter an action whose deadline has passed."""
        error = ActionExpiredError(action.trace_id, action.tally.action_type)
        error.__cause__ = cause
        self._die(action, "expired", error)

    def bury(self, envelope: ActionEnvelope, reason: Reason, attempts: int, error: Exception) -> None:
        """Dead-letter what was not done, or not accepted."""
        self._count_dead(envelope.action_type, envelope.priority, reason)
        self._keep(DeadLetter.of(envelope, reason, ts=self._clock.time(), attempts=attempts, error=error))

    def bury_record(self, record: Accepted, reason: Reason, attempts: int, error: Exception) -> None:
        """Dead-letter an action of an earlier run that cannot be taken up."""
        self._count_dead(record.action_type, record.priority, reason)
        self._keep(DeadLetter.of_record(record, reason, ts=self._clock.time(), attempts=attempts, error=error))

    def _count_dead(self, action_type: str, priority: ActionPriority, reason: Reason) -> None:
        self.tally(action_type, priority).dead[reason] += 1

    def _keep(self, letter: DeadLetter) -> None:
        self._note_finished(self._dlq.add(letter))
        if self._dlq.statistics().unwritten:
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
        end = Finished(envelope.trace_id, key, until, reply)
        known: Action | Finished = action
        if root_of(type(reply).__module__) or root_of(type(envelope.request).__module__):
            end = records.plain(end)  # or a swap's old classes would stay
            known = action if end.lost else end
        self.keys.keep(key, known, until)
        if self._journal is not None:
            self._journal.finish_done(end)

    def _note_finished(self, trace_ids: Iterable[str]) -> None:
        """Note that letters are where they are to stay."""
        if self._journal is not None:
            for trace_id in trace_ids:
                self._unburied.pop(trace_id, None)
                known = self.known(trace_id)
                if known is None or known.is_ended:  # else it was submitted again meanwhile
                    self._journal.finish(trace_id)


def _place(priority: ActionPriority) -> tuple[str, int]:
    """Return the lane of a priority, and its level there."""
    names = [known.lane for known in ActionPriority]
    return priority.lane, priority - names.index(priority.lane)


def cancellation(envelope: ActionEnvelope, why: str) -> ActionCancelledError:
    """Return the error of an action that was cancelled, or not accepted because the host stops."""
    return ActionCancelledError(envelope.trace_id, envelope.action_type, why)
