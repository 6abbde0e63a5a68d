"""What was learnt, and what is made of it."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision import Rung
from aetherra.plugins.homeostasis.decision.lift import Lifts, LiftsMemory

MILD, MILD_TOO, HARD = Rung("clean"), Rung("trim"), Rung("restart", disruptive=True)


def learnt(**counts):
    """Return lifts after so many times that an action has helped, and has not."""
    lifts = Lifts(86_400.0, LiftsMemory())
    for action, (yes, no) in counts.items():
        for helped in [True] * yes + [False] * no:
            lifts.note_act("ill", action, helped, 0.0)
    return lifts


class TestLifts:
    def test_an_order_changes_by_chance(self):
        """Two tries say nothing."""
        assert learnt(clean=(0, 2), trim=(2, 0)).order("ill", (MILD, MILD_TOO), 0.0) == [0, 1]

    def test_what_helps_waits_for_what_does_not(self):
        """Of two equally mild rungs, the one that clearly helps goes first."""
        assert learnt(clean=(1, 6), trim=(6, 0)).order("ill", (MILD, MILD_TOO), 0.0) == [1, 0]

    def test_a_restart_goes_first_as_it_helps_a_little_more(self):
        """A disruptive rung passes a mild one only if its lower bound is above the other's upper bound."""
        assert learnt(clean=(3, 3), restart=(6, 1)).order("ill", (MILD, HARD), 0.0) == [0, 1]
        assert learnt(clean=(0, 12), restart=(12, 0)).order("ill", (MILD, HARD), 0.0) == [1, 0]

    def test_what_never_helps_is_done_for_ever(self):
        """After five failures in a row it is not, and after some days it is tried again."""
        lifts = learnt(clean=(0, 6))

        assert "hardly ever" in lifts.useless("ill", "clean", 0.0)
        assert not lifts.useless("ill", "clean", 5 * 86_400.0)
        assert not learnt(clean=(0, 3)).useless("ill", "clean", 0.0)

    def test_a_symptom_that_heals_alone_flatters_an_action(self):
        """Lift is what an action adds: nothing, where the symptom leaves as often without it."""
        lifts = learnt(clean=(9, 1))
        for _ in range(9):
            lifts.note_idle("ill", True, 1.0, 0.0)
        lifts.note_idle("ill", False, 1.0, 0.0)

        low, high = lifts.bounds("ill", "clean", 0.0)
        assert low < 0 < high
        assert lifts.alone("ill", 0.0) == pytest.approx(10 / 12)
