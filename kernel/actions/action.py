"""An accepted action on its way: its handle, and what the queue knows of it."""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.tally import Tally
from aetherra.registry import Call, current_call
from aetherra.registry.call import Origin


class Owner(Protocol):
    """Whoever sees an action to its end."""

    def cancel(self, action: Action) -> bool:
        """End it before its time; ``False`` if it had ended already."""
        ...

    def left_behind(self, action: Action) -> None:
        """Hear that an attempt has left a thread behind."""

    def thread_returned(self, action: Action) -> None:
        """Hear that one of them is done; on the event loop."""


class Action(ActionHandle[Any], eq=False):
    """An action between its admission and its end.

    Attributes:
        owner: The queue.
        tally: Where it is counted.
        deadline: When it is not worth doing any longer, in seconds of ``clock.monotonic()``; ``inf`` for never.
        since: When it was admitted, on the same clock; for one of an earlier run, when that would have been.
        ready: When it was last put in its lane.
        in_lane: Whether its lane has it.
        due: The number of its entry in the agenda, 0 for none.
        cancelled: Whether somebody has cancelled it.
        call: The attempt that runs.
        left: Threads that an attempt has left behind, still at work.
        is_fatal: Whether its handler has ended the host.
    """

    owner: Owner | None = None
    tally: Tally[Action] = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it is always given
    deadline: float = inf
    since: float = 0.0
    ready: float = 0.0
    in_lane: bool = False
    due: int = 0
    cancelled: bool = False
    call: AttemptCall | None = None
    left: int = 0
    is_fatal: bool = False

    def cancel(self) -> bool:
        """End the action before its time and dead-letter it; ``False`` if it had ended already."""
        return self.owner is not None and self.owner.cancel(self)

    @property
    def key(self) -> tuple[str, str] | None:
        """Its type and idempotency key, ``None`` if it has no key."""
        envelope = self.envelope
        return (self.tally.action_type, envelope.idempotency_key) if envelope.idempotency_key else None


class AttemptCall(Call, eq=False):
    """One attempt of an action, as the call that all calls of its handler are made for."""

    action: Action | None = None

    def names(self) -> Origin:
        """Return its ids: the action's."""
        if self.origin is None and self.action is not None:
            self.origin = self.action.envelope.origin
        return super().names()


def current_action() -> Action | None:
    """Return the action whose attempt this code runs in, ``None`` outside of any.

    A handler learns from it the attempt, the deadline, and the idempotency key under which it does its work.
    """
    call: Any = current_call()
    while call is not None:
        if isinstance(call, AttemptCall):
            return call.action
        call = call.parent
    return None
