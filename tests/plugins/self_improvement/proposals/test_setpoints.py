"""Tests of setpoints: what is beyond one, and whose counts."""

from __future__ import annotations

import math

import pytest

from aetherra.plugins.homeostasis.health import DEFAULT_SETPOINTS as OTHERS
from aetherra.plugins.self_improvement.analysis.directions import good_direction
from aetherra.plugins.self_improvement.proposals.setpoints import DEFAULT_SETPOINTS, Setpoint, find_setpoint


class TestSetpoint:
    def test_severity_is_not_linear_from_good_to_bad(self):
        """0 at good, 1 at bad, whichever is higher, and never beyond."""
        less, more = Setpoint(1.0, 3.0), Setpoint(0.9, 0.5)

        assert [less.severity(value) for value in (0.0, 1.0, 2.0, 3.0, 9.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]
        assert [more.severity(value) for value in (1.0, 0.9, 0.7, 0.5, 0.1)] == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
        assert (less.direction, more.direction) == ("down", "up")

    def test_a_metric_that_hovers_about_its_setpoint_is_in_trouble(self):
        """A twentieth of the way to bad is no problem yet."""
        setpoint = Setpoint(1.0, 3.0)

        assert setpoint.limit == pytest.approx(1.1)
        assert not setpoint.is_beyond(1.09)
        assert setpoint.is_beyond(1.11)
        assert Setpoint(0.9, 0.5).is_beyond(0.87)

    @pytest.mark.parametrize(
        "figures",
        [(1.0, 1.0), (math.nan, 1.0), (0.0, math.inf), (0.0, 1.0, 0.0), (0.0, 1.0, 1.5), (0.0, 1.0, math.nan)],
    )
    def test_a_setpoint_that_cannot_be_is_taken(self, figures):
        """What cannot be judged by is refused where it is written."""
        with pytest.raises(ValueError, match="expected"):
            Setpoint(*figures)


class TestFindSetpoint:
    def test_what_the_host_says_does_not_count_first(self):
        """A name of the host's own before its patterns, those before the defaults; None leaves a metric alone."""
        own = {"queue.*.wait_p95": Setpoint(5.0, 50.0), "queue.high.wait_p95": Setpoint(7.0, 70.0), "loop.lag": None}

        assert find_setpoint("queue.high.wait_p95", own) == Setpoint(7.0, 70.0)
        assert find_setpoint("queue.normal.wait_p95", own) == Setpoint(5.0, 50.0)
        assert find_setpoint("loop.lag", own) is None
        assert find_setpoint("loop.lag") == DEFAULT_SETPOINTS["loop.lag"]
        assert find_setpoint("queue.normal.wait_p95") == DEFAULT_SETPOINTS["queue.*.wait_p95"]
        assert find_setpoint("greeter.greetings") is None

    def test_two_parts_of_the_host_want_different_things(self):
        """Where homeostasis scores a metric, the same values are wanted here."""
        assert {name: (want.good, want.bad, want.weight) for name, want in OTHERS.items()} == {
            name: (want.good, want.bad, want.weight) for name, want in DEFAULT_SETPOINTS.items() if name in OTHERS
        }

    def test_a_setpoint_contradicts_the_direction_of_its_metric(self):
        """What is good by the setpoint is good by the table of directions, where that knows the metric."""
        for name, want in DEFAULT_SETPOINTS.items():
            assert good_direction(name.replace("*", "x")) in (want.direction, "unknown"), name
