"""The order of a plan's steps: what is likely to fail comes first, so that little is done in vain before it does.

A plan is all or nothing: when a step fails, those before it are undone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from aetherra.plugins.self_incorporation.integration.order import in_order
from aetherra.plugins.self_incorporation.night.evidence import PlanOutcome, StepOutcome
from aetherra.plugins.self_incorporation.night.learning.logistic import fit_logistic, likelihood
from aetherra.plugins.self_incorporation.night.learning.plan_features import GROUPS
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["STRENGTHS", "PlanOrder", "arranged", "fit", "losses"]

STRENGTHS = (0.3, 1.0, 3.0)
"""How hard weights are held at 0, to choose from."""


class PlanOrder(Struct, frozen=True, tag="plan_order"):
    """What makes a step likely to fail.

    Attributes:
        weights: Of the features, as `logistic` counts them.
        insights: Whose features are among them.
    """

    weights: dict[str, float] = {}
    insights: tuple[str, ...] = ()

    def likelihood(self, features: Mapping[str, float]) -> float:
        """Return how likely a step fails that has these features, 0 to 1."""
        return likelihood(self.weights, features)

    def weigh(self, features: Mapping[str, float]) -> float:
        """Return what the planner orders steps by: of the least weight, and so first, is what is likely to fail."""
        return -self.likelihood(features)


def arranged(after: Sequence[Iterable[int]], weights: Sequence[float]) -> list[int]:
    """Return the places of steps in the order in which the planner does them.

    Each comes after those it needs; of those that could be next, the one of least weight is.

    Args:
        after: For each step the places, from 0 on, of those it needs; one that does not exist is not waited for.
        weights: Of each step.

    Steps that need one another in a circle come last, in the order they stand in.
    """
    count = len(after)
    needs = [{place for place in places if 0 <= place < count and place != step} for step, places in enumerate(after)]
    order, circled = in_order(needs, weights)
    return order + circled


def fit(plans: Sequence[PlanOutcome], insights: Sequence[str], strength: float) -> Steps[None, PlanOrder]:
    """Learn from the steps that were tried; of the others nobody knows how they would have ended."""
    tried = [(step.features, step.end == "failed") for plan in plans for step in plan.steps if step.end != "untried"]
    weights = yield from fit_logistic(tried, ("item:", *(GROUPS[insight] for insight in insights)), strength)
    return PlanOrder(weights, tuple(insights))


def losses(order: PlanOrder | None, plans: Iterable[PlanOutcome]) -> Steps[None, list[float]]:
    """Return, for each plan that failed, how many steps would have been done in vain in this order.

    That takes a step to fail or not for what it is, whatever comes before it.

    Args:
        order: What to arrange steps by; None: the least risky first.
        plans: How plans ended.
    """
    weigh: Callable[[StepOutcome], float] = (
        (lambda step: step.risk) if order is None else lambda step: order.weigh(step.features)
    )
    wasted: list[float] = []
    for plan in plans:
        failed = {place for place, step in enumerate(plan.steps) if step.end == "failed"}
        if failed:
            places = arranged([step.after for step in plan.steps], [weigh(step) for step in plan.steps])
            wasted.append(float(next(turn for turn, place in enumerate(places) if place in failed)))
        yield None
    return wasted
