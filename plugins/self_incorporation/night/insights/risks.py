"""Which factors of risk go with items that were blocked, set aside, or failed."""

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.night.evidence import PlanOutcome
from aetherra.plugins.self_incorporation.night.insights.insight import Insight
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["RiskPattern", "Risks", "risks_of"]

FEWEST = 5
"""Items with a factor from which on something can be said of it."""
TELLING = 1.0
"""Log-odds from which on it is worth a word: 2.7 times as often."""
_STEP = 200


class RiskPattern(Struct, frozen=True, kw_only=True):
    """One factor.

    Attributes:
        factor: A capability, or a ground against an item.
        items: How many had it.
        bad: How many of these were blocked, set aside, or failed.
        log_odds: How much likelier that is with it than without.
    """

    factor: str
    items: int
    bad: int
    log_odds: float


class Risks(Struct, frozen=True):
    """All patterns, the strongest first, and what stands out."""

    patterns: tuple[RiskPattern, ...]
    insights: tuple[Insight, ...]


def risks_of(decisions: Iterable[Decision], plans: Sequence[PlanOutcome]) -> Steps[None, Risks]:
    """Count how often items with each factor were blocked, set aside, or failed when they were brought in."""
    with_factor: dict[str, list[int]] = {}
    every = [0, 0]
    for number, decision in enumerate(decisions):
        bad = decision.verdict in ("blocked", "quarantined")
        _count(with_factor, every, decision.capabilities, bad=bad)
        if number % _STEP == 0:
            yield None
    for plan in plans:
        for step in plan.steps:
            if step.end != "untried":
                factors = [name.removeprefix("risk:") for name in step.features if name.startswith("risk:")]
                _count(with_factor, every, factors, bad=step.end == "failed")
        yield None
    patterns = tuple(
        sorted(
            (_pattern(factor, counted, every) for factor, counted in with_factor.items() if counted[0] >= FEWEST),
            key=lambda pattern: (-abs(pattern.log_odds), pattern.factor),
        )
    )
    told = [pattern for pattern in patterns if abs(pattern.log_odds) >= TELLING]
    return Risks(patterns, tuple(Insight("risk", "", _told(pattern, every)) for pattern in told))


def _count(with_factor: dict[str, list[int]], every: list[int], factors: Iterable[str], *, bad: bool) -> None:
    for counted in (every, *(with_factor.setdefault(factor, [0, 0]) for factor in set(factors))):
        counted[0] += 1
        counted[1] += bad


def _pattern(factor: str, counted: Sequence[int], every: Sequence[int]) -> RiskPattern:
    (items, bad), (others, others_bad) = counted, (every[0] - counted[0], every[1] - counted[1])
    odds = math.log((bad + 0.5) / (items - bad + 0.5)) - math.log((others_bad + 0.5) / (others - others_bad + 0.5))
    return RiskPattern(factor=factor, items=items, bad=bad, log_odds=round(odds, 4))


def _told(pattern: RiskPattern, every: Sequence[int]) -> str:
    return (
        f"{pattern.bad} of {pattern.items} items with {pattern.factor} were blocked, set aside or failed, "
        f"{every[1]} of {every[0]} of all"
    )
