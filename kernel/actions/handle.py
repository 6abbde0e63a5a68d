"""What a submitter holds: the way to an action's result, its state, and its end before time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, cast

import anyio

from aetherra.kernel.actions.envelope import ActionEnvelope

ReplyT = TypeVar("ReplyT")
ActionStatus = Literal["queued", "running", "waiting", "done", "dead"]
"""``waiting`` is between two attempts; ``done`` and ``dead`` are for good."""


class ActionHandle(Generic[ReplyT]):
    """An accepted action. Dropping the handle, or cancelling who waits on it, does not cancel the action."""

    def __init__(self, envelope: ActionEnvelope, cancel: Callable[[], bool]) -> None:
        self.envelope = envelope
        self.status: ActionStatus = "queued"
        self.attempts = 0
        self._cancel = cancel
        self._ended = anyio.Event()
        self._reply: Any = None
        self._error: BaseException | None = None

    @property
    def trace_id(self) -> str:
        """The action's name, in logs, in the journal and in the dead letter queue."""
        return self.envelope.trace_id

    async def wait(self) -> ReplyT:
        """Return the reply once the action is done; a cancelled call leaves the action be.

        Raises:
            ActionExpiredError: Its deadline passed first.
            ActionCancelledError: It was cancelled, or the host stopped.
            AetherraError: The error of its last attempt, which dead-lettered it.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        return cast("ReplyT", self._reply)

    def cancel(self) -> bool:
        """End the action before its time and dead-letter it; ``False`` if it had ended already."""
        return self._cancel()

    def settle(self, reply: Any = None, error: BaseException | None = None) -> None:
        """Record how the action ended; the queue's part."""
        self.status = "done" if error is None else "dead"
        self._reply, self._error = reply, error
        self._ended.set()
