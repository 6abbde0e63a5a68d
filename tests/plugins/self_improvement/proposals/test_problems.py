"""Tests of problems: what is beyond its setpoint, will be, degrades, or is not known at all."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_improvement.analysis.change_points import ChangePoint
from aetherra.plugins.self_improvement.proposals.levels import Known
from aetherra.plugins.self_improvement.proposals.problems import judge, load_band
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint

HOUR = 3600.0
WANTED = Setpoint(0.2, 2.0)


@pytest.fixture
def judged(analysed, points, now):
    def judged(level=0.1, *, setpoint=WANTED, good="down", measured=None, at=now, season="none", **shape):
        found = {"changes": shape.pop("changes", ()), "crossing": shape.pop("crossing", None), "season": season}
        analysis = analysed("plant.latency", points(level, **shape), good=good, **found)
        return judge(analysis, setpoint=setpoint, good=good, now=at, horizon=24 * HOUR, measured=measured)

    return judged


def step(at, before, after):
    return ChangePoint(timestamp=at, before=before, after=after, size=5.0, reason="a step")


class TestBeyondSetpoint:
    def test_a_metric_beyond_its_setpoint_is_well(self, judged):
        """The level is what counts: how far it is on the way to bad, and what it would take to be well."""
        found = judged(1.1)

        assert (found.problem, found.severity, found.weight) == ("beyond_setpoint", pytest.approx(0.5, abs=0.02), 1.0)
        assert found.need == pytest.approx(0.9 / 1.1, abs=0.02)
        (row,) = found.evidence
        assert (row.metric, row.points, row.statistic, row.until - row.since) == ("plant.latency", 60, "p50", 59 * 60)
        assert found.text == f"plant.latency has a median of {row.value:.4g} s, wanted at most 0.2"

    def test_one_spike_is_a_problem(self, analysed, points, now):
        """A level is one of many points; the latest alone never counts."""
        series = [*points(0.1)[:-1], (now, 50.0)]
        found = judge(
            analysed("plant.latency", series, changes=()), setpoint=WANTED, good="down", now=now, horizon=HOUR
        )

        assert found.problem is None
        assert found.is_well

    def test_a_new_level_waits_for_half_of_the_window(self, judged, now):
        """Five points after a change are the level; fewer are not yet."""
        fresh, old = step(now - 3 * 60, 0.1, 1.5), step(now - 4 * 60, 0.1, 1.5)

        assert judged(0.1, changes=[fresh]).problem is None
        found = judged(0.1, changes=[old])
        assert (found.problem, found.level, found.evidence[0].statistic) == ("beyond_setpoint", 1.5, "mean")
        assert (found.evidence[0].since, found.evidence[0].points) == (now - 240, 5)

    def test_what_a_trial_measured_is_forgotten(self, judged, now):
        """The level since a trial is what the trial measured, until the points show another change."""
        measured = Known(now - 600, 0.15, "p1")

        assert judged(1.1, measured=measured).problem is None
        assert judged(1.1, measured=measured).evidence[0].statistic == "level after trial"
        assert judged(1.1, measured=measured, changes=[step(now - 300, 0.15, 1.5)]).level == 1.5
        assert judged(1.1, measured=Known(now - 61 * 60, 0.15, "p1")).problem == "beyond_setpoint"

    def test_slightly_beyond_is_well(self, judged):
        """Between good and the limit it is no problem, and not well either: what is open stays open."""
        found = judged(0.25, noise=0.01)

        assert found.problem is None
        assert not found.is_well
        assert judged(0.15, noise=0.01).is_well


class TestTrend:
    def test_a_drift_within_the_setpoint_is_a_problem(self, judged):
        """What moves within its setpoint is no problem until it is forecast to leave it."""
        assert judged(0.05, slope=0.1).problem is None

    def test_a_drift_without_a_setpoint_is_none(self, judged):
        """Without a setpoint the trend is what counts, where it is large and hardly chance."""
        found = judged(1.0, slope=1.0, setpoint=None, noise=0.02)

        assert (found.problem, found.weight) == ("degrading", 0.5)
        assert found.severity == pytest.approx(2 / 3, abs=0.05)
        assert [row.statistic for row in found.evidence] == ["slope_per_hour", "latest"]
        assert judged(1.0, slope=0.1, setpoint=None, noise=0.01).problem is None
        assert judged(1.0, slope=-0.5, setpoint=None, noise=0.02).problem is None
        assert judged(1.0, slope=1.0, setpoint=None, noise=0.02, good="unknown").problem is None

    def test_the_time_of_day_is_taken_for_a_drift(self, judged):
        """Where nobody knows the daily season, only what drifts for longer than a day counts."""
        day = judged(1.0, slope=1.0, setpoint=None, noise=0.02, season="unknown", every=1440.0)
        longer = judged(1.0, slope=1.0, setpoint=None, noise=0.02, season="unknown", every=2400.0)

        assert (day.problem, day.text.endswith("which may be the time of day")) == (None, True)
        assert longer.problem == "degrading"

    def test_a_crossing_is_not_seen_coming(self, judged, now):
        """A forecast to leave the setpoint within the horizon counts, more the sooner, while the trend goes there."""

        def drifting(hours, **shape):
            return judged(0.05, slope=0.1, crossing=(0.29, now + hours * HOUR), every=1800.0, **shape)

        soon = drifting(6)

        assert (soon.problem, soon.severity) == ("crossing_soon", pytest.approx(0.375))
        assert 0 < drifting(20).severity < soon.severity
        assert soon.evidence[0].value == now + 6 * HOUR
        assert "forecast to cross 0.29 in 6.0 h" in soon.text
        assert drifting(30).problem is None
        assert judged(0.05, slope=0.1, crossing=(0.29, None), every=1800.0).problem is None

    def test_a_short_time_tells_a_long_one(self, judged, now):
        """A crossing further ahead than the points reach back is not believed."""
        assert judged(0.05, slope=0.1, crossing=(0.29, now + 0.9 * HOUR)).problem == "crossing_soon"
        assert judged(0.05, slope=0.1, crossing=(0.29, now + 1.1 * HOUR)).problem is None

    def test_a_trend_by_chance_leads_to_a_crossing(self, judged, now):
        """Without a clear trend a crossing counts only if even its latest time is known: a rise since a step, say."""
        soon = now + 0.5 * HOUR
        assert judged(0.05, crossing=(0.29, soon)).problem is None
        found = judged(0.05, crossing=(0.29, soon, now + 9 * HOUR))
        assert found.problem == "crossing_soon"
        assert found.text.endswith("in 0.5 h; rising, and expected to reach it")


class TestUnknown:
    def test_what_is_unknown_is_called_well(self, judged, now):
        """Few points, or old ones, say nothing: neither well nor a problem, and why."""
        few, old = judged(9.0, count=3), judged(9.0, at=now + 1000)

        assert (few.known, few.problem, few.is_well) == (False, None, False)
        assert few.text.startswith("UNKNOWN: needs at least")
        assert (old.known, old.problem) == (False, None)
        assert old.text == "UNKNOWN: the latest point is 1000 s old"
        assert judged(9.0, at=now + 1000, every=600.0).known


class TestLoadBand:
    def test_the_load_is_not_seen(self, analysed, points, now):
        """Low and high are more than a standard deviation from the window's mean."""
        steady = points(1.0)
        assert load_band(analysed("calls.rate", steady, changes=())) == "normal"
        risen = [(time, 5.0 if time > now - 600 else value) for time, value in steady]
        assert load_band(analysed("calls.rate", risen, changes=[step(now - 590, 1.0, 5.0)])) == "high"
        fallen = [(time, 0.1 if time > now - 600 else value) for time, value in steady]
        assert load_band(analysed("calls.rate", fallen, changes=[step(now - 590, 1.0, 0.1)])) == "low"
        assert load_band(None) == "unknown"
        assert load_band(analysed("calls.rate", steady[:3], changes=())) == "unknown"
