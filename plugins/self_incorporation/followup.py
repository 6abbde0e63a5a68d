"""The follow-up: goes on with what a person has agreed to, now or while nobody was here to hear it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from aetherra.plugins import AetherraError, Intent, NoHandlerError, NotPermittedError, PluginContext
from aetherra.plugins.governance.messages import ApprovalDecided, ListApprovals
from aetherra.plugins.self_incorporation.assessor import UnknownItemError
from aetherra.plugins.self_incorporation.incorporator import PASSING, Incorporator, PlanChangedError
from aetherra.plugins.self_incorporation.once import Once
from aetherra.plugins.self_incorporation.waiting import Waiting, WaitingList

__all__ = ["FollowUp"]

MOST_APPROVALS = 10_000
"""Approvals that are asked for at a time."""


class FollowUp:
    """What was agreed to is done once. While it may not be done it goes on waiting.

    Where it could not be begun, and the approval was used up, a person is asked again.

    What nobody agrees to, or is another plan by now, is waited for no more.

    Args:
        ctx: Of the plugin that it works in.
        incorporator: Does it.
        waiting: What waits.
    """

    def __init__(self, ctx: PluginContext, incorporator: Incorporator, waiting: WaitingList) -> None:
        self._ctx = ctx
        self._incorporator = incorporator
        self._waiting = waiting
        self._going_on: set[str] = set()
        self._once = Once(ctx.log)

    async def hear(self, told: ApprovalDecided) -> None:
        """Act on a person's decision."""
        if self._waiting.get(told.approval.digest) is not None:
            await self._act_on([told.approval.digest])

    async def catch_up(self) -> None:
        """Act on all decisions about what waits."""
        await self._act_on(list(self._waiting.all()))
        self._once.keep({"", *self._waiting.all()})

    async def _act_on(self, digests: Sequence[str]) -> None:
        asked_about_now = self._incorporator.asking
        if not digests:
            return
        try:
            told = await self._ctx.call(ListApprovals(limit=MOST_APPROVALS))
        except NoHandlerError:
            return
        except AetherraError as exc:
            self._once.say("", type(exc).__name__, "it is not known what was agreed to meanwhile: %s", exc)
            return
        for digest in digests:
            ours = [one for one in told.approvals if one.asker == self._ctx.name and one.digest == digest]
            approved = next((one for one in ours if one.state == "approved"), None)
            pending = next((one for one in ours if one.state == "pending"), None)
            waiting = self._waiting.get(digest)
            if waiting is None:
                continue
            used = ours[0] if ours and ours[0].state == "used" else None
            if one := approved or (pending is None and used) or None:
                intent = Intent(
                    kind=one.kind,
                    component=one.component,
                    summary=one.summary,
                    digest=digest,
                    sender=one.sender,
                )
                await self._go_on(intent, waiting)
            elif pending is not None and pending.id != waiting.approval:
                await self._ctx.run_sync(self._waiting.put, digest, replace(waiting, approval=pending.id))
            elif pending is None and digest not in (asked_about_now, self._incorporator.asking):
                await self._forget(digest)

    async def _go_on(self, intent: Intent, waiting: Waiting) -> None:
        digest = intent.digest
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
            self._ctx.log.warning("what was agreed to is not done: %s", exc)
            await self._forget(digest)
        except AetherraError as exc:
            self._once.say(digest, type(exc).__name__, "what was agreed to could not be done: %s", exc)
        else:
            if not done.token and not done.approval:
                self._ctx.log.warning("what was agreed to is not done: %s", done.why_not)
                await self._forget(digest)
        finally:
            self._going_on.discard(digest)

    async def _forget(self, digest: str) -> None:
        try:
            await self._ctx.run_sync(self._waiting.take, digest)
        except AetherraError as exc:
            self._ctx.log.error("the list of what waits cannot be written: %s", exc)  # noqa: TRY400 - it says it all
