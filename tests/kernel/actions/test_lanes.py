"""The lanes: order within one, turns between them, room, and readers that are cancelled."""

from __future__ import annotations

import random
from collections import Counter

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.actions import lanes as lanes_module
from aetherra.kernel.actions.lanes import Lane, Lanes
from aetherra.kernel.testing import FakeClock

BOUNDS = {"high": (10, 5, 3), "normal": (10, 3, 2), "background": (10, 1, 1)}
names = st.sampled_from(list(BOUNDS))


class Item:
    """What waits: its lane, its level there, and when it came."""

    in_lane = False

    def __init__(self, lane: str, level: int = 0, number: int = 0) -> None:
        self.lane, self.level, self.number = lane, level, number

    def __repr__(self) -> str:
        return f"{self.lane}-{self.level}-{self.number}"


def put(lanes: Lanes[Item], item: Item) -> Item:
    """Admit an item as the queue does: first its room, then its place."""
    lane = lanes.lanes[item.lane]
    lane.held += 1
    lanes.put(lane, lane.levels[item.level], item)
    return item


def take(lanes: Lanes[Item]) -> Item:
    item = lanes.take()
    assert item is not None
    return item


async def read(lanes: Lanes[Item]) -> Item:
    """Read as a worker does."""
    while True:
        item = lanes.take()
        if item is not None:
            return item
        await lanes.wait()


class TestOrder:
    @given(st.lists(st.integers(0, 2), max_size=30))
    def test_items_of_a_lane_leave_by_level_and_then_in_arrival_order(self, levels: list[int]) -> None:
        """The same as a stable sort by level."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        items = [put(lanes, Item("high", level, number)) for number, level in enumerate(levels)]

        assert [take(lanes) for _ in items] == sorted(items, key=lambda item: item.level)
        assert lanes.take() is None

    @settings(max_examples=300)
    @given(st.lists(st.tuples(names, st.sampled_from(["put", "put", "discard", "take"]), st.randoms()), max_size=60))
    def test_every_item_leaves_once_whatever_is_taken_out_between(
        self, steps: list[tuple[str, str, random.Random]]
    ) -> None:
        """Put, take and discard in any order agree with a list, and so do the lanes' figures."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        model: list[Item] = []
        held = Counter[str]()
        for number, (lane, step, chance) in enumerate(steps):
            there = [item for item in model if item.lane == lane]
            if step == "put":
                model.append(put(lanes, Item(lane, chance.randrange(BOUNDS[lane][2]), number)))
                held[lane] += 1
            elif step == "take" and model:
                taken = take(lanes)
                model.remove(taken)
                held[taken.lane] -= 1
                assert not taken.in_lane
            elif step == "discard" and there:
                victim = chance.choice(there)
                lanes.lanes[lane].discard(victim)
                lanes.lanes[lane].discard(victim)  # once more does no harm
                model.remove(victim)
            assert {name: made.depth for name, made in lanes.lanes.items()} == {
                name: sum(item.lane == name for item in model) for name in BOUNDS
            }
            assert all(made.held == held[name] for name, made in lanes.lanes.items())
            for made in lanes.lanes.values():  # it knows how much of what it has is there in name only
                assert made._stale == sum(map(len, made.levels)) - made.depth
            assert len(lanes) == len(model)
        taken_at_last = [take(lanes) for _ in range(len(lanes))]
        for name in BOUNDS:
            assert [item for item in taken_at_last if item.lane == name] == sorted(
                (item for item in model if item.lane == name), key=lambda item: (item.level, item.number)
            )

    def test_removed_items_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A lane in which everything is cancelled, and nothing taken, stays as small as what is in it."""
        monkeypatch.setattr(lanes_module, "STALE", 5)
        lanes: Lanes[Item] = Lanes(BOUNDS)
        lane = lanes.lanes["high"]
        kept: list[Item] = []
        for number in range(300):
            item = put(lanes, Item("high", number % 3, number))
            if number % 60:
                lane.discard(item)
            else:
                kept.append(item)
            assert sum(map(len, lane.levels)) <= 2 * lane.depth + 6

        assert [take(lanes) for _ in kept] == kept
        assert lanes.take() is None

    def test_a_lane_that_is_empty_says_so(self) -> None:
        """Whoever takes from a lane has to know that there is something."""
        lane: Lane[Item] = Lane("high", 10, 5, 3)
        item = Item("high")
        lane.levels[0].append(item)
        item.in_lane, lane.depth, lane.held = True, 1, 1
        lane.discard(item)

        with pytest.raises(LookupError, match="empty"):
            lane.take()


class TestTurns:
    def test_full_lanes_are_served_five_to_three_to_one(self) -> None:
        """In every nine turns each lane has its share, spread out and not in blocks."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        for name in BOUNDS:
            for _ in range(90):
                put(lanes, Item(name))

        for _ in range(10):
            turns = [take(lanes).lane for _ in range(9)]
            assert Counter(turns) == {"high": 5, "normal": 3, "background": 1}
            assert "high high high" not in " ".join(turns)

    def test_two_lanes_share_in_the_ratio_of_their_own_weights(self) -> None:
        """An empty lane's turns are not lost: the others have them, three to one."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        for name in ("normal", "background"):
            for _ in range(40):
                put(lanes, Item(name))

        for _ in range(10):
            assert Counter(take(lanes).lane for _ in range(4)) == {"normal": 3, "background": 1}

    def test_a_weight_that_is_changed_counts_from_the_next_turns(self) -> None:
        """No start is needed, and no turn is lost."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        for name in BOUNDS:
            for _ in range(90):
                put(lanes, Item(name))
        for _ in range(9):
            take(lanes)
        lanes.lanes["background"].set(10, 5)

        assert Counter(take(lanes).lane for _ in range(13 * 4)) == {"high": 20, "normal": 12, "background": 20}

    @settings(max_examples=200)
    @given(st.lists(st.lists(names, max_size=4), min_size=1, max_size=150))
    def test_no_lane_with_something_in_it_waits_for_long(self, arrivals: list[list[str]]) -> None:
        """Whatever arrives when, a lane's next turn is never further off than a few rounds of all the weights."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        waited: Counter[str] = Counter()
        longest = 0
        for batch in arrivals:
            for name in batch:
                put(lanes, Item(name))
            item = lanes.take()
            if item is None:
                continue
            for name, lane in lanes.lanes.items():
                waited[name] = waited[name] + 1 if lane.depth and name != item.lane else 0
                longest = max(longest, waited[name])

        assert longest <= 2 * sum(weight for _, weight, _ in BOUNDS.values())

    def test_an_empty_lane_saves_up_no_turns(self) -> None:
        """One that was idle for long comes back to its share, not to a run of turns."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        for _ in range(1000):
            put(lanes, Item("background"))
        for _ in range(900):
            take(lanes)
        for _ in range(50):
            put(lanes, Item("high"))

        first = [take(lanes).lane for _ in range(12)]

        assert first.count("background") == 2


