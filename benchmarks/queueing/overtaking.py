"""Urgent work: what it takes to submit it, and how long it waits, while the background lane is full of work.

Each of the two hosts that urgent actions are submitted to is a process of its own, so that what a million queued
objects cost the garbage collector is paid by the host that has them: ``python overtaking.py DEPTH`` queues so many
background actions behind a held worker, says so, and answers each number on standard input with the 99th percentile,
in seconds, of so many submissions.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import anyio
import anyio.lowlevel

from aetherra.kernel import ActionPriority, Kernel
from measuring.figures import Case, Effort, Figure, Run, measure
from queueing.stage import PATIENCE, config, held, serving
from queueing.vocabulary import Noop, Noops, Urgent

BOUND_SUBMIT, BOUND_LATENCY = 2.0, 5.0
WAITING = 10_000
"""Background actions that wait while they are worked on."""


def p99(samples: list[int]) -> float:
    """Return the 99th percentile of nanoseconds, in seconds."""
    return sorted(samples)[len(samples) * 99 // 100] / 1e9


async def submissions(kernel: Kernel, count: int) -> float:
    """Return the 99th percentile of the time that submitting an urgent action takes."""
    samples: list[int] = []
    for number in range(count):
        begun = time.perf_counter_ns()
        await kernel.submit(Urgent(number), priority=ActionPriority.HIGH)
        samples.append(time.perf_counter_ns() - begun)
    return p99(samples)


async def answer(depth: int) -> None:
    """Fill the background lane, and answer until standard input ends."""
    async with serving(config(workers=1)) as kernel, held(kernel):
        for number in range(depth):
            await kernel.submit(Noop(number), priority=ActionPriority.LOW)
        print("ready", flush=True)
        for line in sys.stdin:
            print(await submissions(kernel, int(line)), flush=True)
        sys.stdout.close()
        sys.exit(0)


@contextmanager
def host(depth: int) -> Generator[Run]:
    """Run such a host, and yield what asks it."""
    command = [sys.executable, str(Path(__file__)), str(depth)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        asked, told = other.stdin, other.stdout
        assert asked is not None and told is not None  # noqa: PT018  # both are pipes

        async def run(count: int) -> float:
            print(count, file=asked, flush=True)
            return float(told.readline())

        try:
            if told.readline() != "ready\n":
                raise SystemExit(f"the other process did not start: {' '.join(command)}")
            yield run
        finally:
            other.kill()  # nobody waits for what is in its queue


class Background:
    """Work that comes as fast as it is done, so that so many actions wait at any time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._submitted = self._before = Noops.tally.ran
        self._wanted = False

    async def feed(self) -> None:
        """Submit, until it is no longer wanted."""
        self._submitted = Noops.tally.ran
        self._wanted = True
        while self._wanted:
            while self._submitted < Noops.tally.ran + WAITING:
                await self._kernel.submit(Noop(), priority=ActionPriority.LOW)
                self._submitted += 1
            await anyio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Let what waits be done."""
        self._wanted = False
        with anyio.fail_after(PATIENCE):
            while Noops.tally.ran < self._submitted:
                await anyio.lowlevel.checkpoint()


async def latencies(kernel: Kernel, count: int) -> float:
    """Return the 99th percentile of the time from submitting an urgent action until its handler has run."""
    samples: list[int] = []
    for number in range(count):
        begun = time.perf_counter_ns()
        handle = await kernel.submit(Urgent(number), priority=ActionPriority.HIGH)
        await handle.wait()
        samples.append(Noops.tally.urgent_at - begun)
        for _ in range(3):  # whoever did it goes back to where it waits
            await anyio.lowlevel.checkpoint()
    return p99(samples)


def while_busy(kernel: Kernel) -> Run:
    """The same while background actions wait and are worked on."""

    async def run(count: int) -> float:
        background = Background(kernel)
        async with anyio.create_task_group() as group:
            group.start_soon(background.feed)
            await anyio.lowlevel.checkpoint()
            taken = await latencies(kernel, count)
            await background.stop()
        return taken

    return run


async def measured(effort: Effort) -> dict[str, list[Figure]]:
    """Measure submissions, and the time until urgent work has been done."""
    depth = 50_000 if effort.quick else 1_000_000
    count = 1_000 if effort.quick else 10_000
    with host(0) as empty, host(depth) as full:
        floor = "floor: kernel.submit, high lane, the queue is empty"
        submits = await measure(
            [
                Case(floor, empty, count=count, tells=True),
                Case(
                    f"kernel.submit, high lane, {depth:,} background actions are queued",
                    full,
                    floor,
                    BOUND_SUBMIT,
                    count=count,
                    tells=True,
                ),
            ],
            effort,
        )
    async with serving(config()) as kernel:

        async def while_idle(number: int) -> float:
            return await latencies(kernel, number)

        floor = "floor: high lane, an idle queue"
        waits = await measure(
            [
                Case(floor, while_idle, count=count // 5, tells=True),
                Case(
                    f"high lane, {WAITING:,} background actions wait and are worked on",
                    while_busy(kernel),
                    floor,
                    BOUND_LATENCY,
                    count=count // 5,
                    tells=True,
                ),
            ],
            effort,
        )
    return {
        "Submitting urgent work, 99th percentile": submits,
        "From submitting urgent work until its handler has run, 99th percentile": waits,
    }


if __name__ == "__main__":
    anyio.run(answer, int(sys.argv[1]))
