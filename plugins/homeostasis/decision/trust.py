"""Trust: which actuators fail, whatever they are used against."""

from __future__ import annotations

import msgspec

__all__ = ["Trust", "TrustMemory"]

_FAILED, _OF = 5, 8
"""Failures among the last outcomes that rest an actuator: a rate with a minimum count (five of at least eight)."""
_IN_A_ROW = 5
"""So many in a row do as well, before there are eight."""
_REST = 600.0
"""Seconds until it is given one try."""


class TrustMemory(msgspec.Struct):
    """The last outcomes by action (true: it ran), and when an action that is rested may be tried once."""

    outcomes: dict[str, list[bool]] = {}
    rested_until: dict[str, float] = {}


class Trust:
    """Rests an actuator by its rate of failures; after the rest one try decides (half-open)."""

    def __init__(self, memory: TrustMemory) -> None:
        self.memory = memory

    def note(self, action: str, ran: bool, now: float) -> None:
        """Count an outcome."""
        outcomes = self.memory.outcomes.setdefault(action, [])
        if action in self.memory.rested_until:
            if ran:
                del self.memory.rested_until[action]
                outcomes.clear()
            else:
                self.memory.rested_until[action] = now + _REST
        outcomes.append(ran)
        del outcomes[:-_OF]
        row = len(outcomes) >= _IN_A_ROW and not any(outcomes[-_IN_A_ROW:])
        if action not in self.memory.rested_until and (
            row or (len(outcomes) >= _OF and outcomes.count(False) >= _FAILED)
        ):
            self.memory.rested_until[action] = now + _REST

    def why_not(self, action: str, now: float) -> str:
        """Return why an action is rested; empty if it is not."""
        until = self.memory.rested_until.get(action)
        if until is None or now >= until:
            return ""
        outcomes = self.memory.outcomes.get(action, [])
        return (
            f"the actuator is rested: {outcomes.count(False)} of its last {len(outcomes)} runs failed; "
            f"one try in {until - now:.0f} s"
        )

    def begun(self, action: str, now: float) -> None:
        """Note that a try was given: until its outcome is known, there is no other."""
        if action in self.memory.rested_until:
            self.memory.rested_until[action] = now + _REST
