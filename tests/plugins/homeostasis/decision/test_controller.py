"""The whole, for any stream of observations."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.homeostasis.decision import (
    Condition,
    Controller,
    Knob,
    Observed,
    Outcome,
    Policy,
    Rule,
    Rung,
    Slo,
)

DISRUPTIVE = Rung("restart", disruptive=True, settle=5.0)
POLICY = Policy(
    rules={
        "wedged": Rule(
            "svc.*.stalled",
            bad_above=5.0,
            confirm=(Condition("svc.*.oldest", above=5.0),),
            ladder=(Rung("poke", settle=5.0), DISRUPTIVE, Rung("isolate", lasting=True, settle=5.0)),
            masks=("load",),
            cooldown=20.0,
        ),
        "load": Rule(
            "waiting + refused",
            bad_above=1.0,
            clear=0.5,
            plausible=(0.0, 1e6),
            ladder=(Rung("shed", lasting=True, settle=5.0), Rung("widen", lasting=True, settle=5.0)),
            undo_after=10.0,
        ),
    },
    knobs={"workers": Knob("set_workers", "waiting", setpoint=0.5, low=2.0, high=32.0, whole=True, every=3.0)},
    slos={
        "kept": Slo(
            "svc.*.errors",
            target=0.9,
            events="svc.*.rate",
            long=120.0,
            short=20.0,
            burn=5.0,
            confirm=(Condition("failing", above=0.1),),
            ladder=(Rung("restart", disruptive=True, settle=5.0),),
        )
    },
    limits={"poke": 3.0, "shed": 0.5},
    flap_budget=6,
    flap_window=120.0,
    forget_after=50.0,
)
NAMES = [*(f"svc.{n}.{what}" for n in "ab" for what in ("stalled", "oldest", "errors", "rate")),
         "waiting", "refused", "failing", "svc.", "", "x.y"]  # fmt: skip
FIGURES = st.one_of(
    st.sampled_from([0.0, 9.0, 9.0, 9.0, None, math.nan, math.inf, -1.0, 1e300, True, "9", 10**400]),
    st.floats(allow_nan=True),
)
SEEN = st.one_of(
    FIGURES, st.builds(Observed, FIGURES, st.one_of(st.floats(-20, 20), st.just(math.nan), st.just(math.inf)))
)
LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.0, 5.0, 1e4, -50.0, math.nan]),
        st.dictionaries(st.sampled_from(NAMES), SEEN),
        st.integers(1, 8),
        st.sampled_from(["done", "unchanged", "failed", "skipped", None]),
    ),
    max_size=40,
)


class Simulated:
    """A controller, its clock, and every decision with the controller's own time."""

    def __init__(self, policy=POLICY, seed=0, state=None):
        self.clock = self.passed = 0.0
        self.core = Controller(policy, clock=lambda: self.clock, rng=random.Random(seed), state=state)
        self.decisions = []

    def run(self, looks):
        for step, observation, times, outcome in looks:
            for _ in range(times):
                self.clock = 0.0 if math.isnan(self.clock) else self.clock
                self.clock += step
                for decision in self.core.decide(observation):
                    self.decisions.append((self.core._memory.time, decision, observation))
                    if outcome:
                        self.core.report(decision.id, Outcome(outcome))
        return self


