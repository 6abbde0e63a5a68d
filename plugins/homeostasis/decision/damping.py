"""Damping: what goes to and fro is let do so less and less often."""

from __future__ import annotations

import math

import msgspec

__all__ = ["Damping", "DampingMemory"]

_FREE = 2.0
"""Turns that are no oscillation: a fault, its cure, and one relapse."""
_DOUBLINGS = 3.0


class DampingMemory(msgspec.Struct):
    """Turns by what turned: a decayed count, and when it was counted."""

    turns: dict[str, tuple[float, float]] = {}


class Damping:
    """Counts turns (a symptom that comes back, an act that follows its own undoing), each worth half after a while.

    The factor is 1 until there are more turns than two, and doubles with each further one, up to 8.
    """

    def __init__(self, half_life: float, memory: DampingMemory) -> None:
        self._half_life = half_life
        self.memory = memory

    def turn(self, what: str, now: float) -> None:
        """Count a turn."""
        self.memory.turns[what] = (self._count(what, now) + 1, now)

    def turn_back(self, what: str, now: float) -> None:
        """Take a turn back that was counted, and did not come about."""
        if what in self.memory.turns:
            self.memory.turns[what] = (max(self._count(what, now) - 1, 0.0), now)

    def factor(self, what: str, now: float) -> float:
        """Return by how much cooldowns are longer."""
        return math.exp2(min(max(self._count(what, now) - _FREE, 0.0), _DOUBLINGS))

    def forget(self, now: float) -> None:
        """Let go what has not turned for long."""
        for what in [what for what in self.memory.turns if self._count(what, now) < 0.01]:
            del self.memory.turns[what]

    def _count(self, what: str, now: float) -> float:
        turned = self.memory.turns.get(what)
        if turned is None:
            return 0.0
        count, at = turned
        return count * math.exp2(-max(now - at, 0.0) / self._half_life)
