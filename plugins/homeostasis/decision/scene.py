"""The scene: all cases side by side, and which of them must wait for another."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.plugins.homeostasis.decision.case import Case
from aetherra.plugins.homeostasis.decision.policy import Policy

__all__ = ["Scene"]

_SUSPICION = 10.0
"""Seconds that a symptom waits for one that would mask it and is only suspected: both came at once."""
_STALE = 30.0
"""Seconds without a sample after which a symptom that is held for want of news is no reason for others to wait."""
_FEW = 3
"""Targets that may show a symptom at once without a common cause: of two or three nobody can tell."""


class Scene:
    """Every case by symptom and target."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        plans = policy.plans
        self._cases: dict[str, dict[str, Case]] = {symptom: {} for symptom in plans}
        self._masked_by = {
            symptom: [other for other, plan in plans.items() if symptom in plan.masks] for symptom in plans
        }
        self._order = sorted(plans, key=self._depth)  # stable: the policy's order is kept
        self.now = 0.0
        self._acting: dict[str, tuple[str, float]] = {}

    def __iter__(self) -> Iterator[Case]:
        """Go through all cases, those that mask others before these."""
        for symptom in self._order:
            yield from self._cases[symptom].values()

    def __len__(self) -> int:
        return sum(map(len, self._cases.values()))

    def add(self, case: Case) -> None:
        """Take a case in."""
        self._cases[case.symptom][case.target] = case

    def drop(self, case: Case) -> None:
        """Let a case go whose target is gone."""
        self._cases[case.symptom].pop(case.target, None)

    def case(self, symptom: str, target: str) -> Case | None:
        """Return a case, if there is one."""
        return self._cases.get(symptom, {}).get(target)

    def of_target(self, target: str) -> list[Case]:
        """Return the cases of one target."""
        return [cases[target] for cases in self._cases.values() if target in cases]

    def holding(self, symptom: str, target: str) -> bool:
        """Return whether a symptom holds on a target, or on any where one of the two has none, by news not too old."""
        return any(self._present(case) for case in self._related(symptom, target))

    def begin(self, case: Case, until: float) -> None:
        """Note that something is being done to a target until then."""
        if case.target:
            self._acting[case.target] = (case.symptom, until)

    def end(self, target: str, symptom: str) -> None:
        """Note that what was begun for a symptom was not done."""
        if self._acting.get(target, ("", 0.0))[0] == symptom:
            del self._acting[target]

    def masked(self, case: Case, now: float) -> str:
        """Return why a symptom waits for one that causes it; empty if it need not."""
        for symptom in self._masked_by[case.symptom]:
            for other in self._related(symptom, case.target):
                if not other.workable(now):
                    continue
                if self._present(other):
                    return f"{other.key} holds, which would cause it"
                if other.signal.suspect and now - case.memory.entered_at < _SUSPICION:
                    return f"{other.key} is suspected, which would cause it"
        return ""

    def busy(self, case: Case, now: float) -> str:
        """Return what is being done to the same target for another symptom; empty if nothing is."""
        symptom, until = self._acting.get(case.target, ("", 0.0))
        if until <= now:
            self._acting.pop(case.target, None)
            return ""
        return "" if symptom == case.symptom else f"{case.target} settles for {symptom} for another {until - now:.0f} s"

    def common_cause(self, case: Case) -> str:
        """Return why a symptom is not its target's own: too many targets show it at once."""
        cases = self._cases[case.symptom].values()
        active = sum(other.signal.active for other in cases)
        if active <= _FEW or active <= self._policy.common_cause * len(cases):
            return ""
        return f"{active} of {len(cases)} show it at once: what they have in common is no fault of {case.target}"

    def _present(self, case: Case) -> bool:
        """Return whether a symptom is here to be reckoned with, and not only held for want of news."""
        if case.memory.trial is not None:
            return True
        return case.signal.active and self.now - case.signal.taken <= _STALE

    def _related(self, symptom: str, target: str) -> Iterator[Case]:
        cases = self._cases.get(symptom, {})
        if not target:
            yield from cases.values()
            return
        for at in (target, ""):
            if at in cases:
                yield cases[at]

    def _depth(self, symptom: str) -> int:
        return 1 + max((self._depth(other) for other in self._masked_by[symptom]), default=-1)
