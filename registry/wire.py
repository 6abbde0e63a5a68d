"""What carries frames: a two-way stream of bytes to one other end, and the Unix socket that is one of them."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import anyio
import anyio.lowlevel

CHUNK = 64 * 1024
"""Bytes read at a time."""
QUEUE = 1024
"""Connections that may wait to be accepted."""
NOTHING, END = b"", b"end"
"""What a read returns, these very objects, where it brings no bytes: there are none yet; there will be none."""
RETRY = 0.01
"""Seconds until a connection is tried again while that queue is full."""


class Wire(Protocol):
    """All that the protocol asks of its transport; a broker's channel or TLS over TCP can be one as well."""

    def send_nowait(self, data: bytes | bytearray) -> int:
        """Take as many of these bytes as go out at once and say how many; 0 if none do.

        Raises:
            anyio.BrokenResourceError: The other end is gone.
        """
        ...

    async def wait_writable(self) -> None:
        """Return when ``send_nowait`` is worth another try; one task at a time."""
        ...

    async def receive(self) -> bytes:
        """Return the bytes that come next, at least one. Always lets others run; a cancelled call loses nothing.

        Raises:
            anyio.EndOfStream: The other end closed.
            anyio.BrokenResourceError: It is gone without a word.
        """
        ...

    def close(self) -> None:
        """Close this end, without waiting; whoever waits in it gets ``anyio.ClosedResourceError``."""
        ...


class UnixWire:
    """A connected Unix socket.

    It waits for readiness rather than going through ``anyio.SocketStream``, which yields to the event loop in each
    send, and whose asyncio kind reports an ``InvalidStateError`` when it is closed just as it becomes readable.
    """

    __slots__ = ("_early", "_loop", "_receiver", "_socket")

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receiver: asyncio.Future[bytes | None] | None = None
        self._early: bytes | None = NOTHING

    def send_nowait(self, data: bytes | bytearray) -> int:
        """See ``Wire``."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise anyio.BrokenResourceError from exc

    async def wait_writable(self) -> None:
        """See ``Wire``."""
        await anyio.wait_writable(self._socket)

    async def receive(self) -> bytes:
        """See ``Wire``."""
        if self._socket.fileno() < 0:
            raise anyio.ClosedResourceError
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            await anyio.wait_readable(self._socket)
            data = self._read()
            while data is NOTHING:  # a false alarm, which the operating system allows itself
                await anyio.wait_readable(self._socket)
                data = self._read()
        else:
            data = await self._receive_on(loop)
        if data is None:
            raise anyio.BrokenResourceError
        if data is END:
            raise anyio.EndOfStream
        return data

    def _read(self) -> bytes | None:
        """Return what there is: bytes, ``NOTHING``, ``END``, or ``None`` if the other end is gone."""
        try:
            return self._socket.recv(CHUNK) or END
        except BlockingIOError:
            return NOTHING
        except OSError:
            return None

    # On asyncio the loop goes on watching the socket from one ``receive`` to the next: to begin and end it each time,
    # as anyio does, costs as much as all else in a call.

    async def _receive_on(self, loop: asyncio.AbstractEventLoop) -> bytes | None:
        if self._early is not NOTHING:
            early, self._early = self._early, NOTHING
            await anyio.lowlevel.checkpoint()
            return early
        receiver: asyncio.Future[bytes | None] = loop.create_future()
        self._receiver = receiver
        if self._loop is None:
            self._loop = loop
            loop.add_reader(self._socket, self._on_readable)
        try:
            return await receiver
        except asyncio.CancelledError:
            if receiver.done() and not receiver.cancelled() and receiver.exception() is None:
                self._early = receiver.result()  # both came at once: what was read is for the next
            raise
        finally:
            self._receiver = None

    def _on_readable(self) -> None:
        if self._receiver is None or self._receiver.done():  # nobody reads now, so that the other end shall wait
            self._stop_watching()
        elif (data := self._read()) is not NOTHING:
            self._receiver.set_result(data)

    def _stop_watching(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        """See ``Wire``."""
        if self._socket.fileno() >= 0:
            self._stop_watching()
            if self._receiver is not None and not self._receiver.done():
                self._receiver.set_exception(anyio.ClosedResourceError())
            anyio.notify_closing(self._socket)
            self._socket.close()


class UnixListener:
    """A Unix socket that others connect to, mode 0600 before anybody can."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = _bind(path)

    async def accept(self) -> UnixWire:
        """Return the next connection.

        Raises:
            OSError: It could not be accepted, as when too many files are open; a later one may be.
        """
        while True:
            await anyio.wait_readable(self._socket)
            with suppress(BlockingIOError, ConnectionAbortedError):
                return UnixWire(self._socket.accept()[0])

    def close(self) -> None:
        """Let nobody connect any more, and remove the socket's file."""
        anyio.notify_closing(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        with short_socket_path(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(QUEUE)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def connect_unix(path: Path) -> UnixWire:
    """Connect to whoever listens at ``path``, waiting while too many others want to.

    Raises:
        OSError: Nobody does.
    """
    connecting = socket.socket(socket.AF_UNIX)
    connecting.setblocking(False)
    try:
        with short_socket_path(path) as address:
            while True:
                try:
                    connecting.connect(address)
                except BlockingIOError:
                    await anyio.sleep(RETRY)
                else:
                    return UnixWire(connecting)
    except BaseException:
        connecting.close()
        raise


@contextmanager
def short_socket_path(path: Path) -> Generator[str]:
    """Lend a name for a socket that fits the operating system's 100-odd bytes, however deep its folder is.

    On Linux the folder is opened and named by its descriptor, which is closed again at the end.
    """
    if len(os.fsencode(path)) < 100 or not sys.platform.startswith("linux"):
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
