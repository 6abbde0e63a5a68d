"""The trial: from the points before and after to the word on a change."""

from __future__ import annotations

import random

import pytest

from aetherra.plugins.self_improvement.proposals import Context, Proposal
from aetherra.plugins.self_improvement.settings import TrialSettings
from aetherra.plugins.self_improvement.trial import Guard, Trial

BEGUN = 1_700_000_000.0
SETTINGS = TrialSettings(before=600.0, settle=30.0, after=300.0, every=15.0)
OVER = BEGUN + 330.0


def proposal(problem="beyond_setpoint", good="down"):
    return Proposal(
        id="plant.pool-1",
        kind="scale_up",
        knob="plant.pool",
        direction="raise",
        before=1,
        after=2,
        metric="plant.latency",
        good=good,
        context=Context(metric="plant.latency", problem=problem),
        rationale="it is slow",
        evidence=(),
        confidence=0.65,
        priority=0.3,
        way_back="set the value that it had",
        created=BEGUN,
        expires=BEGUN + 3600.0,
        state="applied",
    )


def reading(*, every=15.0, **levels):
    """Return what reads metrics that go from one level to another at the change."""
    chance = random.Random(5)
    tables = {
        name.replace("_", "."): [
            (at, (before if at < BEGUN else after) * (1 + chance.gauss(0, 0.03)))
            for at in (BEGUN - 3600.0 + every * number for number in range(int(7200 / every)))
        ]
        for name, (before, after) in levels.items()
    }

    def read(metric, since, until):
        return [point for point in tables.get(metric, ()) if since <= point[0] < until]

    return read


def trial(guards=(), settings=SETTINGS, calm=BEGUN - 86_400.0, **kind):
    return Trial(proposal(**kind), BEGUN, calm, settings, guards)