class TestAnyStream:
    @given(LOOKS)
    @settings(max_examples=150, deadline=None)
    def test_more_is_done_than_the_limits_allow(self, looks):
        """No action is done to a target, or undone, more often than its limit, and no more acts than the budget."""
        times = {}
        acts = []
        for at, decision, _ in Simulated().run(looks).decisions:
            if decision.kind in ("act", "undo"):
                times.setdefault((decision.action, decision.target), []).append(at)
            if decision.kind == "act":
                acts.append(at)

        for (action, _), done in times.items():
            limit = POLICY.limits.get(action, 1.0)
            count, span = (int(limit), 60.0) if limit >= 1 else (1, 60.0 / limit)
            assert all(late - early >= span - 1e-6 for early, late in zip(done, done[count:], strict=False))
        assert all(late - early >= 120.0 - 1e-6 for early, late in zip(acts, acts[6:], strict=False))

    @given(LOOKS)
    @settings(max_examples=150, deadline=None)
    def test_something_disruptive_is_done_without_evidence(self, looks):
        """What is disruptive is done only while metric and confirmation are known, and bad, at that moment."""
        for _, decision, observation in Simulated().run(looks).decisions:
            if decision.disruptive and decision.symptom == "wedged":
                for what in ("stalled", "oldest"):
                    seen = observation[f"svc.{decision.target}.{what}"]
                    value = seen.value if isinstance(seen, Observed) else seen
                    assert isinstance(value, (int, float)) and math.isfinite(value) and value > 5.0

    @given(LOOKS)
    @settings(max_examples=60, deadline=None)
    def test_the_same_seed_decides_otherwise(self, looks):
        """The same observations, outcomes and seed make the same decisions."""
        one, other = Simulated().run(looks), Simulated().run(looks)

        assert repr(one.decisions) == repr(other.decisions)
        assert one.core.state() == other.core.state()

    @given(LOOKS)
    @settings(max_examples=60, deadline=None)
    def test_a_state_does_not_come_back(self, looks):
        """What is saved is what is restored, after anything."""
        state = Simulated().run(looks).core.state()

        assert Simulated(state=state).core.state() == state

    @given(LOOKS)
    @settings(max_examples=60, deadline=None)
    def test_a_change_outlives_its_symptom(self, looks):
        """After recovery every lasting change is undone, and the knob is at rest."""
        well = {name: 0.0 for name in NAMES if name.startswith("svc.")} | {"waiting": 0.0, "refused": 0.0}
        simulated = Simulated().run(looks)
        simulated.run([(1.0, well, 2500, "done")])

        assert simulated.core.status().changes == ()
        assert all(knob.value == 2.0 for knob in simulated.core.status().knobs)

    @given(st.lists(st.floats(0.0, 0.55), min_size=20, max_size=200), st.integers(0, 5))
    @settings(max_examples=40, deadline=None)
    def test_a_healthy_stream_is_acted_on(self, values, missing):
        """Whatever the noise and the gaps: what is well is left alone."""
        simulated = Simulated()
        for number, value in enumerate(values):
            gone = missing and number % 6 < missing
            simulated.run(
                [(1.0, {"svc.a.stalled": 9 * value, "svc.a.oldest": 9.0, "waiting": None if gone else value / 2,
                        "refused": value / 2, "svc.a.errors": value / 6, "svc.a.rate": 5.0, "failing": 1.0}, 1, None)]
            )  # fmt: skip

        assert simulated.decisions == []


