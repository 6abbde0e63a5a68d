"""The incorporator: brings items in by a plan and takes them out again, each under a permit, and minds what waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from aetherra.plugins import (
    AetherraError,
    Intent,
    ListPlugins,
    NoHandlerError,
    NotPermittedError,
    Permit,
    PluginContext,
)
from aetherra.plugins.governance.messages import ApprovalDecided, ListApprovals
from aetherra.plugins.self_incorporation.assessor import Assessor
from aetherra.plugins.self_incorporation.integration.errors import IntegrationError
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator, Integrated
from aetherra.plugins.self_incorporation.integration.intents import History
from aetherra.plugins.self_incorporation.integration.plan import Plan, digest_of
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner, Judged
from aetherra.plugins.self_incorporation.messages import Incorporated, Integration, Planned, TakenOut
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.storage import StateFile

__all__ = ["Incorporator", "PlanChangedError", "Waiting"]

PASSING = frozenset({"stopped", "paused", "guard", "unrecorded"})
"""Why something is not permitted now, and may be later as it is."""


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


class Waiting(msgspec.Struct, frozen=True):
    """A plan that waits for a person.

    Attributes:
        items: What it is for, as it was asked for.
        digest: Of the plan.
        sender: Who has asked for it; ``""`` if nobody has.
        ask_why: Why a person has to agree, beside what the decisions say: asked again so, the approval is used up.
    """

    items: tuple[str, ...]
    digest: str
    sender: str
    ask_why: str = ""


class Incorporator:
    """One plan is made, and one is carried out, at a time.

    Args:
        ctx: Of the plugin that it works in.
        assessor: Knows items and decisions.
        integrator: Does it.
        school: Says in which order, and is told how it ended.
        waiting: What waits for a person, on disk.
        taken_out: Why what was taken out again is not brought in unasked, by the digest of the item, on disk.

    Attributes:
        done: Integrations since the start.
        failed: Those that failed, and were taken back.
        rollbacks: Since the start.
        not_serving: Plugins that were brought in and do not serve, each with the reason.
    """

    def __init__(
        self,
        ctx: PluginContext,
        assessor: Assessor,
        integrator: CoreIntegrator,
        school: School,
        waiting: StateFile[dict[str, Waiting]],
        taken_out: StateFile[dict[str, str]],
    ) -> None:
        self._ctx = ctx
        self._assessor = assessor
        self._integrator = integrator
        self._school = school
        self._file = waiting
        self._waiting: dict[str, Waiting] = waiting.load() or {}
        self._taken_out_file = taken_out
        self._taken_out: dict[str, str] = taken_out.load() or {}
        self.done = self.failed = self.rollbacks = 0
        self.not_serving: dict[str, str] = {}
        self._said: set[str] = set()
        self._failed: dict[str, str] = {}
        self._going_on: set[str] = set()

    # Bringing in

    async def plan(self, items: Sequence[str]) -> tuple[Plan, list[Judged]]:
        """Return a plan for items by name or path, or for all that lie in the incoming folders, and what it is of.

        Raises:
            UnknownItemError: There is no such item, or several have this name.
        """
        judged = await self._assessor.wanted(items)
        planner = IntegrationPlanner(self._school.weigh)
        return planner.plan(judged, await self._integrator.world(), at=self._ctx.clock.time()), judged

    async def rehearse(self, items: Sequence[str]) -> Planned:
        """Make a plan, and say exactly what carrying it out would do."""
        plan, _ = await self.plan(items)
        if not plan.steps:
            return Planned(plan, None)
        try:
            return Planned(plan, await self._integrator.describe(plan))
        except AetherraError as exc:
            return Planned(plan, None, str(exc))

    async def integrate(
        self, items: Sequence[str], *, digest: str = "", sender: str = "", ask_why: str = ""
    ) -> Incorporated:
        """Bring items in: all of them or none; or have it wait for a person.

        Args:
            items: By name or path; for none, those of the incoming folders that were approved.
            digest: Of the plan that it must be; ``""`` for any.
            sender: Who has asked for it, in the words of ``str(Identity)``; ``""`` if nobody has.
            ask_why: Why a person has to agree, beside what the decisions say.

        Raises:
            UnknownItemError: There is no such item, or several have this name.
            PlanChangedError: It is not the plan that was looked at.
            NotPermittedError: It may not be done now, and does not wait for anybody.
            AetherraError: A step failed, and all was taken back.
        """
        plan, judged = await self.plan(items)
        if digest and plan.digest != digest:
            raise PlanChangedError(digest, plan.digest)
        if not plan.steps:
            return Incorporated("", (), why_not=_why_not(plan))
        if items and plan.left_out:
            return Incorporated("", (), why_not=_why_not(plan))
        intent = Intent(
            kind="integration",
            component=plan.component,
            summary=plan.summary,
            digest=plan.digest,
            sender=sender,
            needs_approval="; ".join(filter(None, (plan.needs_approval, ask_why))),
            facts={"steps": len(plan.steps), "risk": max(step.risk for step in plan.steps)},
        )
        digests = {step.digest for step in plan.steps}
        try:
            async with self._ctx.permitted(intent) as permit:
                integrated = await self._carry_out(plan, judged, permit)
                permit.outcome("done", "; ".join(integrated.notes), {"integration": integrated.token})
        except NotPermittedError as exc:
            if exc.code != "needs_approval":
                raise
            self._wait(exc.approval, Waiting(tuple(items), plan.digest, sender, ask_why))
            return Incorporated("", tuple(step.name for step in plan.steps), (), exc.approval, exc.reason)
        self._keep({name: one for name, one in self._waiting.items() if one.digest != plan.digest})
        self._note_taken_out({digest: why for digest, why in self._taken_out.items() if digest not in digests})
        self.done += 1
        self._ctx.log.info("brought in by %s: %s", integrated.token, "; ".join(integrated.notes))
        done = Incorporated(integrated.token, integrated.names, integrated.notes)
        await self._ctx.publish(done)
        return done

    async def _carry_out(self, plan: Plan, judged: Sequence[Judged], permit: Permit) -> Integrated:
        offered = {(one.item.root, one.item.path): one.item for one in judged}
        items = [offered[step.root, step.path] for step in plan.steps]
        try:
            integrated = await self._integrator.integrate(plan, permit)
        except IntegrationError as exc:
            self.failed += 1
            await self._school.note_plan(plan, items, failed=exc.where)
            raise
        await self._school.note_plan(plan, items, failed="")
        return integrated

    async def integrate_incoming(self, ask_why: str) -> tuple[tuple[Incorporated, ...], dict[str, str]]:
        """Bring in what lies in the incoming folders and may come in, each item with those that it needs.

        What was taken out again stays out as it is. What fails, or is refused, is logged once; it is tried again when
        something about it has changed.

        Returns:
            What came of each, and why the other items that lie there stay out, by path; what has not changed since it
            came in is none of either.
        """
        plan, _ = await self.plan(())
        came: list[Incorporated] = []
        kept_out = {one.item: one.text for one in plan.left_out if one.code != "unchanged"}
        steps = {step.path: step for step in plan.steps}
        for group in _groups(plan):
            out = [self._taken_out[steps[path].digest] for path in group if steps[path].digest in self._taken_out]
            if out:
                kept_out |= dict.fromkeys(group, out[0])
                continue
            key = f"{'/'.join(group)} {digest_of([steps[path] for path in group])}"
            if key in self._failed:
                kept_out |= dict.fromkeys(group, f"{self._failed[key]}; it is tried again once something has changed")
                continue
            try:
                came.append(await self.integrate(group, ask_why=ask_why))
            except NotPermittedError as exc:
                kept_out |= dict.fromkeys(group, str(exc))
                if exc.code in PASSING:  # it is its turn again when that is over
                    self._say(f"{exc.code} {exc.reason}", "nothing is brought in: %s", exc)
                    break
                self._failed[key] = str(exc)
                self._say(key, "%s is not brought in: %s", ", ".join(group), exc)
            except AetherraError as exc:
                self._failed[key] = str(exc)
                kept_out |= dict.fromkeys(group, str(exc))
                self._say(key, "%s was not brought in: %s", ", ".join(group), exc)
        return tuple(came), kept_out

    def _say(self, once: str, text: str, *values: object) -> None:
        if once not in self._said:
            self._said.add(once)
            self._ctx.log.warning(text, *values)

    def _note_taken_out(self, taken_out: dict[str, str]) -> None:
        if taken_out != self._taken_out:
            self._taken_out = taken_out
            self._taken_out_file.save(taken_out)

    # Waiting for a person

    @property
    def waiting(self) -> dict[str, tuple[str, ...]]:
        """What waits for an approval, by its id."""
        return {approval: waiting.items for approval, waiting in self._waiting.items()}

    def _wait(self, approval: str, waiting: Waiting) -> None:
        asked = (waiting.items, waiting.sender)
        others = {name: one for name, one in self._waiting.items() if (one.items, one.sender) != asked}
        self._keep({**others, approval: waiting})

    def _forget(self, approval: str) -> None:
        if approval in self._waiting:
            self._keep({name: one for name, one in self._waiting.items() if name != approval})

    def _keep(self, waiting: dict[str, Waiting]) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            self._file.save(waiting)

    async def hear(self, told: ApprovalDecided) -> None:
        """Go on with what a person has agreed to; forget what they have not."""
        approval = told.approval
        waiting = self._waiting.get(approval.id)
        if waiting is None:
            return
        if approval.state == "approved":
            await self._go_on(approval.id, waiting)
        else:
            self._forget(approval.id)

    async def catch_up(self) -> None:
        """Go on with what was agreed to while nobody was here to hear it, and forget what nobody agreed to."""
        if not self._waiting:
            return
        try:
            told = await self._ctx.call(ListApprovals(limit=10_000))
        except NoHandlerError:
            return
        known = {approval.id: approval for approval in told.approvals}
        for name, waiting in list(self._waiting.items()):
            state = known[name].state if name in known else "void"
            if state == "approved":
                await self._go_on(name, waiting)
            elif state != "pending":
                self._forget(name)

    async def _go_on(self, approval: str, waiting: Waiting) -> None:
        """Do what was agreed to, once; while it may not be done now it goes on waiting."""
        if approval in self._going_on:
            return
        self._going_on.add(approval)
        try:
            done = await self.integrate(
                waiting.items, digest=waiting.digest, sender=waiting.sender, ask_why=waiting.ask_why
            )
            if done.why_not:
                self._ctx.log.warning("what was agreed to is not done: %s", done.why_not)
        except AetherraError as exc:
            self._say(f"{approval} {exc}", "what was agreed to could not be done: %s", exc)
            if isinstance(exc, NotPermittedError) and exc.code in PASSING:
                return
        finally:
            self._going_on.discard(approval)
        self._forget(approval)

    # Taking out

    async def take_out(self, token: str, *, reason: str, sender: str = "", automatic: bool = False) -> TakenOut:
        """Put everything back to what it was before an integration.

        Raises:
            UnknownTokenError: There is none of that name.
            RollbackRefusedError: Something needs it, somebody has changed its files, or it was rolled back already.
            NotPermittedError: It may not be done now.
        """
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
        out = [one.digest for one in self._integrator.registered.values() if one.token == token]
        async with self._ctx.permitted(intent) as permit:
            back = await self._integrator.trigger_rollback(token, permit, reason=reason)
            permit.outcome("done", "; ".join(back.left))
        self.rollbacks += 1
        why = f"it was taken out: {reason}; it comes in again when somebody asks for it by name, or it has changed"
        self._note_taken_out({**self._taken_out, **dict.fromkeys(out, why)})
        for name in names:
            self.not_serving.pop(name, None)
        self._ctx.log.info("taken out: %s: %s", ", ".join(back.names), reason)
        taken = TakenOut(token, back.names, back.left, reason, automatic)
        await self._ctx.publish(taken)
        return taken

    async def look_after(self, seconds: float) -> None:
        """Take out again what was brought in within so many seconds and does not serve."""
        await self._look()
        now = self._ctx.clock.time()
        begun = {one.token: one.begun.at for one in self._integrator.integrations()}
        for name, reason in list(self.not_serving.items()):
            token = self._integrator.token_of(name)
            if token and now - begun.get(token, -math.inf) < seconds:
                try:
                    await self.take_out(token, reason=f"{name} does not serve: {reason}", automatic=True)
                except AetherraError as exc:
                    self._say(f"{token} {exc}", "%s does not serve, and is not taken out: %s", name, exc)

    async def _look(self) -> None:
        """See which of the plugins that were brought in serve."""
        plugins = {info.name: info for info in (await self._ctx.call(ListPlugins())).plugins}
        self.not_serving = {}
        for name, registered in self._integrator.registered.items():
            if registered.action != "load_plugin":
                continue
            info = plugins.get(name)
            if info is None:
                self.not_serving[name] = "it was not brought up"
            elif info.state in ("failed", "quarantined"):
                self.not_serving[name] = info.reason or info.state
        for name in await self._integrator.strayed():
            self.not_serving[name] = "earlier code of it was brought back"

    # What there is

    def integrations(self, limit: int) -> tuple[Integration, ...]:
        """Return the integrations that are remembered, the latest first."""
        return tuple(_told(one) for one in reversed(self._integrator.integrations()[-limit:]))


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


def _groups(plan: Plan) -> list[tuple[str, ...]]:
    """Return the paths of each step's item with those of the steps that it needs, which come first."""
    steps = {step.number: step for step in plan.steps}
    groups: list[tuple[str, ...]] = []
    needed: set[int] = set()
    for step in reversed(plan.steps):
        if step.number in needed:
            continue
        closure: set[int] = set()
        pending = [step.number]
        while pending:
            number = pending.pop()
            if number not in closure:
                closure.add(number)
                pending.extend(steps[number].after)
        needed |= closure
        groups.append(tuple(steps[number].path for number in sorted(closure)))
    return groups[::-1]
