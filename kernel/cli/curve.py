"""The points of a series made fit to be drawn: no more than can be seen, and in stretches between gaps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

__all__ = ["COLUMNS", "Point", "stretches", "thinned"]

Point = tuple[float, float]
"""A time and a value."""

COLUMNS = 1200
"""Columns that a line is thinned to: more points than four for each cannot be seen."""


def thinned(points: Sequence[Point], columns: int = COLUMNS) -> list[Point]:
    """Return points that draw the same line: the first, last, lowest and highest of each of ``columns`` columns.

    So no spike is lost (M4; Jugel and others, VLDB 7, 2014).
    """
    if len(points) <= 4 * columns:
        return list(points)
    start, end = points[0][0], points[-1][0]
    width = (end - start) / columns or 1.0
    kept = list[Point]()
    first = 0
    for column in range(1, columns + 1):
        edge = start + column * width
        last = len(points) if column == columns else bisect_left(points, edge, first, key=_time)
        part = range(first, last)
        if part:
            lowest, highest = min(part, key=lambda i: points[i][1]), max(part, key=lambda i: points[i][1])
            kept += [points[i] for i in sorted({first, lowest, highest, last - 1})]
        first = last
    return kept


def stretches(points: Sequence[Point], *, gap: float = 6.0, beside: int = 3) -> Iterator[Sequence[Point]]:
    """Yield the points between gaps: steps of time ``gap`` times as long as all but one of those beside them.

    Only those beside count, as an old part of a history is coarser than a new one without being full of gaps.
    """
    steps = [later[0] - earlier[0] for earlier, later in pairwise(points)]
    first = 0
    for i, step in enumerate(steps):
        around = steps[max(i - beside, 0) : i] + steps[i + 1 : i + 1 + beside]
        if len(around) >= beside and step > gap * sorted(around)[-2]:
            yield points[first : i + 1]
            first = i + 1
    if points:
        yield points[first:]


def _time(point: Point) -> float:
    return point[0]
