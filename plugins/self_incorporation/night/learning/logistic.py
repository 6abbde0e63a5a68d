"""How likely something is by its features: a logistic regression, in steps."""

import math
from collections.abc import Iterable, Mapping, Sequence

from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["BIAS", "fit_logistic", "likelihood"]

BIAS = ""
"""The weight that stands for no feature."""
_ROUNDS = 200
_SETTLED = 1e-3
_STEP = 64


def likelihood(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    """Return how likely it is, 0 to 1."""
    score = weights.get(BIAS, 0.0) + sum(weights.get(name, 0.0) * value for name, value in features.items() if name)
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, score))))


def fit_logistic(
    examples: Sequence[tuple[Mapping[str, float], bool]], allowed: Iterable[str], strength: float
) -> Steps[None, dict[str, float]]:
    """Learn weights from examples, each its features and whether it came about.

    It minimises the sum of negative logarithms of what came about, plus half the ``strength`` times the squared
    weights, by steps along the gradient that are each bounded by the curvature.

    Args:
        examples: What happened.
        allowed: What a feature's name may begin with to be looked at.
        strength: How hard a weight is held at 0.
    """
    prefixes = tuple(allowed)
    rows: list[tuple[dict[str, float], bool]] = []
    curvature: dict[str, float] = {BIAS: 1e-6}
    for features, happened in examples:
        row = {name: value for name, value in features.items() if value and name.startswith(prefixes)}
        row[BIAS] = 1.0
        whole = sum(map(abs, row.values()))
        for name, value in row.items():
            curvature[name] = curvature.get(name, strength) + 0.25 * abs(value) * whole
        rows.append((row, happened))
    weights = dict.fromkeys(curvature, 0.0)
    for _ in range(_ROUNDS):
        gradient = {name: 0.0 if name == BIAS else strength * weight for name, weight in weights.items()}
        for number, (row, happened) in enumerate(rows):
            error = likelihood(weights, row) - happened
            for name, value in row.items():
                gradient[name] += error * value
            if number % _STEP == 0:
                yield None
        moves = {name: slope / curvature[name] for name, slope in gradient.items()}
        for name, move in moves.items():
            weights[name] -= move
        if max(map(abs, moves.values())) < _SETTLED:
            break
    return {name: round(weight, 4) for name, weight in weights.items() if abs(weight) >= _SETTLED}
