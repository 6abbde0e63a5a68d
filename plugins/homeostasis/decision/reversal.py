"""Reversal: takes lasting changes back once what they were for has left and stays away."""

from __future__ import annotations

from aetherra.plugins.homeostasis.decision.case import Case
from aetherra.plugins.homeostasis.decision.changes import Change, Changes
from aetherra.plugins.homeostasis.decision.damping import Damping
from aetherra.plugins.homeostasis.decision.decision import Decision, Outcome
from aetherra.plugins.homeostasis.decision.desk import Desk
from aetherra.plugins.homeostasis.decision.limits import Limits
from aetherra.plugins.homeostasis.decision.scene import Scene

__all__ = ["Reversal"]

_MOST_DOUBLINGS = 4
"""Times that the time until the next try doubles."""
_REPORT_TIME = 150.0
"""Seconds for an undoing to be reported as failed; then it counts as done. Longer than any executor takes to say so."""


class Reversal:
    """Decides on undoing. It is held to the same rate limit as doing, and not to the flap budget: it ends something."""

    def __init__(self, scene: Scene, desk: Desk, limits: Limits, damping: Damping, changes: Changes) -> None:
        self._scene, self._desk = scene, desk
        self._limits, self._damping, self._changes = limits, damping, changes

    def due(self, now: float) -> list[Decision]:
        """Return what is to be taken back now, the latest first."""
        decisions: list[Decision] = []
        for change in reversed(tuple(self._changes)):
            if change.undoing:
                if now - change.undone_at >= _REPORT_TIME:
                    self._changes.drop(change.id)
                continue
            case, why = self._released(change, now)
            if not why or not self._changes.is_latest(change):
                continue
            limits, action, target = self._limits, change.action, change.target
            if limits.wait(action, target, now) > 0 or limits.held(action, target, now) > 0:
                continue
            decision = self._desk.undo(change, case, why, now)
            change.undoing, change.undone_at = decision.id, now
            self._may_be_tried_again(change)
            if case is not None and case.memory.active:
                case.memory.retries += 1  # one try: should it fail, what is tried must be done again at once
            else:
                self._limits.take(change.action, change.target, now, budget=False)
            decisions.append(decision)
        return decisions

    def report(self, decision_id: str, outcome: Outcome) -> None:
        """Take in what became of an undoing: one that failed, or was put off, is due again."""
        change = self._changes.undone_by(decision_id)
        if change is None:
            return
        if outcome.status == "failed" or outcome.again is not None:
            change.undoing = ""
        else:
            self._changes.drop(change.id)

    def _may_be_tried_again(self, change: Change) -> None:
        """Let those that a change has helped have it again."""
        for symptom, target in change.holders:
            if (case := self._scene.case(symptom, target)) is not None:
                tries = case.memory.tries
                for key in [key for key in tries if key.partition(":")[2] == change.action]:
                    del tries[key]

    def _released(self, change: Change, now: float) -> tuple[Case | None, str]:
        """Return the case that let go last, and why the change is needed no more; empty while it is."""
        latest: Case | None = None
        reasons: list[str] = []
        for symptom, target in change.holders:
            case = self._scene.case(symptom, target)
            if case is None:
                reasons.append(f"{symptom} of {target} is not looked at any more")
                continue
            why = self._left(case, now) or self._worth_a_try(change, case, now)
            if not why:
                return None, ""
            reasons.append(why)
            latest = case
        return latest, "; ".join(reasons) or "nothing asks for it any more"

    def _left(self, case: Case, now: float) -> str:
        memory = case.memory
        if case.signal.active or memory.active or memory.trial is not None or not case.signal.known:
            return ""
        if case.signal.suspect:
            return ""
        if memory.left_at is None:  # its target was gone and has come back: nobody has seen it leave
            memory.left_at = now
        away = now - memory.left_at
        if away < case.plan.undo_after * self._damping.factor(case.key, now):
            return ""
        return f"{case.key} has been away for {away:.0f} s"

    def _worth_a_try(self, change: Change, case: Case, now: float) -> str:
        """Say why a target that was taken away is given a try, though nobody has seen the symptom leave."""
        if case.signal.known or not case.signal.active or case.memory.trial is not None:
            return ""
        same = (rung for rung in case.plan.ladder if (rung.action, rung.arguments) == (change.action, change.arguments))
        wait = max((rung.retry_after for rung in same), default=0.0) * 2 ** min(case.memory.retries, _MOST_DOUBLINGS)
        if not wait or now - change.at < wait:
            return ""
        return f"nothing is known of {case.key} since it was taken away, so it is given a try"
