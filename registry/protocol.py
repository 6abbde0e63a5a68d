"""The control protocol, version 2: frames between a host and a client in another process.

A frame is one line of JSON, an object whose ``op`` says what it is. The first frame each way is ``hello``;
after that many calls may be in flight on one connection, told apart by ``id``. ``docs/protocol.md`` is written
for whoever makes a client in another language. The codec knows nothing of sockets: a frame goes in or out as bytes.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

from aetherra.registry.errors import ProtocolError

PROTOCOL_VERSION = 2
OLDEST_VERSION = 2
"""The oldest version that this end still speaks."""
MAX_FRAME = 16 * 1024 * 1024
"""Bytes of the longest line that either side takes, unless it says otherwise in its ``hello``."""
MIN_FRAME = 256 * 1024
"""And the least that it may say: every fault fits into it."""
MAX_NAME = 255
"""Characters of a tag, a pattern, a trace id or a client's name."""
MAX_CAPACITY = 10_000
"""Events that may wait in the host for one listener."""
MAX_QUOTE = 80
"""What of an unreadable line is quoted."""
RemoteOverflow = Literal["drop_oldest", "drop_newest", "latest"]
"""What a full mailbox of a listener does; nobody in another process may hold up the host's publishers."""
Id = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
"""Any number that no other call or listener of the connection has now; JavaScript's are exact up to here."""
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]


class Frame(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower):
    """Base of all frames."""


class Hello(Frame, frozen=True, omit_defaults=True):
    """First frame each way: who speaks, and the versions it can; the newest that both can is spoken.

    Attributes:
        version: The newest version.
        name: The speaker's name; a client's is its identity in the host.
        pid: Its process, 0 if it does not say.
        oldest: The oldest version, ``None`` if it knows only one.
        max_frame: Bytes of the longest line that it takes.
    """

    version: int
    name: Name
    pid: int = 0
    oldest: int | None = None
    max_frame: Annotated[int, msgspec.Meta(ge=MIN_FRAME)] = MAX_FRAME


class Call(Frame, frozen=True, omit_defaults=True):
    """Client to host: call this tag; the answer is a ``reply`` or a ``fault`` of the same id.

    Attributes:
        id: The client's choice.
        tag: Of the request.
        body: The request's fields.
        timeout: Seconds that the caller still has; without it the host's default.
        trace: The conversation that it belongs to; without it a new one.
        tagged: Whether the reply's body is to name its tag, under ``$tag``.
    """

    id: Id
    tag: Name
    body: msgspec.Raw = msgspec.Raw(b"{}")
    timeout: float | None = None
    trace: Name | None = None
    tagged: bool = False


class Reply(Frame, frozen=True):
    """Host to client: the reply to a call, that a listener now listens, or how many keep a published event."""

    id: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class Fault(Frame, frozen=True, omit_defaults=True):
    """Either way: a call, a listener or, with id 0, something else came to nothing.

    Attributes:
        id: Of the call or listener; 0 concerns the connection.
        error: The error's class.
        message: Its text.
        args: Its fields, where they are plain.
        traceback: Where it was raised, if in a handler: the last lines, for a person to read.
        closing: Whether whoever says so closes the connection now.
    """

    id: int
    error: str
    message: str
    args: tuple[Any, ...] = ()
    traceback: str = ""
    closing: bool = False


class Listen(Frame, frozen=True, omit_defaults=True):
    """Client to host: send the events whose tag matches this pattern, from now on.

    Attributes:
        id: The client's choice; each event carries it.
        pattern: A tag, or a pattern of tags.
        capacity: Events that may wait in the host.
        overflow: What happens to the next one when that many do.
    """

    id: Id
    pattern: Name
    capacity: Annotated[int, msgspec.Meta(ge=1, le=MAX_CAPACITY)] = 1000
    overflow: RemoteOverflow = "drop_oldest"


class Event(Frame, frozen=True, omit_defaults=True):
    """Host to client: an event for the listener of this id; ``dropped`` counts what it missed so far."""

    id: int
    tag: str
    body: msgspec.Raw
    dropped: int = 0
    trace: str | None = None


class Publish(Frame, frozen=True, omit_defaults=True):
    """Client to host: publish an event; the ``reply`` says how many subscribers keep it."""

    id: Id
    tag: Name
    body: msgspec.Raw = msgspec.Raw(b"{}")
    trace: Name | None = None


class Cancel(Frame, frozen=True):
    """Client to host: give up the call or the listener of this id; no answer."""

    id: int


class Ping(Frame, frozen=True):
    """Either way: say that you are there; the answer is a ``pong`` of the same id."""

    id: int = 0


class Pong(Frame, frozen=True):
    """Either way: the answer to a ``ping``."""

    id: int = 0


class Unreadable(msgspec.Struct, frozen=True):
    """What came instead of a frame; ``id`` is 0 where it cannot be told."""

    id: int
    problem: str


AnyFrame = Hello | Call | Reply | Fault | Listen | Event | Publish | Cancel | Ping | Pong
_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame)
_encoder = msgspec.json.Encoder()
_OPENING = re.compile(rb'\s*\{\s*"op"\s*:\s*"\w+"\s*,\s*"id"\s*:\s*(\d{1,18})\b')


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
        raise ProtocolError(
            f"expected one frame of the control protocol a line, got {line[:MAX_QUOTE]!r}: {exc}"
        ) from exc


class _Identified(msgspec.Struct):
    """What is sought in a line that is no frame."""

    id: Id = 0


def id_in(head: bytes) -> int:
    """Return the id of a line that cannot be read, 0 if it has none, or is cut and does not begin with it."""
    match = _OPENING.match(head)
    if match:
        return int(match[1])
    try:
        return msgspec.json.decode(head, type=_Identified).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def agree(mine: Hello, theirs: Hello) -> int:
    """Return the newest version that both ends speak.

    Raises:
        ProtocolError: There is none; the text names the versions of both.
    """
    version = min(mine.version, theirs.version)
    if version < max(_oldest(mine), _oldest(theirs)):
        raise ProtocolError(
            f"{theirs.name} speaks control protocol {_versions(theirs)}, this end {_versions(mine)}; "
            f"use an aetherra of the same version at both ends"
        )
    return version


def _oldest(hello: Hello) -> int:
    return hello.version if hello.oldest is None else min(hello.oldest, hello.version)


def _versions(hello: Hello) -> str:
    oldest = _oldest(hello)
    return str(hello.version) if oldest == hello.version else f"{oldest} to {hello.version}"
