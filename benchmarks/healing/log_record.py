"""What a log record costs in the thread that logs it, once the corrector listens.

The floor, measured turn by turn in the same run, is a bare ``logging.Handler`` whose ``emit`` appends to a deque. Bound
is 3 us a record. Run it from an environment with ``aetherra``::

    python benchmarks/healing/log_record.py [--rounds 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable

from aetherra.plugins import HandlerError
from aetherra.plugins.homeostasis.corrector.intake import PER_KIND, Intake

BOUND_NS = 3000.0
RECORDS = 500
"""Records in a sample."""


class Floor(logging.Handler):
    """Appends, and nothing else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: deque[logging.LogRecord] = deque(maxlen=RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Append."""
        self.kept.append(record)


def plain() -> list[logging.LogRecord]:
    """Return records as plugins write them, of many templates."""
    return [
        logging.LogRecord("acme.mill", logging.WARNING, "mill.py", 7, f"turn {i}: %s", ("slow",), None, "grind")
        for i in range(RECORDS)
    ]


def with_one() -> list[logging.LogRecord]:
    """Return records with a missing module."""
    error = ModuleNotFoundError("No module named 'yaml'", name="yaml")
    info = (type(error), error, None)
    return [
        logging.LogRecord("acme.mill", logging.ERROR, "mill.py", 7, f"turn {i}: %s", ("x",), info, "grind")
        for i in range(RECORDS)
    ]


def with_error() -> list[logging.LogRecord]:
    """Return records with a missing module inside a handler's error: two exceptions to read."""
    error = HandlerError("mill", 3, "mill.ask", "ModuleNotFoundError: No module named 'yaml'")
    error.__cause__ = ModuleNotFoundError("No module named 'yaml'", name="yaml")
    info = (type(error), error, None)
    return [
        logging.LogRecord("acme.mill", logging.ERROR, "mill.py", 7, f"turn {i}: %s", (error,), info, "grind")
        for i in range(RECORDS)
    ]


def storm() -> list[logging.LogRecord]:
    """Return records of one template, of which all but the first few are dropped."""
    return [
        logging.LogRecord("acme.mill", logging.WARNING, "mill.py", 7, "turn %s", ("slow",), None, "grind")
        for _ in range(RECORDS)
    ]


def nanoseconds(handler: logging.Handler, records: list[logging.LogRecord]) -> float:
    """Time ``handle``, which a logger calls of each of its handlers, and return what one record takes."""
    handle = handler.handle
    begun = time.perf_counter_ns()
    for record in records:
        handle(record)
    return (time.perf_counter_ns() - begun) / len(records)


def measure(make: Callable[[], list[logging.LogRecord]], rounds: int) -> dict[str, float]:
    """Measure one kind of record, beside the floor, and return the medians."""
    records, floors, ours, ratios = make(), [], [], []
    intake, floor = Intake(RECORDS, own=("aetherra.plugins.homeostasis",)), Floor()
    for number in range(rounds + 1):
        least = nanoseconds(floor, records)
        taken = nanoseconds(intake, records)
        kept = len(intake.take())
        if kept not in (RECORDS, PER_KIND):
            raise SystemExit(f"{kept} of {RECORDS} records were kept: the figure would be of something else")
        if number:  # the first fills the caches
            floors.append(least)
            ours.append(taken)
            ratios.append(taken / least)
    return {
        "ns": round(statistics.median(ours)),
        "floor_ns": round(statistics.median(floors)),
        "ratio": round(statistics.median(ratios), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="rounds; the median is printed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    kinds = {
        "a plain record": plain,
        "a record with an exception": with_one,
        "a record with two": with_error,
        "a record of a storm": storm,
    }
    report = {name: measure(make, options.rounds) for name, make in kinds.items()}
    if options.json:
        print(json.dumps(report))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}")
    for name, figures in report.items():
        verdict = "met" if figures["ns"] < BOUND_NS else "missed"
        print(
            f"{figures['ns']:6.0f} ns  {figures['ratio']:5.2f} x floor ({figures['floor_ns']:.0f} ns)  "
            f"bound {BOUND_NS:.0f} ns {verdict}  {name}"
        )


if __name__ == "__main__":
    main()
