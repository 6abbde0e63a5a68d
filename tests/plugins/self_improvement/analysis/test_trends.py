"""Tests of the trend test, on series whose truth is known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.trends import MINIMUM_POINTS, Movement, Verdict, trend

Series = list[tuple[float, float]]
START = 1_764_000_000.0


def line(count: int, slope_per_point: float, *, level: float = 100.0, step: float = 60.0) -> Series:
    """A line without noise."""
    return [(START + i * step, level + i * slope_per_point) for i in range(count)]


def autoregression(source: random.Random, count: int, memory: float, *, drift: float = 0.0) -> Series:
    """First-order autoregression of variance 1 around 100, rising by ``drift`` from end to end."""
    points: Series = []
    state = source.gauss(0, 1)
    for i in range(count):
        points.append((START + 60.0 * i, 100 + state + drift * i / count))
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)
    return points


def share_called(count: int, memory: float, *, drift: float = 0.0, series: int = 400) -> float:
    """Share of seeded series in which a trend is called, with no minimum effect to hide behind."""
    source = random.Random(f"{count} {memory} {drift}")
    called = 0
    for _ in range(series):
        points = autoregression(source, count, memory, drift=drift)
        called += trend(points, good="up", minimum_effect=0.0).movement != "flat"
    return called / series


class TestFalseTrends:
    @pytest.mark.parametrize(("memory", "most"), [(0.0, 0.07), (0.5, 0.08), (0.8, 0.10), (0.9, 0.13)])
    def test_noise_that_remembers_is_rarely_called_a_trend(self, memory: float, most: float) -> None:
        """At most one false trend in ten up to autocorrelation 0.8, over 60 points."""
        assert share_called(60, memory) <= most

    def test_thinning_keeps_false_trends_rare(self) -> None:
        """Series longer than are looked at are no more prone to false trends."""
        assert share_called(600, 0.8, series=100) <= 0.10

    def test_the_correction_is_what_keeps_them_rare(self) -> None:
        """The series are hard ones: with the variance of independent points, four in ten would be called."""
        source = random.Random("60 0.8 0.0")
        naive = 0
        for _ in range(400):
            values = [value for _, value in autoregression(source, 60, 0.8)]
            score = sum((b > a) - (b < a) for i, b in enumerate(values) for a in values[:i])
            naive += abs(score) / math.sqrt(60 * 59 * 125 / 18) > 1.96
        assert naive / 400 > 0.4


class TestTrueTrends:
    @pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
    def test_a_clear_drift_in_noise_is_seen(self, memory: float) -> None:
        """A rise by ten standard deviations is called in nine of ten series and more."""
        assert share_called(60, memory, drift=10.0, series=200) >= 0.9

    @pytest.mark.parametrize(
        "shape",
        [lambda x: x, lambda x: x**2, lambda x: math.exp(5 * x), lambda x: 1 - math.exp(-4 * x)],
        ids=["line", "square", "exponential", "saturating"],
    )
    def test_a_smooth_rise_of_any_shape_is_seen(self, shape: object) -> None:
        """A leak that speeds up resembles itself from point to point and is a trend all the same."""
        assert callable(shape)
        points = [(START + i, 1 + shape(i / 40)) for i in range(40)]
        assert trend(points, good="down").direction == "degrading"

    def test_eight_points_that_only_rise_are_a_trend(self) -> None:
        """The least number of points is enough for the clearest series."""
        assert trend(line(MINIMUM_POINTS, 2.0), good="up").direction == "improving"

    def test_an_outlier_does_not_bend_the_slope(self) -> None:
        """One absurd value moves neither slope nor movement."""
        points = line(40, 1.0)
        points[35] = (points[35][0], -1e9)
        found = trend(points, good="up")
        assert found.movement == "rising"
        assert found.slope_per_hour == pytest.approx(60.0)

    def test_a_single_step_is_one_event_and_no_trend(self) -> None:
        """From one constant to another is for the change point to find."""
        assert trend([(START + i, float(i >= 20)) for i in range(40)], good="down").direction == "stable"


class TestAgainstScipy:
    """Figures of scipy 1.17.1: ``theilslopes``, and ``2 * t.sf(z, n - 2)`` where nothing is left autocorrelated."""

    @pytest.mark.parametrize(
        ("points", "slope", "p_value"),
        [
            (
                [(i * 60.0, 100 + 0.05 * i + (2.0 if i % 2 else -2.0) + (0.3 * i * i) % 1.7) for i in range(20)],
                5.271428571428552,
                0.12891830075754504,
            ),
            (
                [(i * 60.0, 100 - 0.10 * i + (2.0 if i % 2 else -2.0) + (0.3 * i * i) % 1.7) for i in range(21)],
                -4.687500000000027,
                0.08545528652046407,
            ),
            (
                list(
                    zip(
                        [0.0, 60, 130, 180, 250, 300, 355, 420, 470, 540, 610, 660],
                        [3.0, 3, 5, 4, 6, 6, 6, 9, 8, 8, 12, 11],
                        strict=True,
                    )
                ),
                43.76940133037694,
                0.0047346049780315445,
            ),
        ],
        ids=["even", "odd", "ties and uneven times"],
    )
    def test_slope_and_probability_agree(self, points: Series, slope: float, p_value: float) -> None:
        """Two independent roads lead to the same figures."""
        found = trend(points, good="up", minimum_effect=0.0)
        assert found.effective_n == found.points
        assert found.slope_per_hour == pytest.approx(slope, rel=1e-12)
        assert found.p_value == pytest.approx(p_value, rel=1e-9)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("slope", "good", "movement", "direction"),
        [
            (1.0, "up", "rising", "improving"),
            (1.0, "down", "rising", "degrading"),
            (-1.0, "up", "falling", "degrading"),
            (-1.0, "down", "falling", "improving"),
            (1.0, "unknown", "rising", "unknown"),
            (1.0, "near", "rising", "unknown"),
            (0.0, "unknown", "flat", "stable"),
            (0.0, "up", "flat", "stable"),
        ],
    )
    def test_movement_is_judged_by_what_is_good(
        self, slope: float, good: Direction, movement: Movement, direction: Verdict
    ) -> None:
        """Rising and falling are facts, improving and degrading need to know what is wanted."""
        found = trend(line(30, slope), good=good)
        assert (found.movement, found.direction) == (movement, direction)

    @pytest.mark.parametrize(("target", "direction"), [(140.0, "improving"), (95.0, "degrading")])
    def test_near_is_judged_by_the_target(self, target: float, direction: Verdict) -> None:
        """Moving towards the target is good, moving away is not."""
        assert trend(line(30, 1.0), good="near", target=target).direction == direction

    def test_a_small_change_is_stable_however_sure(self) -> None:
        """A certain change below the minimum effect is not worth a word."""
        found = trend(line(60, 0.01), good="up")
        assert found.p_value is not None
        assert found.p_value < 0.001
        assert found.direction == "stable"
        assert "less than the 5.0% that count" in found.reason
        assert trend(line(60, 0.01), good="up", minimum_effect=0.001).direction == "improving"

    def test_the_figures_describe_the_series(self) -> None:
        """Times, counts, mean and slope are those of the points given."""
        found = trend(line(60, 1.0), good="up")
        assert (found.points, found.mean, found.last) == (60, 129.5, 159.0)
        assert (found.first_timestamp, found.last_timestamp) == (START, START + 59 * 60)
        assert found.slope_per_hour == pytest.approx(60.0)
        assert found.reason == "rising by 46% (p < 0.001), and more is better"


class TestOddSeries:
    @pytest.mark.parametrize("count", range(MINIMUM_POINTS))
    def test_too_few_points_are_unknown_and_it_says_so(self, count: int) -> None:
        """Fewer than 8 points have no trend, and no figure that would look like one."""
        found = trend(line(count, 1.0), good="up")
        assert (found.direction, found.movement) == ("unknown", "unknown")
        assert (found.slope_per_hour, found.p_value, found.effective_n) == (None, None, None)
        assert found.reason == f"needs at least 8 points at different times, has {count}"

    def test_no_points_have_no_figures(self) -> None:
        """Nothing is not zero."""
        found = trend([], good="up")
        assert (found.mean, found.last, found.first_timestamp, found.last_timestamp) == (None, None, None, None)

    @pytest.mark.parametrize("value", [0.0, 7.0, -3.5])
    def test_a_constant_is_stable(self, value: float) -> None:
        """A metric that does not move is flat, also at zero."""
        found = trend([(START + i, value) for i in range(20)], good="down")
        assert (found.movement, found.direction, found.p_value, found.slope_per_hour) == ("flat", "stable", 1.0, 0.0)

    def test_points_of_one_time_count_once(self) -> None:
        """Repeating a time adds no evidence; its values are averaged."""
        points = line(20, 1.0)
        doubled = [(at, value + sign) for at, value in points for sign in (-5.0, 5.0)]
        assert trend(doubled, good="up") == trend(points, good="up")

    def test_the_order_of_points_does_not_matter(self) -> None:
        """Points are sorted by time first."""
        points = autoregression(random.Random(3), 50, 0.5, drift=5.0)
        shuffled = random.Random(4).sample(points, len(points))
        assert trend(shuffled, good="up") == trend(points, good="up")

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_value_or_time_that_is_no_number_is_refused(self, bad: float) -> None:
        """The error shows the value."""
        with pytest.raises(ValueError, match=rf"finite times and values, got value {bad!r} at time"):
            trend([*line(10, 1.0), (START - 1, bad)], good="up")
        with pytest.raises(ValueError, match="finite times and values"):
            trend([*line(10, 1.0), (bad, 1.0)], good="up")

    @pytest.mark.parametrize(
        "arguments", [{"good": "left"}, {"alpha": 0.0}, {"alpha": 1.0}, {"minimum_effect": -1.0}, {"alpha": math.nan}]
    )
    def test_arguments_out_of_range_are_refused(self, arguments: dict[str, object]) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected"):
            trend(line(10, 1.0), **({"good": "up"} | arguments))  # type: ignore[arg-type]

    def test_a_long_series_is_thinned_and_loses_nothing_that_counts(self) -> None:
        """Work is bounded, all points are counted, and the slope is that of all."""
        points = autoregression(random.Random(5), 20_000, 0.8, drift=5.0)
        found = trend(points, good="up", minimum_effect=0.0)
        assert found.effective_n is not None
        assert found.effective_n <= 240
        assert found.points == 20_000
        assert found.movement == "rising"
        assert found.slope_per_hour == pytest.approx(5.0 / (20_000 / 60), rel=0.1)

    @given(
        st.lists(st.tuples(st.floats(0, 1e9), st.floats(-1e12, 1e12)), max_size=40),
        st.sampled_from(["up", "down", "near", "unknown"]),
    )
    def test_any_finite_series_gets_an_answer(self, points: Series, good: Direction) -> None:
        """No series of finite points raises, and a probability is one."""
        found = trend(points, good=good, target=1.0)
        assert found.p_value is None or 0 <= found.p_value <= 1
        assert found.effective_n is None or 0 < found.effective_n <= found.points

    @given(st.lists(st.integers(-1000, 1000), min_size=8, max_size=30), st.integers(1, 50))
    def test_a_mirrored_series_moves_the_other_way(self, values: list[int], step: int) -> None:
        """Turning values over turns the slope over and leaves the probability."""
        points = [(START + i * step, float(value)) for i, value in enumerate(values)]
        mirrored = [(at, -value) for at, value in points]
        found, other = trend(points, good="up"), trend(mirrored, good="up")
        assert found.p_value == pytest.approx(other.p_value)
        assert found.slope_per_hour is not None
        assert other.slope_per_hour is not None
        assert found.slope_per_hour == pytest.approx(-other.slope_per_hour)

    def test_values_near_the_largest_float_do_not_overflow(self) -> None:
        """A fall through all floats is one, with a slope that a message can hold."""
        found = trend([(START + i, 1.7e308 * (1 - i / 20)) for i in range(40)], good="down")
        assert found.direction == "improving"
        assert found.mean == pytest.approx(1.7e308 * (1 - 39 / 40))
        assert found.slope_per_hour == -math.nextafter(math.inf, 0)
