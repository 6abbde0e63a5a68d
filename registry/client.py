"""The other end of the control socket: a host in another process, called and heard from here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import anyio
import msgspec

from aetherra.registry.connection import Connection, short_socket_path
from aetherra.registry.errors import AetherraError, CallTimeoutError, ProtocolError
from aetherra.registry.mailbox import Mailbox
from aetherra.registry.messages import Request, read_reply, tag_of, to_builtins
from aetherra.registry.protocol import Call, Cancel, Event, Fault, Hello, Listen, Reply, error_of, fault_of

ReplyT = TypeVar("ReplyT")
GRACE = 2.0
"""Seconds beyond a call's timeout after which a silent host counts as gone."""
BACKLOG = 1000
"""Events that one listener holds for a slow reader before the oldest are dropped."""
GREETING_TIMEOUT = 5.0
"""Seconds that what listens at a socket has to say ``hello``."""


class NoHostError(AetherraError, ConnectionError):
    """No host is running at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"no host is running here: nothing answers at {self.path}"


class RemoteEvent(msgspec.Struct, frozen=True):
    """An event as it came over the wire; ``dropped`` counts those this listener missed so far."""

    tag: str
    body: Any
    dropped: int


class RemoteHost:
    """Calls and listens over one connection; many calls may be in flight at a time."""

    def __init__(self, connection: Connection, host: Hello) -> None:
        self.name, self.pid = host.name, host.pid
        self._connection = connection
        self._ids = count(1)
        self._inboxes: dict[int, _Inbox] = {}
        self._ended: Fault | None = None

    async def call(self, request: Request[ReplyT], *, timeout: float = 30.0) -> ReplyT:
        """Call with a request of your own declaration: the tag counts, and the fields that it names.

        Raises:
            AetherraError: What the same call raises in the host, or that the host went away.
        """
        body = await self.call_tag(tag_of(type(request)), to_builtins(request), timeout=timeout)
        return cast("ReplyT", read_reply(type(request), body))

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float = 30.0) -> Any:
        """Call by name, builtins in and builtins out. A cancelled call cancels the handler in the host.

        Raises:
            AetherraError: What the same call raises in the host, or that the host went away.
        """
        raw = msgspec.Raw(msgspec.json.encode({} if body is None else body))
        async with self._inbox() as (call_id, inbox):
            with anyio.move_on_after(timeout + GRACE):
                await self._send(Call(call_id, tag, raw, timeout))
                return msgspec.json.decode((await inbox.reply()).body)
            raise CallTimeoutError(tag, timeout, f"host process {self.pid} said nothing")

    @asynccontextmanager
    async def listen(self, pattern: str) -> AsyncGenerator[AsyncIterator[RemoteEvent]]:
        """Hear events whose tag matches ``pattern``, from when the block is entered until it is left.

        Up to 1,000 wait for a slow reader; beyond that the oldest are dropped and counted.
        """
        async with self._inbox() as (call_id, inbox):
            await self._send(Listen(call_id, pattern))
            await inbox.reply()
            inbox.open = True
            yield inbox

    async def _send(self, frame: Call | Listen) -> None:
        try:
            await self._connection.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise error_of(self._ended or self._closed()) from None

    def _closed(self) -> Fault:
        return fault_of(0, ProtocolError(f"host process {self.pid} closed the connection"))

    @asynccontextmanager
    async def _inbox(self) -> AsyncGenerator[tuple[int, _Inbox]]:
        if self._ended is not None:
            raise error_of(self._ended)
        call_id, inbox = next(self._ids), _Inbox()
        self._inboxes[call_id] = inbox
        try:
            yield call_id, inbox
        finally:
            del self._inboxes[call_id]
            if inbox.open and self._ended is None:
                with anyio.move_on_after(1.0, shield=True):
                    await self._send_quietly(Cancel(call_id))

    async def _send_quietly(self, frame: Cancel) -> None:
        try:
            await self._connection.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def read(self) -> None:
        """Hand each frame to the call or listener that waits for it, until the host closes; ``connect`` runs it.

        Never waits for a reader: one that does not take its events keeps no reply from another.
        """
        ended = self._closed()
        try:
            async for frame in self._connection:
                if isinstance(frame, Fault) and frame.id == 0:
                    ended = frame
                elif isinstance(frame, (Reply, Fault, Event)) and (inbox := self._inboxes.get(frame.id)) is not None:
                    inbox.put(frame)
        except ProtocolError as exc:
            ended = fault_of(0, exc)
        finally:
            self._ended = ended
            for inbox in self._inboxes.values():
                inbox.put(ended)


class _Inbox:
    """What one call or listener is told: one reply or fault, and any number of events.

    ``open`` says that the host still works for it.
    """

    def __init__(self) -> None:
        self.open = True
        self._answer: Reply | Fault | None = None
        self._answered = anyio.Event()
        self._events: Mailbox[Event] = Mailbox(BACKLOG, "drop_oldest")

    def put(self, frame: Reply | Fault | Event) -> None:
        if isinstance(frame, Event):
            self._events.put_nowait(frame)
            return
        self.open = False
        self._answer = frame
        self._answered.set()
        if isinstance(frame, Fault):
            self._events.close()

    async def reply(self) -> Reply:
        await self._answered.wait()
        if isinstance(self._answer, Fault):
            raise error_of(self._answer)
        return cast("Reply", self._answer)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RemoteEvent:
        try:
            event = await self._events.get()
        except anyio.EndOfStream:
            raise error_of(cast("Fault", self._answer)) from None
        return RemoteEvent(event.tag, msgspec.json.decode(event.body), event.dropped + self._events.dropped)


@asynccontextmanager
async def connect(path: str | Path, *, name: str = "python") -> AsyncGenerator[RemoteHost]:
    """Connect to the host whose control socket is at ``path`` (``.aetherra/control.sock`` of its project).

    Raises:
        NoHostError: Nothing listens there.
        ProtocolError: What listens there is no host, or speaks another version.
    """
    try:
        with short_socket_path(Path(path)) as address:
            stream = await anyio.connect_unix(address)
    except OSError as exc:
        raise NoHostError(str(path)) from exc
    failure: Exception | None = None
    async with stream, anyio.create_task_group() as group:
        connection = Connection(stream)
        group.start_soon(connection.write)
        try:
            remote = RemoteHost(connection, await _greet(connection, name, path))
            group.start_soon(remote.read)
            yield remote
        except Exception as exc:  # noqa: BLE001  # raised again below, not wrapped in the task group's own
            failure = exc
        finally:
            with anyio.move_on_after(GRACE, shield=True):
                await connection.finish()
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _greet(connection: Connection, name: str, path: str | Path) -> Hello:
    with anyio.move_on_after(GREETING_TIMEOUT):
        try:
            await connection.greet(name)
            return await connection.expect_greeting()
        except (anyio.EndOfStream, anyio.BrokenResourceError) as exc:
            raise NoHostError(str(path)) from exc
    raise ProtocolError(f"what listens at {path} did not say 'hello' within {GREETING_TIMEOUT:g} s")
