"""The client's end of the control socket: a host in another process, called and heard from here."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import anyio
import msgspec

from aetherra.registry.beside import tasks_beside
from aetherra.registry.call import current_call
from aetherra.registry.connection import GONE, Connection
from aetherra.registry.errors import (
    AetherraError,
    EventTimeoutError,
    MessageValidationError,
    ProtocolError,
)
from aetherra.registry.exchange import Exchange
from aetherra.registry.listener import Listener, RemoteEvent
from aetherra.registry.messages import (
    Message,
    Request,
    message_classes,
    reply_annotation,
    reply_from_json,
    tag_of,
    to_json,
)
from aetherra.registry.protocol import MAX_FRAME, Call, Hello, Listen, Publish, RemoteOverflow
from aetherra.registry.subscription import subscription_pattern
from aetherra.registry.wire import UnixWire, Wire, connect_unix

EventT = TypeVar("EventT", bound=Message)
ReplyT = TypeVar("ReplyT")
DEFAULT_TIMEOUT = 30.0
"""Seconds that a call may take when neither it nor the call that it is made in says otherwise."""
GREETING_TIMEOUT = 5.0
"""Seconds that what listens at a socket has to say ``hello``."""


class NoHostError(AetherraError, ConnectionError):
    """No host is running at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"no host is running here: nothing answers at {self.path}"


class RemoteHost:
    """Calls, publishes and listens over one connection; many calls may be in flight at a time.

    ``connect`` makes one. Errors are those of the same acts in the host, of the same classes.

    Attributes:
        name: What the host says it is called.
        pid: Its process.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.name, self.pid = exchange.host.name, exchange.host.pid
        self._exchange = exchange

    # Calls

    async def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> ReplyT:
        """Call with a request of your own declaration: the tag counts, and the fields that it names.

        A cancelled call cancels the handler in the host.

        Args:
            request: Any request with a tag.
            timeout: Seconds; ``None`` means 30. Inside a handler it is never more than what that one's call has left.

        Raises:
            HandlerError: The handler raised; ``__cause__`` is a text of what, with a note of where.
            HostGoneError: The host closed the connection, or its process ended.
            EventTimeoutError: No reply in time; the handler was cancelled.
            MessageValidationError: The request does not fit the handler's, or the reply does not fit this one's.
            AetherraError: Whatever else the same call raises in the host.
        """
        request_type = type(request)
        tagged = len(message_classes(reply_annotation(request_type))) > 1
        body = await self._call(tag_of(request_type), to_json(request), timeout, tagged=tagged)
        return cast("ReplyT", reply_from_json(request_type, body))

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name, builtins in and builtins out; otherwise as ``call``.

        The reply carries its tag under ``"$tag"`` only where the request can be answered by several types.
        """
        return msgspec.json.decode(await self._call(tag, _encoded(tag, body), timeout))

    async def _call(self, tag: str, body: bytes, timeout: float | None, *, tagged: bool = False) -> msgspec.Raw:
        seconds, trace = DEFAULT_TIMEOUT if timeout is None else timeout, None
        if (made_in := current_call()) is not None:
            seconds, trace = min(seconds, made_in.deadline - time.monotonic()), made_in.trace_id
        exchange = self._exchange
        return await exchange.ask(
            Call(exchange.next_id(), tag, msgspec.Raw(body), seconds, trace, tagged), tag, seconds
        )

    # Events

    async def publish(self, event: Message) -> int:
        """Publish an event in the host and return how many of its subscribers keep it.

        Raises:
            UnknownEventError: Nobody there knows events of this tag.
            MessageValidationError: It does not fit the class that is known there.
            AetherraError: As for ``call``.
        """
        return await self.publish_tag(tag_of(type(event)), msgspec.Raw(to_json(event)))

    async def publish_tag(self, tag: str, body: Any = None) -> int:
        """Publish by name, the fields as builtins; otherwise as ``publish``."""
        trace = None if (made_in := current_call()) is None else made_in.trace_id
        exchange = self._exchange
        frame = Publish(exchange.next_id(), tag, msgspec.Raw(_encoded(tag, body)), trace)
        return int(msgspec.json.decode(await exchange.ask(frame, tag, DEFAULT_TIMEOUT), type=int))

    @overload
    def listen(
        self, what: type[EventT], *, capacity: int = ..., overflow: RemoteOverflow = ...
    ) -> AbstractAsyncContextManager[Listener[EventT]]: ...
    @overload
    def listen(
        self, what: str, *, capacity: int = ..., overflow: RemoteOverflow = ...
    ) -> AbstractAsyncContextManager[Listener[RemoteEvent]]: ...
    @asynccontextmanager
    async def listen(
        self, what: Any, *, capacity: int = 1000, overflow: RemoteOverflow = "drop_oldest"
    ) -> AsyncGenerator[Listener[Any]]:
        """Hear events from when the block is entered until it is left.

        Args:
            what: A message class of your own declaration, whose events come as its instances, or a tag, or a pattern
                of tags such as ``"homeostasis.*"``, whose events come as ``RemoteEvent``.
            capacity: Events that may wait in the host, and again here, for a slow reader.
            overflow: What happens to the next one when that many do. No reader here holds up a publisher there.

        Raises:
            HostGoneError: While it is iterated: the host has gone; what came before is still heard.
        """
        pattern, event_type = subscription_pattern(what)
        listener = Listener[Any](event_type, capacity, overflow)
        frame = Listen(self._exchange.next_id(), pattern, capacity, overflow)
        with self._exchange.hearing(frame.id, listener):
            await self._exchange.ask(frame, pattern, DEFAULT_TIMEOUT)
            listener.begun = True
            yield listener

    async def wait_for(
        self, what: type[EventT], *, where: Callable[[EventT], bool] | None = None, timeout: float | None = None
    ) -> EventT:
        """Return the next event of a class for which ``where`` holds.

        Raises:
            EventTimeoutError: There was none in time.
        """
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        with anyio.move_on_after(seconds):
            async with self.listen(what) as events:
                async for event in events:
                    if where is None or where(event):
                        return event
        raise EventTimeoutError(tag_of(what), seconds, "none came that was waited for")


