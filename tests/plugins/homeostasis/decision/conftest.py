"""A controller in simulated time, and what it did."""

from __future__ import annotations

import random

import pytest

from aetherra.plugins.homeostasis.decision import Condition, Controller, Outcome, Policy, Rule, Rung

RESTART = Rung("restart", disruptive=True, settle=10.0)
DISABLE = Rung("disable", disruptive=True, settle=10.0)
WEDGED = Rule(
    "svc.*.stalled",
    bad_above=5.0,
    clear=1.0,
    confirm=(Condition("svc.*.oldest", above=5.0),),
    ladder=(RESTART, DISABLE),
)
LOAD = Rule("wait", bad_above=1.0, clear=0.5, ladder=(Rung("shed", {"on": True}, lasting=True, undo={"on": False}),))


class Drive:
    """Looks once a second, and keeps what was decided."""

    def __init__(self, rules=None, *, seed=0, **policy):
        self.now = 1000.0
        self.policy = policy.pop("policy", None) or Policy(rules=rules or {}, **policy)
        self.core = Controller(self.policy, clock=lambda: self.now, rng=random.Random(seed))
        self.decisions = []
        self.effects = []

    def look(self, observation, times=1, seconds=1.0, outcome=None):
        """Show the same observation some times, and return what was decided."""
        new = []
        for _ in range(times):
            self.now += seconds
            for decision in self.core.decide(observation):
                new.append(decision)
                if outcome is not None:
                    self.core.report(decision.id, outcome if isinstance(outcome, Outcome) else Outcome(outcome))
        self.decisions += new
        self.effects += self.core.take_effects()
        return new

    def did(self, kind="act"):
        return [decision.action for decision in self.decisions if decision.kind == kind]

    def symptom(self, symptom, target=""):
        found = [one for one in self.core.status().symptoms if (one.symptom, one.target) == (symptom, target)]
        return found[0] if found else None


@pytest.fixture
def drive():
    """The class, to be made with rules."""
    return Drive


@pytest.fixture
def wedged():
    """A rule for one service of several, with two disruptive rungs."""
    return WEDGED


@pytest.fixture
def load():
    """A rule for the whole, with one lasting rung."""
    return LOAD
