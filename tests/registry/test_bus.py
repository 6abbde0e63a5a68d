"""Calls and events on the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    HOST,
    AetherraError,
    Bus,
    CallTimeoutError,
    HandlerError,
    Identity,
    Message,
    MessageDefinitionError,
    MessageValidationError,
    NoHandlerError,
    ParkingFullError,
    ReplyTypeError,
    Request,
    Route,
    RouteConflictError,
    ServiceQuiescedError,
    ServiceStoppedError,
)
from aetherra.registry import (
    routing as routing_module,
)


class Greeting(Message, tag="greeter.greeting"):
    text: str


class Greet(Request[Greeting], tag="greeter.greet"):
    name: str


class Refusal(Message, tag="greeter.refusal"):
    why: str


class GreetMaybe(Request[Greeting | Refusal | None], tag="greeter.greet_maybe"):
    name: str


class Part(Request[None], tag="greeter.part"):
    pass


class NewGreeting(Message, tag="greeter.greeting"):
    text: str
    language: str = "en"


class NewGreet(Request[NewGreeting], tag="greeter.greet"):
    name: str
    language: str = "en"


class Hello(Message, tag="greeter.hello"):
    number: int


class OtherHello(Message, tag="greeter.hello"):
    number: int
    loud: bool = False


class StrictHello(Message, tag="greeter.hello"):
    number: str


class Bye(Message, tag="greeter.bye.now"):
    pass


OLD, NEW = Identity("plugin", "greeter", 1), Identity("plugin", "greeter", 2)


async def greet(request: Greet) -> Greeting:
    return Greeting(f"Hello, {request.name}")


async def hang(_: Message) -> Message:
    await anyio.sleep_forever()
    raise AssertionError


def route(
    answer: Callable[[Any], Awaitable[Any]] = greet,
    request_type: type[Request[Any]] = Greet,
    provider: Identity = OLD,
) -> Route:
    return Route(request_type, answer, provider)


def bus_with(*routes: Route) -> Bus:
    bus = Bus(clock=FakeClock())
    bus.add_routes(routes)
    return bus


class Outcome:
    """Runs a call in a task and keeps how it ended."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self.value: Any = None
        self.error: BaseException | None = None

    async def run(self) -> None:
        try:
            self.value = await self._call()
        except Exception as exc:
            self.error = exc


