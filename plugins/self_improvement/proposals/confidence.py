"""How likely a change is to help, and how far that figure is to be trusted: owns the priors and the arithmetic.

The probability is the mean of a Beta distribution whose prior is worth ``PRIOR_WEIGHT`` outcomes, updated by what like
changes came to, each outcome worth half after ``HALF_LIFE``. Five levels are gone through from the general to the
specific: kind, knob, family of the metric, metric, context. Each is drawn about the one above with ``LEVEL_WEIGHT``, so
what the wider level says is the prior of the narrower one, as MacKay and Peto do with Dirichlet distributions (A
hierarchical Dirichlet language model, Natural Language Engineering 1, 1995).

An outcome counts at its own level and at all above, for it tells of them, too. But many of one place tell less of the
level above than as many of different places: n of one place count there as much as
``n (LEVEL_WEIGHT + 1) / (n + LEVEL_WEIGHT)`` independent ones, which is exact for the mean of a place's rate. So one
failure takes 0.65 to 0.52 in its own context, 0.54 with another problem or load, 0.57 in the metric's family, 0.59 for
any other metric and 0.62 for other knobs of the kind. A change that made no difference is no failure of one at least
twice as large, and does not count for it.

Whether the figures hold is measured by the score of Brier (Monthly Weather Review 78, 1950), the mean squared
distance of what was said to what came, and by its part that is due to wrong probabilities alone, the reliability of
Murphy (J. Applied Meteorology 12, 1973).

Measured on 10,000 forecasts in 100 simulated worlds of 100 outcomes each, whose true rates scatter about the prior as
assumed: Brier 0.210, where the base rate gets 0.226 and who knows the true rates 0.182; reliability 0.0001, and no
tenth that holds more than a hundredth of them is off by more than 0.015. Where only what is told at least 0.6 is done,
as by default: Brier 0.189 of 0.195, reliability 0.0002. Where the assumptions are wrong: rates that scatter far more
(4 in place of 21.9), Brier 0.141 of 0.230, reliability 0.010, too cautious at both ends; owners who declare too much, a
mean rate of 0.30 for the 0.65 of the prior, reliability 0.056 in the first 20 outcomes of a world and 0.002 in the
second half, and what is told at least 0.6, a thirteenth of all, comes true at 0.42.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from aetherra.plugins.self_improvement.proposals.proposal import Basis

__all__ = [
    "HALF_LIFE",
    "LEVELS",
    "LEVEL_WEIGHT",
    "PRIORS",
    "PRIOR_WEIGHT",
    "Bin",
    "Calibration",
    "calibration",
    "decay",
    "pooled",
    "posterior",
    "prior",
]

HALF_LIFE = 30 * 86_400.0
"""Seconds after which an outcome counts half: hosts and loads change."""

PRIOR_WEIGHT = 4.0
"""How many outcomes the prior is worth: one failure takes 0.65 to 0.52, one success to 0.72."""

LEVELS = 5
"""Kind, knob, family, metric, context."""

LEVEL_WEIGHT = 1 / ((1 + 1 / PRIOR_WEIGHT) ** (1 / LEVELS) - 1)
"""How many outcomes the probability of one level is worth at the next, 21.9: over all levels the prior is worth
``PRIOR_WEIGHT``, as ``(w / (w + 1)) ** LEVELS`` is ``PRIOR_WEIGHT / (PRIOR_WEIGHT + 1)``."""

PRIORS: Mapping[Basis, float] = MappingProxyType(
    {"declared": 0.65, "contrary": 0.65, "correlated": 0.65, "unknown": 0.5}
)
"""What is believed before anything was tried; that of ``correlated`` holds for a correlation of 1."""


def prior(basis: Basis, strength: float = 1.0) -> float:
    """Return what is believed before anything was tried.

    Args:
        basis: Why the knob should move the metric that way.
        strength: How far the basis carries, 0 to 1: the absolute correlation, where it is one. At 0 nobody knows.
    """
    unknown = PRIORS["unknown"]
    return unknown + (PRIORS[basis] - unknown) * min(max(strength, 0.0), 1.0)


def decay(age: float, half_life: float = HALF_LIFE) -> float:
    """Return what an outcome of ``age`` seconds ago is worth, 1 for a fresh one; one from later on is fresh."""
    return math.exp2(-max(age, 0.0) / half_life)


def pooled(places: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return what successes and failures at several places are worth at the level above them."""
    yes = no = 0.0
    for good, bad in places:
        worth = (LEVEL_WEIGHT + 1) / (good + bad + LEVEL_WEIGHT)
        yes, no = yes + worth * good, no + worth * bad
    return yes, no


def posterior(start: float, levels: Iterable[tuple[float, float]]) -> float:
    """Return the probability of success after what was seen.

    Args:
        start: The probability before, 0 to 1.
        levels: Successes and failures, decayed, at each level from the most general to the most specific.

    Returns:
        A probability, strictly between 0 and 1 if ``start`` is. More successes never lower it, more failures never
        raise it.
    """
    probability = start
    for yes, no in levels:
        probability = (LEVEL_WEIGHT * probability + yes) / (LEVEL_WEIGHT + yes + no)
    return probability


class Bin(msgspec.Struct, frozen=True):
    """Forecasts that said about the same.

    Attributes:
        low: Lowest probability that belongs here.
        high: The first that does not (1 does belong to the last).
        count: How many there are.
        said: Mean of the probabilities.
        came: Share that came true.
    """

    low: float
    high: float
    count: int
    said: float
    came: float


class Calibration(msgspec.Struct, frozen=True):
    """How good probabilities were.

    Attributes:
        count: Forecasts that are known to have come true or not.
        brier: Mean squared distance, 0 is perfect; None without forecasts.
        base_rate: Share that came true; None without forecasts.
        baseline: The score of always saying the base rate, known only afterwards; None without forecasts.
        reliability: The part of the score that is due to probabilities being too high or too low; 0 is calibrated.
        bins: What was said against what came, without empty ones.
    """

    count: int
    brier: float | None
    base_rate: float | None
    baseline: float | None
    reliability: float | None
    bins: tuple[Bin, ...]


def calibration(forecasts: Iterable[tuple[float, bool]], *, bins: int = 10) -> Calibration:
    """Score probabilities against what came.

    Args:
        forecasts: Pairs of probability and whether it came true.
        bins: Equal parts of 0 to 1 that the reliability is taken over.

    Raises:
        ValueError: A probability is not between 0 and 1, or ``bins`` is below 1.
    """
    if bins < 1:
        raise ValueError(f"expected at least one bin, got {bins!r}")
    parts: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for said, came in forecasts:
        if not 0 <= said <= 1:
            raise ValueError(f"expected probabilities between 0 and 1, got {said!r}")
        parts[min(int(said * bins), bins - 1)].append((said, came))
    count = sum(map(len, parts))
    if not count:
        return Calibration(0, None, None, None, None, ())
    full = tuple(
        Bin(
            number / bins,
            (number + 1) / bins,
            len(part),
            math.fsum(said for said, _ in part) / len(part),
            sum(came for _, came in part) / len(part),
        )
        for number, part in enumerate(parts)
        if part
    )
    base = sum(came for part in parts for _, came in part) / count
    return Calibration(
        count=count,
        brier=math.fsum((said - came) ** 2 for part in parts for said, came in part) / count,
        base_rate=base,
        baseline=base * (1 - base),
        reliability=math.fsum(one.count * (one.said - one.came) ** 2 for one in full) / count,
        bins=full,
    )
