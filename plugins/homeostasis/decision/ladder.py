"""The ladder: takes one case a step further. Owns what to try next, whether it helped, and when to give up."""

from __future__ import annotations

import random

from aetherra.plugins.homeostasis.decision.case import Case
from aetherra.plugins.homeostasis.decision.changes import Changes
from aetherra.plugins.homeostasis.decision.damping import Damping
from aetherra.plugins.homeostasis.decision.decision import Considered, Decision
from aetherra.plugins.homeostasis.decision.desk import Desk
from aetherra.plugins.homeostasis.decision.lift import Lifts
from aetherra.plugins.homeostasis.decision.limits import Limits
from aetherra.plugins.homeostasis.decision.observation import Observation
from aetherra.plugins.homeostasis.decision.policy import Policy
from aetherra.plugins.homeostasis.decision.rung import Rung
from aetherra.plugins.homeostasis.decision.scene import Scene
from aetherra.plugins.homeostasis.decision.trial import Trials
from aetherra.plugins.homeostasis.decision.trust import Trust

__all__ = ["Ladder"]

_PATIENCE = 60.0
"""Seconds that what is left may be passed over before that is said."""
_HELD = 60.0
"""Seconds that an act waits for its permission; for what takes longer the next rung does not wait."""
_WORTH_IT = 2.0
"""Settle times that an act must keep the symptom away for to be worth doing again before the next rung."""
_MOST_GIVE_UPS = 3
"""Times that giving up doubles the cooldown."""


