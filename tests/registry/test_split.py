"""A split: keys stay on their side, a greater share takes none back, and what happens is counted by side."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    Bus,
    CallTimeoutError,
    Figures,
    Gate,
    HandlerBusyError,
    HandlerError,
    Identity,
    Message,
    MessageValidationError,
    NoHandlerError,
    ReplyTypeError,
    Request,
    Route,
    RouteConflictError,
    ServiceStoppedError,
    Split,
    SplitKeyError,
    current_call,
)
from aetherra.registry.route import Answer
from aetherra.registry.split import Side, figures

OLD, NEW = Identity("plugin", "shop", 1), Identity("plugin", "shop", 2)


class Price(Message, tag="shop.price"):
    side: int
    amount: float = 0.0


class Ask(Request[Price], tag="shop.ask"):
    user: int
    amount: float = 0.0


class Buy(Request[Price], tag="shop.buy"):
    user: int


class Open(Request[Price], tag="shop.open"):
    door: dict[str, int] = {}


class AskAnew(Request[Price], tag="shop.ask"):
    """The candidate's class of the same tag."""

    user: int
    amount: float = 1.0
    note: str = ""

    def __post_init__(self) -> None:
        if self.user == 13:
            raise ValueError("no 13")


class AskFromAfar(Request[Price], tag="shop.ask"):
    """A stranger's class of the same tag, with a word that nobody else knows."""

    user: int
    amount: float = 0.0
    colour: str = "red"


class AskInShort(Request[Price], tag="shop.ask"):
    """A stranger's class that leaves the amount out."""

    user: int


def answering(side: int) -> Answer:
    async def answer(_: Request[Price]) -> Price:
        return Price(side)

    return cast("Answer", answer)


def pair(request: type[Request[Any]], *, anew: type[Request[Any]] | None = None) -> tuple[Route, Route]:
    return Route(request, answering(1), OLD), Route(anew or request, answering(2), NEW)


def bus_with(*pairs: tuple[Route, Route]) -> Bus:
    bus = Bus()
    bus.add_routes(control for control, _ in pairs)
    return bus


def split_bus(*pairs: tuple[Route, Route], share: float, key: str = "user", salt: str = "") -> tuple[Bus, Split]:
    bus, split = bus_with(*pairs), Split(pairs, share=share, key=key, salt=salt)
    bus.split(split)
    return bus, split


def candidate_figures(split: Split) -> Figures:
    return figures(pair.candidate for pair in split.pairs)


def control_figures(split: Split) -> Figures:
    return figures(pair.control for pair in split.pairs)


class TestShare:
    @pytest.mark.parametrize("salt", ["", "shop@2", "shop@3", "x" * 100])
    async def test_a_share_is_not_met(self, salt: str) -> None:
        """Of 1,000 keys at 10 %, 5 to 15 % go to the candidate."""
        bus, split = split_bus(pair(Ask), share=0.1, salt=salt)
        sides = [(await bus.call(Ask(user))).side for user in range(1000)]

        assert 50 <= sides.count(2) <= 150
        assert split.seen_share == sides.count(2) / 1000

    async def test_none_and_all_are_not_exact(self) -> None:
        """At 0 nobody meets the candidate, at 1 everybody does; and before the first call no share is seen."""
        bus, split = split_bus(pair(Ask), share=0)
        assert split.seen_share is None
        assert {(await bus.call(Ask(user))).side for user in range(300)} == {1}

        split.share = 1
        assert {(await bus.call(Ask(user))).side for user in range(300)} == {2}

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_there_is_a_share_outside_of_everything(self, share: float) -> None:
        """A share is from 0 to 1; what was asked for stays as it was."""
        split = Split([pair(Ask)], share=0.5)
        with pytest.raises(ValueError, match="from 0 to 1"):
            Split([pair(Ask)], share=share)
        with pytest.raises(ValueError, match="from 0 to 1"):
            split.share = share

        assert split.share == 0.5

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.lists(st.integers(), min_size=1), st.text())
    def test_a_greater_share_takes_a_key_back(self, shares: list[float], users: list[int], salt: str) -> None:
        """Raising the share moves keys from old to new, never back."""
        split = Split([pair(Ask)], share=0, key="user", salt=salt)
        (sides,) = split.pairs
        chosen: set[int] = set()
        for share in sorted(shares):
            split.share = share
            now = {user for user in users if split.chooses(sides, Ask(user))}
            assert chosen <= now
            chosen = now

    def test_two_splits_try_the_same_keys(self) -> None:
        """Another salt chooses others, so that it is not always the same users who meet what is new."""
        chosen = set[tuple[bool, ...]]()
        for salt in ("shop@2", "shop@3"):
            split = Split([pair(Ask)], share=0.5, key="user", salt=salt)
            (sides,) = split.pairs
            chosen.add(tuple(split.chooses(sides, Ask(user)) for user in range(50)))

        assert len(chosen) == 2


