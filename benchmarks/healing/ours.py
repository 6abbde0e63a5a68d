"""Ours: drives the decision core of homeostasis against the plant, under whatever names a policy uses."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec

from aetherra.plugins.homeostasis.decision import Controller, Decision, Observed, Outcome, Policy
from healing.peers import Act, Read
from healing.sensing import Samples

Observation = dict[str, Observed]
Names = Callable[[Samples], Observation]
"""Puts the plant's readings under the names that a policy knows."""


class Doing(msgspec.Struct, frozen=True):
    """What an action of a policy is on the plant, and what undoes it; empty: nothing can."""

    action: str
    undo: str = ""


def as_they_are(samples: Samples) -> Observation:
    """Keep the plant's own names."""
    return {name: Observed(sample.value, sample.age) for name, sample in samples.items()}


class Ours:
    """The decision core with a policy.

    Args:
        policy: What it goes by.
        doings: What each of its actions is on the plant. An action that the plant has not is skipped.
        names: Gives the readings their names.
        seed: Of its chance.
    """

    def __init__(
        self, policy: Policy, doings: Mapping[str, Doing], *, names: Names = as_they_are, seed: int = 0
    ) -> None:
        self._now = 0.0
        self._doings, self._names = doings, names
        self.core = Controller(policy, clock=lambda: self._now, rng=random.Random(seed))
        self.decisions: list[Decision] = []

    def look(self, now: float, read: Read, act: Act) -> None:
        """Ask the core, do what it says, and say what became of it."""
        self._now = now
        for decision in self.core.decide(self._names(read())):
            self.decisions.append(decision)
            if decision.kind != "give_up":
                self.core.report(decision.id, self._do(decision, act))

    def _do(self, decision: Decision, act: Act) -> Outcome:
        doing = self._doings.get(decision.action)
        action = "" if doing is None else doing.undo if decision.kind == "undo" else doing.action
        if not action:
            return Outcome("skipped", "the plant has no such actuator")
        outcome = act(action, decision.target, decision.value or 0.0)
        return Outcome(outcome, f"the plant says: {outcome}")
