"""Weights of the classifier's features, learnt from files whose kind is known."""

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind, scores_of
from aetherra.plugins.self_incorporation.night.evidence import Label, Vote
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["STRENGTHS", "ClassifierWeights", "fit", "is_right", "latest", "loss"]

STRENGTHS = (1.0, 4.0, 16.0)
"""How hard a weight is held where it was, to choose from."""
_ROUNDS = 60
_SETTLED = 1e-3
_STEP = 32  # labels that are looked at in one step
_LEAST = 1e-6  # of a probability, so that one file cannot outweigh all others


class ClassifierWeights(Struct, frozen=True, tag="classifier_weights"):
    """What to count features with, in place of their own weights, by their names."""

    weights: dict[str, float] = {}


def latest(labels: Iterable[Label]) -> dict[tuple[str, str], Label]:
    """Return the last label of each file, by its root and path; what a person said stands against an integration."""
    found: dict[tuple[str, str], Label] = {}
    for label in labels:
        key = (label.root, label.path)
        if label.by == "person" or key not in found or found[key].by == "integration":
            found[key] = label
    return found


def loss(label: Label, weights: Mapping[str, float]) -> float:
    """Return what the classifier loses on a file: the negative logarithm of the confidence it has in its true kind."""
    return -math.log(max(_LEAST, _shares(label.votes, weights)[label.kind]))


def is_right(label: Label, weights: Mapping[str, float]) -> bool:
    """Say whether the classifier would take the file for what it is."""
    scores = _scores(label.votes, weights)
    return max(scores, key=scores.__getitem__) is label.kind


def fit(labels: Sequence[Label], strength: float) -> Steps[None, ClassifierWeights]:
    """Learn weights under which the true kinds are likelier, and which are not far from the features' own.

    It minimises the sum of losses plus half the ``strength`` times the squared distance from their own weights, a
    convex problem, by steps along the gradient that are each bounded by the curvature, so that none overshoots.
    """
    start = {vote.feature: vote.weight for label in labels for vote in label.votes}
    weights = dict(start)
    curvature = dict.fromkeys(start, strength)
    for label in labels:
        crowd = _crowd(label.votes)
        for vote in label.votes:
            curvature[vote.feature] += 0.5 * crowd[vote.kind]
    for _ in range(_ROUNDS):
        gradient = {feature: strength * (weight - start[feature]) for feature, weight in weights.items()}
        for number, label in enumerate(labels):
            shares = _shares(label.votes, weights)
            for vote in label.votes:
                gradient[vote.feature] += shares[vote.kind] - (vote.kind is label.kind)
            if number % _STEP == 0:
                yield None
        moves = {feature: slope / curvature[feature] for feature, slope in gradient.items()}
        for feature, move in moves.items():
            weights[feature] -= move
        if max(map(abs, moves.values()), default=0.0) < _SETTLED:
            break
    moved = {feature: weight for feature, weight in weights.items() if abs(weight - start[feature]) >= _SETTLED}
    return ClassifierWeights({feature: round(weight, 4) for feature, weight in sorted(moved.items())})


def _crowd(votes: Iterable[Vote]) -> dict[FileKind, int]:
    crowd: dict[FileKind, int] = {}
    for vote in votes:
        crowd[vote.kind] = crowd.get(vote.kind, 0) + 1
    return crowd


def _shares(votes: Iterable[Vote], weights: Mapping[str, float]) -> dict[FileKind, float]:
    scores = _scores(votes, weights)
    top = max(scores.values())
    powers = {kind: math.exp(score - top) for kind, score in scores.items()}
    whole = sum(powers.values())
    return {kind: power / whole for kind, power in powers.items()}


def _scores(votes: Iterable[Vote], weights: Mapping[str, float]) -> dict[FileKind, float]:
    return scores_of((vote.kind, weights.get(vote.feature, vote.weight)) for vote in votes)
