"""Tests of the daily season."""

import math
import random
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aetherra.plugins.self_improvement.analysis.seasonality import Season, seasonality
from aetherra.plugins.self_improvement.analysis.series import in_order

MIDNIGHT = 1_764_028_800.0
DAY = 144
"""Points a day, one each ten minutes."""


def points_of(values: list[float]) -> list[tuple[float, float]]:
    return [(MIDNIGHT + 600.0 * i, value) for i, value in enumerate(values)]


def autoregression(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression of variance 1 around 100."""
    first, fresh = source.gauss(0, 1), math.sqrt(1 - memory**2)
    noise = accumulate(range(count - 1), lambda state, _: memory * state + fresh * source.gauss(0, 1), initial=first)
    return [100 + state for state in noise]


class TestFalseSeasons:
    @pytest.mark.parametrize("memory", [0.0, 0.8, 0.99])
    @pytest.mark.parametrize("days", [3, 7])
    def test_noise_that_remembers_has_no_season(self, memory: float, days: int) -> None:
        """At most one series of noise in twenty has one."""
        source = random.Random(f"{memory} {days}")
        called = sum(
            seasonality(points_of(autoregression(source, days * DAY, memory))).verdict == "daily" for _ in range(60)
        )

        assert called <= 3

    @pytest.mark.parametrize(
        "shape",
        [lambda x: 7.0, lambda x: 50 * x, lambda x: 50 * x**3, lambda x: 10.0 * (x > 0.4)],
        ids=["constant", "line", "curve", "step"],
    )
    def test_a_trend_is_no_season(self, shape: object) -> None:
        """What happens once does not happen daily."""
        assert callable(shape)
        source = random.Random(2)
        values = [shape(i / (7 * DAY)) + source.gauss(0, 1) for i in range(7 * DAY)]

        assert seasonality(points_of(values)).verdict == "none"


class TestSeason:
    @pytest.mark.parametrize("memory", [0.0, 0.8])
    def test_a_daily_wave_is_found_with_its_hours(self, memory: float) -> None:
        """A wave of three standard deviations on a trend: the means by the hour, and what they explain."""
        source = random.Random(f"wave {memory}")
        noise = autoregression(source, 7 * DAY, memory)
        wave = [3 * math.sin(2 * math.pi * i / DAY) for i in range(7 * DAY)]
        season = seasonality(points_of([a + b + i / 200 for i, (a, b) in enumerate(zip(noise, wave, strict=True))]))

        assert season.verdict == "daily"
        assert season.hour_means == pytest.approx(
            [3 * math.sin(2 * math.pi * (hour + 0.5) / 24) for hour in range(24)], abs=1.0
        )
        assert sum(season.hour_means) == pytest.approx(0.0, abs=1e-9)
        assert season.strength > 0.8
        assert season.reason.startswith("highest at 0")

    def test_a_nightly_job_is_found(self) -> None:
        """One hour that differs is a season."""
        source = random.Random(4)
        season = seasonality(points_of([source.gauss(10 + 4 * (i // 6 % 24 == 3), 1) for i in range(7 * DAY)]))

        assert max(range(24), key=season.hour_means.__getitem__) == 3
        assert "highest at 03:00 UTC" in season.reason

    def test_an_hour_that_differs_in_a_metric_that_wanders_is_found(self) -> None:
        """An analysis of variance of the hours' means alone would miss most of these: they hide in the wandering."""
        source = random.Random("wander")
        found = plain = 0
        for _ in range(20):
            noise = autoregression(source, 7 * 24, 0.98)
            means = [value + (i % 24 == 3) for i, value in enumerate(noise)]
            plain += stats.f_oneway(*(means[hour::24] for hour in range(24))).pvalue < 0.01
            found += seasonality([(MIDNIGHT + 3600.0 * i, value) for i, value in enumerate(means)]).verdict == "daily"
        assert found == 20
        assert plain < 5

    def test_removing_it_leaves_the_rest(self) -> None:
        """The season taken off is that which is put on, and none is taken off where there is none."""
        wave = [5 * math.sin(2 * math.pi * i / DAY) for i in range(4 * DAY)]
        series = in_order(points_of([100 + value for value in wave]))
        season = seasonality(series)
        level = season.removed(series)

        assert level.values == pytest.approx([100.0] * len(series), abs=0.15)
        assert [value + season.offset(time) for time, value in zip(level.times, level.values, strict=True)] == (
            pytest.approx(series.values)
        )
        none = Season(verdict="none", days=4.0, reason="")
        assert none.removed(series) is series
        assert none.offset(MIDNIGHT) == 0.0

    def test_the_chance_is_that_of_an_analysis_of_variance(self) -> None:
        """Beside noise that forgets at once, scipy comes to about the same."""
        source = random.Random(9)
        values = [source.gauss(0.25 * (i // 6 % 24 < 8), 1) for i in range(14 * DAY)]
        means = [sum(values[i : i + 6]) / 6 for i in range(0, len(values), 6)]
        expected = stats.f_oneway(*(means[hour::24] for hour in range(24))).pvalue

        assert math.log10(seasonality(points_of(values)).p_value) == pytest.approx(math.log10(expected), abs=1.0)


class TestOddSeries:
    @pytest.mark.parametrize("count", [0, 1, 2, 3, DAY, 3 * DAY - 6])
    def test_less_than_three_days_are_unknown(self, count: int) -> None:
        """Two days may resemble each other by chance, and it says so."""
        season = seasonality(points_of([float(i % DAY) for i in range(count)]))

        assert (season.verdict, season.hour_means, season.strength, season.p_value) == ("unknown", (), None, None)
        assert season.reason.startswith("needs 3 days, has ")

    def test_an_hour_that_is_never_seen_is_unknown(self) -> None:
        """A host that sleeps at night has no season of its nights."""
        points = [point for i, point in enumerate(points_of([1.0] * 7 * DAY)) if i // 6 % 24 != 5]

        assert seasonality(points).reason == "saw 05:00 UTC on fewer than two days"

    def test_gaps_do_not_hide_it(self) -> None:
        """A third of all points, in a disordered pile, is enough."""
        source = random.Random(5)
        points = points_of([source.gauss(3 * math.sin(2 * math.pi * i / DAY), 1) for i in range(7 * DAY)])

        assert seasonality(source.sample(points, len(points) // 3)).verdict == "daily"

    def test_values_near_the_largest_float_do_not_overflow(self) -> None:
        """The means by the hour of what is huge are huge, and finite."""
        season = seasonality(points_of([1.5e308 * math.sin(2 * math.pi * i / DAY) for i in range(4 * DAY)]))

        assert season.verdict == "daily"
        assert max(season.hour_means) == pytest.approx(1.5e308, rel=0.1)

    def test_arguments_out_of_range_are_refused(self) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected 0 < alpha < 1, got 1"):
            seasonality([], alpha=1)

    @given(st.lists(st.floats(-1e300, 1e300), min_size=72, max_size=73))
    @settings(max_examples=30)
    def test_any_finite_series_gets_an_answer(self, values: list[float]) -> None:
        """No series of finite points raises, and a probability is one."""
        season = seasonality([(MIDNIGHT + 3600.0 * i, value) for i, value in enumerate(values)])

        assert season.verdict in {"daily", "none"}
        assert 0 <= season.p_value <= 1
        assert 0 <= season.strength <= 1
