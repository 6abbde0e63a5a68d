"""The incorporator: brings items in by a plan, and takes them out again, each under a permit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import TypeVar

import anyio
from msgspec.structs import replace

from aetherra.plugins import AetherraError, DataFileError, Intent, NotPermittedError, Permit, PluginContext
from aetherra.plugins.self_incorporation.assessor import Assessor
from aetherra.plugins.self_incorporation.gate.item import Item, unnamed
from aetherra.plugins.self_incorporation.integration.describe import Effect
from aetherra.plugins.self_incorporation.integration.errors import StepFailedError
from aetherra.plugins.self_incorporation.integration.given import AllSettings, hidden, masked, misfits, refuse_stray
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator, Integrated
from aetherra.plugins.self_incorporation.integration.intents import History
from aetherra.plugins.self_incorporation.integration.plan import Concern, Plan, Step
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner, Judged
from aetherra.plugins.self_incorporation.integration.registrations import Registration
from aetherra.plugins.self_incorporation.kept_out import KeptOut
from aetherra.plugins.self_incorporation.messages import Incorporated, Integration, Planned, TakenOut
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.self_incorporation.waiting import Awaited, Waiting, WaitingList

__all__ = ["PASSING", "Incorporator", "PlanChangedError"]

PASSING = frozenset({"stopped", "paused", "guard", "unrecorded", "refused"})
"""Why something is not permitted now, and may be later as it is."""


WithSettingsT = TypeVar("WithSettingsT", Step, Effect)


class PlanChangedError(AetherraError, RuntimeError):
    """What would be done now is not the plan that somebody has looked at, or has agreed to; nothing was done."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found

    def __str__(self) -> str:
        return (
            f"expected the plan {self.expected[:12]}, and what would be done now is {self.found[:12]}: "
            "look at it again by 'aetherra incorporate plan'"
        )


