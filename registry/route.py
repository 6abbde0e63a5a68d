"""A route: the one handler that answers a tag, with what is in its hands and how it fared."""

from __future__ import annotations

import dis
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec

from aetherra.registry.call import Call
from aetherra.registry.errors import MessageValidationError, ReplyTypeError
from aetherra.registry.gate import Gate
from aetherra.registry.identity import Identity
from aetherra.registry.latency import KEPT, Latency
from aetherra.registry.messages import Message, Request, adapt, message_classes, reply_annotation, tag_of

_WAITS = frozenset({"GET_AWAITABLE", "SEND", "YIELD_VALUE", "YIELD_FROM"})
"""Operations of which a coroutine function has at least one if it can wait for anything."""
Answer = Callable[[Any], Awaitable[Message | None]] | Callable[[Any], Message | None]
"""What stands behind a route: a request in, its reply out, at once or awaited."""


class RouteStatistics(msgspec.Struct, frozen=True):
    """A snapshot of one route.

    Attributes:
        tag: What it answers.
        provider: Who does.
        calls: Calls that reached the handler.
        errors: How many of them had no reply: the handler raised, took too long, or returned the wrong type.
        refusals: How many of the errors say that the request was its sender's mistake (`is_refusal`).
        cancelled: How many were left by their callers before they ended.
        in_hand: How many are not finished.
        waiting: How many of those wait for the handler's concurrency limit.
        latency: Seconds that the last ones took, whether or not they brought a reply.
    """

    tag: str
    provider: Identity
    calls: int
    errors: int
    in_hand: int
    waiting: int = 0
    latency: Latency = Latency()
    cancelled: int = 0
    refusals: int = 0


class Route:
    """One tag, answered by one provider's handler for one request class.

    Args:
        request_type: What the handler takes.
        answer: The handler, awaited if what it returns can be.
        provider: Whose it is.
        replies: What it may return, where the request does not say.
        gate: Bounds its concurrency; ``None`` for no bound.
        fallback: Whether it answers only while nobody else does.

    ``inline`` says whether the handler is a plain function, ``is_past`` whether a routing counts it with what is past.
    """

    __slots__ = (
        "_idle",
        "answer",
        "calls",
        "cancelled",
        "durations",
        "errors",
        "fallback",
        "gate",
        "in_hand",
        "inline",
        "is_past",
        "leaf",
        "provider",
        "refusals",
        "replies",
        "request_type",
        "settle",
        "tag",
        "timeouts",
    )

    def __init__(
        self,
        request_type: type[Request[Any]],
        answer: Answer,
        provider: Identity,
        replies: tuple[type, ...] = (),
        *,
        gate: Gate | None = None,
        fallback: bool = False,
    ) -> None:
        self.tag = tag_of(request_type)
        self.request_type = request_type
        self.replies = message_classes(reply_annotation(request_type)) or replies
        self.provider = provider
        self.answer = answer
        self.gate = gate
        self.fallback = fallback
        self.calls = self.errors = self.refusals = self.timeouts = self.cancelled = 0
        self.durations: deque[float] = deque(maxlen=KEPT)
        self.in_hand: set[Call] = set()
        self.settle: Callable[[], None] = _nothing
        self.inline = not inspect.iscoroutinefunction(answer)
        self.leaf: bool | None = None
        self.is_past = False
        self._idle: anyio.Event | None = None

    def is_leaf(self) -> bool:
        """Whether the handler never waits: a plain function, or a coroutine function without an ``await``.

        Looked up when first asked for; a plain function whose result has to be awaited is found out when it is called.
        """
        if self.leaf is None:
            self.leaf = self.inline or _never_waits(self.answer)
        return self.leaf

    def check(self, reply: Any) -> Any:
        """Return what the handler returned, as one of its reply's classes.

        Raises:
            ReplyTypeError: It is something else.
        """
        try:
            return adapt(reply, self.replies)
        except MessageValidationError as exc:
            wanted = " or ".join(repr(reply_type.__name__) for reply_type in self.replies)
            misfit = f" ({exc.problem})" if exc.__cause__ is not None else ""  # the right tag, with other fields
            got = f"{type(reply).__name__!r}{misfit}"
            raise ReplyTypeError(self.provider.name, self.tag, wanted, got) from exc

    def take(self, call: Call) -> None:
        """Have a call in hand."""
        self.in_hand.add(call)

    def give_back(self, call: Call) -> None:
        """Have a call in hand no more."""
        self.in_hand.discard(call)
        if self._idle is not None and not self.in_hand:
            self._idle.set()
            self._idle = None

    async def wait_idle(self) -> None:
        """Return when no call is in hand."""
        self.settle()
        while self.in_hand:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
            self.settle()

    def statistics(self) -> RouteStatistics:
        """Return a snapshot."""
        self.settle()
        return RouteStatistics(
            self.tag,
            self.provider,
            self.calls,
            self.errors,
            len(self.in_hand),
            0 if self.gate is None else self.gate.waiting,
            Latency.of(self.durations),
            self.cancelled,
            self.refusals,
        )


def _never_waits(function: Any) -> bool:
    """Whether a coroutine function has no place to wait at."""
    function = getattr(function, "__func__", function)
    return inspect.isfunction(function) and not any(step.opname in _WAITS for step in dis.get_instructions(function))


def _nothing() -> None:
    """No call can be fresh on a route that no bus has."""
