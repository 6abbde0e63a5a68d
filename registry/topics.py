"""Topics: events on their way from who publishes them to all who subscribed. They own no task."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Any

import msgspec

from aetherra.registry.call import current_call, suspendable_call
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


class Topics:
    """Subscriptions, and the last value of what is retained."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[Any]] = []
        self._audiences: dict[type[Message], tuple[str, tuple[Mailbox[Letter], ...]]] = {}
        self._retained: dict[str, Letter] = {}
        self._published = Counter[str]()
        self._delivered = Counter[str]()
        self._past_dropped = 0

    async def publish(self, event: Message, publisher: Identity, *, retain: bool = False) -> int:
        """Put an event in the mailbox of each subscriber and return how many kept it.

        All with room have it at once. Then a full one gives its reader one turn of the event loop before anything is
        dropped, and one that asked to ``block`` its publishers is waited for; cancelled meanwhile, the full ones go
        without.
        """
        tag, mailboxes = self._audiences.get(event.__class__) or self._audience(event)
        letter = Letter(event, publisher, suspendable_call())
        if retain:
            self._retain(tag, letter)
        self._published[tag] += 1
        kept = 0
        full: list[Mailbox[Letter]] = []
        for mailbox in mailboxes:
            if len(mailbox.items) < mailbox.capacity:
                kept += mailbox.put_nowait(letter)
            else:
                full.append(mailbox)
        self._delivered[tag] += kept
        for mailbox in full:
            if await mailbox.put(letter):
                self._delivered[tag] += 1
                kept += 1
        return kept

    def publish_nowait(self, event: Message, publisher: Identity, *, retain: bool = False) -> int:
        """Publish without waiting: a full mailbox that would block drops the event and counts it."""
        tag, mailboxes = self._audiences.get(event.__class__) or self._audience(event)
        letter = Letter(event, publisher, current_call())
        if retain:
            self._retain(tag, letter)
        self._published[tag] += 1
        kept = sum(mailbox.put_nowait(letter) for mailbox in mailboxes)
        self._delivered[tag] += kept
        return kept

    def _audience(self, event: Message) -> tuple[str, tuple[Mailbox[Letter], ...]]:
        tag = tag_of(type(event))
        if isinstance(event, Request):
            raise MessageDefinitionError(f"{tag!r} is a request, to be called or submitted; events are published")
        if len(self._audiences) >= MAX_TAGS:
            self._audiences.clear()
        audience = (tag, tuple(sub.mailbox for sub in self._subscriptions if sub.hears(tag)))
        self._audiences[type(event)] = audience
        return audience

    def attach(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear events, first the retained ones in the order in which they were published."""
        if subscription in self._subscriptions:
            return
        self._subscriptions.append(subscription)
        self._audiences.clear()
        for tag, letter in self._retained.items():
            if subscription.hears(tag):
                self._delivered[tag] += subscription.mailbox.put_nowait(letter)

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
        known: list[type[Message]] = [cls for cls in self._audiences if cls.__struct_config__.tag == tag]
        known += [sub.event_type for sub in self._subscriptions if sub.event_type is not None and sub.pattern == tag]
        if not known:
            tags = {str(cls.__struct_config__.tag) for cls in self._audiences}
            tags |= {sub.pattern for sub in self._subscriptions if sub.event_type is not None}
            raise UnknownEventError(tag, difflib.get_close_matches(tag, tags, n=3))
        return max(known, key=lambda cls: len(cls.__struct_fields__))

    # What is retained

    def _retain(self, tag: str, letter: Letter) -> None:
        self._retained.pop(tag, None)  # so that the order is that of publishing
        self._retained[tag] = letter

    def retained(self, tag: str) -> Message | None:
        """Return the event of this tag that late subscribers get, ``None`` if there is none."""
        letter = self._retained.get(tag)
        return None if letter is None else letter.event

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
            TopicStatistics(tag, count, self._delivered[tag], sum(sub.hears(tag) for sub in self._subscriptions))
            for tag, count in sorted(self._published.items())
        )

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
