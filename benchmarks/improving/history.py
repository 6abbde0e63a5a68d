"""What a history takes: a year of points through the real code, its size on disk, and what asking it takes.

Fifty metrics, a point a minute, with values that do not repeat; the clock is moved, and each simulated hour is rolled
up as a host does. All days but the last ten are recorded an hour at once, to be done in minutes. Milliseconds are of
processor time, as machines are shared; rates are of real time, beside bare SQLite's. Figures are no tests: the exit
status is 0 whatever they are::

    python benchmarks/improving/history.py [--days 365] [--folder FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread

from aetherra.plugins.self_improvement.history import HistoryWriter, MetricHistory, Point

START = 1_700_000_000.0
DAY = 86_400.0
NAMES = [f"queue.lane{number}.wait_p95" for number in range(50)]
CLOSELY = 10  # days that are recorded a minute at once


class Figure(NamedTuple):
    """What was measured, in what, and what was promised, if anything."""

    name: str
    value: float
    unit: str
    bound: str = ""


class Year:
    """A history that is filled hour by hour."""

    def __init__(self, file: Path) -> None:
        self.now = START
        self.file = file
        self.open()
        self.recording = 0.0
        self.portions: list[float] = []
        self._random = random.Random(7)

    def open(self) -> None:
        """Open the history, also once more after it was closed."""
        self.history = MetricHistory(self.file, lambda: self.now)

    def hour(self, at_once: int) -> None:
        """Record an hour, so many minutes at once, and roll up."""
        noise = self._random.gauss
        points = [
            Point(name, "seconds", self.now + minute * 60.0 + self._random.random(), noise(10.0, 2.0))
            for minute in range(60)
            for name in NAMES
        ]
        self.now += 3600.0
        size = at_once * len(NAMES)
        started = time.perf_counter()
        for first in range(0, len(points), size):
            self.history.record(points[first : first + size])
        self.recording += time.perf_counter() - started
        began = time.process_time()
        for _ in self.history.rolling():
            ended = time.process_time()
            self.portions.append(ended - began)
            began = ended


def filled(year: Year, days: int) -> list[Figure]:
    """Fill a history and tell what that took, and what room."""
    for day in range(days):
        for _ in range(24):
            year.hour(1 if day >= days - CLOSELY else 60)
        if sys.stderr.isatty():
            print(f"\rday {day + 1} of {days}", end="", file=sys.stderr)
    told = year.history.statistics()
    year.history.close()
    size = year.file.stat().st_size
    believed = timed(1, year.open, time.perf_counter)
    year.history.close()
    year.file.touch()  # so that nobody knows what was done to it
    checked = timed(1, year.open, time.perf_counter)
    portions = sorted(year.portions)
    return [
        Figure("points", float(told.points), "points"),
        Figure("size on disk", size / 1e6, "MB", "200"),
        Figure("recording, an hour or a minute at once", told.points / year.recording, "points/s"),
        Figure("opening after a clean stop", believed * 1e3, "ms"),
        Figure("opening, with the check of the whole file", checked, "s", "10"),
        Figure("a portion of a roll-up, median", portions[len(portions) // 2] * 1e3, "ms"),
        Figure("a portion of a roll-up, 99 of 100", portions[len(portions) * 99 // 100] * 1e3, "ms"),
        Figure("rolling up, for each hour of 50 metrics", sum(portions) / (days * 24) * 1e3, "ms"),
    ]


def asked(year: Year) -> list[Figure]:
    """Ask it, as trends, status and plots do."""
    history, since = year.history, year.now - DAY
    turns = iter(NAMES * 100)
    return [
        Figure(
            "points of one metric over 24 h", timed(50, lambda: history.points(next(turns), since)) * 1e3, "ms", "20"
        ),
        Figure("the same of all 50", timed(5, lambda: [history.points(name, since) for name in NAMES]) * 1e3, "ms"),
        Figure(
            "points of one metric over all time", timed(5, lambda: history.points(NAMES[3], limit=10**6)) * 1e3, "ms"
        ),
        Figure("names()", timed(20, history.names) * 1e3, "ms"),
        Figure("statistics()", timed(20, history.statistics) * 1e3, "ms"),
    ]


def recorded(folder: Path) -> list[Figure]:
    """Record as fast as it goes, beside bare SQLite."""
    points = [Point(NAMES[n % 50], "seconds", START + n, n / 7) for n in range(100_000)]
    rows = [(n % 50, START + n, n / 7, None) for n in range(100_000)]
    db = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(
        "CREATE TABLE points (metric INTEGER, ts REAL, value REAL, context BLOB, PRIMARY KEY (metric, ts))"
        " WITHOUT ROWID"
    )

    def bare() -> None:
        for first in range(0, len(rows), 1_000):
            db.execute("BEGIN")
            db.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", rows[first : first + 1_000])
            db.execute("COMMIT")

    floor = len(rows) / timed(1, bare, time.perf_counter)
    db.close()
    with MetricHistory(folder / "batches.sqlite3", lambda: START + 1e5) as history:

        def batches() -> None:
            for first in range(0, len(points), 1_000):
                history.record(points[first : first + 1_000])

        rate = len(points) / timed(1, batches, time.perf_counter)
    with MetricHistory(folder / "one.sqlite3", lambda: START + 1e5) as history:
        writer = HistoryWriter(history, anyio.to_thread.run_sync)

        async def record(some: Sequence[Point]) -> None:
            for point in some:
                await writer.record([point])

        async def all_at_once() -> None:
            async with anyio.create_task_group() as tasks:
                for task in range(500):
                    tasks.start_soon(record, points[task:50_000:500])

        single = 50_000 / timed(1, lambda: anyio.run(all_at_once), time.perf_counter)
        joined = 50_000 / writer.statistics().transactions
    return [
        Figure("bare SQLite, 1,000 rows a transaction", floor, "points/s"),
        Figure("recording, 1,000 points at once", rate, "points/s", "20,000"),
        Figure("recording one by one from 500 tasks", single, "points/s"),
        Figure("points that came into one transaction there", joined, "points"),
    ]


def timed(times: int, function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the median of the seconds that a function takes."""
    taken: list[float] = []
    for _ in range(times):
        started = clock()
        function()
        taken.append(clock() - started)
    return statistics.median(taken)


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path, help="where the files go; otherwise a temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = recorded(Path(folder))
        year = Year(Path(folder) / "history.sqlite3")
        figures += filled(year, options.days)
        figures += asked(year)
        year.history.close()
    if options.json:
        print(json.dumps([figure._asdict() for figure in figures], indent=1))
        return
    print(f"{'What':<48} {'Figure':>12} Unit       Bound")
    for figure in figures:
        print(f"{figure.name:<48} {figure.value:>12,.1f} {figure.unit:<10} {figure.bound}")


if __name__ == "__main__":
    main()
