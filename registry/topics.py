"""Topics: events on their way from who publishes them to all who subscribed. They own no task."""

from __future__ import annotations

import difflib
from typing import Any
from weakref import WeakSet

import anyio.lowlevel
import msgspec

from aetherra.registry.call import Call
from aetherra.registry.errors import MessageDefinitionError, UnknownEventError
from aetherra.registry.identity import Identity
from aetherra.registry.mailbox import Mailbox
from aetherra.registry.messages import Message, MessageMeta, Request, tag_of, to_builtins
from aetherra.registry.subscription import Letter, Subscription

MAX_TAGS = 10_000
"""Event classes whose audience is remembered; beyond that all are found anew."""


class TopicStatistics(msgspec.Struct, frozen=True):
    """A snapshot of one tag's events.

    Attributes:
        tag: Theirs.
        published: How many there were.
        delivered: How often one was kept in a mailbox.
        subscribers: Who hears them now.
    """

    tag: str
    published: int
    delivered: int
    subscribers: int


class Topic:
    """The events of one tag, counted."""

    __slots__ = ("delivered", "published", "tag")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.published = self.delivered = 0

    async def deliver_late(self, letter: Letter, full: list[Mailbox[Letter]]) -> int:
        """Put an event into mailboxes that had no room for it, each by its policy, and return how many kept it.

        Those that ask their publishers to wait come last. Cancelled, these go without, counted as dropped.
        """
        kept = 0
        waited_for = [mailbox for mailbox in full if mailbox.overflow == "block"]
        try:
            others = [mailbox for mailbox in full if mailbox.overflow != "block"]
            try:
                turns = [mailbox.ask_turn() for mailbox in others]  # each is asked
                if any(turns):
                    await anyio.lowlevel.checkpoint()
                    await anyio.lowlevel.checkpoint()  # trio draws lots who goes first in a turn; after two, all have
            finally:
                kept = sum(mailbox.put_nowait(letter) for mailbox in others)
                self.delivered += kept
            while waited_for:
                delivered = await waited_for[0].put(letter)
                del waited_for[0]
                self.delivered += delivered
                kept += delivered
        finally:
            for mailbox in waited_for:
                mailbox.dropped += 1
        return kept


Undelivered = tuple[Topic, Letter, list[Mailbox[Letter]]]
"""An event that some mailboxes have no room for, now."""


