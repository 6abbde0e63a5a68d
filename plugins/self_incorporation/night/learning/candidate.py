"""What was learnt and is to be tried, and what came of the trial."""

from typing import Literal, TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.learning.classifier_weights import ClassifierWeights
from aetherra.plugins.self_incorporation.night.learning.plan_order import PlanOrder
from aetherra.plugins.self_incorporation.night.learning.rescan_order import RescanOrder
from aetherra.plugins.self_incorporation.night.learning.trial import Target, Trial, digest_of

__all__ = ["Candidate", "LearnedValue", "Outcome", "Tried", "mark_of"]

Outcome: TypeAlias = Literal["kept", "taken_back", "discarded", "not_permitted"]
LearnedValue: TypeAlias = ClassifierWeights | RescanOrder | PlanOrder


class Candidate(Struct, frozen=True, kw_only=True):
    """What might be taken into use.

    Attributes:
        target: What it would change.
        insight: What it comes from.
        value: What it is.
        builds_on: `mark_of` what it would replace: it is tried only while that is in use.
    """

    target: Target
    insight: str
    value: LearnedValue
    builds_on: str


class Tried(Struct, frozen=True, kw_only=True):
    """A trial, and what came of it.

    Attributes:
        trial: With both figures.
        outcome: ``kept``: what was tried is in use; ``taken_back``: it is in use again, in place of what the insight
            had taught; ``discarded``: it did not help; ``not_permitted``: it would, and must not.
        reason: Why.
    """

    trial: Trial
    outcome: Outcome
    reason: str


def mark_of(value: LearnedValue | None) -> str:
    """Return what tells one value from another; empty for none."""
    return "" if value is None else digest_of(value)
