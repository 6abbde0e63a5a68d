"""Trust: which actuators fail, whatever they are used against."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.shape import check_shape

__all__ = ["QuarantineRule", "Trust", "TrustMemory"]


class QuarantineRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an actuator that fails is quarantined, and for how long.

    Attributes:
        failures: How many of the last ``minimum`` outcomes must have been failures: a rate with a minimum count.
        minimum: Outcomes below which no rate is one.
        in_a_row: So many failures in a row do as well, before there are ``minimum`` outcomes.
        rest: Seconds until it is given one try, which decides.

    Raises:
        ValueError: A figure is out of range.
    """

    failures: int = 5
    minimum: int = 8
    in_a_row: int = 5
    rest: float = 600.0

    def __post_init__(self) -> None:
        check_shape(self)
        if not 1 <= self.failures <= self.minimum or self.in_a_row < 1:
            counts = f"{self.failures}, {self.minimum} and {self.in_a_row}"
            raise ValueError(f"expected 1 <= failures <= minimum and in_a_row from 1 on, got {counts}")
        if not self.rest > 0:
            raise ValueError(f"expected rest above 0 s, got {self.rest!r}")


class TrustMemory(msgspec.Struct):
    """The last outcomes by action (true: it ran), and when an action that is rested may be tried once."""

    outcomes: dict[str, list[bool]] = {}
    rested_until: dict[str, float] = {}


class Trust:
    """Rests an actuator by its rate of failures; after the rest one try decides (half-open)."""

    def __init__(self, memory: TrustMemory, rule: QuarantineRule) -> None:
        self.memory, self._rule = memory, rule

    def note(self, action: str, ran: bool, now: float) -> None:
        """Count an outcome."""
        outcomes = self.memory.outcomes.setdefault(action, [])
        if action in self.memory.rested_until:
            if ran:
                del self.memory.rested_until[action]
                outcomes.clear()
            else:
                self.memory.rested_until[action] = now + self._rule.rest
        outcomes.append(ran)
        rule = self._rule
        del outcomes[: -max(rule.minimum, rule.in_a_row)]
        row = len(outcomes) >= rule.in_a_row and not any(outcomes[-rule.in_a_row :])
        lately = outcomes[-rule.minimum :]
        by_rate = len(lately) >= rule.minimum and lately.count(False) >= rule.failures
        if action not in self.memory.rested_until and (row or by_rate):
            self.memory.rested_until[action] = now + rule.rest

    def why_not(self, action: str, now: float) -> str:
        """Return why an action is rested; empty if it is not."""
        until = self.memory.rested_until.get(action)
        if until is None or now >= until:
            return ""
        outcomes = self.memory.outcomes.get(action, [])
        return (
            f"the actuator is quarantined: {outcomes.count(False)} of its last {len(outcomes)} runs failed; "
            f"one try in {until - now:.0f} s"
        )

    def begun(self, action: str, now: float) -> None:
        """Note that a try was given: until its outcome is known, there is no other."""
        if action in self.memory.rested_until:
            self.memory.rested_until[action] = now + self._rule.rest
