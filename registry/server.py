"""The host's end of the control socket: calls and events of its bus, for clients in other processes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import SocketStream, TaskGroup

from aetherra.registry.bus import Bus
from aetherra.registry.connection import Connection, short_socket_path
from aetherra.registry.errors import MessageValidationError, ProtocolError, is_signal
from aetherra.registry.messages import tag_of, to_builtins
from aetherra.registry.protocol import Call, Cancel, Event, Fault, Hello, Listen, Reply, fault_of

log = logging.getLogger("aetherra.registry.server")
MAX_IN_FLIGHT = 256
"""Calls and listeners that one connection may have at a time."""
GREETING_TIMEOUT = 5.0
"""Seconds that a new connection has to say ``hello``."""


@asynccontextmanager
async def serve(bus: Bus, path: Path, *, name: str = "aetherra") -> AsyncGenerator[None]:
    """Answer clients on a Unix socket at ``path``, mode 0600, while the body runs.

    A socket file that a killed host left there is replaced; make sure first that no living host holds it.
    One client's garbage, or its silence, harms no other.
    """
    with short_socket_path(path) as address:
        listener = await anyio.create_unix_listener(address, mode=0o600)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, _Clients(bus, name).handle)
        try:
            yield
        finally:
            group.cancel_scope.cancel()
            path.unlink(missing_ok=True)  # noqa: ASYNC240  # one system call, at the end


class _Clients:
    """Handles each connection."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name

    async def handle(self, stream: SocketStream) -> None:
        connection = Connection(stream)
        async with stream:
            try:
                with anyio.fail_after(GREETING_TIMEOUT):
                    await connection.greet(self._name)
                    client = await connection.expect_greeting()
                async with anyio.create_task_group() as group:
                    await _Session(self._bus, connection, group).run()
                    group.cancel_scope.cancel()
                log.debug("client %s (process %d) left", client.name, client.pid)
            except (ProtocolError, TimeoutError) as exc:
                log.warning("a control client was refused: %s", str(exc) or "it did not say hello in time")
                await _tell(connection, fault_of(0, exc))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                pass  # it left without a word, which harms nobody
            except BaseExceptionGroup as exc:
                if is_signal(exc):
                    raise
                log.warning("a control client's connection failed: %r", exc.exceptions[0])


async def _tell(connection: Connection, fault: Fault) -> None:
    with anyio.move_on_after(1.0):
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
                    raise ProtocolError(f"a client may send call, listen and cancel, not {type(frame).__name__!r}")

    async def _begin(self, frame: Call | Listen) -> None:
        if frame.id in self._active:
            await self._connection.send(Fault(frame.id, "ProtocolError", f"id {frame.id} is in use"))
        elif len(self._active) >= MAX_IN_FLIGHT:
            await self._connection.send(
                Fault(frame.id, "ProtocolError", f"{MAX_IN_FLIGHT} calls of this connection are in flight already")
            )
        else:
            self._active[frame.id] = anyio.CancelScope()
            self._group.start_soon(self._run, frame)

    async def _run(self, frame: Call | Listen) -> None:
        try:
            with self._active[frame.id]:
                if isinstance(frame, Call):
                    await self._connection.send(Reply(frame.id, await self._call(frame)))
                else:
                    await self._listen(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._group.cancel_scope.cancel()
        except Exception as exc:  # noqa: BLE001  # whatever failed is the client's to hear
            await _tell(self._connection, fault_of(frame.id, exc))
        finally:
            del self._active[frame.id]

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
            async for event in events:
                body = msgspec.Raw(msgspec.json.encode(to_builtins(event)))
                await self._connection.send(Event(frame.id, tag_of(type(event)), body, events.mailbox.dropped))
