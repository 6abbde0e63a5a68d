"""The consumer of proposals: turns knobs where that is allowed, and answers with what came of it."""

from __future__ import annotations

from typing import Literal

from aetherra.plugins import (
    AetherraError,
    HandlerError,
    KnobChangedError,
    KnobError,
    NoHandlerError,
    NotPermittedError,
    Permit,
    PluginContext,
    ServiceUnavailableError,
    SetKnob,
    UnknownKnobError,
)
from aetherra.plugins.homeostasis.messages import GetFreeze, ListActuators
from aetherra.plugins.self_improvement.agreements import Agreements, turning
from aetherra.plugins.self_improvement.messages import ProposalReceipt, ProposalResult
from aetherra.plugins.self_improvement.proposals import Proposal, Value, same_value
from aetherra.plugins.self_improvement.settings import Mode

__all__ = ["Consumer"]

PATIENCE = 30.0
"""Seconds that setting a knob may take."""
Status = Literal["applied", "undone", "failed", "refused", "superseded"]


class Consumer:
    """Carries proposals out and takes them back, by ``kernel.set_knob`` alone.

    A knob is set only if it still is what the proposal says: what somebody else has turned meanwhile is theirs. Who
    governs the host is asked before each turn, and told after it. What homeostasis has turned is left alone until that
    is taken back.

    Args:
        ctx: Of the plugin that it works in.
        agreements: What persons have agreed to, and who governs the host lets be done.
        mode: ``act``: all but those of high impact are carried out at once; ``propose``: none before it is approved;
            ``off``: none.
    """

    def __init__(self, ctx: PluginContext, agreements: Agreements, mode: Mode) -> None:
        self._ctx = ctx
        self._agreements = agreements
        self._mode: Mode = mode

    async def carry_out(self, proposal: Proposal, sender: str = "") -> ProposalReceipt:
        """Turn the knob, tell who governs, and send the result; or say why not now, or not at all.

        Looked at in this order: whether anything is carried out now; what who governs says of guards and of the sender;
        what is proposed; whether its time is over; whether a person must agree first.
        """
        if proposal.state not in ("proposed", "waiting_approval", "approved"):
            return ProposalReceipt(proposal.id, "refused", f"it is {proposal.state} already")
        if self._mode == "off":
            return ProposalReceipt(proposal.id, "held", "self-improvement is off by its settings")
        intent = self._agreements.carrying_out(proposal, sender)
        unmet = "" if proposal.state == "approved" else intent.needs_approval
        if why_not := await self.why_not(proposal.knob) or ("" if unmet else await self._agreements.why_not(intent)):
            return ProposalReceipt(proposal.id, "held", why_not)
        if not proposal.way_back:
            return await self._refuse(proposal, f"knob {proposal.knob!r} has no way back")
        if proposal.is_due(self._ctx.clock.time()):
            return await self._refuse(proposal, "it has expired")
        if unmet:
            return ProposalReceipt(proposal.id, "held", unmet)
        why = f"proposal {proposal.id}: {proposal.rationale}"
        try:
            async with self._ctx.permitted(intent) as permit:
                status, value, reason = await self._turn(proposal.knob, proposal.before, proposal.after, why)
                if status == "failed" and value is not None and not same_value(value, proposal.before):
                    reason += await self._put_back(proposal.knob, proposal.before, value)
                _tell(permit, status, value, reason)
        except NotPermittedError as exc:
            return ProposalReceipt(proposal.id, "held", exc.reason)
        return await self._answer(proposal, "applied" if status == "done" else status, value, reason)

    async def take_back(self, proposal: Proposal, why: str) -> ProposalReceipt:
        """Set the knob to what it was, unless somebody else has turned it since, and send the result.

        While changes are frozen or stopped, or homeostasis holds the knob, it is held: that goes for ways back as well.
        """
        if proposal.state not in ("applied", "kept"):
            return ProposalReceipt(proposal.id, "refused", f"it is {proposal.state}: there is nothing to take back")
        intent = turning(proposal, proposal.after, proposal.before, why, undo=True)
        if why_not := await self.why_not(proposal.knob) or await self._agreements.why_not(intent):
            return ProposalReceipt(proposal.id, "held", why_not)
        why = f"proposal {proposal.id} is taken back: {why}"
        try:
            async with self._ctx.permitted(intent) as permit:
                status, value, reason = await self._turn(proposal.knob, proposal.after, proposal.before, why)
                _tell(permit, status, value, reason)
        except NotPermittedError as exc:
            return ProposalReceipt(proposal.id, "held", exc.reason)
        return await self._answer(proposal, "undone" if status == "done" else status, value, reason)

    async def stand_by(self, proposal: Proposal, original: Value) -> bool:
        """Set what was kept once more, where the knob is ``original`` again, as after a start; whether it was set.

        Raises:
            HandlerError: The knob is not there, is not ``original``, or could not be set.
        """
        why = f"proposal {proposal.id} is kept"
        intent = turning(proposal, original, proposal.after, why, undo=False)
        if self._mode == "off" or await self.why_not(proposal.knob) or await self._agreements.why_not(intent):
            return False
        try:
            async with self._ctx.permitted(intent):
                await self._ctx.call(SetKnob(proposal.knob, proposal.after, original, why), timeout=PATIENCE)
        except NotPermittedError:
            return False
        return True

    async def held(self) -> dict[str, str]:
        """Return the knobs that homeostasis has turned and not taken back, each with why it is to be left alone."""
        try:
            actuators = (await self._ctx.call(ListActuators(), timeout=PATIENCE)).actuators
        except NoHandlerError:
            return {}
        return {knob: f"homeostasis holds {knob} by {one.name!r}" for one in actuators for knob in one.holds}

    async def why_not(self, knob: str) -> str:
        """Return why a knob must not be turned now, whatever for; ``""`` if it may."""
        return await self._frozen() or (await self.held()).get(knob, "")

    async def _frozen(self) -> str:
        """Return why nothing may be changed: somebody has frozen it, or who keeps that does not serve; else ``""``."""
        try:
            state = await self._ctx.call(GetFreeze(), timeout=PATIENCE)
        except ServiceUnavailableError as exc:
            return f"nobody can say whether changes are frozen: {exc}"
        except NoHandlerError:
            return ""
        return f"changes are frozen by {state.by}: {state.reason}" if state.frozen else ""

    async def _turn(
        self, knob: str, expected: Value, value: Value, why: str
    ) -> tuple[Literal["done", "failed", "superseded"], Value | None, str]:
        try:
            done = await self._ctx.call(SetKnob(knob, value, expected, why), timeout=PATIENCE)
        except HandlerError as exc:
            fault = exc.__cause__
            if isinstance(fault, KnobChangedError):
                return "superseded", fault.actual, str(fault)
            if isinstance(fault, UnknownKnobError):
                return "superseded", None, str(fault)
            return "failed", fault.after if isinstance(fault, KnobError) else None, str(fault or exc)
        return "done", done.after, ""

    async def _put_back(self, knob: str, before: Value, stands: Value) -> str:
        """Set a knob to what it was, as a write that failed has moved it; return what came of that, for the reason."""
        why = f"to {stands} it was set by a write that failed"
        try:
            done = await self._ctx.call(SetKnob(knob, before, stands, why), timeout=PATIENCE)
        except AetherraError as exc:
            fault = exc.__cause__
            now = fault.after if isinstance(fault, KnobError) and fault.after is not None else stands
            return f"; it stands at {now}, and could not be set back to {before}: {fault or exc}"
        return f"; it stood at {stands}, and was set back to {done.after}"

    async def _refuse(self, proposal: Proposal, why: str) -> ProposalReceipt:
        return await self._answer(proposal, "refused", None, why)

    async def _answer(self, proposal: Proposal, status: Status, value: Value | None, why: str) -> ProposalReceipt:
        await self._ctx.call(ProposalResult(proposal.id, status, value, why), timeout=PATIENCE)
        refused = status == "refused"
        return ProposalReceipt(proposal.id, "refused" if refused else "taken", why)


def _tell(permit: Permit, status: Literal["done", "failed", "superseded"], value: Value | None, reason: str) -> None:
    outcome: Literal["unchanged", "failed", "done"] = "unchanged" if status == "superseded" else status
    permit.outcome(outcome, reason, {} if value is None else {"value": value})
