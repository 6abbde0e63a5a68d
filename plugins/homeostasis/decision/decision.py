"""A decision: what to do, to what, and why; what became of it, and what it changed."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import msgspec

from aetherra.plugins.homeostasis.decision.rung import Arguments
from aetherra.plugins.homeostasis.decision.shape import is_text

__all__ = ["Considered", "Decision", "DecisionKind", "Effect", "Evidence", "Outcome", "OutcomeStatus"]

DecisionKind: TypeAlias = Literal["act", "set", "undo", "give_up"]
OutcomeStatus: TypeAlias = Literal["done", "unchanged", "failed", "skipped"]


class Evidence(msgspec.Struct, frozen=True):
    """What a decision rests on.

    Attributes:
        metric: The metric, with the target in place of ``*``.
        value: What it read last; None where that is unknown.
        bound: What is bad, in words: "above 0.2".
        votes: Bad samples (good ones, of an undoing) among the last ``of``.
        of: Samples looked at.
        needed: Votes that it takes.
        agreeing: Conditions that confirm it, in words.
        since: Seconds that the symptom has held, or been away.
    """

    metric: str
    value: float | None
    bound: str
    votes: int
    of: int
    needed: int
    agreeing: tuple[str, ...] = ()
    since: float = 0.0


class Considered(msgspec.Struct, frozen=True):
    """An action that was looked at and not taken, and why not."""

    action: str
    why_not: str


class Decision(msgspec.Struct, frozen=True):
    """One thing to do now, explained.

    Attributes:
        id: Names it in ``Controller.report``; never used twice, also across ``state()``.
        kind: "act": do ``action`` once. "set": turn ``action`` to ``value``. "undo": take back the act ``undoes``.
            "give_up": nothing more to try; somebody should look.
        action: The actuator's name; empty of "give_up".
        target: What ``*`` stood for; empty where there is none.
        arguments: What the actuator is given.
        value: Of "set": where to turn the knob; else None.
        symptom: The rule, SLO or knob that decided.
        disruptive: Whether it costs somebody something.
        settle: Seconds within which its effect is expected.
        at: The clock's time.
        evidence: What was seen, and which rule with n of m.
        considered: What else was, and why it was not done.
        expects: The effect that is expected.
        undoes: Of "undo": the id of the act; else empty.
        reason: All of it in a sentence.
    """

    id: str
    kind: DecisionKind
    action: str
    target: str
    arguments: Arguments
    value: float | None
    symptom: str
    disruptive: bool
    settle: float
    at: float
    evidence: Evidence
    considered: tuple[Considered, ...]
    expects: str
    undoes: str
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of a decision, as its executor says.

    Attributes:
        status: "done": it ran. "unchanged": it ran, and there was nothing to change. "failed": it did not run to its
            end. "skipped": it was not tried, as in a dry run: nothing is learnt of it.
        detail: In words; half characters, as of a file's name that is no text, become escapes.
        again: Of "skipped": seconds after which it may be decided anew, as if it had not been; None: it had its turn.

    Raises:
        ValueError: There is no such status, the detail is no text, or ``again`` is no time or of something else.
    """

    status: OutcomeStatus = "done"
    detail: str = ""
    again: float | None = None

    def __post_init__(self) -> None:
        if self.status not in get_args(OutcomeStatus):
            raise ValueError(f"expected a status of {', '.join(get_args(OutcomeStatus))}, got {self.status!r}")
        if not isinstance(self.detail, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise ValueError(f"expected a detail in words, got {self.detail!r}")  # noqa: TRY004  # as of all that is written
        if self.again is not None and (self.status != "skipped" or not 0 <= self.again < math.inf):
            raise ValueError(f"expected again from 0 on, of what was skipped, got {self.again!r} of {self.status!r}")
        if not is_text(self.detail):
            msgspec.structs.force_setattr(self, "detail", self.detail.encode(errors="backslashreplace").decode())


class Effect(msgspec.Struct, frozen=True):
    """What an act changed, found once it had settled.

    Attributes:
        decision_id: The act.
        symptom: What it was against.
        target: On what.
        action: What was done.
        metric: The metric, with its target.
        before: Its value when the act was decided.
        after: Its value now; None where it is unknown.
        helped: Whether the symptom left or the metric is on its way; None where nobody can tell.
        seconds: Since the act.
        sentence: All of it in words.
    """

    decision_id: str
    symptom: str
    target: str
    action: str
    metric: str
    before: float | None
    after: float | None
    helped: bool | None
    seconds: float
    sentence: str
