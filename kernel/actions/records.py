"""What the journal writes of an action: that it was accepted, how often it was tried, and that it is finished."""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.kernel.actions.envelope import DAY, ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.registry import MessageValidationError, Request
from aetherra.registry.messages import from_builtins


class Accepted(msgspec.Struct, frozen=True, tag="accepted", tag_field="op", omit_defaults=True):
    """An action was accepted; its params are the request's fields, to be read by the class of that day."""

    trace_id: str
    action_type: str
    params: Any
    priority: ActionPriority
    timeout: float
    deadline: float | None
    retry: RetryPolicy
    enqueued: float
    correlation_id: str = ""
    causation_id: str = ""
    target: str = ""
    idempotency_key: str = ""
    idempotency_window: float = DAY

    @classmethod
    def of(cls, envelope: ActionEnvelope) -> Accepted:
        """Return what is to be written of an envelope; its params are the request itself, to be encoded."""
        return cls(
            envelope.trace_id,
            envelope.action_type,
            envelope.request,
            envelope.priority,
            envelope.timeout,
            envelope.deadline,
            envelope.retry,
            envelope.enqueued,
            envelope.correlation_id,
            envelope.causation_id,
            envelope.target,
            envelope.idempotency_key,
            envelope.idempotency_window,
        )

    def envelope(self, request_type: type[Request[Any]]) -> ActionEnvelope:
        """Return the envelope as it was accepted, with its request read by the class of today.

        Raises:
            MessageValidationError: That class has other fields.
        """
        try:
            return ActionEnvelope(
                from_builtins(self.params, request_type),
                priority=self.priority,
                timeout=self.timeout,
                deadline=self.deadline,
                retry=self.retry,
                target=self.target,
                idempotency_key=self.idempotency_key,
                idempotency_window=self.idempotency_window,
                trace_id=self.trace_id,
                enqueued=self.enqueued,
                correlation_id=self.correlation_id,
                causation_id=self.causation_id,
            )
        except MessageValidationError:
            raise
        except ValueError as exc:
            raise MessageValidationError(self.action_type, str(exc)) from exc


class Attempted(msgspec.Struct, frozen=True, tag="attempted", tag_field="op"):
    """An open action has had so many attempts."""

    trace_id: str
    attempts: int


class Finished(msgspec.Struct, frozen=True, tag="finished", tag_field="op", omit_defaults=True):
    """An action was done or dead-lettered.

    Attributes:
        trace_id: Which.
        key: Its type and idempotency key, if it was done under one that still counts.
        until: Unix time until which the key counts.
        reply: What it was done with, tag and all.
        lost: Whether that could not be written.
    """

    trace_id: str
    key: tuple[str, str] | None = None
    until: float = 0.0
    reply: Any = None
    lost: bool = False
