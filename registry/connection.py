"""One end of a control connection: whole frames over a wire, each written as a whole or not at all."""

from __future__ import annotations

import os
from collections import deque

import anyio
import msgspec

from aetherra.registry.errors import ProtocolError
from aetherra.registry.faults import error_of
from aetherra.registry.protocol import (
    MAX_FRAME,
    OLDEST_VERSION,
    PROTOCOL_VERSION,
    AnyFrame,
    Fault,
    Frame,
    Hello,
    Unreadable,
    agree,
    decode,
    encode,
    id_in,
)
from aetherra.registry.wire import Wire

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""What says that the other end has left."""
HEAD = 1024
"""What is kept of a frame that is too long: enough to find its id, and to quote it."""
FRAME_TIMEOUT = 30.0
"""Seconds that a frame may take from its first byte to its last."""
LATER = 64 * 1024
"""Bytes of a gathered output beyond which it is written before more is gathered."""


class TooLong(msgspec.Struct, frozen=True):
    """Stands for a line that was skipped because it had more bytes than are taken; ``head`` is how it began."""

    head: bytes


class Lines:
    """Cuts a stream of bytes into lines of at most ``limit`` bytes; longer ones are skipped and never held."""

    __slots__ = ("_parts", "_size", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether the next line has begun and is not complete."""
        return self._size > 0

    def feed(self, chunk: bytes) -> list[bytes | TooLong]:
        """Take what came and return the lines that are complete now, without their newlines."""
        lines: list[bytes | TooLong] = []
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if self._parts:
                self._hold(end)
                end = b"".join(self._parts)  # noqa: PLW2901  # the line that this is the end of
                size, self._size = self._size, 0
                self._parts.clear()
            else:
                size = len(end)
            lines.append(end if size <= self.limit else TooLong(end[:HEAD]))
        if rest:
            self._hold(rest)
        return lines

    def _hold(self, part: bytes) -> None:
        held, self._size = self._size, self._size + len(part)
        if self._size <= self.limit:
            self._parts.append(part)
        elif held <= self.limit:
            self._parts = [b"".join([*self._parts, part[:HEAD]])[:HEAD]]


class Connection:
    """Frames in, frames out. One task may receive; any may send. Closing the wire is its owner's part."""

    __slots__ = ("_arrived", "_draining", "_lines", "_out", "_wire", "max_sent")

    def __init__(self, wire: Wire, *, max_frame: int = MAX_FRAME) -> None:
        self._wire = wire
        self._lines = Lines(max_frame)
        self._arrived: deque[bytes | TooLong] = deque()
        self._out = bytearray()
        self._draining: anyio.Event | None = None
        self.max_sent = MAX_FRAME
        """Bytes of the longest frame that the other end takes."""

    # Out

    def put(self, frame: Frame) -> None:
        """Have one frame written, by the next ``flush`` or ``drain`` of anybody.

        Raises:
            ProtocolError: The other end takes no frame of that length; nothing of it will be written.
        """
        line = encode(frame)
        if len(line) > self.max_sent + 1:
            raise ProtocolError(f"a frame may have at most {self.max_sent:,} bytes, this one has {len(line) - 1:,}")
        self._out += line

    def flush(self) -> bool:
        """Write what goes out without waiting and say whether that is all.

        Raises:
            anyio.BrokenResourceError: The other end is gone.
        """
        out = self._out
        while out:
            sent = self._wire.send_nowait(out)
            if not sent:
                return False
            del out[:sent]
        return True

    async def drain(self) -> None:
        """Return when all that was put is written, waiting while the other end does not read.

        Cancelled, it takes nothing back: what was put is still written by whoever flushes or drains next.

        Raises:
            anyio.BrokenResourceError: The other end is gone.
        """
        while not self.flush():
            if self._draining is not None:
                await self._draining.wait()
                continue
            self._draining = anyio.Event()
            try:
                await self._wire.wait_writable()
            finally:
                self._draining.set()
                self._draining = None

    async def send(self, frame: Frame) -> None:
        """Write one frame, waiting while the other end does not read; see ``put`` and ``drain``."""
        self.put(frame)
        if not self.flush():
            await self.drain()

    @property
    def gathered(self) -> bool:
        """Whether so much is put that it should be written before more is."""
        return len(self._out) > LATER

    # In

    async def receive(self) -> AnyFrame | Unreadable:
        """Return what comes next. Waits, and lets others run, only if it is not here yet.

        Raises:
            anyio.EndOfStream: The other end closed, be it in the middle of a frame.
            anyio.BrokenResourceError: It is gone.
            ProtocolError: It began a frame and did not finish it within ``FRAME_TIMEOUT``.
        """
        while not self._arrived:
            await self._fill()
        line = self._arrived.popleft()
        if isinstance(line, TooLong):
            limit = self._lines.limit
            return Unreadable(id_in(line.head), f"a frame may have at most {limit:,} bytes; a longer one was skipped")
        try:
            return decode(line)
        except ProtocolError as exc:
            return Unreadable(id_in(line), str(exc))

    @property
    def idle(self) -> bool:
        """Whether ``receive`` would wait."""
        return not self._arrived

    async def _fill(self) -> None:
        if not self._lines.begun:
            self._arrived.extend(self._lines.feed(await self._wire.receive()))
            return
        with anyio.move_on_after(FRAME_TIMEOUT):
            while self._lines.begun and not self._arrived:
                self._arrived.extend(self._lines.feed(await self._wire.receive()))
            return
        raise ProtocolError(f"a frame was begun and not finished within {FRAME_TIMEOUT:g} s")

    def hello(self, name: str) -> Hello:
        """Return this end's greeting."""
        return Hello(PROTOCOL_VERSION, name, os.getpid(), OLDEST_VERSION, self._lines.limit)

    async def receive_hello(self) -> Hello:
        """Return the other end's greeting, which must be the first that it says.

        Raises:
            ProtocolError: It said something else, or speaks no version that this end does.
            AetherraError: It answered with a fault, which is this one.
        """
        theirs = await self.receive()
        if isinstance(theirs, Fault):
            raise error_of(theirs)
        if isinstance(theirs, Unreadable):
            raise ProtocolError(theirs.problem)
        if not isinstance(theirs, Hello):
            raise ProtocolError(f"expected 'hello' first, got {type(theirs).__name__.lower()!r}")
        agree(self.hello("this end"), theirs)
        self.max_sent = theirs.max_frame
        return theirs
