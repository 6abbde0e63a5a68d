"""What learns for one target: from one part of the evidence; and tells what a value loses on the other."""

from collections.abc import Sequence
from typing import Protocol

from aetherra.plugins.self_incorporation.night.learning.candidate import Candidate, LearnedValue
from aetherra.plugins.self_incorporation.night.learning.trial import Target
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["Learner"]


class Learner(Protocol):
    """One for each target, made anew each night."""

    @property
    def target(self) -> Target:
        """What it learns for."""
        ...

    @property
    def metric(self) -> str:
        """What a loss is; less is better."""
        ...

    @property
    def learnt_from(self) -> int:
        """How many pieces of evidence it learns from."""
        ...

    @property
    def latest(self) -> float:
        """Unix time of the latest evidence; 0 if there is none."""
        ...

    def younger(self, since: float) -> int:
        """Return how many pieces of evidence are younger than a Unix time."""
        ...

    def learn(self, in_use: LearnedValue | None) -> Steps[None, Sequence[Candidate]]:
        """Return what is worth a trial, in that order, from what is learnt from alone."""
        ...

    def losses(self, value: LearnedValue | None, *, since: float = 0.0) -> Steps[None, list[float]]:
        """Return what a value loses on each piece of evidence that was held back and is younger than ``since``."""
        ...

    def harm(self, before: LearnedValue | None, after: LearnedValue | None) -> str:
        """Return why a value must not replace another though it loses less; empty if nothing stands against it."""
        ...
