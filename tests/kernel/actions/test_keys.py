"""Idempotency keys: the same work once, for as long as its key counts."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.kernel import ActionEnvelope, ActionHandle, ReplyLostError
from aetherra.kernel.actions import keys as keys_module
from aetherra.kernel.actions.keys import Keys
from aetherra.kernel.actions.records import Finished
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Message, MessageValidationError, Request
from aetherra.registry.messages import to_builtins


class Planted(Message, tag="keys.planted"):
    rows: int


class Refused(Message, tag="keys.refused"):
    why: str


class Plant(Request[Planted], tag="keys.plant"):
    pass


class PlantOrNot(Request[Planted | Refused], tag="keys.plant_or_not"):
    pass


class Plough(Request[None], tag="keys.plough"):
    pass


class Count(Request[int], tag="keys.count"):
    pass


class List(Request[dict[str, int] | None], tag="keys.list"):
    pass


class Ask(Request[Any], tag="keys.ask"):
    pass


KEY = ("keys.plant", "spring")


def handle(name: str = "first") -> ActionHandle[Any]:
    return ActionHandle(ActionEnvelope(Plant(), trace_id=name, idempotency_key="spring"))


def done(name: str = "first") -> ActionHandle[Any]:
    ended = handle(name)
    ended.settle(Planted(3))
    return ended


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(clock: FakeClock) -> Keys:
    return Keys(clock)


class TestHeld:
    def test_a_key_stands_for_an_action_until_it_ends(self, keys: Keys) -> None:
        """The same handle each time, and each is counted as a duplicate; another type or key is other work."""
        first = handle()
        assert keys.find(KEY, Plant()) is None
        keys.hold(KEY, first)

        assert keys.find(KEY, Plant()) is first
        assert keys.find(KEY, Plant()) is first
        assert keys.find(("keys.plough", "spring"), Plough()) is None
        assert keys.find(("keys.plant", "autumn"), Plant()) is None
        assert (len(keys), keys.duplicates) == (1, 2)

    def test_a_dead_action_lets_its_key_go(self, keys: Keys) -> None:
        """The work was not done. A key that has gone to somebody else is not touched."""
        first, second = handle(), handle("second")
        keys.hold(KEY, first)
        keys.release(KEY, first)
        assert keys.find(KEY, Plant()) is None
        keys.hold(KEY, second)
        keys.release(KEY, first)

        assert keys.find(KEY, Plant()) is second
        assert keys.duplicates == 1

    async def test_an_action_that_is_not_finished_keeps_its_key_beyond_any_window(
        self, keys: Keys, clock: FakeClock
    ) -> None:
        """The window is for what is done; work under way is never begun again beside itself."""
        first = handle()
        keys.hold(KEY, first)
        await clock.advance(1e9)

        assert keys.find(KEY, Plant()) is first


class TestKept:
    async def test_work_that_is_done_is_known_until_its_window_is_over(self, keys: Keys, clock: FakeClock) -> None:
        """Then the key is free, and no longer counted as one."""
        first = done()
        keys.keep(KEY, first, clock.time() + 10.0)
        await clock.advance(9.9)
        assert keys.find(KEY, Plant()) is first
        assert (len(keys), keys.duplicates) == (1, 1)
        await clock.advance(0.1)

        assert len(keys) == 0
        assert keys.find(KEY, Plant()) is None
        assert keys.duplicates == 1

    @pytest.mark.parametrize("jump", [-3600.0, 3600.0])
    async def test_a_wall_clock_that_jumps_moves_no_window(self, keys: Keys, clock: FakeClock, jump: float) -> None:
        """Neither an hour back nor an hour forward: what counts is how much time has passed."""
        first = done()
        keys.keep(KEY, first, clock.time() + 10.0)
        clock.set_time(clock.time() + jump)
        await clock.advance(9.0)
        assert keys.find(KEY, Plant()) is first
        await clock.advance(1.0)

        assert keys.find(KEY, Plant()) is None

    async def test_the_end_of_an_old_window_leaves_the_newer_work_under_its_key_alone(
        self, keys: Keys, clock: FakeClock
    ) -> None:
        """Each window is that of one action."""
        keys.keep(KEY, done("first"), clock.time() + 5.0)
        second = done("second")
        keys.hold(KEY, second)
        keys.keep(KEY, second, clock.time() + 20.0)
        await clock.advance(6.0)
        assert keys.find(KEY, Plant()) is second
        await clock.advance(14.0)

        assert keys.find(KEY, Plant()) is None

    async def test_each_key_ends_at_its_own_time(self, keys: Keys, clock: FakeClock) -> None:
        """In whatever order they came."""
        for number, seconds in enumerate((30.0, 10.0, 20.0)):
            keys.keep(("keys.plant", str(number)), done(str(number)), clock.time() + seconds)
        lengths: list[int] = []
        for _ in range(4):
            lengths.append(len(keys))
            await clock.advance(10.0)

        assert lengths == [3, 2, 1, 0]

    def test_there_are_only_so_many_and_those_that_end_first_make_room(
        self, keys: Keys, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A flood of keys costs the oldest of them, not the host's memory; what runs is not among them."""
        monkeypatch.setattr(keys_module, "MOST", 3)
        keys.hold(("keys.plant", "runs"), handle("runs"))
        for number, seconds in enumerate((50.0, 10.0, 40.0, 20.0, 30.0)):
            keys.keep(("keys.plant", str(number)), done(str(number)), clock.time() + seconds)

        known = [number for number in range(5) if keys.find(("keys.plant", str(number)), Plant()) is not None]
        assert known == [0, 2, 4]
        assert keys.find(("keys.plant", "runs"), Plant()) is not None