class TestCall:
    async def test_the_handler_answers(self) -> None:
        """A request reaches the handler of its tag, and the reply its caller."""
        assert await bus_with(route()).call(Greet("Ada")) == Greeting("Hello, Ada")

    async def test_one_class_is_passed_by_reference(self) -> None:
        """Request and reply are the very objects that were given."""
        seen: list[Greet] = []
        reply = Greeting("x")

        async def keep(request: Greet) -> Greeting:
            seen.append(request)
            return reply

        request = Greet("Ada")
        assert await bus_with(route(keep)).call(request) is reply
        assert seen[0] is request

    async def test_another_class_of_the_tag_is_converted_both_ways(self) -> None:
        """The handler gets its own class, and so does the caller."""

        async def speak(request: NewGreet) -> NewGreeting:
            assert type(request) is NewGreet
            return NewGreeting(request.name, request.language)

        reply = await bus_with(route(speak, NewGreet)).call(Greet("Ada"))
        assert (type(reply), reply.text) == (Greeting, "Ada")

    async def test_a_request_that_does_not_convert_reaches_no_handler(self) -> None:
        """The caller gets the path of the field; the handler's numbers do not know of it."""

        class OddGreet(Request[Greeting], tag="greeter.greet"):
            name: int

        answering = route()
        bus = bus_with(answering)
        with pytest.raises(MessageValidationError, match=r"\$.name"):
            await bus.call(OddGreet(5))
        assert (answering.calls, answering.errors) == (0, 0)
        assert (bus.statistics().calls, bus.statistics().call_errors) == (1, 1)

    async def test_a_reply_that_does_not_convert_is_a_counted_error(self) -> None:
        """The caller's declaration of the reply is checked."""

        class NeedsMore(Message, tag="greeter.greeting"):
            text: str
            mood: str

        class GreetForMore(Request[NeedsMore], tag="greeter.greet"):
            name: str

        bus = bus_with(route())
        with pytest.raises(MessageValidationError, match="mood"):
            await bus.call(GreetForMore("Ada"))
        assert bus.statistics().call_errors == 1

    @pytest.mark.parametrize("wrong", [Refusal("no"), None, "text"])
    async def test_a_handler_that_returns_the_wrong_type_is_told_of(self, wrong: Any) -> None:
        """The error names the plugin, the tag, what was expected and what came."""

        async def misbehave(_: Greet) -> Any:
            return wrong

        answering = route(misbehave)
        with pytest.raises(ReplyTypeError, match=f"'greeter' answered .* with {type(wrong).__name__!r}, .*'Greeting'"):
            await bus_with(answering).call(Greet("Ada"))
        assert answering.errors == 1

    async def test_a_reply_of_the_right_tag_with_the_wrong_field_says_which(self) -> None:
        """The path of the field stands in the error."""

        class Numeric(Message, tag="greeter.greeting"):
            text: int

        async def misbehave(_: Greet) -> Any:
            return Numeric(5)

        with pytest.raises(ReplyTypeError, match=r"\$.text"):
            await bus_with(route(misbehave)).call(Greet("Ada"))

    @pytest.mark.parametrize(
        "fault", [ValueError("no zone"), SystemExit(3), type("Strange", (BaseException,), {})("x")]
    )
    async def test_whatever_a_handler_raises_becomes_one_error(self, fault: BaseException) -> None:
        """An exception, an exit or something stranger harms the call alone; it is the cause."""

        async def fail(_: Greet) -> Greeting:
            raise fault

        answering = route(fail)
        with pytest.raises(HandlerError, match=type(fault).__name__) as caught:
            await bus_with(answering).call(Greet("Ada"))
        assert caught.value.__cause__ is fault
        assert (caught.value.plugin, caught.value.generation) == ("greeter", 1)
        assert (answering.calls, answering.errors, answering.statistics().in_hand) == (1, 1, 0)

    async def test_a_validation_error_raised_by_the_handler_is_its_fault(self) -> None:
        """Only a request that really did not fit is the caller's mistake."""

        async def fail(_: Greet) -> Greeting:
            raise MessageValidationError("greeter.greet", "mine")

        with pytest.raises(HandlerError):
            await bus_with(route(fail)).call(Greet("Ada"))

    async def test_an_overdue_handler_is_cancelled(self) -> None:
        """The caller gets a timeout error that says who was at work, and it is counted."""
        ended = anyio.Event()

        async def slow(_: Greet) -> Greeting:
            try:
                return await hang(_)  # type: ignore[return-value]
            finally:
                ended.set()

        answering = route(slow)
        bus = bus_with(answering)
        outcome = Outcome(lambda: bus.call(Greet("Ada"), timeout=5.0))
        async with anyio.create_task_group() as group:
            group.start_soon(outcome.run)
            await bus.clock.advance(4.9)  # type: ignore[attr-defined]
            assert outcome.error is None
            await bus.clock.advance(0.2)  # type: ignore[attr-defined]
        assert isinstance(outcome.error, CallTimeoutError)
        assert "no reply to 'greeter.greet' within 5 s: plugin 'greeter' (generation 1)" in str(outcome.error)
        assert ended.is_set()
        assert (bus.statistics().timeouts, bus.statistics().call_errors, answering.errors) == (1, 1, 1)

    async def test_a_task_of_an_overdue_handler_that_fails_on_its_way_out_is_the_handlers_fault(self) -> None:
        """The same on both event loops, though trio raises it together with the cancellation."""

        async def fail() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("cleanup")

        async def work(_: Greet) -> Greeting:
            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                await anyio.sleep_forever()
            raise AssertionError

        answering = route(work)
        bus = bus_with(answering)
        outcome = Outcome(lambda: bus.call(Greet("Ada"), timeout=1.0))
        async with anyio.create_task_group() as group:
            group.start_soon(outcome.run)
            await bus.clock.advance(1.0)  # type: ignore[attr-defined]
        assert isinstance(outcome.error, HandlerError)
        assert isinstance(outcome.error.__cause__, ExceptionGroup)
        assert answering.errors == 1

    @pytest.mark.parametrize("seconds", [0.0, -1.0, 31_536_001.0, float("nan"), float("inf"), True, "7"])
    def test_a_default_timeout_out_of_bounds_is_set(self, seconds: Any) -> None:
        """It is refused as the configuration would, and the old one stays."""
        bus = Bus(default_timeout=7.0)
        with pytest.raises((TypeError, ValueError), match="expected default_timeout"):
            bus.set_default_timeout(seconds)
        bus.set_default_timeout(8)
        assert bus.default_timeout == 8.0

    async def test_the_default_timeout_ends_a_call_without_one(self) -> None:
        """No call waits for ever."""
        bus = Bus(clock=FakeClock(), default_timeout=7.0)
        bus.add_routes([route(hang)])
        outcome = Outcome(lambda: bus.call(Greet("Ada")))
        async with anyio.create_task_group() as group:
            group.start_soon(outcome.run)
            await bus.clock.advance(7.0)  # type: ignore[attr-defined]
        assert isinstance(outcome.error, CallTimeoutError)

    @pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
    async def test_without_time_the_handler_is_not_begun(self, timeout: float) -> None:
        """A deadline that has passed already is a timeout at once, on any clock."""
        answering = route()
        bus = bus_with(answering)
        with pytest.raises(CallTimeoutError, match="no time was left"):
            await bus.call(Greet("Ada"), timeout=timeout)
        assert answering.calls == 0
        assert (bus.statistics().calls, bus.statistics().timeouts) == (1, 1)

    async def test_a_cancelled_caller_cancels_the_handler(self) -> None:
        """The handler ends with its caller, and that is no error of anyone."""
        ended = anyio.Event()

        async def slow(_: Greet) -> Greeting:
            try:
                return await hang(_)  # type: ignore[return-value]
            finally:
                ended.set()

        answering = route(slow)
        bus = bus_with(answering)
        async with anyio.create_task_group() as group:
            group.start_soon(bus.call, Greet("Ada"))
            await anyio.wait_all_tasks_blocked()
            assert answering.statistics().in_hand == 1
            group.cancel_scope.cancel()
        assert ended.is_set()
        assert (answering.statistics().in_hand, answering.errors, bus.statistics().call_errors) == (0, 0, 0)

    async def test_an_unknown_tag_names_its_neighbours(self) -> None:
        """The error helps whoever misspelled it."""
        with pytest.raises(NoHandlerError, match=r"nothing answers 'greeter.gret'; nearest tags: 'greeter.greet'"):
            await bus_with(route()).call_tag("greeter.gret")
        with pytest.raises(NoHandlerError, match="there are no tags like it"):
            await bus_with(route()).call_tag("zzz")

    async def test_a_request_without_tag_cannot_be_called(self) -> None:
        """The class says what to write."""

        class Base(Request[Greeting]):
            pass

        with pytest.raises(MessageDefinitionError, match="has no tag"):
            await bus_with().call(Base())

    async def test_a_local_request_is_answered_as_its_handler_says(self) -> None:
        """A forward reference to a local reply cannot be found; the handler's return annotation stands in."""

        class Ask(Request["Answer"], tag="local.ask"):
            pass

        class Answer(Message, tag="local.answer"):
            pass

        async def answer(_: Any) -> Any:
            return Greeting("no answer")

        bus = bus_with(Route(Ask, answer, OLD, (Answer,)))
        with pytest.raises(ReplyTypeError, match="expected 'Answer'"):
            await bus.call(Ask())


