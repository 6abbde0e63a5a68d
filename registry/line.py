"""A line: the way from one sender's class of message to who handles it, with all that can be decided once."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from aetherra.registry.call import Line
from aetherra.registry.errors import is_refusal
from aetherra.registry.identity import Identity
from aetherra.registry.messages import Request, adapt, message_classes, reply_annotation

if TYPE_CHECKING:
    from aetherra.registry.route import Route


class CallLine(Line):
    """From a caller's class of request to a route.

    Attributes:
        answer: The route's handler.
        durations: Where the route keeps how long its calls took.
        leaf: Whether the handler can be called with nothing around it, as it never waits: a plain function, or a
            coroutine function without an ``await``.
        plain: Whether the handler is awaited as it is: nobody watches, it has no concurrency limit, and what it returns
            is known to want that, or not to.
        inline: Whether it is a plain function.
        foreign: Whether the caller's class of request is another than the handler's.
        replies: What the caller's class of request is answered with.
        reply: What the reply is if all is well, ``None`` if that takes a closer look.
    """

    __slots__ = ("answer", "durations", "foreign", "inline", "leaf", "plain", "replies", "reply")

    def __init__(
        self, route: Route, request_type: type[Request[Any]], caller: Identity, *, observed: bool, slow: float
    ) -> None:
        super().__init__(caller, route.tag, "call", slow=-inf if observed else slow)
        self.route = route
        self.answer: Any = route.answer
        self.durations = route.durations
        bare = route.gate is None and not observed
        self.inline = route.inline
        self.leaf = bare and route.is_leaf()
        self.plain = bare and (self.leaf or not self.inline)
        self.foreign = request_type is not route.request_type
        self.replies = message_classes(reply_annotation(request_type)) if self.foreign else route.replies
        self.reply: type | None = route.replies[0] if len(route.replies) == 1 and not self.foreign else None

    def enter(self, request: Request[Any]) -> tuple[CallLine, Request[Any]]:
        """Return the line that a foreign request goes by, and the request as the handler there takes it.

        Raises:
            MessageValidationError: Its class has other fields.
        """
        return self, adapt(request, (self.route.request_type,))

    def count_error(self, cause: BaseException) -> None:
        """Count a call that had no reply, for what the handler raised, or what became of the call instead."""
        self.route.errors += 1
        self.route.refusals += is_refusal(cause)

    def count_turned_away(self) -> None:
        """Count a call no more that never reached the handler."""
        self.route.calls -= 1
