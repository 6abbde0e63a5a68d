"""The bus: calls to the one who answers, events to all who listen. It owns no worker and no task."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, overload

import anyio
import msgspec

from aetherra.registry.clock import Clock, SystemClock
from aetherra.registry.errors import (
    CallTimeoutError,
    MessageDefinitionError,
    MessageValidationError,
    NoHandlerError,
    ParkingFullError,
    RouteConflictError,
    ServiceStoppedError,
)
from aetherra.registry.mailbox import Mailbox, Overflow
from aetherra.registry.messages import Message, Request, adapt, from_builtins, message_classes, tag_of, to_builtins
from aetherra.registry.messages import reply_annotation as reply_annotation_of
from aetherra.registry.route import Route, RouteStatistics

EventT_co = TypeVar("EventT_co", bound=Message, covariant=True)
ReplyT = TypeVar("ReplyT")
PARKING_LIMIT = 1000
"""Calls that may wait, per parking, for a plugin that is being swapped."""


class BusStatistics(msgspec.Struct, frozen=True):
    """A snapshot: totals since the bus was made, and each route now.

    Of ``calls``, ``call_errors`` brought no reply; of these, ``call_refusals`` are their callers' mistakes, a tag that
    nobody answers or a body that does not fit, and ``timeouts`` took too long.
    """

    calls: int
    call_errors: int
    call_refusals: int
    timeouts: int
    published: int
    delivered: int
    dropped: int
    subscriptions: int
    routes: tuple[RouteStatistics, ...]


class Subscription(Generic[EventT_co]):
    """Events of one type, or of tags that match a pattern, in a bounded mailbox.

    An async iterator and a context manager; leaving it unsubscribes. Events of one publisher arrive in
    the order in which they were published. One that cannot be read as the wanted type is dropped and
    counted in ``unreadable``.
    """

    def __init__(
        self, bus: Bus, pattern: str, event_type: type[EventT_co] | None, capacity: int, overflow: Overflow
    ) -> None:
        self.pattern = pattern
        self.event_type = event_type
        self.unreadable = 0
        self.mailbox: Mailbox[Message] = Mailbox(capacity, overflow)
        self._bus = bus

    def attach(self) -> None:
        """Begin to hear events; a subscription made by ``Bus.subscribe`` already does."""
        self._bus.attach(self)

    def close(self) -> None:
        """Hear no more; events already in the mailbox can still be read. Twice does no harm."""
        self._bus.detach(self)
        self.mailbox.close()

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
        while True:
            try:
                event = await self.mailbox.get()
            except anyio.EndOfStream:
                raise StopAsyncIteration from None
            if self.event_type is None:
                return cast("EventT_co", event)
            try:
                return cast("EventT_co", adapt(event, (self.event_type,)))
            except MessageValidationError:
                self.unreadable += 1


class Bus:
    """Routes by tag.

    Args:
        clock: Where timeouts come from.
        default_timeout: Seconds that a call may take when its caller names none; no call waits for ever.
    """

    def __init__(self, *, clock: Clock | None = None, default_timeout: float = 30.0) -> None:
        self.clock: Clock = clock or SystemClock()
        self.default_timeout = default_timeout
        self._routes: dict[str, Route] = {}
        self._parked: dict[str, list[_Parking]] = {}
        self._gone: dict[str, str] = {}
        self._subscriptions: list[Subscription[Message]] = []
        self._audiences: dict[str, tuple[Subscription[Message], ...]] = {}
        self._calls = self._errors = self._refused = self._timeouts = 0
        self._published = self._delivered = self._dropped = 0

    # Calls

    async def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> ReplyT:
        """Send a request to the one handler of its tag and return the reply.

        A cancelled call cancels its handler. The request is passed by reference to a handler of the same
        class, else converted and validated.

        Args:
            request: Any request with a tag.
            timeout: Seconds for everything, waiting for a swap included; ``None`` means the bus's default.

        Raises:
            NoHandlerError: Nothing answers this tag.
            CallTimeoutError: No reply in time; the handler was cancelled.
            HandlerError: The handler raised; ``__cause__`` is what.
            MessageValidationError: The handler's class of the request has other fields.
            ReplyTypeError: The handler returned the wrong type.
            ServiceStoppedError: The plugin was stopped while it answered.
        """
        request_type = type(request)

        def translate(route: Route, reply: Any) -> Any:
            if route.request_type is request_type:
                return reply
            return adapt(reply, message_classes(reply_annotation_of(request_type)))

        return cast("ReplyT", await self._call(tag_of(request_type), lambda _: request, translate, timeout))

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name with builtins and return builtins, as from JSON.

        The reply carries its tag under ``"$tag"`` only where the request can be answered by several types.

        Raises:
            MessageValidationError: ``body`` does not fit the request; the text holds the path of the field.
            Exception: Whatever ``call`` raises.
        """
        return await self._call(
            tag,
            lambda route: from_builtins({} if body is None else body, route.request_type),
            lambda route, reply: to_builtins(reply, tagged=len(route.replies) > 1),
            timeout,
        )

    async def _call(
        self,
        tag: str,
        read: Callable[[Route], Request[Any]],
        translate: Callable[[Route, Any], Any],
        timeout: float | None,
    ) -> Any:
        """Make one call, counted; ``read`` and ``translate`` come between the caller's types and the route's."""
        seconds = self.default_timeout if timeout is None else timeout
        route: Route | None = None
        self._calls += 1
        try:
            if seconds > 0:
                with self.clock.move_on_after(seconds) as scope:
                    while parkings := self._parked.get(tag):
                        await parkings[-1].wait(tag)
                    route = self._route(tag)
                    return translate(route, await route.call(read(route), scope))
        except Exception as exc:
            self._errors += 1
            self._refused += isinstance(exc, (NoHandlerError, MessageValidationError))
            raise
        self._errors += 1
        if route is not None and route.stopped:
            raise ServiceStoppedError(tag, str(route.provider))
        self._timeouts += 1
        if route is not None:
            route.errors += 1
            state = f"{route.provider} was still at work and is cancelled"
        else:
            state = "it is being swapped" if seconds > 0 else "no time was left, it was not begun"
        raise CallTimeoutError(tag, seconds, state)

    def _route(self, tag: str) -> Route:
        route = self._routes.get(tag)
        if route is None:
            raise NoHandlerError(tag, difflib.get_close_matches(tag, self._routes, n=3), self._gone.get(tag, ""))
        return route

    def request_type(self, tag: str) -> type[Request[Any]]:
        """Return the class of request that a tag's handler takes today.

        Raises:
            NoHandlerError: Nothing answers this tag.
        """
        return self._route(tag).request_type

    def route(self, tag: str) -> Route | None:
        """Return the route of a tag, ``None`` if nothing answers it."""
        return self._routes.get(tag)

    def routes(self) -> list[Route]:
        """Return the routes there are, by tag."""
        return [self._routes[tag] for tag in sorted(self._routes)]

    def add_routes(self, routes: Iterable[Route], *, replacing: Iterable[Route] = ()) -> None:
        """Answer these tags from now on, in one step: all of them, or none.

        Args:
            routes: The new ones.
            replacing: Routes to take away in the same step, as in a swap; one that answers no more is no matter.

        Raises:
            RouteConflictError: A tag is answered by a route that is not replaced.
        """
        new, old = list(routes), list(replacing)
        taken = {tag: route for tag, route in self._routes.items() if route not in old}
        for route in new:
            holder = taken.setdefault(route.tag, route)
            if holder is not route:
                raise RouteConflictError(route.tag, str(holder.provider), str(route.provider))
        for route in old:
            self.remove_routes([route], reason=f"{route.provider} was replaced by one that does not")
        for route in new:
            self._gone.pop(route.tag, None)
            self._routes[route.tag] = route

    def remove_routes(self, routes: Iterable[Route], *, reason: str = "") -> None:
        """Answer these no more; ``reason`` is told to whoever calls their tags later."""
        for route in routes:
            if self._routes.get(route.tag) is route:
                del self._routes[route.tag]
                if reason:
                    self._gone[route.tag] = reason

    @contextmanager
    def parked(self, tags: Iterable[str]) -> Generator[None]:
        """Hold new calls to these tags back, each within its own timeout, until the body is left.

        A tag that is parked twice waits for both.
        """
        names = list(tags)
        parking = _Parking()
        for tag in names:
            self._parked.setdefault(tag, []).append(parking)
        try:
            yield
        finally:
            for tag in names:
                self._parked[tag].remove(parking)
                if not self._parked[tag]:
                    del self._parked[tag]
            parking.release()

    # Events

    async def publish(self, event: Message) -> int:
        """Put an event in the mailbox of each subscriber and return how many kept it.

        Waits only for subscribers that asked to ``block`` their publishers and are full, once all others have
        the event; cancelled while it waits, the rest go without.
        """
        kept = 0
        waiting: list[Mailbox[Message]] = []
        for subscription in self._audience(event):
            mailbox = subscription.mailbox
            if mailbox.overflow == "block" and mailbox.full:
                waiting.append(mailbox)
            else:
                kept += mailbox.put_nowait(event)
        self._delivered += kept
        for mailbox in waiting:
            delivered = await mailbox.put(event)
            self._delivered += delivered
            kept += delivered
        return kept

    def publish_nowait(self, event: Message) -> int:
        """Publish without waiting: a full mailbox that would block drops the event and counts it."""
        kept = sum(subscription.mailbox.put_nowait(event) for subscription in self._audience(event))
        self._delivered += kept
        return kept

    def _audience(self, event: Message) -> tuple[Subscription[Message], ...]:
        tag = tag_of(type(event))
        audience = self._audiences.get(tag)
        if audience is None:
            if isinstance(event, Request):
                raise MessageDefinitionError(f"{tag!r} is a request, to be called or submitted; events are published")
            audience = self._audiences[tag] = tuple(sub for sub in self._subscriptions if sub.hears(tag))
        self._published += 1
        return audience

    @overload
    def subscribe(
        self, what: type[EventT_co], *, capacity: int = ..., overflow: Overflow = ..., attach: bool = ...
    ) -> Subscription[EventT_co]: ...
    @overload
    def subscribe(
        self, what: str, *, capacity: int = ..., overflow: Overflow = ..., attach: bool = ...
    ) -> Subscription[Message]: ...
    def subscribe(
        self, what: Any, *, capacity: int = 1000, overflow: Overflow = "drop_oldest", attach: bool = True
    ) -> Subscription[Any]:
        """Listen to a message class, a tag, or a pattern of tags such as ``"homeostasis.*"``.

        Args:
            what: A class hears its tag and converts; a text hears the events as they were published.
            capacity: Events that may wait.
            overflow: What happens to the next one when that many do.
            attach: ``False`` makes a subscription that hears nothing until ``attach()``.
        """
        event_type = None if isinstance(what, str) else what
        pattern = what if isinstance(what, str) else tag_of(what)
        subscription = Subscription[Any](self, pattern, event_type, capacity, overflow)
        if attach:
            subscription.attach()
        return subscription

    def attach(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear events."""
        if subscription not in self._subscriptions:
            self._subscriptions.append(subscription)
            self._audiences.clear()

    def detach(self, subscription: Subscription[Any]) -> None:
        """Let a subscription hear no more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._dropped += subscription.mailbox.dropped
            self._audiences.clear()

    def statistics(self) -> BusStatistics:
        """Return a snapshot."""
        return BusStatistics(
            calls=self._calls,
            call_errors=self._errors,
            call_refusals=self._refused,
            timeouts=self._timeouts,
            published=self._published,
            delivered=self._delivered,
            dropped=self._dropped + sum(sub.mailbox.dropped for sub in self._subscriptions),
            subscriptions=len(self._subscriptions),
            routes=tuple(route.statistics() for route in self.routes()),
        )


class _Parking:
    """Where calls wait while a plugin is swapped."""

    def __init__(self) -> None:
        self._released = anyio.Event()
        self._waiting = 0

    async def wait(self, tag: str) -> None:
        if self._waiting >= PARKING_LIMIT:
            raise ParkingFullError(tag, PARKING_LIMIT)
        self._waiting += 1
        try:
            await self._released.wait()
        finally:
            self._waiting -= 1

    def release(self) -> None:
        self._released.set()
