"""What was seen: a named figure and its age, and the one place that says whether it is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeGuard

import msgspec

__all__ = ["Observation", "Observed", "read", "read_sum"]

SKEW = 1.0
"""Seconds that a reading may come from the future: clocks of two threads differ by less, a wrong clock by more."""


class Observed(msgspec.Struct, frozen=True, gc=False):
    """One figure as it was read.

    Attributes:
        value: What was read; None, NaN and infinite values are UNKNOWN, which is neither 0 nor healthy.
        age: Seconds since it was read. One older than its reader's ``max_age`` is UNKNOWN.
    """

    value: float | None
    age: float = 0.0


Observation: TypeAlias = Mapping[str, Observed | float | None]
"""Metrics by name. A bare number is one of age 0; a name that is missing is UNKNOWN."""


def read(seen: object, max_age: float) -> tuple[float | None, float, str]:
    """Return value, age, and why the value is unknown (empty where it is known). Nothing that is seen raises."""
    age = 0.0
    if isinstance(seen, Observed):
        age = seen.age
        seen = seen.value
        if not _is_number(age) or age != age:
            return None, 0.0, f"its age is no number but {age if isinstance(age, float) else type(age).__name__}"
        try:
            age = float(age)
        except OverflowError:
            return None, 0.0, "its age is beyond all floats"
        if age < 0:
            if age < -SKEW:
                return None, 0.0, f"it comes from the future (age {age:g} s)"
            age = 0.0
    if seen is None:
        return None, age, "no value"
    if not _is_number(seen):
        return None, age, f"it is no number but {type(seen).__name__}"
    try:
        value = float(seen)
    except OverflowError:
        return None, age, "it is beyond all floats"
    if not math.isfinite(value):
        return None, age, f"it is {value}"
    if age > max_age:
        return None, age, f"it is {age:.3g} s old, older than {max_age:g} s"
    return value, age, ""


def _is_number(figure: object) -> TypeGuard[float]:
    return isinstance(figure, (int, float))


def read_sum(observation: Observation, names: Iterable[str], max_age: float) -> tuple[float | None, float, str]:
    """Return the sum of some metrics, the age of the oldest, and why the sum is unknown: one part is."""
    total, oldest = 0.0, 0.0
    for name in names:
        if name not in observation:
            return None, 0.0, f"{name} is missing"
        value, age, why = read(observation[name], max_age)
        if value is None:
            return None, age, f"{name}: {why}"
        total += value
        oldest = max(oldest, age)
    return (total, oldest, "") if math.isfinite(total) else (None, oldest, f"their sum is {total}")
