"""How an attempt ended that brought no reply: try again, or not."""

from __future__ import annotations

import msgspec

from aetherra.kernel.actions.letter import Reason
from aetherra.kernel.errors import Reject, RetryLater
from aetherra.registry import (
    CallTimeoutError,
    HandlerError,
    MessageValidationError,
    NoHandlerError,
    ReplyTypeError,
)


class Retry(msgspec.Struct, frozen=True):
    """It may go better another time; ``reason`` is for the dead letter if there is none."""

    error: Exception
    reason: Reason
    asked: float | None = None


class Dead(msgspec.Struct, frozen=True):
    """Trying again would not help."""

    error: Exception
    reason: Reason


def outcome_of(error: Exception) -> Retry | Dead:
    """Return what follows from the error that a call of an action's handler ended with."""
    match error:
        case HandlerError(__cause__=RetryLater(seconds=seconds)):
            return Retry(error, "failed", seconds)
        case HandlerError(__cause__=Reject()):
            return Dead(error, "rejected")
        case CallTimeoutError():
            return Retry(error, "timeout")
        case MessageValidationError() | ReplyTypeError():
            return Dead(error, "invalid")
        case NoHandlerError():
            return Retry(error, "no_handler")
        case _:
            return Retry(error, "failed")
