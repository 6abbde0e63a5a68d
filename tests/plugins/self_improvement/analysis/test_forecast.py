"""Tests of forecasts and crossings, on series whose future is known."""

import math
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.forecast import Outlook
from aetherra.plugins.self_improvement.analysis.seasonality import seasonality
from aetherra.plugins.self_improvement.analysis.trends import Movement, trend

START = 1_764_028_800.0
LARGEST_FLOAT = math.nextafter(math.inf, 0)


def points_of(values: list[float]) -> list[tuple[float, float]]:
    return [(START + 60.0 * i, value) for i, value in enumerate(values)]


def line(count: int, slope: float) -> list[tuple[float, float]]:
    return points_of([10 + slope * i for i in range(count)])


def autoregression(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression of variance 1 around 100."""
    first, fresh = source.gauss(0, 1), math.sqrt(1 - memory**2)
    noise = accumulate(range(count - 1), lambda state, _: memory * state + fresh * source.gauss(0, 1), initial=first)
    return [100 + state for state in noise]


class TestForecast:
    @pytest.mark.parametrize("memory", [0.0, 0.5, 0.8, 0.95])
    @pytest.mark.parametrize(("count", "ahead"), [(30, 7), (60, 15), (60, 60), (300, 75)])
    def test_nine_in_ten_come_true(self, count: int, ahead: int, memory: float) -> None:
        """The interval of 90 % holds about nine of ten values to come, in a drift with noise that remembers."""
        source = random.Random(f"{count} {ahead} {memory}")
        inside = 0
        for _ in range(200):
            noise = autoregression(source, count + ahead, memory)
            values = [value + 4 * i / count for i, value in enumerate(noise)]
            found = Outlook(points_of(values[:count])).forecast(START + 60.0 * (count + ahead - 1))
            inside += found.low <= values[-1] <= found.high
        assert 0.84 <= inside / 200 <= 0.99

    def test_a_random_walk_gets_the_room_it_needs(self) -> None:
        """What has no level to come back to is not promised to."""
        source = random.Random("walk")
        inside = 0
        for _ in range(200):
            values = list(accumulate(source.gauss(0, 1) for _ in range(75)))
            found = Outlook(points_of(values[:60])).forecast(START + 60.0 * 74)
            inside += found.low <= values[-1] <= found.high
        assert inside / 200 >= 0.84

    def test_the_further_the_wider(self) -> None:
        """An interval never narrows with time."""
        outlook = Outlook(points_of(autoregression(random.Random(1), 100, 0.8)))
        found = [outlook.forecast(START + 60.0 * (100 + ahead)) for ahead in range(0, 1000, 50)]
        widths = [one.high - one.low for one in found]

        assert widths == sorted(widths)
        assert widths[-1] > 2 * widths[0]

    def test_more_coverage_is_a_wider_interval(self) -> None:
        """It is Student's: from 50 % to 99 % it grows fourfold."""
        points = points_of(autoregression(random.Random(1), 300, 0.0))
        half, most = (Outlook(points, coverage=coverage).forecast(START + 20_000.0) for coverage in (0.5, 0.99))

        assert (most.high - most.low) / (half.high - half.low) == pytest.approx(3.9, rel=0.15)
        assert most.value == half.value

    def test_a_line_goes_on(self) -> None:
        """What is exact is forecast exactly."""
        found = Outlook(line(60, 2.0)).forecast(START + 60.0 * 200)

        assert (found.low, found.value, found.high) == pytest.approx((410.0, 410.0, 410.0))

    def test_a_season_is_put_on(self) -> None:
        """By day and by night the forecast is what the hour is."""
        points = [(START + 600.0 * i, 50 + 10 * math.sin(2 * math.pi * i / 144)) for i in range(144 * 4)]
        season = seasonality(points)
        outlook = Outlook([(time, 50.0) for time, _ in points], season=season)

        assert outlook.forecast(START + 86_400.0 * 5 + 6 * 3600).value == pytest.approx(60, abs=0.5)
        assert outlook.forecast(START + 86_400.0 * 5 + 18 * 3600).value == pytest.approx(40, abs=0.5)


class TestCrossing:
    def test_a_leak_is_told_when_it_reaches_its_limit(self) -> None:
        """Memory that rises by 10 MB an hour from 300 MB reaches 500 MB after 20 hours, and the interval is narrow."""
        source = random.Random(1)
        leak = points_of([300.0 + i / 6 + source.gauss(0, 2) for i in range(360)])
        found = Outlook(leak).crossing(500.0, movement="rising", until=START + 3600.0 * 48)

        assert (found.expected - START) / 3600 == pytest.approx(20, abs=0.5)
        assert found.expected - 2 * 3600 < found.earliest < found.expected < found.latest < found.expected + 2 * 3600
        assert found.reason.startswith("rising, and expected to reach 500 in 14")

    @pytest.mark.parametrize("memory", [0.0, 0.8])
    def test_the_interval_holds_the_time_that_the_drift_crosses(self, memory: float) -> None:
        """In nine of ten series and more in which a trend is found, half a window ahead."""
        source = random.Random(f"crossing {memory}")
        real = inside = 0
        for _ in range(100):
            noise = autoregression(source, 60, memory)
            points = points_of([value + 8 * i / 60 for i, value in enumerate(noise)])
            movement = trend(points, good="down").movement
            if movement == "rising":
                found = Outlook(points).crossing(112.0, movement=movement, until=START + 60.0 * 300)
                real += 1
                inside += found.earliest <= START + 60.0 * 90 <= (found.latest or math.inf)
        assert real > 50
        assert inside / real >= 0.9

    def test_a_falling_metric_crosses_downwards(self) -> None:
        """Disk that runs full is crossed from above."""
        found = Outlook(line(100, -0.05)).crossing(2.0, movement="falling", until=START + 60.0 * 1000)

        assert (found.expected - START) / 60 == pytest.approx(160, abs=1)

    @pytest.mark.parametrize(
        ("setpoint", "movement", "reason"),
        [
            (100.0, "flat", "no trend that would carry it anywhere"),
            (100.0, "unknown", "no trend that would carry it anywhere"),
            (100.0, "falling", "falling on the whole, but not of late"),
            (5.0, "rising", "rising, and beyond 5 already"),
            (1e6, "rising", "rising, and not to reach 1e+06 within 2.35 h"),
        ],
    )
    def test_what_will_not_cross_has_a_reason(self, setpoint: float, movement: Movement, reason: str) -> None:
        """No time is invented, and the reason says why."""
        found = Outlook(line(60, 1.0)).crossing(setpoint, movement=movement, until=START + 60.0 * 200)

        assert (found.earliest, found.expected, found.latest) == (None, None, None)
        assert found.reason == reason

    def test_what_may_cross_but_is_not_expected_to_says_so(self) -> None:
        """The upper end of the interval alone is a warning, and no forecast."""
        source = random.Random(2)
        points = points_of([source.gauss(i / 100, 1) for i in range(300)])
        found = Outlook(points).crossing(6.0, movement="rising", until=START + 60.0 * 500)

        assert found.earliest is not None
        assert (found.expected, found.latest) == (None, None)
        assert "not expected to reach 6 within 3.35 h, though it may in" in found.reason

    def test_a_season_crosses_first_by_day(self) -> None:
        """A slow rise reaches its limit at the hour that is highest anyway."""
        wave = [10 * math.sin(2 * math.pi * i / 144) for i in range(144 * 7)]
        season = seasonality([(START + 600.0 * i, value) for i, value in enumerate(wave)])
        level = [(START + 600.0 * i, i / 144) for i in range(144 * 7)]
        found = Outlook(level, season=season).crossing(19.0, movement="rising", until=START + 86_400.0 * 20)

        assert (found.expected - START) // 86_400 == 9
        assert 3 <= (found.expected - START) % 86_400 / 3600 <= 7


class TestOddSeries:
    @pytest.mark.parametrize("count", range(8))
    def test_too_few_points_have_no_forecast(self, count: int) -> None:
        """Unknown is said to be unknown."""
        outlook = Outlook(line(count, 1.0))
        found, crossing = outlook.forecast(START + 1e6), outlook.crossing(9.0, movement="rising", until=START + 1e6)

        assert (found.value, found.low, found.high, crossing.expected) == (None, None, None, None)
        assert found.reason == crossing.reason == f"needs at least 8 points at different times, has {count}"

    def test_the_past_is_not_forecast(self) -> None:
        """A time before the last point is known, or was."""
        assert Outlook(line(20, 1.0)).forecast(START).reason == "lies before the last point"

    def test_a_constant_stays_one(self) -> None:
        """What never moved is expected not to."""
        found = Outlook(points_of([7.0] * 50)).forecast(START + 1e5)

        assert (found.low, found.value, found.high) == (7.0, 7.0, 7.0)

    def test_values_near_the_largest_float_do_not_overflow(self) -> None:
        """A rise beyond all floats ends at the largest."""
        found = Outlook(points_of([1.7e308 * (i / 50) for i in range(50)])).forecast(START + 60.0 * 500)

        assert found.value == LARGEST_FLOAT

    @pytest.mark.parametrize("coverage", [0.0, 1.0, math.nan])
    def test_arguments_out_of_range_are_refused(self, coverage: float) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected 0 < coverage < 1"):
            Outlook([], coverage=coverage)

    @given(
        st.lists(
            st.tuples(st.floats(0, 1e9), st.floats(allow_nan=False, allow_infinity=False)), min_size=8, max_size=60
        ),
        st.floats(1.1e9, 1e11),
        st.floats(-1e300, 1e300),
    )
    def test_any_finite_series_gets_an_answer(
        self, points: list[tuple[float, float]], at: float, setpoint: float
    ) -> None:
        """No series of finite points raises, an interval holds its value, and the times of a crossing are in order."""
        outlook = Outlook(points)
        found = outlook.forecast(at)
        if found.value is not None:
            assert found.low <= found.value <= found.high
            assert all(map(math.isfinite, (found.low, found.high)))
        for movement in ("rising", "falling"):
            crossing = outlook.crossing(setpoint, movement=movement, until=at)
            times = [time for time in (crossing.earliest, crossing.expected, crossing.latest) if time is not None]
            assert times == sorted(times)
