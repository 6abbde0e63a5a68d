"""Lift: how much likelier a symptom leaves with an action than without."""

from __future__ import annotations

import math

import msgspec

from aetherra.plugins.homeostasis.decision.rung import Rung

__all__ = ["Beta", "Lifts", "LiftsMemory"]

_Z = 1.64
"""Standard deviations of a one-sided bound of 95 %."""
_ENOUGH = 3.0
"""Decayed samples below which an order stays as it was written: fewer cannot tell 0.5 from chance."""
_USELESS = 0.35
"""An action whose upper bound is below this fails two times of three at the least: five failures in a row."""


class Beta(msgspec.Struct):
    """Counts of one kind of trial, each worth half after a half-life. The prior is one of each."""

    yes: float = 0.0
    no: float = 0.0
    at: float = 0.0

    def add(self, yes: float, no: float, now: float, half_life: float) -> None:
        """Count a trial, or a part of one."""
        decay = 0.5 ** (max(now - self.at, 0.0) / half_life)
        self.yes, self.no, self.at = self.yes * decay + yes, self.no * decay + no, now

    def estimate(self, now: float, half_life: float) -> tuple[float, float, float]:
        """Return mean, variance and number of trials."""
        decay = 0.5 ** (max(now - self.at, 0.0) / half_life)
        yes, count = self.yes * decay, (self.yes + self.no) * decay
        mean = (yes + 1) / (count + 2)
        return mean, mean * (1 - mean) / (count + 3), count


class LiftsMemory(msgspec.Struct):
    """Counts by symptom: with each action, and without any."""

    with_action: dict[str, dict[str, Beta]] = {}
    without: dict[str, Beta] = {}


class Lifts:
    """What was learnt, per symptom and action, of all targets together."""

    def __init__(self, half_life: float, memory: LiftsMemory) -> None:
        self._half_life = half_life
        self.memory = memory

    def note_act(self, symptom: str, action: str, helped: bool, now: float, weight: float = 1.0) -> None:
        """Count an act that has settled."""
        counts = self.memory.with_action.setdefault(symptom, {}).setdefault(action, Beta())
        counts.add(weight * helped, weight * (not helped), now, self._half_life)

    def note_idle(self, symptom: str, healed: bool, share: float, now: float) -> None:
        """Count time that a symptom was left alone: ``share`` of a settle time, and whether it left by itself."""
        counts = self.memory.without.setdefault(symptom, Beta())
        counts.add(float(healed), 0.0 if healed else share, now, self._half_life)

    def bounds(self, symptom: str, action: str, now: float) -> tuple[float, float]:
        """Return the lower and upper bound of the difference that an action makes."""
        with_action = self.memory.with_action.get(symptom, {}).get(action, Beta()).estimate(now, self._half_life)
        without = self.memory.without.get(symptom, Beta()).estimate(now, self._half_life)
        spread = _Z * math.sqrt(with_action[1] + without[1])
        difference = with_action[0] - without[0]
        return difference - spread, difference + spread

    def alone(self, symptom: str, now: float) -> float:
        """Return the estimated probability that a symptom leaves by itself within a settle time."""
        return self.memory.without.get(symptom, Beta()).estimate(now, self._half_life)[0]

    def useless(self, symptom: str, action: str, now: float) -> str:
        """Return why an action is not worth a try; empty if it is."""
        counts = self.memory.with_action.get(symptom, {}).get(action)
        if counts is None:
            return ""
        mean, variance, count = counts.estimate(now, self._half_life)
        if count < _ENOUGH or mean + _Z * math.sqrt(variance) >= _USELESS:
            return ""
        return f"it has hardly ever helped against {symptom}: {counts.yes:.1f} of {counts.yes + counts.no:.1f} times"

    def order(self, symptom: str, ladder: tuple[Rung, ...], now: float) -> list[int]:
        """Return the rungs' numbers, those first that were seen to help more.

        A rung moves before one as disruptive as itself once its lift's lower bound is above the other's mean; before
        one that is less disruptive only once it is above the other's upper bound. Both must have been tried enough.
        """
        order = list(range(len(ladder)))
        if symptom not in self.memory.with_action:
            return order
        for at in range(1, len(order)):
            place = at
            while place and self._before(symptom, ladder[order[place]], ladder[order[place - 1]], now):
                order[place - 1], order[place] = order[place], order[place - 1]
                place -= 1
        return order

    def _before(self, symptom: str, rung: Rung, other: Rung, now: float) -> bool:
        acts = self.memory.with_action[symptom]
        if rung.action == other.action or rung.action not in acts or other.action not in acts:
            return False
        mean, variance, count = acts[rung.action].estimate(now, self._half_life)
        other_mean, other_variance, other_count = acts[other.action].estimate(now, self._half_life)
        if min(count, other_count) < _ENOUGH:
            return False
        milder = rung.disruptive and not other.disruptive
        spread = _Z * math.sqrt(other_variance) if milder else 0.0
        return mean - _Z * math.sqrt(variance) > other_mean + spread
