"""The controller: observations in, decisions out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Literal

from aetherra.plugins.homeostasis.decision.changes import Changes, ChangesMemory
from aetherra.plugins.homeostasis.decision.damping import Damping
from aetherra.plugins.homeostasis.decision.decision import Decision, Effect, Outcome
from aetherra.plugins.homeostasis.decision.desk import Desk
from aetherra.plugins.homeostasis.decision.errors import StateError
from aetherra.plugins.homeostasis.decision.ladder import Ladder
from aetherra.plugins.homeostasis.decision.lift import Lifts
from aetherra.plugins.homeostasis.decision.limits import Limits
from aetherra.plugins.homeostasis.decision.memory import Memory, decode, encode
from aetherra.plugins.homeostasis.decision.observation import Observation
from aetherra.plugins.homeostasis.decision.policy import Policy
from aetherra.plugins.homeostasis.decision.reversal import Reversal
from aetherra.plugins.homeostasis.decision.status import ChangeStatus, ControllerStatus, KnobStatus, LiftStatus
from aetherra.plugins.homeostasis.decision.trial import Trials
from aetherra.plugins.homeostasis.decision.trust import Trust
from aetherra.plugins.homeostasis.decision.watch import Watch

__all__ = ["Controller"]

_REPORTABLE = 1_000
"""Decisions whose outcome may still be reported."""
_HOUSEKEEPING = 600.0


class Controller:
    """Decides what to do about what is seen. It does nothing itself, and reads no clock but the one that it is given.

    One caller at a time. Call ``decide`` with each observation, every second or every few; do what it says; ``report``
    what became of it, if you know. Nothing that an observation holds raises.

    Args:
        policy: What it goes by.
        clock: Seconds that do not go back. Where it stands still, or goes back, no time has passed and no evidence is
            added.
        rng: Where chance comes from; the same seed and observations make the same decisions.
        state: What ``state()`` of an earlier controller returned. Of another policy, what still has a place is kept.
        on_damage: Whether a state that cannot be read is an error, or the controller begins anew.
        keep: What of a state is taken up. ``"learnt"``: only what was learnt, limits and distrust: the plant has begun
            anew since, so that no symptom holds, no change is in force, and no knob stands where it stood.
        series: What the ids of its decisions begin with; where a state may be lost, one that no other controller had.

    Raises:
        StateError: The state cannot be read, and ``on_damage`` is "raise".
    """

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        state: bytes | None = None,
        on_damage: Literal["raise", "anew"] = "raise",
        series: str = "d",
        keep: Literal["all", "learnt"] = "all",
    ) -> None:
        self._policy, self._clock = policy, clock
        self._memory = memory = self._remember(state, on_damage)
        if keep == "learnt":
            memory.cases, memory.knobs, memory.changes = {}, {}, ChangesMemory()
        self._raw: float | None = None
        self._kept_house_at = memory.time
        self._watch = watch = Watch(policy, memory)
        self._limits = Limits(policy, memory.limits)
        self._lifts = Lifts(policy.half_life, memory.lifts)
        self._trust = Trust(memory.trust, policy.quarantine)
        self._damping = Damping(policy.flap_window, memory.damping)
        self._changes = Changes(memory.changes)
        self._desk = Desk(memory.desk, series)
        self._trials = Trials(self._desk, self._lifts)
        self._reversal = Reversal(watch.scene, self._desk, self._limits, self._damping, self._changes)
        self._ladder = Ladder(
            policy,
            watch.scene,
            self._desk,
            self._trials,
            limits=self._limits,
            lifts=self._lifts,
            trust=self._trust,
            damping=self._damping,
            changes=self._changes,
            rng=rng or random.Random(0),  # noqa: S311  # chance, not a secret
        )
        self._made: dict[str, Decision] = {}

    def decide(self, observation: Observation, *, hold: bool = False) -> list[Decision]:
        """Return what to do now, the most urgent first.

        Args:
            observation: What was seen.
            hold: Nothing is to be decided, as while a person has frozen everything; evidence is taken in all the same,
                so that the next call without it goes on with what is true then.

        Raises:
            TypeError: The observation is no mapping.
        """
        if not isinstance(observation, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(
                f"expected an observation as a mapping of names to figures, got {type(observation).__name__}"
            )
        now = self._now()
        watch, holding = self._watch, self._watch.scene.holding
        watch.scene.now = now
        watch.look(observation, now)
        for case in watch.cases:
            case.signal.look(observation, now, holding)
        if hold:
            return []
        decisions = [
            decision
            for case in watch.cases
            if case.awake and (decision := self._ladder.step(case, observation, now)) is not None
        ]
        decisions += self._reversal.due(now)
        for (name, _), regulator in watch.regulators.items():
            before, action = regulator.memory.told, self._policy.knobs[name].action
            if self._trust.why_not(action, now) or self._limits.held(action, regulator.target, now):
                continue
            if (value := regulator.step(observation, now, holding)) is not None:
                decisions.append(self._desk.turn(name, regulator, value, before))
                self._trust.begun(action, now)
        for decision in decisions:
            self._made[decision.id] = decision
        while len(self._made) > _REPORTABLE:
            del self._made[next(iter(self._made))]
        if now - self._kept_house_at >= _HOUSEKEEPING:
            self._kept_house_at = now
            self._limits.forget(now)
            self._damping.forget(now)
        return decisions

    def report(self, decision_id: str, outcome: Outcome) -> None:
        """Say what became of a decision.

        One that nobody reports counts as done. One that is unknown, or was reported before, is passed over.

        Raises:
            TypeError: The outcome is none.
        """
        if not isinstance(outcome, Outcome):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers err
            raise TypeError(f"expected what became of {decision_id!r} as an Outcome, got {outcome!r}")
        decision = self._made.pop(decision_id, None)
        if decision is None or decision.kind == "give_up":
            return
        now = self._memory.time
        if outcome.status != "skipped":
            self._trust.note(decision.action, outcome.status != "failed", now)
        if outcome.again is not None:
            self._limits.hold(decision.action, decision.target, now + outcome.again, now)
        if decision.kind == "undo":
            self._reversal.report(decision_id, outcome)
        elif decision.kind == "set":
            knob = self._watch.regulators.get((decision.symptom, decision.target))
            if outcome.again is not None and knob is not None:
                knob.take_back()
        else:
            self._take_in(decision, outcome, now)

    def _take_in(self, act: Decision, outcome: Outcome, now: float) -> None:
        if outcome.status != "done":
            self._changes.drop(act.id)
        if outcome.again is not None:
            self._limits.give_back(act.action, act.target)
            self._damping.turn_back(f"{act.action} on {act.target}", now)
            self._watch.scene.end(act.target, act.symptom)
        case = self._watch.scene.case(act.symptom, act.target)
        if case is not None and case.memory.trial is not None and case.memory.trial.id == act.id:
            self._trials.report(case, outcome, now)

    def take_effects(self) -> list[Effect]:
        """Return the effects found since this was last called, at most the last 200."""
        effects, self._trials.effects = self._trials.effects, []
        return effects

    def state(self) -> bytes:
        """Return all that a successor needs: what was learnt, what is in force, what must not be done again so soon."""
        return encode(self._memory)

    def status(self) -> ControllerStatus:
        """Return how things stand."""
        now, cases = self._memory.time, self._watch.cases
        told = [case for case in cases if case.phase != "well" or not case.signal.known]
        worst = {"given_up": 0, "holds": 1, "settling": 2, "suspected": 3, "well": 4}
        return ControllerStatus(
            decisions=dict(self._desk.memory.made),
            symptoms=tuple(case.status(now) for case in sorted(told, key=lambda case: worst[case.phase])),
            watched=len(cases),
            unknown=sum(not case.signal.known for case in cases),
            knobs=tuple(
                KnobStatus(name, target, regulator.memory.told, regulator.memory.gain, regulator.holds)
                for (name, target), regulator in self._watch.regulators.items()
            ),
            changes=tuple(
                ChangeStatus(
                    change.id, change.action, change.target, tuple(name for name, _ in change.holders), now - change.at
                )
                for change in self._changes
            ),
            lifts=self._what_was_learnt(now),
            mistrusted={
                action: why for action in self._memory.trust.rested_until if (why := self._trust.why_not(action, now))
            },
            budget_left=self._limits.budget_left(now),
        )

    def _what_was_learnt(self, now: float) -> tuple[LiftStatus, ...]:
        learnt: list[LiftStatus] = []
        for symptom, actions in self._memory.lifts.with_action.items():
            without = self._lifts.alone(symptom, now)
            for action, counts in actions.items():
                mean, _, samples = counts.estimate(now, self._policy.half_life)
                learnt.append(
                    LiftStatus(symptom, action, mean, without, *self._lifts.bounds(symptom, action, now), samples)
                )
        return tuple(learnt)

    def _now(self) -> float:
        """Return the controller's own time, which goes on with the clock and never back."""
        raw = self._clock()
        if math.isfinite(raw):
            if self._raw is not None:
                self._memory.time += max(raw - self._raw, 0.0)
            self._raw = self._desk.at = raw
        return self._memory.time

    @staticmethod
    def _remember(state: bytes | None, on_damage: Literal["raise", "anew"]) -> Memory:
        if state is None:
            return Memory()
        try:
            return decode(state)
        except StateError:
            if on_damage == "raise":
                raise
            return Memory()