class TestController:
    @pytest.mark.parametrize("step", [0.0, -1.0, math.nan])
    def test_time_that_stands_still_is_evidence(self, step):
        """Without time there is none, and nothing raises."""
        ill = {"svc.a.stalled": 9.0, "svc.a.oldest": 9.0, "waiting": 9.0, "refused": 0.0}

        assert Simulated().run([(step, ill, 100, None)]).decisions == []

    def test_names_that_never_end_fill_the_memory(self):
        """Targets that are gone are forgotten, and there are at most so many."""
        simulated = Simulated()
        for number in range(300):
            simulated.run([(1.0, {f"svc.{number}.stalled": 0.0}, 1, None)])

        assert simulated.core.status().watched < 150

    @pytest.mark.parametrize("odd", [None, [("m", 1.0)], "m", 7.0], ids=repr)
    def test_something_else_is_taken_for_an_observation(self, odd):
        """What is no mapping, or no outcome, is an error that says so."""
        core = Simulated().core
        with pytest.raises(TypeError, match=f"expected an observation as a mapping .*, got {type(odd).__name__}"):
            core.decide(odd)
        with pytest.raises(TypeError, match="expected what became of 'd1' as an Outcome, got "):
            core.report("d1", odd)

    def test_an_unknown_report_matters(self):
        """One for a decision that is not known, or was reported before, is passed over."""
        simulated = Simulated().run([(1.0, {"waiting": 9.0, "refused": 0.0}, 3, None)])
        state = simulated.core.state()
        simulated.core.report("d999", Outcome("failed"))
        assert simulated.core.state() == state

        decision = simulated.decisions[-1][1]
        simulated.core.report(decision.id, Outcome("done"))
        state = simulated.core.state()
        simulated.core.report(decision.id, Outcome("failed"))
        assert simulated.core.state() == state

    def test_an_actuator_that_always_fails_is_tried_for_ever(self):
        """It is rested by its rate of failures, the next rung is taken, and the status says why."""
        rule = Rule("m.*.x", bad_above=1.0, ladder=(Rung("a", settle=5.0), Rung("b", settle=5.0)), cooldown=30.0)
        simulated = Simulated(Policy(rules={"ill": rule}, flap_budget=1000))
        for _ in range(400):
            for decision in simulated.core.decide({f"m.{n}.x": 9.0 for n in range(3)}):
                simulated.decisions.append((simulated.clock, decision, None))
                simulated.core.report(decision.id, Outcome("failed" if decision.action == "a" else "done"))
            simulated.clock += 1.0
        tried = [at for at, decision, _ in simulated.decisions if decision.action == "a"]

        assert len([at for at in tried if at < 350]) <= 6
        assert "quarantined" in simulated.core.status().mistrusted["a"]
        assert any(
            "quarantined" in other.why_not for _, decision, _ in simulated.decisions for other in decision.considered
        )

    def test_what_is_held_is_decided(self):
        """While it is held nothing is, evidence counts, and afterwards it goes on at once."""
        rule = Rule("m", bad_above=1.0, enter=(3, 3), ladder=(Rung("a"),))
        simulated = Simulated(Policy(rules={"ill": rule}))
        for _ in range(50):
            assert simulated.core.decide({"m": 9.0}, hold=True) == []
            simulated.clock += 1.0
        assert [decision.action for decision in simulated.core.decide({"m": 9.0})] == ["a"]

    def test_one_target_is_acted_on_all_the_time(self):
        """Tries in a row wait for their limit, once a minute by default."""
        rule = Rule("m", bad_above=1.0, ladder=(Rung("a", settle=5.0, tries=4),))
        simulated = Simulated(Policy(rules={"ill": rule})).run([(1.0, {"m": 9.0}, 200, "done")])
        times = [at for at, decision, _ in simulated.decisions if decision.kind == "act"]

        assert len(times) == 4
        assert all(late - early >= 60.0 for early, late in itertools.pairwise(times))

    def test_many_targets_spend_more_than_the_budget(self):
        """However many are ill: ten acts in ten minutes."""
        rule = Rule("m.*.x", bad_above=1.0, ladder=(Rung("a"),))
        ill = {f"m.{n}.x": 9.0 for n in range(30)}
        simulated = Simulated(Policy(rules={"ill": rule})).run([(1.0, ill, 590, "done")])
        assert len([one for one in simulated.decisions if one[1].kind == "act"]) == 10

    def test_an_act_for_one_symptom_leaves_votes_of_another(self):
        """What was seen of a target before it was restarted is no evidence afterwards."""
        confirm = (Condition("m.*.y", above=1.0),)
        rules = {
            name: Rule(f"m.*.{name}", bad_above=1.0, enter=enter, confirm=confirm, ladder=(Rung(name, disruptive=True,
                       settle=1.0),))
            for name, enter in (("x", (3, 5)), ("z", (4, 5)))
        }  # fmt: skip
        simulated = Simulated(Policy(rules=rules)).run([(1.0, {"m.a.x": 9.0, "m.a.y": 9.0, "m.a.z": 9.0}, 6, "done")])

        assert [decision.action for _, decision, _ in simulated.decisions if decision.kind == "act"] == ["x"]


class TestANewPlant:
    def test_a_change_of_a_plant_that_is_gone_is_in_force(self):
        """What was learnt stays; what held, was changed or turned does not, and so it is done again."""
        rule = Rule("m", bad_above=1.0, enter=(2, 2), ladder=(Rung("shed", lasting=True, settle=5.0),))
        policy = Policy(rules={"ill": rule}, default_limit=60.0)
        simulated = Simulated(policy)
        for _ in range(5):
            for decision in simulated.core.decide({"m": 9.0}):
                simulated.core.report(decision.id, Outcome("done"))
            simulated.clock += 1.0
        state = simulated.core.state()
        for keep, count in (("all", 1), ("learnt", 0)):
            later = Controller(policy, clock=lambda: simulated.clock, state=state, keep=keep)
            assert len(later.status().changes) == count

    def test_a_knob_is_turned_by_an_actuator_that_always_fails(self):
        """It is quarantined like any other, and tried once later."""
        knob = Knob("set", "m", setpoint=1.0, low=1.0, high=100.0, every=1.0, step=0.0)
        simulated = Simulated(Policy(knobs={"k": knob}))
        made = 0
        for second in range(300):
            for decision in simulated.core.decide({"m": 5.0 + second}):
                made += 1
                simulated.core.report(decision.id, Outcome("failed"))
            simulated.clock += 1.0
        assert made == 5
