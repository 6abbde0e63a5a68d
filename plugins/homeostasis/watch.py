"""The watch over the controller's own loop: a cycle that does not end, or does not come, is told and begun anew."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

__all__ = ["Trouble", "TroubleKind", "Watch", "WatchStatistics"]

log = logging.getLogger("aetherra.plugins.homeostasis.watch")
TroubleKind = Literal["overrun", "missing", "late", "raised", "abandoned"]
MAX_ABANDONED = 3
"""Loops that may be left behind because they cannot be cancelled; then none is begun any more."""
LATE = 3
"""Intervals, beside what a cycle may take, after which a cycle that has not ended well is missed."""


class Clock(Protocol):
    """What the watch asks of time; ``ctx.clock`` does."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def time(self) -> float:
        """Unix time."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Trouble(msgspec.Struct, frozen=True):
    """Something is wrong with the loop.

    Attributes:
        ts: Unix time.
        kind: ``overrun``: a cycle did not end in time; it was cancelled, and a loop begun anew. ``missing``: the loop
            began no cycle though one was due; likewise. ``late``: a cycle came or ended late by itself, as when the
            event loop was blocked (``kernel.loop_blocked`` says by whom). ``raised``: a cycle raised; the next comes
            as planned. ``abandoned``: so many loops did not let themselves be cancelled that none is begun any more.
        seconds: For how long, or by how much.
        text: All of it in a sentence.
    """

    ts: float
    kind: TroubleKind
    seconds: float
    text: str


class WatchStatistics(msgspec.Struct, frozen=True):
    """A snapshot.

    Attributes:
        cycles: Cycles that ended well.
        in_hand: Seconds that the cycle in hand has taken; ``None`` if there is none.
        longest: Seconds that the longest one took.
        restarts: Loops begun anew.
        abandoned: Loops that did not let themselves be cancelled and still run.
        troubles: How many there were of each kind.
        running: Whether cycles come, or are begun anew if they do not.
        well_ago: Seconds since one ended well, or since the first was due; ``None`` before.
        problem: Why none does now: none comes any more, the last one raised, or none has ended well for long; else
            ``""``.
    """

    cycles: int
    in_hand: float | None
    longest: float
    restarts: int
    abandoned: int
    troubles: dict[TroubleKind, int]
    running: bool
    well_ago: float | None
    problem: str


class Watch:
    """Runs a cycle again and again, and beside it, in a task of its own, looks whether it does.

    A cycle begins ``interval`` seconds after the one before began, or at once if that took longer; what was missed is
    not made up for. A blocked event loop stops the watch as well: it is told afterwards, as cycles that came late, and
    nothing is cancelled for it. It needs no thread: the kernel's watchdog has one, and names who blocks.

    Args:
        clock: The host's.
        interval: Seconds between the beginnings of two cycles.
        limit: Seconds that a cycle may take, and that one may be late.
        tell: Called with each trouble, on the event loop; it must not raise.

    Raises:
        ValueError: ``interval`` or ``limit`` is not above 0.
    """

    def __init__(
        self, clock: Clock, *, interval: float, limit: float, tell: Callable[[Trouble], object] | None = None
    ) -> None:
        if not (interval > 0 and limit > 0):
            raise ValueError(f"expected interval and limit above 0, got {interval!r} and {limit!r}")
        self._clock = clock
        self._interval = interval
        self._limit = limit
        self._tell = tell
        self._loop = _Loop(0, 0.0)
        self._alive: set[_Loop] = set()
        self._cycles = self._restarts = 0
        self._longest = 0.0
        self._counts: dict[TroubleKind, int] = {}
        self._running = False
        self._well_at: float | None = None
        self._raised = ""

    async def run(self, cycle: Callable[[], Awaitable[object]]) -> None:
        """Run cycles, the first at once, until cancelled; what a cycle raises is told, and no reason to end."""
        self._running = True
        self._well_at = self._clock.monotonic()
        try:
            async with anyio.create_task_group() as group:
                self._begin(group, cycle)
                while True:
                    await self._look(group, cycle)
        finally:
            self._running = False

    async def _look(self, group: TaskGroup, cycle: Callable[[], Awaitable[object]]) -> None:
        """Wait a little, and see whether the loop goes on."""
        pause = min(self._interval, self._limit) / 2
        asleep = self._clock.monotonic()
        await self._clock.sleep(pause)
        now = self._clock.monotonic()
        if now - asleep - pause > self._limit / 2:
            return  # nobody could run, so nobody is to blame
        loop = self._loop
        if loop.begun is not None and now - loop.begun >= self._limit:
            self._say("overrun", now - loop.begun, "the controller's cycle has not ended")
        elif loop.begun is None and now - loop.due >= self._limit:
            self._say("missing", now - loop.due, "the controller's next cycle has not begun")
        else:
            return
        if loop.scope is not None:
            loop.scope.cancel()
        if len(self._alive) > MAX_ABANDONED:
            self._running = False
            self._say("abandoned", 0.0, f"{len(self._alive)} cycles cannot be cancelled, so no other is begun")
            await anyio.sleep_forever()
        self._restarts += 1
        self._begin(group, cycle)

    def _begin(self, group: TaskGroup, cycle: Callable[[], Awaitable[object]]) -> None:
        self._loop = _Loop(self._loop.number + 1, self._clock.monotonic())
        group.start_soon(self._repeat, self._loop, cycle, name=f"homeostasis loop {self._loop.number}")

    async def _repeat(self, loop: _Loop, cycle: Callable[[], Awaitable[object]]) -> None:
        self._alive.add(loop)
        try:
            with anyio.CancelScope() as loop.scope:
                while loop is self._loop:
                    await self._cycle(loop, cycle)
                    await self._clock.sleep(max(0.0, loop.due - self._clock.monotonic()))
        finally:
            self._alive.discard(loop)

    async def _cycle(self, loop: _Loop, cycle: Callable[[], Awaitable[object]]) -> None:
        begun = loop.begun = self._clock.monotonic()
        if begun - loop.due >= self._limit:
            self._say("late", begun - loop.due, "the controller's cycle came late")
        try:
            await cycle()
        except Exception as exc:
            log.exception("a cycle of homeostasis raised")
            self._raised = f"the controller's cycle raised {exc!r}"
            self._say("raised", self._clock.monotonic() - begun, self._raised)
        else:
            self._cycles += 1
            self._raised = ""
            self._well_at = self._clock.monotonic()
        finally:
            now = self._clock.monotonic()
            self._longest = max(self._longest, now - begun)
            loop.begun, loop.due = None, max(now, begun + self._interval)
            if now - begun >= self._limit and loop is self._loop:
                self._say("late", now - begun, "the controller's cycle ended late")

    def _say(self, kind: TroubleKind, seconds: float, what: str) -> None:
        text = f"{what} ({seconds:.1f} s; expected within {self._limit:g} s)" if kind != "raised" else what
        trouble = Trouble(self._clock.time(), kind, seconds, text)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind != "raised":  # which is logged with its traceback
            log.warning("%s", text)
        if self._tell is not None:
            self._tell(trouble)

    def statistics(self) -> WatchStatistics:
        """Return a snapshot."""
        begun = self._loop.begun
        well_ago = None if self._well_at is None else self._clock.monotonic() - self._well_at
        return WatchStatistics(
            cycles=self._cycles,
            in_hand=None if begun is None else self._clock.monotonic() - begun,
            longest=self._longest,
            restarts=self._restarts,
            abandoned=len(self._alive - {self._loop}),
            troubles=dict(self._counts),
            running=self._running,
            well_ago=well_ago,
            problem=self._problem(well_ago),
        )

    def _problem(self, well_ago: float | None) -> str:
        if well_ago is None:
            return ""
        if not self._running:
            return "no cycle comes any more"
        if not self._raised and well_ago > LATE * self._interval + self._limit:
            return f"no cycle has ended well for {well_ago:.0f} s"
        return self._raised


class _Loop:
    """One run of the loop, until it is given up."""

    def __init__(self, number: int, due: float) -> None:
        self.number = number
        self.due = due
        self.begun: float | None = None
        self.scope: anyio.CancelScope | None = None
