"""The action queue: admission, workers, retries, and one end for each accepted action."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskGroup

from aetherra.kernel.actions.action import Action, AttemptCall
from aetherra.kernel.actions.agenda import Agenda
from aetherra.kernel.actions.dispatch import Dead, Retry, outcome_of
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.envelope import DAY, ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.keys import Keys
from aetherra.kernel.actions.lanes import Lane, Lanes
from aetherra.kernel.actions.letter import DeadLetter, Reason
from aetherra.kernel.actions.limiter import ConcurrencyLimiter
from aetherra.kernel.actions.records import Accepted, Finished
from aetherra.kernel.actions.retry import next_attempt
from aetherra.kernel.actions.tally import ActionStatistics, Tally, lane_statistics, type_statistics
from aetherra.kernel.config import LanesConfig
from aetherra.kernel.errors import ActionCancelledError, ActionExpiredError, ActionQueueFullError
from aetherra.kernel.stacks import coroutine_stack
from aetherra.registry import (
    HOST,
    Bus,
    CallTimeoutError,
    HandlerError,
    Message,
    NoHandlerError,
    Request,
    tag_of,
)
from aetherra.registry.call import CURRENT, IN_A_SCOPE, OVER, new_id, suspendable_call

log = logging.getLogger("aetherra.kernel.actions")
ReplyT = TypeVar("ReplyT")
DeadLetterListener = Callable[[DeadLetter], None]
SLICE = 0.002
"""Seconds for which all workers together may run actions that never wait, before other tasks have a turn."""
TURN = 64
"""Actions that one worker may run in its part of that."""
GRACE = 1.0
"""Seconds that a handler which was cancelled for its time limit has to end before it is reported and replaced."""
FLUSH_INTERVAL = 1.0
"""Seconds between two tries to write dead letters that the disk has refused."""
_LEVELS = {"high": 3, "normal": 2, "background": 1}
_ONCE_MORE = RetryPolicy()


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


class _Worker:
    """A task that runs actions: the one that it runs now, since when, until when, and whether it was replaced."""

    __slots__ = ("action", "begun", "replaced", "task_id", "until")

    def __init__(self) -> None:
        self.action: Action | None = None
        self.begun = 0.0
        self.until = inf
        self.replaced = False
        self.task_id = 0


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
        self.clock = bus.clock
        self._bus = bus
        self._call = bus.caller(HOST).call
        self._monotonic = bus.clock.monotonic
        self._time = bus.clock.time
        self._journal = journal
        self._limiter = limiter
        self._tell = on_dead_letter
        self._lanes: Lanes[Action] = Lanes(
            {
                name: (lane.capacity, lane.weight, _LEVELS[name])
                for name in lanes.__struct_fields__
                for lane in [getattr(lanes, name)]
            }
        )
        names = [priority.lane for priority in ActionPriority]
        self._places: tuple[tuple[Lane[Action], int], ...] = tuple(
            (self._lanes.lanes[name], place - names.index(name)) for place, name in enumerate(names)
        )
        self._tallies: dict[tuple[str, str], Tally[Action]] = {}
        self._by_class: tuple[dict[type, Tally[Action]], ...] = tuple({} for _ in names)
        self._keys = Keys(bus.clock)
        self._agenda: Agenda[Action] = Agenda(bus.clock, self._fall_due, self._look)
        self._parked_tags = bus.routing.parked_tags
        self._parked: list[Action] = []
        self._lingering: dict[str, Action] = {}
        self._outcomes: dict[str, Retry] = {}
        self._size = workers
        self._workers: set[_Worker] = set()
        self._alive = 0
        self._target = workers
        self._retarget()
        self._group: TaskGroup | None = None
        self._stopping = False
        self._idle: anyio.Event | None = None
        bus.forget_lines_of(self)

    def forget_lines(self) -> None:
        """Hear that routes have changed: keep no old class, and go on with actions whose plugin was swapped."""
        for known in self._by_class:
            known.clear()
        parked, self._parked = self._parked, []
        for action in parked:
            if action.tally.action_type in self._parked_tags:
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
        cause = suspendable_call()
        envelope = ActionEnvelope(
            request,
            priority,
            self._bus.default_timeout if timeout is None else timeout,
            None if deadline is None else now + deadline,
            retry or _ONCE_MORE,
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
        if deadline is None and not idempotency_key and self._journal is None and lane.has_room and not self._stopping:
            lane.held += 1
            action = self._action(envelope, tally)
            self._take_in(action)
            return action
        return await self._admit(envelope, tally, wait_for_room, bury=True)

    async def submit_envelope(
        self, envelope: ActionEnvelope, *, wait_for_room: float = 0.0, bury: bool = True
    ) -> ActionHandle[Any]:
        """Accept a ready envelope; see ``submit``. One whose action is not finished yet gets the handle it has.

        Args:
            envelope: The action.
            wait_for_room: Seconds to wait for room in a full lane.
            bury: Whether a refusal makes a dead letter.
        """
        known = self._known(envelope.trace_id)
        if known is not None:
            return known
        if not envelope.enqueued:
            envelope = msgspec.structs.replace(envelope, enqueued=self._time())
        return await self._admit(envelope, self._tally_of(envelope), wait_for_room, bury=bury)

    def _known(self, trace_id: str) -> Action | None:
        for tally in self._tallies.values():
            if trace_id in tally.open:
                return tally.open[trace_id]
        return self._lingering.get(trace_id)

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
            self._tallies[key] = Tally(action_type, self._places[priority][0])
        return self._tallies[key]

    def _action(self, envelope: ActionEnvelope, tally: Tally[Action]) -> Action:
        now = self._monotonic()
        return Action(envelope, "queued", 0, None, None, None, self, tally, inf, now, now)

    def _take_in(self, action: Action) -> None:
        """Have an action that has its room and its record."""
        envelope = action.envelope
        tally = action.tally
        tally.open[envelope.trace_id] = action
        tally.accepted += 1
        if envelope.deadline is not None:
            self._agenda.put(action, action.deadline)
        lane, level = self._places[envelope.priority]
        self._lanes.put(lane, level, action)

    async def _admit(
        self, envelope: ActionEnvelope, tally: Tally[Action], wait_for_room: float, *, bury: bool
    ) -> ActionHandle[Any]:
        """See an action in, or refuse it."""
        lane = tally.lane
        action = self._action(envelope, tally)
        if envelope.deadline is not None:
            action.deadline = action.since + envelope.deadline - self._time()
        known = self._of_key(action)
        if known is not None:
            return known
        refusal = self._refusal(action)
        if refusal is None and not await self._has_room(lane, action, wait_for_room):
            lane.refused += 1
            refusal = Dead(ActionQueueFullError(lane.name, lane.capacity, envelope.trace_id), "queue_full")
        elif refusal is None:
            known = self._of_key(action)  # again, as it may have waited
            refusal = self._refusal(action)
            if known is not None or refusal is not None:
                lane.give_up_room()
        if known is not None:
            return known
        if refusal is not None:
            if bury:
                self._bury(envelope, refusal.reason, 0, refusal.error)
            raise refusal.error
        await self._record(action)
        self._take_in(action)
        return action

    def _of_key(self, action: Action) -> ActionHandle[Any] | None:
        return None if action.key is None else self._keys.find(action.key, action.envelope.request)

    def _refusal(self, action: Action) -> Dead | None:
        """Return why an action cannot be accepted now, if it cannot; whether there is room is another question."""
        if self._stopping:
            return Dead(_cancellation(action.envelope, "the host is stopping"), "shutdown")
        if self._is_expired(action):
            return Dead(ActionExpiredError(action.trace_id, action.tally.action_type), "expired")
        return None

    async def _has_room(self, lane: Lane[Action], action: Action, seconds: float) -> bool:
        """Take the room of one in a lane, waiting for it if the submitter may; a full one is given one turn to drain."""
        if lane.has_room:
            lane.held += 1
            return True
        if not seconds > 0:
            await anyio.lowlevel.checkpoint()
            if lane.has_room:
                lane.held += 1
                return True
            return False
        with self.clock.move_on_after(min(seconds, self._remaining(action))):
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
                await journal.sync()
                if self._stopping:
                    raise _cancellation(envelope, "the host is stopping")
        except BaseException as exc:
            journal.finish(envelope.trace_id)
            action.tally.lane.give_up_room()
            if action.key is not None:
                self._keys.release(action.key, action)
            action.settle(error=exc if isinstance(exc, Exception) else _cancellation(envelope, "its submitter left"))
            raise

    # Actions of an earlier run

    def resume(self, envelope: ActionEnvelope, attempts: int) -> None:
        """Take up an action of an earlier run, whose record the journal has, with the attempts it has left."""
        tally = self._tally_of(envelope)
        tally.lane.held += 1
        action = self._action(envelope, tally)
        action.attempts = attempts
        action.since -= max(0.0, self._time() - envelope.enqueued)
        if envelope.deadline is not None:
            action.deadline = action.ready + envelope.deadline - self._time()
        if action.key is not None:
            self._keys.hold(action.key, action)
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
        async with anyio.create_task_group() as self._group:
            self._group.start_soon(self._agenda.run)
            self._fill()
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop(stop_timeout())
                self._group.cancel_scope.cancel()
        self._group = None

    async def _stop(self, timeout: float) -> None:
        self._stopping = True
        for action in self._open():
            if action.status != "running":
                self._end_unfinished(action)
        with self.clock.move_on_after(timeout):
            while any(worker.action is not None and not worker.replaced for worker in self._workers):
                self._idle = anyio.Event()
                await self._idle.wait()
        for action in self._open():
            log.warning("action %s (%r) was still running", action.trace_id, action.tally.action_type)
            self._bus.cancel_within(action.call)
            self._end_unfinished(action)
        self._note_finished(self.dlq.flush())

    def _open(self) -> list[Action]:
        return [action for tally in self._tallies.values() for action in tally.open.values()]

    def _end_unfinished(self, action: Action) -> None:
        """The host stops: the journal keeps it for the next start, or, without one, the dead letter queue does."""
        envelope = action.envelope
        if self._journal is None:
            self._die(action, "shutdown", _cancellation(envelope, "the host stopped; it is dead-lettered"))
            return
        if action.status == "running":
            self._journal.begin(action.trace_id, action.attempts - 1)  # that it was not done is no fault of its own
        self._remove(action)
        why = "the host stopped; it is in the journal for the next start"
        action.settle(error=_cancellation(envelope, why))

    # Workers

    def set_workers(self, workers: int) -> None:
        """Change how many actions may run at a time; those that run beyond it are let finish.

        Raises:
            ValueError: That is fewer than 1, or more than 1,000.
        """
        if not 1 <= workers <= 1000:
            raise ValueError(f"expected 1 to 1000 workers, got {workers!r}")
        self._size = workers
        self._retarget()

    def set_lane(self, name: str, *, capacity: int | None = None, weight: int | None = None) -> None:
        """Change a lane's bounds; what waits in it stays, also beyond them.

        Raises:
            ValueError: There is no such lane, or a bound is less than 1.
        """
        lane = self._lanes.lanes.get(name)
        if lane is None:
            raise ValueError(f"expected one of {', '.join(self._lanes.lanes)}, got {name!r}")
        bounds = (lane.capacity if capacity is None else capacity, lane.weight if weight is None else weight)
        if min(bounds) < 1:
            raise ValueError(f"expected a capacity and a weight of 1 or more, got {bounds[0]} and {bounds[1]}")
        lane.set(*bounds)

    def _retarget(self) -> None:
        target = self._size if self._limiter is None else max(1, min(self._size, self._limiter.limit))
        if target != self._target:
            shrunk = target < self._target
            self._target = target
            if shrunk:
                self._lanes.wake_all()
            self._fill()

    def _fill(self) -> None:
        while self._group is not None and self._alive < self._target:
            self._alive += 1
            self._group.start_soon(self._work)

    async def _work(self) -> None:
        worker = _Worker()
        worker.task_id = anyio.get_current_task().id
        self._workers.add(worker)
        try:
            while not worker.replaced and self._alive <= self._target:
                try:
                    await self._work_on(worker)
                except anyio.get_cancelled_exc_class():
                    if self._group is None or self._group.cancel_scope.cancel_called:
                        raise
                    _uncancel()  # a handler has cancelled its own task, and left that to us
        finally:
            self._workers.discard(worker)
            if not worker.replaced:
                self._alive -= 1

    async def _work_on(self, worker: _Worker) -> None:
        """Run one action after the other; returns when the worker is one too many."""
        lanes, agenda, journal, monotonic = self._lanes, self._agenda, self._journal, self._monotonic
        call_handler = self._call
        parked_tags = self._parked_tags
        turn, slice_ends = TURN, monotonic() + SLICE / self._target
        while not worker.replaced and self._alive <= self._target:
            action = lanes.take()
            if action is None:
                await lanes.wait()
                turn, slice_ends = TURN, monotonic() + SLICE / self._target
                continue
            now = monotonic()
            tally, envelope = action.tally, action.envelope
            if action.due:
                agenda.discard(action)
            if action.deadline <= now:
                tally.lane.held += 1
                self._expire(action)
                continue
            if tally.action_type in parked_tags:
                self._park(action)
                continue
            until = now + min(envelope.timeout, action.deadline - now)
            action.attempts += 1
            action.status = "running"
            tally.running += 1
            tally.waits.append(now - action.ready)
            worker.action, worker.begun, worker.until = action, now, until
            if until + GRACE < agenda.look_at:
                agenda.look_by(until + GRACE)
            if journal is not None:
                journal.begin(envelope.trace_id, action.attempts)
            call = AttemptCall(tally.line, inf, now, None, 0, IN_A_SCOPE, None, None, None, None, action)
            action.call = call
            CURRENT.set(call)
            reply = outcome = None
            try:
                if envelope.target:
                    self._check_target(envelope)
                reply = await call_handler(envelope.request, timeout=until - now)
            except Exception as exc:  # noqa: BLE001  # the wall: whatever goes wrong is an outcome
                outcome = outcome_of(exc)
            except anyio.get_cancelled_exc_class() as exc:
                if self._group is None or self._group.cancel_scope.cancel_called:
                    raise
                _uncancel()
                outcome = Retry(self._self_cancelled(tally.action_type, exc), "failed")
            finally:
                call.task, call.line, call.action, action.call = None, OVER, None, None
                worker.action = None
            ended = monotonic()
            tally.runs.append(ended - now)
            if outcome is None and not worker.replaced and action.status == "running":
                tally.running -= 1
                tally.done += 1
                del tally.open[envelope.trace_id]
                if journal is not None or envelope.idempotency_key:
                    self._note_done(action, reply)
                action.settle(reply)
            else:
                self._conclude(worker, action, reply, outcome, last=until >= action.deadline)
            if self._idle is not None:
                self._idle.set()
            if self._limiter is not None:
                timed_out = outcome is not None and outcome.reason == "timeout"
                self._limiter.sample(
                    ended - now, sum(each.action is not None for each in self._workers) + 1, failed=timed_out
                )
                self._retarget()
            turn -= 1
            if not turn or ended >= slice_ends:
                await anyio.lowlevel.checkpoint()
                turn, slice_ends = TURN, monotonic() + SLICE / self._target

    def _check_target(self, envelope: ActionEnvelope) -> None:
        route = self._bus.route(envelope.action_type)
        if route is not None and route.provider.name != envelope.target:
            reason = f"it is meant for {envelope.target!r}, but {route.provider} answers it"
            raise NoHandlerError(envelope.action_type, reason=reason)

    def _self_cancelled(self, action_type: str, exc: BaseException) -> HandlerError:
        route = self._bus.route(action_type)
        error = HandlerError.of(HOST if route is None else route.provider, action_type, exc)
        error.__cause__ = exc
        return error

    def _park(self, action: Action) -> None:
        """Hold an action whose plugin is being swapped, without a worker, until the swap is over or its time is."""
        self._let_wait(action)
        self._parked.append(action)
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)

    def _let_wait(self, action: Action) -> None:
        action.status = "waiting"
        action.tally.waiting += 1
        action.tally.lane.held += 1

    def _conclude(
        self, worker: _Worker, action: Action, reply: Any, outcome: Retry | Dead | None, *, last: bool
    ) -> None:
        """Act upon an attempt's outcome; ``last`` says that its timeout was all the time that the action had."""
        if worker.replaced:
            self._lingering.pop(action.trace_id, None)
            log.warning("action %s (%r) has ended at last", action.trace_id, action.tally.action_type)
        if action.is_ended:
            if action.key is not None:
                self._keys.release(action.key, action)
            return
        match outcome:
            case None:
                self._remove(action)
                action.tally.done += 1
                self._note_done(action, reply)
                action.settle(reply)
            case Dead(error=error, reason=reason):
                self._die(action, reason, error)
            case Retry() if action.cancelled:
                self._die_of_cancellation(action)
            case Retry(error=error, reason=reason, asked=asked):
                remaining = self._remaining(action)
                wait = next_attempt(action.envelope.retry, action.attempts, remaining, random.random, asked)
                if remaining <= 0 or (last and reason == "timeout"):
                    self._expire(action, error)
                elif wait is None:
                    self._die(action, reason, error)
                elif self._stopping:
                    self._end_unfinished(action)
                elif action.left:
                    self._linger(action, outcome)
                else:
                    self._wait_for_retry(action, wait)

    def _wait_for_retry(self, action: Action, wait: float) -> None:
        action.tally.retried += 1
        action.tally.running -= 1
        self._let_wait(action)
        self._agenda.put(action, self._monotonic() + wait)

    def _put_back(self, action: Action) -> None:
        """Let an action wait for its turn again."""
        action.tally.waiting -= 1
        action.status = "queued"
        action.ready = self._monotonic()
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)
        lane, level = self._places[action.envelope.priority]
        self._lanes.put(lane, level, action)

    def _fall_due(self, action: Action) -> None:
        """See to an action whose deadline has come, or the time of its next attempt."""
        if self._is_expired(action):
            self._expire(action)
        elif action.status == "waiting":
            self._put_back(action)

    # Attempts that go on beyond their time

    def _look(self, now: float) -> float:
        """Report and replace whoever ignores its cancellation; return when to look again."""
        again = inf
        for worker in list(self._workers):
            if worker.action is not None and not worker.replaced:
                if worker.until + GRACE <= now:
                    self._overrun(worker, worker.action, now)
                else:
                    again = min(again, worker.until + GRACE)
        if self.dlq.statistics().unwritten:
            self._note_finished(self.dlq.flush())
            again = min(again, now + FLUSH_INTERVAL)
        return again

    def _overrun(self, worker: _Worker, action: Action, now: float) -> None:
        worker.replaced = True
        self._alive -= 1
        self._fill()
        action.tally.overruns += 1
        self._lingering[action.trace_id] = action
        tasks = [task for task in anyio.get_running_tasks() if task.id == worker.task_id]
        self._report_overrun(action, now - worker.begun, coroutine_stack(tasks[0].coro) if tasks else "(it has ended)")
        if action.is_ended:
            return
        timeout = CallTimeoutError(action.tally.action_type, worker.until - worker.begun, "it ignores its cancellation")
        self._give_up_if_last(action, timeout)

    def _report_overrun(self, action: Action, seconds: float, stack: str) -> None:
        action_type = action.tally.action_type
        text = (
            "action %s (%r) goes on after %.3g s, although it was cancelled; another worker takes over; it waits at\n%s"
        )
        log.error(text, action.trace_id, action_type, seconds, stack)
        self._bus.publish_nowait(ActionOverrun(action.trace_id, action_type, seconds, stack))

    def _give_up_if_last(self, action: Action, error: Exception) -> None:
        """Let nobody wait for an attempt that does not end, if there can be no other; else that waits for its end."""
        remaining = self._remaining(action)
        if remaining <= 0:
            self._expire(action, error)
        elif next_attempt(action.envelope.retry, action.attempts, remaining, random.random) is None:
            self._die(action, "timeout", error)

    def _linger(self, action: Action, outcome: Retry) -> None:
        """Wait for threads that an attempt has left behind: it is never run twice at a time."""
        action.tally.overruns += 1
        action.tally.running -= 1
        self._lingering[action.trace_id] = action
        self._outcomes[action.trace_id] = outcome
        self._let_wait(action)
        if action.deadline < inf:
            self._agenda.put(action, action.deadline)
        self._report_overrun(action, action.envelope.timeout, "(a worker thread, which cannot be ended)")

    def left_behind(self, action: Action) -> None:
        """Hear that an attempt has left a thread behind."""
        action.left += 1

    def thread_returned(self, action: Action) -> None:
        """Hear that one of them is done."""
        action.left -= 1
        if action.left:
            return
        self._lingering.pop(action.trace_id, None)
        outcome = self._outcomes.pop(action.trace_id, None)
        if action.is_ended:
            if action.key is not None:
                self._keys.release(action.key, action)
            return
        if outcome is not None and not self._stopping:
            wait = next_attempt(
                action.envelope.retry, action.attempts, self._remaining(action), random.random, outcome.asked
            )
            if wait is None:
                self._expire(action, outcome.error)
            else:
                action.tally.retried += 1
                self._agenda.put(action, self._monotonic() + wait)

    # Ends

    def _remaining(self, action: Action) -> float:
        return action.deadline - self._monotonic()

    def _is_expired(self, action: Action) -> bool:
        return action.deadline <= self._monotonic()

    def cancel(self, action: Action) -> bool:
        """End an action before its time; ``False`` if it had ended, or was cancelled, already."""
        if action.is_ended or action.cancelled:
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
        if action.status == "queued":
            tally.lane.discard(action)
        else:
            tally.waiting -= 1
            if action in self._parked:
                self._parked.remove(action)
        tally.lane.give_up_room()

    def _die(self, action: Action, reason: Reason, error: Exception) -> None:
        self._remove(action)
        if action.key is not None and action.trace_id not in self._lingering:
            self._keys.release(action.key, action)
        action.settle(error=error)
        self._bury(action.envelope, reason, action.attempts, error)

    def _die_of_cancellation(self, action: Action) -> None:
        self._die(action, "cancelled", _cancellation(action.envelope, "it was cancelled"))

    def _expire(self, action: Action, cause: Exception | None = None) -> None:
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

    def _note_done(self, action: Action, reply: Any) -> None:
        key, envelope = action.key, action.envelope
        if key is None:
            if self._journal is not None:
                self._journal.finish(envelope.trace_id)
            return
        until = envelope.enqueued + envelope.idempotency_window
        self._keys.keep(key, action, until)
        if self._journal is not None:
            self._journal.finish(envelope.trace_id, key, until, reply)

    def _note_finished(self, trace_ids: Iterable[str]) -> None:
        if self._journal is not None:
            for trace_id in trace_ids:
                self._journal.finish(trace_id)

    # Insight

    def statistics(self) -> ActionStatistics:
        """Return a snapshot."""
        now = self._monotonic()
        tallies = list(self._tallies.values())
        types = sorted({tally.action_type for tally in tallies})
        total = type_statistics(tallies, now)
        return ActionStatistics(
            lanes={
                name: lane_statistics(lane, (tally for tally in tallies if tally.lane is lane), now)
                for name, lane in self._lanes.lanes.items()
            },
            types={
                action_type: type_statistics((tally for tally in tallies if tally.action_type == action_type), now)
                for action_type in types
            },
            workers=self._target,
            running=total.running,
            waiting=total.waiting,
            oldest_age=total.oldest_age,
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


def _uncancel() -> None:
    """Take back, on asyncio, what a handler has done to its task, which is a worker's."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    while task is not None and task.cancelling():
        task.uncancel()
