"""The host's end of the control socket: calls and events of its bus, for clients in other processes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import SocketListener, SocketStream, TaskGroup

from aetherra.registry.bus import Bus
from aetherra.registry.connection import Connection, short_socket_path
from aetherra.registry.errors import AetherraError, MessageValidationError, ProtocolError, is_signal
from aetherra.registry.messages import tag_of, to_builtins
from aetherra.registry.protocol import Call, Cancel, Event, Fault, Hello, Listen, Reply, fault_of

log = logging.getLogger("aetherra.registry.server")
MAX_IN_FLIGHT = 256
"""Calls and listeners that one connection may have at a time."""
GREETING_TIMEOUT = 5.0
"""Seconds that a new connection has to say ``hello``."""
FAREWELL_TIMEOUT = 1.0
"""Seconds that a client has to read why it is sent away."""
MAX_CLIENTS = 100
"""Connections at a time; one more is told so and closed."""
ACCEPT_PAUSE = 0.1
"""Seconds without new clients after one could not be accepted."""


@asynccontextmanager
async def serve(bus: Bus, path: Path, *, name: str = "aetherra") -> AsyncGenerator[None]:
    """Answer clients on a Unix socket at ``path``, mode 0600, while the body runs.

    A socket file that a killed host left there is replaced; make sure first that no living host holds it.
    One client's garbage, or its silence, harms no other. What the body raises is raised as it is.
    """
    listener = await _bind(path)
    failure: Exception | None = None
    async with listener, anyio.create_task_group() as group:
        group.start_soon(_accept, listener, _Clients(bus, name))
        try:
            yield
        except Exception as exc:  # noqa: BLE001  # raised again below, not wrapped in the task group's own
            failure = exc
        finally:
            # A socket cancelled just as it becomes readable makes anyio's asyncio backend complain (InvalidStateError).
            await anyio.lowlevel.cancel_shielded_checkpoint()
            group.cancel_scope.cancel()
            path.unlink(missing_ok=True)  # noqa: ASYNC240  # one system call, at the end
    if failure is not None:
        raise failure


async def _bind(path: Path) -> SocketListener:
    """Make the socket's file, uncancelled: anyio's worker thread would still make it, for nobody to remove."""
    with short_socket_path(path) as address, anyio.CancelScope(shield=True):
        return await anyio.create_unix_listener(address, mode=0o600)
    raise AssertionError("a shielded scope was left by a cancellation")


async def _accept(listener: SocketListener, clients: _Clients) -> None:
    async with anyio.create_task_group() as group:
        while True:
            try:
                stream = await listener.accept()
            except (OSError, anyio.BrokenResourceError) as exc:  # such as too many open files, which passes
                log.warning("a control client could not be accepted: %r", exc.__cause__ or exc)
                await anyio.sleep(ACCEPT_PAUSE)
            else:
                group.start_soon(clients.handle, stream)


class _Clients:
    """Handles each connection."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name
        self._connected = 0

    async def handle(self, stream: SocketStream) -> None:
        """Speak with one client until it leaves; never raises but when cancelled."""
        connection = Connection(stream)
        self._connected += 1
        try:
            async with stream, anyio.create_task_group() as group:
                group.start_soon(connection.write)
                await self._converse(connection, group)
                with anyio.move_on_after(FAREWELL_TIMEOUT):
                    await connection.finish()
                group.cancel_scope.cancel()
        except BaseException as exc:
            if is_signal(exc):
                raise
            log.exception("a control client's connection failed")
        finally:
            self._connected -= 1

    async def _converse(self, connection: Connection, group: TaskGroup) -> None:
        try:
            if self._connected > MAX_CLIENTS:
                raise ProtocolError(f"{MAX_CLIENTS} clients are connected already")
            with anyio.move_on_after(GREETING_TIMEOUT) as greeting:
                await connection.greet(self._name)
                client = await connection.expect_greeting()
                log.debug("client %s (process %d) came", client.name, client.pid)
            if greeting.cancelled_caught:
                raise ProtocolError(f"no 'hello' came within {GREETING_TIMEOUT:g} s")
            await _Session(self._bus, connection, group).run()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass  # it left without a word, which harms nobody
        except AetherraError as exc:
            log.warning("a control client was refused: %s", exc)
            await _tell(connection, fault_of(0, exc))


async def _tell(connection: Connection, fault: Fault) -> None:
    with anyio.move_on_after(FAREWELL_TIMEOUT):
        try:
            await connection.send(fault)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


class _Session:
    """The calls and listeners of one connection."""

    def __init__(self, bus: Bus, connection: Connection, group: TaskGroup) -> None:
        self._bus = bus
        self._connection = connection
        self._group = group
        self._active: dict[int, anyio.CancelScope] = {}

    async def run(self) -> None:
        async for frame in self._connection:
            match frame:
                case Call() | Listen():
                    await self._begin(frame)
                case Cancel(id=call_id):
                    if (scope := self._active.get(call_id)) is not None:
                        scope.cancel()
                case Hello():
                    raise ProtocolError("'hello' comes once, first")
                case _:
                    raise ProtocolError(
                        f"a client may send call, listen and cancel, not {type(frame).__name__.lower()!r}"
                    )

    async def _begin(self, frame: Call | Listen) -> None:
        if frame.id in self._active:
            await self._refuse(frame, f"id {frame.id} is in use")
        elif len(self._active) >= MAX_IN_FLIGHT:
            await self._refuse(frame, f"{MAX_IN_FLIGHT} calls of this connection are in flight already")
        else:
            self._active[frame.id] = anyio.CancelScope()
            self._group.start_soon(self._run, frame)

    async def _refuse(self, frame: Call | Listen, why: str) -> None:
        await self._connection.send(fault_of(frame.id, ProtocolError(why)))

    async def _run(self, frame: Call | Listen) -> None:
        try:
            with self._active[frame.id]:
                await self._answer(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._group.cancel_scope.cancel()
        finally:
            del self._active[frame.id]

    async def _answer(self, frame: Call | Listen) -> None:
        try:
            if isinstance(frame, Call):
                await self._connection.send(Reply(frame.id, await self._call(frame)))
            else:
                await self._listen(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise
        except Exception as exc:  # noqa: BLE001  # whatever failed is the client's to hear
            await self._connection.send(fault_of(frame.id, exc))

    async def _call(self, frame: Call) -> msgspec.Raw:
        try:
            body = msgspec.json.decode(frame.body)
        except msgspec.DecodeError as exc:
            raise MessageValidationError(frame.tag, str(exc)) from exc
        reply = await self._bus.call_tag(frame.tag, body, timeout=frame.timeout)
        return msgspec.Raw(msgspec.json.encode(reply))

    async def _listen(self, frame: Listen) -> None:
        with self._bus.subscribe(frame.pattern) as events:
            await self._connection.send(Reply(frame.id))
            unsendable = 0
            async for event in events:
                try:
                    body = msgspec.Raw(msgspec.json.encode(to_builtins(event)))
                    dropped = events.mailbox.dropped + unsendable
                    await self._connection.send(Event(frame.id, tag_of(type(event)), body, dropped))
                except (TypeError, ValueError, ProtocolError):  # no JSON, or too much of it, which harms no other event
                    unsendable += 1
