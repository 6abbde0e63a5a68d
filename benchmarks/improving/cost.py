"""Cost: what one point takes, beside a plain exponentially weighted z-score of the same points in the same round."""

from __future__ import annotations

import random
import time
from functools import partial

import anyio

from aetherra.plugins.self_improvement.analysis import Detector
from improving.contenders import Ewma, Scorer
from measuring.figures import Case, Effort, Figure, measure

BOUND = 10_000.0
"""The most that a point may cost, in nanoseconds."""

COUNT = 10_000
"""Points of a sample."""

FLOOR = "floor: EWMA z-score"
OURS = "Detector.update"


def cost(effort: Effort) -> list[Figure]:
    """Measure floor and detector turn by turn."""
    source = random.Random(1)
    points = [(60.0 * i, 100 + source.gauss(0, 1)) for i in range(20_000)]
    cases = [
        Case(FLOOR, partial(_fed, Ewma(), points), unit="point", count=COUNT, tells=True),
        Case(OURS, partial(_fed, Detector(), points), floor=FLOOR, unit="point", count=COUNT, tells=True),
    ]
    return anyio.run(measure, cases, effort)


async def _fed(scorer: Scorer, points: list[tuple[float, float]], count: int) -> float:
    """Return the processor seconds of a point: others on the machine are not its cost."""
    update, left = scorer.update, count
    begun = time.process_time()
    while left > 0:
        for timestamp, value in points[:left]:
            update(timestamp, value)
        left -= len(points)
    return (time.process_time() - begun) / count
