"""The executor: sends what was decided through the action queue, and hears what became of it."""

from __future__ import annotations

from collections.abc import Callable

from aetherra.plugins import ActionPriority, AetherraError, NotPermittedError, Permit, PluginContext, RetryPolicy
from aetherra.plugins.homeostasis.acts import Acts
from aetherra.plugins.homeostasis.decision import Decision, Outcome
from aetherra.plugins.homeostasis.gate import Gate
from aetherra.plugins.homeostasis.leave import Leave
from aetherra.plugins.homeostasis.messages import Act, Acted, Undo

__all__ = ["Executor"]

ATTEMPTS = RetryPolicy(max_attempts=2, backoff_sec=1.0)
"""An act that fails is tried once more; after that its decision has failed, and the controller goes on from there."""
ROOM = 5.0
"""Seconds to wait for room in the queue."""
SLACK = 5.0
"""Seconds that an attempt has beside what its actuator takes."""
AGAIN = 120.0
"""Seconds after which what is not permitted, for nobody knows how long, is asked about again."""


class Executor:
    """Carries decisions out, each in a task of its own: an act that takes long holds up nothing else.

    What is not permitted is put off: it is no failure, and no limit is passed by it.

    Args:
        ctx: Whose queue and tasks to use.
        acts: What carries the acts out at the other end of the queue.
        gate: Whether and how far they may act.
        leave: Asks whether one may, once for all attempts at it.
        concluded: Told what became of each decision.
    """

    def __init__(
        self,
        ctx: PluginContext,
        acts: Acts,
        gate: Gate,
        leave: Leave,
        *,
        concluded: Callable[[Decision, Outcome], None],
    ) -> None:
        self._ctx = ctx
        self._acts = acts
        self._gate = gate
        self._leave = leave
        self._concluded = concluded
        self._pending: set[str] = set()

    def is_pending(self, decision: str) -> bool:
        """Whether a decision waits for its act: one that an earlier run has left in the journal does not."""
        return decision in self._pending

    def carry_out(self, decision: Decision) -> None:
        """Begin to do what was decided; returns at once."""
        if decision.kind == "give_up":
            self._concluded(decision, Outcome("skipped", "nothing is done"))
        elif why_not := self._why_not(decision):
            self._concluded(decision, Outcome("skipped", why_not))
        else:
            self._pending.add(decision.id)
            self._ctx.start_soon(self._carry_out, decision)

    def _why_not(self, decision: Decision) -> str:
        if self._gate.mode_of(decision.action) == "dry_run":
            return ""
        return self._gate.why_not(decision.action)

    async def _carry_out(self, decision: Decision) -> None:
        try:
            outcome = await self._outcome(decision)
        finally:
            self._pending.discard(decision.id)
        self._concluded(decision, outcome)

    async def _outcome(self, decision: Decision) -> Outcome:
        try:
            if self._gate.mode_of(decision.action) == "dry_run":
                return await self._rehearse(decision)
            request = _request(decision)
            async with self._leave.ask(self._acts.intent(request, decision.reason)) as permit:
                with self._leave.in_hand(request, permit):
                    acted = await self._do(request, permit)
        except NotPermittedError as exc:
            return Outcome("skipped", str(exc), again=_again(exc))
        except AetherraError as exc:
            return Outcome("failed", str(exc))
        return Outcome("done" if acted.changed else "unchanged", acted.summary)

    async def _do(self, request: Act | Undo, permit: Permit) -> Acted:
        try:
            return await self._send(request)
        except AetherraError:
            await permit.check()  # what was stopped on its way has not failed
            raise

    async def _rehearse(self, decision: Decision) -> Outcome:
        if decision.kind == "undo":
            return Outcome("skipped", "a dry run, in which there is nothing to undo")
        acted = await self._acts.act(_act(decision, dry_run=True))
        return Outcome("skipped", f"a dry run: {acted.summary}")

    async def _send(self, request: Act | Undo) -> Acted:
        """Have it done by the queue, where its failure is a dead letter like any other."""
        seconds = self._acts.find(request.actuator).seconds + SLACK
        return await self._ctx.submit_and_wait(
            request,
            priority=ActionPriority.MAINTENANCE,
            deadline=2 * seconds + ROOM,
            timeout=seconds,
            retry=ATTEMPTS,
            wait_for_room=ROOM,
        )


def _request(decision: Decision) -> Act | Undo:
    if decision.kind == "undo":
        return Undo(decision.action, decision.target, decision.id)
    return _act(decision)


def _again(refused: NotPermittedError) -> float:
    """Return the seconds after which it is to be decided anew; by then nobody may have stopped it any more."""
    if refused.code == "stopped":
        return 0.0
    return refused.retry_after or AGAIN


def _act(decision: Decision, *, dry_run: bool = False) -> Act:
    arguments = dict(decision.arguments)
    if decision.kind == "set":
        arguments["value"] = decision.value
    return Act(decision.action, decision.target, arguments, decision.id, dry_run)
