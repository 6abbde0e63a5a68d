"""What counts as known."""

from __future__ import annotations

import math

import pytest

from aetherra.plugins.homeostasis.decision.observation import Observed, read, read_sum


class TestRead:
    @pytest.mark.parametrize(
        "seen",
        [
            None, math.nan, math.inf, -math.inf, "7", [7.0], 10**400, Observed(None), Observed(math.nan),
            Observed(7.0, age=11.0), Observed(7.0, age=-5.0), Observed(7.0, age=math.nan), Observed(7.0, age=math.inf),
            Observed("7"), Observed(7.0, age=None), Observed(7.0, age=10**400), Observed(7.0, age=-(10**400)),
        ],
        ids=repr,
    )  # fmt: skip
    def test_what_nobody_knows_is_taken_for_a_figure(self, seen):
        """It is UNKNOWN, with a reason, and nothing raises."""
        value, _, why = read(seen, max_age=10.0)

        assert value is None
        assert why

    @pytest.mark.parametrize(
        ("seen", "value"), [(7, 7.0), (7.5, 7.5), (True, 1.0), (Observed(7.0, 10.0), 7.0), (Observed(7.0, -0.5), 7.0)]
    )
    def test_a_figure_is_taken_for_unknown(self, seen, value):
        """Bare numbers are of age 0, and a clock may be off by less than a second."""
        assert read(seen, max_age=10.0)[0] == value
        assert read(seen, max_age=10.0)[2] == ""


class TestReadSum:
    def test_a_sum_lacks_a_part(self):
        """A sum with an unknown part is unknown, and says which."""
        assert read_sum({"a": 1.0, "b": None}, ("a", "b"), 10.0)[0] is None
        assert "b" in read_sum({"a": 1.0}, ("a", "b"), 10.0)[2]

    def test_a_sum_is_as_young_as_its_youngest_part(self):
        """Its age is that of the oldest."""
        assert read_sum({"a": Observed(1.0, 3.0), "b": 2.0}, ("a", "b"), 10.0) == (3.0, 3.0, "")
