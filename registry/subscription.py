"""A subscription: events of one type, or of tags that match a pattern, on their way to one reader."""

from __future__ import annotations

from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import anyio
import msgspec

from aetherra.registry.call import Call, Line, Origin, handling
from aetherra.registry.errors import MessageDefinitionError, MessageValidationError
from aetherra.registry.identity import Identity
from aetherra.registry.mailbox import Mailbox, Overflow
from aetherra.registry.messages import Message, Request, adapt, tag_of

EventT_co = TypeVar("EventT_co", bound=Message, covariant=True)


class Letter(msgspec.Struct, frozen=True, eq=False):
    """An event in a mailbox: who published it, and in which call, if in any."""

    event: Message
    publisher: Identity
    cause: Call | None

    @property
    def trace_id(self) -> str:
        """The conversation that it belongs to, ``""`` if it begins one."""
        return "" if self.cause is None else self.cause.trace_id

    def heard(self, now: float) -> AbstractContextManager[Call]:
        """Be inside the handling of this event, in the conversation in which it was published, until the body ends."""
        line = Line(self.publisher, tag_of(type(self.event)), "event")
        return handling(line, Origin.new(None if self.cause is None else self.cause.names()), now)


class Audible(Protocol):
    """What a subscription hears."""

    def attach(self, subscription: Subscription[Any]) -> None:
        """Let it hear events."""

    def detach(self, subscription: Subscription[Any]) -> None:
        """Let it hear no more."""


class Subscription(Generic[EventT_co]):
    """Events of one type, or of tags that match a pattern, in a bounded mailbox.

    An async iterator and a context manager; leaving it unsubscribes. Events of one publisher arrive in
    the order in which they were published. One that cannot be read as the wanted type is dropped and
    counted in ``unreadable``.
    """

    def __init__(
        self, topics: Audible, pattern: str, event_type: type[EventT_co] | None, capacity: int, overflow: Overflow
    ) -> None:
        self.pattern = pattern
        self.event_type = event_type
        self.unreadable = 0
        self.mailbox: Mailbox[Letter] = Mailbox(capacity, overflow)
        self._topics = topics

    def attach(self) -> None:
        """Begin to hear events, retained ones first; a subscription made by ``subscribe`` already does."""
        self._topics.attach(self)

    def leave(self) -> None:
        """Hear no more, and leave the mailbox as it is, for another to take over."""
        self._topics.detach(self)

    def close(self) -> None:
        """Hear no more; events already in the mailbox can still be read. Twice does no harm."""
        self.leave()
        self.mailbox.close()

    @property
    def dropped(self) -> int:
        """Events that its overflow policy threw away."""
        return self.mailbox.dropped

    def hears(self, tag: str) -> bool:
        """Whether events of this tag are meant for it."""
        return self.pattern == tag or fnmatchcase(tag, self.pattern)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT_co:
        letter = await self.receive()
        return cast("EventT_co", letter.event)

    async def receive(self) -> Letter:
        """Return the next event with who published it and why; its ``event`` is of the wanted type.

        A cancelled call takes none.

        Raises:
            StopAsyncIteration: The subscription was closed, and nothing is left in its mailbox.
        """
        while True:
            try:
                letter = await self.mailbox.get()
            except anyio.EndOfStream:
                raise StopAsyncIteration from None
            wanted = self.event_type
            if wanted is None or isinstance(letter.event, wanted):
                return letter
            try:
                return Letter(cast("Message", adapt(letter.event, (wanted,))), letter.publisher, letter.cause)
            except MessageValidationError:
                self.unreadable += 1


def subscription_pattern(what: Any) -> tuple[str, type[Message] | None]:
    """Return the pattern that a class, a tag or a pattern stands for, and the class if it is one."""
    if isinstance(what, str):
        return what, None
    tag = tag_of(what)
    if issubclass(what, Request):
        raise MessageDefinitionError(f"{tag!r} is a request, which its one handler answers; events are heard")
    return tag, what
