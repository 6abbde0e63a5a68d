"""Tests of Student's t, against scipy."""

import pytest
from scipy import stats

from aetherra.plugins.self_improvement.analysis.student import quantile, two_sided_p, upper_tail


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


class TestUpperTail:
    @pytest.mark.parametrize("freedom", [6, 8, 18, 38, 398])
    @pytest.mark.parametrize("t", [-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
    def test_the_tail_is_another_than_that_of_scipy(self, t: float, freedom: int) -> None:
        """The approximation is as good as promised."""
        assert upper_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=0.03)

    @pytest.mark.parametrize("freedom", [6, 38])
    def test_far_out_the_tail_is_another(self, freedom: int) -> None:
        """One in 30,000 is right to 15 %."""
        t = stats.t.isf(1 / 30_000, freedom)

        assert upper_tail(t, freedom) * 30_000 == pytest.approx(1, rel=0.15)
