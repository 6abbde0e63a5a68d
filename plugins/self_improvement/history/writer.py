"""The history's one writer: joins what is recorded at the same time into one transaction, in a worker thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from aetherra.plugins.self_improvement.history.metric_history import MetricHistory
from aetherra.plugins.self_improvement.history.point import Point
from aetherra.plugins.self_improvement.history.roll_up import RolledUp
from aetherra.plugins.storage import DatabaseUnusableError

__all__ = ["HistoryWriter", "WriterStatistics"]

_TRANSACTION_POINTS = 20_000  # in one transaction, more by at most one call's: a tenth of a second


class WriterStatistics(msgspec.Struct, frozen=True):
    """What a writer has done since it began.

    Attributes:
        stored: Points.
        refused: Points, with all those of their call where that is stored as a whole.
        failed: Points that the disk did not take.
        transactions: That these points took.
        waiting: Calls that are under way.
    """

    stored: int
    refused: int
    failed: int
    transactions: int
    waiting: int


class HistoryWriter:
    """Records for any number of tasks at once.

    While a transaction is under way, what is recorded meanwhile gathers and goes into the next one; so a single call
    waits for two at most, and many calls make few. Needs no task of its own.

    Args:
        history: Where the points go.
        run_sync: Runs a function in a worker thread, and waits for it also when cancelled.
        most_waiting: Calls under way; one more waits until one of these is done.
        most_points: Points of one call.
    """

    def __init__(
        self,
        history: MetricHistory,
        run_sync: Callable[..., Awaitable[Any]],
        *,
        most_waiting: int = 1_000,
        most_points: int = 10_000,
    ) -> None:
        self._history = history
        self._run_sync = run_sync
        self._most_points = most_points
        self._room = anyio.Semaphore(most_waiting, fast_acquire=True)
        self._most_waiting = most_waiting
        self._storing = False
        self._stored_some = anyio.Event()
        self._pending: list[_Call] = []
        self._stored = self._refused = self._failed = self._transactions = 0

    async def record(self, points: Sequence[Point]) -> int:
        """Store all of ``points``, or none, and return how many once they are stored: on disk, where there is one.

        When full, it waits for room. One that is cancelled before its points are handed over has stored none; after
        that they are stored, though nobody is told.

        Raises:
            ValueError: There is something wrong with them, as ``MetricHistory.record()`` says, or they are more than
                ``most_points``. Calls that share the transaction are stored all the same.
            DatabaseUnusableError: The file could not be written; neither were theirs.
        """
        outcome = await self._outcome(_Call(points, parted=False))
        assert isinstance(outcome, int)
        return outcome

    async def record_each(self, points: Sequence[Point]) -> list[ValueError | None]:
        """Store those of ``points`` that can be stored, and return for each what is wrong with it, or None.

        Otherwise as ``record()``.

        Raises:
            ValueError: They are more than ``most_points``.
            DatabaseUnusableError: The file could not be written; none was stored.
        """
        outcome = await self._outcome(_Call(points, parted=True))
        return [None] * len(points) if isinstance(outcome, int) else outcome

    async def roll_up(self) -> RolledUp:
        """Move what is old to its minute or hour, in portions between which others record and read.

        Cancelled, it ends with the portion under way; the next roll-up goes on from there.

        Raises:
            DatabaseUnusableError: The file could not be written.
        """
        steps = self._history.rolling()
        done = RolledUp()
        while (step := await self._run_sync(next, steps, None)) is not None:
            done += step
        return done

    def statistics(self) -> WriterStatistics:
        """Return what was done so far."""
        waiting = self._most_waiting - self._room.value
        return WriterStatistics(self._stored, self._refused, self._failed, self._transactions, waiting)

    async def _outcome(self, call: _Call) -> int | list[ValueError | None]:
        """Have a call stored and return what became of it, or raise that."""
        if len(call.points) > self._most_points:
            raise ValueError(
                f"expected at most {self._most_points} points at once, got {len(call.points)}: record them in parts"
            )
        async with self._room:
            self._pending.append(call)
            try:
                while call.outcome is None:
                    await (self._stored_some.wait() if self._storing else self._store_some())
            finally:
                if call.outcome is None:
                    self._pending.remove(call)
        if isinstance(call.outcome, Exception):
            raise call.outcome
        assert call.outcome is not None
        return call.outcome

    async def _store_some(self) -> None:
        """Store the calls that came first; one that is not reached, as the task is cancelled, stays where it was."""
        some: list[_Call] = []
        self._storing = True
        try:
            await checkpoint()  # who is about to record joins in
            some = self._first()
            await self._run_sync(self._store, some)
        finally:
            self._storing = False
            self._stored_some.set()
            self._stored_some = anyio.Event()
            self._count([call for call in some if call.outcome is not None])
            self._pending = [call for call in self._pending if call.outcome is None]

    def _first(self) -> list[_Call]:
        size = 0
        for number, call in enumerate(self._pending):
            if size >= _TRANSACTION_POINTS:
                return self._pending[:number]
            size += len(call.points)
        return list(self._pending)

    def _store(self, calls: Sequence[_Call]) -> None:
        """Store each call whole; of those that may be parted and cannot be stored whole, what can."""
        try:
            outcomes = self._history.record_each([call.points for call in calls])
            for call, outcome in zip(calls, outcomes, strict=True):
                if isinstance(outcome, int) or not call.parted:
                    call.outcome = outcome
            for call in calls:
                if call.outcome is None:
                    singles = self._history.record_each([[point] for point in call.points])
                    call.outcome = [None if isinstance(single, int) else single for single in singles]
        except DatabaseUnusableError as error:
            for call in calls:
                if call.outcome is None:
                    call.outcome = error.again()

    def _count(self, calls: Sequence[_Call]) -> None:
        self._transactions += bool(calls)
        for call in calls:
            size = len(call.points)
            if isinstance(call.outcome, ValueError):
                self._refused += size
            elif isinstance(call.outcome, Exception):
                self._failed += size
            else:
                refused = size - call.outcome.count(None) if isinstance(call.outcome, list) else 0
                self._refused += refused
                self._stored += size - refused


class _Call:
    """Points of one call, whether some of them may be stored without the others, and what became of them."""

    def __init__(self, points: Sequence[Point], parted: bool) -> None:
        self.points = points
        self.parted = parted
        self.outcome: int | list[ValueError | None] | Exception | None = None
