"""The control protocol: frames between a host and a client in another process.

A frame is one line of JSON, an object whose ``op`` says what it is. The first frame each way is ``hello``;
after that many calls may be in flight on one connection, told apart by ``id``. ``docs/protocol.md`` shows
a conversation. The codec knows nothing of sockets: a frame goes in or out as bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.registry import errors
from aetherra.registry.errors import AetherraError, HandlerError, ProtocolError, RemoteError

PROTOCOL_VERSION = 1
MAX_FRAME = 16 * 1024 * 1024
"""Bytes of the longest line either side takes; a longer one ends the connection."""
MAX_FAULT = 64 * 1024
"""What of an error's text is told."""


class Frame(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower):
    """Base of all frames."""


class Hello(Frame, frozen=True):
    """First frame each way: the version, and who speaks."""

    version: int
    name: str
    pid: int = 0


class Call(Frame, frozen=True):
    """Client to host: call this tag; the answer is a ``reply`` or a ``fault`` of the same id."""

    id: int
    tag: str
    body: msgspec.Raw = msgspec.Raw(b"{}")
    timeout: float | None = None


class Reply(Frame, frozen=True):
    """Host to client: the reply to a call, or, empty, that a listener now listens."""

    id: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class Fault(Frame, frozen=True):
    """Host to client: a call or a listener failed; ``error`` is the class, ``args`` its fields."""

    id: int
    error: str
    message: str
    args: tuple[Any, ...] = ()


class Listen(Frame, frozen=True):
    """Client to host: send the events whose tag matches this pattern, from now on."""

    id: int
    pattern: str


class Event(Frame, frozen=True):
    """Host to client: an event for the listener of this id; ``dropped`` counts what it missed so far."""

    id: int
    tag: str
    body: msgspec.Raw
    dropped: int = 0


class Cancel(Frame, frozen=True):
    """Client to host: give up the call or the listener of this id."""

    id: int


AnyFrame = Hello | Call | Reply | Fault | Listen | Event | Cancel
_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame)
_encoder = msgspec.json.Encoder()


def encode(frame: Frame) -> bytes:
    """Return a frame as one line, its newline included."""
    return _encoder.encode(frame) + b"\n"


def decode(line: bytes) -> AnyFrame:
    """Read one line.

    Raises:
        ProtocolError: It is no frame; the text says what was wrong.
    """
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"expected one frame of the control protocol a line, got {line[:80]!r}: {exc}") from exc


def fault_of(call_id: int, error: BaseException) -> Fault:
    """Describe an error to the other process."""
    args: tuple[Any, ...] = error.args if isinstance(error, AetherraError) else ()
    try:
        if len(_encoder.encode(args)) > MAX_FAULT:
            args = ()
    except (TypeError, ValueError):
        args = ()
    return Fault(call_id, type(error).__name__, str(error)[:MAX_FAULT], args)


def error_of(fault: Fault) -> AetherraError:
    """Rebuild the error that the other process described, as ``RemoteError`` if the registry has no such class."""
    kind = getattr(errors, fault.error, None)
    if isinstance(kind, type) and issubclass(kind, AetherraError) and fault.args:
        try:
            error = kind(*fault.args)
            str(error)
        except (TypeError, ValueError):  # the other process has other fields
            return RemoteError(fault.error, fault.message)
        if isinstance(error, HandlerError):
            error.__cause__ = RemoteError("remote", error.cause)
        return error
    return RemoteError(fault.error, fault.message)
