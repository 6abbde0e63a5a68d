"""Samples that add up to a symptom, and those that do not."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Condition, Observed, Rule
from aetherra.plugins.homeostasis.decision.window import Window

RULE = Rule("m", bad_above=10.0, clear=5.0, enter=(3, 5), leave=(4, 5))
BAD, GOOD, BETWEEN = 20.0, 1.0, 7.0


class Seen:
    """A window that is shown one value a second."""

    def __init__(self, **changes):
        self.window = Window(msgspec.structs.replace(RULE, **changes), ("m",), "", 60.0)
        self.now = 0.0

    def show(self, *values, seconds=1.0, **others):
        for value in values:
            self.now += seconds
            self.window.look({"m": value, **others}, self.now, lambda *_: False)
        return self.window


class TestWindow:
    def test_two_bad_samples_are_a_symptom(self):
        """It takes n of the last m."""
        seen = Seen()

        assert not seen.show(BAD, BAD).active
        assert seen.show(GOOD, BAD, BAD).active

    def test_what_goes_to_and_fro_is_a_symptom(self):
        """The latest two must be bad: three of five in turn convince nobody."""
        assert not Seen().show(BAD, GOOD, BAD, GOOD, BAD).active

    def test_a_symptom_leaves_at_the_first_good_sample(self):
        """It takes n of m as well; what lies between is neither good nor bad."""
        seen = Seen()
        seen.show(BAD, BAD, BAD)

        assert seen.show(GOOD, GOOD, GOOD).active
        assert seen.show(BETWEEN, BETWEEN, BETWEEN, BETWEEN, BETWEEN).active
        assert not seen.show(GOOD, GOOD, GOOD, GOOD).active

    @pytest.mark.parametrize("unknown", [None, float("nan"), Observed(1.0, 99.0), "x"], ids=repr)
    def test_an_unknown_metric_heals_or_harms(self, unknown):
        """UNKNOWN holds what holds, however long."""
        well, ill = Seen(), Seen()
        ill.show(BAD, BAD, BAD)

        assert not well.show(*[unknown] * 100).active
        assert ill.show(*[unknown] * 100).active
        assert not ill.window.known

    def test_one_measurement_votes_twice(self):
        """What is seen again, older by the time that has passed, is the same measurement."""
        seen = Seen()
        for age in range(6):
            seen.show(Observed(BAD, float(age)))

        assert not seen.window.active
        assert seen.window.known

    def test_looks_while_time_stands_still_are_evidence(self):
        """A second look at the same instant adds none."""
        assert not Seen().show(*[BAD] * 50, seconds=0.0).active

    def test_what_cannot_be_is_evidence(self):
        """A value that is not plausible is UNKNOWN, and says so."""
        window = Seen(plausible=(0.0, 15.0)).show(BAD, BAD, BAD)

        assert not window.active
        assert "cannot be" in window.why

    def test_a_stuck_sensor_is_believed(self):
        """The very same value again and again is UNKNOWN where the rule says that it never stands still."""
        window = Seen(stuck_after=5).show(*[1.234] * 5)

        assert not window.known
        assert "in a row" in window.why

    def test_a_flapping_sensor_is_believed(self):
        """Changes between good and bad beyond n of m make it UNKNOWN, until it has been quiet."""
        seen = Seen(flapping=(4, 8))
        window = seen.show(BAD, GOOD, BAD, GOOD, BAD)

        assert not window.known
        assert "to and fro" in window.why
        assert not seen.show(BAD, BAD, BAD).known
        assert seen.show(*[BAD] * 8).active

    def test_a_bad_sample_counts_without_what_makes_it_one(self):
        """A plugin that finishes nothing is not wedged if there is nothing to do; whether there is must be known."""
        given = (Condition("work", above=0.0),)

        assert not Seen(given=given).show(BAD, BAD, BAD, work=0.0).active
        assert Seen(given=given).show(BAD, BAD, BAD, work=1.0).active
        assert not Seen(given=given).show(BAD, BAD, BAD, work=None).known

    def test_samples_from_before_a_gap_are_evidence(self):
        """After a long silence earlier votes do not count; what held still holds."""
        seen = Seen()
        seen.show(BAD, BAD)

        assert not seen.show(BAD, seconds=1000.0).active
        assert seen.show(BAD, BAD).active
        assert seen.show(GOOD, seconds=1000.0).active

    def test_low_is_never_bad(self):
        """``bad_below`` is the same upside down."""
        seen = Seen(bad_above=None, bad_below=10.0, clear=15.0)

        assert seen.show(1.0, 1.0, 1.0).active
        assert not seen.show(20.0, 20.0, 20.0, 20.0).active
