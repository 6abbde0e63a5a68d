"""A case: one symptom of one target, how far its ladder has come, and what is known of it."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.clause import Clause
from aetherra.plugins.homeostasis.decision.rule import Rule
from aetherra.plugins.homeostasis.decision.signal import Signal
from aetherra.plugins.homeostasis.decision.slo import Slo
from aetherra.plugins.homeostasis.decision.status import SymptomPhase, SymptomStatus

__all__ = ["Case", "CaseMemory", "Trial"]

_BLOCKED = 5.0
"""Seconds that the rungs that are left may be passed over, as others have yet to agree."""


class Trial(msgspec.Struct):
    """An act that has yet to show its effect; one that was skipped only has its turn."""

    id: str
    rung: int
    action: str
    at: float
    before: float | None
    until: float
    extensions: int = 0
    skipped: bool = False


class CaseMemory(msgspec.Struct):
    """What outlives the controller of a case.

    Attributes:
        active: Whether the symptom holds.
        entered_at: When it came.
        left_at: When it last left; None: never.
        tries: How often each rung was tried, by "number:action".
        helped: The rungs that have helped in this round, and when each was last taken.
        failures: How often each action did not help since the symptom last left.
        trial: The act that settles.
        idle_from: Since when nothing has been done about it, for comparison; None while something else is.
        idle_counts: Idle times counted since it last left.
        gave_up_until: When the ladder starts over after it was given up; None: it was not.
        give_ups: How often in a row.
        blocked_since: Since when all that is left is passed over.
        told_at: When that was said.
        retries: How often in a row what took the target away was undone for a try.
        left_alone_until: Until when the symptom is left alone, to learn.
    """

    active: bool = False
    entered_at: float = 0.0
    left_at: float | None = None
    tries: dict[str, int] = {}
    helped: dict[str, float] = {}
    failures: dict[str, int] = {}
    trial: Trial | None = None
    idle_from: float | None = None
    idle_counts: int = 0
    gave_up_until: float | None = None
    give_ups: int = 0
    blocked_since: float | None = None
    told_at: float | None = None
    retries: int = 0
    left_alone_until: float = 0.0


class Case:
    """One symptom of one target."""

    __slots__ = ("key", "memory", "plan", "requires", "seen_at", "signal", "symptom", "target", "unless", "waits_for")

    def __init__(self, symptom: str, target: str, plan: Rule | Slo, signal: Signal, memory: CaseMemory) -> None:
        self.symptom, self.target, self.plan, self.signal = symptom, target, plan, signal
        self.key = f"{symptom} of {target}" if target else symptom
        self.requires = [[Clause(condition, target) for condition in rung.requires] for rung in plan.ladder]
        self.unless = [[Clause(condition, target) for condition in rung.unless] for rung in plan.ladder]
        self.waits_for = ""
        self.seen_at = 0.0
        self.memory = memory
        signal.active = memory.active

    @property
    def awake(self) -> bool:
        """Whether there is anything to do about it."""
        return self.signal.active or self.memory.active or self.memory.trial is not None

    def workable(self, now: float) -> bool:
        """Return whether something is or can be done about it, so that what it causes had better wait."""
        blocked = self.memory.blocked_since is not None and now - self.memory.blocked_since > _BLOCKED
        return not self.plan.ladder or (self.memory.gave_up_until is None and not blocked)

    @property
    def phase(self) -> SymptomPhase:
        """How far it has come."""
        if self.memory.trial is not None:
            return "settling"
        if self.signal.active:
            return "holds" if self.memory.gave_up_until is None else "given_up"
        return "suspected" if self.signal.suspect else "well"

    def status(self, now: float) -> SymptomStatus:
        """Return how it stands."""
        memory = self.memory
        if self.memory.trial is not None:
            since = self.memory.trial.at
        elif self.signal.active:
            since = memory.entered_at
        else:
            since = now if memory.left_at is None else memory.left_at
        return SymptomStatus(
            symptom=self.symptom,
            target=self.target,
            phase=self.phase,
            known=self.signal.known,
            value=self.signal.value,
            since=now - since,
            waits_for=self.waits_for if self.signal.known else self.signal.why,
            tried=tuple(key.partition(":")[2] for key, count in memory.tries.items() for _ in range(count)),
        )
