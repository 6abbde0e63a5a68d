"""The bus: calls to the one who answers, events to all who listen. It owns no worker and no task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from math import inf
from threading import get_ident
from typing import Any, TypeVar, overload
from weakref import WeakSet

import msgspec

from aetherra.registry.call import IN_A_SCOPE, Call, add_bus
from aetherra.registry.caller import Caller
from aetherra.registry.capabilities import Capabilities
from aetherra.registry.clock import Clock, SystemClock
from aetherra.registry.deadlines import Deadlines
from aetherra.registry.errors import (
    AetherraError,
    CallTimeoutError,
    CapabilityError,
    MessageValidationError,
    NoHandlerError,
    ServiceUnavailableError,
)
from aetherra.registry.identity import HOST, Identity
from aetherra.registry.line import CallLine
from aetherra.registry.mailbox import Overflow
from aetherra.registry.medium import Forgetful
from aetherra.registry.messages import Message, Request
from aetherra.registry.observer import Observer
from aetherra.registry.route import Route, RouteStatistics
from aetherra.registry.routing import Absence, Routing
from aetherra.registry.split import Split
from aetherra.registry.subscription import Subscription
from aetherra.registry.topics import Topics, TopicStatistics

log = logging.getLogger("aetherra.registry.bus")
EventT = TypeVar("EventT", bound=Message)
ReplyT = TypeVar("ReplyT")
LONGEST = 31_536_000.0
"""Seconds, a year, that no call may be given more of by default."""


class BusStatistics(msgspec.Struct, frozen=True):
    """A snapshot: totals since the bus was made, and each route and topic now.

    Of ``calls``, ``call_errors`` brought no reply; of these, ``call_refusals`` are their callers' mistakes (a tag that
    nobody answers, a body that does not fit, a grant that is missing, or what a handler refused: `is_refusal`), and
    ``timeouts`` took too long. ``refused`` are acts of any kind that no grant covered, ``ungranted`` kinds of such acts
    that the profile lets pass; ``slow`` are calls that took longer than the slow-call threshold.
    """

    calls: int
    call_errors: int
    call_refusals: int
    timeouts: int
    refused: int
    ungranted: int
    slow: int
    published: int
    delivered: int
    dropped: int
    subscriptions: int
    routes: tuple[RouteStatistics, ...]
    topics: tuple[TopicStatistics, ...]


class Bus:
    """Where callers, routes and subscriptions meet. Its own methods speak as the host.

    Args:
        clock: Where timeouts come from.
        default_timeout: Seconds that a call may take when its caller names none; no call waits for ever.
        capabilities: Who may do what; by default everyone everything.
        slow_call: Seconds from which on a call is logged as slow.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        default_timeout: float = 30.0,
        capabilities: Capabilities | None = None,
        slow_call: float = inf,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.default_timeout = default_timeout
        self.capabilities = capabilities or Capabilities()
        self.slow_call = slow_call
        self.deadlines = Deadlines(self.clock)
        self.routing = Routing(self.deadlines.settle, self._forget_lines)
        self.topics = Topics()
        self._callers: WeakSet[Forgetful] = WeakSet()
        self.observer: Observer | None = None
        self._unanswered = self._mistakes = self._timeouts = self._slow = 0
        self.leaf: Any = None
        self.thread = get_ident()
        self._host = Caller(self, HOST)
        add_bus(self)

    def set_default_timeout(self, seconds: float) -> None:
        """Let calls and actions that name no timeout have another one from now on; what was begun keeps its own.

        Raises:
            TypeError, ValueError: It is no number of seconds, not more than 0, or more than a year.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(f"expected default_timeout in seconds, got {seconds!r}")
        if not 0 < seconds <= LONGEST:
            wanted = f"more than 0 seconds, {LONGEST:,.0f} (a year) at most"
            raise ValueError(f"expected default_timeout to be {wanted}, got {seconds!r}")
        self.default_timeout = float(seconds)

    def caller(self, identity: Identity) -> Caller:
        """Return what an identity calls, publishes and listens through."""
        return Caller(self, identity)

    def observe(self, observer: Observer | None) -> None:
        """Tell an observer of all that passes from now on, or, with ``None``, nobody."""
        self.observer = observer
        self._forget_lines()

    def forget_lines_of(self, caller: Forgetful) -> None:
        """Tell a caller whenever routes, grants or watchers change, for as long as it lives."""
        self._callers.add(caller)

    def _forget_lines(self) -> None:
        for caller in self._callers:
            caller.forget_lines()

    # As the host

    async def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> ReplyT:
        """Call as the host; see ``Caller.call``."""
        return await self._host.call(request, timeout=timeout)

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name as the host; see ``Caller.call_tag``."""
        return await self._host.call_tag(tag, body, timeout=timeout)

    async def publish(self, event: Message, *, retain: bool = False) -> int:
        """Publish as the host; see ``Caller.publish``."""
        return await self._host.publish(event, retain=retain)

    def publish_nowait(self, event: Message, *, retain: bool = False) -> int:
        """Publish as the host without waiting; see ``Caller.publish_nowait``."""
        return self._host.publish_nowait(event, retain=retain)

    @overload
    def subscribe(
        self, what: type[EventT], *, capacity: int = ..., overflow: Overflow = ..., attach: bool = ...
    ) -> Subscription[EventT]: ...
    @overload
    def subscribe(
        self, what: str, *, capacity: int = ..., overflow: Overflow = ..., attach: bool = ...
    ) -> Subscription[Message]: ...
    def subscribe(
        self, what: Any, *, capacity: int = 1000, overflow: Overflow = "drop_oldest", attach: bool = True
    ) -> Subscription[Any]:
        """Listen as the host; see ``Caller.listen``."""
        return self._host.listen(what, capacity=capacity, overflow=overflow, attach=attach)

    async def wait_for(
        self, what: type[EventT], *, where: Callable[[EventT], bool] | None = None, timeout: float | None = None
    ) -> EventT:
        """Wait for an event as the host; see ``Caller.wait_for``."""
        return await self._host.wait_for(what, where=where, timeout=timeout)

    # Routes

    def request_type(self, tag: str) -> type[Request[Any]]:
        """Return the class of request that a tag's handler takes today.

        Raises:
            NoHandlerError: Nothing answers this tag; ``ServiceUnavailableError`` if its plugin does not serve now.
        """
        return self.routing.find(tag).request_type

    def route(self, tag: str) -> Route | None:
        """Return the route of a tag, ``None`` if nothing answers it."""
        return self.routing.get(tag)

    def routes(self) -> list[Route]:
        """Return the routes there are, by tag."""
        return self.routing.all()

    def add_routes(self, routes: Iterable[Route], *, replacing: Iterable[Route] = ()) -> None:
        """Answer these tags from now on, in one step: all of them, or none; see ``Routing.add``."""
        self.routing.add(routes, replacing=replacing)

    def remove_routes(self, routes: Iterable[Route], *, reason: str = "") -> None:
        """Answer these no more; ``reason`` is told to whoever calls their tags later."""
        self.routing.remove(routes, reason=reason)

    def split(self, split: Split) -> None:
        """Have calls go to one side of a split or the other; see ``Routing.split``."""
        self.routing.split(split)

    def unsplit(self, split: Split) -> None:
        """Have all calls go to the control's side; see ``Routing.unsplit``."""
        self.routing.unsplit(split)

    def say_absent(self, tags: Iterable[str], absence: Absence | None) -> None:
        """Say why tags are not answered, while nobody does; see ``Routing.say_absent``."""
        self.routing.say_absent(tags, absence)

    def parked(self, tags: Iterable[str]) -> AbstractContextManager[None]:
        """Hold new calls to these tags back, each within its own deadline, until the body is left."""
        return self.routing.parked(tags)

    def abandon(self, route: Route) -> int:
        """Cancel the calls that a route has in hand and return how many; their callers get ``ServiceStoppedError``."""
        self.deadlines.settle()
        calls = list(route.in_hand)
        for call in calls:
            self._stop(call)
        return len(calls)

    def cancel_within(self, call: Call | None) -> None:
        """Cancel the calls that were made for another and are in hand; that one gets ``ServiceStoppedError``."""
        for route in self.routing.with_work():
            for inner in [inner for inner in route.in_hand if inner.parent is call]:
                self._stop(inner)

    def _stop(self, call: Call) -> None:
        if call.task is not IN_A_SCOPE:
            self.deadlines.cancel(call, "stopped")
        elif call.suspension is not None:
            call.suspension.ending = call.suspension.ending or "stopped"
            call.scope.cancel()

    def line(self, route: Route, request_type: type[Request[Any]], caller: Identity) -> CallLine:
        """Return the line of a caller's class of request to a route, as things are now."""
        observed, split = self.observer is not None, self.routing.split_of(route)
        make = CallLine if split is None else split.fork
        return make(route, request_type, caller, observed=observed, slow=self.slow_call)

    # Insight

    def call_ended(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """Look at a call that was slow, or that is observed."""
        if seconds > self.slow_call:
            self._slow += 1
            log.warning(
                "a call of %r by %s took %.3f s; %s %s, in conversation %s",
                call.tag, call.caller, seconds, call.line.route.provider, _ended(error), call.trace_id,
            )  # fmt: skip
        if self.observer is not None:
            self.observer.after_call(call, seconds, error)

    def count_refused(self, who: Identity, tag: str, error: Exception) -> None:
        """Count a call that reached no handler."""
        self._unanswered += 1
        self._timeouts += isinstance(error, CallTimeoutError)
        mistakes = (NoHandlerError, MessageValidationError, CapabilityError)
        self._mistakes += isinstance(error, mistakes) and not isinstance(error, ServiceUnavailableError)
        if self.observer is not None:
            self.observer.act_refused(who, tag, error)

    def statistics(self, *, detail: bool = True) -> BusStatistics:
        """Return a snapshot; without ``detail`` it has no routes and no topics, and costs next to nothing."""
        calls, errors, refusals, timeouts = self.routing.totals()
        topics = self.topics.statistics() if detail else ()
        published, delivered = self.topics.totals()
        return BusStatistics(
            calls=calls + self._unanswered,
            call_errors=errors + self._unanswered,
            call_refusals=refusals + self._mistakes,
            timeouts=timeouts + self._timeouts,
            refused=self.capabilities.refused,
            ungranted=self.capabilities.ungranted,
            slow=self._slow,
            published=published,
            delivered=delivered,
            dropped=self.topics.dropped,
            subscriptions=self.topics.subscriptions,
            routes=tuple(route.statistics() for route in [*self.routes(), *self.routing.beside()]) if detail else (),
            topics=topics,
        )


def _ended(error: BaseException | None) -> str:
    """Say how a slow call ended."""
    if error is None:
        return "answered"
    return "did not answer" if isinstance(error, AetherraError) else "was left by its caller"
