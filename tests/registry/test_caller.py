"""What a caller's calls inherit, how they end, and what they cost others: deadlines, cycles, limits, conversations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    HOST,
    Bus,
    CallDepthError,
    Caller,
    CallTimeoutError,
    Capabilities,
    CapabilityError,
    Gate,
    HandlerBusyError,
    HandlerError,
    Identity,
    Message,
    MessageDefinitionError,
    NoHandlerError,
    ReplyTypeError,
    Request,
    Route,
    ServiceFailedError,
    ServiceQuarantinedError,
    ServiceStartingError,
    ServiceStoppingError,
    current_call,
)
from aetherra.registry.call import MAX_DEPTH

A, B = Identity("plugin", "a", 1), Identity("plugin", "b", 1)


class Done(Message, tag="work.done"):
    by: str = ""


class Outer(Request[Done], tag="a.outer"):
    pass


class Inner(Request[Done], tag="b.inner"):
    pass


class Third(Request[Done], tag="b.third"):
    pass


class Said(Message, tag="a.said"):
    pass


Handler = Callable[[Any], Awaitable[Done | None]]


async def forever(_: Any) -> Done:
    await anyio.sleep_forever()
    raise AssertionError("it slept for ever")


async def at_once(_: Any) -> Done:
    return Done("at once")


class World:
    """A bus on a fake clock with plugins ``a`` and ``b`` that answer as a test says."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.bus = Bus(clock=self.clock, **options)
        self.a, self.b = self.bus.caller(A), self.bus.caller(B)
        self.host: Caller = self.bus.caller(HOST)

    def answer(self, request_type: type[Request[Any]], handler: Any, provider: Identity = A, **options: Any) -> Route:
        route = Route(request_type, handler, provider, **options)
        self.bus.add_routes([route])
        return route

    async def errors_within(self, seconds: float, call: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Make a call, let so many seconds pass, and return what it raised, if it did."""
        errors: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self.errors_of(call, errors))
            await self.clock.advance(seconds)
        return errors

    def errors_of(self, call: Callable[[], Awaitable[Any]], errors: list[Any]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            try:
                await call()
            except BaseException as exc:
                errors.append(exc)
                if not isinstance(exc, Exception):
                    raise

        return run


class TestDeadlines:
    async def test_a_nested_call_has_more_than_what_is_left(self) -> None:
        """A handler's call ends when the call that it is made for does, whatever timeout it asks for."""
        world = World()
        left: list[float] = []

        async def outer(_: Outer) -> Done:
            await world.clock.sleep(1.0)
            return await world.a.call(Inner(), timeout=60.0)

        async def inner(_: Inner) -> Done:
            call = current_call()
            assert call is not None
            left.append(call.deadline - world.clock.monotonic())
            return await forever(_)

        world.answer(Outer, outer)
        world.answer(Inner, inner, B)
        errors: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=3.0), errors))
            await world.clock.advance(2.9)
            assert errors == []
            await world.clock.advance(0.1)
        assert left == [2.0]
        (error,) = errors
        assert isinstance(error, CallTimeoutError)
        assert (error.tag, error.timeout, error.chain) == ("a.outer", 3.0, ("a.outer", "b.inner"))

    async def test_a_shorter_timeout_of_a_nested_call_is_lost(self) -> None:
        """It may ask for less; its own end is its caller's to handle."""
        world = World()

        async def outer(_: Outer) -> Done:
            with pytest.raises(CallTimeoutError, match=r"no reply to 'b\.inner' within 0\.5 s"):
                await world.a.call(Inner(), timeout=0.5)
            return Done("without it")

        world.answer(Outer, outer)
        world.answer(Inner, forever, B)
        replies: list[Done] = []

        async def call() -> None:
            replies.append(await world.host.call(Outer(), timeout=3.0))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await world.clock.advance(0.5)
        assert replies == [Done("without it")]

    async def test_a_task_of_the_handler_inherits_nothing(self) -> None:
        """A call from a task group inside a handler has what is left, too, also if a sibling call is shorter."""
        world = World()
        deadlines: list[float] = []

        async def outer(_: Outer) -> Done:
            async with anyio.create_task_group() as group:
                group.start_soon(world.a.call, Third())
                with pytest.raises(CallTimeoutError):
                    await world.a.call(Inner(), timeout=0.5)
            return Done()

        async def third(_: Third) -> Done:
            call = current_call()
            assert call is not None
            deadlines.append(call.deadline)
            return Done()

        world.answer(Outer, outer)
        world.answer(Inner, forever, B)
        world.answer(Third, third, B)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.host.call(Outer(), timeout=3.0))
            await world.clock.advance(0.5)
        assert deadlines == [3.0]

    async def test_a_task_that_outlives_the_call_keeps_its_deadline(self) -> None:
        """What a handler leaves running is bound by nothing once the call is over."""
        world = World()
        replies: list[Done] = []

        async with anyio.create_task_group() as outliving:

            async def refresh() -> None:
                await world.clock.sleep(10.0)
                assert current_call() is None
                replies.append(await world.a.call(Inner(), timeout=5.0))

            async def outer(_: Outer) -> Done:
                outliving.start_soon(refresh)
                await anyio.lowlevel.checkpoint()
                return Done()

            world.answer(Outer, outer)
            world.answer(Inner, at_once, B)
            await world.host.call(Outer(), timeout=1.0)
            await world.clock.advance(10.0)
        assert replies == [Done("at once")]

    async def test_a_task_that_outlives_its_call_falls_into_that_calls_own(self) -> None:
        """Once the handler that started it is done, it is not bound by those who had called that handler either."""
        world = World()
        left: list[Any] = []

        async with anyio.create_task_group() as outliving:

            async def later() -> None:
                await world.clock.sleep(0.1)
                left.append(current_call())
                await world.a.call(Third(), timeout=5.0)
                left.append("answered")

            async def inner(_: Inner) -> Done:
                outliving.start_soon(later)
                await anyio.lowlevel.checkpoint()
                return Done()

            async def outer(_: Outer) -> Done:
                await world.a.call(Inner())
                return await forever(_)

            async def third(_: Third) -> Done:
                await world.clock.sleep(1.0)
                return Done()

            world.answer(Outer, outer)
            world.answer(Inner, inner, B)
            world.answer(Third, third, B)
            errors: list[Any] = []
            outliving.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=0.5), errors))
            await world.clock.advance(2.0)
        assert left == [None, "answered"]
        assert [error.chain for error in errors] == [("a.outer",)]

    async def test_a_call_by_name_forgets_the_timeout_that_was_asked(self) -> None:
        """The error says what the caller said."""
        world = World()
        world.answer(Outer, forever)
        errors = await world.errors_within(0.3, lambda: world.host.call_tag("a.outer", timeout=0.3))
        assert [error.timeout for error in errors] == [0.3]

    async def test_a_scope_opened_before_the_first_wait_misnests(self) -> None:
        """A deadline that comes while the handler is inside scopes of its own ends it in order."""
        world = World()
        seen: list[str] = []

        async def outer(_: Outer) -> Done:
            with anyio.CancelScope():
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)
                    with anyio.move_on_after(100):
                        try:
                            await anyio.sleep_forever()
                        finally:
                            seen.append("unwound")
            raise AssertionError("the deadline was swallowed")

        world.answer(Outer, outer)
        errors: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=1.0), errors))
            await world.clock.advance(1.0)
            assert [type(error) for error in errors] == [CallTimeoutError]
            # the caller's task is as it was: it can wait, and be called again
            with anyio.fail_after(5):
                await anyio.lowlevel.checkpoint()
        assert seen == ["unwound"]

    async def test_scopes_that_the_handler_left_before_it_waited_confuse_the_deadline(self) -> None:
        """Open and closed again, or open and left one after the other: the deadline holds."""
        world = World()

        async def outer(_: Outer) -> Done:
            with anyio.CancelScope():  # noqa: ASYNC100  # opened and closed before the first wait is the point
                pass
            with anyio.CancelScope() as first:
                await anyio.lowlevel.checkpoint()
                first.cancel()
                await anyio.lowlevel.checkpoint()
            await anyio.sleep_forever()
            raise AssertionError("it slept for ever")

        world.answer(Outer, outer)
        errors = await world.errors_within(1.0, lambda: world.host.call(Outer(), timeout=1.0))
        assert [type(error) for error in errors] == [CallTimeoutError]

    async def test_a_deadline_breaks_a_shield_of_the_handler(self) -> None:
        """What a handler shields is finished first; then the deadline holds."""
        world = World()
        committed = anyio.Event()
        seen: list[str] = []

        async def outer(_: Outer) -> Done:
            with anyio.CancelScope(shield=True):
                await committed.wait()
                seen.append("committed")
            await anyio.sleep_forever()
            raise AssertionError("it slept for ever")

        world.answer(Outer, outer)
        errors: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=1.0), errors))
            await world.clock.advance(1.0)
            await anyio.sleep(0.06)  # a cancellation that is repeated in real time would have come by now
            assert (seen, errors) == ([], [])
            committed.set()
        assert seen == ["committed"]
        assert [type(error) for error in errors] == [CallTimeoutError]

    async def test_a_shield_of_the_caller_keeps_the_deadline_away(self) -> None:
        """Calls made while cleaning up, behind a shield, still end."""
        world = World()
        world.answer(Outer, forever)
        errors: list[Any] = []

        async def clean_up() -> None:
            with anyio.CancelScope(shield=True):
                await world.errors_of(lambda: world.host.call(Outer(), timeout=1.0), errors)()

        async with anyio.create_task_group() as group:
            group.start_soon(clean_up)
            await world.clock.advance(1.0)
        assert [type(error) for error in errors] == [CallTimeoutError]

    async def test_a_swallowed_cancellation_is_not_repeated(self) -> None:
        """A handler that catches its cancellation once and goes on waiting is cancelled again."""
        world = World()
        caught: list[int] = []

        async def outer(_: Outer) -> Done:
            for round_ in range(3):
                try:
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    caught.append(round_)
                    if round_ == 2:
                        raise
            raise AssertionError("it was let go on")

        world.answer(Outer, outer)
        errors = await world.errors_within(1.0, lambda: world.host.call(Outer(), timeout=1.0))
        assert caught == [0, 1, 2]
        assert [type(error) for error in errors] == [CallTimeoutError]

    async def test_a_cancelled_caller_hears_of_a_timeout(self) -> None:
        """Who is cancelled from outside just when its call is late is cancelled, and nothing else."""
        world = World()
        world.answer(Outer, forever)
        outcome: list[BaseException] = []
        async with anyio.create_task_group() as group:
            group.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=1.0), outcome))
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert [type(error) for error in outcome] == [anyio.get_cancelled_exc_class()]

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_timeout_leaves_a_cancellation_on_the_task(self) -> None:
        """``Task.cancelling()`` is as before the call, so that ``asyncio.timeout`` around it still works."""
        world = World()
        world.answer(Outer, forever)
        counts: list[int] = []

        async def call() -> None:
            task = asyncio.current_task()
            assert task is not None
            with pytest.raises(CallTimeoutError):
                await world.host.call(Outer(), timeout=1.0)
            counts.append(task.cancelling())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await world.clock.advance(1.0)
        assert counts == [0]

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_native_cancellation_is_taken_for_the_deadline(self) -> None:
        """``Task.cancel()`` by another, after the deadline has cancelled the handler too, is still a cancellation."""
        world = World()

        async def slow_to_go(_: Outer) -> Done:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
            raise AssertionError("it slept for ever")

        world.answer(Outer, slow_to_go)

        async def call() -> None:
            await world.host.call(Outer(), timeout=1.0)

        task = asyncio.create_task(call())
        await world.clock.advance(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_an_eager_task_loses_a_deadline(self) -> None:
        """A call that begins inside another's handler before that has waited, and outlives it, is held all the same."""
        world = World()
        errors: list[Any] = []
        world.answer(Inner, forever, B)
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        tasks: list[asyncio.Task[None]] = []

        async def outer(_: Outer) -> Done:
            tasks.append(loop.create_task(world.errors_of(lambda: world.a.call(Inner(), timeout=1.0), errors)()))
            if not tasks:
                await anyio.lowlevel.checkpoint()
            return Done()

        world.answer(Outer, outer)
        try:
            await world.host.call(Outer())
            await world.clock.advance(1.0)
            await tasks[0]
        finally:
            loop.set_task_factory(None)
        assert [type(error) for error in errors] == [CallTimeoutError]

    async def test_many_calls_end_at_another_time_than_theirs(self) -> None:
        """64 callers in parallel, each with a timeout of its own: each ends at its own time and no other."""
        world = World()
        world.answer(Outer, forever)
        ended: list[tuple[float, float]] = []

        async def call(timeout: float) -> None:
            with pytest.raises(CallTimeoutError):
                await world.host.call(Outer(), timeout=timeout)
            ended.append((timeout, world.clock.monotonic()))

        async with anyio.create_task_group() as group:
            for number in range(64):
                group.start_soon(call, 1.0 + number * 0.25)
            await world.clock.advance(20.0)
        assert [at for _, at in ended] == [timeout for timeout, _ in ended] == sorted(1.0 + n * 0.25 for n in range(64))


class TestCycles:
    async def test_a_cycle_that_waits_goes_on_for_ever(self) -> None:
        """Handlers that call each other end at the first call's deadline; the error tells the way round."""
        world = World()

        async def outer(_: Outer) -> Done:
            await world.clock.sleep(0.1)
            return await world.a.call(Inner())

        async def inner(_: Inner) -> Done:
            await world.clock.sleep(0.1)
            return await world.b.call(Outer())

        world.answer(Outer, outer)
        world.answer(Inner, inner, B)
        errors = await world.errors_within(0.35, lambda: world.host.call(Outer(), timeout=0.35))
        (error,) = errors
        assert isinstance(error, CallTimeoutError)
        assert error.chain == ("a.outer", "b.inner", "a.outer", "b.inner")
        assert "a.outer -> b.inner -> a.outer -> b.inner" in str(error)

    async def test_a_cycle_that_never_waits_fills_the_stack(self) -> None:
        """It ends after a bounded number of calls, as one error with their tags, and the caller can go on."""
        world = World()

        async def outer(_: Outer) -> Done:
            return await world.a.call(Inner())

        async def inner(_: Inner) -> Done:
            return await world.b.call(Outer())

        world.answer(Outer, outer)
        world.answer(Inner, inner, B)
        world.answer(Third, at_once, B)
        with pytest.raises(CallDepthError) as raised:
            await world.host.call(Outer())
        assert len(raised.value.chain) == MAX_DEPTH + 1
        assert raised.value.chain[:3] == ("a.outer", "b.inner", "a.outer")
        assert (await world.host.call(Third())).by == "at once"
        assert all(route.statistics().in_hand == 0 for route in world.bus.routes())


class TestHandlers:
    async def test_a_plain_function_answers(self) -> None:
        """Inline, and inside its call."""
        world = World()
        tags: list[str] = []

        def answer(_: Outer) -> Done:
            call = current_call()
            assert call is not None
            tags.append(call.tag)
            return Done("plainly")

        world.answer(Outer, answer)
        assert await world.host.call(Outer()) == Done("plainly")
        assert current_call() is None
        assert tags == ["a.outer"]

    async def test_a_plain_function_around_a_coroutine_function_is_awaited_each_time(self) -> None:
        """As decorators write them; the deadline holds for it, too."""
        world = World()

        @wraps(forever)
        def wrapped(request: Outer) -> Awaitable[Done]:
            return at_once(request) if world.clock.monotonic() < 1 else forever(request)

        world.answer(Outer, wrapped)
        assert [await world.host.call(Outer()) for _ in range(2)] == [Done("at once")] * 2
        errors: list[Any] = []
        await world.clock.advance(1.0)
        async with anyio.create_task_group() as group:
            group.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=1.0), errors))
            await world.clock.advance(1.0)
        assert [type(error) for error in errors] == [CallTimeoutError]

    async def test_a_plain_function_is_awaited_when_it_has_nothing_to_wait_for(self) -> None:
        """One that returns a coroutine now and a reply then, as a cache does, is taken either way."""
        world = World()
        kept: list[Done] = []

        async def look_up(_: Outer) -> Done:
            await anyio.lowlevel.checkpoint()
            kept.append(Done("looked up"))
            return kept[0]

        world.answer(Outer, lambda request: kept[0] if kept else look_up(request))
        assert [(await world.host.call(Outer())).by for _ in range(3)] == ["looked up"] * 3
        kept.clear()
        assert (await world.a.call(Outer())).by == "looked up"

    async def test_a_reply_of_several_kinds_took_no_time(self) -> None:
        """A handler that never waits is in its route's latency, whichever reply it gives."""

        class Other(Message, tag="work.other"):
            pass

        class Either(Request[Done | Other], tag="a.either"):
            pass

        async def answer(_: Either) -> Done | Other:
            return Other()

        world = World()
        route = world.answer(Either, answer)
        assert await world.host.call(Either()) == Other()
        assert route.statistics().latency.p50 == 0.0

    @pytest.mark.parametrize("handler", [lambda _: "text", at_once], ids=["plain", "coroutine"])
    async def test_the_wrong_type_passes(self, handler: Any) -> None:
        """Whoever returns it, the caller hears what was expected."""

        class Other(Message, tag="work.other"):
            pass

        class Ask(Request[Other], tag="a.ask"):
            pass

        world = World()
        world.answer(Ask, handler)
        with pytest.raises(ReplyTypeError, match=r"plugin 'a' answered 'a\.ask' with '(str|Done)', expected 'Other'"):
            await world.host.call(Ask())
        assert world.bus.statistics().call_errors == 1

    @pytest.mark.parametrize("fault", [ValueError("no"), SystemExit(3)])
    @pytest.mark.parametrize("waits", [False, True])
    async def test_a_fault_is_told_with_its_cause(self, fault: BaseException, waits: bool) -> None:
        """By plugin, tag and generation, whether or not the handler had waited; nothing stays in hand."""
        world = World()

        async def fail_at_once(_: Outer) -> Done:
            raise fault

        async def fail_later(_: Outer) -> Done:
            await anyio.lowlevel.checkpoint()
            raise fault

        route = world.answer(Outer, fail_later if waits else fail_at_once)
        with pytest.raises(HandlerError) as raised:
            await world.host.call(Outer())
        assert (raised.value.plugin, raised.value.generation, raised.value.tag) == ("a", 1, "a.outer")
        assert raised.value.__cause__ is fault
        assert (route.statistics().errors, route.statistics().in_hand) == (1, 0)
        assert current_call() is None

    async def test_an_interrupt_is_swallowed(self) -> None:
        """Ctrl-C inside a handler ends the process, not the call."""
        world = World()

        async def interrupted(_: Outer) -> Done:
            raise KeyboardInterrupt

        world.answer(Outer, interrupted)
        with pytest.raises(KeyboardInterrupt):
            await world.host.call(Outer())
        assert current_call() is None


