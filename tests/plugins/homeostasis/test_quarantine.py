"""Tests of the quarantine: the rate and the minimum that it takes, the one trial, and what comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.quarantine import Quarantine, QuarantineRule

RULE = QuarantineRule()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def quarantine(clock: FakeClock) -> Quarantine:
    return Quarantine(RULE, clock.monotonic)


def act(quarantine: Quarantine, *ends: bool, actuator: str = "restart") -> list[str]:
    """Do acts that end so; return the standing after each."""
    standings = []
    for number, worked in enumerate(ends):
        if quarantine.admit(actuator, str(number)):
            quarantine.record(actuator, str(number), worked=worked, reason="boom")
        standings.append(quarantine.standing(actuator).standing)
    return standings


class TestRate:
    def test_seven_failures_are_enough(self, quarantine: Quarantine) -> None:
        """Below the minimum nothing is concluded, however bad it looks; with it, it is."""
        assert act(quarantine, *[False] * 8) == ["trusted"] * 7 + ["quarantined"]

    def test_five_of_eight_are_not_enough(self, quarantine: Quarantine) -> None:
        """At the very share and the very minimum the actuator is quarantined, and the reason says by what figures."""
        assert act(quarantine, True, True, True, *[False] * 5)[-1] == "quarantined"
        assert quarantine.standing("restart").reason == "5 of its last 8 acts failed: boom"

    def test_four_of_eight_are_too_many(self, quarantine: Quarantine) -> None:
        """An actuator that works half the time goes on."""
        assert set(act(quarantine, *[True, False] * 20)) == {"trusted"}

    def test_a_success_quarantines(self, quarantine: Quarantine) -> None:
        """What has just worked is not left alone for what was before."""
        assert set(act(quarantine, *[False] * 7, True)) == {"trusted"}

    async def test_old_failures_count_for_ever(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """Failures of another hour are not added to those of this one."""
        act(quarantine, *[False] * 7)
        await clock.advance(RULE.max_age + 1)
        assert act(quarantine, False) == ["trusted"]
        assert (quarantine.standing("restart").failed, quarantine.standing("restart").acts) == (1, 1)

    def test_one_actuator_pays_for_another(self, quarantine: Quarantine) -> None:
        """Each has its own standing."""
        act(quarantine, *[False] * 8, actuator="reload")
        assert quarantine.standing("restart").standing == "trusted"
        assert [standing.actuator for standing in quarantine.standings()] == ["reload"]


class TestTrial:
    async def test_it_acts_during_its_rest(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """It is left alone until the very end of its rest, and says how long that is."""
        act(quarantine, *[False] * 8)
        assert quarantine.standing("restart").trial_in == RULE.rest
        await clock.advance(RULE.rest - 0.1)
        assert not quarantine.admit("restart", "early")
        await clock.advance(0.1)
        assert quarantine.admit("restart", "trial")

    async def test_two_trials_at_once(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """While one trial is out, no other act begins."""
        act(quarantine, *[False] * 8)
        await clock.advance(RULE.rest)
        assert [quarantine.admit("restart", str(number)) for number in range(3)] == [True, False, False]
        assert quarantine.standing("restart").standing == "trial"

    async def test_a_trial_that_works_does_not_free_it(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """All is forgiven: one more failure is one of one."""
        act(quarantine, *[False] * 8)
        await clock.advance(RULE.rest)
        quarantine.admit("restart", "trial")
        change = quarantine.record("restart", "trial", worked=True)
        assert change is not None
        assert (change.old, change.new) == ("trial", "trusted")
        assert act(quarantine, *[False] * 7) == ["trusted"] * 7

    async def test_a_trial_that_fails_is_repeated_at_once(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """The rest is twice as long each time, up to its bound."""
        act(quarantine, *[False] * 8)
        rests = []
        for number in range(6):
            rests.append(quarantine.standing("restart").trial_in)
            await clock.advance(rests[-1] or 0.0)
            assert quarantine.admit("restart", f"trial {number}")
            quarantine.record("restart", f"trial {number}", worked=False, reason="again")
        assert rests == [600.0, 1200.0, 2400.0, 4800.0, 7200.0, 7200.0]
        assert quarantine.standing("restart").reason == "its trial failed: again"

    async def test_an_act_of_before_frees_it(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """Only the trial decides: an act that was admitted before and ends late does not."""
        assert quarantine.admit("restart", "slow")
        act(quarantine, *[False] * 8)
        assert quarantine.record("restart", "slow", worked=True) is None
        await clock.advance(RULE.rest)
        quarantine.admit("restart", "trial")
        assert quarantine.record("restart", "slow", worked=True) is None
        assert quarantine.standing("restart").standing == "trial"

    async def test_a_trial_that_was_not_done_blocks_the_next(self, clock: FakeClock, quarantine: Quarantine) -> None:
        """A trial that is taken back leaves its place to the next; somebody else's cannot be."""
        act(quarantine, *[False] * 8)
        await clock.advance(RULE.rest)
        quarantine.admit("restart", "trial")
        quarantine.withdraw("restart", "other")
        assert not quarantine.admit("restart", "next")
        quarantine.withdraw("restart", "trial")
        assert quarantine.admit("restart", "next")

    async def test_a_trial_that_is_never_heard_of_blocks_for_ever(
        self, clock: FakeClock, quarantine: Quarantine
    ) -> None:
        """A lost trial is given up after the longest rest; what it says later is not heard."""
        act(quarantine, *[False] * 8)
        await clock.advance(RULE.rest)
        quarantine.admit("restart", "lost")
        await clock.advance(RULE.longest_rest)
        assert quarantine.admit("restart", "next")
        assert quarantine.record("restart", "lost", worked=True) is None


class TestRule:
    @pytest.mark.parametrize(
        "figures",
        [{"failures": 0}, {"failures": 9}, {"minimum": 20}, {"rest": 0.0}, {"rest": 9e9}, {"max_age": 0.0}],
    )
    def test_a_rule_without_meaning_is_taken(self, figures: dict[str, float]) -> None:
        """Figures that contradict each other are errors."""
        with pytest.raises(ValueError, match="expected"):
            QuarantineRule(**figures)


STEPS = st.lists(st.tuples(st.booleans(), st.floats(0.0, 3000.0)), max_size=80)


class TestAnyCourse:
    @given(STEPS)
    def test_it_contradicts_itself(self, steps: list[tuple[bool, float]]) -> None:
        """In any course: quarantined only by enough failures of enough acts, and never tried twice within a rest."""
        now = 0.0
        quarantine = Quarantine(RULE, lambda: now)
        last_end = 0.0
        for number, (worked, wait) in enumerate(steps):
            now += wait
            before = quarantine.standing("a")
            admitted = quarantine.admit("a", str(number))
            assert admitted == (before.standing == "trusted" or before.trial_in == 0.0)
            if not admitted:
                continue
            if before.standing != "trusted":
                assert now - last_end >= RULE.rest
            change = quarantine.record("a", str(number), worked=worked)
            after = quarantine.standing("a")
            assert (change is None) == (before.standing == "trusted" == after.standing)
            if after.standing == "quarantined":
                last_end = now
                assert not worked
                assert before.standing != "trusted" or (after.acts >= RULE.minimum and after.failed >= RULE.failures)
