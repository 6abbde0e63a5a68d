"""The seven phases of the night cycle, and which may come after which."""

from enum import StrEnum

__all__ = ["WORKING", "Phase", "may_follow"]


class Phase(StrEnum):
    """Where the night cycle stands.

    Attributes:
        INACTIVE: It neither works nor watches: it is switched off, ended, or was told to stop.
        MONITORING: It waits until nobody has needed the host for long enough; a night that was begun may be waiting.
        DISCOVERY_ANALYSIS: What there is, is read and measured.
        PATTERN_LEARNING: Insights are drawn from it.
        OPTIMIZATION: What was learnt is tried on the part of the evidence that is for learning.
        VALIDATION: It is tried on the part that was held back, and kept or discarded.
        REPORTING: What was found, kept and discarded is written down.
    """

    INACTIVE = "inactive"
    MONITORING = "monitoring"
    DISCOVERY_ANALYSIS = "discovery_analysis"
    PATTERN_LEARNING = "pattern_learning"
    OPTIMIZATION = "optimization"
    VALIDATION = "validation"
    REPORTING = "reporting"


WORKING = (
    Phase.DISCOVERY_ANALYSIS,
    Phase.PATTERN_LEARNING,
    Phase.OPTIMIZATION,
    Phase.VALIDATION,
    Phase.REPORTING,
)
"""The phases of one night, in order; none is left out."""


def may_follow(before: Phase, after: Phase, stands_at: Phase) -> bool:
    """Say whether a phase may come after another.

    Args:
        before: The one that ends.
        after: The one that would begin.
        stands_at: The working phase at which the night stands: where it goes on after an interruption.
    """
    if after in (Phase.INACTIVE, Phase.MONITORING):
        return True
    if before in WORKING:
        return WORKING.index(after) == WORKING.index(before) + 1
    return before is Phase.MONITORING and after is stands_at
