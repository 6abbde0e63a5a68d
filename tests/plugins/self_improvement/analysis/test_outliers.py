"""Tests of what is called an outlier."""

import math
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.outliers import Outlier, outliers, without
from aetherra.plugins.self_improvement.analysis.series import in_order

START = 1_764_000_000.0


def points_of(*values: float) -> list[tuple[float, float]]:
    return [(START + 60.0 * i, value) for i, value in enumerate(values)]


def autoregression(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression of variance 1 around 100."""
    first, fresh = source.gauss(0, 1), math.sqrt(1 - memory**2)
    noise = accumulate(range(count - 1), lambda state, _: memory * state + fresh * source.gauss(0, 1), initial=first)
    return [100 + state for state in noise]


class TestNoise:
    @pytest.mark.parametrize("memory", [0.0, 0.8, 0.95])
    def test_noise_has_hardly_any_outliers(self, memory: float) -> None:
        """Of 28,800 values of noise, at most one in 5,000 is called an outlier."""
        source = random.Random(f"noise {memory}")
        found = sum(len(outliers(points_of(*autoregression(source, 1440, memory)))) for _ in range(20))

        assert found <= 6

    @pytest.mark.parametrize("memory", [0.0, 0.8, 0.95])
    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_a_spike_is_found_where_it_is(self, memory: float, sign: float) -> None:
        """Eight standard deviations stand out of any noise, and the outlier tells by how much."""
        source = random.Random(f"spike {memory} {sign}")
        for _ in range(20):
            values = autoregression(source, 300, memory)
            at = source.randrange(300)
            values[at] += 8.0 * sign
            (found,) = (one for one in outliers(points_of(*values)) if one.timestamp == START + 60.0 * at)
            assert found.value == values[at]
            assert math.copysign(1, found.deviation) == sign
            assert found.value - found.expected == pytest.approx(8.0 * sign, abs=5)


class TestShapes:
    @pytest.mark.parametrize(
        "shape",
        [
            lambda i: 7.0,
            float,
            lambda i: math.exp(i / 20),
            lambda i: float(i >= 37),
            lambda i: 10 * math.sin(i / 25),
            lambda i: float(i % 2),
            lambda i: float(i % 9 == 0),
            lambda i: 0.1 * 3 if i == 50 else 0.3,
        ],
        ids=["constant", "line", "exponential", "step", "wave", "two values", "one in nine", "rounding"],
    )
    def test_what_has_no_outliers_gets_none(self, shape: object) -> None:
        """Neither side of a step, nor an end of a line, nor a value that recurs is one."""
        assert callable(shape)
        assert outliers(points_of(*(shape(i) for i in range(100)))) == ()

    @pytest.mark.parametrize("count", [8, 20, 100, 1000])
    def test_a_spike_in_a_constant_is_one(self, count: int) -> None:
        """Where the median deviation is zero the mean one answers."""
        values = [5.0] * count
        values[3] = 6.0
        (found,) = outliers(points_of(*values))

        assert (found.timestamp, found.value, found.expected) == (START + 180.0, 6.0, 5.0)
        assert found.deviation == pytest.approx(count / 1.2533)

    def test_a_short_burst_is_one_and_a_long_one_a_level(self) -> None:
        """Seven in a row do not belong, twenty are a new level."""
        source = random.Random(3)
        values = [source.gauss(0, 1) for _ in range(300)]
        short = [value + 20 * (100 <= i < 107) for i, value in enumerate(values)]
        long = [value + 20 * (100 <= i < 120) for i, value in enumerate(values)]

        assert len(outliers(points_of(*short))) == 7
        assert outliers(points_of(*long)) == ()

    def test_those_furthest_away_are_told(self) -> None:
        """What is told is bounded, and in order of time."""
        values = [5.0] * 200
        values[10], values[50], values[90] = 9.0, 7.0, -8.0

        assert [one.value for one in outliers(points_of(*values), most=2)] == [9.0, -8.0]

    def test_without_them_the_level_stands_in_their_place(self) -> None:
        """The other values stay as they are."""
        values = [float(i % 3) for i in range(60)]
        spiked = [*values[:30], 1e6, *values[31:]]
        series = in_order(points_of(*spiked))
        clean = without(series, outliers(series))

        assert clean.times == series.times
        assert clean.values == (*values[:30], 1.0, *values[31:])


class TestOddSeries:
    @pytest.mark.parametrize("count", range(8))
    def test_too_few_points_have_none(self, count: int) -> None:
        """Among seven values nobody can say which are the usual ones."""
        assert outliers(points_of(*[0.0, 0.0, 0.0, 1e9, 0.0, 0.0, 0.0][:count])) == ()

    def test_values_near_the_largest_float_do_not_overflow(self) -> None:
        """A spike to the end of all floats is found."""
        (found,) = outliers(points_of(*[float(i % 3) for i in range(30)], 1.7e308))

        assert found.value == 1.7e308
        assert math.isfinite(found.deviation)

    @pytest.mark.parametrize("arguments", [{"threshold": 0.0}, {"threshold": math.nan}, {"most": 0}])
    def test_arguments_out_of_range_are_refused(self, arguments: dict[str, float]) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected threshold and most above 0"):
            outliers([], **arguments)  # type: ignore[arg-type]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_value_that_is_no_number_is_refused(self, bad: float) -> None:
        """The error shows the value and its time."""
        with pytest.raises(ValueError, match=f"got value {bad} at time"):
            outliers(points_of(1.0, bad))

    @given(
        st.lists(
            st.tuples(st.floats(0, 1e9), st.floats(allow_nan=False, allow_infinity=False)),
            max_size=40,
            unique_by=lambda p: p[0],
        )
    )
    def test_any_finite_series_gets_an_answer(self, points: list[tuple[float, float]]) -> None:
        """Outliers are points of the series, in order, and finite."""
        found = outliers(points)

        assert [one.timestamp for one in found] == sorted(one.timestamp for one in found)
        assert all(isinstance(one, Outlier) and math.isfinite(one.deviation) for one in found)
        assert {one.timestamp for one in found} <= {time for time, _ in points}
