"""What governance says: the only file of it that other plugins import.

``governance.ask``, ``governance.check`` and ``governance.tell`` are worded by the kernel: ``PluginContext.permitted``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from aetherra.plugins import Message, Request
from aetherra.plugins.governance.approvals import Approval, ApprovalState
from aetherra.plugins.governance.emergency_stop import Stopped
from aetherra.plugins.governance.guards import GuardState
from aetherra.plugins.governance.measures import Measure
from aetherra.plugins.ledger import Entry, Verification

Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class GovernanceStatus(Message, tag="governance.status_reply"):
    """What holds the host now, and what was asked since the start.

    Attributes:
        stopped: The emergency stop that holds; ``None`` if none does.
        measures: What is in force because guards were breached.
        guards: How each guard stands.
        waiting: Requests for approval that wait for a person.
        asked: Permissions that were asked for; a ``peek`` is none.
        codes: How often each answer was given to them.
        open: Acts that were allowed and whose outcome was not told yet.
        untold: Outcomes that were told, and could not be written yet.
        lost: How many more could not be, which are kept no longer; an entry will say so.
        interrupted: Acts of earlier runs that were found at the start to have been cut off; the ledger says so of each.
        entries: That the ledger keeps.
        problem: Why nothing is allowed, or why what holds now would not after a restart; ``""`` if all is well.
    """

    stopped: Stopped | None
    measures: tuple[Measure, ...]
    guards: tuple[GuardState, ...]
    waiting: int
    asked: int
    codes: dict[str, int]
    open: int
    untold: int
    entries: int
    problem: str
    lost: int = 0
    interrupted: int = 0


class GetGovernanceStatus(Request[GovernanceStatus], tag="governance.status"):
    """Ask what holds the host."""


# Guards


class GuardStates(Message, tag="governance.guards_reply"):
    """How each guard stands, and what is in force because one was breached."""

    guards: tuple[GuardState, ...]
    measures: tuple[Measure, ...]


class GetGuards(Request[GuardStates], tag="governance.guards"):
    """Ask how guards stand."""


class GuardReset(Message, tag="governance.reset_guard_reply"):
    """A guard begins anew.

    Attributes:
        guard: Which.
        key: For which component or sender; ``None``: for all.
        forgotten: How many it had counted.
        lifted: What was in force because of it, and is no more.
    """

    guard: str
    key: str | None
    forgotten: int
    lifted: tuple[Measure, ...]


class ResetGuard(Request[GuardReset], tag="governance.reset_guard"):
    """Have a guard begin anew, and end what is in force because it was breached. Only a person may.

    Attributes:
        guard: Which; ``state`` for what is in force because the state was lost, or an older one put back.
        key: For which component or sender alone; ``None``: for all.
        reason: Why.
    """

    guard: str
    key: str | None = None
    reason: str = ""


class GuardBreached(Message, tag="governance.breached"):
    """Somebody would have passed a guard's limit; this is in force now.

    Attributes:
        measure: What.
        kind: Of the intent.
        component: Of the intent.
    """

    measure: Measure
    kind: str
    component: str


# Approvals


class ApprovalList(Message, tag="governance.approvals_reply"):
    """Requests for approval, the newest first."""

    approvals: tuple[Approval, ...]


class ListApprovals(Request[ApprovalList], tag="governance.approvals"):
    """Ask for them.

    Attributes:
        state: Only those in this state; ``None``: in any.
        limit: How many, at most.
    """

    state: ApprovalState | None = None
    limit: Limit = 100


class ApprovalRequested(Message, tag="governance.approval_requested"):
    """Something waits for a person."""

    approval: Approval


class ApprovalDecided(Message, tag="governance.approval_decided"):
    """It is ``approved`` or ``denied`` by a person now, or ``void``: what was asked changed, or is wanted no more."""

    approval: Approval


class Decided(Message, tag="governance.decide_reply"):
    """How the approval is now."""

    approval: Approval


class Approve(Request[Decided], tag="governance.approve"):
    """Agree to one thing, once. Only a person may, and not the one who asked."""

    approval: str
    reason: str = ""


class Deny(Request[Decided], tag="governance.deny"):
    """Disagree with it, also after an approval that was not used yet. Only a person may."""

    approval: str
    reason: str = ""


class Withdraw(Request[Decided], tag="governance.withdraw"):
    """Have one void that is not wanted any more, approved or not. Only who has asked for it may."""

    approval: str
    reason: str


# Emergency stop


class StopReply(Message, tag="governance.stop_reply"):
    """How it is now.

    Attributes:
        stopped: The stop that holds; ``None`` if none does.
        held: The one that was lifted; ``None`` if there was none.
    """

    stopped: Stopped | None
    held: Stopped | None = None


class EmergencyStopAll(Request[StopReply], tag="governance.stop"):
    """Stop everything autonomous at once, also what was approved, until a person lifts it. A plugin may, too."""

    reason: str = ""


class LiftStop(Request[StopReply], tag="governance.lift"):
    """Lift the emergency stop. Only a person may."""

    reason: str = ""


class EverythingStopped(Message, tag="governance.stopped"):
    """Nothing autonomous may begin, and what is under way must end at its next step."""

    stopped: Stopped


class StopLifted(Message, tag="governance.lifted"):
    """The emergency stop is over.

    Attributes:
        by: Who lifted it.
        reason: Why.
        held: What held until now.
    """

    by: str
    reason: str
    held: Stopped


# The ledger


class AuditTail(Message, tag="governance.audit_tail_reply"):
    """The last entries of the ledger, the oldest first."""

    entries: tuple[Entry, ...]


class GetAuditTail(Request[AuditTail], tag="governance.audit_tail"):
    """Ask for them."""

    limit: Limit = 20


class AuditVerified(Message, tag="governance.audit_verify_reply"):
    """What a check of the ledger came to."""

    verification: Verification


class VerifyAudit(Request[AuditVerified], tag="governance.audit_verify"):
    """Have every entry checked, and the head that signs the last one."""
