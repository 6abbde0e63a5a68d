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
    """What an action of a policy is on the plant.

    Attributes:
        action: The plant's action; empty: it has no such thing.
        undo: What undoes it; empty: nothing can.
        reading: Of one that sets a value, where to read what it is: a factor is of that, and undoing goes back to it.
    """

    action: str
    undo: str = ""
    reading: str = ""


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
        self._before: dict[str, float] = {}

    def look(self, now: float, read: Read, act: Act) -> None:
        """Ask the core, do what it says, and say what became of it."""
        self._now = now
        samples = read()
        for decision in self.core.decide(self._names(samples)):
            self.decisions.append(decision)
            if decision.kind != "give_up":
                self.core.report(decision.id, self._do(decision, samples, act))

    def _do(self, decision: Decision, samples: Samples, act: Act) -> Outcome:
        doing = self._doings.get(decision.action, Doing(""))
        action = doing.action if doing.reading or decision.kind != "undo" else doing.undo
        if not action:
            return Outcome("skipped", "the plant has no such actuator")
        value = self._value(decision, doing, samples) if doing.reading else 0.0
        outcome = act(action, decision.target, value)
        return Outcome(outcome, f"the plant says: {outcome}")

    def _value(self, decision: Decision, doing: Doing, samples: Samples) -> float:
        if decision.kind == "undo":
            return self._before.pop(decision.undoes)
        if decision.value is not None:
            return decision.value
        now = self._before[decision.id] = samples[doing.reading].value or 1.0
        how = decision.arguments
        wanted = float(how.get("value") or now * float(how.get("factor") or 1.0))
        return max(min(wanted, float(how.get("highest") or wanted)), float(how.get("lowest") or 1.0))