class TestKinds:
    async def test_an_event_can_be_called_and_a_request_heard(self) -> None:
        """Each mistake says what the thing is for."""
        world = World()
        with pytest.raises(MessageDefinitionError, match=r"'a\.said' is an event, to be published"):
            await world.host.call(Said())  # type: ignore[arg-type]
        with pytest.raises(MessageDefinitionError, match=r"'a\.outer' is a request, which its one handler answers"):
            world.host.listen(Outer)


class TestLimits:
    async def test_more_are_inside_than_the_limit_allows(self) -> None:
        """Calls wait in order for a place; beyond the queue one more is refused, and says so."""
        world = World()
        inside: list[int] = []
        most: list[int] = []
        go_on = anyio.Event()

        async def outer(_: Outer) -> Done:
            inside.append(1)
            most.append(len(inside))
            await go_on.wait()
            inside.pop()
            return Done()

        route = world.answer(Outer, outer, gate=Gate("a.outer", 2, 3))
        errors: list[Any] = []
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(world.errors_of(lambda: world.host.call(Outer()), errors))
            await anyio.wait_all_tasks_blocked()
            assert (route.statistics().in_hand, route.statistics().waiting) == (5, 3)
            go_on.set()
        assert max(most) == 2
        assert len(most) == 5
        (error,) = errors
        assert isinstance(error, HandlerBusyError)
        assert "2 calls in hand and 3 wait" in str(error)
        assert (route.calls, route.errors) == (5, 0)
        assert (world.bus.statistics().calls, world.bus.statistics().call_errors) == (6, 1)

    async def test_who_gives_up_waiting_keeps_its_place(self) -> None:
        """A call that is late while it waits for its turn is gone, and who has the turn hands it on."""
        world = World()
        go_on = anyio.Event()
        done: list[str] = []

        async def outer(_: Outer) -> Done:
            await go_on.wait()
            return Done()

        world.answer(Outer, outer, gate=Gate("a.outer", 1, 10))
        errors: list[Any] = []

        async def call(name: str) -> None:
            await world.host.call(Outer())
            done.append(name)

        async with anyio.create_task_group() as group:
            group.start_soon(call, "first")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(world.errors_of(lambda: world.host.call(Outer(), timeout=1.0), errors))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(call, "third")
            await world.clock.advance(1.0)
            go_on.set()
        assert done == ["first", "third"]
        assert [type(error) for error in errors] == [CallTimeoutError]


