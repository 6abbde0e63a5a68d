"""Workers: as many actions at a time as they are told, whatever their handlers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import ActionEnvelope, Reject
from aetherra.kernel.actions import workers as module
from aetherra.kernel.actions.action import Action, current_action
from aetherra.kernel.actions.agenda import Agenda
from aetherra.kernel.actions.dispatch import Dead, Retry
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.lanes import Lanes
from aetherra.kernel.actions.limiter import GradientLimiter
from aetherra.kernel.actions.tally import Tally
from aetherra.kernel.actions.workers import Workers
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, HandlerError, Identity, Message, NoHandlerError, Request, Route, current_call

MASON = Identity("plugin", "mason", 2)


class Laid(Message, tag="workers.laid"):
    stone: str


class Lay(Request[Laid], tag="workers.lay"):
    stone: str


class Lost(Request[None], tag="workers.lost"):
    pass


class Yard:
    """Workers with a bus and lanes, and a foreman that writes down what it hears."""

    def __init__(self, size: int, limiter: Any = None, journal: Journal | None = None) -> None:
        self.clock = FakeClock()
        self.bus = Bus(clock=self.clock)
        self.bus.add_routes([Route(Lay, self.lay, MASON)])
        self.lanes: Lanes[Action] = Lanes({"high": (10**6, 5, 1), "low": (10**6, 1, 1)})
        self.workers: Workers
        self.agenda: Agenda[Action] = Agenda(self.clock, lambda _: None, self.look)
        self.workers = Workers(self.bus, self.lanes, self.agenda, journal, limiter, size, self)
        self.tally: Tally[Action] = Tally("workers.lay", self.lanes.lanes["high"])
        self.inside: list[str] = []
        self.most = 0
        self.plan: dict[str, Callable[[], Awaitable[Any]]] = {}
        self.gate = anyio.Event()
        self.done: list[str] = []
        self.concluded: list[tuple[str, Retry | Dead, bool]] = []
        self.expired: list[str] = []
        self.failed: list[tuple[str, Exception]] = []
        self.parked: list[str] = []
        self.overruns: list[tuple[str, float, float, str]] = []
        self.ended: list[tuple[str, Any, Retry | Dead | None]] = []

    async def lay(self, request: Lay) -> Laid:
        self.inside.append(request.stone)
        self.most = max(self.most, len(self.inside))
        try:
            await self.plan.get(request.stone, self.gate.wait)()
        finally:
            self.inside.remove(request.stone)
        return Laid(request.stone)

    def put(self, stone: str, request: Request[Any] | None = None, lane: str = "high", **fields: Any) -> Action:
        deadline = fields.pop("deadline", inf)
        envelope = ActionEnvelope(request or Lay(stone), trace_id=stone, **fields)
        now = self.clock.monotonic()
        action = Action(envelope, tally=self.tally, deadline=deadline, since=now, ready=now)
        self.tally.open[stone] = action
        at = self.lanes.lanes[lane]
        at.held += 1
        self.lanes.put(at, at.levels[0], action)
        return action

    def look(self, now: float) -> float:
        return self.workers.look(now)

    async def rest(self) -> None:
        await self.clock.advance(0)

    # The foreman

    def expire(self, action: Action) -> None:
        self.expired.append(action.trace_id)

    def park(self, action: Action) -> None:
        self.parked.append(action.trace_id)

    def note_done(self, action: Action, reply: Any) -> None:
        assert not action.is_ended  # nobody who waits for it has been told
        assert action.trace_id not in self.tally.open
        self.done.append(action.trace_id)

    def conclude(self, action: Action, outcome: Retry | Dead, *, last: bool) -> None:
        self.concluded.append((action.trace_id, outcome, last))
        action.tally.running -= 1
        action.settle(error=outcome.error)

    def fail(self, action: Action, error: Exception) -> None:
        self.failed.append((action.trace_id, error))

    def overrun(self, action: Action, seconds: float, limit: float, stack: str) -> None:
        self.overruns.append((action.trace_id, seconds, limit, stack))

    def overrun_ended(self, action: Action, reply: Any, outcome: Retry | Dead | None) -> None:
        self.ended.append((action.trace_id, reply, outcome))


@asynccontextmanager
async def yard(size: int = 1, limiter: Any = None, journal: Journal | None = None) -> AsyncGenerator[Yard]:
    made = Yard(size, limiter, journal)
    async with anyio.create_task_group() as group:
        group.start_soon(made.agenda.run)
        async with made.workers.running():
            await made.rest()
            yield made
        group.cancel_scope.cancel()


class FixedLimiter:
    """Allows as many as it is told, and notes what it hears."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.samples: list[tuple[float, int, bool]] = []

    def sample(self, seconds: float, running: int, *, failed: bool) -> None:
        self.samples.append((seconds, running, failed))


