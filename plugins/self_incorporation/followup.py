"""The follow-up: goes on with what a person has agreed to, now or while nobody was here to hear it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from aetherra.plugins import AetherraError, Intent, NoHandlerError, NotPermittedError, PluginContext
from aetherra.plugins.governance.messages import ApprovalDecided, ListApprovals, Withdraw
from aetherra.plugins.self_incorporation.assessor import Assessor, UnknownItemError
from aetherra.plugins.self_incorporation.incorporator import PASSING, Incorporator, PlanChangedError
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.once import Once
from aetherra.plugins.self_incorporation.waiting import Waiting, WaitingList

__all__ = ["FollowUp"]

MOST_APPROVALS = 10_000
"""Approvals that are asked for at a time."""


class _Question(NamedTuple):
    """What a person is asked about, and how far that is."""

    approval: str
    state: str
    intent: Intent


class FollowUp:
    """What was agreed to is done once. While it may not be done it goes on waiting.

    Where it could not be begun, and the approval was used up, a person is asked again.

    What nobody agrees to, or is another plan by now, is waited for no more. Nor is what came in otherwise, is gone, or
    has changed: nobody is asked about it any longer.

    Args:
        ctx: Of the plugin that it works in.
        assessor: Knows items.
        incorporator: Does it.
        integrator: Knows what came in.
        waiting: What waits.
    """

    def __init__(
        self,
        ctx: PluginContext,
        assessor: Assessor,
        incorporator: Incorporator,
        integrator: CoreIntegrator,
        waiting: WaitingList,
    ) -> None:
        self._ctx = ctx
        self._assessor = assessor
        self._incorporator = incorporator
        self._integrator = integrator
        self._waiting = waiting
        self._going_on: set[str] = set()
        self._once = Once(ctx.log)

    async def hear(self, told: ApprovalDecided) -> None:
        """Act on a person's decision."""
        if self._waiting.get(told.approval.digest) is not None:
            asked_about_now = self._incorporator.asking
            questions = await self._questions()
            if questions is not None:
                await self._act_on([told.approval.digest], questions, asked_about_now)

    async def catch_up(self) -> None:
        """Act on all decisions about what waits, and have void what nobody waits for."""
        asked_about_now, digests = self._incorporator.asking, list(self._waiting.all())
        questions = await self._questions()
        if questions is not None:
            why = await self._let_go()
            await self._withdraw_others(questions, why)
            await self._act_on(digests, questions, asked_about_now)
        self._once.keep({"", *self._waiting.all()})

    async def _questions(self) -> list[_Question] | None:
        """Return what was asked about integrations, the latest first; None if nobody can tell."""
        try:
            told = await self._ctx.call(ListApprovals(limit=MOST_APPROVALS))
        except NoHandlerError:
            return None
        except AetherraError as exc:
            self._once.say("", type(exc).__name__, "it is not known what was agreed to meanwhile: %s", exc)
            return None
        return [
            _Question(
                one.id,
                one.state,
                Intent(
                    kind=one.kind,
                    component=one.component,
                    summary=one.summary,
                    digest=one.digest,
                    sender=one.sender,
                ),
            )
            for one in told.approvals
            if one.asker == self._ctx.name and one.kind == "integration"
        ]

    async def _let_go(self) -> dict[str, str]:
        """Wait no more for what cannot come in as it was asked for, and return why, by the digest of the plan."""
        found: dict[str, str] = {}
        for digest, waiting in self._waiting.all().items():
            why = await self._overtaken(waiting)
            if why and not self._is_in_hand(digest):
                self._ctx.log.info("%s is waited for no more: %s", ", ".join(one.name for one in waiting.of), why)
                found[digest] = why
                await self._forget(digest)
        return found

    async def _overtaken(self, waiting: Waiting) -> str:
        for one in waiting.of:
            registered = self._integrator.registered.get(one.name)
            if registered is not None and registered.digest == one.digest != one.replaces:
                return f"{one.name} came in meanwhile, by {registered.token}"
            try:
                if why := await self._assessor.overtaken(one.root, one.path, one.digest):
                    return why
            except AetherraError as exc:
                self._once.say("", type(exc).__name__, "it is not known whether what waits is still there: %s", exc)
        return ""

    def _is_in_hand(self, digest: str) -> bool:
        return digest == self._incorporator.asking or digest in self._going_on

    async def _withdraw_others(self, questions: Sequence[_Question], why: Mapping[str, str]) -> None:
        came = {one.begun.plan: one.token for one in self._integrator.integrations() if one.stage == "committed"}
        for one in questions:
            digest = one.intent.digest
            is_open = one.state in ("pending", "approved")
            if is_open and self._waiting.get(digest) is None and not self._is_in_hand(digest):
                otherwise = (
                    f"it came in meanwhile, by {came[digest]}" if digest in came else "nobody waits for it any more"
                )
                await self._withdraw(one, why.get(digest, otherwise))

    async def _withdraw(self, question: _Question, why: str) -> None:
        try:
            await self._ctx.call(Withdraw(question.approval, why))
        except AetherraError as exc:
            self._ctx.log.info("approval %s is not withdrawn: %s", question.approval, exc)

    async def _act_on(self, digests: Sequence[str], questions: Sequence[_Question], asked_about_now: str) -> None:
        for digest in digests:
            ours = [one for one in questions if one.intent.digest == digest]
            approved = next((one for one in ours if one.state == "approved"), None)
            pending = next((one for one in ours if one.state == "pending"), None)
            waiting = self._waiting.get(digest)
            if waiting is None:
                continue
            used = ours[0] if ours and ours[0].state == "used" else None
            if one := approved or (pending is None and used) or None:
                await self._go_on(one, waiting)
            elif pending is not None and pending.approval != waiting.approval:
                await self._ctx.run_sync(self._waiting.put, digest, replace(waiting, approval=pending.approval))
            elif pending is None and digest not in (asked_about_now, self._incorporator.asking):
                await self._forget(digest)

    async def _go_on(self, question: _Question, waiting: Waiting) -> None:
        intent, digest = question.intent, question.intent.digest
        if digest in self._going_on:
            return
        self._going_on.add(digest)
        try:
            now = await self._ctx.peek_permission(intent)
            if not now.allowed and now.code in PASSING:  # before anything is judged for it
                self._once.say(digest, now.code, "what was agreed to is not done now: %s", now.reason)
                return
            done = await self._incorporator.integrate(
                waiting.items,
                settings=waiting.settings,
                digest=digest,
                sender=intent.sender,
                ask_why=waiting.ask_why,
                careful=True,
            )
        except NotPermittedError as exc:
            self._once.say(digest, exc.code, "what was agreed to is not done: %s", exc)
        except (PlanChangedError, UnknownItemError) as exc:
            await self._give_up(question, str(exc))
        except AetherraError as exc:
            self._once.say(digest, type(exc).__name__, "what was agreed to could not be done: %s", exc)
        else:
            if not done.token and not done.approval:
                await self._give_up(question, done.why_not)
        finally:
            self._going_on.discard(digest)

    async def _give_up(self, question: _Question, why: str) -> None:
        self._ctx.log.warning("what was agreed to is not done: %s", why)
        await self._forget(question.intent.digest)
        if question.state == "approved":
            await self._withdraw(question, why)

    async def _forget(self, digest: str) -> None:
        try:
            await self._ctx.run_sync(self._waiting.take, digest)
        except AetherraError as exc:
            self._ctx.log.error("the list of what waits cannot be written: %s", exc)  # noqa: TRY400 - it says it all
