"""Tests of Student's t, against scipy."""

import pytest
from scipy import stats

from aetherra.plugins.self_improvement.analysis.student import quantile, two_sided_p


class TestStudent:
    @pytest.mark.parametrize("freedom", [1, 2, 3, 8, 57, 238])
    @pytest.mark.parametrize("t", [0.0, 0.3, 2.0, 9.0])
    def test_the_tail_agrees_with_scipy(self, t: float, freedom: int) -> None:
        """Two independent roads lead to the same chance."""
        assert two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9, abs=1e-14)

    @pytest.mark.parametrize("freedom", [1, 2, 3, 8, 57, 238])
    @pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
    def test_the_quantile_agrees_with_scipy(self, coverage: float, freedom: int) -> None:
        """Two independent roads lead to the same t."""
        assert quantile(coverage, freedom) == pytest.approx(stats.t.ppf(0.5 + coverage / 2, freedom), rel=1e-9)
