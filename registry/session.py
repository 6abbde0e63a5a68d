"""A host's conversation with one client: its calls, listeners and events, whatever carries them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskGroup

from aetherra.registry.bus import Bus
from aetherra.registry.call import Line, Origin, handling, new_id
from aetherra.registry.connection import GONE, Connection
from aetherra.registry.errors import ProtocolError
from aetherra.registry.faults import fault_of
from aetherra.registry.identity import Identity
from aetherra.registry.messages import from_json, tag_of, to_json
from aetherra.registry.protocol import (
    AnyFrame,
    Call,
    Cancel,
    Event,
    Frame,
    Hello,
    Listen,
    Ping,
    Pong,
    Publish,
    Reply,
    Unreadable,
)
from aetherra.registry.subscription import Letter
from aetherra.registry.suspension import watch

MAX_IN_FLIGHT = 1024
"""Calls and listeners that one connection may have at a time."""
TURN = 32
"""Frames that are taken before others in the host get their turn."""


class Session:
    """Answers the frames of one client.

    One task at a time, the leader, reads frames and answers them itself. When what it does has to wait, a new leader
    takes over, so that a slow handler holds up neither another call nor a cancel, and a quick one costs no task.
    The leader reads nothing new while the client does not read what it was sent.

    Args:
        bus: What the client speaks on.
        client: Who it is there.
        connection: The way to it, greetings exchanged.
        group: Where what takes longer runs; cancelled by the session when the client is gone.
    """

    def __init__(self, bus: Bus, client: Identity, connection: Connection, group: TaskGroup) -> None:
        self._bus = bus
        self._identity = client
        self._caller = bus.caller(client)
        self._connection = connection
        self._group = group
        self._active: dict[int, anyio.CancelScope] = {}
        self._ended = anyio.Event()
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Answer until the client leaves.

        Raises:
            ProtocolError: It said what cannot be borne; it is still to be told.
        """
        self._group.start_soon(self._lead)
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def _lead(self) -> None:
        connection = self._connection
        taken = 0
        try:
            while True:
                if connection.idle or connection.gathered:
                    await connection.drain()
                    taken = 0
                elif (taken := taken + 1) % TURN == 0:
                    await anyio.lowlevel.checkpoint()
                frame = await connection.receive()
                if isinstance(frame, (Call, Publish, Listen)):
                    if self._admits(frame) and await self._work(frame):
                        return
                else:
                    self._take(frame)
        except GONE:
            self._end(None)
        except ProtocolError as exc:
            self._end(exc)

    def _end(self, failure: Exception | None) -> None:
        self._failure = failure
        self._ended.set()

    def _take(self, frame: AnyFrame | Unreadable) -> None:
        """Take a frame that needs no work."""
        match frame:
            case Cancel(id=call_id):
                if (scope := self._active.get(call_id)) is not None:
                    scope.cancel()
            case Ping(id=ping_id):
                self._connection.put(Pong(ping_id))
            case Pong():
                pass
            case Unreadable(id=call_id, problem=problem):
                self._connection.put(fault_of(call_id, ProtocolError(problem)))
            case Hello():
                self._connection.put(fault_of(0, ProtocolError("'hello' comes once, first")))
            case _:
                said = type(frame).__name__.lower()
                problem = f"a client may send call, listen, publish, cancel and ping, not {said!r}"
                self._connection.put(fault_of(0, ProtocolError(problem)))

    def _admits(self, frame: Call | Publish | Listen) -> bool:
        """Whether a call may begin; if not, the client is told why."""
        if frame.id in self._active:
            problem = f"id {frame.id} is in use"
        elif len(self._active) >= MAX_IN_FLIGHT:
            problem = f"{MAX_IN_FLIGHT} calls of this connection are in flight already"
        else:
            return True
        self._connection.put(fault_of(frame.id, ProtocolError(problem)))
        return False

    async def _work(self, frame: Call | Publish | Listen) -> bool:
        """Do what a frame asks for and say whether another task leads by now."""
        handed_over = False

        def hand_over() -> None:
            nonlocal handed_over
            handed_over = True
            self._group.start_soon(self._lead)

        with anyio.CancelScope() as scope:
            self._active[frame.id] = scope
            try:
                await watch(self._answer(frame), hand_over)
            finally:
                del self._active[frame.id]
        if handed_over:
            await self._connection.drain()
        return handed_over

    async def _answer(self, frame: Call | Publish | Listen) -> None:
        """Have a frame's answer put; a listener's events are sent until it is cancelled."""
        answer: Frame
        try:
            match frame:
                case Call():
                    answer = Reply(frame.id, msgspec.Raw(await self._call(frame)))
                case Publish():
                    answer = Reply(frame.id, msgspec.Raw(b"%d" % await self._publish(frame)))
                case Listen():
                    await self._listen(frame)
                    return
            self._connection.put(answer)
        except GONE:
            raise
        except Exception as exc:  # noqa: BLE001  # whatever failed is the client's to hear
            self._connection.put(fault_of(frame.id, exc))

    async def _call(self, frame: Call) -> bytes:
        call = partial(self._caller.call_json, frame.tag, frame.body, timeout=frame.timeout, tagged=frame.tagged)
        if frame.trace is None:
            return await call()
        with self._made_for(frame.trace):
            return await call()

    async def _publish(self, frame: Publish) -> int:
        event = from_json(frame.body, self._bus.topics.event_type(frame.tag))
        if frame.trace is None:
            return await self._caller.publish(event)
        with self._made_for(frame.trace):
            return await self._caller.publish(event)

    def _made_for(self, trace: str) -> AbstractContextManager[object]:
        """Have what the body says belong to a conversation that began in another process."""
        line = Line(self._identity, "", "action")
        return handling(line, Origin(new_id(), trace), self._bus.clock.monotonic())

    async def _listen(self, frame: Listen) -> None:
        connection = self._connection
        with self._caller.listen(frame.pattern, capacity=frame.capacity, overflow=frame.overflow) as events:
            connection.put(Reply(frame.id))
            unsendable = 0
            while True:
                await connection.drain()
                if events.mailbox.items:
                    await anyio.lowlevel.checkpoint()
                letter: Letter | None = await events.receive()
                while letter is not None:
                    unsendable += not self._put_event(frame.id, letter, events.dropped + unsendable)
                    more = events.mailbox.items and not connection.gathered
                    letter = events.mailbox.get_nowait() if more else None

    def _put_event(self, listener: int, letter: Letter, dropped: int) -> bool:
        """Have an event sent, unless it is no JSON or too much of it, which harms no other event."""
        try:
            tag, body = tag_of(type(letter.event)), msgspec.Raw(to_json(letter.event))
            self._connection.put(Event(listener, tag, body, dropped, letter.trace_id or None))
        except (TypeError, ValueError, RecursionError, ProtocolError):
            return False
        return True
