"""Trials: acts that have yet to show their effect, and times without any to compare them with."""

from __future__ import annotations

from aetherra.plugins.homeostasis.decision.case import Case, Trial
from aetherra.plugins.homeostasis.decision.decision import Effect, Outcome
from aetherra.plugins.homeostasis.decision.desk import Desk
from aetherra.plugins.homeostasis.decision.lift import Lifts

__all__ = ["Trials"]

_ON_ITS_WAY = 0.5
"""Share of the way back to good that a metric must have come to count as helped."""
_EXTENSIONS = 2
"""Times that a metric on its way is given its settle time again."""
_REMEMBERED = 200
"""Effects that are kept until somebody takes them."""


class Trials:
    """Begins and settles trials, and tells the lifts of them."""

    def __init__(self, desk: Desk, lifts: Lifts) -> None:
        self._desk, self._lifts = desk, lifts
        self.effects: list[Effect] = []

    def begin(self, case: Case, number: int, identity: str, now: float) -> None:
        """Note an act."""
        rung, memory = case.plan.ladder[number], case.memory
        self.idle(case, now, cut=True)
        key = f"{number}:{rung.action}"
        memory.tries[key] = memory.tries.get(key, 0) + 1
        memory.trial = Trial(identity, number, rung.action, now, case.signal.value, now + rung.settle)
        memory.blocked_since = memory.told_at = None

    def settle(self, case: Case, now: float) -> None:
        """Find out what an act has changed, once its time is over."""
        trial = case.memory.trial
        if trial is None or now < trial.until:
            return
        signal = case.signal
        if trial.skipped:
            case.memory.trial, case.memory.idle_from = None, now if signal.active else None
            return
        if not signal.active:
            self._end(case, True, "the symptom has left", now)
            return
        if not signal.known:
            self._end(case, None, signal.why, now)
            return
        way = _way(trial.before, signal.value, signal.good)
        if way >= _ON_ITS_WAY and trial.extensions < _EXTENSIONS:
            trial.extensions += 1
            trial.until = now + case.plan.ladder[trial.rung].settle if trial.rung < len(case.plan.ladder) else now
            return
        if way >= _ON_ITS_WAY:
            self._end(case, True, f"the symptom holds, but {way:.0%} of the way are done", now)
        else:
            self._end(case, False, "the symptom holds", now)

    def report(self, case: Case, outcome: Outcome, now: float) -> None:
        """Take in what became of the act: one that changed nothing has no effect to wait for, one put off was none."""
        if case.memory.trial is None or outcome.status == "done":
            return
        detail = outcome.detail or "no reason given"
        if outcome.status == "unchanged":
            self._end(case, False, f"it found nothing to change: {detail}", now)
        elif outcome.status == "failed":
            self._end(case, None, f"it failed: {detail}", now)
        elif outcome.again is not None:
            self._forget(case, now)
        else:  # it was not tried: nothing is learnt of it, and the next rung's turn comes no sooner than if it had been
            case.memory.trial.skipped = True

    def _forget(self, case: Case, now: float) -> None:
        """Have an act not have been begun."""
        memory = case.memory
        assert memory.trial is not None
        key = f"{memory.trial.rung}:{memory.trial.action}"
        memory.tries[key] = memory.tries.get(key, 1) - 1
        memory.trial, memory.idle_from = None, now if case.signal.active else None

    def idle(self, case: Case, now: float, *, cut: bool = False) -> None:
        """Count the time in which nothing was done about a symptom that holds: a free sample without the action."""
        memory = case.memory
        if memory.idle_from is None:
            memory.idle_from = now
        span = case.plan.ladder[0].settle if case.plan.ladder else 0.0
        passed = now - memory.idle_from
        if span <= 0 or passed <= 0 or (passed < span and not cut):
            return
        self._lifts.note_idle(case.symptom, False, min(passed / span, 1.0) / (1 + memory.idle_counts), now)
        memory.idle_counts += 1
        memory.idle_from = now

    def healed(self, case: Case, now: float) -> None:
        """Count a symptom that has left while nothing was done about it."""
        memory = case.memory
        if memory.trial is None and memory.idle_from is not None:
            self._lifts.note_idle(case.symptom, True, 1.0, now)
        memory.idle_from = None
        memory.idle_counts = 0

    def _end(self, case: Case, helped: bool | None, why: str, now: float) -> None:
        memory = case.memory
        assert memory.trial is not None
        action = memory.trial.action
        self.effects.append(self._desk.effect(case, helped, why, now))
        del self.effects[:-_REMEMBERED]
        if helped is not None:
            self._lifts.note_act(case.symptom, action, helped, now, 1 / (1 + memory.failures.get(action, 0)))
        key = f"{memory.trial.rung}:{action}"
        if helped:
            memory.helped[key] = memory.trial.at
        elif helped is False:
            memory.helped.pop(key, None)
            memory.failures[action] = memory.failures.get(action, 0) + 1
        memory.trial = None
        memory.idle_from = now if case.signal.active else None


def _way(before: float | None, after: float | None, good: float) -> float:
    """Return the share of the way from before to good that was gone; 0 where there is none."""
    if before is None or after is None or before == good:
        return 0.0
    way = (before - after) / (before - good)
    return way if way == way else 0.0
