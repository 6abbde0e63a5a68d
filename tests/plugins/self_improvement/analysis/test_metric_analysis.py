"""Tests of the whole analysis of one metric."""

import json
import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.change_points import change_points
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis, analyse
from aetherra.plugins.self_improvement.analysis.outliers import outliers
from aetherra.plugins.self_improvement.analysis.summary import summary
from aetherra.plugins.self_improvement.analysis.trends import trend

MIDNIGHT = 1_764_028_800.0
Series = list[tuple[float, float]]


def points_of(values: list[float], step: float = 60.0) -> Series:
    return [(MIDNIGHT + step * i, value) for i, value in enumerate(values)]


def analysed(points: Series, *, good: Direction = "down", setpoint: float | None = None) -> MetricAnalysis:
    now = max((time for time, _ in points), default=MIDNIGHT)
    return analyse(points, name="process.rss", unit="MB", good=good, setpoint=setpoint, now=now)


class TestMetricAnalysis:
    def test_a_day_of_noise_has_nothing_to_tell(self) -> None:
        """No trend, no step, no outlier, no crossing; a summary and a forecast like what was."""
        source = random.Random(1)
        found = analysed(points_of([source.gauss(100, 1) for _ in range(1440)]), setpoint=120.0)

        assert (found.name, found.unit) == ("process.rss", "MB")
        assert found.trend.direction == "stable"
        assert (found.change_points, found.outliers) == ((), ())
        assert found.season.verdict == "unknown"
        assert found.summary.p50 == pytest.approx(100, abs=0.2)
        assert found.forecast.value == pytest.approx(100, abs=1)
        assert found.crossing.reason == "no trend that would carry it anywhere"

    def test_it_is_what_the_parts_say(self) -> None:
        """Without a season and a step each finding is that of its own function."""
        source = random.Random(2)
        points = points_of([100 + i / 50 + source.gauss(0, 1) for i in range(600)])
        found = analysed(points)

        assert found.summary == summary(points)
        assert found.outliers == outliers(points) == ()
        assert found.change_points == change_points(points) == ()
        assert found.trend == trend(points, good="down")

    def test_runs_say_where_it_stood_meanwhile(self) -> None:
        """A day is told by the quarter of an hour, less by runs of five points, without the outliers."""
        leak = points_of([300 + i / 6 for i in range(1440)])
        found = analysed([*leak[:700], (leak[700][0], 1e9), *leak[701:]])

        assert found.outliers
        assert [value for _, value in found.runs] == pytest.approx([301.25 + 2.5 * run for run in range(96)], abs=0.2)
        assert found.runs[-1] == (MIDNIGHT + 60 * 1432, pytest.approx(300 + 1432 / 6))
        assert [len(analysed(leak[:count]).runs) for count in (0, 1, 9, 10, 60)] == [0, 1, 1, 2, 12]

    def test_a_leak_is_found_before_it_hurts(self) -> None:
        """A rise of 10 MB an hour in a day: degrading, and over its limit in about ten hours."""
        source = random.Random(3)
        found = analysed(points_of([300 + i / 6 + source.gauss(0, 5) for i in range(1440)]), setpoint=640.0)

        assert found.trend.direction == "degrading"
        assert (found.crossing.expected - MIDNIGHT) / 3600 == pytest.approx(34, abs=1)
        assert found.crossing.earliest < found.crossing.expected < found.crossing.latest

    def test_a_restart_begins_the_forecast_anew(self) -> None:
        """A leak that was reset an hour or two ago: it is the leak since then that reaches the limit."""
        source = random.Random(4)
        leak = [300 + (i % 1200) / 2 + source.gauss(0, 5) for i in range(1440)]
        found = analysed(points_of(leak), setpoint=500.0)
        (step,) = found.change_points

        assert (step.timestamp - MIDNIGHT) / 60 == pytest.approx(1200, abs=3)
        assert (found.crossing.expected - MIDNIGHT) / 60 == pytest.approx(1200 + 400, rel=0.05)

    def test_what_is_seen_for_two_minutes_says_nothing_of_tomorrow(self) -> None:
        """A forecast looks as far ahead as its points reach back, those since the latest step, and so does its way."""
        source = random.Random(9)
        short = points_of([source.gauss(0.4, 0.02) for _ in range(13)], 10.0)
        found = analyse(short, name="a", unit="s", good="down", now=short[-1][0], ahead=2)

        assert found.forecast.at == short[-1][0] + 120.0
        assert [step.at for step in found.course] == [short[-1][0] + 60.0, short[-1][0] + 120.0]
        assert found.forecast.high - found.forecast.low < 0.4

        stepped = analysed(points_of([source.gauss(100.0 + 50 * (i >= 1300), 1) for i in range(1440)]))
        (step,) = stepped.change_points
        assert stepped.forecast.at == 2 * (MIDNIGHT + 60.0 * 1439) - step.timestamp

    def test_a_crossing_lies_no_further_ahead_than_the_points_reach_back(self) -> None:
        """What would be reached later is not told, and the reason says how far was looked."""
        rising = points_of([float(i) for i in range(60)])

        assert analysed(rising, setpoint=110.0).crossing.expected == pytest.approx(MIDNIGHT + 60.0 * 110, abs=60)
        later = analysed(rising, setpoint=130.0).crossing
        assert (later.earliest, later.expected, later.latest) == (None, None, None)
        assert later.reason == "rising, and not to reach 130 within 0.983 h"

    def test_what_ended_longer_ago_than_it_lasted_is_not_forecast(self) -> None:
        """A metric that nobody records any more is not guessed at, and the reason says so."""
        points = points_of([float(i) for i in range(61)])
        now = points[-1][0] + 7200.0
        found = analyse(points, name="a", unit="s", good="down", setpoint=200.0, now=now, ahead=2)

        assert (found.forecast.at, found.forecast.value, found.crossing.expected) == (now, None, None)
        assert (
            found.forecast.reason
            == found.crossing.reason
            == ("lies 2 h after the last point, further than the points reach back, which is 1 h")
        )
        assert [step.value for step in found.course] == [None, None]
        late = analyse(points, name="a", unit="s", good="down", now=points[-1][0] + 3000.0)
        assert late.forecast.at == points[-1][0] + 3600.0

    def test_an_outlier_bends_no_other_finding(self) -> None:
        """One absurd value is told, and neither a step nor a trend nor in the way of the forecast."""
        source = random.Random(5)
        values = [source.gauss(100, 1) for _ in range(600)]
        values[590] = 1e9
        found = analysed(points_of(values))

        assert [one.value for one in found.outliers] == [1e9]
        assert found.change_points == ()
        assert found.trend.movement == "flat"
        assert found.forecast.high < 110

    def test_a_season_is_no_trend_and_no_steps(self) -> None:
        """Three days and a half that end at noon: the wave is a season, and what is forecast is the hour's."""
        source = random.Random(6)
        wave = [100 + 10 * math.sin(2 * math.pi * i / 288) + source.gauss(0, 1) for i in range(288 * 7 // 2)]
        found = analysed(points_of(wave, 300.0))

        assert found.season.verdict == "daily"
        assert found.trend.movement == "flat"
        assert found.trend.last == wave[-1]
        assert found.trend.mean == found.summary.mean
        assert found.change_points == ()
        assert found.forecast.value == pytest.approx(100, abs=2)  # noon

    def test_a_clock_that_went_back_changes_nothing(self) -> None:
        """The order of points is that of their times, and ``now`` is not before them."""
        source = random.Random(7)
        points = points_of([source.gauss(i / 10, 1) for i in range(300)])
        shuffled = source.sample(points, len(points))
        one = analyse(shuffled, name="a", unit="", good="up", setpoint=50.0, now=MIDNIGHT)

        assert one == analyse(points, name="a", unit="", good="up", setpoint=50.0, now=points[-1][0])

    def test_it_travels(self) -> None:
        """All of it is JSON and back, with values near the largest float, too."""
        source = random.Random(8)
        for scale in (1.0, 1.7e306):
            found = analysed(points_of([source.gauss(i / 10, 1) * scale for i in range(300)]), setpoint=50.0 * scale)
            encoded = msgspec.json.encode(found)

            assert msgspec.json.decode(encoded, type=MetricAnalysis) == found
            assert "null" not in str(json.loads(encoded)["forecast"])


class TestOddSeries:
    @pytest.mark.parametrize("count", range(4))
    def test_next_to_nothing_is_unknown_and_has_reasons(self, count: int) -> None:
        """From 0 to 3 points there is an answer, which says what it needs."""
        found = analysed(points_of([5.0, 1e308, -1e308][:count]), setpoint=9.0)

        assert (found.trend.direction, found.season.verdict) == ("unknown", "unknown")
        assert (found.forecast.value, found.crossing.expected) == (None, None)
        assert found.trend.reason == found.forecast.reason == f"needs at least 8 points at different times, has {count}"
        assert (found.summary.count, found.change_points, found.outliers) == (count, (), ())

    def test_a_constant_has_nothing_to_tell(self) -> None:
        """A metric that does not move is stable, whichever way is good."""
        found = analysed(points_of([7.0] * 1440), setpoint=9.0)

        assert (found.trend.direction, found.change_points, found.outliers) == ("stable", (), ())
        assert found.forecast.value == 7.0

    def test_the_way_to_the_horizon_is_told_where_it_is_asked_for(self) -> None:
        """In even steps, the last of which is the forecast, less and less sure; and not without being asked."""
        points = points_of([100 + 0.05 * i + (i * 37 % 11) / 10 for i in range(600)])
        now = points[-1][0] + 30.0
        found = analyse(points, name="process.rss", unit="MB", good="down", now=now, horizon=1200.0, ahead=4)

        assert [step.at for step in found.course] == [now + 300, now + 600, now + 900, now + 1200]
        assert found.course[-1] == found.forecast
        widths = [(step.high or 0) - (step.low or 0) for step in found.course]
        assert 0 < widths[0] <= widths[-1]
        assert analysed(points).course == ()

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_is_refused_by_its_time(self, bad: float) -> None:
        """The error shows the value and when it was."""
        with pytest.raises(ValueError, match=rf"got value {bad!r} at time {MIDNIGHT + 60.0!r}"):
            analysed(points_of([1.0, bad]))

    @given(
        st.lists(
            st.tuples(
                st.floats(0, 1e7), st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0])
            ),
            max_size=60,
        ),
        st.sampled_from(["up", "down", "near", "unknown"]),
        st.floats(-1e300, 1e300),
    )
    def test_any_finite_series_gets_an_answer_that_travels(
        self, points: Series, good: Direction, setpoint: float
    ) -> None:
        """No series of finite points raises, and no finding holds what JSON cannot."""
        found = analysed(points, good=good, setpoint=setpoint)

        assert msgspec.json.decode(msgspec.json.encode(found), type=MetricAnalysis) == found
