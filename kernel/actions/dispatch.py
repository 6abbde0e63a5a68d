"""One attempt at an action, and how it ended."""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.letter import Reason
from aetherra.kernel.errors import Reject, RetryLater
from aetherra.registry import (
    HOST,
    Bus,
    CallTimeoutError,
    HandlerError,
    MessageValidationError,
    NoHandlerError,
    ReplyTypeError,
    ServiceStoppedError,
)
from aetherra.registry.call import Line, handling


class Done(msgspec.Struct, frozen=True):
    """It was done."""

    reply: Any


class Retry(msgspec.Struct, frozen=True):
    """It may go better another time; ``reason`` is for the dead letter if there is none."""

    error: Exception
    reason: Reason
    asked: float | None = None


class Dead(msgspec.Struct, frozen=True):
    """Trying again would not help."""

    error: Exception
    reason: Reason


Outcome = Done | Retry | Dead


async def attempt(bus: Bus, envelope: ActionEnvelope, timeout: float) -> Outcome:
    """Call the handler of an action's tag once. Cancelled, it cancels the handler and says nothing."""
    line = Line(HOST, envelope.action_type, "action")
    try:
        with handling(line, envelope.origin, bus.clock.monotonic()):
            return Done(await bus.call(envelope.request, timeout=timeout))
    except HandlerError as exc:
        match exc.__cause__:
            case RetryLater(seconds=seconds):
                return Retry(exc, "failed", seconds)
            case Reject():
                return Dead(exc, "rejected")
            case _:
                return Retry(exc, "failed")
    except CallTimeoutError as exc:
        return Retry(exc, "timeout")
    except (MessageValidationError, ReplyTypeError) as exc:
        return Dead(exc, "invalid")
    except NoHandlerError as exc:
        return Retry(exc, "no_handler")
    except ServiceStoppedError as exc:
        return Retry(exc, "failed")
    except Exception as exc:  # noqa: BLE001  # the wall: whatever else goes wrong is an outcome, too
        return Retry(exc, "failed")
