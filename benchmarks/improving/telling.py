"""Telling: tables of scores and of what a point costs, for a terminal, programs and the README."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import msgspec

from improving.contenders import CONTENDERS, OURS, reports
from improving.cost import BOUND, cost
from improving.folds import Folds, folds
from improving.nab import LABELS, PROFILES, Series, Tally, load, score, tally
from measuring.figures import Effort, Figure
from measuring.report import put_into_readme

MARK = "nab_detector"
DATA = Path(__file__).parents[3] / "shared" / "data" / "nab-dev"
TARGET = 52.0
Table = list[list[str]]


class Report(msgspec.Struct, frozen=True):
    """All that was measured.

    Attributes:
        machine: On what.
        day: When.
        groups: The group of each series.
        tallies: What each contender came to, series by series.
        folds: What constants chosen elsewhere are worth; ``None`` where that was not asked.
        costs: What a point takes.
    """

    machine: str
    day: str
    groups: list[str]
    tallies: dict[str, list[Tally]]
    folds: Folds | None
    costs: list[Figure]


def scores(tallies: Sequence[Tally]) -> list[str]:
    """Write the scores of all profiles, and what they stand on."""
    found, windows = sum(it.found for it in tallies), sum(it.windows for it in tallies)
    marks = [f"{score(tallies, profile):.1f}" if windows else "-" for profile in PROFILES.values()]
    return [*marks, f"{found} of {windows}", str(sum(it.false for it in tallies))]


def tables(report: Report) -> Iterator[Table]:
    """Yield tables: a line of titles, and lines below."""
    titles = [*PROFILES, "windows found", "false reports"]
    yield [["NAB score", *titles], *([name, *scores(it)] for name, it in report.tallies.items())]
    kinds: Table = [["Ours, by group", *titles]]
    for group in dict.fromkeys(report.groups):
        kinds.append([group, *scores(_of_group(group, report.groups, report.tallies[OURS]))])
    yield kinds
    if report.folds is not None:
        every = report.folds.every
        yield [
            ["Constants chosen without the group", *titles],
            ["all groups, each left out in turn", *scores(report.folds.left_out)],
        ]
        yield [
            ["Standard score of all choices tried", "how many", "least", "median", "most"],
            ["", str(len(every)), f"{every[0]:.1f}", f"{every[len(every) // 2]:.1f}", f"{every[-1]:.1f}"],
        ]
    yield [
        ["A point", "costs", "times the floor", "bound"],
        *([it.name, f"{it.ns / 1000:.2f} us", f"{it.ratio:.2f}", _bound(it)] for it in report.costs),
    ]


def _of_group(group: str, groups: Sequence[str], tallies: Sequence[Tally]) -> list[Tally]:
    return [it for of, it in zip(groups, tallies, strict=True) if of == group]


def _bound(figure: Figure) -> str:
    if not figure.floor:
        return ""
    return f"{BOUND / 1000:g} us: {'met' if figure.ns <= BOUND else 'missed'}"


def text(report: Report) -> str:
    """Write for a terminal."""
    lines = [report.machine, _verdict(report)]
    for table in tables(report):
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines.append("")
        for first, *rest in table:
            cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """Write for ``benchmarks/README.md``."""
    lines = [f"{report.machine}; {report.day}. {_verdict(report)}."]
    for head, *rest in tables(report):
        lines += ["", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        lines += [f"| {' | '.join(line)} |" for line in rest]
    return "\n".join(lines)


def _verdict(report: Report) -> str:
    ours = score(report.tallies[OURS], PROFILES["standard"])
    kept = "met" if ours >= TARGET else "missed"
    return f"{len(report.groups)} series, standard score at the fixed threshold {ours:.1f}, wanted {TARGET:g}: {kept}"


def measured(corpus: Sequence[Series], effort: Effort, *, left_out: bool) -> Report:
    """Run all contenders over all series, one point at a time."""
    return Report(
        machine=f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}",
        day=date.today().isoformat(),  # noqa: DTZ011  # a reader's day
        groups=[series.group for series in corpus],
        tallies={
            name: [tally(series, reports(make, series)) for series in corpus] for name, make in CONTENDERS.items()
        },
        folds=folds(corpus) if left_out else None,
        costs=cost(effort),
    )


def main(description: str | None) -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", nargs="?", type=Path, default=Path(os.environ.get("NAB_DATA", DATA)), help=f"folder with {LABELS}"
    )
    parser.add_argument("--quick", action="store_true", help="short samples of what a point costs")
    parser.add_argument("--leave-out", action="store_true", help="choose constants without each group: some minutes")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the tables of benchmarks/README.md")
    output.add_argument("--readme", action="store_true", help="put these tables into benchmarks/README.md")
    options = parser.parse_args()
    if not (options.data / LABELS).is_file():
        print(f"nothing was measured: {options.data / LABELS} is not there; name NAB's data folder or set NAB_DATA")
        return
    effort = Effort(3, 0.02, quick=True) if options.quick else Effort()
    report = measured(load(options.data), effort, left_out=options.leave_out)
    if options.json:
        print(msgspec.json.encode(report).decode())
    elif options.markdown:
        print(markdown(report))
    elif options.readme:
        put_into_readme(markdown(report), MARK)
    else:
        print(text(report))
