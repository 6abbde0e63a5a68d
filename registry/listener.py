"""Events of a host in another process, on their way to one reader here."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, cast

import anyio
import msgspec

from aetherra.registry.codec import FAULTS
from aetherra.registry.faults import error_of
from aetherra.registry.mailbox import Mailbox, Overflow
from aetherra.registry.messages import Message
from aetherra.registry.protocol import Event, Fault

T_co = TypeVar("T_co", covariant=True)


class RemoteEvent(msgspec.Struct, frozen=True):
    """An event as it came over the wire.

    Attributes:
        tag: Its tag.
        body: Its fields, as builtins.
        dropped: How many this listener missed so far.
        trace: The conversation that it belongs to, ``None`` if it begins one.
    """

    tag: str
    body: Any
    dropped: int = 0
    trace: str | None = None


class Listener(Generic[T_co]):
    """Hears the events of one class, or those whose tag matches a pattern; an async iterator.

    Up to ``capacity`` wait in the host and as many here; what its overflow policy threw away at either end is counted
    in ``dropped``. One that does not fit the class is left out and counted in ``unreadable``.
    """

    def __init__(self, event_type: type[Message] | None, capacity: int, overflow: Overflow) -> None:
        self.unreadable = 0
        self.begun = False
        self._event_type = event_type
        self._events: Mailbox[Event] = Mailbox(capacity, overflow)
        self._missed = 0
        self._fault: Fault | None = None

    @property
    def dropped(self) -> int:
        """Events that this listener missed, as far as is known here."""
        return self._missed + self._events.dropped

    @property
    def ended(self) -> bool:
        """Whether the host has stopped listening for it."""
        return self._fault is not None

    def put(self, event: Event) -> None:
        """Hold an event for the reader."""
        self._missed = event.dropped
        self._events.put_nowait(event)

    def fail(self, fault: Fault) -> None:
        """Let the reader have what came before, and then this fault."""
        self._fault = fault
        self._events.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        while True:
            try:
                event = await self._events.get()
            except anyio.EndOfStream:
                raise error_of(cast("Fault", self._fault)) from None
            try:
                return self._read(event)
            except FAULTS:
                self.unreadable += 1

    def _read(self, event: Event) -> T_co:
        body = msgspec.json.decode(event.body)
        if self._event_type is not None:
            return cast("T_co", self._event_type.__codec__.read(body))
        dropped = event.dropped + self._events.dropped
        return cast("T_co", RemoteEvent(event.tag, body, dropped, event.trace))
