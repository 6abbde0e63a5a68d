"""What the journal writes of an action: that it was accepted, how often it was begun, and that it is finished.

A record is one letter, a space and its fields: ``A`` an envelope in JSON, as it is encoded by itself; ``B`` the
attempts that were begun, and of which action; ``F`` which action is finished; ``K`` one that was done under an
idempotency key, in JSON. None holds a tab or a newline.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.kernel.actions.envelope import DAY, DEFAULT_RETRY, ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.registry import Message, MessageValidationError, Request
from aetherra.registry.messages import TAG_FIELD, from_builtins


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """An envelope that was accepted, with its request as builtins, to be read by the class of that day.

    What the encoded envelope leaves out has its default, which therefore must stay what it is.
    """

    request: dict[str, Any]
    trace_id: str
    priority: ActionPriority = ActionPriority.MEDIUM
    timeout: float = 30.0
    deadline: float | None = None
    retry: RetryPolicy = DEFAULT_RETRY
    target: str = ""
    idempotency_key: str = ""
    idempotency_window: float = DAY
    enqueued: float = 0.0
    correlation_id: str = ""
    causation_id: str = ""

    @property
    def action_type(self) -> str:
        """The tag of its request."""
        return str(self.request.get(TAG_FIELD, ""))

    @property
    def params(self) -> dict[str, Any]:
        """The fields of its request."""
        return {name: value for name, value in self.request.items() if name != TAG_FIELD}

    def envelope(self, request_type: type[Request[Any]]) -> ActionEnvelope:
        """Return the envelope as it was accepted, with its request read by the class of today.

        Raises:
            MessageValidationError: That class has other fields.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "request"}
        try:
            return ActionEnvelope(from_builtins(self.params, request_type), **fields)
        except MessageValidationError:
            raise
        except ValueError as exc:
            raise MessageValidationError(self.action_type, str(exc)) from exc


class Attempted(msgspec.Struct, frozen=True):
    """So many attempts of an open action were begun."""

    trace_id: str
    attempts: int


class Finished(msgspec.Struct, frozen=True, omit_defaults=True):
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


_encode = msgspec.json.Encoder().encode
_read_accepted = msgspec.json.Decoder(Accepted).decode
_read_finished = msgspec.json.Decoder(Finished).decode


def accepted(envelope: ActionEnvelope | Accepted) -> bytes:
    """Return the record of an acceptance.

    Raises:
        MessageValidationError: The request holds something that JSON cannot.
    """
    request = envelope.request
    try:
        record = b"A " + _encode(envelope)
        if isinstance(request, Request):
            request.__codec__.check(request, record)
        return record if 10 not in record and 9 not in record else _in_one_line(record)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise MessageValidationError(envelope.action_type, f"cannot be kept in the journal: {exc}") from exc


def attempted(trace_id: str, attempts: int) -> bytes:
    """Return the record of an attempt that begins."""
    return b"B %d %b" % (attempts, trace_id.encode())


def finished(trace_id: str) -> bytes:
    """Return the record of an end."""
    return b"F " + trace_id.encode()


def done(end: Finished) -> bytes:
    """Return the record of work done under a key, without the reply if JSON cannot hold it."""
    try:
        record = b"K " + _encode(end)
        if isinstance(end.reply, Message):
            end.reply.__codec__.check(end.reply, record)
        return _in_one_line(record)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return b"K " + _encode(msgspec.structs.replace(end, reply=None, lost=True))


def plain(end: Finished) -> Finished:
    """Return the record as it is read back, which holds no class of anybody's."""
    return _read_finished(done(end)[2:])


def _in_one_line(record: bytes) -> bytes:
    """Leave out the newlines and tabs between values, which only JSON that somebody else has written has."""
    return record[:2] + msgspec.json.format(record[2:], indent=-1)


def read(record: bytes) -> Accepted | Attempted | Finished | None:
    """Return what a record says, ``None`` if it is none."""
    try:
        match record[:2]:
            case b"A ":
                return _read_accepted(record[2:])
            case b"B ":
                attempts, _, trace_id = record[2:].partition(b" ")
                return Attempted(trace_id.decode(), int(attempts))
            case b"F ":
                return Finished(record[2:].decode())
            case b"K ":
                return _read_finished(record[2:])
            case _:
                return None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