class TestKey:
    async def test_a_key_changes_sides(self) -> None:
        """One key is on one side: for each tag, whatever else is said, whoever says it, and however it is said."""
        bus, _ = split_bus(pair(Ask, anew=AskAnew), pair(Buy), share=0.5)
        caller = bus.caller(Identity("remote", "stranger"))
        seen: set[int] = set()
        for user in range(20, 80):
            sides = {
                (await bus.call(Ask(user))).side,
                (await bus.call(Ask(user, 7.0))).side,
                (await bus.call(Buy(user))).side,
                (await bus.call(AskFromAfar(user))).side,
                (await caller.call(AskFromAfar(user))).side,
                (await bus.call_tag("shop.ask", {"user": user}))["side"],
                (await bus.call(AskAnew(user))).side,
            }
            assert len(sides) == 1
            seen |= sides
        assert seen == {1, 2}

    async def test_equal_requests_part(self) -> None:
        """Without a key it is all that a request says, however it was made: by class, by tag, with 1 or 1.0."""
        bus, _ = split_bus(pair(Ask), share=0.5, key="")
        seen: set[int] = set()
        for user in range(60):
            sides = {
                (await bus.call(Ask(user, 3.0))).side,
                (await bus.call(Ask(user, 3))).side,
                (await bus.call(AskFromAfar(user, 3))).side,
                (await bus.call_tag("shop.ask", {"user": user, "amount": 3}))["side"],
            }
            assert len(sides) == 1
            seen |= sides
        assert seen == {1, 2}

    async def test_a_key_that_is_left_out_is_no_key(self) -> None:
        """It is what the control's class takes for it."""
        for salt in "abcdefgh":
            bus, _ = split_bus(pair(Ask), share=0.5, key="amount", salt=salt)
            assert (await bus.call(AskInShort(1))).side == (await bus.call(Ask(2, 0.0))).side

    async def test_the_order_of_a_dict_counts(self) -> None:
        """Equal dicts are the same key."""
        bus, _ = split_bus(pair(Open), share=0.5, key="door")
        for number in range(40):
            there, back = {"a": number, "b": 1}, {"b": 1, "a": number}
            assert (await bus.call(Open(there))).side == (await bus.call(Open(back))).side

    async def test_what_cannot_be_encoded_fails(self) -> None:
        """It stays with the control, as if there were no candidate."""
        bus, _ = split_bus(pair(Open), share=1, key="")
        assert (await bus.call(Open(cast("Any", {"door": object()})))).side == 1
        assert (await bus.call(Open({"door": 1}))).side == 2

    async def test_what_its_type_would_refuse_fails(self) -> None:
        """A value that only Python let into the field is a key like any other."""
        bus, _ = split_bus(pair(Ask), share=1)
        assert (await bus.call(Ask(cast("Any", "a name")))).side == 2

    def test_a_field_that_is_not_everywhere_is_taken(self) -> None:
        """The error names who lacks it, and who has it."""
        with pytest.raises(SplitKeyError) as caught:
            Split([pair(Ask), pair(Buy), pair(Open)], share=0.1, key="user")
        assert (caught.value.lacking, caught.value.having) == (("shop.open",), ("shop.ask", "shop.buy"))
        assert "only 'shop.ask', 'shop.buy' can" in str(caught.value)

        with pytest.raises(SplitKeyError, match="no request can"):
            Split([pair(Ask)], share=0.1, key="usr")


