"""A rung: one thing to try against a symptom."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.shape import check_shape

__all__ = ["Arguments", "Rung"]

Arguments: TypeAlias = dict[str, str | bool | int | float | None]
"""What an actuator is given beside its target."""


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action of a ladder, and when it is worth a try.

    Attributes:
        action: The actuator's name.
        arguments: What it is given beside the target.
        disruptive: It costs somebody something, as a restart does. It is taken only on confirmed evidence.
        settle: Seconds within which its effect must show; then the next rung is due. A metric that is on its way
            after that is given the same time again, twice at most.
        requires: Conditions that must all be met; else the rung is passed over, and looked at again later.
        unless: Conditions of which none may be met; else it is passed over likewise.
        lasting: It changes something that stays changed: undone once the symptom has left and stays away.
        undo: Arguments of the decision that undoes it.
        retry_after: Of a lasting rung that takes its target away, so that nobody sees whether the symptom is there any
            more: seconds after which it is undone for a try, twice as many each time that it came back; 0: never.
        tries: How often it is tried before the next rung is due.
        expects: What it should bring about, in words; by default that the symptom leaves.

    Raises:
        ValueError: No action, a settle time that is not above 0, fewer than one try, or retry_after of what does
            not last.
    """

    action: str
    arguments: Arguments = {}
    disruptive: bool = False
    settle: float = 30.0
    requires: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    lasting: bool = False
    undo: Arguments = {}
    retry_after: float = 0.0
    tries: int = 1
    expects: str = ""

    def __post_init__(self) -> None:
        check_shape(self)
        if not self.action:
            raise ValueError("expected the name of an actuator as action, got ''")
        if not self.settle > 0:
            raise ValueError(f"expected settle above 0 s for {self.action!r}, got {self.settle!r}")
        if self.retry_after < 0 or (self.retry_after and not self.lasting):
            raise ValueError(f"expected retry_after of at least 0 s, and of a lasting {self.action!r} only")
        if self.tries < 1:
            raise ValueError(f"expected at least one try of {self.action!r}, got {self.tries}")
