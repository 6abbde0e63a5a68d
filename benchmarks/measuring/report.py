"""Telling: what was measured and on what, for a terminal, for programs and for ``benchmarks/README.md``."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anyio
import msgspec

from measuring.figures import Effort, Figure

OURS = ("anyio", "msgspec", "pluggy", "trio")
README = Path(__file__).parents[1] / "README.md"


class Amount(msgspec.Struct, frozen=True):
    """A figure that is no time.

    Attributes:
        name: What a reader is told.
        amount: How much.
        unit: Of what.
        bound: What was promised; ``None`` where nothing is.
    """

    name: str
    amount: float
    unit: str
    bound: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the bound is kept, where there is one."""
        return "" if self.bound is None else "met" if self.amount <= self.bound else "missed"

    @property
    def told(self) -> str:
        """The amount and its unit."""
        return f"{self.amount:,.{0 if self.amount == round(self.amount) else 2}f} {self.unit}"


Sections = Mapping[str, Sequence[Figure] | Sequence[Amount]]
"""Titles, and what stands below each."""


class Part(msgspec.Struct, frozen=True):
    """A part of a benchmark: the event loop that it runs on, and what measures it."""

    backend: str
    measured: Callable[[Effort], Awaitable[Sections]]


class Report(msgspec.Struct, frozen=True):
    """All that was measured, and on what."""

    machine: str
    day: str
    versions: dict[str, str]
    peers: dict[str, str]
    rounds: int
    sections: dict[str, Sequence[Figure] | Sequence[Amount]]
    notes: tuple[str, ...]


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are there."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def report(parts: Mapping[str, Part], peers: Iterable[str], effort: Effort, only: str) -> Report:
    """Measure all parts, or the one that is asked for; the part named ``peers`` is the one that needs the peers."""
    sections: dict[str, Sequence[Figure] | Sequence[Amount]] = {}
    notes: list[str] = []
    for name, part in parts.items():
        if only not in ("", name):
            continue
        if part.backend == "trio" and not installed(["trio"]):
            notes.append("trio is not installed: pip install 'aetherra[trio]'")
            continue
        sections |= anyio.run(partial(part.measured, effort), backend=part.backend)
    missing = [name for name in peers if not installed([name])]
    if missing and only in ("", "peers"):
        notes.append(f"not installed, so not measured: {', '.join(missing)}: pip install 'aetherra[bench]'")
    return Report(
        machine=f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}",
        day=date.today().isoformat(),  # noqa: DTZ011  # a reader's day
        versions=installed(OURS),
        peers=installed(peers),
        rounds=effort.rounds,
        sections=sections,
        notes=tuple(notes),
    )


def duration(ns: float) -> str:
    """Write nanoseconds so that a person can read them."""
    if ns < 10_000:
        return f"{ns:,.0f} ns"
    return f"{ns / 1e3:,.1f} us" if ns < 10_000_000 else f"{ns / 1e6:,.1f} ms"


def bound_and_verdict(it: Figure | Amount) -> str:
    """Write what was promised, and whether it is kept."""
    return "" if it.bound is None else f"{it.bound:,g}: {it.verdict}"


def rate(figure: Figure) -> str:
    """Write deliveries a second, for events."""
    return "" if figure.unit != "event" else f"{figure.per_second / 1000:,.0f} k/s"


def print_text(told: Report) -> None:
    """Print for a terminal."""
    print(told.machine)
    print(", ".join(f"{name} {number}" for name, number in (told.versions | told.peers).items()))
    print(f"medians of {told.rounds} rounds; in brackets the least and the most ratio; k/s are deliveries")
    for title, entries in told.sections.items():
        print(f"\n{title}")
        for it in entries:
            bound = bound_and_verdict(it) and f"bound {bound_and_verdict(it)}"
            if isinstance(it, Amount):
                print(f"{it.told:>36} {it.name}  {bound}".rstrip())
                continue
            spread = "" if not it.floor else f"[{it.least:.2f} to {it.most:.2f}]"
            aside = "  ".join(part for part in (rate(it), bound) if part)
            print(f"{duration(it.ns):>12} {it.ratio:9.2f} x {spread:<20} {it.name}  {aside}".rstrip())
            if it.lacks:
                print(f"{'':46}lacks {it.lacks}")
    for note in told.notes:
        print(note)


def markdown(told: Report) -> str:
    """Write for ``benchmarks/README.md``."""
    names = ", ".join(f"{name} {number}" for name, number in told.versions.items())
    lines = [f"{told.machine}, {names}; medians of {told.rounds} rounds, {told.day}:"]
    for title, entries in told.sections.items():
        figures = [it for it in entries if isinstance(it, Figure)]
        amounts = [it for it in entries if isinstance(it, Amount)]
        lines += ["", *(table_of_figures(title, figures) if figures else table_of_amounts(title, amounts))]
    for note in told.notes:
        lines += ["", note]
    return "\n".join(lines)


def table_of_figures(title: str, figures: Sequence[Figure]) -> list[str]:
    """Write times beside their floors."""
    rated = any(rate(it) for it in figures)
    last = "Lacks" if any(it.lacks for it in figures) else "Bound"
    lines = [f"| {title} | Each | Times its floor |{' Deliveries |' if rated else ''} {last} |"]
    lines.append(f"| --- | --- | --- |{' --- |' if rated else ''} --- |")
    for it in figures:
        cells = [it.name, duration(it.ns), f"{it.ratio:.2f}", *([rate(it)] if rated else [])]
        cells.append(it.lacks if last == "Lacks" else bound_and_verdict(it))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def table_of_amounts(title: str, amounts: Sequence[Amount]) -> list[str]:
    """Write what is no time."""
    lines = [f"| {title} | Amount | Bound |", "| --- | --- | --- |"]
    return lines + [f"| {it.name} | {it.told} | {bound_and_verdict(it)} |" for it in amounts]


def put_into_readme(lines: str, mark: str) -> None:
    """Replace what stands between a benchmark's two marks of ``README.md``."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found_begin, rest = README.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise SystemExit(f"{README} has no lines {begin!r} and {end!r}")
    README.write_text(f"{before}{begin}\n{lines}\n{end}{after}")


def main(mark: str, description: str | None, parts: Mapping[str, Part], peers: Iterable[str]) -> None:
    """Read the command line, measure and print.

    Args:
        mark: What the benchmark's lines in ``README.md`` are marked with.
        description: For ``--help``.
        parts: What can be measured, by the names that ``--only`` takes.
        peers: Distributions that are measured if they are installed.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, help="rounds per figure, of which the median is printed; 5, or 3 if quick"
    )
    parser.add_argument("--quick", action="store_true", help="short samples: to see that it runs, not to be quoted")
    parser.add_argument("--only", choices=[*parts], default="", help="measure one part")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the tables of benchmarks/README.md")
    output.add_argument("--readme", action="store_true", help="put these tables into benchmarks/README.md")
    options = parser.parse_args()
    effort = Effort(options.rounds or (3 if options.quick else 5), 0.02 if options.quick else 0.2, options.quick)
    told = report(parts, peers, effort, options.only)
    if options.json:
        print(msgspec.json.encode(told).decode())
    elif options.markdown:
        print(markdown(told))
    elif options.readme:
        put_into_readme(markdown(told), mark)
    else:
        print_text(told)
