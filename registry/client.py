"""The other end of the control socket: a host in another process, called and heard from here."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import msgspec

from aetherra.registry.connection import Connection, short_socket_path
from aetherra.registry.errors import AetherraError, CallTimeoutError, ProtocolError
from aetherra.registry.messages import Request, from_builtins, message_classes, reply_annotation, tag_of, to_builtins
from aetherra.registry.protocol import Call, Cancel, Event, Fault, Hello, Listen, Reply, error_of

ReplyT = TypeVar("ReplyT")
GRACE = 2.0
"""Seconds beyond a call's timeout after which a silent host counts as gone."""
BACKLOG = 1000
"""Events that one listener holds before the reader waits, and with it the host's mailbox fills and drops."""


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
        self._ended: AetherraError | None = None

    async def call(self, request: Request[ReplyT], *, timeout: float = 30.0) -> ReplyT:
        """Call with a request of your own declaration: the tag counts, and the fields that it names.

        Raises:
            AetherraError: What the same call raises in the host, or that the host went away.
        """
        body = await self.call_tag(tag_of(type(request)), to_builtins(request), timeout=timeout)
        classes = message_classes(reply_annotation(type(request)))
        if len(classes) != 1 or classes[0] is type(None):
            return cast("ReplyT", msgspec.convert(body, reply_annotation(type(request))))
        return cast("ReplyT", from_builtins(body, classes[0]))

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float = 30.0) -> Any:
        """Call by name, builtins in and builtins out. A cancelled call cancels the handler in the host.

        Raises:
            AetherraError: What the same call raises in the host, or that the host went away.
        """
        raw = msgspec.Raw(msgspec.json.encode({} if body is None else body))
        async with self._inbox() as (call_id, inbox):
            with anyio.move_on_after(timeout + GRACE):
                await self._connection.send(Call(call_id, tag, raw, timeout))
                frame = await inbox.get()
                return msgspec.json.decode(cast("Reply", frame).body)
            raise CallTimeoutError(tag, timeout, f"host process {self.pid} said nothing")

    @asynccontextmanager
    async def listen(self, pattern: str) -> AsyncGenerator[AsyncIterator[RemoteEvent]]:
        """Hear events whose tag matches ``pattern``, from when the block is entered until it is left."""
        async with self._inbox() as (call_id, inbox):
            await self._connection.send(Listen(call_id, pattern))
            await inbox.get()
            yield self._events(inbox)

    @staticmethod
    async def _events(inbox: _Inbox) -> AsyncIterator[RemoteEvent]:
        while True:
            frame = await inbox.get()
            if isinstance(frame, Event):
                yield RemoteEvent(frame.tag, msgspec.json.decode(frame.body), frame.dropped)

    @asynccontextmanager
    async def _inbox(self) -> AsyncGenerator[tuple[int, _Inbox]]:
        if self._ended is not None:
            raise self._ended
        call_id, inbox = next(self._ids), _Inbox()
        self._inboxes[call_id] = inbox
        try:
            yield call_id, inbox
        finally:
            del self._inboxes[call_id]
            if not inbox.finished and self._ended is None:
                with anyio.move_on_after(1.0, shield=True):
                    await self._send_quietly(Cancel(call_id))

    async def _send_quietly(self, frame: Cancel) -> None:
        try:
            await self._connection.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def read(self) -> None:
        """Hand each frame to the call or listener that waits for it, until the host closes; ``connect`` runs it."""
        ended: AetherraError = ProtocolError(f"host process {self.pid} closed the connection")
        try:
            async for frame in self._connection:
                if isinstance(frame, Fault) and frame.id == 0:
                    ended = error_of(frame)
                elif isinstance(frame, (Reply, Fault, Event)) and (inbox := self._inboxes.get(frame.id)) is not None:
                    await inbox.put(frame)
        except ProtocolError as exc:
            ended = exc
        finally:
            self._ended = ended
            for inbox in self._inboxes.values():
                inbox.fail(ended)


class _Inbox:
    """Frames for one call or listener."""

    def __init__(self) -> None:
        self.finished = False
        self._frames: deque[Reply | Event] = deque()
        self._error: AetherraError | None = None
        self._changed = anyio.Event()

    async def put(self, frame: Reply | Fault | Event) -> None:
        if isinstance(frame, Fault):
            self.fail(error_of(frame))
            return
        while len(self._frames) >= BACKLOG:
            await self._wait()
        self.finished = isinstance(frame, Reply)
        self._frames.append(frame)
        self._notify()

    def fail(self, error: AetherraError) -> None:
        self._error, self.finished = error, True
        self._notify()

    async def get(self) -> Reply | Event:
        while not self._frames:
            if self._error is not None:
                raise self._error
            await self._wait()
        frame = self._frames.popleft()
        self._notify()
        return frame

    async def _wait(self) -> None:
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


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
    async with stream:
        connection = Connection(stream)
        with anyio.fail_after(5.0):
            try:
                await connection.greet(name)
                host = await connection.expect_greeting()
            except (anyio.EndOfStream, anyio.BrokenResourceError) as exc:
                raise NoHostError(str(path)) from exc
        remote = RemoteHost(connection, host)
        failure: BaseException | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(remote.read)
            try:
                yield remote
            except Exception as exc:  # noqa: BLE001  # raised again below, not wrapped in the task group's own
                failure = exc
            finally:
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure
