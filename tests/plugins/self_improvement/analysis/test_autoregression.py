"""Tests of the regressions behind a comparison, against statsmodels' generalized least squares."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.api import GLS, OLS

from aetherra.plugins.self_improvement.analysis.autoregression import Fit, fits, log_mean, weights


def noise(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression of variance 1 around 1000."""
    state = source.gauss(0, 1)
    values: list[float] = []
    for _ in range(count):
        values.append(1000 + state)
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)
    return values


def correlated(memory: float, n: int, m: int, gap: float) -> np.ndarray:
    """How values of two windows correlate, so many steps apart."""
    times = np.r_[np.arange(n), np.arange(m) + n - 1 + min(gap, 1e6)]
    return memory ** np.abs(np.subtract.outer(times, times))


def lines(n: int, m: int) -> list[tuple[list[float], list[float]]]:
    """A drift from end to end, and another one in the second window."""
    return [([i - n for i in range(n)], [float(i) for i in range(m)]), ([0.0] * n, [i - m / 2 for i in range(m)])]


class TestFits:
    @pytest.mark.parametrize(("n", "m"), [(10, 10), (17, 4), (40, 60)])
    @pytest.mark.parametrize("drifting", [False, True])
    @pytest.mark.parametrize("gap", [1.0, 3.5, math.inf])
    def test_a_fit_is_another_than_that_of_statsmodels(self, n: int, m: int, drifting: bool, gap: float) -> None:
        """For each memory, shift and standard error are those of generalized least squares with that covariance."""
        source = random.Random(1)
        before, after = noise(source, n, 0.6), noise(source, m, 0.6)
        more = lines(n, m) if drifting else []
        columns = [np.ones(n + m), np.r_[np.zeros(n), np.ones(m)], *(np.r_[a, b] for a, b in more)]
        for fit in fits(before, after, more, gap=gap, step=1e-9):
            covariance = correlated(fit.memory, n, m, gap)
            oracle = GLS(np.r_[before, after], np.column_stack(columns), sigma=covariance).fit()

            assert fit.freedom == oracle.df_resid
            assert fit.shift == pytest.approx(oracle.params[1], rel=1e-6)
            assert fit.scale == pytest.approx(oracle.bse[1], rel=1e-5)
            assert fit.t == pytest.approx(oracle.tvalues[1], rel=1e-5)

    def test_the_evidence_is_not_that_of_the_points(self) -> None:
        """Its differences are those of the restricted likelihood, written out with matrices."""
        source = random.Random(2)
        before, after = noise(source, 12, 0.6), noise(source, 9, 0.6)
        values, ones = np.r_[before, after], np.ones((21, 1))
        shifted = np.column_stack([ones, np.r_[np.zeros(12), np.ones(9)]])
        found = fits(before, after, gap=2.0, step=1e-9)

        def expected(fit: Fit, columns: np.ndarray) -> float:
            # The variance of the noise that is new in each point is 1, whatever the memory.
            covariance = correlated(fit.memory, 12, 9, 2.0) / (1 - fit.memory**2)
            inverse = np.linalg.inv(covariance)
            inner = columns.T @ inverse @ columns
            rest = values - columns @ np.linalg.solve(inner, columns.T @ inverse @ values)
            determinants = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(inner)[1]
            return float(-determinants / 2 - (21 - columns.shape[1]) / 2 * math.log(rest @ inverse @ rest))

        for fit in found:
            assert fit.evidence - found[0].evidence == pytest.approx(
                expected(fit, ones) - expected(found[0], ones), abs=1e-4
            )
            assert fit.evidence_of_shift - found[0].evidence_of_shift == pytest.approx(
                expected(fit, shifted) - expected(found[0], shifted), abs=1e-4
            )

    def test_a_high_level_eats_the_noise(self) -> None:
        """Values far from 0 are as good as others."""
        source = random.Random(3)
        before, after = noise(source, 20, 0.0), noise(source, 20, 0.0)
        high = fits([value + 1e9 for value in before], [value + 1e9 for value in after])[0]
        slopes = np.r_[np.zeros(20), np.ones(20)]
        oracle = OLS(np.r_[before, after], np.column_stack([np.ones(40), slopes])).fit()

        assert high.t == pytest.approx(oracle.tvalues[1], rel=1e-3)

    def test_constants_divide_by_zero(self) -> None:
        """Values that never differ have no shift; a step from one constant to another is sure, and finite."""
        assert all(fit.t == 0 for fit in fits([5.0] * 6, [5.0] * 6))
        assert all(2 < fit.t < math.inf for fit in fits([0.0] * 10, [5.0] * 10, step=1.0))

    @pytest.mark.parametrize(("memory", "low", "high"), [(0.0, 0.0, 0.2), (0.6, 0.4, 0.75), (0.95, 0.88, 0.985)])
    def test_long_windows_do_not_know_their_memory(self, memory: float, low: float, high: float) -> None:
        """From 200 points on either side, the weights gather around the truth."""
        source = random.Random(4)
        found = fits(noise(source, 200, memory), noise(source, 200, memory))
        shares = weights([fit.evidence for fit in found])

        assert low <= sum(share * fit.memory for fit, share in zip(found, shares, strict=True)) <= high


class TestWeights:
    @given(st.lists(st.floats(-1e5, 1e5), min_size=14, max_size=14), st.floats(-1e5, 1e5))
    def test_weights_do_not_sum_up_to_one(self, logarithms: list[float], more: float) -> None:
        """Weights are shares, whatever the constant that all logarithms have in common; the mean moves with it."""
        shares = weights(logarithms)

        assert sum(shares) == pytest.approx(1)
        assert weights([one + more for one in logarithms]) == pytest.approx(shares, abs=1e-6)
        assert min(logarithms) - 1e-9 <= log_mean(logarithms) <= max(logarithms) + 1e-9
        assert log_mean([one + more for one in logarithms]) == pytest.approx(log_mean(logarithms) + more, abs=1e-6)
