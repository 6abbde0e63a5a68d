"""The workers: tasks that run one action after the other, as many at a time as they are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from aetherra.kernel.actions.action import Action, AttemptCall
from aetherra.kernel.actions.agenda import Agenda
from aetherra.kernel.actions.dispatch import Dead, Retry, outcome_of
from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.lanes import Lanes
from aetherra.kernel.actions.limiter import ConcurrencyLimiter
from aetherra.kernel.stacks import coroutine_stack
from aetherra.registry import HOST, Bus, HandlerError, NoHandlerError
from aetherra.registry.call import CURRENT, IN_A_SCOPE, OVER

log = logging.getLogger("aetherra.kernel.actions.workers")
SLICE = 0.002
"""Seconds for which all workers together may run actions that never wait, before other tasks have a turn."""
TURN = 64
"""Actions that one worker may run in its part of that."""
GRACE = 1.0
"""Seconds that a handler which was cancelled for its time limit has to end before it is reported and replaced."""


class Worker:
    """A task that runs actions: the one that it runs now, since when, until when, and whether it was replaced.

    That of the reserve takes what is in the lanes' reserved level alone, and is there beside all others.
    """

    __slots__ = ("action", "begun", "is_reserve", "replaced", "taken", "task_id", "until")

    def __init__(self, *, is_reserve: bool = False) -> None:
        self.is_reserve = is_reserve
        self.action: Action | None = None
        self.taken: Action | None = None
        self.begun = 0.0
        self.until = inf
        self.replaced = False
        self.task_id = 0


class Foreman(Protocol):
    """Whoever knows what is to become of an action that a worker has taken, or has run."""

    def expire(self, action: Action) -> None:
        """See to an action whose deadline had passed when its turn came."""

    def park(self, action: Action) -> None:
        """Hold an action whose plugin is being swapped."""

    def note_done(self, action: Action, reply: Any) -> None:
        """Note that an action was done, before its submitter is told."""

    def conclude(self, action: Action, outcome: Retry | Dead, *, last: bool) -> None:
        """Act upon an attempt that brought no reply; ``last`` says that its time limit was the action's deadline."""

    def fail(self, action: Action, error: Exception) -> None:
        """End an action that a fault of the host itself has stopped."""

    def overrun(self, action: Action, seconds: float, limit: float, stack: str) -> None:
        """Act upon an attempt that ignores its cancellation after ``seconds`` of its ``limit``; it goes on."""

    def overrun_ended(self, action: Action, reply: Any, outcome: Retry | Dead | None) -> None:
        """Act upon the end of such an attempt."""


