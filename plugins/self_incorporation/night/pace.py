"""Work in small units, so that whoever needs the host does not wait for it: owns the clock of a unit."""

import time
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.usage import thread_io

__all__ = ["LONGEST", "Finished", "Pace", "PaceStatistics", "Steps"]

T = TypeVar("T")
W = TypeVar("W")
LONGEST = 0.2
"""Seconds that a unit must not exceed; one that does is counted, and named."""
Steps: TypeAlias = Generator[W | None, Any, T]
"""Work that can be left after any step: it yields None after each, or something that it wants, and is sent what that
came to; what it returns is its result."""


class Finished(Struct, Generic[T], frozen=True):
    """The result of work that has come to its end."""

    result: T


class PaceStatistics(Struct, frozen=True, kw_only=True):
    """How the work went.

    Attributes:
        units: Of work.
        steps: In all of them.
        seconds: That they took.
        longest: Of them, in seconds.
        overlong: How many took longer than `LONGEST`.
        overlong_at: What the last of these was at; empty if there was none.
    """

    units: int
    steps: int
    seconds: float
    longest: float
    overlong: int
    overlong_at: str


class Pace:
    """Does work in units: each ends by itself after some steps, early if somebody needs the host.

    Args:
        unit_seconds: After how many seconds a unit takes no further step.
        is_needed: Whether somebody needs the host; asked after each step.
        counter: Seconds, for how long steps take.
        cpu_time: Seconds of processor time of the calling thread.
        io_bytes: Bytes that the calling thread had disks read and write.
    """

    def __init__(
        self,
        unit_seconds: float,
        is_needed: Callable[[], bool],
        *,
        counter: Callable[[], float] = time.perf_counter,
        cpu_time: Callable[[], float] = time.thread_time,
        io_bytes: Callable[[], float] = thread_io,
    ) -> None:
        self._unit_seconds, self._is_needed = unit_seconds, is_needed
        self._counter, self._cpu_time, self._io_bytes = counter, cpu_time, io_bytes
        self._own_cpu = self._own_io = 0.0
        self._units = self._steps = self._overlong = 0
        self._seconds = self._longest = 0.0
        self._overlong_at = ""

    def own(self) -> tuple[float, float]:
        """Return the seconds of processor time, and the bytes, that all units took so far."""
        return self._own_cpu, self._own_io

    def statistics(self) -> PaceStatistics:
        """Return how the work went so far."""
        return PaceStatistics(
            units=self._units,
            steps=self._steps,
            seconds=self._seconds,
            longest=self._longest,
            overlong=self._overlong,
            overlong_at=self._overlong_at,
        )

    def unit(self, work: Steps[W, T], at: Callable[[], str], answer: Any = None) -> Finished[T] | W | None:
        """Take some steps: return what the work wants, its result, or None if it is to go on later.

        Args:
            work: What to do; it is left where it is.
            at: What the work is at, for `PaceStatistics.overlong_at`.
            answer: What the work wanted last.
        """
        started, cpu, io = self._counter(), self._cpu_time(), self._io_bytes()
        try:
            while True:
                self._steps += 1
                try:
                    wanted = work.send(answer)
                except StopIteration as stop:
                    return Finished(stop.value)
                answer = None
                if wanted is not None:
                    return wanted
                if self._is_needed() or self._counter() - started >= self._unit_seconds:
                    return None
        finally:
            self._count(self._counter() - started, at)
            self._own_cpu += self._cpu_time() - cpu
            self._own_io += max(0.0, self._io_bytes() - io)

    def _count(self, seconds: float, at: Callable[[], str]) -> None:
        self._units += 1
        self._seconds += seconds
        self._longest = max(self._longest, seconds)
        if seconds > LONGEST:
            self._overlong += 1
            self._overlong_at = at()
