"""The lanes: order within one, turns between them, and readers that are cancelled."""

from __future__ import annotations

import random
from collections import Counter

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.actions.lanes import Lanes
from aetherra.kernel.testing import FakeClock

BOUNDS = {"high": (10, 5), "normal": (10, 3), "background": (10, 1)}
Item = tuple[str, int, int]
"""Lane, priority, and the order of arrival."""
names = st.sampled_from(list(BOUNDS))


async def take_all(lanes: Lanes[Item]) -> list[Item]:
    return [await lanes.get() for _ in range(len(lanes))]


class TestOrder:
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers()), max_size=30))
    def test_items_of_a_lane_leave_by_priority_and_then_in_arrival_order(self, items: list[tuple[int, int]]) -> None:
        """The same as a stable sort by priority."""

        async def run() -> list[tuple[int, int]]:
            lanes: Lanes[tuple[int, int]] = Lanes(BOUNDS)
            for item in items:
                lanes.put("high", item[0], item)
            return [await lanes.get() for _ in items]

        assert anyio.run(run) == sorted(items, key=lambda item: item[0])

    @settings(max_examples=300)
    @given(
        st.lists(
            st.tuples(names, st.sampled_from(["put", "put", "put", "discard", "get"]), st.integers(0, 9)), max_size=60
        )
    )
    def test_every_item_leaves_once_whatever_is_taken_out_between(self, steps: list[tuple[str, str, int]]) -> None:
        """Put, get and discard in any order agree with a list."""

        async def run() -> None:
            lanes: Lanes[Item] = Lanes(BOUNDS)
            model: list[Item] = []
            for number, (lane, step, priority) in enumerate(steps):
                if step == "put":
                    item = (lane, priority, number)
                    lanes.put(lane, priority, item)
                    model.append(item)
                elif step == "get" and model:
                    model.remove(await lanes.get())
                elif step == "discard":
                    victim = min((item for item in model if item[0] == lane), default=None)
                    if victim is not None:
                        lanes.discard(lane, victim)
                        model.remove(victim)
                depths = {name: stats.depth for name, stats in lanes.statistics().items()}
                assert depths == {name: sum(item[0] == name for item in model) for name in BOUNDS}
            taken = await take_all(lanes)
            assert sorted(taken) == sorted(model)
            for name in BOUNDS:
                assert [item for item in taken if item[0] == name] == sorted(item for item in model if item[0] == name)

        anyio.run(run)


class TestTurns:
    async def test_full_lanes_are_served_five_to_three_to_one(self) -> None:
        """In every nine turns each lane has its share, spread out and not in blocks."""
        lanes: Lanes[str] = Lanes(BOUNDS)
        for name in BOUNDS:
            for _ in range(90):
                lanes.put(name, 0, name)

        for _ in range(10):
            assert Counter([await lanes.get() for _ in range(9)]) == {"high": 5, "normal": 3, "background": 1}

    @settings(max_examples=200)
    @given(st.lists(st.lists(names, max_size=4), min_size=1, max_size=150))
    def test_no_lane_with_something_in_it_waits_for_long(self, arrivals: list[list[str]]) -> None:
        """Whatever arrives when, a lane's next turn is never further off than a few rounds of all the weights."""

        async def run() -> int:
            lanes: Lanes[str] = Lanes(BOUNDS)
            waited: Counter[str] = Counter()
            longest = 0
            for batch in arrivals:
                for name in batch:
                    lanes.put(name, 0, name)
                if not len(lanes):
                    continue
                taken = await lanes.get()
                depths = {name: stats.depth for name, stats in lanes.statistics().items()}
                for name in BOUNDS:
                    waited[name] = waited[name] + 1 if depths[name] and name != taken else 0
                    longest = max(longest, waited[name])
            return longest

        assert anyio.run(run) <= 2 * sum(weight for _, weight in BOUNDS.values())

    async def test_an_empty_lane_saves_up_no_turns(self) -> None:
        """One that was idle for long comes back to its share, not to a run of turns."""
        lanes: Lanes[str] = Lanes(BOUNDS)
        for _ in range(1000):
            lanes.put("background", 0, "background")
        for _ in range(900):
            await lanes.get()
        for _ in range(50):
            lanes.put("high", 0, "high")

        first = [await lanes.get() for _ in range(12)]

        assert first.count("background") == 2