class TestSides:
    async def test_the_candidates_error_bears_the_controls_name(self) -> None:
        """Each side's faults are its own: in the error, and in the figures."""

        async def fail(_: Ask) -> Price:
            raise KeyError("oh")

        control, candidate = pair(Ask)[0], Route(Ask, cast("Answer", fail), NEW)
        bus, split = split_bus((control, candidate), share=1)
        with pytest.raises(HandlerError) as caught:
            await bus.call(Ask(1))
        assert (caught.value.generation, candidate.errors, control.errors) == (2, 1, 0)
        assert candidate_figures(split).error_types == {"KeyError": 1}
        assert len(candidate.durations) == 1

    async def test_a_reply_of_the_wrong_type_is_not_counted(self) -> None:
        """It is the candidate's error like any other."""

        async def err(_: Ask) -> Ask:
            return Ask(1)

        bus, split = split_bus((pair(Ask)[0], Route(Ask, cast("Answer", err), NEW)), share=1)
        with pytest.raises(ReplyTypeError):
            await bus.call(Ask(1))
        assert candidate_figures(split).error_types == {"ReplyTypeError": 1}

    async def test_a_request_that_the_candidate_cannot_read_is_not_counted(self) -> None:
        """It reached no handler; the candidate's figures say so, and the control answers its like."""
        bus, split = split_bus(pair(Ask, anew=AskAnew), share=1)
        with pytest.raises(MessageValidationError, match="no 13"):
            await bus.call(Ask(13))
        assert candidate_figures(split) == Figures(refused=1)

        split.share = 0
        assert (await bus.call(Ask(13))).side == 1

    async def test_a_field_that_only_the_candidate_knows_is_lost(self) -> None:
        """Who says it by a class that has it is heard."""
        seen: list[str] = []

        async def note(request: AskAnew) -> Price:
            seen.append(request.note)
            return Price(2)

        bus, _ = split_bus((pair(Ask)[0], Route(AskAnew, cast("Answer", note), NEW)), share=1)
        await bus.call(AskAnew(1, note="well"))
        await bus.call(Ask(1))
        assert seen == ["well", ""]

    async def test_a_call_of_the_candidate_is_not_found(self) -> None:
        """Who stops all that was begun stops what either side has in hand."""

        async def hang(_: Ask) -> Price:
            await anyio.sleep_forever()
            raise AssertionError

        bus, _ = split_bus((pair(Ask)[0], Route(Ask, cast("Answer", hang), NEW)), share=1)

        async def ask() -> None:
            with pytest.raises(ServiceStoppedError, match="generation 2"):
                await bus.call(Ask(1))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            bus.cancel_within(None)

    async def test_the_candidate_makes_a_caller_wait_for_ever(self) -> None:
        """A deadline holds on both sides, and the error type is the bus's own."""
        clock = FakeClock()

        async def hang(_: Ask) -> Price:
            await anyio.sleep_forever()
            raise AssertionError

        bus = Bus(clock=clock)
        control, candidate = pair(Ask)[0], Route(Ask, cast("Answer", hang), NEW)
        bus.add_routes([control])
        split = Split([(control, candidate)], share=1, key="user")
        bus.split(split)

        async def ask() -> None:
            with pytest.raises(CallTimeoutError, match="generation 2"):
                await bus.call(Ask(1), timeout=5.0)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert candidate_figures(split).in_hand == bus.statistics().routes[1].in_hand == 1
            await clock.advance(5.0)
        assert candidate_figures(split).error_types == {"CallTimeoutError": 1}
        assert candidate_figures(split).in_hand == 0
        assert bus.statistics().timeouts == 1

    async def test_a_candidates_gate_is_open(self) -> None:
        """Its limit is its own; whom its queue refuses is counted as that, not as a call."""
        release = anyio.Event()

        async def wait(_: Ask) -> Price:
            await release.wait()
            return Price(2)

        limited = Route(Ask, cast("Answer", wait), NEW, gate=Gate("shop.ask", 1, 0))
        bus, split = split_bus((pair(Ask)[0], limited), share=1)
        async with anyio.create_task_group() as group:
            group.start_soon(bus.call, Ask(1))
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(HandlerBusyError):
                await bus.call(Ask(2))
            release.set()
        got = candidate_figures(split)
        assert (got.calls, got.refused, got.errors) == (1, 1, 0)
        assert limited.calls == 1

    async def test_a_call_in_hand_changes_sides(self) -> None:
        """It ends where it began, though the split is over; the candidate is idle only then."""
        release = anyio.Event()
        replies: list[Price] = []

        async def wait(_: Ask) -> Price:
            await release.wait()
            return Price(2)

        candidate = Route(Ask, cast("Answer", wait), NEW)
        bus, split = split_bus((pair(Ask)[0], candidate), share=1)

        async def ask() -> None:
            replies.append(await bus.call(Ask(1)))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            bus.unsplit(split)
            assert (await bus.call(Ask(1))).side == 1
            with anyio.move_on_after(0.01) as early:
                await candidate.wait_idle()
            release.set()
            await candidate.wait_idle()
        assert early.cancelled_caught
        assert replies == [Price(2)]
        assert bus.statistics().calls == 2

    async def test_a_handler_does_not_know_its_call(self) -> None:
        """``current_call()`` and an inner call are as on any route: the inner one is split by its own key."""

        async def answer(request: Ask) -> Price:
            call = current_call()
            assert call is not None
            assert call.tag == "shop.ask"
            return await bus.call(Buy(request.user))

        both = cast("Answer", answer)
        bus, split = split_bus((Route(Ask, both, OLD), Route(Ask, both, NEW)), pair(Buy), share=0.5)
        for user in range(40):
            inner = (await bus.call(Ask(user))).side
            assert inner == (await bus.call(Buy(user))).side
        assert control_figures(split).calls + candidate_figures(split).calls == 120

    async def test_an_observer_sees_only_the_control(self) -> None:
        """Who watches is told of each call with the route that answers."""
        seen: list[int] = []

        class Watch:
            def before_call(self, call: Any, request: Any) -> None: ...

            def after_call(self, call: Any, seconds: float, error: BaseException | None) -> None:
                seen.append(call.line.route.provider.generation)

            def event_published(self, event: Any, publisher: Any, kept: int) -> None: ...

            def act_refused(self, who: Any, tag: str, error: Exception) -> None: ...

        bus, split = split_bus(pair(Ask), share=1)
        await bus.call(Ask(1))
        bus.observe(Watch())
        await bus.call(Ask(1))
        split.share = 0
        await bus.call(Ask(1))
        bus.observe(None)
        await bus.call(Ask(1))
        assert seen == [2, 1]
        assert (control_figures(split).calls, candidate_figures(split).calls) == (2, 2)

    async def test_figures_begin_before_the_split(self) -> None:
        """What the control did before is the route's, and not the split's; the route has all."""
        control, candidate = pair(Ask)
        bus = bus_with((control, candidate))
        for _ in range(3):
            await bus.call(Ask(1))
        split = Split([(control, candidate)], share=0, key="user")
        bus.split(split)
        await bus.call(Ask(1))
        assert (control.calls, len(control.durations)) == (4, 4)
        got = control_figures(split)
        assert (got.calls, got.errors) == (1, 0)
        assert got.latency.p50 is not None
        assert got.latency.p50 == control.durations[-1]

    def test_a_side_counts_nothing_of_its_own(self) -> None:
        """Sides add up, and so do their errors by type."""
        first, second = (Side(route) for route in pair(Ask))
        first.calls, second.calls = 3, 4
        first.errors["KeyError"], second.errors["KeyError"], second.errors["OSError"] = 1, 2, 1

        got = figures([first, second])

        assert (got.calls, got.errors, got.error_types) == (7, 4, {"KeyError": 3, "OSError": 1})


