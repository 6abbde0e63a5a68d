"""A route: the one handler that answers a tag, with what is in its hands and how it fared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec

from aetherra.registry.errors import HandlerError, MessageValidationError, ReplyTypeError, fault_in
from aetherra.registry.identity import Identity
from aetherra.registry.messages import Message, Request, adapt, message_classes, reply_annotation, tag_of

Answer = Callable[[Any], Awaitable[Message | None]]
"""What stands behind a route: a request in, its reply out."""


class RouteStatistics(msgspec.Struct, frozen=True):
    """A snapshot of one route.

    Attributes:
        tag: What it answers.
        provider: Who does.
        calls: Calls that reached the handler.
        errors: How many of them had no reply: the handler raised, took too long, or returned the wrong type.
        in_hand: How many are not finished.
    """

    tag: str
    provider: Identity
    calls: int
    errors: int
    in_hand: int


class Route:
    """One tag, answered by one provider's handler for one request class."""

    __slots__ = (
        "_answer",
        "_idle",
        "_scopes",
        "calls",
        "errors",
        "provider",
        "replies",
        "request_type",
        "stopped",
        "tag",
    )

    def __init__(
        self, request_type: type[Request[Any]], answer: Answer, provider: Identity, replies: tuple[type, ...] = ()
    ) -> None:
        self.tag = tag_of(request_type)
        self.request_type = request_type
        self.replies = message_classes(reply_annotation(request_type)) or replies
        self.provider = provider
        self.calls = 0
        self.errors = 0
        self.stopped = False
        self._answer = answer
        self._scopes: set[anyio.CancelScope] = set()
        self._idle: anyio.Event | None = None

    async def call(self, request: Request[Any], scope: anyio.CancelScope) -> Any:
        """Answer one request; ``scope`` is the caller's, to be cancelled if the provider must stop.

        Raises:
            MessageValidationError: The handler's class of the request has other fields; the handler saw nothing.
            HandlerError: The handler raised, ``SystemExit`` included; ``__cause__`` is what.
            ReplyTypeError: It returned something other than the request's reply.
        """
        own_request = adapt(request, (self.request_type,))
        self.calls += 1
        self._scopes.add(scope)
        try:
            reply = await self._answer(own_request)
        except BaseException as exc:
            fault = fault_in(exc)
            if fault is None:
                raise
            self.errors += 1
            raise HandlerError.of(self.provider, self.tag, fault) from fault
        finally:
            self._scopes.discard(scope)
            if self._idle is not None and not self._scopes:
                self._idle.set()
                self._idle = None
        return self._checked(reply)

    def _checked(self, reply: Message | None) -> Any:
        try:
            return adapt(reply, self.replies)
        except MessageValidationError as exc:
            self.errors += 1
            wanted = " or ".join(repr(reply_type.__name__) for reply_type in self.replies)
            misfit = f" ({exc.problem})" if exc.__cause__ is not None else ""  # the right tag, with other fields
            got = f"{type(reply).__name__!r}{misfit}"
            raise ReplyTypeError(self.provider.name, self.tag, wanted, got) from exc

    async def wait_idle(self) -> None:
        """Return when no call is in hand."""
        while self._scopes:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()

    def abandon(self) -> int:
        """Cancel the calls in hand and return how many; their callers get ``ServiceStoppedError``."""
        self.stopped = True
        for scope in self._scopes:
            scope.cancel()
        return len(self._scopes)

    def statistics(self) -> RouteStatistics:
        """Return a snapshot."""
        return RouteStatistics(self.tag, self.provider, self.calls, self.errors, len(self._scopes))