class TestCallTag:
    async def test_builtins_in_and_builtins_out(self) -> None:
        """A call by name needs no class."""
        assert await bus_with(route()).call_tag("greeter.greet", {"name": "Ada"}) == {"text": "Hello, Ada"}

    async def test_one_of_several_replies_comes_with_its_tag(self) -> None:
        """Where a reader must tell types apart, it can."""

        async def maybe(request: GreetMaybe) -> Any:
            return Greeting("hi") if request.name else None

        bus = bus_with(route(maybe, GreetMaybe))
        assert await bus.call_tag("greeter.greet_maybe", {"name": "x"}) == {"$tag": "greeter.greeting", "text": "hi"}
        assert await bus.call_tag("greeter.greet_maybe", {"name": ""}) is None

    async def test_no_body_is_an_empty_one(self) -> None:
        """A request without fields needs no body."""

        async def part(_: Part) -> None:
            return None

        assert await bus_with(route(part, Part)).call_tag("greeter.part") is None

    @pytest.mark.parametrize(
        ("body", "problem"),
        [({"name": 5}, r"\$.name"), ({"nam": "x"}, "unknown field 'nam'"), ([], "Expected `object`")],
    )
    async def test_a_body_that_does_not_fit_is_a_counted_error(self, body: Any, problem: str) -> None:
        """The handler sees nothing of it."""
        answering = route()
        bus = bus_with(answering)
        with pytest.raises(MessageValidationError, match=problem):
            await bus.call_tag("greeter.greet", body)
        assert (bus.statistics().call_errors, bus.statistics().call_refusals, answering.calls) == (1, 1, 0)

    async def test_a_handlers_fault_counts_as_its_callers(self) -> None:
        """Only what a caller got wrong is a refusal; whoever judges the host by its errors can tell them apart."""

        async def fail(_: Greet) -> Greeting:
            raise ValueError

        bus = bus_with(route(fail))
        for tag in ("greeter.greet", "greeter.nobody"):
            with pytest.raises((HandlerError, NoHandlerError)):
                await bus.call_tag(tag, {"name": "Ada"})
        assert (bus.statistics().call_errors, bus.statistics().call_refusals) == (2, 1)

    async def test_what_a_handler_refuses_counts_as_its_fault(self) -> None:
        """A mistake that only the handler can see is its sender's all the same, also once its route is past."""

        class StrangerError(AetherraError, LookupError):
            pass

        async def refuse(_: Greet) -> Greeting:
            raise StrangerError

        refusing = route(refuse)
        bus = bus_with(refusing)
        with pytest.raises(HandlerError):
            await bus.call(Greet("Ada"))
        told = refusing.statistics()
        assert (told.errors, told.refusals) == (1, 1)
        bus.remove_routes([refusing])
        assert (bus.statistics().call_errors, bus.statistics().call_refusals) == (1, 1)


