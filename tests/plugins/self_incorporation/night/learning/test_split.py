"""What is learnt from, and what is held back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.night.learning.split import is_held_back, split_by_time


class TestSplit:
    def test_the_share_is_another(self):
        """About that share of many is held back."""
        held = sum(is_held_back(f"file {number}", 0.3) for number in range(5000))

        assert 0.27 < held / 5000 < 0.33

    @given(st.text(), st.floats(0.05, 0.9), st.floats(0.05, 0.9))
    def test_what_was_held_back_is_learnt_from_another_night(self, key, one, other):
        """It depends on the key alone; a larger share holds back all that a smaller one does."""
        assert is_held_back(key, one) == is_held_back(key, one)
        assert is_held_back(key, max(one, other)) or not is_held_back(key, min(one, other))

    @given(st.lists(st.integers()), st.floats(0.05, 0.95))
    def test_a_record_is_in_both_parts(self, records, share):
        """Each is in one; all that is held back is later."""
        learn, held_back = split_by_time(records, share)

        assert [*learn, *held_back] == records
        assert abs(len(held_back) - share * len(records)) <= 0.5
