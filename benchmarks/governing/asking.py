"""What a question for permission costs on a real host, beside a bare append that waits for the disk as well.

Cases take turns round by round on one disk, so that noise meets floor and figure alike: the ratio is the figure::

    python benchmarks/governing/asking.py [--rounds 7] [--questions 200] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest.mock import patch

import anyio

from aetherra.kernel import AskPermission, CheckPermission, Config, Intent, Kernel, TellOutcome
from aetherra.plugins.governance import Governance

FLOOR = "floor: a bare append, fsynced"
BOUNDS = {
    "ask and be allowed, counted by a guard": 8.0,
    "ask and be allowed, counted by none": 5.0,
    "tell the outcome": 5.0,
}
"""The most that each may cost, times the floor."""
LINE = b"x" * 600 + b"\n"
MANY = {"actions_per_component_per_minute": {"limit": 1_000_000}}


def act(number: int, *, undo: bool = False) -> Intent:
    """Return what an actuator would do."""
    summary = "restart it, as it has not answered for 30 s"
    return Intent(kind="actuator", component=f"part {number}", actuator="restart", summary=summary, undo=undo)


async def measured(folder: Path, rounds: int, questions: int) -> dict[str, list[float]]:
    """Return the seconds that each case takes, one figure a round."""
    config = Config.parse({"kernel": {"discover": False, "control_socket": False}}, root=folder)
    file = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    taken: dict[str, list[float]] = {}

    async def timed(name: str, each: Callable[[int], Awaitable[object]]) -> None:
        started = time.perf_counter()
        for number in range(questions):
            await each(number)
        taken.setdefault(name, []).append((time.perf_counter() - started) / questions)

    async def append(_: int) -> None:
        os.write(file, LINE)
        os.fsync(file)

    async with Kernel(config) as kernel:
        await kernel.add_plugin(Governance, settings={"guards": MANY})
        entries: list[int] = []

        async def ask(number: int) -> None:
            entries.append((await kernel.call(AskPermission(act(number)))).entry)

        await ask(0)
        for _ in range(rounds):
            entries.clear()
            await timed(FLOOR, append)
            await timed("ask and be allowed, counted by a guard", ask)
            await timed("tell the outcome", lambda number: kernel.call(TellOutcome(entries[number], "done")))
            await timed(
                "ask and be allowed, counted by none",
                lambda number: kernel.call(AskPermission(act(number, undo=True))),
            )
            open_one = (await kernel.call(AskPermission(act(0, undo=True)))).entry
            await timed("check between two steps", lambda _, one=open_one: kernel.call(CheckPermission(one)))
            await timed("peek", lambda number: kernel.call(AskPermission(act(number), peek=True)))
    os.close(file)
    return taken


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--questions", type=int, default=200, help="in each sample of a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"XDG_STATE_HOME": f"{folder}/state"}):
        taken = anyio.run(measured, Path(folder), options.rounds, options.questions)
    figures = []
    for name, own in taken.items():
        ratio = statistics.median(mine / bare for mine, bare in zip(own, taken[FLOOR], strict=True))
        figures.append((name, 1 / statistics.median(own), ratio, BOUNDS.get(name)))
    if options.json:
        print(json.dumps([dict(zip(("name", "per_second", "ratio", "bound"), each, strict=True)) for each in figures]))
        return
    for name, speed, ratio, bound in figures:
        promised = "" if bound is None else f"  bound {bound:g}: {'met' if ratio <= bound else 'missed'}"
        print(f"{name:<42} {speed:>10,.0f} /s {ratio:>7.2f} x floor{promised}")


if __name__ == "__main__":
    main()
