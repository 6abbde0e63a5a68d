"""Agreements: what a person has agreed to, where somebody governs the host and keeps that."""

from __future__ import annotations

import hashlib

import msgspec

from aetherra.plugins import AetherraError, Fact, Intent, NotPermittedError, Permission, PluginContext
from aetherra.plugins.self_improvement.heard import Approve, Deny
from aetherra.plugins.self_improvement.proposals import Proposal, Value
from aetherra.plugins.self_improvement.settings import Mode

__all__ = ["Agreements", "ApprovalError", "turning"]

ANYTHING = Intent(kind="knob", component="host", summary="turn anything at all", undo=True)
"""What nothing but an emergency stop holds."""

UNKNOWN = frozenset({"refused", "unrecorded"})
"""Answers by which nobody knows whether it holds."""


class ApprovalError(AetherraError, PermissionError):
    """A plugin would approve what waits for a person."""

    def __init__(self, proposal: str, who: str) -> None:
        super().__init__(proposal, who)
        self.proposal, self.who = proposal, who

    def __str__(self) -> str:
        return f"proposal {self.proposal!r} waits for a person, and {self.who} is none: 'aetherra improve approve'"


class Agreements:
    """Asks whoever governs the host, and passes on to them what a person says here.

    Args:
        ctx: Of the plugin that it works in.
        mode: Whether all proposals want an agreement, or those of high impact alone.
    """

    def __init__(self, ctx: PluginContext, mode: Mode) -> None:
        self._ctx = ctx
        self._mode: Mode = mode
        self._stopped = ""

    def wanted(self, proposal: Proposal) -> str:
        """Return why a person must agree to a proposal, ``""`` if none must."""
        if proposal.impact == "high":
            return "it waits for approval, as a wrong value can do much harm"
        has_waited = any(step.state == "waiting_approval" for step in proposal.steps)
        if self._mode == "propose" or proposal.state == "waiting_approval" or has_waited:
            return "it waits for approval, as all do in mode 'propose'"
        return ""

    def carrying_out(self, proposal: Proposal, sender: str = "") -> Intent:
        """Return what leave is asked for to carry a proposal out, for somebody else if there is a sender."""
        facts: dict[str, Fact] = {"proposal": proposal.id, "why": proposal.rationale, "for": proposal.metric}
        return Intent(
            kind="proposal",
            component=proposal.knob,
            summary=f"turn {proposal.knob} from {proposal.before} to {proposal.after} {proposal.unit}".rstrip(),
            digest=_digest(proposal.knob, proposal.before, proposal.after, proposal.id),
            sender=sender,
            needs_approval=self.wanted(proposal),
            facts=facts,
        )

    async def look(self, proposal: Proposal) -> Permission:
        """Return how it stands; with an ``approval`` and allowed, a person has agreed to it."""
        return await self._ctx.peek_permission(self.carrying_out(proposal))

    async def why_not(self, intent: Intent) -> str:
        """Return why something is not permitted now, ``""`` if it is; where a person must agree, have them asked."""
        permission = await self._ctx.peek_permission(intent)
        if permission.code == "needs_approval" and not permission.approval:
            return await self._ask(intent, permission.reason)
        return "" if permission.allowed else permission.reason

    async def stopped(self) -> str:
        """Return why everything autonomous is stopped, ``""`` if it is not; without an answer it is as it was."""
        permission = await self._ctx.peek_permission(ANYTHING)
        if permission.code not in UNKNOWN:
            self._stopped = (permission.reason or "everything is stopped") if permission.code == "stopped" else ""
        return self._stopped

    async def pass_on(self, proposal: Proposal, reason: str, *, agrees: bool) -> None:
        """Have it count where agreements are kept what a person says of a proposal in the call that is handled.

        Where nobody governs, nobody keeps it.

        Raises:
            NotPermittedError: It cannot be agreed to now, as when everything is stopped.
            AetherraError: Who keeps it does not take their word; the cause of a ``HandlerError`` says why.
        """
        intent = self.carrying_out(proposal)
        permission = await self._ctx.peek_permission(intent)
        if permission.code == "needs_approval" and not permission.approval and agrees:
            await self._ask(intent, permission.reason)
            permission = await self._ctx.peek_permission(intent)
        if permission.approval and not (agrees and permission.allowed):
            request = (Approve if agrees else Deny)(permission.approval, reason)
            await self._ctx.call(request)
        elif agrees and not permission.allowed:
            raise NotPermittedError.of(intent, permission)

    async def _ask(self, intent: Intent, why: str) -> str:
        """Have a person asked, even if none were needed any more by now: nothing is begun here that a guard counts."""
        asked = msgspec.structs.replace(intent, needs_approval=intent.needs_approval or why or "a person is to agree")
        try:
            async with self._ctx.permitted(asked) as permit:
                permit.outcome("unchanged", "it was only asked for")
        except NotPermittedError as exc:
            return exc.reason
        return "it was only asked for"


def turning(proposal: Proposal, before: Value, after: Value, why: str, *, undo: bool) -> Intent:
    """Return what leave is asked for to turn a proposal's knob otherwise than to carry it out."""
    return Intent(
        kind="knob",
        component=proposal.knob,
        summary=f"turn {proposal.knob} from {before} to {after} {proposal.unit}".rstrip(),
        digest=_digest(proposal.knob, before, after, proposal.id),
        undo=undo,
        facts={"proposal": proposal.id, "why": why},
    )


def _digest(knob: str, before: Value, after: Value, proposal: str) -> str:
    return hashlib.sha256(msgspec.json.encode([knob, before, after, proposal])).hexdigest()
