"""What the gate says of good code, and of code that means harm: blocking findings, and samples that are found.

Ten popular packages, and six that by their nature fetch, decode and run code, are installed by pip into a temporary
folder, as they are today, and judged as items: whole, with all that their files pass to each other. None of it is
imported. What blocks is counted per 1,000 lines; the bound of 0.1 is for the ten. The samples are our own
(``tests/plugins/self_incorporation``) and the rules were made in sight of them: their figure says that nothing was lost
since. Three sets of files were held out until they were first judged; what was found of them then is the share to
expect of malice that nobody has seen::

    python benchmarks/judging.py [--packages FOLDER] [--json | --markdown | --readme]
"""

from __future__ import annotations

import argparse
import platform
import runpy
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path

import msgspec

from aetherra.plugins.self_incorporation.code.rules import RULES_VERSION
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.items import assemble
from aetherra.plugins.self_incorporation.gate.look import look
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.scanner import Scanner, name_of_root
from measuring.report import put_into_readme

PACKAGES = (
    *("requests", "urllib3", "flask", "django", "jinja2"),
    *("sqlalchemy", "celery", "pytest", "setuptools", "scrapy"),
)
HARD = ("pip", "ipython", "joblib", "dask", "ansible-core", "paramiko")
BOUND = 0.1
SAMPLES = Path(__file__).parents[1] / "tests" / "plugins" / "self_incorporation"
ALL = 10**9


class Judged(msgspec.Struct, frozen=True):
    """One package: how much of it there is, what blocks it, and how long the look at the whole took."""

    name: str
    version: str
    lines: int
    blocking: int
    warnings: int
    seconds: float

    @property
    def rate(self) -> float:
        """Blocking findings per 1,000 lines."""
        return 1000 * self.blocking / self.lines


class HeldOut(msgspec.Struct, frozen=True):
    """A set of files that was held out: what was found of it at first and is today, and what blocks wrongly."""

    name: str
    hostile: int
    at_first: int
    found: int
    benign: int
    alarms: int


class Report(msgspec.Struct, frozen=True):
    """All that was measured, and on what."""

    machine: str
    rules: int
    packages: tuple[Judged, ...]
    hard: tuple[Judged, ...]
    blocking: dict[str, int]
    samples: int
    found: int
    missed: tuple[str, ...]
    held_out: tuple[HeldOut, ...]


def installed(folder: Path) -> None:
    """Install each package into a folder of its own, unless it is there."""
    for name in (*PACKAGES, *HARD):
        if not (folder / name).is_dir():
            argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--no-input"]
            subprocess.run([*argv, "--target", str(folder / name), name], check=True)


def items_of(folder: Path) -> tuple[Sequence[Item], int]:
    """Scan a folder, and return its items and the lines of Python in it."""
    with CodeIndex(":memory:") as index:
        Scanner(index, clock=time.perf_counter).scan(folder, now=time.time())
        root = name_of_root(folder)
        records = index.files(root, limit=ALL)
        findings = index.findings(root, limit=ALL)
        return assemble(root, records, findings=findings, refusals=index.refusals(root)), sum(r.lines for r in records)


def judged(name: str, folder: Path, blocking: Counter[str]) -> Judged:
    """Judge one package."""
    items, lines = items_of(folder)
    begun = time.perf_counter()
    seen = [look(item) for item in items]
    seconds = time.perf_counter() - begun
    threats = [finding for each in seen for finding in each.item.threats]
    blocking.update(f"{name}: {finding.code}" for finding in threats)
    (version,) = [found.version for found in distributions(path=[str(folder)])][:1]
    return Judged(name, version, lines, len(threats), sum(each.item.warnings for each in seen), seconds)


def samples() -> Iterator[tuple[str, dict[str, str | bytes]]]:
    """Yield every sample: a name, and files by path, of which an item is made whose path begins with ``p``."""
    kept = runpy.run_path(str(SAMPLES / "samples.py"))
    for name, text in kept["SAMPLES"].items():
        yield name, {"p.py": text}
    for name, (path, text) in kept["LATER"].items():
        yield name, {"p/__init__.py": "", f"p/{path}": text}
    parts = runpy.run_path(str(SAMPLES / "gate" / "test_look.py"))
    for group in ("ACROSS", "BESIDE", "IN_DATA"):
        for name, (_, files) in parts[group].items():
            yield name, files


