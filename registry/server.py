"""The host's end of the control socket: who may connect, how many at a time, and that none of them harms another."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from aetherra.registry.beside import tasks_beside
from aetherra.registry.bus import Bus
from aetherra.registry.connection import GONE, Connection
from aetherra.registry.errors import AetherraError, ProtocolError, is_signal
from aetherra.registry.faults import fault_of
from aetherra.registry.identity import Identity
from aetherra.registry.protocol import MAX_FRAME, Hello
from aetherra.registry.session import Session
from aetherra.registry.wire import UnixListener, Wire

log = logging.getLogger("aetherra.registry.server")
GREETING_TIMEOUT = 5.0
"""Seconds that a new connection has to say ``hello``."""
FAREWELL_TIMEOUT = 1.0
"""Seconds that a client has to read why it is sent away."""
MAX_CLIENTS = 100
"""Connections at a time; one more is told so and closed."""
ACCEPT_PAUSE = 0.1
"""Seconds without new clients after one could not be accepted."""


@asynccontextmanager
async def serve(bus: Bus, path: Path, *, name: str = "aetherra", max_frame: int = MAX_FRAME) -> AsyncGenerator[None]:
    """Answer clients on a Unix socket at ``path``, mode 0600, while the body runs.

    A socket file that a killed host left there is replaced; make sure first that no living host holds it.
    One client's garbage, or its silence, harms no other. What the body raises is raised as it is.

    Args:
        bus: What clients call, hear and publish on.
        path: Where the socket's file is made.
        name: What the host says it is called.
        max_frame: Bytes of the longest frame that is taken; a longer one is skipped, and its sender told.
    """
    clients = Clients(bus, name, max_frame)
    listener = UnixListener(path)
    try:
        async with tasks_beside() as group:
            group.start_soon(_accept, listener, clients)
            yield
    finally:
        listener.close()


async def _accept(listener: UnixListener, clients: Clients) -> None:
    async with anyio.create_task_group() as group:
        while True:
            try:
                wire = await listener.accept()
            except OSError as exc:  # such as too many open files, which passes
                log.warning("a control client could not be accepted: %r", exc)
                await anyio.sleep(ACCEPT_PAUSE)
            else:
                group.start_soon(clients.handle, wire)


class Clients:
    """Speaks with each client, whatever wire it came by.

    Args:
        bus: What they call, hear and publish on.
        name: What the host says it is called.
        max_frame: Bytes of the longest frame that is taken.
    """

    def __init__(self, bus: Bus, name: str, max_frame: int = MAX_FRAME) -> None:
        self._bus = bus
        self._name = name
        self._max_frame = max_frame
        self._connected = 0

    async def handle(self, wire: Wire) -> None:
        """Speak with one client until it leaves, and close the wire; never raises but when cancelled."""
        try:
            async with anyio.create_task_group() as group:
                await self._converse(Connection(wire, max_frame=self._max_frame), group)
                group.cancel_scope.cancel()
        except BaseException as exc:
            if is_signal(exc):
                raise
            log.exception("a control client's connection failed")
        finally:
            wire.close()

    async def _converse(self, connection: Connection, group: TaskGroup) -> None:
        try:
            client = await _expect_hello(connection)
            if self._connected >= MAX_CLIENTS:
                raise ProtocolError(f"{MAX_CLIENTS} clients are connected already")
            self._connected += 1
            try:
                await connection.send(connection.hello(self._name))
                await Session(self._bus, Identity("remote", client.name), connection, group).run()
            finally:
                self._connected -= 1
        except GONE:
            pass  # it left without a word, which harms nobody
        except AetherraError as exc:
            log.warning("a control client was refused: %s", exc)
            with anyio.move_on_after(FAREWELL_TIMEOUT):
                await _tell(connection, exc)


async def _expect_hello(connection: Connection) -> Hello:
    with anyio.move_on_after(GREETING_TIMEOUT):
        return await connection.receive_hello()
    raise ProtocolError(f"no 'hello' came within {GREETING_TIMEOUT:g} s")


async def _tell(connection: Connection, error: AetherraError) -> None:
    try:
        await connection.send(fault_of(0, error, closing=True))
    except GONE:
        return