class Topics:
    """Subscriptions, and the last value of what is retained."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[Any]] = []
        self._topics: dict[str, Topic] = {}
        self._audiences: dict[type[Message], tuple[Topic, tuple[Mailbox[Letter], ...]]] = {}
        self._retained: dict[str, Letter] = {}
        self._known: dict[str, WeakSet[type[Message]]] = {}
        self._past_dropped = 0

    def deliver(
        self, event: Message, publisher: Identity, cause: Call | None, *, retain: bool = False
    ) -> tuple[int, Undelivered | None]:
        """Put an event in each mailbox that has room; return how many have it, and what is left to do.

        The rest is for ``Topic.deliver_late``: a full mailbox gives its reader one turn of the event loop before
        anything is dropped, and one that asked to ``block`` its publishers is waited for.
        """
        topic, mailboxes = self._audiences.get(type(event)) or self._audience(event)
        letter = Letter(event, publisher, cause)
        if retain:
            self._retain(topic.tag, letter)
        topic.published += 1
        full: list[Mailbox[Letter]] | None = None
        kept = 0
        for mailbox in mailboxes:
            if len(mailbox.items) < mailbox.capacity or mailbox.overflow == "latest":
                kept += mailbox.put_nowait(letter)
            elif full is None:
                full = [mailbox]
            else:
                full.append(mailbox)
        topic.delivered += kept
        return kept, None if full is None else (topic, letter, full)

    def deliver_nowait(self, event: Message, publisher: Identity, cause: Call | None, *, retain: bool = False) -> int:
        """Put an event in the mailbox of each subscriber by its policy; a full one that would block drops it."""
        kept, late = self.deliver(event, publisher, cause, retain=retain)
        if late is not None:
            topic, letter, full = late
            more = sum(mailbox.put_nowait(letter) for mailbox in full)
            topic.delivered += more
            kept += more
        return kept

    def _audience(self, event: Message) -> tuple[Topic, tuple[Mailbox[Letter], ...]]:
        tag = tag_of(type(event))
        if isinstance(event, Request):
            raise MessageDefinitionError(f"{tag!r} is a request, to be called or submitted; events are published")
        if len(self._audiences) >= MAX_TAGS:
            self._audiences.clear()
        audience = (self._topic(tag), tuple(sub.mailbox for sub in self._subscriptions if sub.hears(tag)))
        self._audiences[type(event)] = audience
        self._know(type(event))
        return audience

    def _topic(self, tag: str) -> Topic:
        return self._topics.setdefault(tag, Topic(tag))

    def attach(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear events, first the retained ones in the order in which they were published."""
        if subscription in self._subscriptions:
            return
        self._subscriptions.append(subscription)
        self._audiences.clear()
        if subscription.event_type is not None:
            self._know(subscription.event_type)
        for tag, letter in self._retained.items():
            if subscription.hears(tag):
                self._topic(tag).delivered += subscription.mailbox.put_nowait(letter)

    def detach(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear no more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._past_dropped += subscription.mailbox.dropped
            self._audiences.clear()

    def event_type(self, tag: str) -> type[Message]:
        """Return the class with most fields that events of this tag have here: a subscriber's, or a published one.

        Raises:
            UnknownEventError: There is none.
        """
        known = self._known.get(tag)
        if not known:
            tags = [other for other, classes in self._known.items() if classes]
            raise UnknownEventError(tag, difflib.get_close_matches(tag, tags, n=3))
        return max(known, key=lambda cls: len(cls.__struct_fields__))

    def _know(self, event_type: type[Message]) -> None:
        """Remember a class of events for as long as it lives, which is as long as its plugin's code does."""
        self._known.setdefault(tag_of(event_type), WeakSet()).add(event_type)

    # What is retained

    def _retain(self, tag: str, letter: Letter) -> None:
        self._retained.pop(tag, None)  # so that the order is that of publishing
        self._retained[tag] = letter

    def forget(self, tag: str) -> None:
        """Retain the last event of this tag no more."""
        self._retained.pop(tag, None)

    def let_go(self, publisher: Identity) -> None:
        """Keep what a generation retained, but none of its classes: it has ended, and its code shall be collected."""
        self._audiences.clear()
        for tag, letter in self._retained.items():
            if letter.publisher == publisher:
                self._retained[tag] = Letter(_neutral(letter.event, tag), publisher, None)

    def statistics(self) -> tuple[TopicStatistics, ...]:
        """Return a snapshot of each tag that was ever published, by tag."""
        return tuple(
            TopicStatistics(tag, topic.published, topic.delivered, sum(sub.hears(tag) for sub in self._subscriptions))
            for tag, topic in sorted(self._topics.items())
        )

    def totals(self) -> tuple[int, int]:
        """Return how many events were published, and how often one was delivered."""
        topics = self._topics.values()
        return sum(topic.published for topic in topics), sum(topic.delivered for topic in topics)

    @property
    def dropped(self) -> int:
        """Events that full mailboxes threw away."""
        return self._past_dropped + sum(sub.mailbox.dropped for sub in self._subscriptions)

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._subscriptions)


def _neutral(event: Message, tag: str) -> Message:
    """Return an event of the same tag and fields, of a class that belongs to nobody."""
    body: dict[str, Any] = to_builtins(event)
    fields = {"__annotations__": dict.fromkeys(body, Any), "__module__": __name__}
    neutral: Message = MessageMeta(type(event).__name__, (Message,), fields, tag=tag)(**body)
    return neutral
