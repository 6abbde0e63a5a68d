"""Learns the classifier's weights from files whose kind is known."""

from collections.abc import Iterable, Sequence
from typing import Literal

from aetherra.plugins.self_incorporation.night.evidence import Label
from aetherra.plugins.self_incorporation.night.learning.candidate import Candidate, LearnedValue, mark_of
from aetherra.plugins.self_incorporation.night.learning.classifier_weights import (
    STRENGTHS,
    ClassifierWeights,
    fit,
    is_right,
    latest,
    loss,
)
from aetherra.plugins.self_incorporation.night.learning.split import is_held_back
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["KindLearner"]

FEWEST = 5
"""Labels to learn from, below which nothing is learnt."""
_STEP = 32


class KindLearner:
    """Files are held back by their names, so that one is never learnt from in one night and tried on in another.

    Args:
        labels: What files really are.
        held_back: Share of the files.
    """

    target: Literal["classifier_weights"] = "classifier_weights"
    metric = "mean negative logarithm of the confidence in the true kind"

    def __init__(self, labels: Iterable[Label], held_back: float) -> None:
        known = latest(labels)
        self._learn = [label for key, label in known.items() if not is_held_back("\0".join(key), held_back)]
        self._held_back = [label for key, label in known.items() if is_held_back("\0".join(key), held_back)]
        self.learnt_from = len(self._learn)
        self.latest = max((label.at for label in known.values()), default=0.0)

    def younger(self, since: float) -> int:
        """Return how many pieces of evidence are younger than a Unix time."""
        return sum(label.at > since for label in (*self._learn, *self._held_back))

    def learn(self, in_use: LearnedValue | None) -> Steps[None, Sequence[Candidate]]:
        """Choose how hard weights are held by a third of what is learnt from, and learn from all of it."""
        if len(self._learn) < FEWEST:
            return ()
        inner = [label for label in self._learn if not _is_inner(label)]
        outer = [label for label in self._learn if _is_inner(label)]
        best, strength = float("inf"), STRENGTHS[-1]
        for tried in STRENGTHS if inner and outer else ():
            value = yield from fit(inner, tried)
            lost = sum((yield from _losses(outer, value)))
            if lost < best:
                best, strength = lost, tried
        value = yield from fit(self._learn, strength)
        return (Candidate(target=self.target, insight="labels", value=value, builds_on=mark_of(in_use)),)

    def losses(self, value: LearnedValue | None, *, since: float = 0.0) -> Steps[None, list[float]]:
        """Return the losses on the files that were held back."""
        return (yield from _losses([label for label in self._held_back if label.at > since], value))

    def harm(self, before: LearnedValue | None, after: LearnedValue | None) -> str:
        """More confidence is no gain if fewer files are taken for what they are."""
        right_before = sum(is_right(label, _weights(before)) for label in self._held_back)
        right_after = sum(is_right(label, _weights(after)) for label in self._held_back)
        if right_after >= right_before:
            return ""
        return f"{right_after} of {len(self._held_back)} files would be taken for what they are, {right_before} are now"


def _losses(labels: Sequence[Label], value: LearnedValue | None) -> Steps[None, list[float]]:
    weights = _weights(value)
    lost: list[float] = []
    for number, label in enumerate(labels):
        lost.append(loss(label, weights))
        if number % _STEP == 0:
            yield None
    return lost


def _weights(value: LearnedValue | None) -> dict[str, float]:
    return value.weights if isinstance(value, ClassifierWeights) else {}


def _is_inner(label: Label) -> bool:
    return is_held_back(f"inner\0{label.root}\0{label.path}", 1 / 3)