def is_found(files: dict[str, str | bytes]) -> bool:
    """Say whether an item is blocked for a threat."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            place = Path(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        item = next(item for item in items_of(Path(folder))[0] if item.path.startswith("p"))
        return bool(look(item).item.threats)


def held_out() -> Iterator[HeldOut]:
    """Judge the sets that were held out."""
    kept = runpy.run_path(str(SAMPLES / "held_out.py"))
    for which, (at_first, _) in kept["AT_FIRST"].items():
        outcomes = {
            kind: [is_found({f"p/{path}": text}) for path, text in kept["samples"](which, kind).values()]
            for kind in ("hostile", "benign")
        }
        hostile, benign = outcomes["hostile"], outcomes["benign"]
        yield HeldOut(which, len(hostile), at_first, sum(hostile), len(benign), sum(benign))


def measured(packages: Path) -> Report:
    """Measure all of it."""
    installed(packages)
    blocking: Counter[str] = Counter()
    found = tuple(judged(name, packages / name, blocking) for name in PACKAGES)
    hard = tuple(judged(name, packages / name, blocking) for name in HARD)
    outcomes = {name: is_found(files) for name, files in samples()}
    return Report(
        machine=f"{platform.machine()}, CPython {platform.python_version()}",
        rules=RULES_VERSION,
        packages=found,
        hard=hard,
        blocking=dict(sorted(blocking.items())),
        samples=len(outcomes),
        found=sum(outcomes.values()),
        missed=tuple(name for name, seen in outcomes.items() if not seen),
        held_out=tuple(held_out()),
    )


def table(title: str, found: Sequence[Judged], *, bound: bool) -> list[str]:
    """Write some packages, and what they come to together."""
    lines = [
        f"| {title} | Lines | Blocking findings | per 1,000 lines | Warnings | Seconds for the whole |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    whole = Judged(
        name="**all**",
        version="",
        lines=sum(it.lines for it in found),
        blocking=sum(it.blocking for it in found),
        warnings=sum(it.warnings for it in found),
        seconds=sum(it.seconds for it in found),
    )
    for it in (*found, whole):
        told = f" (bound: {BOUND}; {'met' if it.rate <= BOUND else 'missed'})" if bound and it is whole else ""
        name = f"{it.name} {it.version}".rstrip()
        lines.append(
            f"| {name} | {it.lines:,} | {it.blocking} | {it.rate:.3f}{told} | {it.warnings} | {it.seconds:.1f} |"
        )
    return lines


def markdown(report: Report) -> str:
    """Return the tables of ``benchmarks/README.md``."""
    lines = [f"{report.machine}, rules {report.rules}, {time.strftime('%Y-%m-%d', time.gmtime())}:"]
    for title, found in (("Popular packages", report.packages), ("Packages that fetch, decode and run", report.hard)):
        lines += ["", *table(title, found, bound=found is report.packages)]
    if report.blocking:
        lines += ["", "What blocks: " + ", ".join(f"{code} {count}" for code, count in report.blocking.items()) + "."]
    lines += ["", f"Samples found: **{report.found} of {report.samples}**."]
    if report.missed:
        lines.append(f"Missed: {', '.join(report.missed)}.")
    lines += ["", "| Held out | Hostile | Found at first | Found today | Benign | Blocked |", "| --- |" + " --- |" * 5]
    for it in report.held_out:
        lines.append(f"| {it.name} | {it.hostile} | **{it.at_first}** | {it.found} | {it.benign} | {it.alarms} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, help="a folder with packages installed before, or to keep them in")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the tables of benchmarks/README.md")
    output.add_argument("--readme", action="store_true", help="put these tables into benchmarks/README.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measured(options.packages or Path(folder))
    if options.json:
        print(msgspec.json.encode(report).decode())
    elif options.readme:
        put_into_readme(markdown(report), "judging")
    else:
        print(markdown(report))


if __name__ == "__main__":
    main()
