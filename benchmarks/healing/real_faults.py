"""Real faults: hosts with real plugins go wrong, with homeostasis and without; the scenarios are those of the tests."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from functools import partial
from pathlib import Path

import anyio
import msgspec

sys.path.append(str(Path(__file__).parents[2]))  # where ``tests`` is

from tests.acceptance import healing_faults as faults
from tests.acceptance.healing_world import Outcome, Scenario, live_through

DAY = 86_400.0
QUIET_INTERVAL = 5.0
"""Seconds between two looks at a host that is watched for long."""


class Row(msgspec.Struct, frozen=True):
    """One scenario, lived through once.

    Attributes:
        scenario: Which.
        healing: Whether there was homeostasis.
        recovery: Seconds from when requests began to be served badly until all was well for good; ``None``: never.
        bad_share: Share of all requests since the fault that were served badly.
        acts: What was done or tried.
        useless: How much of that could not have helped.
        seconds: What it took to find out.
    """

    scenario: str
    healing: bool
    recovery: float | None
    bad_share: float
    acts: int
    useless: int
    seconds: float

    @property
    def told(self) -> tuple[str, ...]:
        """The cells of a table."""
        recovery = "never" if self.recovery is None else f"{self.recovery:.0f} s"
        bad = f"{self.bad_share:.1%}"
        return (self.scenario, "with" if self.healing else "without", recovery, bad, str(self.acts), str(self.useless))


HEAD = ("Real fault", "Homeostasis", "Recovered in", "Served badly", "Actions", "Could not help")


def row_of(scenario: Scenario, outcome: Outcome, *, healing: bool, seconds: float) -> Row:
    """Fold an outcome."""
    for_good = outcome.bad_at_the_end <= outcome.bad_before + 0.02
    return Row(
        scenario=scenario.name,
        healing=healing,
        recovery=outcome.trouble if for_good else None,
        bad_share=outcome.bad_share,
        acts=len(outcome.acts),
        useless=len(outcome.useless),
        seconds=seconds,
    )


def live(scenario: Scenario, *, healing: bool, backend: str, verbose: bool = False) -> Row:
    """Live through a scenario once."""
    begun = time.perf_counter()
    outcome = anyio.run(partial(live_through, scenario, healing=healing), backend=backend)
    if verbose:
        print(f"{scenario.name}, {'with' if healing else 'without'}:\n{outcome}\n", file=sys.stderr)
    return row_of(scenario, outcome, healing=healing, seconds=time.perf_counter() - begun)


def scenarios(*, day: bool) -> list[Scenario]:
    """Return all scenarios, the last of them a day without a fault or an hour of one."""
    quiet = faults.a_quiet_time(DAY if day else faults.HOUR, QUIET_INTERVAL)
    return [*faults.SINGLE_FAULTS, *faults.SENSORS, faults.FAILING_ACTUATOR, faults.TWO_FAULTS, quiet]


def main(arguments: list[str] | None = None) -> None:
    """Live through all and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="the event loop")
    parser.add_argument("--only", default="", help="scenarios whose names have this in them")
    parser.add_argument("--quick", action="store_true", help="an hour without a fault instead of a day")
    parser.add_argument("--verbose", action="store_true", help="tell each decision")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON array")
    output.add_argument("--markdown", action="store_true", help="print a table for benchmarks/README.md")
    options = parser.parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # the hosts' own logs tell of the faults, at length
    rows: list[Row] = []
    for scenario in scenarios(day=not options.quick):
        if options.only not in scenario.name:
            continue
        for healing in (False, True):
            rows.append(live(scenario, healing=healing, backend=options.backend, verbose=options.verbose))
            if not (options.json or options.markdown):
                print_text(rows[-1], first=len(rows) == 1)
    if options.json:
        print(msgspec.json.encode(rows).decode())
    elif options.markdown:
        lines = [HEAD, tuple("---" for _ in HEAD), *(row.told for row in rows)]
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))


def print_text(row: Row, *, first: bool) -> None:
    """Print a row for a terminal as soon as it is known."""
    for cells in ([HEAD] if first else []) + [row.told]:
        name, *others = cells
        print(f"{name:<46}" + "".join(f"{cell:>15}" for cell in others), flush=True)


if __name__ == "__main__":
    main()