class TestConversations:
    async def test_the_trace_breaks(self) -> None:
        """Calls and events that one call leads to are one conversation, each caused by the one before."""
        world = World()
        ids: dict[str, tuple[str, str, str]] = {}

        def note() -> None:
            call = current_call()
            assert call is not None
            ids[call.tag] = (call.id, call.trace_id, call.causation_id)

        async def outer(_: Outer) -> Done:
            note()
            await world.a.publish(Said())
            await anyio.lowlevel.checkpoint()
            return await world.a.call(Inner())

        def inner(_: Inner) -> Done:
            note()
            return Done()

        world.answer(Outer, outer)
        world.answer(Inner, inner, B)
        with world.host.listen(Said) as events:
            await world.host.call(Outer())
            letter = await events.receive()
        with letter.heard(world.clock.monotonic()):
            note()
        trace = ids["a.outer"][1]
        assert ids["a.outer"] == (trace, trace, "")
        assert ids["b.inner"][1:] == (trace, ids["a.outer"][0])
        assert ids["a.said"][1:] == (trace, ids["a.outer"][0])
        assert len({id_ for id_, _, _ in ids.values()}) == 3
        assert letter.publisher == A

    async def test_one_conversation_goes_on_in_the_next(self) -> None:
        """Calls one after the other, from the same task, have nothing to do with each other."""
        world = World()
        traces: list[str] = []

        async def outer(_: Outer) -> Done:
            call = current_call()
            assert call is not None
            traces.append(call.trace_id)
            await anyio.lowlevel.checkpoint()
            return Done()

        world.answer(Outer, outer)
        for _ in range(3):
            await world.host.call(Outer())
        assert len(set(traces)) == 3