class TestRouting:
    async def test_a_split_ends_and_the_candidate_goes_on(self) -> None:
        """Nothing of it is left to callers, and the totals still have what the candidate did."""
        bus, split = split_bus(pair(Ask), share=1)
        assert (await bus.call(Ask(1))).side == 2
        assert len(bus.statistics().routes) == 2
        bus.unsplit(split)
        bus.unsplit(split)
        assert (await bus.call(Ask(1))).side == 1
        assert bus.statistics().calls == 2
        assert len(bus.statistics().routes) == 1
        assert bus.routing.splits() == []

    async def test_the_control_goes_and_its_candidate_answers(self) -> None:
        """Without the one there is no other; callers are told so."""
        control, candidate = pair(Ask)
        bus, _ = split_bus((control, candidate), share=1)
        bus.remove_routes([control])
        with pytest.raises(NoHandlerError):
            await bus.call(Ask(1))

    async def test_the_candidate_goes_and_keeps_its_share(self) -> None:
        """The control has it all again."""
        control, candidate = pair(Ask)
        bus, _ = split_bus((control, candidate), pair(Buy), share=1)
        await bus.call(Ask(1))
        bus.remove_routes([candidate])
        assert (await bus.call(Ask(1))).side == 1
        assert (await bus.call(Buy(1))).side == 1

    async def test_a_promotion_loses_a_count(self) -> None:
        """The candidate takes over in one step, with all that it counted; also if that is undone and done again."""
        control, candidate = pair(Ask)
        bus, split = split_bus((control, candidate), share=0.5)
        for user in range(20):
            await bus.call(Ask(user))
        before = candidate.calls
        bus.add_routes([candidate], replacing=[control])
        assert candidate.calls == before
        assert bus.statistics().calls == 20
        bus.add_routes([control], replacing=[candidate])
        bus.split(split)
        assert bus.statistics().calls == 20
        await bus.call(Ask(1))
        bus.add_routes([candidate], replacing=[control])
        assert (await bus.call(Ask(1))).side == 2
        assert bus.statistics().calls == 22
        assert control_figures(split).calls + candidate_figures(split).calls == 21

    def test_calls_are_split_twice(self) -> None:
        """One canary at a time; and none beside what does not serve."""
        control, candidate = pair(Ask)
        bus, split = split_bus((control, candidate), share=0.5)
        with pytest.raises(RouteConflictError, match="beside a candidate"):
            bus.split(Split([(control, pair(Ask)[1])], share=0.5))
        with pytest.raises(NoHandlerError, match="does not serve"):
            bus.split(Split([pair(Buy)], share=0.5))
        assert bus.routing.splits() == [split]

    async def test_a_split_is_not_parked(self) -> None:
        """Calls of a tag that is parked wait, whichever side they belong to."""
        bus, _ = split_bus(pair(Ask), share=1)
        replies: list[Price] = []
        await bus.call(Ask(1))

        async def ask() -> None:
            replies.append(await bus.call(Ask(1)))

        async with anyio.create_task_group() as group:
            with bus.parked(["shop.ask"]):
                group.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                assert replies == []
        assert replies == [Price(2)]
