"""One end of a control connection: whole frames over a byte stream, written one at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from aetherra.registry.errors import ProtocolError
from aetherra.registry.protocol import MAX_FRAME, PROTOCOL_VERSION, AnyFrame, Frame, Hello, decode, encode


class Connection:
    """Frames in, frames out. Closing the stream is its owner's part."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)
        self._writing = anyio.Lock()

    async def send(self, frame: Frame) -> None:
        """Write one frame; two senders never mix theirs.

        Raises:
            anyio.BrokenResourceError: The other end is gone.
        """
        async with self._writing:
            await self._stream.send(encode(frame))

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

    async def __aiter__(self) -> AsyncIterator[AnyFrame]:
        while True:
            try:
                yield await self.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def greet(self, name: str) -> None:
        """Send this end's ``hello``."""
        await self.send(Hello(PROTOCOL_VERSION, name, os.getpid()))

    async def expect_greeting(self) -> Hello:
        """Read the other end's ``hello``.

        Raises:
            ProtocolError: It said something else, or speaks another version.
        """
        frame = await self.receive()
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
