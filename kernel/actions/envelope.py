"""An envelope: a request on its way through the queue, and how it wants to be treated there."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec

from aetherra.kernel.errors import YEAR
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
LONGEST = float(YEAR)
MAX_TRACE_ID = 128
MAX_KEY = 200
"""Bytes of a trace id, and of an idempotency key."""
SHORT = MAX_TRACE_ID // 4
"""Characters that cannot be more bytes than either."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_seconds(name: str, value: Any, *, least: float | None = None) -> None:
    """Hold a duration to the bounds that all have.

    Raises:
        TypeError, ValueError: It is no number of seconds, or out of bounds; says which.
    """
    if not _is_number(value):
        raise TypeError(f"expected {name} in seconds, got {value!r}")
    if not (value > 0 if least is None else value >= least) or not value <= LONGEST:
        wanted = "more than 0" if least is None else f"{least:g} or more"
        raise ValueError(f"expected {name} to be {wanted} seconds, {LONGEST:,.0f} (a year) at most, got {value!r}")


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
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise ValueError(f"expected a whole number of max_attempts, 1 or more, got {self.max_attempts!r}")
        check_seconds("backoff_sec", self.backoff_sec, least=0)
        check_seconds("max_backoff_sec", self.max_backoff_sec, least=0)
        if self.backoff_sec > self.max_backoff_sec:
            raise ValueError(
                f"expected backoff_sec <= max_backoff_sec, got {self.backoff_sec} and {self.max_backoff_sec}"
            )
        if not _is_number(self.multiplier) or not 1 <= self.multiplier < math.inf:
            raise ValueError(f"expected a finite multiplier of 1 or more, got {self.multiplier!r}")
        if type(self.jitter) is not bool:
            raise ValueError(f"expected jitter to be True or False, got {self.jitter!r}")


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
            raise TypeError(f"expected a request, got {_kind(self.request)}")
        if type(self.priority) is not ActionPriority:
            raise TypeError(f"expected an ActionPriority, got {self.priority!r}")
        if type(self.timeout) is not float or not 0 < self.timeout <= LONGEST:
            check_seconds("timeout", self.timeout)
        if self.deadline is not None and not (_is_number(self.deadline) and math.isfinite(self.deadline)):
            raise ValueError(f"expected a finite deadline, or None for none, got {self.deadline!r}")
        if type(self.retry) is not RetryPolicy:
            raise TypeError(f"expected a RetryPolicy, got {self.retry!r}")
        if not (
            type(self.target) is str
            and type(self.idempotency_key) is str
            and type(self.trace_id) is str
            and type(self.correlation_id) is str
            and type(self.causation_id) is str
            and type(self.enqueued) is float
            and -math.inf < self.enqueued < math.inf
        ):
            self._check_types()
        if self.idempotency_key or self.idempotency_window != DAY:
            self._check_key()
        if len(self.trace_id) > SHORT or not self.trace_id.isprintable() or " " in self.trace_id or not self.trace_id:
            _check_trace_id(self.trace_id)

    def _check_types(self) -> None:
        for name in ("target", "idempotency_key", "trace_id", "correlation_id", "causation_id"):
            text: Any = getattr(self, name)
            if not isinstance(text, str):
                raise TypeError(f"expected {name} to be a text, got {text!r}")
        if not _is_number(self.enqueued) or not math.isfinite(self.enqueued):
            raise ValueError(f"expected enqueued to be a Unix time, got {self.enqueued!r}")

    def _check_key(self) -> None:
        size = len(self.idempotency_key.encode("utf-8", "surrogatepass"))
        if size > MAX_KEY:
            raise ValueError(f"expected an idempotency_key of at most {MAX_KEY} bytes, got {size}")
        check_seconds("idempotency_window", self.idempotency_window)


def _kind(thing: Any) -> str:
    return f"the class {thing.__name__!r}; give an instance" if isinstance(thing, type) else repr(type(thing).__name__)


def _check_trace_id(trace_id: str) -> None:
    if not (trace_id.isprintable() and trace_id and " " not in trace_id and len(trace_id.encode()) <= MAX_TRACE_ID):
        wanted = f"a trace_id of 1 to {MAX_TRACE_ID} printable bytes without spaces"
        raise ValueError(f"expected {wanted}, got {trace_id!r}")
