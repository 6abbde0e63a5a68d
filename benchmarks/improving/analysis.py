"""What the analysis of all metrics takes: fifty over a day, a point a minute, read from the history's file.

Noise that remembers, some of it with a drift, a step, a season, spikes or a gap. Processor time, as machines are
shared; beside it a floor of the same run: the points read, put in order and summed up once. Figures are no tests: the
exit status is 0 whatever they are::

    python benchmarks/improving/analysis.py [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aetherra.kernel import KnobInfo
from aetherra.plugins.self_improvement.analysis import analyse, correlations, in_order
from aetherra.plugins.self_improvement.analyst import Analyst, Look
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.history import MetricHistory, Point
from aetherra.plugins.self_improvement.proposals import Proposer
from aetherra.plugins.self_improvement.settings import SelfImprovementSettings

NOW = 1_700_000_000.0
DAY = 86_400.0
METRICS = 50
BOUND_MS = 250.0
FLOOR = "floor: read, order and sum"


class Figure(NamedTuple):
    """Milliseconds of processor time, the median of the rounds, and times the floor of the same round."""

    name: str
    ms: float
    ratio: float
    bound: str = ""


def values(number: int, source: random.Random) -> list[tuple[float, float]]:
    """Return a day of one metric."""
    noise, points = 0.0, list[tuple[float, float]]()
    for minute in range(1440):
        noise = 0.8 * noise + source.gauss(0, 1)
        value = 100 + noise
        if number % 5 == 0:
            value += 0.01 * minute
        if number % 5 == 1 and minute > 700:
            value += 10
        if number % 5 == 2:
            value += 5 * math.sin(2 * math.pi * minute / 1440)
        if number % 5 == 3 and source.random() < 0.005:
            value += 40
        if number % 5 != 4 or not 300 < minute < 500:
            points.append((NOW - DAY + 60 * minute + source.random(), value))
    return points


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Measure all parts turn by turn."""
    history = MetricHistory(folder / "history.sqlite3", lambda: NOW)
    source = random.Random(1)
    for number in range(METRICS):
        name = f"probe.m{number:02d}.latency"
        history.record([Point(name, "s", time, value) for time, value in values(number, source)])
    analyst = Analyst(history, Anomalies(None), SelfImprovementSettings(), NOW)
    names = [info.name for info in history.names()]
    series = {name: in_order(history.points(name, NOW - DAY)) for name in names}
    look = analyst.look(NOW, DAY)
    knobs = [
        KnobInfo(name=f"probe.k{number}", low=1, high=8, step=1, value=2, moves={name: "down"}, plugin="probe")
        for number, name in enumerate(names)
    ]
    parts: dict[str, Callable[[], object]] = {
        FLOOR: lambda: [sum(in_order(history.points(name, NOW - DAY)).values) for name in names],
        "all of it: Analyst.look": lambda: analyst.look(NOW, DAY),
        "one metric at a time: analyse": lambda: [_analysed(name, series[name]) for name in names],
        "all pairs: correlations": lambda: correlations(series),
        "Proposer.propose, 50 knobs": lambda: _proposed(look, knobs),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            begun = time.process_time()
            part()
            taken[name].append(1000 * (time.process_time() - begun))
    history.close()
    return [_figure(name, taken[name], taken[FLOOR]) for name in parts]


def _analysed(name: str, points: object) -> object:
    return analyse(points, name=name, unit="s", good="down", now=NOW)  # type: ignore[arg-type]


def _proposed(look: Look, knobs: list[KnobInfo]) -> object:
    return Proposer().propose(NOW, look.analyses, knobs, relations=look.correlations)


def _figure(name: str, taken: list[float], floor: list[float]) -> Figure:
    ratio = statistics.median(mine / least for mine, least in zip(taken, floor, strict=True))
    ms = statistics.median(taken)
    if "Analyst.look" not in name:
        return Figure(name, ms, ratio)
    return Figure(name, ms, ratio, f"{BOUND_MS:g} ms: {'met' if ms <= BOUND_MS else 'missed'}")


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), chosen.rounds)
    if chosen.json:
        json.dump([figure._asdict() for figure in figures], sys.stdout, indent=2)
        return
    print(f"{METRICS} metrics, a day, a point a minute; processor time")
    for figure in figures:
        print(f"{figure.name:<32}{figure.ms:8.1f} ms {figure.ratio:6.1f} times the floor  {figure.bound}".rstrip())


if __name__ == "__main__":
    main()
