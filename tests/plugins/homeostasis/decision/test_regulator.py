"""Knobs that hold a metric."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Condition, Knob, Outcome, Rule

KNOB = Knob("set_workers", "wait", setpoint=0.5, low=4.0, high=64.0, whole=True, every=2.0)


class Plant:
    """Work that comes, and workers that do it: the wait is what is left over the capacity."""

    def __init__(self, drive, **changes):
        self.drive = drive(knobs={"workers": msgspec.structs.replace(KNOB, **changes)})
        self.backlog, self.workers, self.values = 0.0, 4.0, []

    def run(self, offered, seconds, **others):
        for _ in range(seconds):
            capacity = 10.0 * self.workers
            self.backlog = max(0.0, self.backlog + offered - capacity)
            for decision in self.drive.look({"wait": self.backlog / capacity, **others}):
                self.workers = decision.value
                self.values.append(decision.value)
        return self


class TestRegulator:
    def test_a_load_step_is_not_met(self, drive):
        """Three times the capacity brings three times the workers, and rest brings them back."""
        plant = Plant(drive).run(20.0, 60)
        assert plant.values == []

        plant.run(120.0, 300)
        assert 11 <= plant.workers <= 40
        assert plant.backlog / (10 * plant.workers) < 2.0
        plant.run(20.0, 300)
        assert plant.workers == 4.0

    def test_a_knob_winds_up(self, drive):
        """At its bound for an hour, it comes back as fast as after a minute."""
        times = []
        for seconds in (60, 3600):
            plant = Plant(drive, high=8.0).run(200.0, seconds)
            plant.backlog = 0.0
            count = len(plant.values)
            plant.run(0.0, 60)
            times.append(len(plant.values) - count)
            assert plant.workers == 4.0

        assert abs(times[0] - times[1]) <= 1

    def test_one_sample_turns_a_knob_from_rest(self, drive):
        """It takes n of m; and blips do not add up."""
        one = drive(knobs={"workers": KNOB})
        for _ in range(50):
            one.look({"wait": 5.0})
            one.look({"wait": 0.0}, 9)

        assert one.decisions == []

    @pytest.mark.parametrize("unknown", [None, float("nan"), float("inf")])
    def test_an_unknown_metric_turns_a_knob(self, drive, unknown):
        """It holds, and says why; time that has passed meanwhile is no time to make up for."""
        plant = Plant(drive).run(120.0, 30)
        before = plant.workers
        assert plant.drive.look({"wait": unknown}, 500) == []
        step = plant.drive.look({"wait": 5.0}, 2)

        assert all(decision.value <= before * 1.35 for decision in step)
        plant.drive.look({"wait": unknown})
        assert plant.drive.core.status().knobs[0].holds

    def test_a_knob_turns_faster_than_its_slew(self, drive):
        """No decision changes it by more than its share a second allows."""
        plant = Plant(drive, whole=False, slew=0.05).run(400.0, 100)
        steps = [late / early for early, late in zip(plant.values, plant.values[1:], strict=False)]

        assert steps
        assert max(steps) <= 1.05**5 + 1e-6

    def test_a_condition_does_not_hold_a_knob(self, drive):
        """More workers are the wrong answer to a retry storm."""
        storm = Rule("retries", bad_above=0.5)
        knob = msgspec.structs.replace(KNOB, unless=(Condition(symptom="storm"),))
        one = drive({"storm": storm}, knobs={"workers": knob})
        one.look({"wait": 5.0, "retries": 1.0}, 60)

        assert [decision.value for decision in one.decisions] in ([], [4.0])
        assert one.core.status().knobs[0].holds == "storm holds"

    def test_a_knob_oscillates_undamped(self, drive):
        """Reversals lower the gain, down to a half and not below."""
        one = drive(knobs={"workers": msgspec.structs.replace(KNOB, kp=3.0, slew=1.0)})
        for _ in range(40):
            one.look({"wait": 5.0}, 6)
            one.look({"wait": 0.01}, 6)

        assert one.core.status().knobs[0].gain == 0.5

    def test_a_knob_starts_from_where_it_does_not_stand(self, drive):
        """With ``actual`` it rests where it was found, goes on from where somebody put it, and returns to its rest."""
        plant = Plant(drive, actual="workers")
        plant.drive.look({"wait": 0.0, "workers": 16.0}, 20)
        assert plant.drive.decisions == []
        plant.drive.look({"wait": 5.0, "workers": 16.0}, 6)
        assert plant.drive.decisions[0].value > 16.0
        plant.drive.look({"wait": 0.0, "workers": plant.drive.decisions[-1].value}, 200)

        assert plant.drive.decisions[-1].value == 16.0

    def test_direction_is_not_kept(self, drive):
        """The direction "down" means less of it while the metric is above."""
        knob = msgspec.structs.replace(KNOB, direction="down", low=10.0, high=1000.0)
        one = drive(knobs={"room": knob})
        one.look({"wait": 5.0}, 30)
        low = one.decisions[-1].value
        one.look({"wait": 0.0}, 300)

        assert low < 300.0
        assert one.decisions[-1].value == 1000.0

    def test_a_knob_that_was_not_turned_counts_as_turned(self, drive):
        """It waits for as long as was said, and then goes on from where it was left, not from where it was to be."""
        drive = drive(knobs={"workers": KNOB})
        while not drive.did("set"):
            drive.look({"wait": 5.0}, outcome=Outcome("skipped", "not yet", again=30.0))
        (knob,) = drive.core.status().knobs
        assert knob.value == 4.0
        drive.look({"wait": 5.0}, 29)
        assert drive.did("set") == ["set_workers"]
        (decision,) = drive.look({"wait": 5.0}, 3)[:1]
        assert "goes from 4 to" in decision.reason
