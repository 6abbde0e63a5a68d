"""Which ways a knob can be turned for a metric: owns the reading of what the knob's owner declares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.proposals.proposal import Basis, Value

__all__ = ["Turn", "moves", "turned", "turns"]

Way = Literal["raise", "lower"]
_OTHER: dict[Way, Way] = {"raise": "lower", "lower": "raise"}


class Turn(msgspec.Struct, frozen=True):
    """One way to turn a knob.

    Attributes:
        direction: ``raise``, ``lower``, or ``to <choice>``.
        way: Which of the first two it is, for a choice by the order of choices.
        basis: Why it should help the metric.
        after: The value it leads to.
        size: How many steps that are; 0 for a choice.
    """

    direction: str
    way: Way
    basis: Basis
    after: Value
    size: float


def moves(knob: KnobInfo, metric: str) -> Direction | None:
    """Return what raising a knob does to a metric, as its owner declares; None where that is not said at all.

    A name may be a shell pattern; the first that fits counts.
    """
    for pattern, direction in knob.moves.items():
        if pattern == metric or fnmatchcase(metric, pattern):
            return direction
    return None


def turns(knob: KnobInfo, raising: Direction, good: Direction, *, size: float = 1.0) -> Iterator[Turn]:
    """Yield the ways to turn a knob that may move a metric the good way, the declared one before its contrary.

    Ways that the knob's range has no room for are left out; so are all where ``good`` says no way, up or down.

    Args:
        knob: With a value.
        raising: What raising it does to the metric.
        good: Which way the metric should move.
        size: How far, in steps; less where the range ends before.
    """
    if good not in ("up", "down"):
        return
    if raising in ("up", "down"):
        helping: Way = "raise" if raising == good else "lower"
        ways: list[tuple[Way, Basis]] = [(helping, "declared"), (_OTHER[helping], "contrary")]
    else:
        ways = [("raise", "unknown"), ("lower", "unknown")]
    for way, basis in ways:
        if knob.choices:
            yield from _to_choices(knob, way, basis)
        elif (found := turned(knob, way, size)) is not None:
            yield Turn(way, way, basis, *found)


def turned(knob: KnobInfo, way: str, size: float = 1.0) -> tuple[Value, float] | None:
    """Return the value that ``size`` steps lead to, and how many steps that really are; None where there is no room.

    What would leave the range ends at its end. A whole knob is turned by 1 at least.
    """
    value, low, high, step = knob.value, knob.low, knob.high, knob.step
    if not isinstance(value, (int, float)) or low is None or high is None or step is None:
        return None
    sign = 1 if way == "raise" else -1
    steps = sign * size
    wanted = value * float(step) ** steps if knob.scale == "log" else value + steps * step
    if knob.whole:
        nearest = round(wanted)
        wanted = value + sign if sign * (nearest - value) < 1 else nearest
    after = min(max(wanted, low), high)
    if sign * (after - value) <= 1e-9 * max(abs(value), abs(step)):
        return None
    if knob.scale == "log" and value > 0:
        real = abs(math.log(after / value)) / math.log(step)
    else:
        real = abs(after - value) / step
    return int(after) if knob.whole else after, real


def _to_choices(knob: KnobInfo, way: Way, basis: Basis) -> Iterator[Turn]:
    """Yield the next choice in that direction; where nobody knows what the order means, all of them."""
    if knob.value not in knob.choices:
        return
    at = knob.choices.index(str(knob.value))
    there = knob.choices[at + 1 :] if way == "raise" else tuple(reversed(knob.choices[:at]))
    for choice in there if basis == "unknown" else there[:1]:
        yield Turn(f"to {choice}", way, basis, choice, 0.0)
