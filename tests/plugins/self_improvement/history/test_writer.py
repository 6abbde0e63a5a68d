"""The one writer: what many record at once is stored in few transactions, each told its own outcome."""

import functools
import math
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aetherra.plugins.self_improvement.history import (
    DatabaseUnusableError,
    HistoryWriter,
    MetricHistory,
    Point,
    Retention,
    RolledUp,
    UnitMismatchError,
)

NOW = 1_700_000_000.0


def point(name: str, at: float = 0.0, value: float = 1.0, unit: str = "s") -> Point:
    return Point(name, unit, NOW + at, value)


@pytest.fixture(params=[":memory:", "disk"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MetricHistory]:
    path = tmp_path / "history.sqlite3" if request.param == "disk" else request.param
    with MetricHistory(path, lambda: NOW) as history:
        yield history


class Gate:
    """Runs functions in worker threads, each only when it is let through."""

    def __init__(self) -> None:
        self.closed = anyio.Event()
        self.open = anyio.Event()

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        self.closed.set()
        await self.open.wait()
        return await anyio.to_thread.run_sync(function, *args)


async def outcome_of(recording: Awaitable[Any], into: list[Any]) -> None:
    try:
        into.append(await recording)
    except Exception as error:
        into.append(error)


class TestRecord:
    async def test_calls_at_once_share_a_transaction(self, history: MetricHistory) -> None:
        """All that comes while one is under way goes into the next, and each call is told its own number."""
        gate = Gate()
        writer = HistoryWriter(history, gate)
        told: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome_of, writer.record([point("first")]), told)
            await gate.closed.wait()
            for number in range(100):
                tasks.start_soon(outcome_of, writer.record([point(f"m{number}"), point("shared", number)]), told)
            await anyio.wait_all_tasks_blocked()
            assert writer.statistics().waiting == 101
            gate.open.set()
        assert sorted(told) == [1] + [2] * 100
        statistics = writer.statistics()
        assert (statistics.stored, statistics.transactions, statistics.waiting) == (201, 2, 0)
        assert history.statistics().points == 201

    async def test_one_call_is_bad_and_the_others_are_stored(self, history: MetricHistory) -> None:
        """NaN, a changed unit, a strange time, no number at all: each is told to who sent it, and stores nothing."""
        history.record([point("latency", -1.0)])
        gate = Gate()
        writer = HistoryWriter(history, gate)
        bad = [
            point("a", value=math.nan),
            point("latency", unit="ms"),
            point("b", at=1e9),
            Point("c", "s", NOW, "1.0"),  # type: ignore[arg-type]
            Point("d", "s", NOW, 10**400),
            Point("half \ud800 a character", "s", NOW, 1.0),
            Point("e", "\ud800", NOW, 1.0),
            Point(None, "s", NOW, 1.0),  # type: ignore[arg-type]
        ]
        refused: list[Any] = []
        told: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome_of, writer.record([point("good", -1.0)]), told)
            await gate.closed.wait()
            for number, each in enumerate(bad):
                tasks.start_soon(outcome_of, writer.record([point("beside"), each]), refused)
                tasks.start_soon(outcome_of, writer.record([point("good", number)]), told)
            await anyio.wait_all_tasks_blocked()
            gate.open.set()
        assert told == [1] * (len(bad) + 1)
        assert [isinstance(error, ValueError) for error in refused] == [True] * len(bad)
        assert any(isinstance(error, UnitMismatchError) for error in refused)
        assert history.points("beside") == []
        statistics = writer.statistics()
        assert (statistics.refused, statistics.transactions) == (2 * len(bad), 2)

    async def test_of_many_points_those_are_stored_that_can_be(self, history: MetricHistory) -> None:
        """Each point is told what is wrong with it; the others are stored once, and so are other calls'."""
        gate = Gate()
        writer = HistoryWriter(history, gate)
        told: list[Any] = []
        points = [point("a"), point("a", 1.0, math.nan), point("b"), point("a", 2.0, unit="ms"), point("b", 3.0)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome_of, writer.record([point("beside")]), told)
            tasks.start_soon(outcome_of, writer.record_each(points), told)
            tasks.start_soon(outcome_of, writer.record_each([point("c")]), told)
            await anyio.wait_all_tasks_blocked()
            gate.open.set()
        (problems,) = [each for each in told if isinstance(each, list) and len(each) == 5]
        assert [type(problem) for problem in problems] == [
            type(None),
            ValueError,
            type(None),
            UnitMismatchError,
            type(None),
        ]
        assert 1 in told
        assert [None] in told
        assert [(info.name, info.count) for info in history.names()] == [("a", 1), ("b", 2), ("beside", 1), ("c", 1)]
        statistics = writer.statistics()
        assert (statistics.stored, statistics.refused) == (5, 2)
        with pytest.raises(ValueError, match="at most 10000 points at once"):
            await writer.record_each([point("a")] * 10_001)

    async def test_a_large_transaction_is_parted(self, history: MetricHistory) -> None:
        """Calls that come together are stored in transactions of a bounded size."""
        gate = Gate()
        writer = HistoryWriter(history, gate)
        told: list[Any] = []
        async with anyio.create_task_group() as tasks:
            for number in range(9):
                points = [point(f"m{number}", at / 10) for at in range(5_000)]
                tasks.start_soon(outcome_of, writer.record(points), told)
            await anyio.wait_all_tasks_blocked()
            gate.open.set()
        assert told == [5_000] * 9
        assert writer.statistics().transactions == 3  # four calls' points are the most

    async def test_more_than_a_call_may_bring_is_refused(self, history: MetricHistory) -> None:
        """The error says how many there may be."""
        writer = HistoryWriter(history, anyio.to_thread.run_sync, most_points=2)
        with pytest.raises(ValueError, match="at most 2 points at once, got 3"):
            await writer.record([point("a", at) for at in range(3)])
        assert await writer.record([point("a", at) for at in range(2)]) == 2

    async def test_a_full_writer_has_callers_wait(self, history: MetricHistory) -> None:
        """No more calls are under way than there may be; those beyond wait, and are stored in their turn."""
        gate = Gate()
        writer = HistoryWriter(history, gate, most_waiting=3)
        told: list[Any] = []
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(outcome_of, writer.record([point("a", number)]), told)
            await anyio.wait_all_tasks_blocked()
            assert writer.statistics().waiting == 3
            gate.open.set()
        assert told == [1] * 10
        assert history.statistics().points == 10