class TestParking:
    async def test_parked_calls_go_to_the_new_route(self) -> None:
        """A call held back during a swap is answered by whoever serves afterwards, in its own form."""

        async def speak(request: NewGreet) -> NewGreeting:
            return NewGreeting(f"new {request.name}", request.language)

        old, new = route(), route(speak, NewGreet, NEW)
        bus = bus_with(old)
        outcomes = [
            Outcome(lambda: bus.call(Greet("Ada"))),
            Outcome(lambda: bus.call_tag("greeter.greet", {"name": "Ada", "language": "fr"})),
        ]
        async with anyio.create_task_group() as group:
            with bus.parked(["greeter.greet"]):
                for outcome in outcomes:
                    group.start_soon(outcome.run)
                await anyio.wait_all_tasks_blocked()
                bus.add_routes([new], replacing=[old])
        assert [outcome.value for outcome in outcomes] == [Greeting("new Ada"), {"text": "new Ada", "language": "fr"}]
        assert (old.calls, new.calls) == (0, 2)

    async def test_a_parked_call_may_wait_for_a_tag_that_is_gone_for_a_moment(self) -> None:
        """Between two routes nobody hears that nothing answers."""
        bus = bus_with()
        outcome = Outcome(lambda: bus.call_tag("greeter.greet", {"name": "Ada"}))
        async with anyio.create_task_group() as group:
            with bus.parked(["greeter.greet"]):
                group.start_soon(outcome.run)
                await anyio.wait_all_tasks_blocked()
                bus.add_routes([route()])
        assert outcome.value == {"text": "Hello, Ada"}

    async def test_a_parked_call_waits_no_longer_than_its_timeout(self) -> None:
        """The error says that a swap was the reason."""
        answering = route()
        bus = bus_with(answering)
        outcome = Outcome(lambda: bus.call(Greet("Ada"), timeout=1.0))
        async with anyio.create_task_group() as group:
            with bus.parked(["greeter.greet"]):
                group.start_soon(outcome.run)
                await bus.clock.advance(1.0)  # type: ignore[attr-defined]
                assert isinstance(outcome.error, ServiceQuiescedError)
        assert "its plugin is being swapped" in str(outcome.error)
        assert answering.calls == 0

    async def test_no_more_than_the_limit_may_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One call too many is refused at once; a place that is given up can be taken again."""
        monkeypatch.setattr(routing_module, "PARKING_LIMIT", 2)
        bus = bus_with(route())
        async with anyio.create_task_group() as group:
            with bus.parked(["greeter.greet"]):
                impatient = Outcome(lambda: bus.call(Greet("a"), timeout=1.0))
                group.start_soon(impatient.run)
                group.start_soon(bus.call, Greet("b"))
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(ParkingFullError, match="2 calls already wait"):
                    await bus.call(Greet("c"))
                await bus.clock.advance(1.0)  # type: ignore[attr-defined]
                group.start_soon(bus.call, Greet("d"))
                await anyio.wait_all_tasks_blocked()
        assert bus.statistics().call_errors == 2

    async def test_a_cancelled_parked_call_is_gone(self) -> None:
        """Nothing of it reaches the handler later."""
        answering = route()
        bus = bus_with(answering)
        with bus.parked(["greeter.greet"]):
            async with anyio.create_task_group() as group:
                group.start_soon(bus.call, Greet("Ada"))
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        assert answering.calls == 0

    @pytest.mark.parametrize("first_out", [0, 1])
    async def test_a_tag_that_is_parked_twice_waits_for_both(self, first_out: int) -> None:
        """Whichever ends first, the call goes on after the last."""
        bus = bus_with(route())
        outcome = Outcome(lambda: bus.call(Greet("Ada")))
        parkings = [bus.parked(["greeter.greet"]), bus.parked(["greeter.greet"])]
        async with anyio.create_task_group() as group:
            for parking in parkings:
                parking.__enter__()
            group.start_soon(outcome.run)
            await anyio.wait_all_tasks_blocked()
            parkings.pop(first_out).__exit__(None, None, None)
            await anyio.wait_all_tasks_blocked()
            assert outcome.value is None
            parkings.pop().__exit__(None, None, None)
        assert outcome.value == Greeting("Hello, Ada")

    async def test_other_tags_are_not_held_back(self) -> None:
        """A swap holds its own plugin's calls, no others."""
        bus = bus_with(route())
        with bus.parked(["greeter.part"]):
            assert await bus.call(Greet("Ada")) == Greeting("Hello, Ada")


