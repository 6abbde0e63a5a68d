"""Durability: what it costs to survive, beside a bare append of the very bytes that the journal writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from aetherra.kernel.config import Durability
from measuring.figures import Case, Difference, Effort, Figure, Run, measure
from measuring.report import Amount
from queueing.stage import config, file_system, folder_on_disk, held, serving, submitted
from queueing.throughput import actions
from queueing.vocabulary import Noop

SUBMITTERS = 64
BOUND_PROCESS = 3.0
BOUND_SYNCS = 1.1
"""Times that the disk is waited for, for so many actions as submit at a time: once, and a tenth for the first and the
last, whose company is not complete."""
RECORDED = 1_000
"""Actions whose records are read back: few enough that the journal has thrown none away."""


async def records(durability: Durability) -> tuple[list[bytes], list[bytes]]:
    """Return what the journal writes of each of so many actions: when they are accepted, and from then to their ends.

    Its files are read once all are accepted, and once all are done, and each growth is cut into as many pieces, so
    that nothing has to be known of what is in them.
    """
    with folder_on_disk() as folder:
        async with serving(config(durability, folder, workers=1)) as kernel:
            async with held(kernel):
                before = written(folder)
                for _ in range(RECORDED):
                    handle = await kernel.submit(Noop())
                accepted = written(folder)
            await handle.wait()
            await anyio.sleep(0.1)  # ends may be written after whoever waits for them has heard
            ended = written(folder)
    if not (ended.startswith(accepted) and accepted.startswith(before)):
        raise AssertionError("the journal was written anew while it was looked at")
    return pieces(accepted[len(before) :]), pieces(ended[len(accepted) :])


def written(folder: Path) -> bytes:
    """Return what is in the files of a host's journal."""
    return b"".join(file.read_bytes() for file in sorted((folder / "data").glob("*journal*")))


def pieces(data: bytes) -> list[bytes]:
    """Cut bytes into as many pieces as there are actions."""
    cuts = [len(data) * number // RECORDED for number in range(RECORDED + 1)]
    return [data[begin:end] for begin, end in pairwise(cuts)]


@contextmanager
def appending(folder: Path) -> Generator[int]:
    """Lend a file that is appended to."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def appended(descriptor: int, accepted: list[bytes], finished: list[bytes]) -> Run:
    """The floor of ``process``: a write for each action, and one for its end."""

    async def run(count: int) -> None:
        os.ftruncate(descriptor, 0)
        for lines in (accepted, finished):
            for line in islice(cycle(lines), count):
                os.write(descriptor, line)

    return run


def appended_and_synced(descriptor: int, accepted: list[bytes], finished: list[bytes]) -> Run:
    """The floor of ``power``: a write and a sync for so many actions as submit at a time, their ends with them."""
    batch = b"".join(accepted[:SUBMITTERS] + finished[:SUBMITTERS])

    async def run(count: int) -> None:
        os.ftruncate(descriptor, 0)
        for _ in range(count // SUBMITTERS):
            os.write(descriptor, batch)
            os.fsync(descriptor)

    return run


class Syncs:
    """Counts how often the disk was waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self, sync: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return the same, counted."""

        def counted(descriptor: Any) -> None:
            with self._lock:
                self.count += 1
            sync(descriptor)

        return counted


@contextmanager
def counting_syncs() -> Generator[Syncs]:
    """Count calls of ``os.fsync`` and ``os.fdatasync`` while the body runs."""
    syncs, plain = Syncs(), (os.fsync, os.fdatasync)
    os.fsync, os.fdatasync = syncs(plain[0]), syncs(plain[1])
    try:
        yield syncs
    finally:
        os.fsync, os.fdatasync = plain


async def syncs_of(run: Run, count: int) -> float:
    """Return how often the disk was waited for, for so many actions as submit at a time."""
    with counting_syncs() as syncs:
        await run(count)
    return syncs.count * SUBMITTERS / count


async def journal(effort: Effort) -> dict[str, list[Figure] | list[Amount]]:
    """Measure the journal beside bare appends of the same bytes."""
    number = actions(effort)
    process, power = await records("process"), await records("power")
    async with AsyncExitStack() as stack:
        bare, ours, synced = (stack.enter_context(folder_on_disk()) for _ in range(3))
        descriptor = stack.enter_context(appending(bare))
        memory = await stack.enter_async_context(serving(config()))
        async with serving(config("process", ours)) as kernel:
            floor = "floor: a bare append of the same bytes, once per action and once per end"
            none, one = "beside: kernel.submit, durability none", "kernel.submit, durability process"
            many = f"{one}, {SUBMITTERS} submitters"
            shared = number // SUBMITTERS * SUBMITTERS
            of_many = submitted(kernel, Noop(), SUBMITTERS)
            figures = await measure(
                [
                    Case(floor, appended(descriptor, *process), unit="action", count=number),
                    Case(none, submitted(memory, Noop()), floor, unit="action", count=number),
                    Case(one, submitted(kernel, Noop()), floor, BOUND_PROCESS, "action", count=number),
                    Case(many, of_many, floor, BOUND_PROCESS, "action", SUBMITTERS, shared),
                    Difference("of it the journal: process less none", one, none, floor, BOUND_PROCESS, "action"),
                ],
                effort,
            )
        async with serving(config("power", synced)) as kernel:
            run = submitted(kernel, Noop(), SUBMITTERS)
            floor = f"floor: a bare append of the same bytes and one fsync for {SUBMITTERS} actions"
            waiting = await measure(
                [
                    Case(floor, appended_and_synced(descriptor, *power), unit="action", step=SUBMITTERS),
                    Case(
                        f"kernel.submit, durability power, {SUBMITTERS} submitters",
                        run,
                        floor,
                        unit="action",
                        step=SUBMITTERS,
                    ),
                ],
                effort,
            )
            syncs = await syncs_of(run, SUBMITTERS * (10 if effort.quick else 100))
        size = [sum(map(len, accepted + finished)) / RECORDED for accepted, finished in (process, power)]
        return {
            f"The journal, on {file_system(bare)}, {number:,} actions that do nothing, submitted and done": figures,
            f"The journal, on {file_system(bare)}, waiting for the disk": waiting,
            "What the journal does": [
                Amount("written of an action, acceptance and end, process", size[0], "bytes"),
                Amount("written of an action, acceptance and end, power", size[1], "bytes"),
                Amount(f"fsyncs for {SUBMITTERS} actions of {SUBMITTERS} submitters", syncs, "fsyncs", BOUND_SYNCS),
                Amount("actions that shared an fsync", SUBMITTERS / syncs, "actions"),
            ],
        }


async def side_by_side(effort: Effort) -> dict[str, list[Figure]]:
    """Measure each durability, with one submitter and with many."""
    async with AsyncExitStack() as stack:
        cases: list[Case] = []
        floor = "floor: durability none, 1 submitter"
        where = ""
        durabilities: tuple[Durability, ...] = ("none", "process", "power")
        for durability in durabilities:
            folder = None if durability == "none" else stack.enter_context(folder_on_disk())
            where = where if folder is None else file_system(folder)
            kernel = await stack.enter_async_context(serving(config(durability, folder)))
            for submitters in (1, SUBMITTERS):
                name = f"durability {durability}, {submitters} submitter{'' if submitters == 1 else 's'}"
                run = submitted(kernel, Noop(), submitters)
                if cases:
                    cases.append(Case(name, run, floor, unit="action", step=submitters))
                else:
                    cases.append(Case(floor, run, unit="action", step=submitters))
        return {f"kernel.submit by durability, on {where}, until it has been done": await measure(cases, effort)}