class Workers:
    """Runs what comes out of the lanes; one more runs what is in their reserved level, whatever the others do.

    A handler that never waits has nothing around it. One that goes on although its time limit has cancelled it is
    reported, and another worker takes its worker's place.

    Args:
        bus: Where handlers are called.
        lanes: Where actions come from.
        agenda: Where a look at those that run is due.
        journal: Where the beginning of each attempt is noted.
        limiter: Finds out how many may run at a time; ``None``: as many as ``size``.
        size: Actions that may run at a time.
        foreman: Whoever knows what comes next.
    """

    def __init__(
        self,
        bus: Bus,
        lanes: Lanes[Action],
        agenda: Agenda[Action],
        journal: Journal | None,
        limiter: ConcurrencyLimiter | None,
        size: int,
        foreman: Foreman,
    ) -> None:
        self._bus = bus
        self._call = bus.caller(HOST).call
        self._lanes = lanes
        self._agenda = agenda
        self._journal = journal
        self._limiter = limiter
        self._size = size
        self._foreman = foreman
        self._workers: set[Worker] = set()
        self._alive = 0
        self.target = size
        self._group: TaskGroup | None = None
        self._idle: anyio.Event | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Work while the body runs; then cancel what is in hand."""
        async with anyio.create_task_group() as self._group:
            self._retarget()
            self._fill()
            if self._lanes.reserved is not None:
                self._group.start_soon(self._work, Worker(is_reserve=True))
            try:
                yield
            finally:
                self._group.cancel_scope.cancel()
        self._group = None

    async def wait_idle(self) -> None:
        """Return when no action is in a worker's hands; attempts that ignore their cancellation do not count."""
        while any(worker.action is not None and not worker.replaced for worker in self._workers):
            self._idle = anyio.Event()
            await self._idle.wait()

    def resize(self, size: int) -> None:
        """Change how many actions may run at a time; those that run beyond it are let finish."""
        self._size = size
        self._retarget()

    def _retarget(self) -> None:
        target = self._size if self._limiter is None else max(1, min(self._size, self._limiter.limit))
        if target != self.target:
            shrunk = target < self.target
            self.target = target
            if shrunk:
                self._lanes.wake_all()
            self._fill()

    def _fill(self) -> None:
        while self._group is not None and self._alive < self.target:
            self._alive += 1
            self._group.start_soon(self._work, Worker())

    def _is_cancelled(self) -> bool:
        return self._group is None or self._group.cancel_scope.cancel_called

    def _is_wanted(self, worker: Worker) -> bool:
        return not worker.replaced and (self._alive <= self.target or worker.is_reserve)

    async def _work(self, worker: Worker) -> None:
        worker.task_id = anyio.get_current_task().id
        self._workers.add(worker)
        try:
            while self._is_wanted(worker):
                try:
                    await self._run_actions(worker)
                except anyio.get_cancelled_exc_class():
                    if self._is_cancelled():
                        raise
                    _uncancel()  # a handler has cancelled its own task, and left that to us
                except Exception as exc:
                    log.exception("a fault of the host, not of a handler; its action is dead, the worker goes on")
                    if worker.taken is not None and not worker.taken.is_ended:
                        self._foreman.fail(worker.taken, exc)
        finally:
            self._workers.discard(worker)
            if not worker.replaced and not worker.is_reserve:
                self._alive -= 1

    async def _run_actions(self, worker: Worker) -> None:  # noqa: C901  # one function, as each other costs a tenth
        """Run one action after the other; returns when the worker is one too many."""
        lanes, agenda, journal, foreman = self._lanes, self._agenda, self._journal, self._foreman
        take, wait = (lanes.take_reserved, lanes.wait_reserved) if worker.is_reserve else (lanes.take, lanes.wait)
        monotonic, call_handler, parked_tags = self._bus.clock.monotonic, self._call, self._bus.routing.parked_tags
        turn, slice_ends, cancellations = TURN, monotonic() + SLICE / self.target, _cancellations()
        while not worker.replaced and (self._alive <= self.target or worker.is_reserve):
            action = take()
            if action is None:
                await wait()
                turn, slice_ends = TURN, monotonic() + SLICE / self.target
                continue
            worker.taken = action
            now = monotonic()
            tally, envelope = action.tally, action.envelope
            if action.due:
                agenda.discard(action)
            until = now + envelope.timeout
            if action.deadline < until:
                until = action.deadline
                if until <= now:
                    foreman.expire(action)
                    continue
            if tally.action_type in parked_tags:
                foreman.park(action)
                continue
            action.attempts += 1
            action.status = "running"
            tally.running += 1
            tally.waits.append(now - action.ready)
            worker.action, worker.begun, worker.until = action, now, until
            if until + GRACE < agenda.look_at:
                agenda.look_by(until + GRACE)
            if journal is not None:
                journal.begin(envelope.trace_id, action.attempts)
            action.call = call = AttemptCall(tally.line, inf, now, None, 0, IN_A_SCOPE, None, None, None, None, action)
            CURRENT.set(call)
            reply: Any = None
            outcome: Retry | Dead | None = None
            try:
                if envelope.target:
                    self._check_target(envelope)
                reply = await call_handler(envelope.request, timeout=until - now)
            except Exception as exc:  # noqa: BLE001  # the wall: whatever goes wrong is an outcome
                outcome = outcome_of(exc)
            except (anyio.get_cancelled_exc_class(), GeneratorExit) as exc:
                if self._is_cancelled():
                    raise
                _uncancel()
                outcome = Retry(self._self_cancelled(tally.action_type, exc), "failed")
            except BaseException:
                action.is_fatal = True
                raise
            finally:
                worker.action = action.call = call.task = call.action = None
                call.line = OVER
            ended = monotonic()
            tally.runs.append(ended - now)
            if worker.replaced:
                foreman.overrun_ended(action, reply, outcome)
            elif outcome is None and action.status == "running":
                tally.running -= 1
                tally.done += 1
                del tally.open[envelope.trace_id]
                if journal is not None or envelope.idempotency_key:
                    foreman.note_done(action, reply)
                action.settle(reply)
            elif outcome is not None and not action.is_ended:
                foreman.conclude(action, outcome, last=until >= action.deadline)
            if self._idle is not None:
                self._idle.set()
            if self._limiter is not None and not worker.is_reserve:
                self._sample(self._limiter, ended - now, outcome)
            if cancellations():
                await self._shake_off()
            turn -= 1
            if not turn or ended >= slice_ends:
                await anyio.lowlevel.checkpoint()
                turn, slice_ends = TURN, monotonic() + SLICE / self.target

    async def _shake_off(self) -> None:
        """Have a cancellation that a handler has left behind come now, and not in the next one."""
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            if self._is_cancelled():
                raise
        _uncancel()

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

    def _sample(self, limiter: ConcurrencyLimiter, seconds: float, outcome: Retry | Dead | None) -> None:
        running = 1 + sum(worker.action is not None and not worker.is_reserve for worker in self._workers)
        limiter.sample(seconds, running, failed=outcome is not None and outcome.reason == "timeout")
        self._retarget()

    def look(self, now: float) -> float:
        """Report and replace whoever ignores its cancellation; return when to look again."""
        again = inf
        for worker in list(self._workers):
            if worker.action is not None and not worker.replaced:
                if worker.until + GRACE <= now:
                    self._replace(worker, worker.action, now)
                else:
                    again = min(again, worker.until + GRACE)
        return again

    def _replace(self, worker: Worker, action: Action, now: float) -> None:
        worker.replaced = True
        if not worker.is_reserve:
            self._alive -= 1
            self._fill()
        elif self._group is not None:
            self._group.start_soon(self._work, Worker(is_reserve=True))
        tasks = [task for task in anyio.get_running_tasks() if task.id == worker.task_id]
        stack = coroutine_stack(tasks[0].coro) if tasks else "  (it has ended)"
        self._foreman.overrun(action, now - worker.begun, worker.until - worker.begun, stack)
        if self._idle is not None:
            self._idle.set()


def _cancellations() -> Callable[[], int]:
    """Return what tells, on asyncio, how often this task was cancelled; on trio no task can be."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return int if task is None else task.cancelling


def _uncancel() -> None:
    """Take back, on asyncio, what a handler has done to its task, which is a worker's."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    while task is not None and task.cancelling():
        task.uncancel()
