"""A signal: what a ladder goes by, whether it comes from votes of samples or from a budget that burns."""

from __future__ import annotations

from typing import Protocol

from aetherra.plugins.homeostasis.decision.clause import Clause, Holding
from aetherra.plugins.homeostasis.decision.observation import Observation

__all__ = ["Agreement", "Signal", "counted", "reached"]


def counted(votes: int, last: int) -> int:
    """Return how many of the last so many bits are set."""
    return (votes & ((1 << last) - 1)).bit_count()


def reached(votes: int, needed: tuple[int, int]) -> bool:
    """Return whether n of the last m bits are set, the latest two among them: what goes to and fro convinces nobody."""
    latest = 0b11 if needed[0] > 1 else 0b1
    return votes & latest == latest and counted(votes, needed[1]) >= needed[0]


class Signal(Protocol):
    """Evidence of one symptom on one target.

    Attributes:
        metric: Its metric, with the target.
        active: Whether the symptom holds.
        suspect: Whether the latest sample speaks for it, enough or not.
        known: Whether the metric is known now.
        taken: When the last sample was measured.
        value: What it read last, while that was known.
        why: Why it is not known.
        good: The value up to which it is good.
        bound: What is bad, in words.
        agreement: What others say.
    """

    metric: str
    active: bool
    suspect: bool
    known: bool
    taken: float
    value: float | None
    why: str
    good: float
    bound: str
    agreement: Agreement

    def look(self, observation: Observation, now: float, holding: Holding) -> None:
        """Take the next observation in."""
        ...

    def votes(self) -> tuple[int, int, int]:
        """Return n, m and how many are needed: bad samples of the last m, or good ones once the symptom has left."""
        ...

    def due(self) -> bool:
        """Return whether the evidence since the last act is enough for another."""
        ...

    def refresh(self) -> None:
        """Forget the votes: what was seen before an act says nothing of what follows."""
        ...


class Agreement:
    """Votes of the metrics that must agree before anything disruptive is done."""

    __slots__ = ("_clauses", "_needed", "_votes", "_window", "why_not")

    def __init__(self, clauses: tuple[Clause, ...], needed: int, window: int) -> None:
        self._clauses = clauses
        self._needed, self._window = needed, window
        self._votes = 0
        self.why_not = "nothing else has agreed yet"

    @property
    def reached(self) -> bool:
        """Whether all conditions were met at once in n of the last m samples, the latest among them."""
        return bool(self._votes & 1) and counted(self._votes, self._window) >= self._needed

    @property
    def texts(self) -> tuple[str, ...]:
        """What agrees, in words."""
        return tuple(clause.text for clause in self._clauses) if self.reached else ()

    def look(self, observation: Observation, holding: Holding) -> None:
        """Have the others vote."""
        why = next((why for clause in self._clauses if (why := clause.unmet(observation, holding))), "")
        self._votes = (self._votes << 1 | (not why)) & ((1 << self._window) - 1)
        votes = f"{counted(self._votes, self._window)} of the {self._needed} samples that must agree do"
        self.why_not = why or votes

    def refresh(self) -> None:
        """Forget the votes."""
        self._votes = 0
        self.why_not = "nothing else has agreed yet"
