"""Measuring: cases side by side, round by round, each as a ratio to the floor of its own round."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import anyio
import anyio.lowlevel
import msgspec

Run = Callable[[int], Awaitable[object]]
"""Does a case's operation so many times, and returns when all are done."""


class Case(msgspec.Struct, frozen=True):
    """Something to measure.

    Attributes:
        name: What a reader is told.
        run: Does it.
        floor: Name of the case that it stands beside; empty for a floor itself.
        bound: The most that it may cost, times its floor; ``None`` where none is promised.
        unit: What one operation is.
        step: The run does multiples of this many operations.
        count: How many operations a sample does; 0 for as many as fill its time.
        tells: Whether the run returns the figure itself, in seconds, such as a percentile of its operations.
        deliveries: How many deliveries one operation makes, for events.
        lacks: What a peer leaves out that ours does.
    """

    name: str
    run: Run
    floor: str = ""
    bound: float | None = None
    unit: str = "call"
    step: int = 1
    count: int = 0
    tells: bool = False
    deliveries: int = 1
    lacks: str = ""


class Difference(msgspec.Struct, frozen=True):
    """What one case of the same rounds takes beyond another; otherwise as a case."""

    name: str
    more: str
    less: str
    floor: str
    bound: float | None = None
    unit: str = "call"
    deliveries: int = 1
    lacks: str = ""


class Figure(msgspec.Struct, frozen=True):
    """What a case came to: nanoseconds an operation, and the median, least and most of its ratio over the rounds."""

    name: str
    ns: float
    unit: str
    floor: str
    ratio: float
    least: float
    most: float
    bound: float | None
    per_second: float
    lacks: str

    @property
    def verdict(self) -> str:
        """Whether the bound is kept, where there is one."""
        if self.bound is None:
            return ""
        return "met" if self.ratio <= self.bound else "missed"


class Effort(msgspec.Struct, frozen=True):
    """How much to measure: rounds, and seconds that one sample should take."""

    rounds: int = 5
    sample: float = 0.2
    quick: bool = False


async def calibrate(case: Case, effort: Effort) -> int:
    """Return how many operations make one sample."""
    await sampled(case, 2 * case.step)  # warms it up
    if case.count:
        return case.count
    steps = 1
    while (taken := await sampled(case, steps * case.step) * steps * case.step) < effort.sample / 8:
        steps *= 2
    return case.step * max(1, round(steps * effort.sample / taken))


async def sampled(case: Case, count: int) -> float:
    """Return what one operation of so many took, in seconds, or what the run says.

    One turn of the loop is timed with them, for what they leave it to clear, such as cancelled timers.
    """
    begun = time.perf_counter()
    told = await case.run(count)
    await anyio.lowlevel.checkpoint()
    return cast("float", told) if case.tells else (time.perf_counter() - begun) / count


async def measure(cases: Sequence[Case | Difference], effort: Effort) -> list[Figure]:
    """Measure cases turn by turn, so that a noisy machine disturbs floor and figure alike.

    The garbage collector runs as it does in a host; what earlier samples left is collected before each round.
    """
    counts = {case.name: await calibrate(case, effort) for case in cases if isinstance(case, Case)}
    taken: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(effort.rounds):
        gc.collect()
        for case in cases:
            if isinstance(case, Case):
                taken[case.name].append(await sampled(case, counts[case.name]))
    for case in cases:
        if isinstance(case, Difference):
            taken[case.name] = [a - b for a, b in zip(taken[case.more], taken[case.less], strict=True)]
    return [figure_of(case, taken) for case in cases]


def figure_of(case: Case | Difference, taken: dict[str, list[float]]) -> Figure:
    """Fold a case's rounds."""
    own = taken[case.name]
    ratios = [mine / floor for mine, floor in zip(own, taken[case.floor or case.name], strict=True)]
    seconds = statistics.median(own)
    return Figure(
        name=case.name,
        ns=seconds * 1e9,
        unit=case.unit,
        floor=case.floor,
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        bound=case.bound,
        per_second=case.deliveries / seconds,
        lacks=case.lacks,
    )
