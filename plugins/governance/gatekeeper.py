"""The gatekeeper: says whether something may be done without a person, by all that holds now, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from aetherra.plugins import (
    Identity,
    Intent,
    Persons,
)
from aetherra.plugins.governance.approvals import Approvals
from aetherra.plugins.governance.emergency_stop import EmergencyStop
from aetherra.plugins.governance.guards import Count, Guards, counted_by
from aetherra.plugins.governance.measures import Measure, Measures

__all__ = ["Code", "Gatekeeper", "Verdict", "name_of"]

Code = Literal["allowed", "stopped", "paused", "guard", "needs_approval", "denied", "refused", "unrecorded"]
"""The kernel's, of ``Permission``."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be answered, and what is to be done with that.

    Attributes:
        code: Whether, or why not.
        reason: In words.
        retry_after: Seconds after which it may be asked anew; 0 if that is not the matter.
        count: What counts it, if it is allowed.
        approval: The approval that is used up, if it is allowed; else the one that it waits for.
        question: Why a person is to be asked who was not yet.
        measure: What is to be in force, as a guard was breached.
    """

    code: Code
    reason: str = ""
    retry_after: float = 0.0
    count: Count | None = None
    approval: str = ""
    question: str = ""
    measure: Measure | None = None


class Gatekeeper:
    """Looks in this order: is all stopped, is it paused, is it known who asks, do guards let it, must a person agree.

    Args:
        stop: The emergency stop.
        measures: Those in force.
        persons: Who is known.
        guards: The limits.
        approvals: What persons have agreed to.
        time: Unix time as of the start, which nobody sets since.
        approval_kinds: Kinds of intents of which each one needs an approval.
    """

    def __init__(
        self,
        *,
        stop: EmergencyStop,
        measures: Measures,
        persons: Persons,
        guards: Guards,
        approvals: Approvals,
        time: Callable[[], float],
        approval_kinds: Iterable[str] = (),
    ) -> None:
        self._stop = stop
        self._measures = measures
        self._persons = persons
        self._guards = guards
        self._approvals = approvals
        self._time = time
        self._approval_kinds = frozenset(approval_kinds)

    def judge(self, asker: Identity, intent: Intent) -> Verdict:
        """Return what holds for an intent."""
        name = name_of(asker)
        count = counted_by(intent, name)
        held = self._measures.holding(name, intent, count)
        refusal = self._halted(held) or self._unknown(asker, intent)
        if refusal is not None:
            return refusal
        if count is not None and not self._guards.has_room(count):
            return Verdict(
                code="guard", reason=f"guard {count.guard!r} counts too many others, so it cannot count this"
            )
        question, breached = self._question(intent, held), None
        wait = 0.0 if count is None else self._guards.wait(count)
        if count is not None and wait > 0:
            breached = self._breached(count, name, intent)
            if breached.breach != "require_human_approval":
                return Verdict(code="guard", reason=breached.sentence, retry_after=wait, measure=breached)
            question = breached.reason
        if not question:
            return Verdict(code="allowed", count=count)
        return self._with_approval(name, intent, count, question, breached)

    def halted(self, asker: str, intent: Intent) -> Verdict | None:
        """Return why what was allowed may go no further; ``None`` if it may."""
        return self._halted(self._measures.holding(asker, intent, counted_by(intent, asker)))

    def _halted(self, held: Measure | None) -> Verdict | None:
        stopped = self._stop.now()
        if stopped is not None:
            return Verdict(code="stopped", reason=stopped.sentence)
        if held is None or held.breach == "require_human_approval":
            return None
        left = 0.0 if held.until is None else max(0.0, held.until - self._time())
        return Verdict(code="paused", reason=held.sentence, retry_after=left)

    def _unknown(self, asker: Identity, intent: Intent) -> Verdict | None:
        if not self._persons.knows(asker):
            return Verdict(code="refused", reason=f"{asker} is not known: {self._persons.remedy(asker.name)}")
        if not self._persons.knows_sender(intent.sender):
            return Verdict(code="refused", reason=f"{intent.sender} is not known: kernel.clients names those who are")
        return None

    def _question(self, intent: Intent, held: Measure | None) -> str:
        if held is not None:
            return held.sentence
        if intent.needs_approval:
            return intent.needs_approval
        if intent.kind in self._approval_kinds:  # also what calls itself a way back: that is the asker's word alone
            return f"on this host each {intent.kind} needs an approval"
        return ""

    def _breached(self, count: Count, asker: str, intent: Intent) -> Measure:
        guard, now = self._guards.guard(count), self._time()
        whom = f" for {count.key!r}" if count.key else ""
        often = f"{guard.limit} in {guard.seconds:g} s"
        return Measure(
            guard=count.guard,
            key=count.key,
            breach=guard.breach,
            asker=asker,
            actuator=intent.actuator,
            since=now,
            until=None if guard.lasts is None else now + guard.lasts,
            reason=f"one more {intent.kind} would be more than guard {count.guard!r} lets pass{whom}: {often}",
        )

    def _with_approval(
        self, asker: str, intent: Intent, count: Count | None, question: str, breached: Measure | None
    ) -> Verdict:
        found = self._approvals.find(asker, intent)
        if found is None:
            if not self._approvals.has_room(asker):
                reason = f"it needs an approval ({question}), and too many requests of {asker!r} wait for a person"
                return Verdict(code="refused", reason=reason, measure=breached)
            reason = f"a person must agree: {question}"
            return Verdict(code="needs_approval", reason=reason, question=question, measure=breached)
        if found.state == "approved":
            return Verdict(code="allowed", reason=f"approved by {found.decided_by}", count=count, approval=found.id)
        if found.state == "denied":
            said = f": {found.reason}" if found.reason else ""
            return Verdict(code="denied", reason=f"denied by {found.decided_by}{said}", approval=found.id)
        reason = f"a person must agree, by 'aetherra approvals approve {found.id}': {found.why}"
        return Verdict(code="needs_approval", reason=reason, approval=found.id, measure=breached)


def name_of(identity: Identity) -> str:
    """Return what an asker is called: a plugin by its name alone, over all its generations."""
    return identity.name if identity.kind == "plugin" else str(identity)
