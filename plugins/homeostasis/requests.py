"""Requests for acts, whoever makes them: what was decided comes by the queue, the rest from whom it may."""

from __future__ import annotations

from aetherra.plugins import NotPermittedError, PluginContext, Reject, current_action
from aetherra.plugins.homeostasis.acts import Acts
from aetherra.plugins.homeostasis.actuators import ActuatorError
from aetherra.plugins.homeostasis.executor import Executor
from aetherra.plugins.homeostasis.gate import FrozenError
from aetherra.plugins.homeostasis.leave import asker
from aetherra.plugins.homeostasis.ledger import Ledger
from aetherra.plugins.homeostasis.messages import Act, Acted, Undo

__all__ = ["Requests"]


class Requests:
    """Has them done, tells everybody what was, and keeps in the history what no decision was behind.

    Args:
        ctx: Of the plugin that it works in.
        acts: What does them.
        executor: What waits for those that were decided.
        ledger: The history.
    """

    def __init__(self, ctx: PluginContext, acts: Acts, executor: Executor, ledger: Ledger) -> None:
        self._ctx = ctx
        self._acts = acts
        self._executor = executor
        self._ledger = ledger

    async def act(self, request: Act) -> Acted:
        """Have an actuator act.

        Raises:
            Reject: By way of the queue: it cannot be done, and a second attempt would end as the first.
            AetherraError: It cannot be done, or was not, as ``Acts.act`` says.
        """
        self._refuse_stale(request.decision)
        try:
            acted = await self._acts.act(request)
        except (ActuatorError, FrozenError, NotPermittedError) as exc:
            if current_action() is not None:
                raise Reject(str(exc)) from exc
            raise
        if not request.dry_run:
            await self._tell(acted)
        return acted

    async def undo(self, request: Undo) -> Acted:
        """Take back what stands.

        Raises:
            Reject: By way of the queue: it is not permitted.
            AetherraError: It cannot be done, or was not, as ``Acts.undo`` says.
        """
        self._refuse_stale(request.decision)
        try:
            acted = await self._acts.undo(request)
        except NotPermittedError as exc:
            if current_action() is not None:
                raise Reject(str(exc)) from exc
            raise
        await self._tell(acted)
        return acted

    def _refuse_stale(self, decision: str) -> None:
        """Refuse what was decided in an earlier run, or by an earlier generation, and lay in the journal since."""
        if decision and current_action() is not None and not self._executor.is_pending(decision):
            raise Reject(f"decision {decision!r} was made before this generation of homeostasis, by what was true then")

    async def _tell(self, acted: Acted) -> None:
        await self._ctx.publish(acted)
        if not self._executor.is_pending(acted.decision):  # whatever it calls itself
            what = "undone" if acted.undone else "done"
            self._ledger.note("by hand", f"{acted.actuator} {what} by {asker()}: {acted.summary}", target=acted.target)