class TestIdentity:
    async def test_a_refused_call_reaches_the_handler(self) -> None:
        """Under a profile that refuses, the error names the grant and where to write it; it is counted."""
        world = World(capabilities=Capabilities("refuse"))
        route = world.answer(Inner, at_once, B)
        with pytest.raises(CapabilityError) as raised:
            await world.a.call(Inner())
        assert raised.value.grant == "call:b.inner"
        assert "add 'call:b.inner' to plugins.a.grants" in str(raised.value)
        assert route.calls == 0
        assert (world.bus.statistics().refused, world.bus.statistics().call_refusals) == (1, 1)
        for free in (world.b, world.host):
            assert await free.call(Inner()) == Done("at once")

    async def test_a_new_grant_waits_for_a_restart(self) -> None:
        """What is granted later holds from then on; what is taken away ends with the next change of routes."""
        world = World(capabilities=Capabilities("refuse"))
        world.answer(Inner, at_once, B)
        with pytest.raises(CapabilityError):
            await world.a.call(Inner())
        world.bus.capabilities.grant(A, ["call:b.*"])
        assert await world.a.call(Inner()) == Done("at once")

    @pytest.mark.parametrize("act", ["publish", "publish_nowait", "listen", "call_tag", "call_json"])
    async def test_another_act_goes_unchecked(self, act: str) -> None:
        """Whatever the way in, it asks."""

        class Alien(Message, tag="b.alien"):
            pass

        world = World(capabilities=Capabilities("refuse"))
        world.answer(Inner, at_once, B)
        acts: dict[str, Callable[[], Any]] = {
            "publish": lambda: world.a.publish(Alien()),
            "publish_nowait": lambda: world.a.publish_nowait(Alien()),
            "listen": lambda: world.a.listen("b.*"),
            "call_tag": lambda: world.a.call_tag("b.inner"),
            "call_json": lambda: world.a.call_json("b.inner", b"{}"),
        }
        with pytest.raises(CapabilityError):
            await acts[act]()
        assert world.bus.topics.subscriptions == 0