class TestRoom:
    def test_a_full_lane_has_no_room_and_the_others_do(self) -> None:
        """Each lane has its own bound; those that belong to it and wait elsewhere count."""
        lanes: Lanes[int] = Lanes({"a": (2, 1), "b": (2, 1)})
        lanes.put("a", 0, 1)

        assert lanes.has_room("a")
        assert not lanes.has_room("a", extra=1)
        lanes.put("a", 0, 2)
        assert not lanes.has_room("a")
        assert lanes.has_room("b")

    def test_refusals_are_counted_by_lane(self) -> None:
        """A snapshot says how often which lane was full."""
        lanes: Lanes[int] = Lanes({"a": (2, 1), "b": (3, 4)})
        lanes.refuse("a")
        lanes.refuse("a")
        lanes.put("b", 0, 1)

        a, b = lanes.statistics().values()
        assert (a.depth, a.capacity, a.weight, a.refused) == (0, 2, 1, 2)
        assert (b.depth, b.capacity, b.weight, b.refused) == (1, 3, 4, 0)

    async def test_clear_leaves_nothing(self) -> None:
        """After it a reader waits."""
        lanes: Lanes[int] = Lanes(BOUNDS)
        lanes.put("high", 0, 1)
        lanes.put("background", 0, 1)
        lanes.clear()

        assert len(lanes) == 0
        with anyio.move_on_after(0) as scope:
            await lanes.get()
        assert scope.cancelled_caught


class TestReaders:
    async def test_a_waiting_reader_gets_what_comes(self) -> None:
        """Readers wait without turning, and each item wakes one."""
        lanes: Lanes[int] = Lanes(BOUNDS)
        got: list[int] = []

        async def read() -> None:
            got.append(await lanes.get())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            await FakeClock().advance(0)
            lanes.put("high", 0, 1)
            await FakeClock().advance(0)
            assert got == [1]
            lanes.put("high", 0, 2)
            lanes.put("high", 0, 3)

        assert sorted(got) == [1, 2, 3]

    async def test_a_reader_of_a_lane_that_never_empties_lets_others_run(self) -> None:
        """Each ``get`` is a checkpoint, also when an item is there."""
        lanes: Lanes[int] = Lanes(BOUNDS)
        ran = anyio.Event()

        async def other() -> None:
            ran.set()

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for _ in range(5):
                lanes.put("high", 0, 1)
                await lanes.get()
            assert ran.is_set()

    async def test_a_cancelled_reader_takes_nothing(self) -> None:
        """What it would have had is there for the next."""
        lanes: Lanes[int] = Lanes(BOUNDS)
        lanes.put("high", 0, 1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await lanes.get()

        assert scope.cancelled_caught
        assert await lanes.get() == 1

    @pytest.mark.parametrize("chosen", range(4))
    async def test_a_wake_up_that_meets_a_cancellation_goes_to_another_reader(self, chosen: int) -> None:
        """An item that comes just as its reader is cancelled does not lie there while others wait."""
        lanes: Lanes[int] = Lanes(BOUNDS)
        got: list[int] = []
        scopes: list[anyio.CancelScope] = []

        async def read() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                got.append(await lanes.get())

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(read)
            await FakeClock().advance(0)
            for scope in scopes[:chosen] + scopes[chosen + 1 :]:
                scope.cancel()
            lanes.put("high", 0, 1)
            await FakeClock().advance(0)
            group.cancel_scope.cancel()

        assert got == [1]

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from(["asyncio", "trio"]))
    def test_no_item_is_lost_or_left_lying_however_readers_are_cancelled(self, seed: int, backend: str) -> None:
        """Random puts, reads and cancellations: after each rest, items lie there only if nobody waits for one."""

        async def run() -> None:
            chance = random.Random(seed)
            lanes: Lanes[int] = Lanes(BOUNDS)
            scopes: set[anyio.CancelScope] = set()
            put, got = 0, list[int]()

            async def read() -> None:
                with anyio.CancelScope() as scope:
                    scopes.add(scope)
                    try:
                        got.append(await lanes.get())
                    finally:
                        scopes.discard(scope)

            async with anyio.create_task_group() as group:
                for _ in range(40):
                    for _ in range(chance.randrange(4)):
                        match chance.randrange(3):
                            case 0:
                                lanes.put(chance.choice(list(BOUNDS)), chance.randrange(3), put)
                                put += 1
                            case 1:
                                group.start_soon(read)
                            case _:
                                if scopes:
                                    chance.choice(sorted(scopes, key=id)).cancel()
                    await FakeClock().advance(0)
                    assert not (len(lanes) and scopes)
                    assert len(got) + len(lanes) == put
                group.cancel_scope.cancel()
            assert len(set(got)) == len(got)

        anyio.run(run, backend=backend)
