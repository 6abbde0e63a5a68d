"""Learns the order of a plan's steps from how earlier plans ended."""

from collections.abc import Sequence
from typing import Literal

from aetherra.plugins.self_incorporation.night.evidence import PlanOutcome
from aetherra.plugins.self_incorporation.night.learning.candidate import Candidate, LearnedValue, mark_of
from aetherra.plugins.self_incorporation.night.learning.plan_features import GROUPS
from aetherra.plugins.self_incorporation.night.learning.plan_order import STRENGTHS, PlanOrder, fit, losses
from aetherra.plugins.self_incorporation.night.learning.split import split_by_time
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["PlanLearner"]

FEWEST = 5
"""Plans that failed to learn from, below which nothing is learnt."""


class PlanLearner:
    """The latest plans are held back. Each insight is tried on top of what was kept before it.

    Args:
        plans: How plans ended, the oldest first.
        held_back: Share of the plans.
    """

    target: Literal["plan_order"] = "plan_order"
    metric = "steps done in vain in a plan that fails"

    def __init__(self, plans: Sequence[PlanOutcome], held_back: float) -> None:
        self._share = held_back
        self._learn, self._held_back = split_by_time(plans, held_back)
        self.learnt_from = len(self._learn)
        self.latest = max((plan.at for plan in plans), default=0.0)

    def younger(self, since: float) -> int:
        """Return how many pieces of evidence are younger than a Unix time."""
        return sum(plan.at > since for plan in (*self._learn, *self._held_back))

    def learn(self, in_use: LearnedValue | None) -> Steps[None, Sequence[Candidate]]:
        """Learn from how steps ended alone, then with each insight, whatever is kept of those before."""
        if sum(any(step.end == "failed" for step in plan.steps) for plan in self._learn) < FEWEST:
            return ()
        strength = yield from self._strength()
        bare = yield from fit(self._learn, (), strength)
        candidates = [Candidate(target=self.target, insight="outcomes", value=bare, builds_on=mark_of(in_use))]
        reachable: dict[str, PlanOrder | None] = {mark_of(in_use): _order(in_use), mark_of(bare): bare}
        for insight in GROUPS:
            for mark, base in list(reachable.items()):
                known = base.insights if base is not None else ()
                if insight in known:
                    continue
                value = yield from fit(self._learn, (*known, insight), strength)
                candidates.append(Candidate(target=self.target, insight=insight, value=value, builds_on=mark))
                reachable.setdefault(mark_of(value), value)
        return candidates

    def losses(self, value: LearnedValue | None, *, since: float = 0.0) -> Steps[None, list[float]]:
        """Return how many steps would have been done in vain in the plans that were held back."""
        return (yield from losses(_order(value), [plan for plan in self._held_back if plan.at > since]))

    def harm(self, before: LearnedValue | None, after: LearnedValue | None) -> str:  # noqa: ARG002  # of all learners
        """Nothing: a plan that fails is undone as a whole in any order."""
        return ""

    def _strength(self) -> Steps[None, float]:
        inner, outer = split_by_time(self._learn, self._share)
        best, strength = float("inf"), STRENGTHS[-1]
        for tried in STRENGTHS:
            value = yield from fit(inner, tuple(GROUPS), tried)
            lost = sum((yield from losses(value, outer)))
            if lost < best:
                best, strength = lost, tried
        return strength


def _order(value: LearnedValue | None) -> PlanOrder | None:
    return value if isinstance(value, PlanOrder) else None
