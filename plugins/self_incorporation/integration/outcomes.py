"""Outcomes: what integrating, rolling back, recovering and bringing up came to."""

from msgspec import Struct

__all__ = ["BroughtUp", "Integrated", "Recovery", "RolledBack"]


class Integrated(Struct, frozen=True):
    """A plan was carried out.

    Attributes:
        token: What it is rolled back by.
        plan: The plan's digest.
        names: What its steps are registered as.
        notes: How each went, for people.
    """

    token: str
    plan: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


class RolledBack(Struct, frozen=True):
    """An integration was rolled back.

    Attributes:
        token: Which.
        names: What its steps were registered as.
        left: What could not be undone; empty if all is as it was.
    """

    token: str
    names: tuple[str, ...]
    left: tuple[str, ...]


class Recovery(Struct, frozen=True):
    """What was found at the start.

    Attributes:
        rolled_back: Tokens of integrations that had not come to their end, and are undone.
        problems: Why one could not be undone: what it touches is left alone before somebody has seen to it.
        unreadable_lines: Lines of the journal that are no record; one is what a crash leaves.
    """

    rolled_back: tuple[str, ...]
    problems: tuple[str, ...]
    unreadable_lines: int


class BroughtUp(Struct, frozen=True):
    """Whether a registered plugin serves; ``problem`` says why not, empty if it does."""

    name: str
    problem: str
