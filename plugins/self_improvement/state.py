"""What the next generation of self-improvement takes over, so that a swap ends no trial."""

from __future__ import annotations

from aetherra.plugins import State
from aetherra.plugins.self_improvement.proposals import Outcome, Proposal

__all__ = ["TrialState"]


class TrialState(State):
    """What the next generation must know of the trial; in a host that keeps nothing on disk, of all proposals.

    Attributes:
        proposal: The change that is on trial; ``""`` if there is none.
        begun: Since when, Unix seconds.
        calm: Since when nothing else had changed the host before, Unix seconds.
        proposals: That are on no disk.
        outcomes: The same of what they came to.
    """

    proposal: str = ""
    begun: float = 0.0
    calm: float = 0.0
    proposals: tuple[Proposal, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