class TestRoutes:
    def test_a_conflict_adds_nothing(self) -> None:
        """All routes are added, or none."""
        bus = bus_with(route())
        newcomers = [route(hang, Part, NEW), route(provider=Identity("plugin", "rival", 1))]
        with pytest.raises(RouteConflictError, match=r"'rival' .* offers .* which plugin 'greeter' .* already answers"):
            bus.add_routes(newcomers)
        assert [found.tag for found in bus.routes()] == ["greeter.greet"]

    def test_two_of_one_tag_in_one_step_conflict(self) -> None:
        """A plugin that answers a tag twice is refused before anything is routed."""
        bus = bus_with()
        with pytest.raises(RouteConflictError):
            bus.add_routes([route(), route()])
        assert bus.routes() == []

    def test_only_the_holder_can_be_replaced(self) -> None:
        """A stale route gives no right to take its tag from another."""
        stale, holder = route(), route(provider=Identity("plugin", "rival", 1))
        bus = bus_with(holder)
        with pytest.raises(RouteConflictError):
            bus.add_routes([route(provider=NEW)], replacing=[stale])
        bus.add_routes([], replacing=[stale])
        assert bus.route("greeter.greet") is holder

    async def test_a_replaced_tag_that_is_not_taken_over_says_why(self) -> None:
        """A new generation may answer less; callers of the rest hear that it was replaced."""
        old, gone = route(), route(hang, Part)
        bus = bus_with(old, gone)
        bus.add_routes([route(provider=NEW)], replacing=[old, gone])

        assert [found.provider for found in bus.routes()] == [NEW]
        with pytest.raises(NoHandlerError, match=r"plugin 'greeter' \(generation 1\) was replaced"):
            await bus.call(Part())

    async def test_the_reason_of_a_removal_is_told_until_the_tag_is_answered_again(self) -> None:
        """Later callers hear why; removing a route that was replaced already removes nothing."""
        old, new = route(), route(provider=NEW)
        bus = bus_with(old)
        bus.remove_routes([old], reason="it was quarantined")
        with pytest.raises(NoHandlerError, match=r"'greeter\.greet' is not answered .* stopped: it was quarantined"):
            await bus.call(Greet("Ada"))
        bus.add_routes([new])
        bus.remove_routes([old], reason="late")
        assert await bus.call(Greet("Ada")) == Greeting("Hello, Ada")

    async def test_a_call_in_hand_outlives_the_removal_of_its_route(self) -> None:
        """Removing a route stops new calls, not those begun."""
        go_on = anyio.Event()

        async def slow(request: Greet) -> Greeting:
            await go_on.wait()
            return await greet(request)

        answering = route(slow)
        bus = bus_with(answering)
        outcome = Outcome(lambda: bus.call(Greet("Ada")))
        async with anyio.create_task_group() as group:
            group.start_soon(outcome.run)
            await anyio.wait_all_tasks_blocked()
            bus.remove_routes([answering])
            go_on.set()
        assert outcome.value == Greeting("Hello, Ada")

    async def test_callers_of_an_abandoned_route_hear_that_it_was_stopped(self) -> None:
        """That is neither a timeout nor a cancellation of the caller."""
        answering = route(hang)
        bus = bus_with(answering)
        outcome = Outcome(lambda: bus.call(Greet("Ada")))
        async with anyio.create_task_group() as group:
            group.start_soon(outcome.run)
            await anyio.wait_all_tasks_blocked()
            assert bus.abandon(answering) == 1
        assert isinstance(outcome.error, ServiceStoppedError)
        assert (bus.statistics().timeouts, bus.statistics().call_errors) == (0, 1)