class Crowd:
    """Submitters that wait for room in a lane, in the order in which they came, and those who have it."""

    def __init__(self, lane: Lane[Item], group: anyio.abc.TaskGroup) -> None:
        self.lane, self.group = lane, group
        self.scopes: list[anyio.CancelScope] = []
        self.inside: list[int] = []

    async def come(self, number: int) -> None:
        self.group.start_soon(self._wait, number)
        await FakeClock().advance(0)

    async def _wait(self, number: int) -> None:
        with anyio.CancelScope() as scope:
            self.scopes.append(scope)
            await self.lane.wait_for_room()
            self.inside.append(number)


class TestRoom:
    def test_a_full_lane_has_no_room_and_the_others_do(self) -> None:
        """Each lane has its own bound; what waits between two attempts keeps the room that it holds."""
        lanes: Lanes[Item] = Lanes({"a": (2, 1, 1), "b": (2, 1, 1)})
        a, b = lanes.lanes.values()
        put(lanes, Item("a"))
        assert a.has_room
        put(lanes, Item("a"))
        assert not a.has_room
        assert b.has_room
        take(lanes)
        assert a.has_room
        a.held += 1  # it comes back

        assert not a.has_room

    async def test_whoever_waits_for_room_gets_it_in_order(self) -> None:
        """Each place that is free goes to who has waited longest; somebody new does not go before them."""
        lanes: Lanes[Item] = Lanes({"a": (2, 1, 1)})
        lane = lanes.lanes["a"]
        put(lanes, Item("a"))
        gone = put(lanes, Item("a"))
        async with anyio.create_task_group() as group:
            crowd = Crowd(lane, group)
            for number in range(4):
                await crowd.come(number)
            assert crowd.inside == []
            take(lanes)
            assert not lane.has_room  # it is the first waiter's already, who has not run yet
            await FakeClock().advance(0)
            assert crowd.inside == [0]
            lane.discard(gone)
            await FakeClock().advance(0)
            assert crowd.inside == [0]  # what was discarded keeps its room until that is given up
            lane.give_up_room()
            lane.give_up_room()
            await FakeClock().advance(0)
            assert sorted(crowd.inside) == [0, 1, 2]  # both of the last two at once
            assert (lane.held, lane.has_room) == (2, False)
            group.cancel_scope.cancel()

    async def test_room_that_is_there_is_had_at_once(self) -> None:
        """Who waits for room where there is some takes it."""
        lane: Lane[Item] = Lane("a", 1, 1, 1)
        with anyio.fail_after(5):
            await lane.wait_for_room()

        assert (lane.held, lane.has_room) == (1, False)

    async def test_a_waiter_that_is_cancelled_takes_no_room(self) -> None:
        """Neither one that waits nor one that was just let in; those behind it move up."""
        lane: Lane[Item] = Lane("a", 1, 1, 1)
        await lane.wait_for_room()
        async with anyio.create_task_group() as group:
            crowd = Crowd(lane, group)
            for number in range(4):
                await crowd.come(number)
            crowd.scopes[1].cancel()
            await FakeClock().advance(0)
            crowd.scopes[0].cancel()
            lane.give_up_room()  # which the first of them is given, in the same breath as its cancellation
            await FakeClock().advance(0)

            assert len(crowd.inside) == 1
            assert crowd.inside[0] in (0, 2)
            assert lane.held == 1
            lane.give_up_room()
            await FakeClock().advance(0)
            assert crowd.inside[1:] == [2 if crowd.inside[0] == 0 else 3]
            assert lane.held == 1
            group.cancel_scope.cancel()
        assert (lane.held, lane.has_room) == (1, False)
        lane.give_up_room()
        assert lane.has_room

    async def test_waiters_that_are_all_cancelled_as_room_comes_take_none_of_it(self) -> None:
        """Room that nobody is left to use is free again."""
        lane: Lane[Item] = Lane("a", 1, 1, 1)
        await lane.wait_for_room()
        async with anyio.create_task_group() as group:
            crowd = Crowd(lane, group)
            for number in range(2):
                await crowd.come(number)
            group.cancel_scope.cancel()
            lane.give_up_room()

        assert lane.held == len(crowd.inside)

    async def test_a_capacity_that_grows_lets_in_who_waits(self) -> None:
        """As many as there is room for; one that shrinks puts nobody out."""
        lane: Lane[Item] = Lane("a", 1, 1, 1)
        await lane.wait_for_room()
        async with anyio.create_task_group() as group:
            crowd = Crowd(lane, group)
            for number in range(5):
                await crowd.come(number)
            lane.set(3, 1)
            await FakeClock().advance(0)
            assert sorted(crowd.inside) == [0, 1]
            lane.set(1, 1)
            lane.give_up_room()
            lane.give_up_room()
            await FakeClock().advance(0)
            assert (len(crowd.inside), lane.held, lane.has_room) == (2, 1, False)
            lane.give_up_room()
            await FakeClock().advance(0)
            assert crowd.inside[2:] == [2]
            group.cancel_scope.cancel()

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from(["asyncio", "trio"]))
    def test_no_room_is_lost_or_given_twice_however_waiters_are_cancelled(self, seed: int, backend: str) -> None:
        """Random arrivals, departures, cancellations and capacities: room is held by those inside, and by no other."""

        async def run() -> None:
            chance = random.Random(seed)
            lane: Lane[Item] = Lane("a", 2, 1, 1)
            async with anyio.create_task_group() as group:
                crowd = Crowd(lane, group)
                for number in range(40):
                    for _ in range(chance.randrange(4)):
                        match chance.randrange(5):
                            case 0 | 1:
                                group.start_soon(crowd._wait, number)
                            case 2 if crowd.scopes:
                                chance.choice(crowd.scopes).cancel()
                            case 3 if crowd.inside:
                                crowd.inside.pop()
                                lane.give_up_room()
                            case 4:
                                lane.set(chance.randrange(1, 5), 1)
                            case _:
                                pass
                    await FakeClock().advance(0)
                    assert lane.held == len(crowd.inside)
                    assert not (lane.waiters and lane.held < lane.capacity)
                group.cancel_scope.cancel()
            assert lane.held == len(crowd.inside)

        anyio.run(run, backend=backend)