class TestAbsence:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (ServiceStartingError, "is starting"),
            (ServiceStoppingError, "was stopped"),
            (ServiceFailedError, "has failed"),
            (ServiceQuarantinedError, "is quarantined"),
        ],
    )
    async def test_each_kind_of_absence_is_alike(self, error: type[NoHandlerError], text: str) -> None:
        """A tag whose plugin does not serve now says what that does instead; once it serves, it answers."""
        world = World()
        world.bus.say_absent(["a.outer"], lambda tag: error(tag, str(A), "so it is"))  # type: ignore[arg-type]
        with pytest.raises(error, match=rf"'a\.outer' is not answered now, as plugin 'a' .* {text}: so it is"):
            await world.host.call(Outer())
        world.answer(Outer, at_once)
        assert await world.host.call(Outer()) == Done("at once")

    async def test_a_fallback_answers_beside_another(self) -> None:
        """It stands in only while nobody else answers; two fallbacks, or two others, are an error."""
        world = World()

        async def instead(_: Outer) -> Done:
            return Done("fallback")

        world.answer(Outer, instead, B, fallback=True)
        assert (await world.host.call(Outer())).by == "fallback"
        main = world.answer(Outer, at_once)
        assert (await world.host.call(Outer())).by == "at once"
        with pytest.raises(ValueError, match="already answers"):
            world.answer(Outer, instead, fallback=True)
        world.bus.remove_routes([main])
        assert (await world.host.call(Outer())).by == "fallback"


