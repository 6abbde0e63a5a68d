"""A caller: what one identity says to others, each act under its capabilities and inside the call it is made for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, NoReturn, TypeVar, cast, overload

import msgspec

from aetherra.registry.call import (
    CURRENT,
    IN_A_SCOPE,
    MAX_DEPTH,
    OVER,
    Call,
    Suspension,
    current_call,
    leaf_call,
    suspendable_call,
)
from aetherra.registry.capabilities import Verb
from aetherra.registry.errors import (
    CallDepthError,
    CallTimeoutError,
    CapabilityError,
    EventTimeoutError,
    HandlerBusyError,
    HandlerError,
    MessageDefinitionError,
    MessageValidationError,
    ReplyTypeError,
    ServiceQuiescedError,
    ServiceStoppedError,
    fault_in,
)
from aetherra.registry.identity import Identity
from aetherra.registry.line import CallLine
from aetherra.registry.mailbox import Overflow
from aetherra.registry.medium import Medium
from aetherra.registry.messages import (
    Message,
    Request,
    adapt,
    from_builtins,
    from_json,
    tag_of,
    to_builtins,
    to_json,
)
from aetherra.registry.route import Answer, Route
from aetherra.registry.subscription import Subscription, subscription_pattern

ReplyT = TypeVar("ReplyT")
EventT = TypeVar("EventT", bound=Message)
_DEEPEST = MAX_DEPTH - 1
_WISHES = (KeyboardInterrupt, GeneratorExit)
"""To end the process, or the coroutine."""


class Caller:
    """Calls, publishes and listens in the name of one identity.

    Args:
        bus: What it speaks on.
        identity: Who speaks.
    """

    def __init__(self, bus: Medium, identity: Identity) -> None:
        self.identity = identity
        self._bus = bus
        self._deadlines = bus.deadlines
        self._monotonic: Callable[[], float] = bus.clock.monotonic
        self._lines: dict[type, CallLine] = {}
        self._foreign: dict[type, CallLine] = {}
        self._routes: dict[str, Route] = {}
        self._may_publish: set[type[Message]] = set()
        bus.forget_lines_of(self)

    def forget_lines(self) -> None:
        """Find each way anew, as routes or grants have changed."""
        self._lines.clear()
        self._foreign.clear()
        self._routes.clear()
        self._may_publish.clear()

    # Calls

    async def call(  # noqa: C901  # one function, as a second costs as much as the handler that it calls
        self, request: Request[ReplyT], *, timeout: float | None = None
    ) -> ReplyT:
        """Send a request to the one handler of its tag and return the reply.

        The handler runs in this task: a cancelled call cancels it. The request is passed by reference to a
        handler of the same class, else converted and validated. A call made by a handler has what is left of
        the time of the call it is made for, never more.

        Args:
            request: Any request with a tag.
            timeout: Seconds for everything, waiting for a swap or for the handler's limit included; ``None`` means
                the host's default.

        Raises:
            NoHandlerError: Nothing answers this tag; ``ServiceUnavailableError`` if its plugin does not serve now.
            CapabilityError: No grant covers it, and the profile refuses what none does.
            CallTimeoutError: No reply in time; the handler was cancelled.
            CallDepthError: Too many calls are inside one another.
            HandlerBusyError: The handler's limit is reached and its queue is full.
            HandlerError: The handler raised; ``__cause__`` is what.
            MessageValidationError: The handler's class of the request has other fields; the handler saw nothing.
            ReplyTypeError: The handler returned the wrong type.
            ServiceStoppedError: The plugin was stopped while it answered.
        """
        monotonic = self._monotonic
        started = monotonic()
        bus = self._bus
        deadline = started + (bus.default_timeout if timeout is None else timeout)
        parent = CURRENT.get()
        if parent is not None and parent.task is None:
            parent = None
        if parent is not None:
            if parent.deadline < deadline:
                deadline = parent.deadline
            if parent.depth >= _DEEPEST:
                self._refuse_depth(parent, tag_of(type(request)))
        line = self._lines.get(type(request))
        if line is None or not deadline > started:  # as NaN is not, either
            line, request = await self._find(request, started, deadline, parent)
        route = line.route
        answer = line.answer
        route.calls += 1
        reply: Any
        if line.leaf:
            bus.leaf = leaf = (line, started, deadline, parent)
            try:
                reply = answer(request) if line.inline else await answer(request)
            except BaseException as exc:  # noqa: BLE001  # it is raised again, by its right name
                self._fail(leaf_call(bus), exc)
            replied = type(reply) is line.reply or not inspect.isawaitable(reply)
            if replied:
                elapsed = monotonic() - started
                line.durations.append(elapsed)
                if elapsed > line.slow:
                    bus.call_ended(leaf_call(bus), elapsed, None)
            if bus.leaf is not leaf:
                bus.leaf.task, bus.leaf.line = None, OVER
            bus.leaf = None
            if replied:
                if type(reply) is not line.reply:
                    reply = self._read_reply(line, reply)
                return reply  # type: ignore[no-any-return]
            line.leaf = line.plain = route.leaf = False  # a plain function around a coroutine function
            answer = partial(_same, reply)

        depth = 0 if parent is None else parent.depth + 1
        deadlines = self._deadlines
        current = deadlines.current
        task = current(deadlines.loop)
        if task is None:
            call = Call(line, deadline, started, parent, depth, IN_A_SCOPE)
            CURRENT.set(call)
        else:
            scope = deadlines.state.cancel_scope if task is deadlines.seen else deadlines.scope_of(task)
            call = Call(line, deadline, started, parent, depth, task, scope, deadlines.top)
            CURRENT.set(call)
            deadlines.top = call
            if not deadlines.scheduled:
                deadlines.schedule()
        try:
            if line.plain and task is not None:
                reply = await answer(request)
            else:
                reply = await self._answer_with_care(call, answer, request)
        except BaseException as exc:  # noqa: BLE001  # it is raised again, by its right name
            self._fail(call, exc)
        if call.suspension is None and deadlines.top is call:
            deadlines.top = call.below
        elif task is not None:
            deadlines.leave(call)
        elapsed = monotonic() - started
        line.durations.append(elapsed)
        if elapsed > line.slow:
            bus.call_ended(call, elapsed, None)
        call.task = None
        call.line = OVER
        CURRENT.set(parent)
        if type(reply) is not line.reply:
            reply = self._read_reply(line, reply)
        return reply  # type: ignore[no-any-return]

    def _refuse_depth(self, parent: Call, tag: str) -> NoReturn:
        error = CallDepthError((*parent.chain, tag))
        self._bus.count_refused(self.identity, tag, error)
        raise error

    async def _find(
        self, request: Request[Any], now: float, deadline: float, parent: Call | None
    ) -> tuple[CallLine, Request[Any]]:
        """Return the line of a request, and the request as its handler takes it; waits while its tag is parked."""
        request_type = type(request)
        tag = tag_of(request_type)
        if not issubclass(request_type, Request):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise MessageDefinitionError(f"{tag!r} is an event, to be published; requests are called and submitted")
        try:
            await self._wait_parked(tag, now, deadline, parent)
            line = self._lines.get(request_type) or self._foreign.get(request_type)
            if line is None:
                line = self._bus.line(self._open(tag), request_type, self.identity)
                (self._foreign if line.foreign else self._lines)[request_type] = line
            if line.foreign:
                return line.enter(request)
        except Exception as exc:
            self._bus.count_refused(self.identity, tag, exc)
            raise
        return line, request

    def _open(self, tag: str) -> Route:
        """Return the route of a tag that this identity may call; decided once, until routes change."""
        route = self._routes.get(tag)
        if route is None:
            self._deadlines.attach()
            self._bus.thread = get_ident()  # a bus may be made in another thread than it is used in
            self._bus.capabilities.check(self.identity, "call", tag)  # whoever asks tells of a refusal, once
            self._routes[tag] = route = self._bus.routing.find(tag)
        return route

    async def _wait_parked(self, tag: str, now: float, deadline: float, parent: Call | None) -> bool:
        """Return when calls of a tag may go on, if there is still time for one, and whether they had to wait."""
        chain = (tag,) if parent is None else (*parent.chain, tag)
        seconds = deadline - now
        if not seconds > 0:
            raise CallTimeoutError(tag, seconds, "no time was left, it was not begun", chain)
        if self._bus.routing.parking(tag) is None:
            return False
        with self._bus.clock.move_on_after(seconds):
            while (parking := self._bus.routing.parking(tag)) is not None:
                await parking.wait(tag)
            return True
        raise ServiceQuiescedError(tag, seconds, "its plugin is being swapped", chain)

    async def _answer_with_care(self, call: Call, answer: Answer, request: Request[Any]) -> Any:
        """Have a request answered where more is to be done than to await the handler."""
        if call.task is not IN_A_SCOPE:
            return await self._answer(call, answer, request)
        call.suspension = Suspension()
        with self._bus.clock.move_on_after(call.deadline - self._monotonic()) as call.scope:
            call.line.route.take(call)
            try:
                return await self._answer(call, answer, request)
            finally:
                call.line.route.give_back(call)
        call.suspension.ending = call.suspension.ending or "late"
        raise _EndedError

    async def _answer(self, call: Call, answer: Answer, request: Request[Any]) -> Any:
        observer, gate = self._bus.observer, call.line.route.gate
        if observer is not None:
            observer.before_call(call, request)
        if gate is not None:
            try:
                await gate.enter()
            except HandlerBusyError as exc:
                raise _RefusedError from exc
        try:
            reply = answer(request)
            return await reply if inspect.isawaitable(reply) else reply
        finally:
            if gate is not None and not gate.kept:
                gate.leave()

    def _read_reply(self, line: CallLine, reply: Any) -> Any:
        """Return a reply as the caller's request names it."""
        try:
            reply = line.route.check(reply)
            return adapt(reply, line.replies) if line.foreign else reply
        except (ReplyTypeError, MessageValidationError) as exc:
            line.count_error(exc)
            raise

    def _fail(self, call: Call, exc: BaseException) -> NoReturn:
        """Raise what a call ended with, by the name that its caller knows."""
        fault = fault_in(exc)  # asked first, as the task still counts as cancelled
        if call.task is IN_A_SCOPE:
            self._bus.leaf = None
            ended = isinstance(exc, _EndedError)
        else:
            ended = self._deadlines.leave(call) and fault is None and not isinstance(exc, _WISHES)
        error = exc.__cause__ if isinstance(exc, _RefusedError) else self._error(call, fault, ended=ended)
        elapsed = self._monotonic() - call.started
        line = cast("CallLine", call.line)
        if isinstance(exc, _RefusedError) and isinstance(error, Exception):
            line.count_turned_away()
            self._bus.count_refused(self.identity, call.tag, error)
        elif error is not None:
            line.count_error(fault if fault is not None and isinstance(error, HandlerError) else error)
            line.durations.append(elapsed)
        else:
            line.route.cancelled += 1
            if call.parent is not None and call.parent.suspension is not None:
                call.parent.suspension.trail = (call.tag, *_trail(call))
        if elapsed > line.slow:
            self._bus.call_ended(call, elapsed, error or exc)
        call.task, call.line = None, OVER
        CURRENT.set(call.parent)
        if error is None or error is exc:
            raise exc
        raise error from (fault if isinstance(error, HandlerError) else None)

    def _error(self, call: Call, fault: BaseException | None, *, ended: bool) -> BaseException | None:
        """Return the error that a call ended with; ``None`` for a cancellation from outside or a wish to end all."""
        route, suspension = call.line.route, call.suspension
        if ended and suspension is not None:
            if suspension.ending == "stopped":
                return ServiceStoppedError(route.tag, str(route.provider))
            route.timeouts += 1
            state = f"{route.provider} was still at work, which is given up"
            return CallTimeoutError(route.tag, call.deadline - call.started, state, (*call.chain, *_trail(call)))
        if fault is None or isinstance(fault, CallDepthError):
            return fault
        return HandlerError.of(route.provider, route.tag, fault)

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name with builtins and return builtins, as from JSON.

        The reply carries its tag under ``"$tag"`` only where the request can be answered by several types.

        Raises:
            MessageValidationError: ``body`` does not fit the request; the text holds the path of the field.
            Exception: Whatever ``call`` raises.
        """
        route, request, seconds = await self._read(tag, from_builtins, {} if body is None else body, timeout)
        return to_builtins(await self.call(request, timeout=seconds), tagged=len(route.replies) > 1)

    async def call_json(
        self, tag: str, body: bytes | msgspec.Raw, *, timeout: float | None = None, tagged: bool = False
    ) -> bytes:
        """Call by name with JSON and return JSON, with its tag if ``tagged``; otherwise as ``call_tag``."""
        route, request, seconds = await self._read(tag, from_json, body, timeout)
        return to_json(await self.call(request, timeout=seconds), tagged=tagged or len(route.replies) > 1)

    async def _read(
        self, tag: str, read: Callable[[Any, type[Request[Any]]], Request[Any]], body: Any, timeout: float | None
    ) -> tuple[Route, Request[Any], float]:
        """Return the route of a tag, the request that a body stands for, and the seconds that are left for it."""
        seconds = self._bus.default_timeout if timeout is None else timeout
        try:
            route = self._routes.get(tag)
            if route is None or not seconds > 0:
                now, parent = self._monotonic(), suspendable_call()
                deadline = now + seconds if parent is None else min(now + seconds, parent.deadline)
                if await self._wait_parked(tag, now, deadline, parent):
                    seconds = deadline - self._monotonic()
                route = self._open(tag)
            return route, read(body, route.request_type), seconds
        except Exception as exc:
            self._bus.count_refused(self.identity, tag, exc)
            raise

    # Events

    async def publish(self, event: Message, *, retain: bool = False) -> int:
        """Put an event in the mailbox of each subscriber and return how many kept it.

        All with room have it at once. Then a full one gives its reader one turn of the event loop before anything is
        dropped, and one that asked to ``block`` its publishers is waited for; cancelled meanwhile, the full ones go
        without. Events of one publisher keep their order.

        Args:
            event: Any event with a tag.
            retain: Whether later subscribers get it too, until the next of its tag that is retained.

        Raises:
            CapabilityError: No grant covers it, and the profile refuses what none does.
        """
        if type(event) not in self._may_publish:
            self._check_publish(event)
        bus = self._bus
        kept, late = bus.topics.deliver(event, self.identity, suspendable_call(), retain=retain)
        if late is not None:
            topic, letter, full = late
            kept += await topic.deliver_late(letter, full)
        if bus.observer is not None:
            bus.observer.event_published(event, self.identity, kept)
        return kept

    def publish_nowait(self, event: Message, *, retain: bool = False) -> int:
        """Publish without waiting: a full mailbox that would block drops the event and counts it."""
        if type(event) not in self._may_publish:
            self._check_publish(event)
        kept = self._bus.topics.deliver_nowait(event, self.identity, current_call(), retain=retain)
        if self._bus.observer is not None:
            self._bus.observer.event_published(event, self.identity, kept)
        return kept

    def _check_publish(self, event: Message) -> None:
        self.check("publish", tag_of(type(event)))
        self._may_publish.add(type(event))

    @overload
    def listen(
        self, what: type[EventT], *, capacity: int = ..., overflow: Overflow = ..., attach: bool = ...
    ) -> Subscription[EventT]: ...
    @overload
    def listen(
        self, what: str, *, capacity: int = ..., overflow: Overflow = ..., attach: bool = ...
    ) -> Subscription[Message]: ...
    def listen(
        self, what: Any, *, capacity: int = 1000, overflow: Overflow = "drop_oldest", attach: bool = True
    ) -> Subscription[Any]:
        """Listen to a message class, a tag, or a pattern of tags such as ``"homeostasis.*"``.

        Args:
            what: A class hears its tag and converts; a text hears the events as they were published.
            capacity: Events that may wait.
            overflow: What happens to the next one when that many do.
            attach: ``False`` makes a subscription that hears nothing until ``attach()``.

        Raises:
            CapabilityError: No grant covers it, and the profile refuses what none does.
        """
        pattern, event_type = subscription_pattern(what)
        self.check("subscribe", pattern)
        subscription = Subscription[Any](self._bus.topics, pattern, event_type, capacity, overflow)
        if attach:
            subscription.attach()
        return subscription

    async def wait_for(
        self, what: type[EventT], *, where: Callable[[EventT], bool] | None = None, timeout: float | None = None
    ) -> EventT:
        """Return the next event of a class for which ``where`` holds; a retained one counts.

        Args:
            what: The class.
            where: What must be true of it; a ``where`` that raises ends the wait.
            timeout: Seconds; ``None`` means the host's default.

        Raises:
            EventTimeoutError: There was none in time.
        """
        seconds = self._bus.default_timeout if timeout is None else timeout
        with self.listen(what) as events, self._bus.clock.move_on_after(seconds):
            async for event in events:
                if where is None or where(event):
                    return event
        raise EventTimeoutError(tag_of(what), seconds, "none came that was waited for")

    def check(self, verb: Verb, tag: str) -> None:
        """Pass an act of this identity, log it, or refuse it, as the grants and the profile say.

        Raises:
            CapabilityError: It is refused; says which grant is missing.
        """
        try:
            self._bus.capabilities.check(self.identity, verb, tag)
        except CapabilityError as exc:
            if self._bus.observer is not None:
                self._bus.observer.act_refused(self.identity, tag, exc)
            raise


class _EndedError(Exception):
    """The scope around a call has cancelled it."""


class _RefusedError(Exception):
    """The gate before a handler let a call not even wait; the cause is what its caller is told."""


def _trail(call: Call) -> tuple[str, ...]:
    return () if call.suspension is None else call.suspension.trail


def _same(thing: Any, _: object) -> Any:
    return thing
