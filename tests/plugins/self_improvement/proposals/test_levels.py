"""Tests of levels: where a metric stands that moves, that stepped, that was tried, and that only is noisy."""

from __future__ import annotations

import random

import msgspec
import pytest

from aetherra.plugins.self_improvement.analysis.metric_analysis import analyse
from aetherra.plugins.self_improvement.proposals.levels import Known, level
from aetherra.plugins.self_improvement.proposals.problems import judge
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint

HOUR = 3600.0
WANTED = Setpoint(0.2, 1.0)
"""Beyond 0.24 something is to be done."""


def noise(count, *, seed, memory=0.8, size=0.004):
    chance, error = random.Random(seed), 0.0
    for _ in range(count):
        error = memory * error + chance.gauss(0, size) * (1 - memory**2) ** 0.5
        yield error


@pytest.fixture
def seen(now):
    """Return a function that analyses a course, a function of the hour, over a day up to now."""

    def seen(course, *, hours=24, seed=3, **shape):
        points = [
            (now - hours * HOUR + 60 * (i + 1), course((i + 1) / 60) + error)
            for i, error in enumerate(noise(hours * 60, seed=seed, **shape))
        ]
        return analyse(points, name="shop.wait", unit="s", good="down", now=now, setpoint=WANTED.limit)

    return seen


@pytest.fixture
def judged(now):
    def judged(analysis, measured=None):
        return judge(analysis, setpoint=WANTED, good="down", now=now, horizon=24 * HOUR, measured=measured)

    return judged


class TestTrend:
    def test_a_steady_rise_is_as_wanted_until_half_of_the_day_is_beyond(self, seen, judged, now):
        """Where a metric has come to is its level, and the rows say by which points: the last hour and a half."""
        found = judged(seen(lambda hour: 0.12 + 0.18 * hour / 24))
        row, slope = found.evidence

        assert (found.problem, found.level) == ("beyond_setpoint", pytest.approx(0.29, abs=0.01))
        assert (row.statistic, row.value, row.points) == ("latest", found.level, 90)
        assert (now - row.since) / 60 == pytest.approx(89)
        assert (slope.statistic, slope.value, slope.points) == ("slope_per_hour", pytest.approx(0.0075, rel=0.05), 1440)
        assert found.text == (
            f"shop.wait has of late, in 90 points, a median of {row.value:.4g} s, wanted at most 0.2; "
            "rising by 86% (p < 0.001), and less is better"
        )

    def test_between_the_forecast_and_the_fact_nothing_is_wrong(self, seen, judged):
        """While a metric passes its limit there is a problem at every look: it will, it does, and it has."""
        problems = [
            judged(seen(lambda hour, late=late: 0.14 + 0.1 * (hour + late) / 24)).problem
            for late in (-2, -1, -0.5, 0, 0.25, 0.5, 1, 2)
        ]

        assert set(problems) == {"crossing_soon", "beyond_setpoint"}
        assert problems == sorted(problems, reverse=True)
        passing = judged(seen(lambda hour: 0.14 + 0.1 * (hour + 0.5) / 24))
        assert (passing.problem, passing.severity) == ("crossing_soon", 0.5)
        assert passing.text.startswith("shop.wait is about to cross 0.24; rising by")

    def test_a_rise_that_has_ended_goes_on(self, seen, judged):
        """The line goes on where a rise has ended; the latest points say that it has."""
        ended = seen(lambda hour: 0.12 + 0.10 * min(hour, 14) / 14)

        assert level(ended, "down").value == pytest.approx(0.22, abs=0.005)
        assert judged(ended).problem != "beyond_setpoint"

    def test_a_burst_at_the_end_of_a_rise_is_the_level(self, seen, judged):
        """The latest points say what the line does not: the nearer of the two counts."""
        burst = seen(lambda hour: 0.12 + 0.04 * hour / 24 + (0.5 if hour > 23.2 else 0))
        found = level(smooth(burst), "down")

        assert found.value == pytest.approx(0.16, abs=0.01)
        assert judged(smooth(burst)).problem is None

    def test_what_has_got_better_is_beyond_for_as_long_again(self, seen, judged):
        """A steady fall into the setpoint ends the problem when the metric is there, not when half of the day is."""
        found = judged(seen(lambda hour: 0.40 - 0.24 * hour / 24))

        assert (found.problem, found.is_well) == (None, True)
        assert found.level == pytest.approx(0.17, abs=0.01)
        assert found.text.endswith("as wanted")
        bump = smooth(seen(lambda hour: 0.60 - 0.375 * hour / 24 + 0.06 * (hour > 23.75)))
        assert judged(bump).problem is None

    def test_coming_back_is_leaving(self, seen, judged):
        """What is forecast to cross its setpoint the good way is no problem: it is getting well."""
        falling = smooth(seen(lambda hour: 0.1 if hour < 23 else 0.5 - 0.24 * (hour - 23)))
        found = msgspec.structs.replace(falling, crossing=seen(lambda hour: 0.5 - 0.24 * hour / 24).crossing)

        assert found.crossing.latest is not None
        assert judged(found).problem is None

    def test_chance_is_followed(self, seen):
        """Without a trend that is hardly chance the level is the median of all, whatever the latest wander to."""
        calm = 0
        for seed in range(60):
            noisy = seen(lambda _: 0.23, hours=6, seed=seed, memory=0.95, size=0.02)
            found = level(noisy, "down")
            if not noisy.change_points:
                calm += 1
                assert (found.value, len(found.evidence), found.slope) == (noisy.summary.p50, 1, 0.0)
        assert calm > 40


