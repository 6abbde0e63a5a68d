"""What messages cost: calls, events, conversion and the control socket, and the same jobs done by others.

Each figure is a ratio to a floor that is measured in the same rounds, turn by turn, so that a noisy machine disturbs
both; the median of the rounds is printed. Figures are no tests: the exit status is 0 whatever they are. Run it from an
environment with ``aetherra[trio]``, and with ``aetherra[bench]`` for the others' figures::

    python benchmarks/messages.py [--rounds 5] [--quick] [--json | --markdown | --readme] [--only PART]
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anyio
import msgspec
from messaging import calls, conversions, events, peers, remote
from messaging.figures import Effort, Figure

OURS = ("anyio", "msgspec", "pluggy", "trio")
Sections = dict[str, list[Figure]]
PARTS: dict[str, tuple[str, Callable[[Effort], Awaitable[Sections]]]] = {
    "calls": ("asyncio", calls.on_asyncio),
    "events": ("asyncio", events.measured),
    "conversion": ("asyncio", conversions.measured),
    "socket": ("asyncio", remote.measured),
    "trio": ("trio", calls.on_trio),
    "peers": ("asyncio", peers.measured),
}
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- messages: begin -->", "<!-- messages: end -->"
MEMORY_BOUND = 100_000
"""Bytes by which a process may differ after as many calls again, as asyncio keeps a hundred cancelled timers, each with
its context, before it clears them; one object kept of each call would be 16 bytes times the calls, or more."""


class Memory(msgspec.Struct, frozen=True):
    """What is left of calls that are over: bytes that the second ``calls`` of them added to the first."""

    calls: int
    grown: int

    @property
    def verdict(self) -> str:
        """Whether nothing grows with history."""
        return "met" if self.grown <= MEMORY_BOUND else "missed"


class Report(msgspec.Struct, frozen=True):
    """All that was measured, and on what."""

    machine: str
    day: str
    versions: dict[str, str]
    peers: dict[str, str]
    rounds: int
    sections: Sections
    memory: Memory | None
    notes: tuple[str, ...]


def installed(name: str) -> str:
    """Return a distribution's version, empty if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def report(effort: Effort, only: str) -> Report:
    """Measure all parts, or those that are asked for."""
    sections: Sections = {}
    notes: list[str] = []
    for name, (backend, measured) in PARTS.items():
        if only not in ("", name):
            continue
        if backend == "trio" and not installed("trio"):
            notes.append("trio is not installed: pip install 'aetherra[trio]'")
            continue
        sections |= anyio.run(partial(measured, effort), backend=backend)
    missing = [name for name in peers.MODULES if name not in peers.versions()]
    if missing and only in ("", "peers"):
        notes.append(f"not installed, so not measured: {', '.join(missing)}: pip install 'aetherra[bench]'")
    memory = Memory(*anyio.run(calls.memory_growth, effort)) if only in ("", "memory") else None
    return Report(
        machine=f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}",
        day=date.today().isoformat(),  # noqa: DTZ011  # a reader's day
        versions={name: number for name in OURS if (number := installed(name))},
        peers=peers.versions(),
        rounds=effort.rounds,
        sections=sections,
        memory=memory,
        notes=tuple(notes),
    )


def duration(ns: float) -> str:
    """Write nanoseconds so that a person can read them."""
    return f"{ns:,.0f} ns" if ns < 10_000 else f"{ns / 1000:,.1f} us"


def bound_and_verdict(figure: Figure) -> str:
    """Write what was promised, and whether it is kept."""
    return "" if figure.bound is None else f"bound {figure.bound:g}: {figure.verdict}"


def rate(figure: Figure) -> str:
    """Write deliveries a second, for events."""
    return "" if figure.unit != "event" else f"{figure.per_second / 1000:,.0f} k/s"


def print_text(told: Report) -> None:
    """Print for a terminal."""
    print(told.machine)
    print(", ".join(f"{name} {number}" for name, number in (told.versions | told.peers).items()))
    print(f"medians of {told.rounds} rounds; in brackets the least and the most ratio; k/s are deliveries")
    for title, figures in told.sections.items():
        print(f"\n{title}")
        for it in figures:
            spread = "" if not it.floor else f"[{it.least:.2f} to {it.most:.2f}]"
            aside = "  ".join(part for part in (rate(it), bound_and_verdict(it)) if part)
            print(f"{duration(it.ns):>12} {it.ratio:9.2f} x {spread:<20} {it.name}  {aside}".rstrip())
            if it.lacks:
                print(f"{'':46}lacks {it.lacks}")
    if told.memory is not None:
        print(f"\nMemory: {told.memory.calls:,} calls, then as many again: {told.memory.grown:+,} bytes")
        print(f"(bound {MEMORY_BOUND:,}: {told.memory.verdict})")
    for note in told.notes:
        print(note)


def markdown(told: Report) -> str:
    """Write for ``benchmarks/README.md``."""
    names = ", ".join(f"{name} {number}" for name, number in told.versions.items())
    lines = [f"{told.machine}, {names}; medians of {told.rounds} rounds, {told.day}:"]
    for title, figures in told.sections.items():
        rated = any(rate(it) for it in figures)
        last = "Lacks" if any(it.lacks for it in figures) else "Bound"
        lines += ["", f"| {title} | Each | Times its floor |{' Deliveries |' if rated else ''} {last} |"]
        lines.append(f"| --- | --- | --- |{' --- |' if rated else ''} --- |")
        for it in figures:
            cells = [it.name, duration(it.ns), f"{it.ratio:.2f}", *([rate(it)] if rated else [])]
            cells.append(it.lacks if last == "Lacks" else f"{it.bound:g}: {it.verdict}" if it.bound else "")
            lines.append("| " + " | ".join(cells) + " |")
    if told.memory is not None:
        left = f"{told.memory.calls:,} calls, then as many again, left {told.memory.grown:+,} bytes"
        lines += ["", f"Memory: {left} (bound {MEMORY_BOUND:,}: {told.memory.verdict})."]
    for note in told.notes:
        lines += ["", note]
    return "\n".join(lines)


def put_into_readme(told: Report) -> None:
    """Replace what stands between the two marks of ``README.md``."""
    before, begin, rest = README.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{README} has no lines {BEGIN!r} and {END!r}")
    README.write_text(f"{before}{begin}\n{markdown(told)}\n{end}{after}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, help="rounds per figure, of which the median is printed; 5, or 3 if quick"
    )
    parser.add_argument("--quick", action="store_true", help="short samples: to see that it runs, not to be quoted")
    parser.add_argument("--only", choices=[*PARTS, "memory"], default="", help="measure one part")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the tables of benchmarks/README.md")
    output.add_argument("--readme", action="store_true", help="put these tables into benchmarks/README.md")
    options = parser.parse_args()
    effort = Effort(options.rounds or (3 if options.quick else 5), 0.02 if options.quick else 0.2, options.quick)
    told = report(effort, options.only)
    if options.json:
        print(msgspec.json.encode(told).decode())
    elif options.markdown:
        print(markdown(told))
    elif options.readme:
        put_into_readme(told)
    else:
        print_text(told)


if __name__ == "__main__":
    main()
