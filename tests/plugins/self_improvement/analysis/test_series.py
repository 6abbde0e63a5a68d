"""Tests of putting points in order."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aetherra.plugins.self_improvement.analysis.series import Series, bounded, deviation, in_order

START = 1_764_000_000.0
LARGEST_FLOAT = math.nextafter(math.inf, 0)


class TestInOrder:
    def test_points_that_come_late_take_their_place(self) -> None:
        """A clock that went back does not make a series that does."""
        assert in_order([(3.0, 30.0), (1.0, 10.0), (2.0, 20.0)]) == Series((1.0, 2.0, 3.0), (10.0, 20.0, 30.0))

    def test_points_of_one_time_become_their_mean(self) -> None:
        """Each time stands once."""
        assert in_order([(1.0, 1.0), (2.0, 5.0), (1.0, 4.0)]) == Series((1.0, 2.0), (2.5, 5.0))

    def test_nothing_is_an_empty_series(self) -> None:
        """No points are no error."""
        assert len(in_order([])) == 0

    def test_what_is_in_order_is_not_ordered_again(self) -> None:
        """A series is returned as it is."""
        series = in_order([(1.0, 1.0)])

        assert in_order(series) is series

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_is_refused_by_its_time(self, bad: float) -> None:
        """The error shows time and value."""
        with pytest.raises(ValueError, match=rf"finite times and values, got value {bad!r} at time {START!r}"):
            in_order([(START - 60, 1.0), (START, bad)])
        with pytest.raises(ValueError, match="finite times and values"):
            in_order([(START - 60, 1.0), (bad, 1.0)])

    def test_milliseconds_are_no_seconds(self) -> None:
        """A time in the year 57,000 is a mistake and said to be one."""
        with pytest.raises(ValueError, match=r"seconds since the epoch, got 1764000000000\.0"):
            in_order([(START * 1000, 1.0)])

    @pytest.mark.parametrize("largest", [LARGEST_FLOAT, 1e308, 1e101, 1e-101, 5e-324])
    def test_extreme_values_are_scaled_and_come_back_exactly(self, largest: float) -> None:
        """Squares neither overflow nor vanish, and no digit is lost."""
        series = in_order([(1.0, largest), (2.0, -largest)])

        assert 0.25 < series.values[0] ** 2 + series.values[1] ** 2 < 10
        assert [series.real(value) for value in series.values] == [largest, -largest]

    def test_a_huge_result_is_the_largest_float(self) -> None:
        """What no float can hold is bounded, as an infinity has no place in a message."""
        assert in_order([(1.0, 1e308)]).real(1e10) == LARGEST_FLOAT
        assert bounded(-math.inf) == -LARGEST_FLOAT

    @given(st.lists(st.tuples(st.floats(-1e12, 1e12), st.floats(allow_nan=False, allow_infinity=False)), max_size=30))
    def test_times_rise_and_values_lie_within_those_given(self, points: list[tuple[float, float]]) -> None:
        """Whatever comes in, each time stands once, in order, between the least and the greatest value."""
        series = in_order(points)

        assert list(series.times) == sorted({time for time, _ in points})
        values = [value for _, value in points]
        slack = 1e-15 * max(map(abs, values), default=0.0)
        assert all(min(values) - slack <= series.real(value) <= max(values) + slack for value in series.values)


class TestSeries:
    def test_the_points_from_a_time_on(self) -> None:
        """The time itself belongs to them."""
        series = in_order([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)])

        assert series.since(2.0) == Series((2.0, 3.0), (2.0, 3.0))
        assert len(series.since(4.0)) == 0

    def test_mean_and_largest_magnitude_are_those_of_the_scaled_values(self) -> None:
        """Exact, and asked again the same; of nothing both are 0."""
        series = in_order([(1.0, 1e16), (2.0, 1.0), (3.0, -2e16), (4.0, 1e16)])

        assert [(series.mean, series.largest) for _ in range(2)] == [(0.25, 2e16)] * 2
        assert (in_order([]).mean, in_order([]).largest) == (0.0, 0.0)
        assert series == Series(series.times, series.values)

    def test_thinning_keeps_a_short_series(self) -> None:
        """A series that is not too long stays as it is."""
        series = in_order([(1.0, 1.0), (2.0, 2.0)])

        assert series.thinned(2) is series

    def test_thinning_covers_all_points_without_single_outliers(self) -> None:
        """Ten runs of ten points: each its mean time and the mean of its middle values."""
        points = [(float(i), 7.0) for i in range(100)]
        points[55] = (55.0, 1e9)
        thin = in_order(points).thinned(10)

        assert thin.times == tuple(i * 10 + 4.5 for i in range(10))
        assert set(thin.values) == {7.0}

    @pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 8, 15])
    def test_a_quarter_goes_at_either_end(self, count: int) -> None:
        """A run's value is what is left of it when scipy trims it, but rounding up from the half; runs may differ."""
        source = random.Random(count)
        runs = [[source.gauss(0, 1) for _ in range(length)] for length in (count, count + 1)]
        thin = in_order([(float(i), value) for i, value in enumerate(runs[0] + runs[1])]).thinned(2)
        cuts = [(len(run) + 1) // 4 / len(run) + 1e-9 for run in runs]

        assert thin.values == pytest.approx([stats.trim_mean(run, cut) for run, cut in zip(runs, cuts, strict=True)])


class TestDeviation:
    def test_it_is_what_scipy_calls_the_normal_median_absolute_deviation(self) -> None:
        """Two independent roads lead to the same figure."""
        values = [random.Random(5).gauss(3, 2) for _ in range(101)]
        center = sorted(values)[50]

        assert deviation(values, center) == pytest.approx(stats.median_abs_deviation(values, scale="normal"), rel=1e-4)
