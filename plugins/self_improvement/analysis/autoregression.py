"""How far two windows of one metric lie apart when its noise remembers: owns the regressions behind a comparison.

Neighbouring measurements resemble each other, and the few points around a change cannot tell how much. So nothing is
estimated and then believed: the windows are fitted once for each of 14 memories (lag-1 autocorrelations of the noise,
from 0 to 0.985, each as likely as another beforehand), and what follows is averaged with the weights that the points
themselves give each memory, with flat priors on level, line and logarithm of the spread (Zellner and Tiao, J. American
Statistical Association 59, 1964). Each fit is generalized least squares: the values are freed of that memory (Prais
and Winsten, Cowles Commission Discussion Paper 383, 1954), across the gap between the windows too, then regressed. So a
leap that is out of all proportion to how the values usually move from one to the next is seen even where they wander
far, if the gap is short.

The work is one pass over the points and a small matrix for each memory.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from operator import mul
from typing import NamedTuple

__all__ = ["Fit", "Lines", "fits", "log_mean", "weights"]

Lines = Sequence[tuple[Sequence[float], Sequence[float]]]
"""Columns of a regression, each in its two parts."""

_MEMORIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.985)
_SHARES = (0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.075, 0.05, 0.045, 0.035, 0.025, 0.02)
"""How much of the range from 0 to 1 each memory stands for."""


class Fit(NamedTuple):
    """The windows as seen with one memory of the noise.

    Attributes:
        memory: That autocorrelation.
        evidence: Logarithm of how likely it makes the points when the windows do not differ, up to a common constant.
        shift: How far the second window lies above the first.
        precision: Weight of ``shift``: its variance is ``residual / freedom / precision``.
        residual: Sum of squares that is left beside the shift; never quite 0, as values are rounded.
        freedom: Degrees of freedom that are left beside the shift.
    """

    memory: float
    evidence: float
    shift: float
    precision: float
    residual: float
    freedom: int

    @property
    def t(self) -> float:
        """Student's t of the shift."""
        return self.shift / self.scale

    @property
    def scale(self) -> float:
        """Standard error of the shift."""
        return math.sqrt(self.residual / self.freedom / self.precision)

    @property
    def evidence_of_shift(self) -> float:
        """Logarithm of how likely the memory makes the points when the windows may differ by anything."""
        left = self.residual + self.precision * self.shift**2
        gain = (self.freedom + 1) * math.log(left) - self.freedom * math.log(self.residual)
        return self.evidence + (gain - math.log(self.precision)) / 2


def fits(
    before: Sequence[float],
    after: Sequence[float],
    lines: Lines = (),
    *,
    gap: float = 1.0,
    step: float = 0.0,
) -> list[Fit]:
    """Regress two windows on a level, ``lines`` and a shift of the second window, once for each memory of the noise.

    Args:
        before: Values at even times.
        after: The same of the second window.
        lines: Further columns of the regression.
        gap: Steps of time from the last value before to the first one after; infinite where the windows are to be
            taken as independent of each other.
        step: What the values are rounded to; 0 for the smallest difference that there is among them.

    Returns:
        One fit for each memory, from none to nearly 1. Beyond 4 values more than there are lines they make sense.
    """
    size = len(before) + len(after)
    rounding = size / 12 * (step or _smallest_difference([*before, *after])) ** 2
    level = sum(before) / len(before)
    columns = [
        ([1.0] * len(before), [1.0] * len(after)),
        *lines,
        ([0.0] * len(before), [1.0] * len(after)),
        ([value - level for value in before], [value - level for value in after]),
    ]
    first, second = (_Products([column[window] for column in columns]) for window in (0, 1))
    ends = [column[-1] for column, _ in columns]
    starts = [column[0] for _, column in columns]
    freedom = size - len(lines) - 1
    found: list[Fit] = []
    for memory in _MEMORIES:
        left_over = memory**gap
        new = (1 - memory**2) / (1 - left_over**2)
        jumps = [start - left_over * end for start, end in zip(starts, ends, strict=True)]
        matrix = [
            [
                a + b + new * jumps[i] * jumps[j] - (1 - memory**2) * starts[i] * starts[j]
                for j, (a, b) in enumerate(zip(*rows, strict=True))
            ]
            for i, rows in enumerate(zip(first.freed_of(memory), second.freed_of(memory), strict=True))
        ]
        determinant = _eliminate(matrix, len(lines) + 1)
        precision, moment, left = matrix[-2][-2], matrix[-2][-1], matrix[-1][-1]
        shift = moment / precision
        residual = max(left - moment * shift, 0.0) + rounding
        whole = residual + precision * shift**2
        evidence = (math.log((1 - memory**2) * new) - determinant - freedom * math.log(whole)) / 2
        found.append(Fit(memory, evidence, shift, precision, residual, freedom - 1))
    return found


def weights(logarithms: Sequence[float]) -> list[float]:
    """Return how likely each memory is, from the logarithm of how likely it makes the points."""
    highest = max(logarithms)
    parts = [share * math.exp(one - highest) for share, one in zip(_SHARES, logarithms, strict=True)]
    total = sum(parts)
    return [part / total for part in parts]


def log_mean(logarithms: Sequence[float]) -> float:
    """Return the logarithm of how likely the points are, whatever the memory."""
    highest = max(logarithms)
    return highest + math.log(
        sum(share * math.exp(one - highest) for share, one in zip(_SHARES, logarithms, strict=True))
    )


class _Products:
    """The sums of products of the columns of one window, from which those freed of any memory follow."""

    def __init__(self, columns: Sequence[Sequence[float]]) -> None:
        self._entries = [[self._entry(one, other) for other in columns] for one in columns]

    @staticmethod
    def _entry(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
        whole = math.fsum(map(mul, one, other))
        beside = math.fsum(map(mul, one, other[1:])) + math.fsum(map(mul, one[1:], other))
        return whole, beside, whole - one[0] * other[0] - one[-1] * other[-1]

    def freed_of(self, memory: float) -> list[list[float]]:
        """Return the matrix of sums of products of the columns after Prais and Winsten."""
        return [[a - memory * b + memory**2 * c for a, b, c in row] for row in self._entries]


def _eliminate(matrix: list[list[float]], columns: int) -> float:
    """Regress all further columns on the first ones, in place, and return the logarithm of the determinant of those."""
    logarithm = 0.0
    for k in range(columns):
        pivot = matrix[k][k]
        logarithm += math.log(pivot)
        for i in range(k + 1, len(matrix)):
            factor = matrix[i][k] / pivot
            for j in range(k + 1, len(matrix)):
                matrix[i][j] -= factor * matrix[k][j]
    return logarithm


def _smallest_difference(values: list[float]) -> float:
    values.sort()
    return min((b - a for a, b in pairwise(values) if b > a), default=1.0)
