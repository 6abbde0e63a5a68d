"""What else must hold."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision import Condition


class TestCondition:
    @pytest.mark.parametrize(("above", "below"), [(1.0, 0.0), (1.0, 1.0)])
    def test_bounds_that_contradict_are_taken(self, above, below):
        """Nothing is above the one and below the other."""
        with pytest.raises(ValueError, match="expected above less than below for metric 'm'"):
            Condition("m", above=above, below=below)

    def test_between_two_bounds_is_nothing(self):
        """What is between them meets it, the bounds themselves do not."""
        between = Condition("m", above=0.0, below=1.0)

        assert [between.met_by(value) for value in (0.0, 0.5, 1.0)] == [False, True, False]

    @pytest.mark.parametrize("metric", ["a +", "+", "a - b", "a..b", "a.*.b.*"])
    def test_a_name_that_is_none_is_taken(self, metric):
        """It is refused where it is written."""
        with pytest.raises(ValueError, match="expected names as in"):
            Condition(metric, above=1.0)
