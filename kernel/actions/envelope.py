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


DAY = 86_400.0
"""Seconds for which an idempotency key counts, unless the envelope says otherwise."""
MAX_TRACE_ID = 128
MAX_KEY = 200
"""Bytes of a trace id, and of an idempotency key."""
SHORT = MAX_TRACE_ID // 4
"""Characters that cannot be more bytes than either."""


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an action is tried, and how long to wait between two attempts.

    Attributes:
        max_attempts: Attempts in all, the first included.
        backoff_sec: Upper bound of the first wait.
        max_backoff_sec: Upper bound of all waits.
        multiplier: By how much the bound grows with each further attempt; 1 keeps it as it is.
        jitter: Whether a wait is drawn evenly from 0 to its bound, which spreads a crowd of failures; else it is the
            bound.
    """

    max_attempts: int = 3
    backoff_sec: float = 0.5
    max_backoff_sec: float = 30.0
    multiplier: float = 2.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or not 0 <= self.backoff_sec <= self.max_backoff_sec < math.inf:
            raise ValueError(
                f"expected max_attempts >= 1 and 0 <= backoff_sec <= max_backoff_sec, all finite, got "
                f"{self.max_attempts}, {self.backoff_sec} and {self.max_backoff_sec}"
            )
        if not 1 <= self.multiplier < math.inf:
            raise ValueError(f"expected a finite multiplier of 1 or more, got {self.multiplier}")


DEFAULT_RETRY = RetryPolicy()


class ActionEnvelope(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One action. The garbage collector leaves it out: what it holds is not to hold it.

    Attributes:
        request: What is to be done; its tag is the action type.
        priority: Which lane, and where in it.
        timeout: Seconds that one attempt may take.
        deadline: Unix time after which the action is not worth doing; ``None`` if it always is.
        retry: How often to try.
        target: The plugin that is to do it; ``""`` for whichever answers its tag.
        idempotency_key: The same work, submitted again under the same key, is the same action; ``""`` for no key.
        idempotency_window: Seconds from its admission for which the key counts.
        trace_id: Its name, in logs, in the dead letter queue and in the journal; at most 128 bytes.
        enqueued: Unix time of its admission.
        correlation_id: The conversation that it belongs to, ``""`` if it begins one.
        causation_id: The ``id`` of the call, event or action that it was submitted in, ``""`` if in none.
    """

    request: Request[Any]
    priority: ActionPriority = ActionPriority.MEDIUM
    timeout: float = 30.0
    deadline: float | None = None
    retry: RetryPolicy = DEFAULT_RETRY
    target: str = ""
    idempotency_key: str = ""
    idempotency_window: float = DAY
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
        if self.idempotency_key:
            self._check_key()
        if len(self.trace_id) > SHORT or not self.trace_id.isprintable() or " " in self.trace_id or not self.trace_id:
            _check_trace_id(self.trace_id)

    def _check_key(self) -> None:
        size = len(self.idempotency_key.encode("utf-8", "surrogatepass"))
        if size > MAX_KEY:
            raise ValueError(f"expected an idempotency_key of at most {MAX_KEY} bytes, got {size}")
        if not 0 < self.idempotency_window < math.inf:
            wanted = "a finite idempotency_window of more than 0 seconds"
            raise ValueError(f"expected {wanted}, got {self.idempotency_window!r}")


def _check_trace_id(trace_id: str) -> None:
    if not (trace_id.isprintable() and trace_id and " " not in trace_id and len(trace_id.encode()) <= MAX_TRACE_ID):
        wanted = f"a trace_id of 1 to {MAX_TRACE_ID} printable bytes without spaces"
        raise ValueError(f"expected {wanted}, got {trace_id!r}")
