"""What an entry of the audit ledger costs, beside a bare append that waits for the disk as well.

All cases take turns round by round in one folder of one disk, with entries of one size, so that noise meets floor and
figure alike: the ratio is the figure. Figures are no tests: the exit status is 0 whatever they are::

    python benchmarks/governing/ledger.py [--rounds 7] [--entries 500] [--folder FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from aetherra.kernel.ledger import AuditLedger, LedgerSettings, keys

SUMMARY = "turned the knob plant.pool from 1 to 2, as plant.latency is above its setpoint"
FACTS: dict[str, str | int | float | bool] = {"before": 1.0, "after": 2.0, "metric": "plant.latency", "trial": 17}
Work = Callable[[int], None]


class Case(NamedTuple):
    """What is measured, what it stands beside, and the most that it may cost, times that."""

    name: str
    work: Work
    floor: str = ""
    bound: float | None = None


class Figure(NamedTuple):
    """A figure, and what was promised, if anything."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    bound: float | None = None


def append(ledger: AuditLedger, count: int) -> None:
    """Append entries as governance does: one for each decision."""
    for _ in range(count):
        ledger.append(
            kind="knob",
            actor="plugin:self_improvement",
            component="plant.pool",
            summary=SUMMARY,
            code="allowed",
            digest="ab" * 32,
            facts=FACTS,
        )


def append_bare(file: int, line: bytes, count: int) -> None:
    """Append as many bytes, and wait for the disk each time."""
    for _ in range(count):
        os.write(file, line)
        os.fsync(file)


def append_bare_with_head(file: int, head: int, line: bytes, count: int) -> None:
    """The same, with a head beside that is written in place and waited for as well."""
    for number in range(count):
        append_bare(file, line, 1)
        os.pwrite(head, line[:512], number % 2 * 512)
        os.fdatasync(head)


def opened(folder: Path, *, ed25519: bool) -> AuditLedger:
    """Open a new ledger whose head is signed with one key or the other."""
    with patch.object(keys, "signing_available", lambda: ed25519):
        ledger = AuditLedger.open(folder / "data", LedgerSettings(head_folder=str(folder / "head")))
        ledger.prepare()
    return ledger


@contextmanager
def bare_files(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Open the files of the floors."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    files = [os.open(folder / name, flags, 0o600) for name in ("bare", "bare beside a head")]
    head = os.open(folder / "bare head", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(head, bytes(1024), 0)
    os.fsync(head)
    try:
        yield files[0], files[1], head
    finally:
        for file in (*files, head):
            os.close(file)


def appended(folder: Path, rounds: int, entries: int) -> list[Figure]:
    """Measure appending, case by case and round by round."""
    memory = AuditLedger.open(None)
    with (
        opened(folder / "a", ed25519=True) as one,
        opened(folder / "b", ed25519=False) as other,
        bare_files(folder) as (bare, beside, head),
    ):
        append(one, 1)
        line = one.tail(1)[0].line + b"\n"
        cases = [
            Case("floor: a bare append, fsynced", partial(append_bare, bare, line)),
            Case("the same, and a head in place, fsynced", partial(append_bare_with_head, beside, head, line)),
            Case("append, head signed by Ed25519", partial(append, one), "floor: a bare append, fsynced", 5.0),
            Case("append, head signed by HMAC-SHA256", partial(append, other), "floor: a bare append, fsynced", 5.0),
            Case("append, in memory", partial(append, memory)),
        ]
        taken: dict[str, list[float]] = {case.name: [] for case in cases}
        for _ in range(rounds):
            for case in cases:
                started = time.perf_counter()
                case.work(entries)
                taken[case.name].append((time.perf_counter() - started) / entries)
    figures: list[Figure] = []
    for case in cases:
        own, floor = taken[case.name], taken[case.floor or cases[0].name]
        ratio = statistics.median(mine / bare for mine, bare in zip(own, floor, strict=True))
        figures.append(Figure(case.name, 1 / statistics.median(own), "entries/s", ratio, case.bound))
    return figures


def read(folder: Path, entries: int) -> list[Figure]:
    """Measure what reading takes, over a ledger of some files."""
    settings = LedgerSettings(head_folder=str(folder / "head"))
    with AuditLedger.open(folder / "data", settings) as ledger, patch.object(os, "fsync"):
        append(ledger, entries)  # to be read, not to be waited for
    with AuditLedger.open(folder / "data", settings) as ledger:
        found = ledger.verify()
        told = f"{found.entries:,} entries"
        return [
            Figure(f"opening, {told}", timed(lambda: reopened(folder, settings)) * 1e3, "ms"),
            Figure(f"verifying all of it, {told}", found.entries / timed(ledger.verify), "entries/s"),
            Figure("the last 20 entries", timed(lambda: ledger.tail(20)) * 1e3, "ms"),
            Figure("size of an entry", sum(file.stat().st_size for file in files_of(folder)) / found.entries, "bytes"),
        ]


def reopened(folder: Path, settings: LedgerSettings) -> None:
    """Do what a host's start does."""
    with AuditLedger.open(folder / "data", settings) as ledger:
        ledger.prepare()


def files_of(folder: Path) -> list[Path]:
    """Return the files of a ledger."""
    return list(folder.rglob("audit-*.jsonl"))


def timed(function: Callable[[], object]) -> float:
    """Return the median of the seconds that a function takes."""
    taken: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--entries", type=int, default=500, help="in each sample of a round")
    parser.add_argument("--read", type=int, default=20_000, help="entries of the ledger that is read")
    parser.add_argument("--folder", type=Path, help="where the files go; otherwise a temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = appended(Path(folder), options.rounds, options.entries)
        figures += read(Path(folder) / "read", options.read)
    if options.json:
        print(json.dumps([figure._asdict() for figure in figures], indent=1))
        return
    print(f"{'What':<52} {'Figure':>12} {'Unit':<10} {'Ratio':>6} Bound")
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        verdict = (
            "" if figure.bound is None or figure.ratio is None else "met" if figure.ratio <= figure.bound else "missed"
        )
        bound = "" if figure.bound is None else f"{figure.bound:g}: {verdict}"
        print(f"{figure.name:<52} {figure.value:>12,.1f} {figure.unit:<10} {ratio:>6} {bound}".rstrip())


if __name__ == "__main__":
    main()