class TestAfterAChange:
    def test_the_first_hour_after_a_step_is_the_level_for_ever(self, seen, judged, now):
        """All points since a step count, not those that the step was seen by, and so does their trend."""
        drifting = seen(lambda hour: 0.10 if hour < 4 else 0.15 + 0.12 * (hour - 4) / 20)
        (step,) = drifting.change_points
        found = judged(drifting)

        assert step.after == pytest.approx(0.153, abs=0.005)
        assert (found.problem, found.level) == ("beyond_setpoint", pytest.approx(0.265, abs=0.01))
        assert found.evidence[1].since == step.timestamp

        steady = level(seen(lambda hour: 0.10 if hour < 4 else 0.22, memory=0.95, size=0.02), "down")
        assert steady.value == pytest.approx(0.22, abs=0.01)
        assert (now - steady.evidence[0].since) / HOUR == pytest.approx(20, abs=0.5)

    def test_what_drifts_after_a_trial_is_what_it_measured(self, seen, judged, now):
        """What a trial measured is the level while there are few points since; then these are, and their trend."""
        drifting = seen(lambda hour: 0.26 if hour < 5 else 0.17 + 0.1 * (hour - 5) / 19, size=0.02)
        at = now - 18.5 * HOUR
        found = judged(drifting, Known(at, 0.17, "p1"))

        assert (found.problem, found.level) == ("beyond_setpoint", pytest.approx(0.265, abs=0.015))
        other = level(seen(lambda _: 0.22), "down", Known(now - 6 * HOUR, 0.17, "p1"))
        assert (other.value, other.evidence[0].statistic) == (pytest.approx(0.22, abs=0.005), "p50")
        fresh = level(drifting, "down", Known(now - 1.5 * HOUR, 0.17, "p1"))
        assert (fresh.value, fresh.evidence[0].statistic) == (0.17, "level after trial")

    def test_points_from_before_count_as_since(self, seen, now):
        """A run of points that a step lies in tells of neither side."""
        found = level(seen(lambda hour: 0.9 if hour < 21.4 else 0.2), "down")
        assert found.value == pytest.approx(0.2, abs=0.003)


class TestFewPoints:
    def test_a_trend_of_a_handful_is_followed(self, analysed, points):
        """Below forty points there are not enough to say where a trend has come to."""
        few = points(0.1, count=39, noise=0.01, slope=0.4)
        assert level(analysed("shop.wait", few, changes=()), "down").evidence[0].statistic == "p50"
        more = points(0.1, count=40, noise=0.01, slope=0.4)
        assert level(analysed("shop.wait", more, changes=()), "down").evidence[0].statistic == "latest"


def smooth(analysis):
    """Return an analysis that has not seen any step."""
    return msgspec.structs.replace(analysis, change_points=())