class Ladder:
    """Precondition, act, verify the effect, next rung, give up and say so, start over after a cooldown."""

    def __init__(
        self,
        policy: Policy,
        scene: Scene,
        desk: Desk,
        trials: Trials,
        *,
        limits: Limits,
        lifts: Lifts,
        trust: Trust,
        damping: Damping,
        changes: Changes,
        rng: random.Random,
    ) -> None:
        self._policy, self._scene, self._desk, self._trials = policy, scene, desk, trials
        self._limits, self._lifts, self._trust = limits, lifts, trust
        self._damping, self._changes, self._rng = damping, changes, rng

    def step(self, case: Case, observation: Observation, now: float) -> Decision | None:
        """Take a case a step further, and return what is to be done about it now."""
        self._come_and_go(case, now)
        self._trials.settle(case, now)
        case.waits_for = self._wait(case, now)
        if case.waits_for:
            return None
        chosen, considered, blocked = self._choose(case, observation, now)
        if chosen is not None:
            return self._act(case, chosen, considered, now)
        if case.waits_for or not case.plan.ladder:
            case.memory.blocked_since = None
            return None
        if blocked:
            return self._blocked(case, considered, now)
        if case.memory.helped:
            self._try_again(case)
            return None
        return self._give_up(case, considered, now)

    def _come_and_go(self, case: Case, now: float) -> None:
        memory, active = case.memory, case.signal.active
        if active == memory.active:
            return
        memory.active = active
        if not active:
            memory.left_at = now
            self._trials.healed(case, now)
            memory.failures.clear()
            memory.blocked_since = memory.told_at = memory.gave_up_until = None
            memory.give_ups = 0
            return
        self._damping.turn(case.key, now)
        if memory.left_at is None or now - memory.left_at > case.plan.relapse:
            memory.tries.clear()
            memory.helped.clear()
            memory.retries = 0
        for number, rung in enumerate(case.plan.ladder):
            key = f"{number}:{rung.action}"
            if key in memory.helped and now - memory.helped[key] > _WORTH_IT * rung.settle:
                memory.tries.pop(key, None)
        memory.entered_at = memory.idle_from = now
        first = case.plan.ladder[0].settle if case.plan.ladder else 0.0
        alone = self._policy.holdout > 0 and self._rng.random() < self._policy.holdout
        memory.left_alone_until = now + first if alone else 0.0

    def _wait(self, case: Case, now: float) -> str:
        """Return why nothing is due, for now."""
        memory = case.memory
        if not case.signal.active:
            return "well"
        if not case.signal.known:
            memory.idle_from = None
            return case.signal.why
        if memory.trial is not None:
            return f"{memory.trial.action} settles for another {memory.trial.until - now:.0f} s"
        elsewhere = self._scene.masked(case, now) or self._scene.busy(case, now)
        if elsewhere:
            memory.idle_from = None
            return elsewhere
        self._trials.idle(case, now)
        if now - memory.entered_at < case.plan.grace:
            return f"many heal alone: {case.plan.grace - (now - memory.entered_at):.0f} s of grace are left"
        if now < memory.left_alone_until:
            return f"it is left alone for another {memory.left_alone_until - now:.0f} s, to learn what heals by itself"
        if memory.gave_up_until is not None:
            if now < memory.gave_up_until:
                return f"all was tried; the ladder starts over in {memory.gave_up_until - now:.0f} s"
            memory.gave_up_until = None
            memory.tries.clear()
        return "" if case.signal.due() else "the evidence since the last act is not enough"

    def _choose(
        self, case: Case, observation: Observation, now: float
    ) -> tuple[tuple[int, Rung] | None, list[Considered], bool]:
        """Return the rung to take with its number, what else was considered, and whether any of that may yet come."""
        considered: list[Considered] = []
        blocked = False
        case.waits_for = ""
        for number in self._lifts.order(case.symptom, case.plan.ladder, now):
            rung = case.plan.ladder[number]
            if never := self._never(case, number, rung, now):
                considered.append(Considered(rung.action, never))
            elif why := self._not_now(case, number, rung, observation, now):
                considered.append(Considered(rung.action, why))
                blocked = True
            elif wait := self._limited(case, rung, now):
                case.waits_for = wait
                return None, considered, True
            else:
                return (number, rung), considered, False
        return None, considered, blocked

    def _never(self, case: Case, number: int, rung: Rung, now: float) -> str:
        """Return why a rung is done with in this round."""
        tries = case.memory.tries.get(f"{number}:{rung.action}", 0)
        if tries >= rung.tries:
            return "it had its turn" if tries == 1 else f"it had {tries} turns"
        if rung.lasting and (change := self._changes.in_force(rung, case.target)) is not None:
            if (case.symptom, case.target) not in change.holders:
                change.holders.append((case.symptom, case.target))
            return f"it is in force since {now - change.at:.0f} s"
        if self._limits.wait(rung.action, case.target, now) == float("inf"):
            return "the policy never allows it"
        return self._lifts.useless(case.symptom, rung.action, now)

    def _not_now(self, case: Case, number: int, rung: Rung, observation: Observation, now: float) -> str:
        """Return why a rung is passed over for now."""
        holding = self._scene.holding
        for clause in case.requires[number]:
            if why := clause.unmet(observation, holding):
                return why
        for clause in case.unless[number]:
            if clause.met(observation, holding):
                return clause.text
        if (held := self._limits.held(rung.action, case.target, now)) > _HELD:
            return f"it is not permitted, and asked about again in {held:.0f} s"
        if rung.disruptive:
            if not case.signal.agreement.reached:
                return f"it is disruptive and not confirmed: {case.signal.agreement.why_not}"
            if why := self._scene.common_cause(case):
                return why
        return self._trust.why_not(rung.action, now)

    def _limited(self, case: Case, rung: Rung, now: float) -> str:
        if (held := self._limits.held(rung.action, case.target, now)) > 0:
            return f"{rung.action} is permitted in {held:.0f} s"
        stretch = self._damping.factor(f"{rung.action} on {case.target}", now) if rung.lasting else 1.0
        wait = self._limits.wait(rung.action, case.target, now, stretch=stretch)
        if wait > 0:
            return f"{rung.action} was done to it lately: its limit allows it in {wait:.0f} s"
        if self._limits.budget_left(now) <= 0:
            return f"so much was done lately that the flap budget is spent: {rung.action} waits"
        return ""

    def _act(self, case: Case, chosen: tuple[int, Rung], considered: list[Considered], now: float) -> Decision:
        number, rung = chosen
        decision = self._desk.act(case, rung, considered, now)
        self._limits.take(rung.action, case.target, now, budget=True)
        self._trust.begun(rung.action, now)
        self._trials.begin(case, number, decision.id, now)
        self._scene.begin(case, now + rung.settle)
        if rung.lasting:
            self._damping.turn(f"{rung.action} on {case.target}", now)
            self._changes.make(decision.id, rung, case.symptom, case.target, now)
        if rung.disruptive and case.target:
            for other in self._scene.of_target(case.target):
                other.signal.refresh()
        case.signal.refresh()
        return decision

    def _try_again(self, case: Case) -> None:
        """Have another round with what has helped for a while, where nothing else is left: better than nothing."""
        memory = case.memory
        for key in memory.helped:
            memory.tries.pop(key, None)
        memory.helped.clear()
        case.waits_for = "what has helped for a while is tried again"

    def _blocked(self, case: Case, considered: list[Considered], now: float) -> Decision | None:
        """Say once that all that is left is passed over, and go on looking."""
        memory = case.memory
        case.waits_for = "; ".join(f"not {other.action}: {other.why_not}" for other in considered)
        if memory.blocked_since is None:
            memory.blocked_since = now
        again = memory.blocked_since + _PATIENCE if memory.told_at is None else memory.told_at + case.plan.cooldown
        if now < again:
            return None
        memory.told_at = now
        return self._desk.give_up(case, considered, now, again=case.plan.cooldown)

    def _give_up(self, case: Case, considered: list[Considered], now: float) -> Decision:
        memory = case.memory
        longer = self._damping.factor(case.key, now) * (1 + self._policy.jitter * self._rng.random())
        cooldown = case.plan.cooldown * longer * 2 ** min(memory.give_ups, _MOST_GIVE_UPS)
        memory.give_ups += 1
        memory.gave_up_until = now + cooldown
        case.waits_for = "all was tried"
        return self._desk.give_up(case, considered, now, again=cooldown)
