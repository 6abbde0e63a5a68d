"""An envelope: a request on its way through the queue, and how it wants to be treated there."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec

from aetherra.registry import Request, tag_of
from aetherra.registry.call import Origin, new_id


class ActionPriority(enum.IntEnum):
    """How urgent an action is; lower goes first. The first three share the high lane, the next two the normal one."""

    EMERGENCY = 0
    CRITICAL = 1
    HIGH = 2
    MEDIUM = 3
    MAINTENANCE = 4
    LOW = 5

    @property
    def lane(self) -> str:
        """Which lane actions of this priority wait in."""
        if self <= ActionPriority.HIGH:
            return "high"
        return "background" if self is ActionPriority.LOW else "normal"


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an action is tried, and how long to wait between two attempts.

    Attributes:
        max_attempts: Attempts in all, the first included.
        backoff_sec: Upper bound of the first wait; it doubles with each further one.
        max_backoff_sec: Where the doubling ends.
    """

    max_attempts: int = 3
    backoff_sec: float = 0.5
    max_backoff_sec: float = 30.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or not 0 <= self.backoff_sec <= self.max_backoff_sec < math.inf:
            raise ValueError(
                f"expected max_attempts >= 1 and 0 <= backoff_sec <= max_backoff_sec, all finite, got "
                f"{self.max_attempts}, {self.backoff_sec} and {self.max_backoff_sec}"
            )


class ActionEnvelope(msgspec.Struct, frozen=True):
    """One action.

    Attributes:
        request: What is to be done; its tag is the action type.
        priority: Which lane, and where in it.
        timeout: Seconds that one attempt may take.
        deadline: Unix time after which the action is not worth doing; ``None`` if it always is.
        retry: How often to try.
        trace_id: Its name, in logs, in the dead letter queue and in the journal.
        enqueued: Unix time of its admission.
        correlation_id: The conversation that it belongs to, ``""`` if it begins one.
        causation_id: The ``id`` of the call, event or action that it was submitted in, ``""`` if in none.
    """

    request: Request[Any]
    priority: ActionPriority = ActionPriority.MEDIUM
    timeout: float = 30.0
    deadline: float | None = None
    retry: RetryPolicy = RetryPolicy()
    trace_id: str = msgspec.field(default_factory=new_id)
    enqueued: float = 0.0
    correlation_id: str = ""
    causation_id: str = ""

    @property
    def action_type(self) -> str:
        """The tag of its request."""
        return tag_of(type(self.request))

    @property
    def origin(self) -> Origin:
        """What names it: the conversation is its own if it began one."""
        return Origin(self.trace_id, self.correlation_id or self.trace_id, self.causation_id)

    def __post_init__(self) -> None:
        if not isinstance(self.request, Request):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(f"expected a request, got {type(self.request).__name__!r}")
        if not isinstance(self.priority, ActionPriority):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(f"expected an ActionPriority, got {self.priority!r}")
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"expected a finite timeout of more than 0 seconds, got {self.timeout!r}")
        if self.deadline is not None and not math.isfinite(self.deadline):
            raise ValueError(f"expected a finite deadline, or None for none, got {self.deadline!r}")
