"""Changes: what was done that lasts, for whom, and when it is to be undone."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aetherra.plugins.homeostasis.decision.rung import Arguments, Rung

__all__ = ["Change", "Changes", "ChangesMemory"]


class Change(msgspec.Struct):
    """One lasting change in force.

    Attributes:
        id: The decision that made it.
        action: What was done.
        target: To what.
        arguments: How.
        undo: Arguments of its undoing.
        holders: The symptoms that it is in force for, each with its target.
        at: When.
        undoing: The decision that undoes it, until that is reported.
        undone_at: When that was made.
    """

    id: str
    action: str
    target: str
    arguments: Arguments
    undo: Arguments
    holders: list[tuple[str, str]]
    at: float
    undoing: str = ""
    undone_at: float = 0.0


class ChangesMemory(msgspec.Struct):
    """The changes in force, in the order they were made."""

    made: list[Change] = []


class Changes:
    """The lasting changes in force. One that several symptoms ask for is made once, and ends with the last of them."""

    def __init__(self, memory: ChangesMemory) -> None:
        self.memory = memory

    def __iter__(self) -> Iterator[Change]:
        return iter(tuple(self.memory.made))

    def in_force(self, rung: Rung, target: str) -> Change | None:
        """Return the change that a rung would make again."""
        for change in self.memory.made:
            same = (change.action, change.target) == (rung.action, target) and change.arguments == rung.arguments
            if same and not change.undoing:
                return change
        return None

    def make(self, identity: str, rung: Rung, symptom: str, target: str, now: float) -> None:
        """Note a change."""
        self.memory.made.append(
            Change(identity, rung.action, target, rung.arguments, rung.undo, [(symptom, target)], now)
        )

    def drop(self, identity: str) -> None:
        """Forget a change: it was undone, or never came about."""
        self.memory.made = [change for change in self.memory.made if change.id != identity]

    def is_latest(self, change: Change) -> bool:
        """Return whether no later change of the same actuator is in force: they are undone in reverse."""
        same = [other for other in self.memory.made if (other.action, other.target) == (change.action, change.target)]
        return [other for other in same if not other.undoing][-1:] == [change]

    def undone_by(self, identity: str) -> Change | None:
        """Return the change that a decision undoes."""
        return next((change for change in self.memory.made if change.undoing == identity), None)