class TestSlowCalls:
    async def test_a_slow_call_goes_unsaid(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is counted, and logged with caller, handler and conversation; a quick one is not."""
        world = World(slow_call=1.0)

        async def outer(_: Outer) -> Done:
            await world.clock.sleep(2.0)
            return Done()

        world.answer(Outer, outer)
        world.answer(Inner, at_once, B)
        async with anyio.create_task_group() as group:
            group.start_soon(world.a.call, Outer())
            await world.clock.advance(2.0)
        await world.a.call(Inner())
        assert world.bus.statistics().slow == 1
        (record,) = [record for record in caplog.records if "took" in record.message]
        assert "a call of 'a.outer' by plugin 'a' (generation 1) took 2.000 s" in record.message

    async def test_the_log_names_another_conversation(self, caplog: pytest.LogCaptureFixture) -> None:
        """A handler that never waits is in the conversation that its slow call is logged with."""
        world = World(slow_call=1.0)
        traces: list[str] = []

        def outer(_: Outer) -> Done:
            call = current_call()
            assert call is not None
            traces.append(call.trace_id)
            world.clock._now += 2.0
            return Done()

        world.answer(Outer, outer)
        await world.host.call(Outer())
        (record,) = [record for record in caplog.records if "took" in record.message]
        assert record.message.endswith(f"in conversation {traces[0]}")

    async def test_a_call_that_failed_took_no_time(self) -> None:
        """The quantiles are of all calls, also of those that were late."""
        world = World()
        route = world.answer(Outer, forever)
        await world.errors_within(2.0, lambda: world.host.call(Outer(), timeout=2.0))
        assert route.statistics().latency.p99 == 2.0

    async def test_the_quantiles_are_not_those_of_the_calls(self) -> None:
        """A route tells how long its last calls took."""
        world = World()

        async def outer(_: Outer) -> Done:
            await world.clock.sleep(next(pauses))
            return Done()

        pauses = iter([0.1] * 98 + [1.0, 2.0])
        world.answer(Outer, outer)
        async with anyio.create_task_group() as group:

            async def calls() -> None:
                for _ in range(100):
                    await world.host.call(Outer())

            group.start_soon(calls)
            await world.clock.advance(13.0)
        (route,) = world.bus.statistics().routes
        assert route.calls == 100
        assert route.latency.p50 == pytest.approx(0.1)
        assert route.latency.p95 == pytest.approx(0.1)
        assert route.latency.p99 == pytest.approx(1.0)