def _encoded(tag: str, body: Any) -> bytes:
    """Return a body in JSON; none is an empty one.

    Raises:
        MessageValidationError: It holds what JSON has no form for.
    """
    try:
        return msgspec.json.encode({} if body is None else body)
    except (TypeError, ValueError, RecursionError, OverflowError) as exc:
        raise MessageValidationError(tag, f"the body is no JSON: {exc}") from exc


@asynccontextmanager
async def connect(path: str | Path, *, name: str = "python", max_frame: int = MAX_FRAME) -> AsyncGenerator[RemoteHost]:
    """Connect to the host whose control socket is at ``path`` (``.aetherra/control.sock`` of its project).

    Args:
        path: The socket's file.
        name: Who is calling; the host's grants go by it.
        max_frame: Bytes of the longest frame that is taken.

    Raises:
        NoHostError: Nothing listens there.
        ProtocolError: What listens there is no host, or speaks another version.
    """
    async with talk_over(await _reach(Path(path)), str(path), name=name, max_frame=max_frame) as host:
        yield host


async def _reach(path: Path) -> UnixWire:
    try:
        with anyio.fail_after(GREETING_TIMEOUT):
            return await connect_unix(path)
    except OSError as exc:  # which a timeout is, too
        raise NoHostError(str(path)) from exc


@asynccontextmanager
async def talk_over(
    wire: Wire, where: str, *, name: str = "python", max_frame: int = MAX_FRAME
) -> AsyncGenerator[RemoteHost]:
    """Talk with a host over any wire, which is closed at the end; ``where`` is what errors call its other end.

    Raises:
        NoHostError: The other end closes without a word.
        ProtocolError: It is no host, or speaks another version.
    """
    try:
        connection = Connection(wire, max_frame=max_frame)
        hello = await _greet(connection, name, where)
        async with tasks_beside() as group:
            exchange = Exchange(connection, hello, group)
            group.start_soon(exchange.read)
            group.start_soon(exchange.watch)
            yield RemoteHost(exchange)
    finally:
        wire.close()


async def _greet(connection: Connection, name: str, where: str) -> Hello:
    with anyio.move_on_after(GREETING_TIMEOUT):
        with suppress(anyio.BrokenResourceError):  # it may have said why before it closed
            await connection.send(connection.hello(name))
        try:
            return await connection.receive_hello()
        except GONE as exc:
            raise NoHostError(where) from exc
    raise ProtocolError(f"what listens at {where} did not say 'hello' within {GREETING_TIMEOUT:g} s")
