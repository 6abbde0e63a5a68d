"""Errands of the corrector: how its corrections are asked for and let be done, as all else that changes something."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from aetherra.plugins import ActionPriority, PluginContext, Request, RestartPlugin, RetryPolicy
from aetherra.plugins.homeostasis.corrector.hands import by_hand
from aetherra.plugins.homeostasis.corrector.messages import BringUp, ReloadPlugin
from aetherra.plugins.homeostasis.decision import Controller, Policy
from aetherra.plugins.homeostasis.gate import Gate
from aetherra.plugins.homeostasis.hold import Hold
from aetherra.plugins.homeostasis.host_policy import CORRECTOR
from aetherra.plugins.homeostasis.leave import Leave

__all__ = ["CORRECTION_SEC", "Errands"]

ReplyT = TypeVar("ReplyT")
CORRECTION_SEC = 600.0
"""Seconds after which a correction is not worth making any more."""


class Errands:
    """Between the corrector and the host.

    Args:
        ctx: Whose queue to use.
        gate: Whether anything may be corrected, by mode and freeze.
        hold: Whether anything may be done at all.
        leave: Whether it may be, by who governs the host.
        policy: The rules of homeostasis, of which one may treat the same.
        controller: Returns what goes by them.
        timeout: Seconds that a correction may take.
    """

    def __init__(
        self,
        ctx: PluginContext,
        gate: Gate,
        hold: Hold,
        leave: Leave,
        policy: Policy,
        controller: Callable[[], Controller],
        timeout: float,
    ) -> None:
        self._ctx = ctx
        self._gate = gate
        self._hold = hold
        self._leave = leave
        self._policy = policy
        self._controller = controller
        self._timeout = timeout

    async def submit(self, request: Request[ReplyT]) -> ReplyT:
        """Have a correction made by way of the queue.

        All of it is answered by homeostasis: what an earlier run has left in the journal is asked about anew.
        """
        if isinstance(request, (ReloadPlugin, RestartPlugin)):
            return cast("ReplyT", await self.submit(BringUp.by(request)))
        return await self._ctx.submit_and_wait(
            request,
            priority=ActionPriority.MAINTENANCE,
            deadline=CORRECTION_SEC,
            timeout=self._timeout,
            retry=RetryPolicy(1),
        )

    @asynccontextmanager
    async def doing(self, request: Request[Any], *, undo: bool = False) -> AsyncGenerator[None]:
        """Do in the body a part of a correction, if the gate and who governs the host let it be done."""
        (self._gate.check_freeze if undo else self._gate.check)(CORRECTOR)
        async with self._leave.use(by_hand(request, undo=undo), request):
            yield

    def held(self) -> str:
        """Say why nothing may be corrected now; ``""`` if it may."""
        return self._gate.why_not(CORRECTOR) or self._hold.why

    def treated(self, plugin: str) -> str:
        """Say which rule brings a failed plugin up, so that the corrector does not as well; ``""`` if none does."""
        if "failed" not in self._policy.rules or self._gate.why_not("reload_plugin"):
            return ""
        symptoms = self._controller().status().symptoms
        given_up = any((each.symptom, each.target, each.phase) == ("failed", plugin, "given_up") for each in symptoms)
        return "" if given_up else "the rule 'failed' of homeostasis, which loads it anew"
