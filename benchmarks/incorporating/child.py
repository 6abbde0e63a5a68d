"""One scan, or its floor, in a process of its own on one core: prints what it took as a JSON object.

Run it in the folder of the benchmarks: ``python -m incorporating.child scan|floor|walk ROOT [INDEX]``.
"""

from __future__ import annotations

import ast
import hashlib
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from aetherra.plugins.self_incorporation.code.source import may_be_source
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.report import ScanReport
from aetherra.plugins.self_incorporation.index.scanner import Scanner
from aetherra.plugins.self_incorporation.index.walk import Folder, FoundFile, Tree

T = TypeVar("T")
SETTLED = 60.0
"""Seconds that files count as older than they are, so that those of a moment ago are not read twice."""


class Took(msgspec.Struct):
    """What one process did; seconds are of its core, megabytes its most of memory so far.

    Attributes:
        files: Found.
        sources: Of these, parsed.
        lines: Of these.
        refused: Files that were refused.
        start: Megabytes before the first scan.
        cold: Seconds of the first scan, or of the floor.
        after_cold: Megabytes after it.
        warm: Seconds of a scan when nothing has changed.
        after_warm: Megabytes after it.
        one: Seconds to look at one file that has changed.
        rebuild: Seconds to rebuild the index from its backup.
        kept: Megabytes of index and backup on the disk.
    """

    files: int = 0
    sources: int = 0
    lines: int = 0
    refused: int = 0
    start: float = 0.0
    cold: float = 0.0
    after_cold: float = 0.0
    warm: float = 0.0
    after_warm: float = 0.0
    one: float = 0.0
    rebuild: float = 0.0
    kept: float = 0.0


def scan(root: str, place: str) -> Took:
    """Scan a tree into a fresh index, and again."""
    took = Took(start=megabytes())
    with CodeIndex(place) as index:
        scanner = Scanner(index, clock=time.perf_counter)
        report, took.cold = timed(lambda: scanner.scan(root, now=time.time() + SETTLED))
        took.after_cold = megabytes()
        took.files, took.refused = report.files_found, len(report.files_refused)
        again, took.warm = timed(lambda: scanner.scan(root, now=time.time() + SETTLED))
        took.after_warm = megabytes()
        if again.files_read:
            raise SystemExit(f"{again.files_read} files were read again: somebody changes the tree")
        for record in index.records(report.root):
            took.sources += may_be_source(record.path) and record.lines > 0
            took.lines += record.lines
        took.one = one_file(scanner, index, report)
    if place != ":memory:":
        path = Path(place)
        took.kept = sum(each.stat().st_size for each in path.parent.iterdir()) / 1e6
        path.unlink()
        index, took.rebuild = timed(lambda: CodeIndex(place))
        with index:
            if index.statistics().files != report.files_indexed:
                raise SystemExit("the index was not rebuilt whole")
    return took


def one_file(scanner: Scanner, index: CodeIndex, report: ScanReport) -> float:
    """Time a look at one file that its watcher tells of, as if it had changed; the tree is left as it is."""
    path = next(index.paths(report.root))
    index.write(report.root, (), gone=[path])
    root = original(report.root)
    found, seconds = timed(lambda: scanner.rescan(root, [path], now=time.time() + SETTLED))
    if found.files_new != 1:
        raise SystemExit(f"expected one file to be new, got {found.files_new}")
    return seconds


def floor(root: str, _: str) -> Took:
    """Read, hash and parse what a scan does."""
    took = Took(start=megabytes())

    def run() -> None:
        warnings.simplefilter("ignore")
        for file in files(root):
            data = Path(file.location).read_bytes()
            hashlib.sha256(data).hexdigest()
            took.files += 1
            if file.path.endswith(".py"):
                try:
                    ast.parse(data)
                    took.sources += 1
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    took.refused += 1

    _, took.cold = timed(run)
    took.after_cold = megabytes()
    return took


def walk(root: str, _: str) -> Took:
    """Look at the size and times of every file, and at nothing else."""
    took = Took()

    def run() -> None:
        took.files = sum(1 for _ in files(root))

    run()  # so that names and times are in the system's memory, as they are for a second scan
    _, took.cold = timed(run)
    return took


def files(root: str) -> list[FoundFile]:
    """Return the files of a tree that a scan reads."""
    folders = (item for item in Tree(str(Path(root).resolve())).walk() if isinstance(item, Folder))
    return [file for folder in folders for file in folder.items if isinstance(file, FoundFile)]


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """Return what something returns, and the seconds that its core was busy with it."""
    begun = time.process_time()
    result = run()
    return result, time.process_time() - begun


def megabytes() -> float:
    """Return the most memory that this process has had; Linux counts it in kibibytes, macOS in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


JOBS: dict[str, Callable[[str, str], Took]] = {"scan": scan, "floor": floor, "walk": walk}

if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    job, root, place = [*sys.argv[1:], ":memory:"][:3]
    print(msgspec.json.encode(JOBS[job](root, place)).decode())
