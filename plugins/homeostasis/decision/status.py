"""What a controller tells of itself."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["ChangeStatus", "ControllerStatus", "KnobStatus", "LiftStatus", "SymptomPhase", "SymptomStatus"]

SymptomPhase: TypeAlias = Literal["well", "suspected", "holds", "settling", "given_up"]


class SymptomStatus(msgspec.Struct, frozen=True):
    """One symptom of one target.

    Attributes:
        symptom: The rule or SLO.
        target: What ``*`` stands for; empty where there is none.
        phase: "well": no evidence. "suspected": too little. "holds": enough; something is due or waits. "settling": the
            last act has yet to show its effect. "given_up": all was tried; it starts over after the cooldown.
        known: Whether the metric is known now; the phase is held while it is not.
        value: What it read last.
        since: Seconds that the phase has lasted.
        waits_for: Why nothing is done, or why the metric is UNKNOWN; empty otherwise.
        tried: Actions tried so far.
    """

    symptom: str
    target: str
    phase: SymptomPhase
    known: bool
    value: float | None
    since: float
    waits_for: str
    tried: tuple[str, ...]


class KnobStatus(msgspec.Struct, frozen=True):
    """One knob: where it stands, what its gains are multiplied by, and why it holds (empty if it does not)."""

    knob: str
    target: str
    value: float
    gain: float
    holds: str


class LiftStatus(msgspec.Struct, frozen=True):
    """What was learnt of an action against a symptom.

    Attributes:
        symptom: The symptom.
        action: The action.
        with_action: Estimated probability that the symptom leaves with it.
        without_action: The same for leaving it alone.
        lower: Lower bound of the difference.
        upper: Upper bound of the difference.
        samples: Decayed count of the times it was done.
    """

    symptom: str
    action: str
    with_action: float
    without_action: float
    lower: float
    upper: float
    samples: float


class ChangeStatus(msgspec.Struct, frozen=True):
    """A lasting change that is in force, and for which symptoms."""

    decision_id: str
    action: str
    target: str
    symptoms: tuple[str, ...]
    since: float


class ControllerStatus(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        decisions: Made so far, by kind.
        symptoms: Those that are not well or not known, the worst first.
        watched: Pairs of symptom and target that are looked at.
        unknown: How many of these are not known now.
        knobs: All of them.
        changes: Lasting changes in force.
        lifts: What was learnt.
        mistrusted: Actions that are rested because they fail, with why.
        budget_left: Acts that the flap budget still allows.
    """

    decisions: dict[str, int]
    symptoms: tuple[SymptomStatus, ...]
    watched: int
    unknown: int
    knobs: tuple[KnobStatus, ...]
    changes: tuple[ChangeStatus, ...]
    lifts: tuple[LiftStatus, ...]
    mistrusted: dict[str, str]
    budget_left: int