class TestRun:
    async def test_an_action_is_run_once_and_its_reply_is_its_submitters(self) -> None:
        """Its status, its attempts and its tally say so at each step."""
        async with yard() as y:
            action = y.put("a")
            assert (action.status, action.attempts) == ("queued", 0)
            await y.clock.advance(2.0)
            assert (action.status, action.attempts, y.tally.running, y.inside) == ("running", 1, 1, ["a"])
            y.gate.set()
            await y.rest()

            assert await action.wait() == Laid("a")
            assert (y.tally.running, y.tally.done, y.tally.open) == (0, 1, {})
            assert (list(y.tally.waits), list(y.tally.runs)) == ([0.0], [2.0])
            assert y.concluded == []

    async def test_the_wait_is_counted_from_when_it_could_run(self) -> None:
        """Not from its admission: what it waited for between two attempts is not the lane's doing."""
        async with yard() as y:
            y.put("first")
            await y.rest()
            action = y.put("a")
            action.ready -= 3.0
            action.since -= 100.0
            await y.clock.advance(2.0)
            y.gate.set()
            await y.rest()

            assert list(y.tally.waits) == [0.0, 5.0]

    async def test_what_goes_wrong_is_the_foremans(self) -> None:
        """With the outcome; whether its deadline had cut it short is said, too."""
        async with yard() as y:

            async def refuse() -> None:
                raise Reject("no such wall")

            y.plan["a"] = refuse
            y.plan["b"] = y.plan["c"] = anyio.sleep_forever
            y.put("a")
            y.put("b", timeout=5.0)
            y.put("c", timeout=5.0, deadline=8.0)
            y.put("lost", Lost())
            await y.clock.advance(10.0)
            y.gate.set()

            told = [(name, type(outcome), outcome.reason, last) for name, outcome, last in y.concluded]
            assert told == [
                ("a", Dead, "rejected", False),
                ("b", Retry, "timeout", False),
                ("c", Retry, "timeout", True),
                ("lost", Retry, "no_handler", False),
            ]
            assert list(y.tally.runs) == [0.0, 5.0, 3.0, 0.0]
            assert y.tally.done == 0

    async def test_an_action_whose_time_is_over_is_not_begun(self) -> None:
        """Nor counted as an attempt."""
        async with yard() as y:
            y.put("first")
            await y.rest()
            action = y.put("late", deadline=1.0)
            await y.clock.advance(1.0)
            y.gate.set()
            await y.rest()

            assert (y.expired, action.attempts, y.tally.running) == (["late"], 0, 0)

    async def test_an_action_whose_plugin_is_swapped_is_parked(self) -> None:
        """It is not begun, and its worker goes on with the next."""
        async with yard() as y:
            y.gate.set()
            with y.bus.parked(["workers.lay"]):
                parked, other = y.put("a"), y.put("lost", Lost())
                other.tally = Tally("workers.lost", y.lanes.lanes["high"])
                other.tally.open["lost"] = other
                await y.rest()
                assert (y.parked, parked.attempts, y.tally.running) == (["a"], 0, 0)
                assert other.is_ended

    async def test_an_action_for_another_plugin_than_answers_has_no_handler(self) -> None:
        """A target is no wish; the right one gets it."""
        async with yard() as y:
            y.gate.set()
            right, wrong = y.put("right", target="mason"), y.put("wrong", target="smith")
            await y.rest()

            assert await right.wait() == Laid("right")
            with pytest.raises(NoHandlerError, match=r"meant for 'smith', but .*mason.* answers it"):
                await wrong.wait()
            assert y.done == []  # without a key or a journal there is nothing to note
            assert [outcome.reason for _, outcome, _ in y.concluded] == ["no_handler"]

    async def test_an_action_with_a_key_is_noted_before_anybody_is_told(self) -> None:
        """A duplicate that comes in between finds it."""
        async with yard() as y:
            y.gate.set()
            await y.put("a", idempotency_key="k").wait()

            assert y.done == ["a"]

    async def test_attempts_and_ends_are_noted_in_the_journal(self, tmp_path: Path) -> None:
        """The attempt before it begins."""
        journal = Journal(tmp_path, FakeClock(), sync=False)
        async with yard(journal=journal) as y:
            journal.accept(ActionEnvelope(Lay("a"), trace_id="a"))
            y.put("a")
            await y.rest()
            assert y.inside == ["a"]
            ((record, attempts),) = Journal(tmp_path, FakeClock(), sync=False).open().actions
            assert (record.trace_id, attempts) == ("a", 1)
            y.gate.set()
            await y.rest()

            assert y.done == ["a"]
        journal.close()

    async def test_a_handler_finds_its_action_and_no_later_one_finds_it(self) -> None:
        """Neither its worker's next, nor a task that outlives it."""
        async with yard() as y:
            found: list[Any] = []
            late = anyio.Event()

            async def look() -> None:
                found.append(current_action())

            async def look_later() -> None:
                await late.wait()
                found.append(current_action())

            async with anyio.create_task_group() as group:

                async def leave_a_task() -> None:
                    await look()
                    group.start_soon(look_later)

                y.plan["a"], y.plan["b"] = leave_a_task, look
                one, two = y.put("a"), y.put("b")
                await y.rest()
                late.set()

            assert found[:2] == [one, two]
            assert found[2] is not one
            assert one.call is None
            assert current_call() is None


