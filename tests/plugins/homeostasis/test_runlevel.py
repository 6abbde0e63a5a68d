"""Tests of the runlevel: what moves it, what does not, and that it never flaps."""

from __future__ import annotations

import math
from itertools import groupby, pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.runlevel import Runlevel, RunlevelMachine, RunlevelSettings

BOOTING, ONLINE, DEGRADED, CRITICAL, MAINTENANCE, STOPPING = get_args(Runlevel)
SETTINGS = RunlevelSettings()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def machine(clock: FakeClock) -> RunlevelMachine:
    return RunlevelMachine(SETTINGS, monotonic=clock.monotonic, time=clock.time)


async def measure(clock: FakeClock, machine: RunlevelMachine, *scores: float | None) -> list[Runlevel]:
    """Take in a score every 5 seconds; return the level after each."""
    levels = []
    for score in scores:
        machine.update(score, reasons=["a", "b", "c", "d"])
        levels.append(machine.level)
        await clock.advance(5.0)
    return levels


class TestBoot:
    def test_it_is_online_before_all_is_up(self, machine: RunlevelMachine) -> None:
        """However well the first parts are, the host is BOOTING until all have come up."""
        assert machine.level == BOOTING
        assert machine.update(1.0, ready=False) is None
        change = machine.update(1.0)
        assert change is not None
        assert (change.old, change.new) == (BOOTING, ONLINE)

    def test_it_is_online_before_anybody_knows(self, machine: RunlevelMachine) -> None:
        """An unknown health is no reason to leave BOOTING."""
        machine.update(None)
        machine.update(math.nan)
        assert machine.level == BOOTING

    @pytest.mark.parametrize(("score", "level"), [(0.9, ONLINE), (0.79, DEGRADED), (0.39, CRITICAL)])
    def test_it_comes_up_better_than_it_is(self, machine: RunlevelMachine, score: float, level: Runlevel) -> None:
        """The first level is the one that the score speaks for."""
        machine.update(score)
        assert machine.level == level

    async def test_it_boots_for_ever(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """When the limit has passed, a host of which a part never came up == DEGRADED, and says why."""
        await clock.advance(SETTINGS.boot_limit)
        machine.update(1.0, ready=False)
        assert machine.level == DEGRADED
        assert machine.reasons[0] == "not all came up within 60 s"

    async def test_it_boots_for_ever_in_the_dark(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """When the limit has passed and nobody knows anything, it == DEGRADED for that."""
        await clock.advance(SETTINGS.boot_limit)
        machine.update(None)
        assert machine.level == DEGRADED
        assert machine.reasons == ("nobody knows how the host is",)


class TestHealth:
    async def test_one_bad_reading_moves_it(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Two of three must be bad."""
        assert await measure(clock, machine, 1.0, 0.1, 1.0, 1.0, 0.1, 1.0) == [ONLINE] * 6

    async def test_two_bad_readings_do_not_move_it(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Two of three are enough, and the reasons come along, three at most."""
        assert await measure(clock, machine, 1.0, 0.7, 1.0, 0.7) == [ONLINE, ONLINE, ONLINE, DEGRADED]
        assert machine.reasons == ("health is 0.70", "a", "b", "c")

    async def test_a_collapse_waits_for_each_level(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Worse goes by as many levels as the scores speak for."""
        assert await measure(clock, machine, 1.0, 0.1, 0.1) == [ONLINE, ONLINE, CRITICAL]

    async def test_recovery_skips_a_level(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Better goes by one level at a time, each by four of five."""
        await measure(clock, machine, 0.1)
        assert await measure(clock, machine, *[1.0] * 8) == [CRITICAL] * 3 + [DEGRADED] * 4 + [ONLINE]

    async def test_a_score_between_the_bounds_moves_it(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Between ``below`` and ``until`` the level stays what it is, on either side."""
        await measure(clock, machine, 1.0)
        assert set(await measure(clock, machine, *[0.85] * 10)) == {ONLINE}
        await measure(clock, machine, 0.7, 0.7)
        assert set(await measure(clock, machine, *[0.85] * 10)) == {DEGRADED}

    async def test_a_flapping_score_makes_it_flap(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """A score that is good and bad in turn leads to DEGRADED, once."""
        levels = await measure(clock, machine, 1.0, *[0.5, 1.0] * 30)
        assert [level for level, _ in groupby(levels)] == [ONLINE, DEGRADED]

    def test_it_recovers_within_a_moment(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """However many good scores come, a level lasts ``stay`` seconds before a better one."""
        machine.update(0.7)
        for _ in range(100):
            machine.update(1.0)
        assert machine.level == DEGRADED


class TestUnknown:
    async def test_silence_counts_as_health(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """An unknown score holds the level: it does not heal."""
        await measure(clock, machine, 0.7)
        assert set(await measure(clock, machine, *[1.0] * 3, *[None] * 50)) == {DEGRADED}

    async def test_an_unknown_score_brings_it_back(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """What speaks for a better level must be of now, however good it was before."""
        machine.update(0.7)
        for _ in range(5):
            machine.update(SETTINGS.degraded_until)
        await clock.advance(SETTINGS.stay)
        assert machine.update(None) is None
        assert machine.update(SETTINGS.degraded_until) is not None

    async def test_what_was_before_a_silence_counts_after_it(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Good scores of before a long silence do not join those after it."""
        await measure(clock, machine, 0.7, 0.7, 1.0, 1.0, 1.0, *[None] * 20)
        assert await measure(clock, machine, *[1.0] * 4) == [DEGRADED] * 3 + [ONLINE]

    async def test_silence_counts_as_illness(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """An unknown score holds the level for a while: it does not harm."""
        await measure(clock, machine, 1.0)
        assert set(await measure(clock, machine, *[None] * 11)) == {ONLINE}

    async def test_a_blind_host_stays_online(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """After a minute in which nobody knew, the host == DEGRADED for that, and says so."""
        await measure(clock, machine, 1.0, *[None] * 13)
        assert machine.level == DEGRADED
        assert machine.reasons == ("nobody has known for 60 s how the host is",)

    async def test_a_blind_host_never_comes_back(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Once it is known again, good scores bring it back like any other."""
        await measure(clock, machine, 1.0, *[None] * 13)
        assert (await measure(clock, machine, *[1.0] * 5))[-1] == ONLINE


class TestPeople:
    async def test_maintenance_hides_what_comes_after(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """Health is judged on below MAINTENANCE, and shows when it ends."""
        await measure(clock, machine, 1.0)
        change = machine.maintain("an upgrade")
        assert change is not None
        assert (change.new, change.reasons) == (MAINTENANCE, ("an upgrade",))
        assert set(await measure(clock, machine, 0.1, 0.1, 0.1)) == {MAINTENANCE}
        change = machine.maintain(None)
        assert change is not None
        assert (change.old, change.new) == (MAINTENANCE, CRITICAL)

    def test_maintenance_without_a_reason_does_not_begin(self, machine: RunlevelMachine) -> None:
        """An empty reason is one."""
        machine.maintain("")
        assert (machine.level, machine.reasons) == (MAINTENANCE, ("no reason was given",))
        assert machine.maintain("") is None

    def test_a_stopping_host_comes_back(self, machine: RunlevelMachine) -> None:
        """Nothing leaves STOPPING."""
        assert machine.stop() is not None
        machine.update(1.0)
        machine.maintain("x")
        assert (machine.stop("again"), machine.level, machine.reasons) == (None, STOPPING, ("the host stops",))

    async def test_since_is_not_told(self, clock: FakeClock, machine: RunlevelMachine) -> None:
        """The time of the last change is there."""
        await clock.advance(7.0)
        machine.update(1.0)
        assert machine.since == clock.time()


class TestSettings:
    @pytest.mark.parametrize(
        "figures",
        [
            {"degraded_until": 0.7},
            {"critical_until": 0.3},
            {"critical_below": 0.9, "critical_until": 0.95},
            {"critical_below": 0.0},
            {"worse": (3, 2)},
            {"better": (0, 2)},
            {"stay": -1.0},
        ],
    )
    def test_bounds_that_flap_are_taken(self, figures: dict[str, float]) -> None:
        """Bounds by which a score speaks for both ways are errors."""
        with pytest.raises(ValueError, match="expected"):
            RunlevelSettings(**figures)


EVENTS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(0, 1), st.just(math.nan)),
        st.booleans(),
        st.sampled_from(["", "", "", "", "maintain", "resume"]),
        st.floats(0, 30),
    ),
    max_size=120,
)


class TestAnyCourse:
    @given(EVENTS)
    def test_it_breaks_a_promise(self, events: list[tuple[float | None, bool, str, float]]) -> None:
        """In any course: better by one level at a time and never back to BOOTING, and every change is told."""
        now = 0.0
        machine = RunlevelMachine(SETTINGS, monotonic=lambda: now, time=lambda: now)
        seen = []
        shown = []
        for score, ready, word, wait in events:
            now += wait
            if word:
                change = machine.maintain("work" if word == "maintain" else None)
                seen += [change] if change is not None else []
            change = machine.update(score, ready=ready)
            if change is not None:
                seen.append(change)
                assert machine.level == change.new
            if machine.level != MAINTENANCE:
                shown.append(machine.level)
        assert all(change.old != change.new and change.reasons for change in seen)
        assert all(first.new == second.old for first, second in pairwise(seen))
        assert all(second != BOOTING for first, second in pairwise(shown) if first != BOOTING)

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
    def test_it_heals_in_a_leap(self, scores: list[float]) -> None:
        """By scores alone, each step up is by one level, ``stay`` seconds after the last move at the least."""
        now = 0.0
        machine = RunlevelMachine(SETTINGS, monotonic=lambda: now, time=lambda: now)
        changes = []
        for score in scores:
            changes += filter(None, [machine.update(score)])
            now += 3.0
        ranks = [ONLINE, DEGRADED, CRITICAL]
        for first, second in pairwise(changes):
            up = ranks.index(first.new) - ranks.index(second.new)
            assert up <= 1
            assert up < 0 or second.ts - first.ts >= SETTINGS.stay
