"""Calls at a steady rate, each timed from when it was due, so that one that is held up holds up no other's begin."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio

from aetherra.kernel import Kernel

RATE = 1000.0
"""Calls a second."""
LIMIT = 30.0
"""Seconds that a call may take."""


class Load:
    """Calls the plugin, and looks at each answer.

    Args:
        kernel: The host.
        room: The calls there may be; their times are kept in memory that is taken beforehand.

    Attributes:
        made: Calls that were begun.
        answered: Calls that have their answer.
        failed: Calls that raised.
        mixed: Answers in which the entry is of another version than its helper.
        highest: The most calls that the plugin has counted.
        problem: What the first call that failed has raised.
    """

    def __init__(self, kernel: Kernel, room: int) -> None:
        self.made = self.answered = self.failed = self.mixed = self.highest = 0
        self.seconds = 0.0
        self.problem = ""
        self._kernel = kernel
        self._due, self._over = array("d", bytes(8 * room)), array("d", bytes(8 * room))
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Call for as long as the block lasts, and wait for the last answer."""
        self._stopping, begun = False, time.perf_counter()
        async with anyio.create_task_group() as group:
            group.start_soon(self._run)
            try:
                yield
            finally:
                self._stopping = True
        self.seconds += time.perf_counter() - begun

    async def _run(self) -> None:
        begun, first = time.perf_counter(), self.made
        async with anyio.create_task_group() as group:
            while not self._stopping:
                while (due := begun + (self.made - first) / RATE) <= time.perf_counter():
                    group.start_soon(self._call, self.made, due)
                    self.made += 1
                await anyio.sleep(max(0.0, due - time.perf_counter()))

    async def _call(self, number: int, due: float) -> None:
        try:
            answer = await self._kernel.call_tag("bench.ask", timeout=LIMIT)
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is one that failed
            self.failed += 1
            self.problem = self.problem or repr(exc)
            return
        self._due[number], self._over[number] = due, time.perf_counter()
        self.answered += 1
        self.mixed += answer["helper"] not in (0, answer["entry"])
        self.highest = max(self.highest, answer["count"])

    def latencies(self, spans: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
        """Return what calls took that overlap one of these spans, which come one after the other, and the others."""
        ends = [end for _, end in spans]
        during: list[float] = []
        beside: list[float] = []
        for due, over in zip(self._due[: self.made], self._over[: self.made], strict=True):
            if not over:  # it failed
                continue
            next_one = bisect_left(ends, due)
            overlaps = next_one < len(spans) and spans[next_one][0] <= over
            (during if overlaps else beside).append(over - due)
        return during, beside
