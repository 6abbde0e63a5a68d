"""What may watch a bus: calls before and after, events, refusals. A bus without an observer does nothing for one."""

from __future__ import annotations

from typing import Protocol

from aetherra.registry.call import Call
from aetherra.registry.identity import Identity
from aetherra.registry.messages import Message, Request


class Observer(Protocol):
    """Told of what passes, in the task in which it passes; must be quick and must not raise."""

    def before_call(self, call: Call, request: Request[object]) -> None:
        """A request is about to reach its handler."""

    def after_call(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """A handler is done with it; ``error`` is what the caller gets, if not a reply."""

    def event_published(self, event: Message, publisher: Identity, kept: int) -> None:
        """An event is in the mailboxes of ``kept`` subscribers."""

    def act_refused(self, who: Identity, tag: str, error: Exception) -> None:
        """A call, an event or a subscription was refused before anybody saw it."""
