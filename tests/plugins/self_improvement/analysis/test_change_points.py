"""Tests of the search for steps, against ruptures and on series whose truth is known."""

import math
import random
from itertools import accumulate

import numpy as np
import pytest
import ruptures
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.change_points import ChangePoint, change_points
from aetherra.plugins.self_improvement.analysis.outliers import outliers

START = 1_764_000_000.0


def points_of(values: list[float]) -> list[tuple[float, float]]:
    return [(START + 60.0 * i, value) for i, value in enumerate(values)]


def places(found: tuple[ChangePoint, ...]) -> list[int]:
    return [round((one.timestamp - START) / 60) for one in found]


def autoregression(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression of variance 1 around 100."""
    first, fresh = source.gauss(0, 1), math.sqrt(1 - memory**2)
    noise = accumulate(range(count - 1), lambda state, _: memory * state + fresh * source.gauss(0, 1), initial=first)
    return [100 + state for state in noise]


class TestFalseChanges:
    @pytest.mark.parametrize("count", [20, 60, 300])
    @pytest.mark.parametrize(("memory", "most"), [(0.0, 0.03), (0.5, 0.06), (0.8, 0.12)])
    def test_noise_that_remembers_is_rarely_cut(self, count: int, memory: float, most: float) -> None:
        """Hardly more than one series of noise in ten has a change up to autocorrelation 0.8."""
        source = random.Random(f"{count} {memory}")
        called = sum(bool(change_points(points_of(autoregression(source, count, memory)))) for _ in range(200))

        assert called / 200 <= most

    def test_a_day_of_noise_that_remembers_is_hardly_ever_cut(self) -> None:
        """The more there is to look at, the better the noise is known."""
        source = random.Random("day")
        called = sum(bool(change_points(points_of(autoregression(source, 1440, 0.8)))) for _ in range(50))

        assert called <= 1

    def test_the_correction_is_what_keeps_them_rare(self) -> None:
        """The series are hard ones: with the penalty of independent points nearly all would be cut."""
        source = random.Random("300 0.8")
        cut = 0
        for _ in range(5):
            values = np.array(autoregression(source, 300, 0.8))
            penalty = 3 * math.log(300) * np.var(np.diff(values)) / 2
            cut += len(ruptures.Binseg(model="l2", min_size=6, jump=1).fit(values).predict(pen=penalty)) > 1
        assert cut == 5

    @pytest.mark.parametrize(
        "shape",
        [
            lambda x: 7.0,
            lambda x: 50 * x,
            lambda x: 50 * x * x,
            lambda x: 50 * math.exp(-3 * x),
            lambda x: 200 * math.sin(2 * math.pi * x),
        ],
        ids=["constant", "line", "square", "exponential", "wave"],
    )
    @pytest.mark.parametrize("noise", [0.0, 0.1])
    def test_a_smooth_curve_is_not_cut(self, shape: object, noise: float) -> None:
        """A leak or a day's wave is no row of steps."""
        assert callable(shape)
        source = random.Random(7)
        values = [shape(i / 1440) + noise * source.gauss(0, 1) for i in range(1440)]

        assert change_points(points_of(values)) == ()

    def test_a_drift_in_noise_is_a_trend_and_no_steps(self) -> None:
        """A rise by ten standard deviations is cut in one series of twenty at most."""
        source = random.Random("drift")
        called = sum(
            bool(change_points(points_of([source.gauss(0, 1) + 10 * i / 300 for i in range(300)]))) for _ in range(100)
        )

        assert called <= 5

    def test_single_spikes_are_no_levels(self) -> None:
        """Outliers are for others to find."""
        source = random.Random(4)
        values = [source.gauss(0, 1) + 1e6 * (i % 97 == 50) for i in range(600)]

        assert change_points(points_of(values)) == ()


class TestAgainstRuptures:
    @pytest.mark.parametrize("seed", range(8))
    def test_steps_are_where_optimal_partitioning_puts_them(self, seed: int) -> None:
        """Levels in independent noise: as many cuts as Pelt with the same penalty, each within three points."""
        source = random.Random(seed)
        values, level = list[float](), 0.0
        for _ in range(source.randrange(2, 5)):
            level += source.choice([-1, 1]) * source.uniform(3, 6)
            values += [source.gauss(level, 1) for _ in range(source.randrange(30, 80))]
        *expected, _ = (
            ruptures.Pelt(model="l2", min_size=6, jump=1).fit(np.array(values)).predict(pen=3 * math.log(len(values)))
        )

        found = places(change_points(points_of(values)))

        assert found == pytest.approx(expected, abs=3)

    @pytest.mark.parametrize("count", [60, 300, 1000])
    def test_one_step_is_where_binary_segmentation_puts_it(self, count: int) -> None:
        """The same sums of squares give the same cut, exactly."""
        source = random.Random(count)
        values = [source.gauss(0, 1) + 3.0 * (i >= count * 2 // 3) for i in range(count)]
        expected, _ = ruptures.Binseg(model="l2", min_size=6, jump=1).fit(np.array(values)).predict(n_bkps=1)

        assert places(change_points(points_of(values))) == [expected]


class TestSteps:
    @pytest.mark.parametrize(("count", "memory", "size"), [(60, 0.0, 3.0), (300, 0.0, 2.0), (1440, 0.8, 3.0)])
    def test_a_clear_step_in_noise_is_found(self, count: int, memory: float, size: float) -> None:
        """In nine of ten series and more, near where it is, with its levels and size."""
        source = random.Random(f"{count} {memory} {size}")
        found = 0
        for _ in range(40):
            noise = autoregression(source, count, memory)
            steps = change_points(points_of([value + size * (i >= count // 3) for i, value in enumerate(noise)]))
            near = [one for one, at in zip(steps, places(steps), strict=True) if abs(at - count // 3) <= 10]
            found += bool(near)
            for step in near:
                assert step.after - step.before == pytest.approx(size, abs=1.5)
                assert step.size == pytest.approx(size, rel=0.6)
        assert found >= 36

    def test_a_step_down_has_a_negative_size_and_a_reason(self) -> None:
        """Size and reason tell which way it went, and how far."""
        source = random.Random(2)
        (step,) = change_points(points_of([source.gauss(10.0 - 5 * (i >= 50), 1) for i in range(100)]))

        assert step.size < -3
        assert (step.before, step.after) == pytest.approx((10.0, 5.0), abs=0.5)
        assert step.reason.startswith("down from ")

    def test_a_step_between_constants_is_found_to_the_point(self) -> None:
        """Without noise a step is found all the same, and its size is finite."""
        (step,) = change_points(points_of([1.0] * 30 + [2.0] * 20))

        assert places((step,)) == [30]
        assert (step.before, step.after) == (1.0, 2.0)
        assert 3 < step.size < math.inf

    def test_a_step_in_a_drift_is_found(self) -> None:
        """A leak that loses something at once: one step, where it is, of the right size."""
        source = random.Random(3)
        values = [source.gauss(0, 1) + i / 100 - 6.0 * (i >= 700) for i in range(1000)]
        (step,) = change_points(points_of(values))

        assert places((step,)) == pytest.approx([700], abs=3)
        assert step.size == pytest.approx(-6.0, abs=1.5)

    def test_a_square_wave_has_all_its_steps(self) -> None:
        """Up and down again, seven times."""
        source = random.Random(1)
        values = [source.gauss(3.0 * (i // 200 % 2), 1) for i in range(1440)]

        assert places(change_points(points_of(values))) == pytest.approx(range(200, 1440, 200), abs=5)

    def test_the_largest_are_told(self) -> None:
        """What is told is bounded, and in order of time."""
        values = [0.0] * 50 + [100.0] * 50 + [101.0] * 50 + [0.0] * 50

        assert places(change_points(points_of(values), most=2)) == [50, 150]

    def test_outliers_that_are_known_are_not_looked_for_again(self) -> None:
        """The result is the same."""
        source = random.Random(6)
        points = points_of([source.gauss(0, 1) + 5 * (i > 100) + 50 * (i == 60) for i in range(200)])

        assert change_points(points, found=outliers(points)) == change_points(points) != ()

    def test_a_week_is_thinned_and_the_size_still_that_of_single_points(self) -> None:
        """10,080 points: the step is placed within a run of those that are taken together."""
        source = random.Random(8)
        (step,) = change_points(points_of([source.gauss(0, 1) + 3.0 * (i >= 5000) for i in range(10_080)]))

        assert places((step,)) == pytest.approx([5000], abs=7)
        assert step.size == pytest.approx(3.0, abs=0.5)


class TestOddSeries:
    @pytest.mark.parametrize("count", range(12))
    def test_too_few_points_have_none(self, count: int) -> None:
        """Fewer than 12 points have no two levels."""
        assert change_points(points_of([0.0] * (count // 2) + [9.0] * (count - count // 2))) == ()

    def test_rounding_is_no_step(self) -> None:
        """A constant that changes in its last digit is a constant."""
        assert change_points(points_of([0.3] * 20 + [0.1 * 3] * 20)) == ()

    def test_values_near_the_largest_float_do_not_overflow(self) -> None:
        """A step between the ends of all floats is found, and told in floats."""
        (step,) = change_points(points_of([-1.7e308] * 20 + [1.7e308] * 20))

        assert (step.before, step.after) == pytest.approx((-1.7e308, 1.7e308))
        assert math.isfinite(step.size)

    def test_arguments_out_of_range_are_refused(self) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="most to be at least 1, got 0"):
            change_points([], most=0)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_value_that_is_no_number_is_refused(self, bad: float) -> None:
        """The error shows the value and its time."""
        with pytest.raises(ValueError, match=f"got value {bad} at time"):
            change_points(points_of([1.0, bad]))

    @given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(allow_nan=False, allow_infinity=False)), max_size=40))
    def test_any_finite_series_gets_an_answer(self, points: list[tuple[float, float]]) -> None:
        """Changes are at times of the series, in order, and finite."""
        found = change_points(points)

        assert [one.timestamp for one in found] == sorted({one.timestamp for one in found})
        assert {one.timestamp for one in found} <= {time for time, _ in points}
        assert all(math.isfinite(figure) for one in found for figure in (one.before, one.after, one.size))

    @given(st.lists(st.integers(-5, 5), min_size=12, max_size=60), st.integers(20, 100))
    def test_a_mirrored_series_changes_at_the_same_times(self, values: list[int], step: int) -> None:
        """Turning values over turns the sizes over and leaves the times."""
        values = [value + (step if i > len(values) // 2 else 0) for i, value in enumerate(values)]
        found = change_points(points_of([float(value) for value in values]))
        mirrored = change_points(points_of([-float(value) for value in values]))

        assert places(found) == places(mirrored)
        assert [one.size for one in found] == pytest.approx([-one.size for one in mirrored])
