"""Scans: what is measured of each tree, and what it is held to."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from incorporating.child import Took
from measuring.figures import Effort
from measuring.report import Amount, Part, Sections

BENCHMARKS = Path(__file__).parents[1]
FEWEST_A_SECOND = 150.0
LARGEST_WARM_SHARE = 1 / 20
MOST_GROWTH = 17.0
"""Megabytes that ten times the files may take more: SQLite's cache of what was read, 16 MiB, which fills."""
FILES_A_FOLDER = 10
TEMPLATE = '''"""Part {number} of what was generated."""

import os
from pathlib import Path


class Part{number}:
    """Holds the number {number}."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.seen: dict[str, int] = {{}}

    def place(self, name: str) -> str:
        """Return where a name is."""
        return os.path.join(self.where, name, "{number}")

    def count(self, names: list[str]) -> int:
        """Count names."""
        for name in names:
            self.seen[name] = self.seen.get(name, 0) + {number} % 7
        return sum(self.seen.values())


def part_{number}(where: str, *, times: int = {number}) -> list[str]:
    """Return places."""
    part = Part{number}(Path(where))
    return [part.place(str(each)) for each in range(times) if each % 3]
'''


def run(job: str, root: Path, place: str = ":memory:") -> Took:
    """Run one job in a process of its own."""
    command = [sys.executable, "-m", "incorporating.child", job, str(root), place]
    done = subprocess.run(command, cwd=BENCHMARKS, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Took)


def scanned(root: Path) -> Took:
    """Scan a tree into an index on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        return run("scan", root, str(Path(folder) / "index.sqlite3"))


def real_tree(quick: bool) -> Path:
    """Return the tree to scan."""
    packages = Path(sysconfig.get_paths()["purelib"])
    return Path(os.environ.get("AETHERRA_TREE", packages / "anyio" if quick else packages))


async def real(effort: Effort) -> Sections:
    """Scan a tree that people wrote."""
    root = real_tree(effort.quick)
    rounds = [(run("floor", root), run("walk", root), scanned(root)) for _ in range(effort.rounds)]
    took = rounds[0][2]

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    cold = median([scan.cold for _, _, scan in rounds])
    warm = median([scan.warm / scan.cold for _, _, scan in rounds])
    title = f"{took.files:,} files, {took.sources:,} of them Python with {took.lines / 1e6:.2f} million lines"
    return {
        title: [
            Amount("a file, cold", 1000 * cold / took.files, "ms", round(1000 / FEWEST_A_SECOND, 2)),
            Amount("that is", round(took.files / cold), "files/s"),
            Amount("of those that are Python", round(took.sources / cold), "files/s"),
            Amount("times reading, hashing and parsing alone", median([s.cold / f.cold for f, _, s in rounds]), "x"),
            Amount("again, nothing changed, of the cold scan's time", 100 * warm, "%", 100 * LARGEST_WARM_SHARE),
            Amount("that is", round(1 / warm), "times as fast"),
            Amount("times looking at sizes and times alone", median([s.warm / w.cold for _, w, s in rounds]), "x"),
            Amount("refused, each with its reason", took.refused, "files"),
        ]
    }


async def large(effort: Effort) -> Sections:
    """Scan generated trees of a number of files and of ten times as many."""
    few = 500 if effort.quick else 5_000
    with tempfile.TemporaryDirectory() as folder:
        trees = {count: generated(Path(folder) / str(count), count) for count in (few, 10 * few)}
        disk = {count: scanned(root) for count, root in trees.items()}
        memory = {count: run("scan", root) for count, root in trees.items()}
    many = disk[10 * few]
    return {
        f"Memory, {few:,} and {10 * few:,} files": [
            Amount("a process that has imported it", many.start, "MB"),
            Amount(f"most, {few:,} files, cold and again", disk[few].after_warm, "MB"),
            Amount(f"most, {10 * few:,} files, cold and again", many.after_warm, "MB"),
            Amount("growth", many.after_warm - disk[few].after_warm, "MB", MOST_GROWTH),
            Amount(
                "growth, without a data directory",
                memory[10 * few].after_warm - memory[few].after_warm,
                "MB",
                MOST_GROWTH,
            ),
        ],
        f"{10 * few:,} generated files": [
            Amount("a file, cold", 1000 * many.cold / many.files, "ms", round(1000 / FEWEST_A_SECOND, 2)),
            Amount("again, nothing changed, of the cold scan's time", 100 * many.warm / many.cold, "%", 5.0),
            Amount("one file that its watcher tells of", 1000 * many.one, "ms"),
            Amount("the index rebuilt from its backup", many.rebuild, "s"),
            Amount("index and backup on the disk", many.kept, "MB"),
        ],
    }


def generated(root: Path, count: int) -> Path:
    """Make a tree of so many files, no two of them alike."""
    for number in range(count):
        folder = root / f"p{number // FILES_A_FOLDER // 100}" / f"q{number // FILES_A_FOLDER % 100}"
        if number % FILES_A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"m{number % FILES_A_FOLDER}.py").write_text(TEMPLATE.format(number=number))
    return root


PARTS = {"real": Part("asyncio", real), "large": Part("asyncio", large)}
