"""A client's conversation with one host: what was asked, who waits for the answer, and who listens."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from math import inf
from typing import Any, cast

import anyio
import msgspec
from anyio.abc import TaskGroup

from aetherra.registry.connection import GONE, Connection
from aetherra.registry.errors import CallTimeoutError, HostGoneError, ProtocolError
from aetherra.registry.faults import error_of, fault_of
from aetherra.registry.listener import Listener
from aetherra.registry.protocol import (
    AnyFrame,
    Call,
    Cancel,
    Event,
    Fault,
    Hello,
    Listen,
    Ping,
    Pong,
    Publish,
    Reply,
    Unreadable,
)
from aetherra.registry.wakeup import new_wakeup, wait, wake

GRACE = 2.0
"""Seconds beyond a call's timeout after which a silent host counts as gone."""


class Exchange:
    """Questions and answers over one connection, told apart by their ids.

    ``read`` and ``watch`` run beside all else, in ``group``.
    """

    def __init__(self, connection: Connection, host: Hello, group: TaskGroup) -> None:
        self.host = host
        self.next_id = count(1).__next__
        self._connection = connection
        self._group = group
        self._answers: dict[int, _Answer] = {}
        self._listeners: dict[int, Listener[Any]] = {}
        self._ended: Fault | None = None
        self._watched_until = -inf
        self._sooner = anyio.Event()

    async def ask(self, frame: Call | Publish | Listen, tag: str, seconds: float) -> msgspec.Raw:
        """Send a frame and return the body of its reply, or raise its fault."""
        if self._ended is not None:
            raise error_of(self._ended)
        answer = self._answers[frame.id] = _Answer(tag, seconds, anyio.current_time() + seconds + GRACE)
        try:
            self._connection.put(frame)
            self._flush()
            if answer.late_at < self._watched_until:
                self._sooner.set()
            await wait(answer.wakeup)
        finally:
            del self._answers[frame.id]
            if answer.frame is None:
                self._give_up(frame.id)
        if isinstance(answer.frame, Fault):
            raise error_of(answer.frame)
        return cast("Reply", answer.frame).body

    @contextmanager
    def hearing(self, listener_id: int, listener: Listener[Any]) -> Generator[None]:
        """Hand the events of this id to a listener; at the end the host is told, if it listens."""
        self._listeners[listener_id] = listener
        try:
            yield
        finally:
            del self._listeners[listener_id]
            if listener.begun and not listener.ended:
                self._give_up(listener_id)

    def _give_up(self, call_id: int) -> None:
        if self._ended is None:
            self._connection.put(Cancel(call_id))
            self._flush()

    def _flush(self) -> None:
        """Write what can be written now, and have the rest written while its sender waits for the answer."""
        try:
            if not self._connection.flush():
                self._group.start_soon(self._drain)
        except GONE:
            return  # ``read`` finds out too, and says what it was

    async def _drain(self) -> None:
        try:
            await self._connection.drain()
        except GONE:
            return

    async def read(self) -> None:
        """Hand each frame to the call or listener that waits for it, until the host closes.

        Never waits for a reader: one that does not take its events keeps no reply from another.
        """
        ended = fault_of(0, HostGoneError(self.host.name, self.host.pid))
        try:
            while True:
                frame = await self._connection.receive()
                if isinstance(frame, Fault) and frame.closing:
                    ended = frame
                else:
                    self._take(frame)
        except GONE:
            pass
        except ProtocolError as exc:
            ended = fault_of(0, exc)
        finally:
            self._end(ended)

    def _take(self, frame: AnyFrame | Unreadable) -> None:
        match frame:
            case Event(id=call_id):
                if (listener := self._listeners.get(call_id)) is not None:
                    listener.put(frame)
            case Reply(id=call_id) | Fault(id=call_id):
                self._settle(call_id, frame)
            case Unreadable(id=call_id, problem=problem):
                if call_id not in self._answers:
                    raise ProtocolError(problem)
                self._settle(call_id, fault_of(call_id, ProtocolError(problem)))
            case Ping(id=call_id):
                self._connection.put(Pong(call_id))
                self._flush()
            case _:
                pass

    def _settle(self, call_id: int, frame: Reply | Fault) -> None:
        if (answer := self._answers.get(call_id)) is not None:
            answer.settle(frame)
        elif isinstance(frame, Fault) and (listener := self._listeners.get(call_id)) is not None:
            listener.fail(frame)

    def _end(self, ended: Fault) -> None:
        self._ended = ended
        for answer in self._answers.values():
            answer.settle(ended)
        for listener in self._listeners.values():
            listener.fail(ended)

    async def watch(self) -> None:
        """Give up what the host says nothing to, not even that it is late.

        One timer for all that is asked: it is set for the soonest, and looks at the others when it rings.
        """
        while True:
            now = anyio.current_time()
            self._watched_until = inf
            for call_id, answer in list(self._answers.items()):
                if answer.late_at <= now:
                    silent = CallTimeoutError(answer.tag, answer.seconds, f"host process {self.host.pid} said nothing")
                    answer.settle(fault_of(0, silent))
                    self._give_up(call_id)
                else:
                    self._watched_until = min(self._watched_until, answer.late_at)
            self._sooner = anyio.Event()
            with anyio.move_on_after(self._watched_until - now):
                await self._sooner.wait()


class _Answer:
    """What a frame is answered with, once it is."""

    __slots__ = ("frame", "late_at", "seconds", "tag", "wakeup")

    def __init__(self, tag: str, seconds: float, late_at: float) -> None:
        self.tag, self.seconds, self.late_at = tag, seconds, late_at
        self.frame: Reply | Fault | None = None
        self.wakeup = new_wakeup()

    def settle(self, frame: Reply | Fault) -> None:
        if self.frame is None:
            self.frame = frame
            wake(self.wakeup)
