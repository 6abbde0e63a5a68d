"""The changes that actuators have made and not taken back: what it takes to do so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Changes"]


class Changes:
    """By actuator and target, what was before. What was before the first of several changes is what counts."""

    def __init__(self, standing: Mapping[str, Mapping[str, dict[str, Any]]] | None = None) -> None:
        self._standing = {actuator: dict(targets) for actuator, targets in (standing or {}).items()}

    def note(self, actuator: str, target: str, before: dict[str, Any]) -> None:
        """Remember what was before a change, in the actuator's own words for it."""
        self._standing.setdefault(actuator, {})[target] = before

    def find(self, actuator: str, target: str) -> dict[str, Any] | None:
        """Return what was before; ``None`` if nothing is changed."""
        return self._standing.get(actuator, {}).get(target)

    def forget(self, actuator: str, target: str) -> None:
        """Have a change be no more."""
        targets = self._standing.get(actuator, {})
        targets.pop(target, None)
        if not targets:
            self._standing.pop(actuator, None)

    @property
    def count(self) -> int:
        """How many stand."""
        return sum(map(len, self._standing.values()))

    def targets(self, actuator: str) -> tuple[str, ...]:
        """Return where an actuator has changed something."""
        return tuple(sorted(self._standing.get(actuator, {})))

    def standing(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return all of them, as the next generation takes them."""
        return {actuator: dict(targets) for actuator, targets in self._standing.items()}