class TestEvents:
    async def test_each_subscriber_hears_an_event(self) -> None:
        """By class, by tag and by pattern; the publisher learns how many kept it."""
        bus = bus_with()
        by_class, by_tag, by_pattern, other = (
            bus.subscribe(Hello),
            bus.subscribe("greeter.hello"),
            bus.subscribe("greeter.*"),
            bus.subscribe("homeostasis.*"),
        )
        event = Hello(1)

        assert await bus.publish(event) == 3
        assert bus.publish_nowait(Bye()) == 1
        assert [await anext(sub) for sub in (by_class, by_tag, by_pattern)] == [event] * 3
        assert await anext(by_pattern) == Bye()
        assert len(other.mailbox) == 0

    async def test_one_class_is_heard_by_reference(self) -> None:
        """No copy is made."""
        bus = bus_with()
        with bus.subscribe(Hello) as heard:
            event = Hello(1)
            await bus.publish(event)
            assert await anext(heard) is event

    async def test_another_class_of_the_tag_is_converted(self) -> None:
        """A plugin hears with its own declaration."""
        bus = bus_with()
        with bus.subscribe(OtherHello) as heard:
            await bus.publish(Hello(1))
            assert await anext(heard) == OtherHello(1, loud=False)

    async def test_an_event_that_cannot_be_read_is_counted_and_skipped(self) -> None:
        """The next one is heard."""
        bus = bus_with()
        with bus.subscribe(StrictHello) as heard:
            await bus.publish(Hello(1))
            await bus.publish(StrictHello("2"))
            assert await anext(heard) == StrictHello("2")
            assert heard.unreadable == 1

    async def test_a_request_cannot_be_published(self) -> None:
        """Nobody would answer it, and silence would hide the mistake."""
        bus = bus_with()
        for _ in range(2):
            with pytest.raises(MessageDefinitionError, match=r"'greeter\.greet' is a request"):
                await bus.publish(Greet("Ada"))
        assert bus.statistics().published == 0

    async def test_an_untagged_event_cannot_be_published_or_heard(self) -> None:
        """The error says what to write."""

        class Base(Message):
            pass

        bus = bus_with()
        with pytest.raises(MessageDefinitionError, match="has no tag"):
            await bus.publish(Base())
        with pytest.raises(MessageDefinitionError, match="has no tag"):
            bus.subscribe(Base)
        assert bus.statistics().published == 0

    async def test_a_slow_blocking_subscriber_keeps_the_event_from_no_other(self) -> None:
        """All that have room get the event before the publisher waits."""
        bus = bus_with()
        slow = bus.subscribe(Hello, capacity=1, overflow="block")
        others = [bus.subscribe(Hello, overflow="drop_oldest"), bus.subscribe(Hello, capacity=9, overflow="block")]
        await bus.publish(Hello(1))
        async with anyio.create_task_group() as group:
            group.start_soon(bus.publish, Hello(2))
            await anyio.wait_all_tasks_blocked()
            assert [len(sub.mailbox) for sub in others] == [2, 2]
            assert bus.statistics().delivered == 5
            assert await anext(slow) == Hello(1)
        assert await anext(slow) == Hello(2)
        assert bus.statistics().delivered == 6

    async def test_a_cancelled_publisher_leaves_true_numbers(self) -> None:
        """What was delivered before the cancellation is counted, what was not is not."""
        bus = bus_with()
        bus.subscribe(Hello, capacity=1, overflow="block")
        bus.subscribe(Hello)
        await bus.publish(Hello(1))
        async with anyio.create_task_group() as group:
            group.start_soon(bus.publish, Hello(2))
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert (bus.statistics().published, bus.statistics().delivered) == (2, 3)

    async def test_publishing_without_waiting_drops_at_a_full_blocking_subscriber(self) -> None:
        """It is counted as dropped, also after the subscriber is gone."""
        bus = bus_with()
        with bus.subscribe(Hello, capacity=1, overflow="block"):
            assert [bus.publish_nowait(Hello(i)) for i in range(3)] == [1, 0, 0]
            assert bus.statistics().dropped == 2
        assert bus.statistics().dropped == 2

    async def test_a_failing_subscriber_harms_no_other(self) -> None:
        """One whose loop raises only stops hearing."""
        bus = bus_with()
        heard: list[Hello] = []
        faults: list[Hello] = []

        async def fail() -> None:
            with bus.subscribe(Hello) as events:
                async for event in events:
                    faults.append(event)
                    raise ValueError("no")

        failing = Outcome(fail)

        async def listen() -> None:
            with bus.subscribe(Hello) as events:
                async for event in events:
                    heard.append(event)
                    if event.number == 2:
                        return

        async with anyio.create_task_group() as group:
            group.start_soon(failing.run)
            group.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            for number in range(3):
                await bus.publish(Hello(number))
                await anyio.wait_all_tasks_blocked()
        assert [event.number for event in heard] == [0, 1, 2]
        assert [event.number for event in faults] == [0]
        assert isinstance(failing.error, ValueError)
        assert bus.statistics().subscriptions == 0

    async def test_a_closed_subscription_ends_after_what_it_holds(self) -> None:
        """Closing twice does no harm, and later events are not for it."""
        bus = bus_with()
        events = bus.subscribe(Hello)
        await bus.publish(Hello(1))
        events.close()
        events.close()
        assert await bus.publish(Hello(2)) == 0
        assert [event async for event in events] == [Hello(1)]

    async def test_one_made_apart_hears_from_when_it_is_attached(self) -> None:
        """Attaching twice hears once."""
        bus = bus_with()
        events = bus.subscribe(Hello, attach=False)
        assert await bus.publish(Hello(1)) == 0
        events.attach()
        events.attach()
        assert await bus.publish(Hello(2)) == 1
        assert await anext(events) == Hello(2)

    @given(st.lists(st.sampled_from(["drop_oldest", "drop_newest", "block", "latest"]), max_size=4), st.integers(0, 12))
    def test_every_event_is_delivered_or_dropped(self, policies: list[Any], events: int) -> None:
        """The numbers add up, whatever the policies, and order is kept."""

        async def run() -> None:
            bus = bus_with()
            subscriptions = [bus.subscribe(Hello, capacity=3, overflow=policy) for policy in policies]
            kept = sum(bus.publish_nowait(Hello(number)) for number in range(events))
            numbers = bus.statistics()
            assert (numbers.published, numbers.delivered) == (events, kept)
            refused = events * len(policies) - kept
            thrown_out = sum(sub.mailbox.dropped for sub in subscriptions) - refused
            assert numbers.dropped == refused + thrown_out
            assert kept - thrown_out == sum(len(sub.mailbox) for sub in subscriptions)
            for sub in subscriptions:
                sub.close()
                got = [event.number async for event in sub]
                assert got == sorted(got)

        anyio.run(run)


class TestStatistics:
    async def test_a_snapshot_tells_what_happened(self) -> None:
        """Totals and routes, true to the call."""

        async def maybe(request: Greet) -> Greeting:
            if not request.name:
                raise ValueError("no name")
            return await greet(request)

        bus = bus_with(route(maybe))
        await bus.call(Greet("Ada"))
        for call in (bus.call(Greet("")), bus.call_tag("nowhere")):
            with pytest.raises((HandlerError, NoHandlerError)):
                await call
        numbers = bus.statistics()

        assert (numbers.calls, numbers.call_errors, numbers.timeouts) == (3, 2, 0)
        (only,) = numbers.routes
        assert (only.tag, only.provider, only.calls, only.errors, only.in_hand) == ("greeter.greet", OLD, 2, 1, 0)

    async def test_the_host_may_answer_too(self) -> None:
        """A route's provider need be no plugin."""
        assert bus_with(route(provider=HOST)).routes()[0].provider == HOST
