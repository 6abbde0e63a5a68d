"""One end of a control connection: whole frames over a byte stream, written one at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from aetherra.registry.errors import ProtocolError
from aetherra.registry.mailbox import Mailbox
from aetherra.registry.protocol import (
    MAX_FRAME,
    PROTOCOL_VERSION,
    AnyFrame,
    Fault,
    Frame,
    Hello,
    decode,
    encode,
    error_of,
)


class Connection:
    """Frames in, frames out. Closing the stream, and running ``write`` beside all else, are its owner's part."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)
        self._outbox: Mailbox[bytes] = Mailbox(1, "block")
        self._finished = anyio.Event()

    async def send(self, frame: Frame) -> None:
        """Hand one frame to ``write``, waiting while the other end does not read.

        A frame is written whole or not at all: a cancelled call leaves no half of one on the wire.

        Raises:
            anyio.BrokenResourceError: The other end is gone.
            ProtocolError: The frame is over ``MAX_FRAME`` bytes; nothing of it was sent.
        """
        line = encode(frame)
        if len(line) > MAX_FRAME:
            raise ProtocolError(f"a frame may have at most {MAX_FRAME:,} bytes, this one has {len(line):,}")
        if not await self._outbox.put(line):
            raise anyio.BrokenResourceError

    async def write(self) -> None:
        """Write what is sent, frame by frame, until ``finish`` or until the other end is gone."""
        try:
            while True:
                await self._stream.send(await self._outbox.get())
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        finally:
            self._outbox.close()
            self._finished.set()

    async def finish(self) -> None:
        """Send no more, and return when what was sent is written."""
        self._outbox.close()
        await self._finished.wait()

    async def receive(self) -> AnyFrame:
        """Read one frame.

        Raises:
            anyio.EndOfStream: The other end closed, between two frames.
            ProtocolError: It sent something else, or a frame over ``MAX_FRAME`` bytes.
        """
        try:
            return decode(await self._lines.receive_until(b"\n", MAX_FRAME))
        except anyio.DelimiterNotFound as exc:
            raise ProtocolError(f"a frame may have at most {MAX_FRAME:,} bytes") from exc
        except anyio.IncompleteRead as exc:
            if self._lines.buffer:
                raise ProtocolError("the connection ended in the middle of a frame") from exc
            raise anyio.EndOfStream from exc

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyFrame:
        try:
            return await self.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise StopAsyncIteration from None

    async def greet(self, name: str) -> None:
        """Send this end's ``hello``."""
        await self.send(Hello(PROTOCOL_VERSION, name, os.getpid()))

    async def expect_greeting(self) -> Hello:
        """Read the other end's ``hello``.

        Raises:
            ProtocolError: It said something else, or speaks another version.
            AetherraError: It answered with a fault, which is this one.
        """
        frame = await self.receive()
        if isinstance(frame, Fault):
            raise error_of(frame)
        if not isinstance(frame, Hello):
            raise ProtocolError(f"expected 'hello' first, got {type(frame).__name__.lower()!r}")
        if frame.version != PROTOCOL_VERSION:
            raise ProtocolError(f"{frame.name} speaks control protocol {frame.version}, this end {PROTOCOL_VERSION}")
        return frame


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
