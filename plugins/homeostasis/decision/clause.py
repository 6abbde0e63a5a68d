"""A clause: a condition about one target, and whether what is seen meets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.observation import Observation, read_sum

__all__ = ["Clause", "Holding"]

Holding: TypeAlias = Callable[[str, str], bool]
"""Whether a symptom holds on a target."""


class Clause:
    """One condition, its ``*`` replaced."""

    __slots__ = ("_condition", "_names", "_target", "text")

    def __init__(self, condition: Condition, target: str) -> None:
        self._condition = condition
        self._target = target
        self._names = Naming(condition.metric).names(target) if condition.metric else ()
        self.text = str(condition).replace("*", target)

    def unmet(self, observation: Observation, holding: Holding) -> str:
        """Return why it is not met; empty if it is."""
        condition = self._condition
        if condition.symptom:
            return "" if holding(condition.symptom, self._target) else f"{condition.symptom} does not hold"
        value, _, why = read_sum(observation, self._names, condition.max_age)
        if value is None:
            return "" if condition.unknown else f"whether {self.text} is unknown ({why})"
        return "" if condition.met_by(value) else f"{' + '.join(self._names)} is {value:.4g}, expected {self._bounds}"

    def met(self, observation: Observation, holding: Holding) -> bool:
        """Return whether it is met."""
        return not self.unmet(observation, holding)

    def known(self, observation: Observation) -> bool:
        """Return whether it can be told: what is unknown counts as its condition says."""
        condition = self._condition
        if condition.symptom or condition.unknown:
            return True
        return read_sum(observation, self._names, condition.max_age)[0] is not None

    @property
    def _bounds(self) -> str:
        return self.text.removeprefix(" + ".join(self._names)).strip()
