"""In which unit the figures of an axis are written, so that they read well."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["PLAIN", "Scale", "scale_for"]

_BYTES: dict[float, str] = {1: "bytes", 2**10: "KiB", 2**20: "MiB", 2**30: "GiB", 2**40: "TiB", 2**50: "PiB"}
_SECONDS: dict[float, str] = {1e-9: "ns", 1e-6: "µs", 1e-3: "ms", 1.0: "s"}
PLAIN = (1e-3, 1e5)
"""Magnitudes between which figures are written as they are."""


class Scale(NamedTuple):
    """How the figures of an axis are written: divided by ``divisor``, in ``unit``."""

    divisor: float
    unit: str


def scale_for(magnitude: float, unit: str) -> Scale:
    """Return in which unit values of at most ``magnitude`` read well: ms for few seconds, GiB for many bytes.

    Other units keep theirs, with a power of ten before it where figures would be long.
    """
    for names, prefixes in ((("bytes", "B"), _BYTES), (("s", "seconds"), _SECONDS)):
        if unit in names:
            fitting: list[float] = [divisor for divisor in prefixes if divisor <= magnitude]
            if fitting and magnitude < PLAIN[1] * max(fitting):
                return Scale(max(fitting), prefixes[max(fitting)])
    if magnitude == 0 or PLAIN[0] <= magnitude < PLAIN[1]:
        return Scale(1.0, unit)
    power = 3 * math.floor(math.log10(magnitude) / 3)
    power = max(power, -306)
    return Scale(10.0**power, f"10{str(power).translate(_RAISED)} {unit}".rstrip())


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
