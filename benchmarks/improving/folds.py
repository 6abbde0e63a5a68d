"""Folds: what choosing the detector's constants without a group of series brings on that group."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import msgspec

from aetherra.plugins.self_improvement.analysis import Detector
from improving.contenders import reports
from improving.nab import PROFILES, Series, Tally, score, tally

AXES = {"BAR": (4.0, 4.5, 5.0), "TIRES": (0.4, 0.5, 0.7), "SETTLES": (25.0, 40.0, 60.0), "RECENT": (6.0, 8.0, 12.0)}
STANDARD = PROFILES["standard"]


class Folds(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        left_out: Tallies of each series, by the constants that were best on the other groups.
        every: Standard scores of all choices on all series, from the least to the most.
    """

    left_out: list[Tally]
    every: list[float]


def folds(corpus: Sequence[Series]) -> Folds:
    """Try every choice of constants near ours, and leave out one group of series after another."""
    choices = list(product(*AXES.values()))
    with ProcessPoolExecutor() as pool:
        tried = list(pool.map(_tallies, choices, [corpus] * len(choices)))
    best = {group: _best_without(group, corpus, tried) for group in {series.group for series in corpus}}
    return Folds(
        [best[series.group][i] for i, series in enumerate(corpus)],
        sorted(score(tallies, STANDARD) for tallies in tried),
    )


def _tallies(constants: Sequence[float], corpus: Sequence[Series]) -> list[Tally]:
    variant = type("Variant", (Detector,), dict(zip(AXES, constants, strict=True)))
    return [tally(series, reports(variant, series)) for series in corpus]


def _best_without(group: str, corpus: Sequence[Series], tried: Sequence[list[Tally]]) -> list[Tally]:
    others = [i for i, series in enumerate(corpus) if series.group != group]
    return max(tried, key=lambda tallies: score([tallies[i] for i in others], STANDARD))