class TestTrial:
    def test_it_is_judged_before_its_end(self):
        """Good points end no trial before its time, at which it is kept with what was measured."""
        one, read = trial(), reading(plant_latency=(2.0, 1.0))

        assert one.judge(read, OVER - 1.0) is None
        word = one.judge(read, OVER)
        assert word.state == "kept"
        assert word.effect.verdict == "better"
        assert word.effect.lift == pytest.approx(0.5, abs=0.03)
        assert word.effect.low < word.effect.lift < word.effect.high
        assert word.effect.before == pytest.approx(2.0, abs=0.1)
        assert word.effect.after == pytest.approx(1.0, abs=0.1)
        assert (word.effect.points_before, word.effect.points_after) == (40, 20)
        assert word.effect.text == word.reason

    def test_what_should_rise_is_better_lower(self):
        """The proposal says which way is good."""
        read = reading(plant_latency=(1.0, 2.0))

        assert trial(good="up").judge(read, OVER).state == "kept"
        assert trial(good="down").judge(read, OVER).state == "undone"

    def test_no_effect_is_kept(self):
        """What does nothing is taken back, and learnt from."""
        word = trial().judge(reading(plant_latency=(2.0, 2.0)), OVER)

        assert (word.state, word.effect.verdict) == ("undone", "same")

    def test_what_is_given_back_must_help(self):
        """A way back of what is no longer needed stays if nothing gets worse."""
        assert trial(problem="no_longer_needed").judge(reading(plant_latency=(2.0, 2.0)), OVER).state == "kept"
        assert trial(problem="no_longer_needed").judge(reading(plant_latency=(1.0, 2.0)), OVER).state == "undone"

    def test_harm_waits_for_the_end(self):
        """What is clearly worse is ended as soon as that is clear."""
        word = trial().judge(reading(plant_latency=(1.0, 3.0)), BEGUN + 120.0)

        assert (word.state, word.effect.verdict) == ("undone", "worse")
        assert word.effect.lift < -0.5
        assert word.effect.points_before == 40

    def test_what_settles_counts(self):
        """Points of the time to settle are no effect, neither for good nor for bad."""
        read = reading(plant_latency=(2.0, 1.0))

        def rough(metric, since, until):
            return [(at, 50.0 if BEGUN <= at < BEGUN + 30.0 else value) for at, value in read(metric, since, until)]

        assert trial().judge(rough, BEGUN + 29.0) is None
        assert trial().judge(rough, OVER).state == "kept"

    def test_what_was_long_before_counts(self):
        """Only so many seconds before the change are held against it."""
        asked = []
        read = reading(plant_latency=(2.0, 1.0))

        def noting(metric, since, until):
            asked.append((since - BEGUN, until - BEGUN))
            return read(metric, since, until)

        trial().judge(noting, OVER)
        assert set(asked) == {(-600.0, 0.0), (30.0, 330.0)}

    def test_what_was_before_another_change_counts(self):
        """Points of before something else changed the host, or of the time to settle after, are left out."""
        asked = set()
        read = reading(plant_latency=(2.0, 1.0))

        def noting(metric, since, until):
            asked.add(since - BEGUN)
            return read(metric, since, until)

        trial(calm=BEGUN - 400.0).judge(noting, OVER)
        assert asked == {-370.0, 30.0}

    def test_a_guard_may_get_worse(self):
        """A guarded metric that gets worse ends the trial; no figure of it is taken for the objective's."""
        read = reading(plant_latency=(2.0, 1.0), calls_errors=(1.0, 4.0))
        word = trial([Guard("calls.errors", "down")]).judge(read, BEGUN + 150.0)

        assert (word.state, word.effect.verdict, word.effect.lift) == ("undone", "worse", None)
        assert word.reason.startswith("it made calls.errors worse")

    def test_a_guard_that_gets_better_or_is_not_measured_ends_it(self):
        """A guard that moves the good way, or has no points, is no obstacle."""
        guards = [Guard("health.score", "up"), Guard("calls.errors", "down")]
        word = trial(guards).judge(reading(plant_latency=(2.0, 1.0), health_score=(0.5, 0.9)), OVER)

        assert word.state == "kept"

    def test_a_guard_of_the_objective_counts_twice(self):
        """Where the objective is a guard too, the proposal's own direction counts."""
        word = trial([Guard("plant.latency", "up")]).judge(reading(plant_latency=(2.0, 1.0)), OVER)

        assert word.state == "kept"

    def test_too_few_points_end_it(self):
        """It is watched once more as long; if it still cannot be told, nobody can, and nothing is learnt."""
        one, read = trial(), reading()

        assert one.judge(read, OVER) is None
        assert one.judge(read, OVER + 299.0) is None
        word = one.judge(read, OVER + 300.0)
        assert (word.state, word.effect.verdict) == ("inconclusive", "unknown")

    def test_the_second_half_is_not_looked_at(self):
        """Points that come late in the longer time decide."""
        late = reading(plant_latency=(2.0, 1.0), every=60.0)

        def read(metric, since, until):
            return [point for point in late(metric, since, until) if not BEGUN < point[0] < OVER - 120.0]

        one = trial()
        assert one.judge(read, OVER) is None
        assert one.judge(read, OVER + 300.0).state == "kept"

    def test_what_looks_as_if_it_helped_is_given_up_at_once(self):
        """What may be better, but not surely, is watched once more as long; then it must be sure."""

        def read(_, since, until):
            chance = random.Random(1)
            points = [(BEGUN - 600.0 + 15.0 * number, chance.gauss(0, 0.8)) for number in range(200)]
            return [(at, (2.0 if at < BEGUN else 1.8) + noise) for at, noise in points if since <= at < until]

        one = trial()
        assert one.judge(read, OVER) is None
        word = one.judge(read, OVER + 300.0)
        assert (word.state, word.effect.verdict) == ("undone", "same")

    def test_a_disturbed_one_is_judged(self):
        """What else changed the host makes it inconclusive at once, with the first that did, and teaches nothing."""
        one = trial()
        one.disturb("the code of greeter was swapped")
        one.disturb("somebody set other.colour to blue")
        word = one.judge(reading(plant_latency=(2.0, 1.0)), BEGUN + 1.0)

        assert (word.state, word.effect) == ("inconclusive", None)
        assert "greeter" in word.reason

    def test_a_difference_that_does_not_count_is_kept(self):
        """Less than the least effect that counts is none."""
        settings = TrialSettings(before=600.0, settle=30.0, after=300.0, minimum_effect=0.6)

        assert trial(settings=settings).judge(reading(plant_latency=(2.0, 1.0)), OVER).state == "undone"

    def test_a_drift_that_was_there_before_is_the_changes(self):
        """A metric that got better anyway is not better for it."""

        def read(_, since, until):
            chance = random.Random(1)
            return [
                (at, 10.0 - (at - BEGUN) / 300.0 + chance.gauss(0, 0.02))
                for at in (BEGUN - 600.0 + 15.0 * number for number in range(80))
                if since <= at < until
            ]

        assert trial().judge(read, OVER).state != "kept"

    def test_points_of_an_earlier_change_are_held_against(self):
        """What lies before the host was left alone is not its usual way, and counts for nothing."""
        chance = random.Random(3)
        table = [
            (BEGUN - 600.0 + 15.0 * step, (1.0 if step < 16 else 2.0) * (1 + chance.gauss(0, 0.03)))
            for step in range(70)
        ]

        def read(_, since, until):
            return [point for point in table if since <= point[0] < until]

        word = trial(calm=BEGUN - 400.0).judge(read, OVER)
        assert (word.effect.verdict, word.effect.points_before) == ("same", 24)
        hasty = trial()
        word = hasty.judge(read, OVER) or hasty.judge(read, OVER + 300.0)
        assert word.effect.points_before == 40
