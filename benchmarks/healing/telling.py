"""Telling: tables of what controllers were worth and of what ours costs, for a terminal, programs and the README."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator, Sequence
from datetime import date

import msgspec

from healing.compare import CONTROLLERS, PEERS, Row, compare, mean_gap
from healing.cost import BOUND, CYCLE_BOUND, INTERVAL, SERVICES, Cost, costs
from healing.cost import Effort as CostEffort
from healing.scenarios import DAY
from measuring.report import put_into_readme

MARK = "homeostasis"
QUICK_DAY = 3200.0
KINDS = {"single": "single faults", "double": "two faults at once"}


class Report(msgspec.Struct, frozen=True):
    """All that was measured."""

    machine: str
    day: str
    seeds: Sequence[int]
    seconds: float
    rows: list[Row]
    costs: dict[str, Cost]


def percent(share: float | None) -> str:
    """Write a share; a dash where there is none."""
    return "-" if share is None or share != share else f"{share * 100:.1f} %"


def gap(share: float | None) -> str:
    """Write a share of the gap."""
    return "-" if share is None or share != share else f"{share:.2f}"


def seconds(time: float | None) -> str:
    """Write a time."""
    return "never" if time is None else f"{time:.0f} s"


def count(number: float) -> str:
    """Write a mean count."""
    return f"{number:.0f}" if number == round(number) else f"{number:.1f}"


def tables(report: Report) -> Iterator[list[list[str]]]:
    """Yield tables: a line of titles, and lines below."""
    rows = report.rows
    if rows:
        yield [["Served badly (share of the gap)", *CONTROLLERS], *(worth(row) for row in rows), *means(rows)]
        yield [
            [
                "Ours",
                "recovers in",
                "without",
                "times faster",
                "actions",
                "could not have helped",
                "of these disruptive",
            ],
            *(deeds(row) for row in rows),
        ]
        yield [
            ["Actions: could not have helped: of these disruptive", *PEERS],
            *([row.scenario, *(done(row, name) for name in PEERS)] for row in rows),
        ]
    if report.costs:
        yield [
            [
                f"Homeostasis over {SERVICES} services every {INTERVAL:g} s",
                "of one core",
                "bound",
                "host without",
                "one cycle, median",
                "longest",
                "bound",
            ],
            *(cost_line(name, cost) for name, cost in report.costs.items()),
        ]


def worth(row: Row) -> list[str]:
    """Write what was served badly."""
    cells = [row.scenario]
    for name in CONTROLLERS:
        score = row.scores.get(name)
        if score is None:
            cells.append("")
            continue
        aside = f" ({gap(score.gap)})" if name in PEERS and score.gap is not None else ""
        cells.append(percent(score.bad) + aside)
    return cells


def means(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Write the means over scenarios."""
    for kind, words in KINDS.items():
        if any(row.kind == kind for row in rows):
            shares = {name: gap(mean_gap(rows, name, kind)) for name in PEERS}
            yield [
                f"**share of the gap, {words}**",
                *(f"**{shares[name]}**" if name in shares else "" for name in CONTROLLERS),
            ]


def deeds(row: Row) -> list[str]:
    """Write what ours did."""
    ours, nothing = row.scores["ours"], row.scores["nothing"]
    wins = ours.gap is not None
    return [
        row.scenario,
        seconds(ours.recovered) if wins else "-",
        seconds(nothing.recovered) if wins else "-",
        f"{row.faster:.0f}" if wins else "-",
        count(ours.actions),
        count(ours.futile),
        count(ours.harmful),
    ]


def done(row: Row, name: str) -> str:
    """Write a controller's actions."""
    score = row.scores[name]
    return f"{count(score.actions)} : {count(score.futile)} : {count(score.harmful)}"


def cost_line(name: str, cost: Cost) -> list[str]:
    """Write a cost beside its bounds."""
    return [
        name,
        f"{cost.share:.2f} % ({cost.least:.2f} to {cost.most:.2f})",
        f"{BOUND:g}: {'met' if cost.share <= BOUND else 'missed'}",
        f"{cost.without:.2f} %",
        f"{cost.cycle:.2f} ms",
        f"{cost.cycle_most:.2f} ms",
        f"{CYCLE_BOUND:g}: {'met' if cost.cycle <= CYCLE_BOUND else 'missed'}",
    ]


def text(report: Report) -> str:
    """Write for a terminal."""
    lines = [report.machine, f"seeds {', '.join(map(str, report.seeds))}; took {report.seconds:.0f} s"]
    for table in tables(report):
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines.append("")
        for line in table:
            first, *rest = (cell.replace("**", "") for cell in line)
            cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """Write for ``benchmarks/README.md``."""
    lines = [f"{report.machine}; seeds {', '.join(map(str, report.seeds))}; {report.day}:"]
    for table in tables(report):
        head, *rest = table
        lines += ["", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        lines += [f"| {' | '.join(line)} |" for line in rest]
    return "\n".join(lines)


def main(description: str | None) -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="stories of each fault; 3, or 1 if quick")
    parser.add_argument("--quick", action="store_true", help="one story and an hour of the day: to see that it runs")
    parser.add_argument("--only", choices=["plant", "cost"], default="", help="measure one part")
    parser.add_argument("--scenario", default="", help="only scenarios with this in their name")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the tables of benchmarks/README.md")
    output.add_argument("--readme", action="store_true", help="put these tables into benchmarks/README.md")
    options = parser.parse_args()
    seeds = range(1, 1 + (options.seeds or (1 if options.quick else 3)))
    begun = time.perf_counter()
    rows = (
        []
        if options.only == "cost"
        else compare(seeds, longest=QUICK_DAY if options.quick else DAY, only=options.scenario)
    )
    took = time.perf_counter() - begun
    effort = CostEffort(turns=1, seconds=1.2, rest=0.3) if options.quick else CostEffort()
    report = Report(
        machine=f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}",
        day=date.today().isoformat(),  # noqa: DTZ011  # a reader's day
        seeds=[*seeds],
        seconds=took,
        rows=rows,
        costs={} if options.only == "plant" else costs(effort),
    )
    if options.json:
        print(msgspec.json.encode(report).decode())
    elif options.markdown:
        print(markdown(report))
    elif options.readme:
        put_into_readme(markdown(report), MARK)
    else:
        print(text(report))
