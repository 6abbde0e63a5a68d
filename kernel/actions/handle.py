"""What a submitter holds: the way to an action's result, its state, and its end before time."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar, cast

import anyio
import anyio.lowlevel
import msgspec

from aetherra.kernel.actions.envelope import ActionEnvelope

ReplyT = TypeVar("ReplyT")
ActionStatus = Literal["queued", "running", "waiting", "done", "dead"]
"""``waiting`` is between two attempts, or for a plugin that is being swapped; ``done`` and ``dead`` are for good."""


class ActionHandle(msgspec.Struct, Generic[ReplyT], eq=False):
    """An accepted action. Dropping the handle, or cancelling who waits on it, does not cancel the action.

    Attributes:
        envelope: What was submitted.
        status: Where the action is.
        attempts: How often it was begun.
    """

    envelope: ActionEnvelope
    status: ActionStatus = "queued"
    attempts: int = 0
    _ended: anyio.Event | None = None
    _reply: Any = None
    _error: BaseException | None = None

    @property
    def trace_id(self) -> str:
        """The action's name, in logs, in the journal and in the dead letter queue."""
        return self.envelope.trace_id

    @property
    def is_ended(self) -> bool:
        """Whether it is done or dead."""
        return self.status in ("done", "dead")

    async def wait(self) -> ReplyT:
        """Return the reply once the action is done; a cancelled call leaves the action be.

        Raises:
            ActionExpiredError: Its deadline passed first.
            ActionCancelledError: It was cancelled, or the host stopped.
            AetherraError: The error of its last attempt, which dead-lettered it.
        """
        if self.is_ended:
            await anyio.lowlevel.checkpoint()  # before it the journal has written that it is
        else:
            if self._ended is None:
                self._ended = anyio.Event()
            await self._ended.wait()
        if self._error is not None:
            raise self._error
        return cast("ReplyT", self._reply)

    def cancel(self) -> bool:
        """End the action before its time and dead-letter it; ``False`` if it had ended already."""
        return False

    def settle(self, reply: Any = None, error: BaseException | None = None) -> None:
        """Record how the action ended; the queue's part."""
        self.status = "done" if error is None else "dead"
        self._reply, self._error = reply, error
        if self._ended is not None:
            self._ended.set()

    def __repr__(self) -> str:
        return f"<action {self.trace_id} {self.envelope.action_type!r}: {self.status}, {self.attempts} attempts>"
