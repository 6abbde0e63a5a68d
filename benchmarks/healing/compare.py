"""Comparing: every controller through every scenario with every seed, and what came of it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import msgspec

from healing import host_names
from healing.judge import Life, live
from healing.ours import Ours
from healing.peers import BangBang, Controller, Nothing, Oracle, Pid
from healing.plant import Plant
from healing.policy import DOINGS, POLICY
from healing.scenarios import BEGIN, DAY, SCENARIOS, Scenario
from healing.tally import WINDOW

Make = Callable[[Plant, int], Controller]
CONTROLLERS: Mapping[str, Make] = {
    "nothing": lambda _, __: Nothing(),
    "bang-bang": lambda _, __: BangBang(),
    "PID": lambda _, __: Pid(),
    "ours": lambda _, seed: Ours(POLICY, DOINGS, seed=seed),
    "our defaults": lambda _, seed: Ours(host_names.POLICY, host_names.DOINGS, names=host_names.as_a_host, seed=seed),
    "oracle": lambda plant, _: Oracle(plant),
}
PEERS = [*CONTROLLERS][1:-1]
"""Those that can be compared: not the floor, and not the ceiling."""
WORSE = 0.25
"""A window is not recovered while it is worse than the oracle's by more than this share of the gap."""
SMOOTHED = 3
"""Windows that are judged together."""
NOTICED = 0.02
"""And by more than this share of the requests."""
SMALLEST_GAP = 0.01
"""Where the oracle saves less than this share of the requests, there is nothing to win."""


class Score(msgspec.Struct, frozen=True):
    """What a controller was worth in a scenario: means over the seeds, but for the time, which is the median.

    Attributes:
        bad: Share of the requests that were served badly.
        gap: Share of what the oracle saves that it saved; ``None`` where there is nothing to save.
        worst_gap: The least of the seeds.
        recovered: Seconds until it was as good as the oracle and stayed so; ``None`` where it never was.
        actions: What it did.
        futile: What of it could not have helped.
        harmful: What of that was disruptive.
    """

    bad: float
    gap: float | None
    worst_gap: float | None
    recovered: float | None
    actions: float
    futile: float
    harmful: float


class Row(msgspec.Struct, frozen=True):
    """A scenario, and the score of each controller."""

    scenario: str
    kind: str
    seconds: float
    scores: dict[str, Score]

    @property
    def faster(self) -> float:
        """How many times sooner it recovers with ours than with nothing, which has all the time there was."""
        without = self.scores["nothing"].recovered or self.seconds
        ours = self.scores["ours"].recovered
        return without / max(WINDOW, self.seconds if ours is None else ours)


def lived(scenario: str, controller: str, seed: int, end: float) -> Life:
    """Live through one, in whatever process."""
    found = next(one for one in SCENARIOS if one.name == scenario)
    return live(found, lambda plant: CONTROLLERS[controller](plant, seed), seed, end=end)


def compare(seeds: Sequence[int], *, longest: float = DAY, only: str = "") -> list[Row]:
    """Compare all. The same seeds bring the same rows.

    Args:
        seeds: Stories to live through; the day is lived with the first alone.
        longest: Seconds that are lived of the day; of other scenarios an eighth of them, if they are longer.
        only: Part of the name of the scenarios that are wanted.
    """
    wanted = sorted((one for one in SCENARIOS if only in one.name), key=lambda one: -one.end)
    jobs: dict[tuple[str, str, int], Future[Life]] = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for scenario in wanted:
            for seed in seeds_of(scenario, seeds):
                end = min(scenario.end, longest if scenario.kind == "none" else longest / 8)
                for name in controllers(scenario):
                    jobs[scenario.name, name, seed] = pool.submit(lived, scenario.name, name, seed, end)
        lives = {job: future.result() for job, future in jobs.items()}
    return [row(one, seeds_of(one, seeds), lives) for one in SCENARIOS if one in wanted]


def controllers(scenario: Scenario) -> Sequence[str]:
    """Return who lives through it, the best last: where nothing is wrong, that is who does nothing."""
    return [*CONTROLLERS] if scenario.kind != "none" else [*PEERS, "nothing"]


def seeds_of(scenario: Scenario, seeds: Sequence[int]) -> Sequence[int]:
    """Return the seeds that a scenario is lived through with."""
    return seeds[:1] if scenario.kind == "none" else seeds


def row(scenario: Scenario, seeds: Sequence[int], lives: Mapping[tuple[str, str, int], Life]) -> Row:
    """Score a scenario."""
    best = controllers(scenario)[-1]
    scores = {
        name: score(
            [lives[scenario.name, name, seed] for seed in seeds],
            [lives[scenario.name, "nothing", seed] for seed in seeds],
            [lives[scenario.name, best, seed] for seed in seeds],
        )
        for name in controllers(scenario)
    }
    return Row(scenario.name, scenario.kind, scenario.end - BEGIN, scores)


def score(lives: Sequence[Life], nothings: Sequence[Life], oracles: Sequence[Life]) -> Score:
    """Score a controller's lives beside those of the floor and the ceiling, seed by seed."""
    gaps = [
        (nothing.bad - life.bad) / (nothing.bad - oracle.bad)
        for life, nothing, oracle in zip(lives, nothings, oracles, strict=True)
        if nothing.bad - oracle.bad > SMALLEST_GAP
    ]
    times = [recovery(*three) for three in zip(lives, nothings, oracles, strict=True)]
    known = sorted(float("inf") if time is None else time for time in times)
    recovered = known[len(known) // 2]
    return Score(
        bad=statistics.fmean(life.bad for life in lives),
        gap=statistics.fmean(gaps) if gaps else None,
        worst_gap=min(gaps) if gaps else None,
        recovered=None if recovered == float("inf") else recovered,
        actions=statistics.fmean(len(life.actions) for life in lives),
        futile=statistics.fmean(len(life.futile) for life in lives),
        harmful=statistics.fmean(len(life.harmful) for life in lives),
    )


def recovery(life: Life, nothing: Life, oracle: Life) -> float | None:
    """Return the seconds from the fault until the last window that is clearly worse than the oracle's.

    It is judged with the next two windows, so that a cure that costs a moment is no fault of its own.
    """
    much = max(NOTICED, WORSE * (nothing.bad - oracle.bad))
    excess = [own - best for own, best in zip(life.windows, oracle.windows, strict=True)]
    worse = [at for at in range(len(excess)) if statistics.fmean(excess[at : at + SMOOTHED]) > much]
    if not worse:
        return 0.0
    return None if worse[-1] + 1 == len(life.windows) else (worse[-1] + 1) * WINDOW


def mean_gap(rows: Sequence[Row], controller: str, kind: str) -> float:
    """Return the share of the gap over all scenarios of a kind."""
    gaps = [one.scores[controller].gap for one in rows if one.kind == kind]
    known = [gap for gap in gaps if gap is not None]
    return statistics.fmean(known) if known else float("nan")