class Incorporator:
    """One integration, or way back, at a time, from its plan to its end; others wait for their turn.

    Args:
        ctx: Of the plugin that it works in.
        assessor: Knows items and decisions.
        integrator: Does it.
        school: Says in which order, and is told how it ended.
        waiting: What waits for a person.
        kept_out: What was taken out again.

    Attributes:
        done: Integrations since the start.
        failed: Those of which a step failed, and all was taken back.
        rollbacks: Since the start.
        asking: The digest of the plan that governance is asked about now; ``""`` if it is asked about none.
    """

    def __init__(
        self,
        ctx: PluginContext,
        assessor: Assessor,
        integrator: CoreIntegrator,
        school: School,
        waiting: WaitingList,
        kept_out: KeptOut,
    ) -> None:
        self._ctx = ctx
        self._assessor = assessor
        self._integrator = integrator
        self._school = school
        self._waiting = waiting
        self._kept_out = kept_out
        self._turn = anyio.Lock()
        self.done = self.failed = self.rollbacks = 0
        self.asking = ""

    # Bringing in

    async def plan(
        self, items: Sequence[str], settings: AllSettings | None = None, *, anew: bool = True
    ) -> tuple[Plan, list[Judged]]:
        """Return a plan for items by name or path, or for all that lie in the incoming folders, and what it is of.

        Args:
            items: By name or path; none for all of the incoming folders.
            settings: What plugins are to be loaded with, by name, in place of the configuration's.
            anew: Whether they are judged as they lie there now, though there are decisions about them that hold.

        Raises:
            UnknownItemError: There is no such item, or several have this name.
            StraySettingsError: There are settings for what is no plugin among them.
        """
        judged = await self._assessor.wanted(items, anew=anew)
        planner = IntegrationPlanner(self._school.weigh)
        world = await self._integrator.world()
        at = self._ctx.clock.time()
        refuse_stray(settings or {}, judged)

        def make(*, beside: Callable[[Plan], Sequence[Concern]]) -> Plan:
            return planner.plan(
                judged,
                world,
                at=at,
                settings=settings,
                named=bool(items),
                beside=lambda plan: [*beside(plan), *misfits(plan)],
            )

        return await self._assessor.plan(make, judged, world, self._integrator.destination), judged

    async def rehearse(self, items: Sequence[str], settings: AllSettings | None = None) -> Planned:
        """Make a plan, and say exactly what carrying it out would do.

        Of settings that are not given with it, as those that a plugin came in with, it tells the names alone.
        """
        plan, _ = await self.plan(items, settings)
        told = replace(plan, steps=_hiding(plan.steps, settings or {}))
        if not plan.steps:
            return Planned(told, None)
        try:
            would = await self._integrator.describe(plan)
        except AetherraError as exc:
            return Planned(told, None, str(exc))
        return Planned(told, replace(would, effects=_hiding(would.effects, settings or {})))

    async def integrate(
        self,
        items: Sequence[str],
        *,
        settings: AllSettings | None = None,
        digest: str | None = None,
        sender: str = "",
        ask_why: str = "",
        careful: bool = False,
    ) -> Incorporated:
        """Bring items in: all of them or none; or have it wait for a person.

        What is brought in is told as brought in, whatever else cannot be written or learnt of it.

        Args:
            items: By name or path; for none, those of the incoming folders that were approved.
            settings: What plugins are to be loaded with, by name, in place of the configuration's. They are in no text
                that is recorded or told.
            digest: Of the plan that it must be; ``None`` for any.
            sender: Who has asked for it, in the words of ``str(Identity)``; ``""`` if nobody has.
            ask_why: Why a person has to agree, beside what the decisions say.
            careful: Whether it rather waits than breach a guard, as nobody has asked for it now.

        Raises:
            UnknownItemError: There is no such item, or several have this name.
            StraySettingsError: There are settings for what is no plugin among them.
            PlanChangedError: It is not the plan that was looked at.
            NotPermittedError: It may not be done now, and does not wait for anybody.
            StepFailedError: A step failed, and all was taken back.
            AetherraError: It could not be begun.
        """
        async with self._turn:
            asked = Waiting(tuple(items), sender, ask_why, settings=dict(settings or {}))
            done = await self._integrate(asked, digest, careful=careful)
        if done.token:
            self._ctx.log.info("brought in by %s: %s", done.token, "; ".join(done.notes))
            await self._ctx.publish(done)
        return done

    async def _integrate(self, asked: Waiting, digest: str | None, *, careful: bool) -> Incorporated:
        plan, judged = await self.plan(asked.items, asked.settings)
        if digest is not None and plan.digest != digest:
            raise PlanChangedError(digest, plan.digest)
        if not plan.steps or (asked.items and plan.left_out):
            return Incorporated("", (), why_not=_why_not(plan))
        self._integrator.refuse_unknown(step.name for step in plan.steps)
        offered = {(one.item.root, one.item.path): one.item for one in judged}
        planned = [offered[step.root, step.path] for step in plan.steps]
        intent = Intent(
            kind="integration",
            component=plan.component,
            summary=plan.summary,
            digest=plan.digest,
            sender=asked.sender,
            needs_approval="; ".join(filter(None, (plan.needs_approval, asked.ask_why))),
            facts={"steps": len(plan.steps), "risk": max(step.risk for step in plan.steps)},
        )
        if careful:
            await self._refuse_now(intent)
        asked = replace(asked, of=tuple(map(Awaited.of, plan.steps)))
        self.asking = plan.digest
        try:
            return await self._ask(plan, planned, intent, asked)
        finally:
            self.asking = ""

    async def _ask(self, plan: Plan, items: Sequence[Item], intent: Intent, asked: Waiting) -> Incorporated:
        """Ask for leave with the plan on the list of what waits, and carry it out."""
        waited = self._waiting.get(plan.digest)
        waiting = replace(asked, approval=waited.approval if waited is not None else "")
        await self._ctx.run_sync(self._waiting.put, plan.digest, waiting)  # a kill from here on loses nothing
        approval = ""
        try:
            async with self._ctx.permitted(intent) as permit:
                approval = permit.approval
                integrated = await self._carry_out(plan, items, permit)
        except NotPermittedError as exc:
            if exc.code == "needs_approval":
                await self._ctx.run_sync(self._waiting.put, plan.digest, replace(asked, approval=exc.approval))
                return Incorporated("", tuple(step.name for step in plan.steps), (), exc.approval, exc.reason)
            if exc.code not in PASSING or waited is None:
                await self._write("the list of what waits", partial(self._waiting.take, plan.digest))
            raise
        except AetherraError as exc:
            if approval and not isinstance(exc, StepFailedError):
                raise  # what a person has agreed to was not begun: they are asked again
            await self._write("the list of what waits", partial(self._waiting.take, plan.digest))
            raise
        return Incorporated(integrated.token, integrated.names, integrated.notes)

    async def _refuse_now(self, intent: Intent) -> None:
        """Raise what would be said if this were asked for now, where that is for a while alone."""
        now = await self._ctx.peek_permission(intent)
        if not now.allowed and now.code in PASSING:
            raise NotPermittedError.of(intent, now)

    async def _carry_out(self, plan: Plan, items: Sequence[Item], permit: Permit) -> Integrated:
        try:
            integrated = await self._integrator.integrate(plan, permit)
        except StepFailedError as exc:
            self.failed += 1
            await self._school.note_plan(plan, items, failed=exc.where)
            raise
        self.done += 1
        permit.outcome("done", "; ".join(integrated.notes), {"integration": integrated.token})
        with anyio.CancelScope(shield=True):  # it is done, and stays
            await self._write("the list of what waits", partial(self._waiting.take, plan.digest))
            asked_for = [step.digest for step in plan.steps]
            await self._write("what was taken out before", partial(self._kept_out.let_in, asked_for))
            await self._school.note_plan(plan, items, failed="")
            await self._school.note_kinds(items)
        return integrated

    async def _write(self, what: str, function: Callable[[], None]) -> None:
        try:
            await self._ctx.run_sync(function)
        except DataFileError as exc:
            self._ctx.log.error("%s cannot be written: %s", what, exc)  # noqa: TRY400 - the text says it all

    # Taking out

    async def take_out(self, token: str, *, reason: str, sender: str = "", automatic: bool = False) -> TakenOut:
        """Put everything back to what it was before an integration.

        Raises:
            UnknownTokenError: There is none of that name.
            RollbackRefusedError: Something needs it, somebody has changed its files, or it was rolled back already.
            NotPermittedError: It may not be done now.
        """
        async with self._turn:
            try:
                taken = await self._take_out(token, reason, sender, automatic=automatic)
            except NotPermittedError as exc:
                if exc.code != "needs_approval" or automatic:
                    raise
                why = f"{exc.reason}; once they have, roll it back again, as nothing does by itself"
                raise NotPermittedError(exc.kind, exc.component, exc.code, why, exc.approval) from exc
        self._ctx.log.info("taken out: %s: %s", ", ".join(taken.names), reason)
        await self._ctx.publish(taken)
        return taken

    async def _take_out(self, token: str, reason: str, sender: str, *, automatic: bool) -> TakenOut:
        await self._integrator.check_rollback(token)  # what cannot be done is no way back that a guard counts
        came = [one for one in self._integrator.registered.values() if one.token == token]
        reason = masked(reason, *(one.settings for one in came))
        names = next((one.begun.names for one in self._integrator.integrations() if one.token == token), ())
        intent = Intent(
            kind="rollback",
            component=", ".join(names) or token,
            summary=f"take out {', '.join(names) or token}: {reason}",
            digest=sha256(f"rollback {token}".encode()).hexdigest(),
            sender=sender,
            undo=True,
            facts={"integration": token, "automatic": automatic},
        )
        out = [one.digest for one in came] + [unnamed(one.files.values()) for one in came if one.files]
        why = f"it was taken out: {reason}; it comes in again when somebody asks for it by name, or it has changed"
        async with self._ctx.permitted(intent) as permit:
            back = await self._integrator.trigger_rollback(token, permit, reason=reason)
            self.rollbacks += 1
            permit.outcome("done", "; ".join(back.left))
            with anyio.CancelScope(shield=True):  # it is out, and stays out
                await self._write("what was taken out", partial(self._kept_out.add, out, why))
        return TakenOut(token, back.names, back.left, reason, automatic)

    # What there is

    def integrations(self, limit: int) -> tuple[Integration, ...]:
        """Return the integrations that are remembered, the latest first."""
        return tuple(_told(one) for one in reversed(self._integrator.integrations()[-limit:]))

    @property
    def registered(self) -> dict[str, Registration]:
        """What was brought in and is there, by name, with the names of its settings alone."""
        there = self._integrator.registered
        return {name: replace(one, settings=hidden(one.settings)) for name, one in there.items()}

    @property
    def waiting(self) -> dict[str, tuple[str, ...]]:
        """What waits for an approval, by its id."""
        return {one.approval: one.items for one in self._waiting.all().values() if one.approval}


def _hiding(those: Sequence[WithSettingsT], given: AllSettings) -> tuple[WithSettingsT, ...]:
    return tuple(one if one.name in given else replace(one, settings=hidden(one.settings)) for one in those)


def _told(history: History) -> Integration:
    return Integration(
        token=history.token,
        at=history.begun.at,
        names=history.begun.names,
        summary=history.begun.summary,
        stage=history.stage,
        reason=history.reason,
        left=history.left,
    )


def _why_not(plan: Plan) -> str:
    return "; ".join(f"{one.name or one.item}: {one.text}" for one in plan.left_out) or "there is nothing to bring in"
