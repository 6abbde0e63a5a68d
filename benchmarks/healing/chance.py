"""Chance: draws that the standard library lacks, from a generator that is given, so that each seed is one story."""

from __future__ import annotations

import math
import random

SMALL = 20.0
"""Below this mean draws are exact; above they are rounded from a normal distribution."""


def poisson(rng: random.Random, mean: float) -> int:
    """Draw how many of many rare things happen."""
    if mean <= 0:
        return 0
    if mean >= SMALL:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def binomial(rng: random.Random, count: int, share: float) -> int:
    """Draw how many of so many it hits."""
    if share <= 0 or not count:
        return 0
    if share >= 1:
        return count
    if count * min(share, 1 - share) >= SMALL:
        return min(count, max(0, round(rng.gauss(count * share, math.sqrt(count * share * (1 - share))))))
    hits, chance, left = 0, (1 - share) ** count, rng.random()
    while left > chance and hits < count:
        left -= chance
        chance *= (count - hits) / (hits + 1) * share / (1 - share)
        hits += 1
    return hits
