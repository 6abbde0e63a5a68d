"""How often."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision import Policy
from aetherra.plugins.homeostasis.decision.limits import Limits, LimitsMemory


def limits(**policy):
    return Limits(Policy(**policy), LimitsMemory())


class TestLimits:
    def test_an_action_is_done_twice_a_minute_by_default(self):
        """One a minute for each action and target; other targets are free."""
        some = limits()
        some.take("restart", "a", 100.0, budget=True)

        assert some.wait("restart", "a", 130.0) == pytest.approx(30.0)
        assert some.wait("restart", "a", 160.0) == 0
        assert some.wait("restart", "b", 130.0) == some.wait("reload", "a", 130.0) == 0

    @pytest.mark.parametrize(("limit", "at", "wait"), [(0.5, 160.0, 60.0), (2.0, 110.0, 0.0), (0.0, 1e9, float("inf"))])
    def test_a_limit_is_not_kept(self, limit, at, wait):
        """Below one a minute it is a distance; 0 is never."""
        some = limits(limits={"restart": limit})
        some.take("restart", "a", 100.0, budget=True)

        assert some.wait("restart", "a", at) == pytest.approx(wait)

    def test_the_budget_is_not_kept(self):
        """It counts acts on whatever target, and not undoing."""
        some = limits(flap_budget=2, flap_window=100.0)
        some.take("a", "x", 0.0, budget=True)
        some.take("b", "y", 10.0, budget=True)
        some.take("c", "z", 10.0, budget=False)

        assert some.budget_left(50.0) == 0
        assert some.budget_left(100.0) == 1

    def test_times_are_kept_for_ever(self):
        """What is older than any limit is let go."""
        some = limits()
        some.take("restart", "a", 0.0, budget=True)
        some.forget(10_000.0)

        assert some.memory.done == {}

    def test_what_was_not_done_counts(self):
        """What is given back leaves rate and budget as they were; giving back what is not there does no harm."""
        some = limits(flap_budget=1)
        some.take("restart", "a", 100.0, budget=True)
        some.give_back("restart", "a")
        some.give_back("restart", "b")

        assert some.wait("restart", "a", 101.0) == 0
        assert some.budget_left(101.0) == 1

    def test_what_is_held_is_held_for_ever(self):
        """It is held until then, on that target only, and is let go afterwards."""
        some = limits()
        some.hold("restart", "a", 130.0, 100.0)

        assert some.held("restart", "a", 110.0) == 20.0
        assert some.held("restart", "a", 130.0) == some.held("restart", "b", 110.0) == 0