class TestCancelled:
    async def test_a_call_that_waits_stores_nothing(self, history: MetricHistory) -> None:
        """Cancelled before its points are handed over it leaves none, and the others are stored."""
        gate = Gate()
        writer = HistoryWriter(history, gate)
        told: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome_of, writer.record([point("first")]), told)
            await gate.closed.wait()
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(writer.record, [point("cancelled")])
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(outcome_of, writer.record([point("later")]), told)
                await anyio.wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            gate.open.set()
        assert told == [1, 1]
        assert [info.name for info in history.names()] == ["first", "later"]
        assert writer.statistics().waiting == 0

    async def test_the_call_that_stores_for_others_is_cancelled_before_it_does(self, history: MetricHistory) -> None:
        """Another one of those that wait does it instead."""
        gate = Gate()
        writer = HistoryWriter(history, gate)
        told: list[Any] = []
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(writer.record, [point("cancelled")])
                await gate.closed.wait()
                tasks.start_soon(outcome_of, writer.record([point("later")]), told)
                await anyio.wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            gate.open.set()
        assert told == [1]
        assert [info.name for info in history.names()] == ["later"]

    async def test_a_call_whose_points_are_handed_over_stores_them(self, history: MetricHistory) -> None:
        """A thread cannot be stopped: cancelled while it writes, the points are there, whole."""
        writing, let_go = anyio.Event(), threading.Event()

        async def run_sync(function: Callable[..., Any], *args: Any) -> Any:
            def run() -> Any:
                anyio.from_thread.run_sync(writing.set)
                assert let_go.wait(20.0)
                return function(*args)

            return await anyio.to_thread.run_sync(run)

        writer = HistoryWriter(history, run_sync)
        told: list[Any] = []
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as cancelled:
            cancelled.start_soon(writer.record, [point("a"), point("b")])
            await writing.wait()
            tasks.start_soon(outcome_of, writer.record([point("later")]), told)
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
            let_go.set()
        assert told == [1]
        assert [info.name for info in history.names()] == ["a", "b", "later"]
        assert writer.statistics().stored == 3

    async def test_a_roll_up_that_is_cancelled_goes_on_the_next_time(self) -> None:
        """What it moved is moved, what it did not is where it was."""
        now = NOW
        with MetricHistory(":memory:", lambda: now, Retention(raw=60.0, minutes=3600.0)) as history:
            for start in range(0, 20_000, 5_000):
                history.record([point("a", at) for at in range(start, start + 5_000)])
            now = NOW + 80_000.0
            history.record([point("a", 80_000.0)])
            portions = 0

            async def run_sync(function: Callable[..., Any], *args: Any) -> Any:
                nonlocal portions
                portions += 1
                if portions == 3:
                    scope.cancel()
                    await checkpoint()
                return await anyio.to_thread.run_sync(function, *args)

            with anyio.CancelScope() as scope:
                await HistoryWriter(history, run_sync).roll_up()
            assert scope.cancelled_caught
            assert history.statistics().points == 20_001
            done = await HistoryWriter(history, anyio.to_thread.run_sync).roll_up()
            assert done.moved > 0
            assert history.statistics().points == 20_001
            assert sum(row.count for row in history.aggregates("a")) == 20_001