class TestReaders:
    async def test_a_waiting_reader_gets_what_comes(self) -> None:
        """Readers wait without turning, and each item wakes one."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        got: list[int] = []
        looks: list[int] = []

        async def reader(number: int) -> None:
            while (item := lanes.take()) is None:
                looks.append(number)
                await lanes.wait()
            got.append(item.number)

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(reader, number)
            await FakeClock().advance(0)
            put(lanes, Item("high", 0, 1))
            await FakeClock().advance(0)
            assert got == [1]
            put(lanes, Item("high", 0, 2))
            put(lanes, Item("background", 0, 3))

        assert sorted(got) == [1, 2, 3]
        assert len(looks) == 3

    async def test_all_readers_look_again_when_they_are_told_to(self) -> None:
        """Also where there is nothing: some of them may be too many. ``wake_one`` tells one alone."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        woken: list[int] = []

        async def reader(number: int) -> None:
            await lanes.wait()
            woken.append(number)

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(reader, number)
            await FakeClock().advance(0)
            lanes.wake_one()
            await FakeClock().advance(0)
            assert len(woken) == 1
            lanes.wake_all()

        assert sorted(woken) == [0, 1, 2, 3]
        lanes.wake_one()  # nobody is there

    async def test_a_cancelled_reader_takes_nothing(self) -> None:
        """What it would have had is there for the next."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await read(lanes)
        assert scope.cancelled_caught
        item = put(lanes, Item("high"))

        assert await read(lanes) is item

    @pytest.mark.parametrize("chosen", range(4))
    async def test_a_wake_up_that_meets_a_cancellation_goes_to_another_reader(self, chosen: int) -> None:
        """An item that comes just as its reader is cancelled does not lie there while others wait."""
        lanes: Lanes[Item] = Lanes(BOUNDS)
        got: list[int] = []
        scopes: list[anyio.CancelScope] = []

        async def reader() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                got.append((await read(lanes)).number)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(reader)
            await FakeClock().advance(0)
            for scope in scopes[:chosen] + scopes[chosen + 1 :]:
                scope.cancel()
            put(lanes, Item("high", 0, 1))
            await FakeClock().advance(0)
            group.cancel_scope.cancel()

        assert got == [1]

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from(["asyncio", "trio"]))
    def test_no_item_is_lost_or_left_lying_however_readers_are_cancelled(self, seed: int, backend: str) -> None:
        """Random puts, reads and cancellations: after each rest, items lie there only if nobody waits for one."""

        async def run() -> None:
            chance = random.Random(seed)
            lanes: Lanes[Item] = Lanes(BOUNDS)
            scopes: list[anyio.CancelScope] = []
            came, got = 0, list[int]()

            async def reader() -> None:
                with anyio.CancelScope() as scope:
                    scopes.append(scope)
                    try:
                        got.append((await read(lanes)).number)
                    finally:
                        scopes.remove(scope)

            async with anyio.create_task_group() as group:
                for _ in range(40):
                    for _ in range(chance.randrange(4)):
                        match chance.randrange(3):
                            case 0:
                                put(lanes, Item(chance.choice(list(BOUNDS)), 0, came))
                                came += 1
                            case 1:
                                group.start_soon(reader)
                            case _:
                                if scopes:
                                    chance.choice(scopes).cancel()
                    await FakeClock().advance(0)
                    assert not (len(lanes) and scopes)
                    assert len(got) + len(lanes) == came
                group.cancel_scope.cancel()
            assert len(set(got)) == len(got)

        anyio.run(run, backend=backend)
