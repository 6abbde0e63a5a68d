"""Tests of the regression behind a forecast, against statsmodels."""

import math
import random

import numpy as np
import pytest
import statsmodels.api as sm

from aetherra.plugins.self_improvement.analysis.drift import Drift, variance_within
from aetherra.plugins.self_improvement.analysis.series import Series, in_order

START = 1_764_000_000.0


def remembering(seed: int, count: int, memory: float) -> Series:
    """A line with noise that remembers."""
    source = random.Random(seed)
    state, points = source.gauss(0, 1), list[tuple[float, float]]()
    for i in range(count):
        points.append((START + 60.0 * i, 50 + 0.05 * i + state))
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)
    return in_order(points)


class TestDrift:
    @pytest.mark.parametrize("memory", [0.3, 0.6, 0.9])
    @pytest.mark.parametrize("gap", [0.0, 45.0, 240.0])
    @pytest.mark.parametrize("ahead", [1, 10, 100])
    def test_line_and_variance_are_those_of_generalized_least_squares(
        self, memory: float, gap: float, ahead: int
    ) -> None:
        """With the same autocorrelation statsmodels finds the same line, and textbook algebra the same variance.

        Over a gap noise is forgotten as it is over as many points.
        """
        even = remembering(int(memory * 10), 60, memory)
        series = Series(tuple(time + gap * (i // 20) for i, time in enumerate(even.times)), even.values)
        fit = Drift(series)
        kept = fit.memory
        places = (np.array(series.times) - series.times[-1]) / 60
        design = sm.add_constant(places)
        gls = sm.GLS(np.array(series.values), design, sigma=kept ** abs(places[:, None] - places)).fit()

        value, variance = fit.predict(series.times[-1] + 60.0 * ahead)

        residual = series.values[-1] - gls.params[0]
        fade = kept**ahead
        row = np.array([1 - fade, ahead])
        assert 0.1 < kept < 0.99
        assert fit.slope * 60 == pytest.approx(gls.params[1], rel=1e-6)
        assert value == pytest.approx(gls.params[0] + gls.params[1] * ahead + fade * residual, rel=1e-6)
        assert variance == pytest.approx(gls.scale * (1 - fade**2) + row @ gls.cov_params() @ row, rel=1e-6)

    def test_a_line_without_noise_goes_on(self) -> None:
        """What is exact is forecast exactly, and claims to be."""
        fit = Drift(in_order([(START + 60.0 * i, 2.0 * i) for i in range(20)]))

        value, variance = fit.predict(START + 60.0 * 100)

        assert value == pytest.approx(200.0)
        assert variance == pytest.approx(0.0, abs=1e-12)

    def test_variance_within_runs_is_that_of_the_points(self) -> None:
        """Thinning 1,000 points of variance 4 leaves 4 around the means, however steep the line they are on."""
        source = random.Random(1)
        series = in_order([(START + i, source.gauss(3.0 * i, 2)) for i in range(1000)])

        assert variance_within(series, series.thinned(50), 3.0) == pytest.approx(4.0, rel=0.2)
        assert variance_within(series, series, 3.0) == 0.0