class TestTrouble:
    async def test_a_disk_that_takes_nothing_is_told_to_each(self, history: MetricHistory) -> None:
        """All calls of the transaction are told what is wrong, and the next one is stored if it is not any more."""
        gate = Gate()
        writer = HistoryWriter(history, gate)
        told: list[Any] = []
        real, history.record_each = history.record_each, functools.partial(_failing, history)  # type: ignore[method-assign]
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(outcome_of, writer.record([point("a", number)]), told)
            await anyio.wait_all_tasks_blocked()
            gate.open.set()
        assert [type(error) for error in told] == [DatabaseUnusableError] * 3
        assert len({id(error) for error in told}) == 3
        assert all(isinstance(error.__cause__, sqlite3.Error) for error in told)
        assert writer.statistics().failed == 3
        history.record_each = real  # type: ignore[method-assign]
        assert await writer.record([point("a")]) == 1

    async def test_a_roll_up_lets_others_between_its_portions(self) -> None:
        """Who records while much is rolled up waits for a portion and not for the whole."""
        with MetricHistory(":memory:", lambda: NOW + 90_000.0, Retention(raw=60.0)) as history:
            for start in range(0, 30_000, 5_000):
                history.record([point("a", at) for at in range(start, start + 5_000)])
            history.record([point("a", 90_000.0)])
            seen: list[str] = []

            async def run_sync(function: Callable[..., Any], *args: Any) -> Any:
                seen.append("portion" if function is next else "record")
                return await anyio.to_thread.run_sync(function, *args)

            writer = HistoryWriter(history, run_sync)

            async def record() -> None:
                while seen.count("portion") < 2:
                    await checkpoint()
                await writer.record([point("b", 90_000.0)])

            rolled: list[RolledUp] = []

            async def roll_up() -> None:
                rolled.append(await writer.roll_up())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(record)
                tasks.start_soon(roll_up)
            assert "record" in seen[: len(seen) - 1 - seen[::-1].index("portion")]
            assert rolled[0].moved == 30_000


class TestKilled:
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_a_killed_host_has_all_that_was_acknowledged(self, tmp_path: Path, backend: str) -> None:
        """Twenty tasks record through one writer until kill -9: every call that returned is there, and none by half."""
        file = tmp_path / "history.sqlite3"
        command = [sys.executable, "-c", RECORDING, str(file), backend]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
            assert host.stdout is not None
            said = [host.stdout.readline() for _ in range(500)]
            host.send_signal(signal.SIGKILL)
            said += [line for line in host.stdout if line.endswith("\n")]
        acknowledged = {(name, float(at)) for name, at in map(str.split, said)}
        with MetricHistory(file, lambda: NOW) as history:
            assert history.set_aside is None
            stored = {
                name: {at - NOW for at, _ in history.points(name, limit=10**6)}
                for name in (info.name for info in history.names())
            }
        assert {(name, at) for name, at in acknowledged if at not in stored[name]} == set()
        for number in range(20):
            assert stored[f"m{number}"] == stored[f"n{number}"], "a call's points are all there, or none"


RECORDING = """
import itertools, sys
import anyio
from aetherra.plugins.self_improvement.history import HistoryWriter, MetricHistory, Point
NOW = 1_700_000_000.0

async def record(writer, number):
    for at in itertools.count():
        await writer.record([Point(f"{letter}{number}", "s", NOW + at / 64, at) for letter in "mn"])
        print(f"m{number} {at / 64}", flush=True)

async def main():
    with MetricHistory(sys.argv[1], lambda: NOW) as history:
        writer = HistoryWriter(history, anyio.to_thread.run_sync)
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(record, writer, number)

anyio.run(main, backend=sys.argv[2])
"""


def _failing(history: MetricHistory, batches: Any) -> Any:
    try:
        raise sqlite3.OperationalError("database or disk is full")
    except sqlite3.Error as error:
        raise DatabaseUnusableError("history", "somewhere", "written", str(error)) from error
