"""A line: the way from one sender's class of message to who handles it, with all that can be decided once."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from aetherra.registry.call import CURRENT, IN_A_SCOPE, Call, Origin
from aetherra.registry.identity import Identity
from aetherra.registry.messages import Request, message_classes, reply_annotation

if TYPE_CHECKING:
    from aetherra.registry.route import Route

_WAITS = frozenset({"GET_AWAITABLE", "SEND", "YIELD_VALUE", "YIELD_FROM"})
"""Operations of which a coroutine function has at least one if it can wait for anything."""


class Line:
    """From one caller to one route; for an event or an action without a route.

    Attributes:
        caller: Who sends.
        tag: Of the message.
        kind: What the message is.
        route: Who answers.
        answer: The route's handler.
        leaf: Whether the handler can be called with nothing around it, as it never waits: a plain function, or a
            coroutine function without an ``await``.
        plain: Whether the handler is awaited as it is: nobody watches, and it has no concurrency limit.
        inline: Whether it is a plain function.
        foreign: Whether the caller's class of request is another than the handler's.
        reply: What the reply is if all is well, ``None`` if that takes a closer look.
        slow: Seconds from which on somebody looks at a call that ended.
    """

    __slots__ = (
        "answer", "caller", "durations", "foreign", "inline", "kind", "leaf", "plain", "replies", "reply", "route",
        "slow", "tag",
    )  # fmt: skip

    def __init__(self, caller: Identity, tag: str, kind: Literal["call", "event", "action"]) -> None:
        self.caller = caller
        self.tag = tag
        self.kind: Literal["call", "event", "action"] = kind
        self.route: Any = None
        self.slow = inf

    @classmethod
    def to(
        cls, route: Route, request_type: type[Request[Any]], caller: Identity, *, observed: bool, slow: float
    ) -> Line:
        """Return the line of a caller's class of request to a route."""
        line = cls(caller, route.tag, "call")
        line.route = route
        line.answer = route.answer
        line.durations = route.durations
        line.slow = slow
        line.plain = route.gate is None and not observed
        line.inline = not inspect.iscoroutinefunction(route.answer)
        line.leaf = line.plain and (line.inline or _never_waits(route.answer))
        line.foreign = request_type is not route.request_type
        line.replies = message_classes(reply_annotation(request_type)) if line.foreign else route.replies
        line.reply = route.replies[0] if len(route.replies) == 1 and not line.foreign else None
        return line


def _never_waits(function: Any) -> bool:
    """Whether a coroutine function has no place to wait at."""
    function = getattr(function, "__func__", function)
    return inspect.isfunction(function) and not any(step.opname in _WAITS for step in dis.get_instructions(function))


@contextmanager
def handling(line: Line, origin: Origin, now: float) -> Generator[Call]:
    """Be inside the handling of an event or an action until the body ends: what it says belongs to that conversation."""
    call = Call(line, inf, now, None, 0, IN_A_SCOPE, origin=origin)
    CURRENT.set(call)
    try:
        yield call
    finally:
        call.task = None
