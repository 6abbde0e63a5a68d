"""A dead letter: one action that ended undone, and why."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any, Literal, TypedDict, get_args

import msgspec

from aetherra.kernel.actions.envelope import DAY, ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions.records import Accepted
from aetherra.registry import HandlerError, Message, MessageValidationError, Request
from aetherra.registry.messages import TAG_FIELD, from_builtins

Reason = Literal[
    "queue_full", "shed", "expired", "timeout", "failed", "rejected", "invalid", "no_handler", "cancelled", "shutdown"
]


class DeadLetter(msgspec.Struct, frozen=True):
    """One action that ended undone, and why. One line of JSON each."""

    ts: float
    reason: Reason
    trace_id: str
    action_type: str
    params: Any
    priority: ActionPriority
    attempts: int
    timeout: float
    retry: RetryPolicy
    error_type: str = ""
    message: str = ""
    traceback: str = ""
    plugin: str = ""
    generation: int = 0
    target: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    idempotency_key: str = ""
    idempotency_window: float = DAY
    enqueued: float = 0.0

    def envelope(self, request_type: type[Request[Any]]) -> ActionEnvelope:
        """Return an envelope to send the action again: a new one, with all its attempts and no deadline.

        Raises:
            MessageValidationError: Today's class of the request has other fields, or the letter has none that do.
        """
        request = from_builtins(self.params, request_type)
        try:
            return ActionEnvelope(
                request,
                priority=self.priority,
                timeout=self.timeout,
                retry=self.retry,
                target=self.target,
                idempotency_key=self.idempotency_key or f"redrive of {self.trace_id}",
                idempotency_window=self.idempotency_window,
                correlation_id=self.correlation_id or self.trace_id,
                causation_id=self.trace_id,
            )
        except ValueError as exc:  # somebody else wrote the letter
            raise MessageValidationError(self.action_type, str(exc)) from exc

    @classmethod
    def of(
        cls, envelope: ActionEnvelope, reason: Reason, *, ts: float, attempts: int, error: BaseException | None
    ) -> DeadLetter:
        """Write the letter for an envelope that ended with ``error``."""
        return cls._of(envelope, _params_of(envelope.request), reason, ts, attempts, error)

    @classmethod
    def of_record(cls, record: Accepted, reason: Reason, *, ts: float, attempts: int, error: Exception) -> DeadLetter:
        """Write the letter for an action of an earlier run."""
        return cls._of(record, record.params, reason, ts, attempts, error)

    @classmethod
    def _of(
        cls,
        action: ActionEnvelope | Accepted,
        params: Any,
        reason: Reason,
        ts: float,
        attempts: int,
        error: BaseException | None,
    ) -> DeadLetter:
        cause = error.__cause__ if isinstance(error, HandlerError) and error.__cause__ is not None else error
        return cls(
            ts=ts,
            reason=reason,
            trace_id=_as_text(action.trace_id),
            action_type=_as_text(action.action_type),
            params=params,
            priority=action.priority,
            attempts=attempts,
            timeout=action.timeout,
            retry=action.retry,
            error_type=type(cause).__name__ if cause is not None else "",
            message=_as_text(str(error)) if error is not None else "",
            traceback=_as_text("".join(traceback.format_exception(cause))) if cause and cause.__traceback__ else "",
            plugin=error.plugin if isinstance(error, HandlerError) else "",
            generation=error.generation if isinstance(error, HandlerError) else 0,
            target=_as_text(action.target),
            correlation_id=_as_text(action.correlation_id),
            causation_id=_as_text(action.causation_id),
            idempotency_key=_as_text(action.idempotency_key),
            idempotency_window=action.idempotency_window,
            enqueued=action.enqueued,
        )


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant: those that fit all that is given, and all of them if nothing is.

    Attributes:
        trace_ids: Their trace ids.
        reason: Why they are dead.
        action_type: The tag of their request.
        since: Unix time of the oldest.
        before: Unix time that all are older than.
    """

    trace_ids: frozenset[str] | None = None
    reason: str | None = None
    action_type: str | None = None
    since: float | None = None
    before: float | None = None

    def __post_init__(self) -> None:
        if self.reason is not None and self.reason not in get_args(Reason):
            raise ValueError(f"expected a reason among {', '.join(get_args(Reason))}, got {self.reason!r}")
        for name, when in (("since", self.since), ("before", self.before)):
            if when is not None and (isinstance(when, bool) or not isinstance(when, (int, float)) or when != when):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
                raise ValueError(f"expected {name} to be a Unix time, got {when!r}")

    @classmethod
    def of(cls, trace_ids: Iterable[str] | None, only: Choice) -> LetterFilter:
        """Return the filter for some trace ids, or any, and what else is to fit."""
        return cls(trace_ids=None if trace_ids is None else frozenset(trace_ids), **only)

    def fits(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        return (
            (self.trace_ids is None or letter.trace_id in self.trace_ids)
            and (self.reason is None or letter.reason == self.reason)
            and (self.action_type is None or letter.action_type == self.action_type)
            and (self.since is None or letter.ts >= self.since)
            and (self.before is None or letter.ts < self.before)
        )


class Choice(TypedDict, total=False):
    """Which letters are meant, for who passes it on as ``**only: Unpack[Choice]``; see ``LetterFilter``."""

    reason: str | None
    action_type: str | None
    since: float | None
    before: float | None


class _Stranger(msgspec.Struct, frozen=True):
    """What any version's letter has, whatever else it says."""

    ts: float
    reason: str
    trace_id: str
    action_type: str


def write_letter(letter: DeadLetter) -> bytes:
    """Return the line that holds a letter; params that cannot be written are there as text."""
    try:
        return msgspec.json.encode(letter)
    except (TypeError, ValueError, OverflowError, RecursionError):
        params = {"unreadable": _as_text(_shown(letter.params))}
        return msgspec.json.encode(msgspec.structs.replace(letter, params=params))


def is_strange_letter(line: bytes) -> bool:
    """Whether a line that is no letter to us is one of another version."""
    try:
        msgspec.json.decode(line, type=_Stranger)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def read_letter(line: bytes) -> DeadLetter | None:
    """Return the letter that a line holds, ``None`` if it holds none."""
    try:
        return msgspec.json.decode(line, type=DeadLetter)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _params_of(request: Message) -> Any:
    """Return a request's fields as JSON can hold them; what it cannot is there as text, for people to read."""
    try:
        written = msgspec.json.encode([[request]], enc_hook=_shown)  # no less deep than the letter will have it
        ((params,),) = msgspec.json.decode(written)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {"unreadable": _as_text(_shown(request))}
    params.pop(TAG_FIELD, None)
    return params


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001  # it is somebody else's, and may raise anything
        return f"a {type(value).__name__} whose repr() raised {type(exc).__name__}"


def _as_text(text: str) -> str:
    """Return a text that UTF-8 can hold: a file name in an error may bring half a character along."""
    return text.encode("utf-8", "backslashreplace").decode()
