"""The watch: finds in what is seen which targets there are, and what looks at each."""

from __future__ import annotations

from aetherra.plugins.homeostasis.decision.burn import BurnRate
from aetherra.plugins.homeostasis.decision.case import Case, CaseMemory
from aetherra.plugins.homeostasis.decision.memory import Memory
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.observation import Observation
from aetherra.plugins.homeostasis.decision.policy import Policy
from aetherra.plugins.homeostasis.decision.regulator import Regulator
from aetherra.plugins.homeostasis.decision.rule import Rule
from aetherra.plugins.homeostasis.decision.scene import Scene
from aetherra.plugins.homeostasis.decision.shape import is_text
from aetherra.plugins.homeostasis.decision.slo import Slo
from aetherra.plugins.homeostasis.decision.window import Window

__all__ = ["Watch"]

_MOST_NAMES = 20_000
"""Names that are remembered, and targets that are watched: who sends more, sends garbage."""
_SWEEP = 60.0


class Watch:
    """Cases and regulators, by the names that are seen. A name is matched once.

    A target that was seen stays: its metric is UNKNOWN while it is missing. After ``forget_after`` it is gone.
    """

    def __init__(self, policy: Policy, memory: Memory) -> None:
        self._policy, self._memory = policy, memory
        self.scene = Scene(policy)
        self.cases: list[Case] = []
        self.regulators: dict[tuple[str, str], Regulator] = {}
        self._plans = [(symptom, plan, Naming(plan.metric)) for symptom, plan in policy.plans.items()]
        self._knobs = [(name, knob, Naming(knob.metric)) for name, knob in policy.knobs.items()]
        self._names: dict[object, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {}
        self._swept_at = memory.time
        for symptom, plan, naming in self._plans:
            targets = memory.cases.get(symptom, {})
            for target in targets if naming.starred else ("",):
                self._watch(symptom, plan, naming, target)
        for name, _, naming in self._knobs:
            for target in memory.knobs.get(name, {}) if naming.starred else ("",):
                self.regulators[name, target] = self._regulator(name, target)
        self.cases = list(self.scene)

    def look(self, observation: Observation, now: float) -> None:
        """Find the targets that are new, and let go those that are gone."""
        if not self._names.keys() >= observation.keys():
            new = [name for name in observation if name not in self._names]
            if len(self._names) + len(new) > _MOST_NAMES:
                self._names.clear()
            for name in new[:_MOST_NAMES]:
                self._meet(name)
            self.cases = list(self.scene)
        if now - self._swept_at >= _SWEEP:
            self._sweep(observation, now)

    def _meet(self, name: object) -> None:
        if not isinstance(name, str) or not is_text(name):  # nobody could write down what was done to such a target
            self._names[name] = ([], [])
            return
        found = [(symptom, plan, naming, naming.target_of(name)) for symptom, plan, naming in self._plans]
        knobs = [(knob, naming.target_of(name)) for knob, _, naming in self._knobs]
        self._names[name] = (
            [(symptom, target) for symptom, _, _, target in found if target is not None],
            [(knob, target) for knob, target in knobs if target is not None],
        )
        if len(self.scene) < _MOST_NAMES:
            for symptom, plan, naming, target in found:
                if target is not None and self.scene.case(symptom, target) is None:
                    self._watch(symptom, plan, naming, target)
        for knob, target in self._names[name][1]:
            if (knob, target) not in self.regulators and len(self.regulators) < _MOST_NAMES:
                self.regulators[knob, target] = self._regulator(knob, target)

    def _sweep(self, observation: Observation, now: float) -> None:
        self._swept_at = now
        for name in observation:
            cases, knobs = self._names.get(name, ((), ()))
            for symptom, target in cases:
                if (case := self.scene.case(symptom, target)) is not None:
                    case.seen_at = now
            for key in knobs:
                if key in self.regulators:
                    self.regulators[key].seen_at = now
        oldest = now - self._policy.forget_after
        for case in self.cases:
            if case.target and case.seen_at < oldest:
                self.scene.drop(case)
                self._memory.cases[case.symptom].pop(case.target, None)
        for (name, target), regulator in list(self.regulators.items()):
            if target and regulator.seen_at < oldest:
                del self.regulators[name, target]
                self._memory.knobs[name].pop(target, None)
        if len(self.cases) != len(self.scene):
            self._names.clear()
            self.cases = list(self.scene)

    def _watch(self, symptom: str, plan: Rule | Slo, naming: Naming, target: str) -> None:
        memory = self._memory.cases.setdefault(symptom, {}).setdefault(target, CaseMemory())
        names = naming.names(target)
        if isinstance(plan, Rule):
            gap = max(self._policy.longest_gap, 3 * plan.max_age)
            signal: Window | BurnRate = Window(plan, names, target, gap)
        else:
            signal = BurnRate(plan, names, Naming(plan.events).names(target) if plan.events else (), target)
        case = Case(symptom, target, plan, signal, memory)
        case.seen_at = self._memory.time
        self.scene.add(case)

    def _regulator(self, name: str, target: str) -> Regulator:
        knob, memories = self._policy.knobs[name], self._memory.knobs.setdefault(name, {})
        regulator = Regulator(knob, target, memories.get(target))
        memories[target] = regulator.memory
        regulator.seen_at = self._memory.time
        return regulator
