"""What is proposed, and how far it got: owns the proposal, its parts and the states that it may go through.

::

    proposed -> waiting_approval -> approved -> applied -> kept
       |_______________________________^          |-> undone, inconclusive
       '-> rejected, expired, failed, superseded  '-> failed, superseded

A proposal is *open* until it is concluded, and the knob is its own for as long. What is kept still stands, and may be
undone or superseded later on; nothing else leaves a concluded state.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

import msgspec

from aetherra.plugins import AetherraError
from aetherra.plugins.self_improvement.analysis.directions import Direction

__all__ = [
    "OPEN",
    "TRANSITIONS",
    "Basis",
    "Context",
    "Evidence",
    "ExpectedEffect",
    "Impact",
    "Kind",
    "Load",
    "MeasuredEffect",
    "Problem",
    "Proposal",
    "ProposalStateError",
    "State",
    "Step",
    "Value",
    "Verdict",
    "proposal_id",
]

Kind = Literal["scale_up", "optimize", "degrade", "change_strategy"]
"""What a knob's role makes of a proposal: capacity, tuning, quality and strategy, in this order."""

State = Literal[
    "proposed",
    "waiting_approval",
    "approved",
    "applied",
    "kept",
    "undone",
    "rejected",
    "expired",
    "failed",
    "superseded",
    "inconclusive",
]
"""``applied`` is on trial; ``undone`` did not help, or a person took it back; ``inconclusive`` was undone as nobody can
say whether it helped; ``rejected`` is a person's no, and nobody else's; ``failed`` was refused, could not be carried
out, or could not be taken back; ``superseded`` lost its knob to somebody else's change, or its reason."""

Problem = Literal["beyond_setpoint", "crossing_soon", "degrading", "no_longer_needed"]
"""Why something is proposed; ``no_longer_needed`` gives back what an earlier proposal took, the problem being gone. An
anomaly alone is no reason to turn a knob: it is an event, and no level."""

Basis = Literal["declared", "contrary", "correlated", "unknown"]
"""Why the knob should move the metric that way: its owner declares it; the declared way was measured to be worse, and
this is the other one; it is declared for another metric that goes along with this one; nobody knows."""

Load = Literal["low", "normal", "high", "unknown"]
"""How busy the host was, against its own history."""

Impact = Literal["low", "medium", "high"]
"""How much a wrong setting of the knob may harm, as its owner declared; ``high`` waits for approval."""

Verdict = Literal["better", "worse", "same", "unknown"]

Value = int | float | str
"""A knob's setting: a number, or the name of one of its choices."""

OPEN: frozenset[State] = frozenset({"proposed", "waiting_approval", "approved", "applied"})
"""States in which a proposal is not concluded."""

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        "proposed": frozenset(
            {"waiting_approval", "approved", "applied", "rejected", "expired", "failed", "superseded"}
        ),
        "waiting_approval": frozenset({"approved", "rejected", "expired", "failed", "superseded"}),
        "approved": frozenset({"applied", "rejected", "expired", "failed", "superseded"}),
        "applied": frozenset({"kept", "undone", "inconclusive", "failed", "superseded"}),
        "kept": frozenset({"undone", "failed", "superseded"}),
        "undone": frozenset(),
        "rejected": frozenset(),
        "expired": frozenset(),
        "failed": frozenset(),
        "superseded": frozenset(),
        "inconclusive": frozenset(),
    }
)
"""Where each state may lead."""


class ProposalStateError(AetherraError, ValueError):
    """A proposal was to take a state that its present one does not lead to."""

    def __init__(self, proposal: str, state: str, wanted: str) -> None:
        super().__init__(proposal, state, wanted)
        self.proposal, self.state, self.wanted = proposal, state, wanted

    def __str__(self) -> str:
        ways = ", ".join(sorted(TRANSITIONS.get(self.state, ()))) or "nothing, it is concluded"  # type: ignore[call-overload]
        return f"proposal {self.proposal!r} is {self.state!r} and cannot become {self.wanted!r}; it may become {ways}"


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The situation that a proposal answers: what is learnt in one counts most in the same.

    Attributes:
        metric: The metric that is to get better, ``queue.normal.wait_p95``.
        problem: What is wrong with it.
        load: How busy the host was.
    """

    metric: str
    problem: Problem
    load: Load = "unknown"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the history that something was concluded from, and what they said.

    Attributes:
        metric: Whose points.
        since: The first of them, Unix seconds.
        until: The last of them, Unix seconds.
        points: How many there are.
        statistic: What was computed from them: ``p50``, ``mean`` (since a step), ``latest`` (the median at the end of a
            trend), ``end_of_line``, ``level after trial``, ``slope_per_hour``, ``crossing`` or ``r``.
        value: What it came to, in the metric's unit (``slope_per_hour``: the unit per hour; ``r``: -1 to 1;
            ``crossing``: Unix seconds).
        text: The same in a sentence.
    """

    metric: str
    since: float
    until: float
    points: int
    statistic: str
    value: float
    text: str


class ExpectedEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What like changes did before.

    Attributes:
        lift: By how much the metric gets better, as a share of its level: 0.2 is a fifth less where less is better.
            Negative is worse. The median of past outcomes.
        low: Lower end of the interval in which four of five outcomes like these lie.
        high: Its upper end.
        outcomes: How many outcomes that is taken from.
    """

    lift: float
    low: float
    high: float
    outcomes: int


class MeasuredEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What the change did: the metric before it against after it.

    Attributes:
        verdict: What that means for the metric.
        before: Level before, in the metric's unit; None where nothing was measured.
        after: Level after, likewise.
        lift: By how much it got better, as a share of the level before; negative is worse, None is unknown.
        low: Lower end of the lift's interval; None where unknown.
        high: Its upper end; None where unknown.
        p_value: Chance that no change at all looks like this; None where unknown.
        points_before: Points measured before.
        points_after: Points measured after.
        text: The same in a sentence.
    """

    verdict: Verdict
    before: float | None = None
    after: float | None = None
    lift: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    points_before: int = 0
    points_after: int = 0
    text: str = ""


class Step(msgspec.Struct, frozen=True):
    """One change of state.

    Attributes:
        at: When, Unix seconds.
        state: What it became.
        reason: Why, in a sentence; ``""`` where there is nothing to add.
    """

    at: float
    state: State
    reason: str = ""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one knob for the good of one metric, with all that is needed to judge, do and undo it.

    Attributes:
        id: Unique in a host, ``greeter.batch-20261126-223137``: the knob and when it was proposed (UTC).
        kind: By the knob's role.
        knob: The knob's name.
        direction: ``raise``, ``lower``, or ``to <choice>``.
        basis: Why the knob should move the metric that way.
        size: How far, in steps of the knob; 0 for choices.
        before: The knob's value when this was proposed; it must still be so when it is carried out.
        after: The value to set.
        unit: Unit of both; ``""`` for choices.
        metric: The objective: the metric that is to get better.
        good: Which way that should move.
        context: The situation.
        eases: Other metrics in trouble that should get better by it, too, as the knob's owner declares.
        rationale: Why, in a sentence.
        evidence: What that was concluded from.
        expected_effect: What like changes did; None where there was none yet.
        expectation: The same in a sentence, or that nothing is known.
        confidence: Probability that it helps, 0 to 1.
        confidence_reason: Where that figure comes from, in a sentence.
        priority: Impact on the host times feasibility, 0 to 1; the highest comes first.
        impact: How much a wrong setting may harm.
        cost: What the change costs, in the words of the knob's owner.
        way_back: How it is undone, in the words of the knob's owner.
        created: Unix seconds.
        expires: Unix seconds from which on it is no longer to be carried out.
        sender: Who proposes.
        state: How far it got.
        reason: Why it is in that state, in a sentence.
        steps: Every state that it was in, the first one first.
        outcome: What it did; None before that is known.
    """

    id: str
    kind: Kind
    knob: str
    direction: str
    basis: Basis = "declared"
    size: float = 1.0
    before: Value
    after: Value
    unit: str = ""
    metric: str
    good: Direction
    context: Context
    eases: tuple[str, ...] = ()
    rationale: str
    evidence: tuple[Evidence, ...]
    expected_effect: ExpectedEffect | None = None
    expectation: str = ""
    confidence: float
    confidence_reason: str = ""
    priority: float
    impact: Impact = "low"
    cost: str = ""
    way_back: str
    created: float
    expires: float
    sender: str = "self_improvement"
    state: State = "proposed"
    reason: str = ""
    steps: tuple[Step, ...] = ()
    outcome: MeasuredEffect | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is not concluded: it holds its knob."""
        return self.state in OPEN

    @property
    def concluded(self) -> float | None:
        """When it was kept or ended otherwise, Unix seconds; None while it is open.

        Of one that was kept and undone later this is the latter.
        """
        return None if self.is_open else self.steps[-1].at if self.steps else self.created

    def moved(self, state: State, at: float, reason: str = "", *, outcome: MeasuredEffect | None = None) -> Proposal:
        """Return this proposal in ``state``, since ``at`` (Unix seconds), for ``reason``.

        An ``outcome`` replaces the one there is, if any.

        Raises:
            ProposalStateError: The present state does not lead there; to the same one neither.
        """
        if state not in TRANSITIONS[self.state]:
            raise ProposalStateError(self.id, self.state, state)
        steps = self.steps or (Step(self.created, self.state, self.reason),)
        return msgspec.structs.replace(
            self,
            state=state,
            reason=reason,
            steps=(*steps, Step(at, state, reason)),
            outcome=self.outcome if outcome is None else outcome,
        )

    def is_due(self, now: float) -> bool:
        """Whether it has expired by ``now``: it waits to be carried out, and its time is over.

        What is on trial does not expire: it was carried out in time.
        """
        return self.state in OPEN and self.state != "applied" and now >= self.expires


def proposal_id(knob: str, created: float, taken: Container[str] = ()) -> str:
    """Name a proposal by its knob and the second it was made in, with a number behind where that is taken.

    No counter has to be kept for it, so that names stay unique when what was kept is lost.
    """
    name = f"{knob}-{datetime.fromtimestamp(created, UTC):%Y%m%d-%H%M%S}"
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    return unique
