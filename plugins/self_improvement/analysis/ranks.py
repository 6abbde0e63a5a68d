"""The order of values: owns ranks that ties share, as whole numbers."""

from collections.abc import Sequence

__all__ = ["centred_ranks"]


def centred_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, less the mean of all: their sum is 0, and values that tie share theirs."""
    ordered = sorted(values)
    count = len(ordered)
    upto = dict(zip(ordered, range(1, count + 1), strict=True))
    if len(upto) == count:  # nothing ties
        return [2 * upto[value] - 1 - count for value in values]
    below = dict(zip(reversed(ordered), range(count - 1, -1, -1), strict=True))
    return [below[value] + upto[value] - count for value in values]
