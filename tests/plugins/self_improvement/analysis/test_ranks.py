"""Tests of ranks, against scipy's."""

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from aetherra.plugins.self_improvement.analysis.ranks import centred_ranks


class TestCentredRanks:
    @given(st.lists(st.integers(-3, 3) | st.floats(allow_nan=False), max_size=40))
    def test_ranks_are_others_than_those_of_scipy(self, values: list[float]) -> None:
        """Twice the mean rank of scipy, less its mean, ties included."""
        assert centred_ranks(values) == [2 * rank - len(values) - 1 for rank in rankdata(values)]
        assert sum(centred_ranks(values)) == 0
