"""Deadlines of calls, on asyncio without a cancel scope for each.

A cancel scope around every call costs forty times the call itself, and most handlers never wait. So a call leaves a
note and is gone again before the event loop turns; only what is still there then gets a timer. A scope
cannot be put around a handler that is already inside scopes of its own, so a late call is cancelled as
``asyncio.timeout`` does it, by ``Task.cancel()``, which knows no nesting. Two promises of anyio are kept on top: the
cancellation is repeated until the handler ends, and it waits while the handler is inside a shielded scope of its
own. The second needs a look at anyio's own records; where they are not as we know them, and on trio,
every call has its cancel scope.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aetherra.registry.call import Call, Ending, Suspension
from aetherra.registry.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

REPEAT = 0.02
"""Seconds, by the event loop's own clock, until a cancellation is repeated or a shield is looked at again."""


def _anyio_task_states() -> Mapping[Any, Any] | None:
    """Return anyio's record of which task is in which scope, ``None`` if it is not as it was from 4.12 to 4.16."""
    try:
        backend: Any = import_module("anyio._backends._asyncio")
        scopes, states = backend.CancelScope, backend._task_states
    except (ImportError, AttributeError):
        return None
    return states if {"_parent_scope", "_host_task", "_shield"} <= set(getattr(scopes, "__slots__", ())) else None


def _nobody(_: object) -> None:
    """Tell that no asyncio task runs, as far as is known."""


if sys.version_info >= (3, 12):
    _task_of: Callable[[Any], Any] = asyncio.current_task
else:  # there it is a slow Python function around this
    _task_of = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]


class Deadlines:
    """Holds the calls of one bus to their deadlines.

    ``top`` is the last of the calls that began since the event loop turned, each linked to the one ``below``; whoever
    ends one takes it out. ``current(loop)`` is the running task, ``None`` where calls need a scope each. ``state``
    is anyio's record of the task ``seen``.
    """

    __slots__ = ("_clock", "_states", "current", "loop", "scheduled", "seen", "state", "top")

    def __init__(self, clock: Clock) -> None:
        self.top: Call | None = None
        self.scheduled = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.current: Callable[[Any], Any] = _nobody
        self.seen: Any = None
        self.state: Any = None
        self._clock = clock
        self._states: Mapping[Any, Any] | None = None

    def attach(self) -> None:
        """Find out which event loop runs here."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop is self.loop:
            return
        self._states = self._states or _anyio_task_states()
        if self._states is not None:
            self.top = self.seen = self.state = None
            self.loop, self.scheduled, self.current = loop, False, _task_of

    def scope_of(self, task: Any) -> Any:
        """Return the innermost scope that a task is in, ``None`` if that is none, and remember the task as ``seen``."""
        assert self._states is not None
        state = self._states.get(task)
        if state is None:
            return None
        self.seen, self.state = task, state
        return state.cancel_scope

    def schedule(self) -> None:
        """Have a look at the calls that are there when the event loop turns."""
        assert self.loop is not None
        self.scheduled = True
        self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.scheduled = False
        self.seen = self.state = None
        self.settle()

    def settle(self) -> None:
        """Give each call that is under way its timer, and its place among what its route has in hand."""
        call, self.top = self.top, None
        while call is not None:
            below, call.below = call.below, None
            if call.task is not None:
                self._hold(call)
            call = below

    def _hold(self, call: Call) -> None:
        call.suspension = Suspension(cancelling=call.task.cancelling())
        call.line.route.take(call)
        parent = call.parent
        if parent is None or parent.task is not call.task or call.deadline < parent.deadline:
            call.suspension.timer = self._clock.call_at(call.deadline, self.cancel, call, "late")

    def leave(self, call: Call) -> bool:
        """Forget a call that is over, and tell whether it was this alone that ended it.

        Whoever else has cancelled its task is to be obeyed.
        """
        suspension = call.suspension
        if suspension is None:
            if self.top is call:
                self.top = call.below
            return False
        if suspension.timer is not None:
            suspension.timer.cancel()
        for _ in range(suspension.cancels):
            call.task.uncancel()
        call.line.route.give_back(call)
        return suspension.cancels > 0 and call.task.cancelling() <= suspension.cancelling

    def cancel(self, call: Call, ending: Ending) -> None:
        """Cancel a call until it is over; one whose handler is inside a shield of its own, once it is out of it."""
        suspension = call.suspension
        if call.task is None or suspension is None or self.loop is None:
            return
        suspension.ending = suspension.ending or ending
        if not self._is_shielded(call):
            suspension.cancels += 1
            call.task.cancel(f"the call of {call.tag!r} is {ending}")
        if suspension.timer is not None:
            suspension.timer.cancel()
        suspension.timer = self.loop.call_later(REPEAT, self.cancel, call, ending)

    def _is_shielded(self, call: Call) -> bool:
        assert self._states is not None
        state = self._states.get(call.task)
        scope = None if state is None else state.cancel_scope
        while scope is not None and scope is not call.scope and scope._host_task is call.task:
            if scope.shield:
                return True
            scope = scope._parent_scope
        return False
