"""Tests of a metric's figures, against numpy and exact sums."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.summary import Summary, summary


def figures_of(*values: float) -> Summary:
    return summary([(float(i), value) for i, value in enumerate(values)])


class TestSummary:
    @pytest.mark.parametrize("count", [2, 3, 20, 1000])
    def test_the_figures_agree_with_numpy(self, count: int) -> None:
        """Two independent roads lead to the same figures."""
        source = random.Random(count)
        values = [source.lognormvariate(0, 1) for _ in range(count)]
        found = figures_of(*values)

        assert found.count == count
        assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
        assert found.variance == pytest.approx(np.var(values, ddof=1), rel=1e-12)
        assert found.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-12)
        assert (found.minimum, found.maximum) == (min(values), max(values))
        assert [found.p50, found.p95, found.p99] == pytest.approx(np.percentile(values, [50, 95, 99]), rel=1e-12)

    def test_nothing_has_no_figures(self) -> None:
        """Nothing is not zero."""
        assert summary([]) == Summary(count=0)

    def test_one_point_is_all_its_figures(self) -> None:
        """A single value does not vary."""
        assert figures_of(7.0) == Summary(
            count=1, mean=7.0, variance=0.0, deviation=0.0, minimum=7.0, maximum=7.0, p50=7.0, p95=7.0, p99=7.0
        )

    def test_a_small_variance_around_a_large_mean_is_kept(self) -> None:
        """The naive sum of squares would lose all of it."""
        source = random.Random(1)
        values = [1e9 + source.gauss(0, 1e-4) for _ in range(1000)]
        mean = sum(map(Fraction, values)) / 1000
        exact = float(sum((Fraction(value) - mean) ** 2 for value in values) / 999)

        assert figures_of(*values).variance == pytest.approx(exact, rel=1e-9)

    def test_a_mean_that_no_float_holds_costs_nothing(self) -> None:
        """Around 1e16 every second integer is missing, the mean of these too; their variance is exact all the same."""
        assert figures_of(1e16, 1e16 + 2, 1e16, 1e16 + 2).variance == pytest.approx(4 / 3)

    def test_values_near_the_largest_float_do_not_overflow(self) -> None:
        """Mean and deviation are right; the variance, which no float can hold, is unknown."""
        found = figures_of(1e308, 1.5e308, 1.7e308)

        assert found.mean == pytest.approx(1.4e308)
        assert (found.variance, found.deviation) == (None, pytest.approx(3.606e307, rel=1e-3))
        assert found.p50 == 1.5e308

    def test_a_deviation_that_no_float_holds_is_unknown(self) -> None:
        """The largest floats of either sign deviate by themselves, and two of them by more than any float."""
        many = figures_of(*[1.7e308, -1.7e308] * 500)

        assert (many.variance, many.deviation) == (None, pytest.approx(1.7e308, rel=1e-3))
        assert figures_of(1.7e308, -1.7e308).deviation is None

    def test_values_near_the_smallest_float_do_not_vanish(self) -> None:
        """Mean and deviation of what is tiny are tiny."""
        found = figures_of(1e-300, 3e-300)

        assert (found.mean, found.deviation) == (pytest.approx(2e-300), pytest.approx(2**0.5 * 1e-300))

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
    def test_any_finite_series_has_finite_figures_in_order(self, values: list[float]) -> None:
        """Percentiles rise, the mean lies within, and nothing is infinite."""
        found = figures_of(*values)

        order = [found.minimum, found.p50, found.p95, found.p99, found.maximum]
        assert order == sorted(order)
        assert found.minimum <= found.mean <= found.maximum
        assert all(figure is None or 0 <= figure < math.inf for figure in (found.variance, found.deviation))