class BrokenLimiter(GradientLimiter):
    """One that raises, which it must not."""

    def sample(self, seconds: float, running: int, *, failed: bool) -> None:
        raise ZeroDivisionError("a fault of its own")


class TestFaults:
    """What goes wrong in the host itself ends no worker."""

    async def test_the_action_that_it_stopped_is_the_foremans(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is told of with the error, and the worker goes on with the next."""
        async with yard() as y:
            y.gate.set()
            fault, done = OSError("no such disk"), list[str]()

            def note(action: Action, reply: Any) -> None:
                done.append(action.trace_id)
                if action.trace_id == "a":
                    raise fault

            y.note_done = note  # type: ignore[method-assign]
            tasks = len(anyio.get_running_tasks())
            y.put("a", idempotency_key="1")
            following = y.put("b", idempotency_key="2")
            assert await following.wait() == Laid("b")

            assert (done, y.failed) == (["a", "b"], [("a", fault)])
            assert "a fault of the host" in caplog.text
            assert len(anyio.get_running_tasks()) == tasks

    async def test_an_action_that_had_ended_by_then_is_left_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        """Its submitter has been told already."""
        async with yard(1, BrokenLimiter()) as y:
            y.gate.set()
            first, second = y.put("a"), y.put("b")
            assert [await first.wait(), await second.wait()] == [Laid("a"), Laid("b")]
            await y.rest()

            assert y.failed == []
            assert caplog.text.count("a fault of the host") == 2


class TestSize:
    async def test_as_many_run_at_a_time_as_there_are_workers(self) -> None:
        """No more, and no fewer."""
        async with yard(3) as y:
            for number in range(7):
                y.put(str(number))
            await y.rest()
            assert y.inside == ["0", "1", "2"]
            y.gate.set()
            await y.rest()

            assert (y.most, y.tally.done) == (3, 7)

    async def test_more_workers_begin_at_once(self) -> None:
        """What waits in the lanes does not wait for one that runs."""
        async with yard(1) as y:
            for number in range(5):
                y.put(str(number))
            await y.rest()
            y.workers.resize(4)
            await y.rest()
            assert len(y.inside) == 4
            y.gate.set()
            await y.rest()

            assert y.tally.done == 5

    async def test_fewer_workers_let_what_runs_finish(self) -> None:
        """And take nothing more until there are as few as there are to be."""
        async with yard(4) as y:
            gates = {str(number): anyio.Event() for number in range(10)}
            for name, gate in gates.items():
                y.plan[name] = gate.wait
                y.put(name)
            await y.rest()
            y.workers.resize(2)
            await y.rest()
            assert len(y.inside) == 4
            for name in ("0", "1"):
                gates[name].set()
                await y.rest()
            assert y.inside == ["2", "3"]
            gates["2"].set()
            await y.rest()
            assert y.inside == ["3", "4"]
            for gate in gates.values():
                gate.set()
            await y.rest()

            assert y.tally.done == 10

    @pytest.mark.parametrize("sizes", [(1, 5), (5, 1, 5), (1, 2, 3, 1, 4), (3, 3), (8, 1, 1, 8)])
    async def test_idle_workers_are_as_many_as_they_are_told(self, sizes: tuple[int, ...]) -> None:
        """However often it changes, also before they have run."""
        async with yard(5) as y:
            tasks = len(anyio.get_running_tasks())
            for size in sizes:
                y.workers.resize(size)
            await y.rest()
            assert len(anyio.get_running_tasks()) == tasks - 5 + sizes[-1]
            for size in sizes:
                y.workers.resize(size)
                await y.rest()
                assert len(anyio.get_running_tasks()) == tasks - 5 + size
            for number in range(20):
                y.put(str(number))
            await y.rest()

            assert len(y.inside) == sizes[-1]
            y.gate.set()

    async def test_an_action_that_comes_as_its_reader_is_sent_off_is_run(self) -> None:
        """A wake-up that goes to a worker too many is not lost."""
        async with yard(4) as y:
            y.gate.set()
            for number in range(8):
                y.put(f"before-{number}")
                y.workers.resize(1)
                y.put(f"after-{number}")
                await y.rest()
                y.workers.resize(4)
                await y.rest()

            assert y.tally.done == 16

    async def test_workers_may_be_told_before_they_run(self) -> None:
        """The size they begin with is the last they were told."""
        y = Yard(1)
        y.workers.resize(3)
        async with y.workers.running():
            for number in range(5):
                y.put(str(number))
            await y.rest()
            assert len(y.inside) == 3
            y.gate.set()


class TestLimiter:
    async def test_no_more_run_than_the_limiter_allows_and_the_size_is_the_most(self) -> None:
        """It is asked after each attempt."""
        limiter = FixedLimiter(2)
        async with yard(5, limiter) as y:
            gates = {str(number): anyio.Event() for number in range(20)}
            for name, gate in gates.items():
                y.plan[name] = gate.wait
                y.put(name)
            await y.rest()
            assert (len(y.inside), y.workers.target) == (2, 2)
            limiter.limit = 4
            gates["0"].set()
            await y.rest()
            assert (len(y.inside), y.workers.target) == (4, 4)
            limiter.limit = 100
            gates["1"].set()
            await y.rest()
            assert (len(y.inside), y.workers.target) == (5, 5)
            limiter.limit = 0  # which it must not be
            for number in range(2, 10):
                gates[str(number)].set()
                await y.rest()
            assert (len(y.inside), y.workers.target) == (1, 1)
            for gate in gates.values():
                gate.set()
            await y.rest()

            assert y.tally.done == 20

    async def test_it_hears_how_long_each_attempt_took_and_how_many_ran(self) -> None:
        """Itself included, and whether it timed out; an error is an answer like any other."""
        limiter = FixedLimiter(3)
        async with yard(3, limiter) as y:

            async def fail() -> None:
                await y.clock.sleep(2.0)
                raise OSError("broken")

            y.plan["a"] = fail
            y.plan["b"] = anyio.sleep_forever
            y.put("a")
            y.put("b", timeout=5.0)
            y.put("c", timeout=50.0)
            await y.clock.advance(2.0)
            await y.clock.advance(3.0)
            await y.clock.advance(1.0)
            y.gate.set()
            await y.rest()

            assert limiter.samples == [(2.0, 3, False), (5.0, 2, True), (6.0, 1, False)]


class TestOverrun:
    async def test_a_handler_that_ignores_its_cancellation_is_reported_and_replaced(self) -> None:
        """A moment after its time, with where it waits; the next action does not wait for it."""
        async with yard() as y:

            async def work_on() -> Any:
                with anyio.CancelScope(shield=True):
                    await y.gate.wait()

            y.plan["stuck"] = work_on
            stuck = y.put("stuck", timeout=5.0)
            y.plan["next"] = anyio.lowlevel.checkpoint
            following = y.put("next")
            await y.clock.advance(5.0)
            assert (y.overruns, following.status) == ([], "queued")
            await y.clock.advance(module.GRACE)
            assert await following.wait() == Laid("next")
            ((name, seconds, limit, stack),) = y.overruns
            assert (name, seconds, limit) == ("stuck", 5.0 + module.GRACE, 5.0)
            assert "work_on" in stack
            assert (stuck.status, y.most) == ("running", 2)
            await y.clock.advance(100.0)
            assert len(y.overruns) == 1
            y.gate.set()
            await y.rest()

            ((name, reply, outcome),) = y.ended
            assert name == "stuck"
            assert (reply == Laid("stuck")) != isinstance(outcome, Retry)

    async def test_whoever_was_replaced_runs_nothing_more(self) -> None:
        """There are as many workers as before, not one more for each that was late."""
        async with yard(2) as y:

            async def work_on() -> Any:
                with anyio.CancelScope(shield=True):
                    await y.gate.wait()

            tasks = len(anyio.get_running_tasks())
            for number in range(4):
                y.plan[f"stuck-{number}"] = work_on
                y.put(f"stuck-{number}", timeout=5.0)
            await y.clock.advance(20.0)
            assert len(y.overruns) == 4
            assert len(anyio.get_running_tasks()) == tasks + 4
            y.gate.set()
            await y.rest()
            assert len(anyio.get_running_tasks()) == tasks
            y.gate = anyio.Event()
            for number in range(5):
                y.put(str(number))
            await y.rest()
            assert len(y.inside) == 2
            y.workers.resize(4)
            await y.rest()
            assert len(y.inside) == 4
            y.gate.set()

    async def test_a_handler_that_ends_in_time_for_the_grace_is_no_overrun(self) -> None:
        """It was cancelled, and is tidying up."""
        async with yard() as y:

            async def tidy_up() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await y.clock.sleep(module.GRACE / 2)

            y.plan["a"] = tidy_up
            y.put("a", timeout=5.0)
            await y.clock.advance(20.0)
            y.gate.set()

            assert y.overruns == []
            assert [outcome.reason for _, outcome, _ in y.concluded] == ["timeout"]

    async def test_each_of_several_is_looked_at_in_its_own_time(self) -> None:
        """Not only the first."""
        async with yard(3) as y:

            async def work_on() -> Any:
                with anyio.CancelScope(shield=True):
                    await y.gate.wait()

            for name, timeout in (("late", 30.0), ("soon", 5.0), ("later", 60.0)):
                y.plan[name] = work_on
                y.put(name, timeout=timeout)
            y.agenda.look_by(5.5)  # for somebody else's sake
            for seconds, count in ((5.9, 0), (0.1, 1), (24.9, 1), (0.1, 2), (29.9, 2), (0.1, 3)):
                await y.clock.advance(seconds)
                assert len(y.overruns) == count, y.clock.monotonic()
            y.gate.set()


class TestCancellation:
    """On asyncio a handler can cancel the task that it runs in, which is its worker's."""

    def test_a_handler_that_cancels_itself_has_failed(self) -> None:
        """It is told as a failure of its own, and its worker goes on."""

        async def run() -> None:
            async with yard() as y:

                async def cancel_myself() -> None:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel("by mistake")
                    await anyio.sleep_forever()

                y.plan["a"] = cancel_myself
                y.put("a")
                await y.rest()
                ((_, outcome, last),) = y.concluded
                assert isinstance(outcome, Retry)
                assert isinstance(outcome.error, HandlerError)
                assert (outcome.reason, outcome.error.plugin, last) == ("failed", "mason", False)
                assert isinstance(outcome.error.__cause__, asyncio.CancelledError)
                y.gate.set()
                assert await y.put("next").wait() == Laid("next")

        anyio.run(run, backend="asyncio")

    def test_a_handler_that_leaves_a_cancellation_behind_harms_no_other_action(self) -> None:
        """One that cancels its task and returns: the next action of its worker is not what is cancelled."""

        async def run() -> None:
            async with yard() as y:

                async def cancel_later() -> None:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel("by mistake")

                y.plan["a"] = cancel_later
                first, second = y.put("a"), y.put("b")
                await y.rest()
                y.gate.set()
                await y.rest()
                assert first.is_ended
                assert await second.wait() == Laid("b")
                assert await y.put("c").wait() == Laid("c")

        anyio.run(run, backend="asyncio")

    def test_many_cancellations_are_taken_back(self) -> None:
        """As many as there were."""

        async def run() -> None:
            async with yard(2) as y:

                async def cancel_myself() -> None:
                    task = asyncio.current_task()
                    assert task is not None
                    for _ in range(5):
                        task.cancel()
                    await anyio.sleep_forever()

                for number in range(20):
                    y.plan[str(number)] = cancel_myself
                    y.put(str(number))
                await y.rest()
                y.gate.set()
                assert len(y.concluded) == 20
                assert await y.put("next").wait() == Laid("next")
                assert all(task.name for task in anyio.get_running_tasks())

        anyio.run(run, backend="asyncio")


class TestSlices:
    async def test_handlers_that_never_wait_let_other_tasks_run(self) -> None:
        """After so many of them, at the latest."""
        async with yard(2) as y:
            ran: list[int] = []

            async def no_wait() -> None:
                pass

            for number in range(3000):
                y.plan[str(number)] = no_wait
                y.put(str(number))
            while y.tally.done < 3000:
                ran.append(y.tally.done)
                await anyio.lowlevel.checkpoint()

            steps = [later - sooner for sooner, later in pairwise(ran)]
            assert max(steps) <= 2 * 2 * module.TURN
            assert len(ran) >= 3000 / (2 * 2 * module.TURN)

    async def test_handlers_that_take_long_let_other_tasks_run_sooner(self) -> None:
        """After so much time, however few they were; it is shared among the workers."""
        async with yard(2) as y:
            ran: list[int] = []

            async def compute() -> None:
                y.clock._now += module.SLICE / 5

            for number in range(200):
                y.plan[str(number)] = compute
                y.put(str(number))
            while y.tally.done < 200:
                ran.append(y.tally.done)
                await anyio.lowlevel.checkpoint()

            assert max(later - sooner for sooner, later in pairwise(ran)) <= 2 * 2 * 3


class TestStop:
    async def test_what_is_in_hand_is_cancelled_at_the_end(self) -> None:
        """And left to whoever knows what becomes of it: it is no outcome."""
        y = Yard(2)
        async with y.workers.running():
            actions = [y.put(str(number)) for number in range(3)]
            await y.rest()
            assert len(y.inside) == 2

        assert y.inside == []
        assert [action.status for action in actions] == ["running", "running", "queued"]
        assert (y.concluded, y.done, y.tally.done) == ([], [], 0)

    async def test_wait_idle_returns_once_nothing_runs(self) -> None:
        """What waits in the lanes does not count."""
        async with yard(2) as y:
            idle: list[float] = []

            async def wait() -> None:
                await y.workers.wait_idle()
                idle.append(y.clock.monotonic())

            await wait()
            y.plan["a"], y.plan["b"] = (lambda: y.clock.sleep(3.0)), (lambda: y.clock.sleep(5.0))
            y.put("a")
            y.put("b")
            await y.rest()
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await y.clock.advance(10.0)

            assert idle == [0.0, 5.0]

    async def test_wait_idle_does_not_wait_for_who_ignores_its_cancellation(self) -> None:
        """It may be for ever."""
        async with yard() as y:

            async def work_on() -> Any:
                with anyio.CancelScope(shield=True):
                    await y.gate.wait()

            y.plan["stuck"] = work_on
            y.put("stuck", timeout=5.0)
            await y.clock.advance(10.0)
            assert y.inside == ["stuck"]
            with anyio.fail_after(5):
                await y.workers.wait_idle()
            y.gate.set()