class TestForgotten:
    async def test_whoever_wants_to_know_is_told_which_work_is_known_no_more(
        self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once each, when its window is over or it has made room, as soon as there is anything to do with keys."""
        told: list[str] = []
        keys = Keys(clock, told.append)
        for number, seconds in enumerate((10.0, 20.0)):
            keys.keep(("keys.plant", str(number)), done(str(number)), clock.time() + seconds)
        assert told == []
        await clock.advance(10.0)
        keys.keep(("keys.plant", "2"), done("2"), clock.time() + 50.0)
        assert told == ["0"]
        monkeypatch.setattr(keys_module, "MOST", 2)
        keys.keep(("keys.plant", "3"), done("3"), clock.time() + 50.0)
        assert told == ["0", "1"]
        await clock.advance(50.0)
        keys.find(KEY, Plant())
        keys.find(KEY, Plant())

        assert told == ["0", "1", "2", "3"]
        assert len(keys) == 0

    def test_work_that_is_dead_was_never_known(self, clock: FakeClock) -> None:
        """There is nothing to forget."""
        told: list[str] = []
        keys = Keys(clock, told.append)
        first = handle()
        keys.hold(KEY, first)
        keys.release(KEY, first)

        assert told == []


class TestEarlierRuns:
    """What an earlier run has done is known by its record alone."""

    def restored(self, keys: Keys, clock: FakeClock, request: Request[Any], reply: Any, *, lost: bool = False) -> Any:
        keys.keep(KEY, Finished("first", KEY, clock.time() + 10.0, reply, lost), clock.time() + 10.0)
        return keys.find(KEY, request)

    async def test_a_reply_comes_back_as_todays_class(self, keys: Keys, clock: FakeClock) -> None:
        """The handle is done, bears the first action's name, and has its reply; ``None`` is a reply, too."""
        found = self.restored(keys, clock, Plant(), to_builtins(Planted(3), tagged=True))
        assert (found.status, found.trace_id, keys.duplicates) == ("done", "first", 1)
        assert await found.wait() == Planted(3)
        assert not found.cancel()

        assert await self.restored(keys, clock, Plough(), None).wait() is None

    async def test_a_reply_of_several_types_is_told_apart_by_its_tag(self, keys: Keys, clock: FakeClock) -> None:
        """Both come back as what they were."""
        for reply in (Planted(3), Refused("frost")):
            found = self.restored(keys, clock, PlantOrNot(), to_builtins(reply, tagged=True))
            assert await found.wait() == reply

    @pytest.mark.parametrize(
        ("request_", "reply"),
        [(Count(), 5), (List(), {"rows": 3}), (List(), {"type": 3}), (Ask(), "rain"), (Ask(), {"rows": 3})],
    )
    async def test_a_reply_that_is_no_message_comes_back_as_it_was(
        self, keys: Keys, clock: FakeClock, request_: Request[Any], reply: Any
    ) -> None:
        """A request may be answered by a number, or by anything."""
        assert await self.restored(keys, clock, request_, reply).wait() == reply

    async def test_a_reply_that_is_not_what_todays_request_is_answered_with_says_so(
        self, keys: Keys, clock: FakeClock
    ) -> None:
        """Where the request is now answered by something else altogether."""
        found = self.restored(keys, clock, Count(), "five")
        assert found.status == "done"
        with pytest.raises(MessageValidationError, match="int"):
            await found.wait()

    async def test_a_message_for_a_request_that_names_no_type_is_lost(self, keys: Keys, clock: FakeClock) -> None:
        """Its fields alone are not the message that it was."""
        found = self.restored(keys, clock, Ask(), to_builtins(Planted(3), tagged=True))
        with pytest.raises(ReplyLostError, match=r"keys\.planted"):
            await found.wait()

    async def test_a_reply_that_could_not_be_kept_is_said_to_be_lost(self, keys: Keys, clock: FakeClock) -> None:
        """The work is done, and not done again; only what it brought is gone."""
        found = self.restored(keys, clock, Plant(), None, lost=True)
        assert found.status == "done"
        with pytest.raises(ReplyLostError, match="could not hold it") as caught:
            await found.wait()

        assert caught.value.trace_id == "first"

    async def test_a_reply_of_a_type_that_the_request_does_not_know_any_more_is_lost(
        self, keys: Keys, clock: FakeClock
    ) -> None:
        """The error names what it was."""
        found = self.restored(keys, clock, Plant(), to_builtins(Refused("frost"), tagged=True))
        assert found.status == "done"
        with pytest.raises(ReplyLostError, match=r"keys\.refused"):
            await found.wait()

    async def test_a_reply_with_other_fields_than_todays_says_which(self, keys: Keys, clock: FakeClock) -> None:
        """It is done all the same."""
        tagged = to_builtins(Planted(3), tagged=True)
        found = self.restored(keys, clock, Plant(), tagged | {"rows": "three"})
        assert found.status == "done"
        with pytest.raises(MessageValidationError, match="rows"):
            await found.wait()

    async def test_its_key_ends_with_its_window(self, keys: Keys, clock: FakeClock) -> None:
        """Counted from the first admission, in whichever run."""
        assert self.restored(keys, clock, Plough(), None) is not None
        await clock.advance(10.0)

        assert keys.find(KEY, Plough()) is None
