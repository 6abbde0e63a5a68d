"""The action queue: what is accepted ends once, as done, as a dead letter, or in the journal."""

from __future__ import annotations

import asyncio
import errno
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel import (
    ActionCancelledError,
    ActionEnvelope,
    ActionExpiredError,
    ActionHandle,
    ActionOverrun,
    ActionPriority,
    ActionQueueFullError,
    ActionRunningError,
    DataFileError,
    DeadLetter,
    LaneBounds,
    LaneConfig,
    LanesConfig,
    Reject,
    RetryLater,
    RetryPolicy,
)
from aetherra.kernel.actions import course, segments
from aetherra.kernel.actions import journal as journal_module
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.redrive import Redriver
from aetherra.kernel.actions.resume import Resumption, without_buried
from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    Bus,
    CallTimeoutError,
    HandlerError,
    Identity,
    Message,
    MessageValidationError,
    NoHandlerError,
    ReplyTypeError,
    Request,
    Route,
    ServiceRegistry,
)

GARDENER = Identity("plugin", "garden", 3)
ONCE = RetryPolicy(1)
AT_ONCE = RetryPolicy(3, 0.0, 0.0)


class Watered(Message, tag="actions.watered"):
    zone: str


class Water(Request[Watered], tag="actions.water"):
    zone: str = ""
    extra: Any = None


class Unknown(Request[None], tag="actions.unknown"):
    pass


class Garden:
    """A bus with one handler, whose next calls do what ``plan`` says, and a queue in front of it."""

    def __init__(
        self, clock: FakeClock, journal: Journal | None, folder: Path | None, workers: int, capacity: int
    ) -> None:
        self.clock = clock
        self.bus = Bus(clock=self.clock)
        self.bus.add_routes([Route(Water, self.water, GARDENER)])
        self.letters: list[DeadLetter] = []
        self.calls: list[str] = []
        self.plan: list[Callable[[], Awaitable[None]]] = []
        lane = LaneConfig(capacity=capacity)
        self.dlq = DeadLetterQueue(None if folder is None else folder / "dlq.jsonl")
        self.queue = ActionQueue(
            self.bus,
            self.dlq,
            lanes=LanesConfig(high=lane, normal=lane, background=lane),
            workers=workers,
            journal=journal,
            on_dead_letter=self.letters.append,
        )
        self.resumption = Resumption(self.bus, self.queue)

    async def water(self, request: Water) -> Watered:
        self.calls.append(request.zone)
        if self.plan:
            await self.plan.pop(0)()
        return Watered(request.zone)

    async def rest(self) -> None:
        await self.clock.advance(0)

    def reasons(self) -> list[str]:
        return [letter.reason for letter in self.letters]


@asynccontextmanager
async def garden(
    *, workers: int = 1, capacity: int = 100, folder: Path | None = None, durable: bool = False, stop_timeout: float = 0
) -> AsyncGenerator[Garden]:
    clock = FakeClock()
    journal = Journal(folder, clock, sync=False) if durable and folder else None
    unfinished = journal.open() if journal else None
    made = Garden(clock, journal, folder, workers, capacity)
    async with made.queue.running(lambda: stop_timeout), anyio.create_task_group() as group:
        if unfinished is not None:
            made.resumption.begin(unfinished)
            group.start_soon(made.resumption.run)
        yield made
        group.cancel_scope.cancel()
    made.dlq.close()
    if journal is not None:
        journal.close()


def journal_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("kernel_journal*")}


def leave(folder: Path, files: dict[Path, bytes]) -> None:
    for path in journal_files(folder):
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


def until(event: anyio.Event) -> Callable[[], Awaitable[None]]:
    return event.wait


class TestSubmit:
    async def test_a_submitted_request_is_done_and_its_reply_is_typed(self) -> None:
        """What can be called can be submitted; the handle has the reply, as often as it is asked."""
        async with garden() as g:
            handle = await g.queue.submit(Water("north"))
            assert handle.status == "queued"
            assert await handle.wait() == Watered("north")
            assert await handle.wait() == Watered("north")

            assert (handle.status, handle.attempts, handle.trace_id) == ("done", 1, handle.envelope.trace_id)
            numbers = g.queue.statistics()
            assert (numbers.accepted, numbers.done, numbers.retried, numbers.dead) == (1, 1, 0, {})
            assert g.letters == []

    async def test_urgent_actions_overtake_waiting_ones_of_their_lane(self) -> None:
        """Lowest priority number first; equals in the order they came."""
        async with garden() as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            await g.queue.submit(Water("first"), priority=ActionPriority.HIGH)
            await g.rest()
            for zone, priority in (
                ("high", ActionPriority.HIGH),
                ("high too", ActionPriority.HIGH),
                ("critical", ActionPriority.CRITICAL),
                ("emergency", ActionPriority.EMERGENCY),
            ):
                await g.queue.submit(Water(zone), priority=priority)
            gate.set()
            await g.rest()

            assert g.calls == ["first", "emergency", "critical", "high", "high too"]

    async def test_as_many_actions_run_at_a_time_as_there_are_workers(self) -> None:
        """No more, and no fewer."""
        async with garden(workers=3) as g:
            gate = anyio.Event()
            g.plan.extend([until(gate)] * 5)
            for number in range(5):
                await g.queue.submit(Water(str(number)))
            await g.rest()

            numbers = g.queue.statistics()
            assert (len(g.calls), numbers.running, numbers.lanes["normal"].depth) == (3, 3, 2)
            gate.set()
            await g.rest()
            numbers = g.queue.statistics()
            assert (len(g.calls), numbers.running, numbers.done) == (5, 0, 5)

    async def test_a_full_lane_refuses_counts_and_dead_letters(self) -> None:
        """The refusal is loud, and the other lanes go on."""
        async with garden(capacity=2) as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            for _ in range(3):
                await g.queue.submit(Water())
                await g.rest()
            with pytest.raises(ActionQueueFullError, match="normal lane is full") as caught:
                await g.queue.submit(Water("refused"))
            await g.queue.submit(Water("urgent"), priority=ActionPriority.HIGH)

            (letter,) = g.letters
            assert (letter.reason, letter.attempts, letter.params["zone"]) == ("queue_full", 0, "refused")
            assert (letter.error_type, letter.trace_id) == ("ActionQueueFullError", caught.value.trace_id)
            numbers = g.queue.statistics()
            assert (numbers.lanes["normal"].refused, numbers.accepted, numbers.dead) == (1, 4, {"queue_full": 1})
            gate.set()

    async def test_actions_between_two_attempts_keep_their_room(self) -> None:
        """A lane does not take in more because some of its actions wait elsewhere for their next attempt."""
        async with garden(capacity=1) as g:
            g.plan.append(failing(RetryLater(10.0)))
            handle = await g.queue.submit(Water("waits"))
            await g.rest()
            assert handle.status == "waiting"
            with pytest.raises(ActionQueueFullError):
                await g.queue.submit(Water())
            await g.clock.advance(10.0)

            assert await handle.wait() == Watered("waits")

    @pytest.mark.parametrize("deadline", [0.0, -1.0])
    async def test_a_deadline_that_is_not_in_the_future_is_refused(self, deadline: float) -> None:
        """And dead-lettered, as everything that is refused."""
        async with garden() as g:
            with pytest.raises(ActionExpiredError):
                await g.queue.submit(Water(), deadline=deadline)
            await g.rest()

            assert (g.reasons(), g.calls, g.queue.statistics().accepted) == (["expired"], [], 0)

    async def test_the_same_envelope_twice_is_one_action_while_it_lasts(self) -> None:
        """Submitting again by mistake, or to be sure, gives the handle that there is."""
        async with garden() as g:
            envelope = ActionEnvelope(Water("north"))
            handle = await g.queue.submit_envelope(envelope)

            assert await g.queue.submit_envelope(envelope) is handle
            await handle.wait()
            assert g.calls == ["north"]
            assert await g.queue.submit_envelope(envelope) is not handle
            await g.rest()
            assert (g.calls, g.queue.statistics().done) == (["north", "north"], 2)

    async def test_handlers_that_never_wait_do_not_hold_up_the_loop(self) -> None:
        """An action that submits the next one for ever leaves room for others to run."""
        async with garden() as g:
            await g.queue.submit(Water())

            async def submit_another() -> None:
                if len(g.calls) < 10_000:
                    g.plan.append(submit_another)
                    await g.queue.submit(Water())

            g.plan.append(submit_another)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()

            assert 0 < len(g.calls) < 10_000


class TestRetry:
    async def test_a_failed_attempt_is_followed_by_another_that_may_succeed(self) -> None:
        """Its handle tells the state in between, and the statistics count one retry."""
        async with garden() as g:
            g.plan.append(failing(OSError("dry")))
            handle = await g.queue.submit(Water("north"), retry=RetryPolicy(3, 8.0, 8.0))
            await g.rest()
            assert (handle.status, handle.attempts, g.queue.statistics().waiting) == ("waiting", 1, 1)
            await g.clock.advance(8.0)

            assert await handle.wait() == Watered("north")
            numbers = g.queue.statistics()
            assert (handle.attempts, numbers.retried, numbers.done, numbers.waiting) == (2, 1, 1, 0)
            assert g.letters == []

    async def test_an_action_that_always_fails_is_dead_lettered_with_what_happened(self) -> None:
        """Error type, text, traceback, plugin, generation and attempts; the waiter gets the same error."""
        async with garden() as g:
            g.plan.extend([failing(KeyError("valve"))] * 3)
            handle = await g.queue.submit(Water("north"), retry=AT_ONCE)
            with pytest.raises(HandlerError, match="valve") as caught:
                await handle.wait()

            assert isinstance(caught.value.__cause__, KeyError)
            (letter,) = g.letters
            assert (letter.reason, letter.attempts, letter.error_type) == ("failed", 3, "KeyError")
            assert (letter.plugin, letter.generation, letter.params["zone"]) == ("garden", 3, "north")
            assert "valve" in letter.message
            assert "in fail" in letter.traceback
            assert handle.status == "dead"
            numbers = g.queue.statistics()
            assert (numbers.retried, numbers.done, numbers.dead) == (2, 0, {"failed": 1})
            assert g.dlq.items() == [letter]

    async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again(self) -> None:
        """``timeout`` bounds one attempt."""
        async with garden() as g:
            g.plan.append(anyio.sleep_forever)
            handle = await g.queue.submit(Water("north"), timeout=2.0, retry=AT_ONCE)
            await g.clock.advance(1.9)
            assert handle.attempts == 1
            await g.clock.advance(0.1)

            assert await handle.wait() == Watered("north")
            assert handle.attempts == 2

    async def test_attempts_that_all_take_too_long_end_as_timeout(self) -> None:
        """The waiter gets the timeout error of the last."""
        async with garden() as g:
            g.plan.extend([anyio.sleep_forever] * 3)
            handle = await g.queue.submit(Water(), timeout=2.0, retry=AT_ONCE)
            await g.clock.advance(10.0)

            with pytest.raises(CallTimeoutError):
                await handle.wait()
            assert (g.reasons(), handle.attempts) == (["timeout"], 3)

    async def test_retry_later_waits_as_long_as_it_asks(self) -> None:
        """In place of the backoff."""
        async with garden() as g:
            g.plan.append(failing(RetryLater(60.0)))
            handle = await g.queue.submit(Water(), retry=AT_ONCE)
            await g.clock.advance(59.0)
            assert handle.status == "waiting"
            await g.clock.advance(1.0)

            assert handle.status == "done"

    async def test_retry_later_beyond_the_deadline_or_the_last_attempt_ends_it(self) -> None:
        """A handler's wish does not go before the action's own bounds."""
        async with garden() as g:
            g.plan.extend([failing(RetryLater(60.0)), failing(RetryLater(1.0))])
            await g.queue.submit(Water(), deadline=30.0)
            await g.queue.submit(Water(), retry=ONCE)
            await g.clock.advance(100.0)

            assert g.reasons() == ["failed", "failed"]
            assert len(g.calls) == 2

    async def test_a_rejected_action_is_dead_at_once(self) -> None:
        """``Reject`` says that trying again would not help."""
        async with garden() as g:
            g.plan.append(failing(Reject("no such zone")))
            with pytest.raises(HandlerError, match="no such zone"):
                await (await g.queue.submit(Water())).wait()

            assert (g.reasons(), g.letters[0].error_type, g.letters[0].attempts) == (["rejected"], "Reject", 1)

    @pytest.mark.parametrize("error", [SystemExit(3), BaseException("odd"), BaseExceptionGroup("g", [SystemExit()])])
    async def test_a_handler_cannot_end_a_worker_whatever_it_raises(self, error: BaseException) -> None:
        """``sys.exit()`` in a plugin is its failure, not the host's end."""
        async with garden() as g:
            g.plan.append(failing(error))
            with pytest.raises(HandlerError):
                await (await g.queue.submit(Water(), retry=ONCE)).wait()

            assert (g.reasons(), g.letters[0].error_type) == (["failed"], type(error).__name__)
            assert await (await g.queue.submit(Water("next"))).wait() == Watered("next")

    def test_a_cancellation_that_nobody_asked_for_is_a_failure_of_the_handler(self) -> None:
        """A handler that awaits an asyncio task which somebody cancelled takes no worker with it."""

        async def await_a_cancelled_task() -> None:
            task = asyncio.ensure_future(asyncio.sleep(10))
            task.cancel()
            await task

        async def run() -> None:
            async with garden() as g:
                g.plan.append(await_a_cancelled_task)
                with pytest.raises(HandlerError, match="CancelledError"):
                    await (await g.queue.submit(Water(), retry=ONCE)).wait()
                assert await (await g.queue.submit(Water("next"))).wait() == Watered("next")

        anyio.run(run, backend="asyncio")

    async def test_an_action_that_nobody_answers_waits_for_somebody(self) -> None:
        """A plugin that restarts meanwhile gets it; else it ends as ``no_handler``."""
        async with garden() as g:
            lost = await g.queue.submit(Unknown(), retry=AT_ONCE)
            with pytest.raises(NoHandlerError, match=r"actions\.unknown"):
                await lost.wait()
            assert (g.reasons(), lost.attempts) == (["no_handler"], 3)

            found = await g.queue.submit(Unknown(), retry=RetryPolicy(3, 8.0, 8.0))
            await g.rest()

            async def answer(_: Unknown) -> None:
                return None

            g.bus.add_routes([Route(Unknown, answer, GARDENER)])
            await g.clock.advance(8.0)
            assert found.status == "done"

    async def test_a_wrong_reply_is_not_asked_for_again(self) -> None:
        """A handler that answers with the wrong type would do so again."""
        async with garden() as g:

            async def answer(_: Unknown) -> Any:
                return Watered("x")

            g.bus.add_routes([Route(Unknown, answer, GARDENER)])
            with pytest.raises(ReplyTypeError):
                await (await g.queue.submit(Unknown())).wait()

            assert (g.reasons(), g.letters[0].attempts) == (["invalid"], 1)


class TestDeadline:
    async def test_an_action_that_expires_while_it_waits_is_never_started(self) -> None:
        """Its waiter is told, and its letter says so."""
        async with garden() as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            await g.queue.submit(Water("first"))
            late = await g.queue.submit(Water("late"), deadline=5.0)
            await g.clock.advance(6.0)
            gate.set()

            with pytest.raises(ActionExpiredError):
                await late.wait()
            assert (g.calls, g.reasons(), late.attempts) == (["first"], ["expired"], 0)

    async def test_an_attempt_ends_at_the_deadline(self) -> None:
        """However long its timeout: the waiter gets the deadline's error, with the attempt's as its cause."""
        async with garden() as g:
            g.plan.append(anyio.sleep_forever)
            handle = await g.queue.submit(Water(), timeout=30.0, deadline=5.0)
            await g.clock.advance(5.0)

            with pytest.raises(ActionExpiredError) as caught:
                await handle.wait()
            assert isinstance(caught.value.__cause__, CallTimeoutError)
            assert (g.reasons(), handle.attempts) == (["expired"], 1)

    async def test_an_attempt_that_the_deadline_cut_short_is_expired_though_timers_are_early(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An event loop's timer may fire a hair before its time; the reason does not depend on it."""
        async with garden() as g:
            exact = g.clock.move_on_after
            monkeypatch.setattr(g.clock, "move_on_after", lambda seconds: exact(max(0.001, seconds - 0.001)))
            g.plan.append(anyio.sleep_forever)
            await g.queue.submit(Water(), timeout=30.0, deadline=5.0, retry=AT_ONCE)
            await g.clock.advance(5.0)

            assert (g.reasons(), len(g.calls)) == (["expired"], 1)

    async def test_a_jump_of_the_wall_clock_disturbs_no_deadline(self) -> None:
        """Neither an hour back nor an hour forward; ages stay true, too."""
        async with garden() as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            await g.queue.submit(Water("first"))
            handles = [await g.queue.submit(Water(), deadline=10.0) for _ in range(2)]
            await g.clock.advance(4.0)
            for jump in (3600.0, -7200.0):
                g.clock.set_time(g.clock.time() + jump)
                assert g.queue.statistics().oldest_age == 4.0
            gate.set()
            await g.rest()

            assert [handle.status for handle in handles] == ["done", "done"]


class TestCancel:
    async def test_a_queued_action_ends_at_once_and_gives_its_room_back(self) -> None:
        """It is never started, and the lane takes another in its place."""
        async with garden(capacity=1) as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            await g.queue.submit(Water("first"))
            await g.rest()
            handle = await g.queue.submit(Water("cancelled"))

            assert handle.cancel()
            assert not handle.cancel()
            assert handle.status == "dead"
            with pytest.raises(ActionCancelledError, match="it was cancelled"):
                await handle.wait()
            assert g.queue.statistics().lanes["normal"].depth == 0
            await g.queue.submit(Water("next"))
            gate.set()
            await g.rest()
            assert g.calls == ["first", "next"]
            assert g.reasons() == ["cancelled"]

    async def test_a_running_action_has_its_handler_cancelled(self) -> None:
        """And its worker goes on with the next."""
        async with garden() as g:
            ended: list[str] = []

            async def work() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    ended.append("cancelled")

            g.plan.append(work)
            handle = await g.queue.submit(Water())
            await g.rest()
            assert handle.status == "running"
            assert handle.cancel()
            assert not handle.cancel()
            with pytest.raises(ActionCancelledError):
                await handle.wait()

            assert (ended, g.reasons()) == (["cancelled"], ["cancelled"])
            assert await (await g.queue.submit(Water("next"))).wait() == Watered("next")

    async def test_an_action_between_two_attempts_ends_at_once(self) -> None:
        """It does not sit out its backoff."""
        async with garden() as g:
            tasks = len(anyio.get_running_tasks())
            g.plan.append(failing(RetryLater(100.0)))
            handle = await g.queue.submit(Water())
            await g.rest()
            assert handle.cancel()

            await g.rest()
            assert len(anyio.get_running_tasks()) == tasks
            assert (handle.status, g.queue.statistics().waiting) == ("dead", 0)
            again = await g.queue.submit_envelope(handle.envelope)  # nothing of the first is left to disturb the second
            with pytest.raises(ActionCancelledError):
                await handle.wait()
            await g.clock.advance(200.0)
            assert (len(g.calls), g.reasons(), again.status) == (2, ["cancelled"], "done")
            assert g.queue.statistics().waiting == 0

    async def test_a_handler_that_fails_on_its_cancellation_is_not_tried_again(self) -> None:
        """``cancel()`` said that the action ends; an error on the way out does not bring it back."""
        async with garden() as g:

            async def work() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    raise OSError("cannot tidy up")

            g.plan.append(work)
            handle = await g.queue.submit(Water(), retry=RetryPolicy(3, 8.0, 8.0))
            await g.rest()
            handle.cancel()
            await g.rest()

            assert (handle.status, g.reasons()) == ("dead", ["cancelled"])

    async def test_an_action_that_ended_cannot_be_cancelled(self) -> None:
        """``False``, and nothing changes."""
        async with garden() as g:
            handle = await g.queue.submit(Water())
            await handle.wait()

            assert not handle.cancel()
            assert (handle.status, g.letters) == ("done", [])

    async def test_cancelling_the_waiter_leaves_the_action_be(self) -> None:
        """Work that was accepted does not hang on who waits for it."""
        async with garden() as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            handle = await g.queue.submit(Water("north"))
            with g.clock.move_on_after(1.0) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(handle.wait)
                    await g.clock.advance(1.0)
                    await anyio.sleep_forever()
            assert scope.cancelled_caught
            gate.set()

            assert await handle.wait() == Watered("north")


class Deaf:
    """A handler's step that hears no cancellation before its gate is open, as it is when the body is left."""

    def __init__(self) -> None:
        self.gate = anyio.Event()

    async def stay(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.gate.wait()

    async def stay_in_vain(self) -> None:
        await self.stay()
        raise OSError("too late")


@asynccontextmanager
async def closing_gate() -> AsyncGenerator[Deaf]:
    deaf = Deaf()
    try:
        yield deaf
    finally:
        deaf.gate.set()


class TestOverrun:
    async def test_an_action_whose_handler_ignores_its_cancellation_runs_twice_at_a_time(self) -> None:
        """It is reported, another worker takes over, and the next attempt waits for its end."""
        async with garden(workers=1) as g, closing_gate() as handler:
            with g.bus.subscribe(ActionOverrun) as events:
                g.plan.append(handler.stay_in_vain)
                stuck = await g.queue.submit(Water("stuck"), timeout=2.0, retry=AT_ONCE)
                other = await g.queue.submit(Water("other"), retry=ONCE)
                await g.clock.advance(2.5)
                assert (other.status, g.queue.statistics().overruns) == ("queued", 0)
                await g.clock.advance(1.0)

                event = await anext(events)
                assert (event.trace_id, event.action_type, event.seconds) == (stuck.trace_id, "actions.water", 3.0)
                assert "in stay" in event.stack
                numbers = g.queue.statistics()
                assert (numbers.overruns, numbers.overrunning, numbers.workers) == (1, 1, 1)
                assert (other.status, stuck.status, g.calls) == ("done", "running", ["stuck", "other"])
                await g.clock.advance(10.0)
                assert g.calls == ["stuck", "other"]
                handler.gate.set()
                await g.rest()

            assert (stuck.status, stuck.attempts, g.calls) == ("done", 2, ["stuck", "other", "stuck"])
            assert g.queue.statistics().overrunning == 0
            last = await g.queue.submit(Water("last"))
            await g.rest()
            assert last.status == "done"

    async def test_nobody_is_told_that_the_last_attempt_overruns(self) -> None:
        """Its deadline holds for who waits; it is dead once, cannot be sent again meanwhile, and its key is held."""
        async with garden(workers=1) as g, closing_gate() as handler:
            g.plan.append(handler.stay)
            stuck = await g.queue.submit(Water("stuck"), deadline=2.0, idempotency_key="k")
            await g.clock.advance(3.5)
            assert (stuck.status, g.reasons(), g.queue.lingers(stuck.trace_id)) == ("dead", ["expired"], True)
            with pytest.raises(ActionExpiredError):
                await stuck.wait()
            with pytest.raises(ActionRunningError):
                await Redriver(g.bus, g.queue, g.dlq).redrive(stuck.trace_id)
            assert await g.queue.submit(Water("stuck"), idempotency_key="k") is stuck

            handler.gate.set()
            await g.rest()
            assert (g.reasons(), g.queue.lingers(stuck.trace_id), g.queue.statistics().running) == (
                ["expired"],
                False,
                0,
            )
            again = await g.queue.submit(Water("stuck"), idempotency_key="k")
            assert again is not stuck
            await g.rest()
            assert (again.status, g.calls) == ("done", ["stuck", "stuck"])

    async def test_a_reply_that_came_late_is_thrown_away(self) -> None:
        """What a handler has done after all is done, while its action could still be tried again."""
        async with garden(workers=1) as g, closing_gate() as handler:

            async def swallow() -> None:
                with suppress(anyio.get_cancelled_exc_class()):
                    await anyio.sleep_forever()
                await handler.stay()

            g.plan.append(swallow)
            stuck = await g.queue.submit(Water("stuck"), timeout=2.0)
            await g.clock.advance(3.5)
            assert (stuck.status, g.queue.statistics().overrunning) == ("running", 1)
            handler.gate.set()
            await g.rest()

            assert (await stuck.wait(), stuck.attempts, g.calls) == (Watered("stuck"), 1, ["stuck"])

    async def test_a_cancelled_action_waits_for_a_handler_that_does_not_hear(self) -> None:
        """Cancellation counts once the handler is over its time: whoever waits need not wait longer."""
        async with garden(workers=1) as g, closing_gate() as handler:
            g.plan.append(handler.stay)
            stuck = await g.queue.submit(Water("stuck"), timeout=2.0)
            await g.rest()
            assert stuck.cancel()
            await g.clock.advance(3.5)
            assert (stuck.status, g.reasons()) == ("dead", ["cancelled"])
            handler.gate.set()
            await g.rest()
            assert (g.reasons(), g.queue.statistics().running) == (["cancelled"], 0)


class TestParking:
    async def test_an_action_of_a_plugin_that_is_swapped_holds_a_worker(self) -> None:
        """It waits without one, goes on once the swap is over, and its deadline holds meanwhile."""
        async with garden(workers=1) as g:

            async def answer(_: Unknown) -> None:
                return None

            g.bus.add_routes([Route(Unknown, answer, GARDENER)])
            with g.bus.parked(["actions.water"]):
                patient = await g.queue.submit(Water("patient"))
                hurried = await g.queue.submit(Water("hurried"), deadline=2.0)
                gone = await g.queue.submit(Water("gone"))
                other = await g.queue.submit(Unknown())
                await g.rest()
                assert (patient.status, hurried.status, other.status) == ("waiting", "waiting", "done")
                assert g.queue.statistics().waiting == 3
                assert gone.cancel()
                await g.clock.advance(3.0)
                assert (hurried.status, g.reasons(), g.calls) == ("dead", ["cancelled", "expired"], [])
            await g.rest()

            assert (patient.status, patient.attempts, g.calls) == ("done", 1, ["patient"])
            assert sum(lane.depth + lane.waiting for lane in g.queue.statistics().lanes.values()) == 0


class TestKeys:
    async def test_one_key_is_two_actions(self) -> None:
        """While it is not finished, and once it was done, until the window has passed."""
        async with garden() as g:
            first = await g.queue.submit(Water("north"), idempotency_key="k", idempotency_window=60.0)
            assert await g.queue.submit(Water("north"), idempotency_key="k") is first
            await g.rest()
            assert await g.queue.submit(Water("north"), idempotency_key="k") is first
            other = await g.queue.submit(Water("south"), idempotency_key="other")
            await g.clock.advance(61.0)
            late = await g.queue.submit(Water("north"), idempotency_key="k")
            await g.rest()

            assert len({first.trace_id, other.trace_id, late.trace_id}) == 3
            assert (g.calls, g.queue.statistics().duplicates) == (["north", "south", "north"], 2)

    async def test_a_key_is_forgotten_by_a_restart(self, tmp_path: Path) -> None:
        """Whoever submits again after it gets the reply of the first time, or the action that was taken up again."""
        async with garden(folder=tmp_path, durable=True) as g:
            done = await g.queue.submit(Water("done"), idempotency_key="done")
            await g.rest()
            g.plan.append(anyio.sleep_forever)
            open_ = await g.queue.submit(Water("open"), idempotency_key="open")
            await g.rest()
        async with garden(folder=tmp_path, durable=True) as g:
            again = await g.queue.submit(Water("done"), idempotency_key="done")
            assert (again.trace_id, again.status, await again.wait()) == (done.trace_id, "done", Watered("done"))
            resumed = await g.queue.submit(Water("open"), idempotency_key="open")
            assert (resumed.trace_id, await resumed.wait()) == (open_.trace_id, Watered("open"))
            assert g.calls == ["open"]

    async def test_a_key_of_an_action_whose_plugin_comes_later_is_not_honoured(self, tmp_path: Path) -> None:
        """Whoever submits before the journal's actions were taken up gets the one that is there, once."""
        journal = Journal(tmp_path, FakeClock(), sync=False)
        journal.open()
        journal.accept(ActionEnvelope(Unknown(), trace_id="early", idempotency_key="k"))
        journal.accept(ActionEnvelope(Unknown(), trace_id="named"))
        journal.close()
        async with garden(folder=tmp_path, durable=True) as g:
            assert (g.queue.statistics().accepted, g.queue.statistics().waiting) == (0, 2)
            again = await g.queue.submit(Unknown(), idempotency_key="k")
            named = await g.queue.submit_envelope(ActionEnvelope(Unknown(), trace_id="named"))
            assert (again.trace_id, named.trace_id) == ("early", "named")
            assert (g.queue.statistics().accepted, len(g.queue.unclaimed)) == (2, 0)

    async def test_a_dead_action_keeps_its_key(self) -> None:
        """The work was not done, so that it may be submitted again."""
        async with garden() as g:
            g.plan.append(failing(Reject("no")))
            first = await g.queue.submit(Water(), idempotency_key="k")
            await g.rest()
            again = await g.queue.submit(Water(), idempotency_key="k")
            assert (first.status, await again.wait()) == ("dead", Watered(""))


class TestRoom:
    async def test_a_submitter_that_may_wait_is_refused(self) -> None:
        """They get room in the order in which they came; one whose time is over is refused and dead-lettered."""
        async with garden(capacity=1) as g:
            gates = [anyio.Event() for _ in range(3)]
            g.plan.extend(until(gate) for gate in gates)
            await g.queue.submit(Water("runs"))
            await g.rest()
            await g.queue.submit(Water("waits"))
            came: list[str] = []

            async def submit(zone: str, seconds: float) -> None:
                try:
                    await g.queue.submit(Water(zone), wait_for_room=seconds)
                    came.append(zone)
                except ActionQueueFullError:
                    came.append(f"no {zone}")

            async with anyio.create_task_group() as group:
                for zone, seconds in (("first", 60.0), ("short", 5.0), ("second", 60.0)):
                    group.start_soon(submit, zone, seconds)
                    await g.rest()
                assert came == []
                with pytest.raises(ActionQueueFullError):
                    await g.queue.submit(Water("impatient"))
                await g.clock.advance(6.0)
                assert came == ["no short"]
                for gate in gates:
                    gate.set()
                    await g.rest()
            await g.rest()
            assert came == ["no short", "first", "second"]
            assert g.calls == ["runs", "waits", "first", "second"]
            assert g.reasons() == ["queue_full"] * 2
            assert g.queue.statistics().lanes["normal"].refused == 2

    async def test_an_action_is_as_old_as_its_admission(self) -> None:
        """What its submitter waited for room before is no time that it was in the queue."""
        async with garden(capacity=1) as g, anyio.create_task_group() as group:
            gate = anyio.Event()
            g.plan.extend([until(gate), until(gate), anyio.sleep_forever])
            await g.queue.submit(Water("runs"))
            await g.rest()
            await g.queue.submit(Water("waits"))

            async def submit() -> None:
                await g.queue.submit(Water("comes late"), wait_for_room=60.0)

            group.start_soon(submit)
            await g.clock.advance(5.0)
            gate.set()
            await g.clock.advance(1.0)

            assert g.calls == ["runs", "waits", "comes late"]
            assert g.queue.statistics().oldest_age == 1.0


class TestHostFault:
    async def test_a_fault_of_the_host_ends_a_worker(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its action is dead, it is said whose fault it is, and the worker goes on."""
        async with garden(workers=1) as g:
            g.plan.append(failing(OSError("dry")))
            monkeypatch.setattr(course, "next_attempt", lambda *_: 1 // 0)
            hit = await g.queue.submit(Water("hit"))
            await g.rest()
            monkeypatch.undo()
            assert (hit.status, g.reasons(), g.letters[0].error_type) == ("dead", ["failed"], "ZeroDivisionError")
            assert "a fault of the host" in caplog.text
            assert await (await g.queue.submit(Water("next"))).wait() == Watered("next")


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"deadline": "5"}, "expected deadline in seconds from now, got '5'"),
            ({"deadline": float("nan")}, "expected a finite deadline"),
            ({"timeout": "5"}, "expected timeout in seconds, got '5'"),
            ({"timeout": 10**400}, "a year"),
            ({"retry": 3}, "expected a RetryPolicy, got 3"),
            ({"target": 5}, "expected target to be a text, got 5"),
            ({"priority": 3}, "expected an ActionPriority, got 3"),
            ({"idempotency_key": b"x"}, "expected idempotency_key to be a text"),
            ({"wait_for_room": "x"}, "expected wait_for_room in seconds, got 'x'"),
            ({"wait_for_room": -1}, "expected wait_for_room to be more than 0"),
        ],
    )
    async def test_a_wrong_option_reaches_a_worker(self, options: dict[str, Any], text: str) -> None:
        """It is refused where it is written, with what was expected, and nothing is accepted."""
        async with garden(capacity=1) as g:
            gate = anyio.Event()
            g.plan.append(until(gate))
            for zone in ("runs", "waits"):
                await g.queue.submit(Water(zone))
                await g.rest()
            with pytest.raises((TypeError, ValueError), match=re.escape(text)):
                await g.queue.submit(Water(), **options)
            gate.set()
            await g.rest()
            assert (g.queue.statistics().accepted, g.letters) == (2, [])

    async def test_a_deadline_that_passes_while_there_is_no_room_is_called_a_full_lane(self) -> None:
        """It is expired."""
        async with garden(capacity=1) as g:
            g.plan.append(anyio.sleep_forever)
            for zone in ("runs", "waits"):
                await g.queue.submit(Water(zone))
                await g.rest()
            async with anyio.create_task_group() as group:

                async def submit() -> None:
                    with pytest.raises(ActionExpiredError):
                        await g.queue.submit(Water("late"), deadline=2.0, wait_for_room=10.0)

                group.start_soon(submit)
                await g.clock.advance(2.0)
            assert (g.reasons(), g.queue.statistics().lanes["normal"].refused) == (["expired"], 0)

    async def test_an_envelope_gets_the_handle_of_another_type(self) -> None:
        """Two actions cannot have one name."""
        async with garden() as g:
            g.plan.append(anyio.sleep_forever)
            await g.queue.submit_envelope(ActionEnvelope(Water(), trace_id="x"))
            with pytest.raises(ValueError, match=r"trace_id of its own, got 'x', an action of 'actions\.water'"):
                await g.queue.submit_envelope(ActionEnvelope(Unknown(), trace_id="x"))
            with pytest.raises(TypeError, match="expected an ActionEnvelope, got 'int'"):
                await g.queue.submit_envelope(5)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "bounds",
        [
            {"workers": 1.5},
            {"workers": True},
            {"workers": 1001},
            {"lanes": {"high": LaneBounds(weight=float("nan"))}},
            {"lanes": {"high": LaneBounds(capacity=1.5)}},
            {"lanes": {"high": LaneBounds(capacity=10**9)}},
            {"workers": 5, "lanes": {"high": LaneBounds(weight=0)}},
            {"workers": 5, "lanes": {"high": LaneBounds(shed=1)}},
            {"workers": 5, "lanes": {"urgent": LaneBounds(1, 1)}},
        ],
    )
    async def test_a_bound_that_the_configuration_would_refuse_is_set(self, bounds: dict[str, Any]) -> None:
        """All of it is refused."""
        async with garden(workers=2) as g:
            with pytest.raises(ValueError, match=r"expected|Expected"):
                g.queue.tune(**bounds)
            numbers = g.queue.statistics()
            assert (numbers.workers, numbers.lanes["high"].capacity, numbers.lanes["high"].weight) == (2, 100, 1)


class TestTarget:
    async def test_another_plugin_than_the_target_does_it(self) -> None:
        """An action for one plugin is not done by another."""
        async with garden() as g:
            meant = await g.queue.submit(Water("meant"), target="garden", retry=ONCE)
            other = await g.queue.submit(Water("other"), target="park", retry=ONCE)
            await g.rest()
            assert (meant.status, other.status, g.reasons(), g.calls) == ("done", "dead", ["no_handler"], ["meant"])
            assert "meant for 'park'" in g.letters[0].message
            assert g.letters[0].target == "park"


class TestStop:
    async def test_what_runs_is_finished_and_what_waits_is_dead_lettered_without_a_journal(self) -> None:
        """Queued, waiting for a retry and submitted too late: each has its letter, and each waiter is told."""
        gate = anyio.Event()
        async with anyio.create_task_group() as group, garden(workers=2, stop_timeout=60.0) as g:
            g.plan.extend([failing(RetryLater(100.0)), until(gate), until(gate)])
            waiting = await g.queue.submit(Water("waiting"))
            await g.rest()
            running = await g.queue.submit(Water("running"))
            failing_later = await g.queue.submit(Water("running too"))
            queued = await g.queue.submit(Water("queued"))
            await g.rest()
            late: list[BaseException] = []

            async def submit_late() -> None:
                while queued.status != "dead":
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(ActionCancelledError, match="stopping") as caught:
                    await g.queue.submit(Water("late"))
                late.append(caught.value)
                gate.set()

            group.start_soon(submit_late)

        assert late
        assert await running.wait() == Watered("running")
        assert await failing_later.wait() == Watered("running too")
        for handle in (waiting, queued):
            with pytest.raises(ActionCancelledError, match="dead-lettered"):
                await handle.wait()
        letters = {letter.params["zone"]: (letter.reason, letter.attempts) for letter in g.letters}
        assert letters == {"waiting": ("shutdown", 1), "queued": ("shutdown", 0), "late": ("shutdown", 0)}

    async def test_what_runs_too_long_is_cancelled_and_dead_lettered_without_a_journal(self) -> None:
        """The stop is bounded, and what it cuts off is not lost."""
        async with garden() as g:
            g.plan.append(anyio.sleep_forever)
            handle = await g.queue.submit(Water("stuck"))
            await g.rest()

        with pytest.raises(ActionCancelledError):
            await handle.wait()
        assert [(letter.reason, letter.attempts) for letter in g.letters] == [("shutdown", 1)]

    async def test_a_failure_during_the_stop_is_not_tried_again_in_it(self) -> None:
        """No new work; it ends as what waits does."""
        gate = anyio.Event()

        async def fail_at_the_gate() -> None:
            await gate.wait()
            raise OSError("dry")

        async with anyio.create_task_group() as group, garden(stop_timeout=60.0) as g:
            g.plan.append(fail_at_the_gate)
            handle = await g.queue.submit(Water(), retry=AT_ONCE)
            queued = await g.queue.submit(Water("queued"))
            await g.rest()

            async def open_the_gate() -> None:
                while queued.status != "dead":
                    await anyio.lowlevel.checkpoint()
                gate.set()

            group.start_soon(open_the_gate)

        with pytest.raises(ActionCancelledError):
            await handle.wait()
        assert (g.calls, g.reasons()) == ([""], ["shutdown", "shutdown"])
        assert g.queue.statistics().retried == 0

    async def test_a_journal_keeps_what_is_unfinished_for_the_next_start(self, tmp_path: Path) -> None:
        """Queued, running and waiting: resumed in order, with the attempts that failed; no letter is written."""
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.extend([failing(RetryLater(100.0)), anyio.sleep_forever])
            await g.queue.submit(Water("waiting"))
            await g.rest()
            await g.queue.submit(Water("running"))
            await g.rest()
            queued = await g.queue.submit(Water("queued"))
            await g.rest()
        with pytest.raises(ActionCancelledError, match="journal for the next start"):
            await queued.wait()
        assert g.letters == []

        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.extend([failing(OSError("dry")), failing(OSError("dry"))])
            await g.rest()
            assert g.calls == ["waiting", "running", "queued"]
            assert g.queue.statistics().accepted == 3
            await g.clock.advance(1.0)
            assert g.queue.statistics().done == 3

        async with garden(folder=tmp_path, durable=True) as g:
            await g.rest()
            assert g.calls == []

    async def test_the_age_of_an_action_is_counted_across_starts(self, tmp_path: Path) -> None:
        """How long it has waited in all, the time that the host was down included."""
        journal = Journal(tmp_path, FakeClock(), sync=False)
        journal.accept(ActionEnvelope(Water(), enqueued=FakeClock().time() - 60.0))
        journal.close()
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.append(anyio.sleep_forever)
            assert g.queue.statistics().oldest_age == 60.0
            await g.clock.advance(5.0)
            assert g.queue.statistics().oldest_age == 65.0

    @pytest.mark.parametrize("others", [0, 1])
    async def test_the_attempts_of_what_is_left_are_forgotten_as_the_journal_moves_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
    ) -> None:
        """The stop's own records may begin another file; what moves there has its attempts of this run, less one."""
        monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.extend([failing(RetryLater(100.0))] * others)
            for _ in range(others):
                await g.queue.submit(Water("waiting"), retry=RetryPolicy(5))
            await g.rest()
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.extend([failing(RetryLater(100.0))] * others)
            await g.rest()
            g.plan.append(anyio.sleep_forever)
            await g.queue.submit(Water("running"), retry=RetryPolicy(5))
            await g.rest()
            monkeypatch.setattr(journal_module, "SPARE", -100)  # so that what is oldest moves at once

        actions = Journal(tmp_path, FakeClock(), sync=False).open().actions
        left = {record.params["zone"]: attempts for record, attempts in actions}
        assert left == {"running": 0, **dict.fromkeys(["waiting"] * others, 2)}

    async def test_an_attempt_that_fails_during_the_stop_counts(self, tmp_path: Path) -> None:
        """Only one that the stop itself cuts off does not."""
        async with anyio.create_task_group() as group, garden(folder=tmp_path, durable=True, stop_timeout=60.0) as g:

            async def fail_in_the_stop() -> None:
                await g.clock.sleep(10.0)
                raise OSError("dry")

            g.plan.append(fail_in_the_stop)
            await g.queue.submit(Water("failing"), retry=RetryPolicy(2, 1.0, 1.0))
            await g.rest()
            group.start_soon(g.clock.advance, 10.0)
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.append(failing(OSError("dry")))
            await g.rest()

        assert (g.calls, g.reasons(), g.letters[0].attempts) == (["failing"], ["failed"], 2)

    async def test_a_stop_waits_for_no_handler_that_ignores_its_cancellation(self, tmp_path: Path) -> None:
        """Once it is reported, it holds up the stop no longer; its time limit had ended the attempt, which counts."""
        async with anyio.create_task_group() as group, garden(folder=tmp_path, durable=True, stop_timeout=60.0) as g:

            async def ignore_cancellation() -> None:
                with anyio.CancelScope(shield=True):
                    await g.clock.sleep(10.0)

            g.plan.append(ignore_cancellation)
            handle = await g.queue.submit(Water(), timeout=2.0, retry=RetryPolicy(2))
            await g.rest()
            group.start_soon(g.clock.advance, 10.0)
        assert handle.status == "dead"
        with pytest.raises(ActionCancelledError, match="journal for the next start"):
            await handle.wait()

        ((_, attempts),) = Journal(tmp_path, FakeClock(), sync=False).open().actions
        assert attempts == 1

    async def test_attempts_are_counted_across_starts(self, tmp_path: Path) -> None:
        """One failure in each of three runs is three in all."""
        for run in range(3):
            async with garden(folder=tmp_path, durable=True) as g:
                g.plan.append(failing(OSError("dry")))
                if run == 0:
                    await g.queue.submit(Water(), retry=RetryPolicy(3, 10.0, 10.0))
                await g.rest()
                assert g.queue.statistics().retried == (run < 2)

        assert [(letter.reason, letter.attempts) for letter in g.letters] == [("failed", 3)]
        assert Journal(tmp_path, FakeClock(), sync=False).open().actions == []

    async def test_an_action_that_expired_while_the_host_was_down_is_not_started(self, tmp_path: Path) -> None:
        """A deadline is a time of day; the next start knows that it has passed."""
        journal = Journal(tmp_path, FakeClock(), sync=False)
        journal.open()
        journal.accept(ActionEnvelope(Water("late"), deadline=1.0, enqueued=0.5))
        journal.close()
        async with garden(folder=tmp_path, durable=True) as g:
            await g.rest()
        assert (g.calls, g.reasons()) == ([], ["expired"])


class TestResume:
    async def test_an_action_that_killed_its_host_each_time_is_dead_lettered(self, tmp_path: Path) -> None:
        """A poison message cannot keep a host from starting: attempts under way at a crash count from the second on."""
        journal = Journal(tmp_path, FakeClock(), sync=False)
        journal.open()
        journal.accept(ActionEnvelope(Water("poison"), retry=RetryPolicy(2), trace_id="p"))
        journal.close()
        for crash in range(2):
            async with garden(folder=tmp_path, durable=True) as g:
                g.plan.append(anyio.sleep_forever)
                await g.rest()
                assert g.calls == ["poison"]
                kept = journal_files(tmp_path)
            assert g.letters == [], crash
            leave(tmp_path, kept)  # as a kill -9 during the attempt leaves it

        async with garden(folder=tmp_path, durable=True) as g:
            await g.rest()
        (letter,) = g.letters
        assert (g.calls, letter.reason, letter.attempts) == ([], "failed", 2)
        assert "died during attempt 2 of 2" in letter.message
        assert Journal(tmp_path, FakeClock(), sync=False).open().actions == []

    async def test_an_action_that_nobody_can_read_any_more_is_dead_lettered(self, tmp_path: Path) -> None:
        """Its plugin does not come, or its request has other fields; the letter has all that was accepted."""

        class OldWater(Request[None], tag="actions.water"):
            litres: int

        journal = Journal(tmp_path, FakeClock(), sync=False)
        journal.open()
        journal.accept(ActionEnvelope(Unknown()))
        journal.accept(ActionEnvelope(OldWater(3)))
        journal.close()
        async with garden(folder=tmp_path, durable=True) as g:
            await g.rest()
            assert (g.reasons(), g.queue.statistics().waiting) == (["invalid"], 1)
            await g.clock.advance(g.bus.default_timeout)

        assert [(letter.reason, letter.params) for letter in g.letters] == [
            ("invalid", {"litres": 3}),
            ("no_handler", {}),
        ]
        assert Journal(tmp_path, FakeClock(), sync=False).open().actions == []

    async def test_an_action_waits_for_a_plugin_that_the_host_adds_later(self, tmp_path: Path) -> None:
        """Whoever adds plugins in code does so after the start; what they accepted last time is theirs again."""
        journal = Journal(tmp_path, FakeClock(), sync=False)
        journal.open()
        journal.accept(ActionEnvelope(Unknown(), retry=ONCE))
        journal.close()
        async with garden(folder=tmp_path, durable=True) as g:
            await g.clock.advance(5.0)
        assert g.letters == []

        async with garden(folder=tmp_path, durable=True) as g:
            await g.clock.advance(5.0)
            assert (g.queue.statistics().waiting, g.queue.statistics().oldest_age is None) == (1, False)

            async def answer(_: Unknown) -> None:
                return None

            g.bus.add_routes([Route(Unknown, answer, GARDENER)])
            ServiceRegistry(g.bus).register("late", tags=["actions.unknown"])
            await g.rest()

            numbers = g.queue.statistics()
            assert (numbers.done, numbers.waiting, numbers.oldest_age) == (1, 0, None)
            await g.clock.advance(100.0)
            assert (g.letters, g.bus.statistics().subscriptions) == ([], 0)


class TestDisk:
    async def test_an_action_that_cannot_be_journalled_is_not_accepted(self, tmp_path: Path) -> None:
        """The caller is told, and nothing runs that a crash would lose."""
        async with garden(folder=tmp_path, durable=True) as g:
            (tmp_path / "kernel_journal-00000001.log").mkdir()
            with pytest.raises(DataFileError):
                await g.queue.submit(Water())
            (tmp_path / "kernel_journal-00000001.log").rmdir()
            with pytest.raises(MessageValidationError, match="journal"):
                await g.queue.submit(Water(extra=object()))
            await g.rest()

            assert (g.calls, g.queue.statistics().accepted) == ([], 0)

    @pytest.mark.parametrize("parked", [False, True])
    async def test_an_action_whose_letter_is_on_disk_is_taken_up_again(self, tmp_path: Path, parked: bool) -> None:
        """A death between letter and journal leaves it dead, parked or not: it is not done, and has one letter."""
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.append(failing(Reject("no")))
            await g.queue.submit(Water("dead"))
            await g.queue.submit(Water("alive"))
            before = journal_files(tmp_path)
            await g.rest()
        leave(tmp_path, before)
        journal, dlq = Journal(tmp_path, g.clock, sync=False), DeadLetterQueue(tmp_path / "dlq.jsonl")
        unfinished = journal.open()
        assert len(unfinished.actions) == 2
        assert dlq.park(None if parked else []) == int(parked)

        left = without_buried(journal, dlq, unfinished)
        assert [record.params["zone"] for record, _ in left.actions] == ["alive"]
        journal.close()
        assert len(Journal(tmp_path, g.clock, sync=False).open().actions) == 1

    async def test_an_action_that_was_dead_once_is_lost_as_the_clock_was_set_back(self, tmp_path: Path) -> None:
        """The letter of an earlier submission, though dated later than the acceptance of this one, is not its end."""
        async with garden(folder=tmp_path, durable=True) as g:
            g.plan.extend([failing(Reject("no")), failing(RetryLater(60.0))])
            dead = await g.queue.submit(Water())
            await g.rest()
            g.clock.set_time(g.clock.time() - 3600.0)
            again = await g.queue.submit_envelope(dead.envelope)
            await g.rest()
            assert (again.status, again.trace_id) == ("waiting", dead.trace_id)
        journal, dlq = Journal(tmp_path, g.clock, sync=False), DeadLetterQueue(tmp_path / "dlq.jsonl")

        assert len(without_buried(journal, dlq, journal.open()).actions) == 1
        journal.close()

    async def test_a_dead_action_stays_in_the_journal_until_its_letter_is_on_disk(self, tmp_path: Path) -> None:
        """Between the two it is never in neither."""
        async with garden(folder=tmp_path, durable=True) as g:
            (tmp_path / "dlq.jsonl").mkdir()
            g.plan.extend([failing(Reject("no"))] * 2)
            first = await g.queue.submit(Water("first"))
            await g.rest()
            assert (first.status, g.dlq.statistics().unwritten) == ("dead", 1)
            kept = Journal(tmp_path, FakeClock(), sync=False).open().actions
            assert [record.trace_id for record, _ in kept] == [first.trace_id]
            (tmp_path / "dlq.jsonl").rmdir()

        assert g.dlq.statistics().unwritten == 0
        assert Journal(tmp_path, FakeClock(), sync=False).open().actions == []
        assert [letter.trace_id for letter in DeadLetterQueue(tmp_path / "dlq.jsonl").items()] == [first.trace_id]

    async def test_an_end_that_cannot_be_journalled_is_an_end_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The action is done; it is said that a crash would have it done again, and the end is written later."""
        async with garden(folder=tmp_path, durable=True) as g:

            async def fill_the_disk() -> None:
                monkeypatch.setattr(segments.os, "write", lambda *_: refuse())

            def refuse() -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

            g.plan.append(fill_the_disk)
            assert await (await g.queue.submit(Water("north"))).wait() == Watered("north")
            await g.rest()

            assert "would run again after a crash" in caplog.text
            assert len(Journal(tmp_path, FakeClock(), sync=False).open().actions) == 1
            monkeypatch.undo()
        assert Journal(tmp_path, FakeClock(), sync=False).open().actions == []


class Season:
    """A garden's life at random: what was submitted, refused and cancelled, to be compared with what is told."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.handles: dict[str, ActionHandle[Any]] = {}
        self.refused = Counter[str]()

    async def live(self, g: Garden) -> None:
        for _ in range(self.chance.randrange(30)):
            g.plan.extend([lambda: self.work(g)] * 3)
            match self.chance.randrange(4):
                case 0:
                    await g.clock.advance(self.chance.uniform(0, 8))
                case 1 if self.handles:
                    self.chance.choice(list(self.handles.values())).cancel()
                case _:
                    await self.submit(g)

    async def work(self, g: Garden) -> None:
        match self.chance.randrange(7):
            case 0:
                raise OSError("dry")
            case 1:
                raise RetryLater(self.chance.uniform(0, 5))
            case 2:
                raise Reject("no")
            case 3:
                raise SystemExit
            case 4:
                await g.clock.sleep(self.chance.uniform(0, 20))
            case _:
                await anyio.lowlevel.checkpoint()

    async def submit(self, g: Garden) -> None:
        try:
            handle = await g.queue.submit(
                Water(),
                priority=self.chance.choice(list(ActionPriority)),
                deadline=self.chance.choice([None, 0.0, self.chance.uniform(0, 20)]),
                timeout=self.chance.uniform(0.1, 10),
                retry=RetryPolicy(self.chance.randrange(1, 4), 1.0, 2.0),
            )
        except ActionExpiredError:
            self.refused["expired"] += 1
        except ActionQueueFullError:
            self.refused["queue_full"] += 1
        else:
            self.handles[handle.trace_id] = handle

    def count(self, status: str) -> int:
        return sum(handle.status == status for handle in self.handles.values())


class TestEnds:
    @settings(max_examples=100, deadline=None)
    @given(seed=st.integers(0, 2**32), backend=st.sampled_from(["asyncio", "trio"]), durable=st.booleans())
    def test_every_accepted_action_ends_exactly_once(
        self, tmp_path_factory: pytest.TempPathFactory, seed: int, backend: str, durable: bool
    ) -> None:
        """Random submissions, outcomes, cancellations and a stop at any point: done, dead, or in the journal."""
        folder = tmp_path_factory.mktemp("ends")
        season = Season(seed)

        async def run() -> Garden:
            workers = season.chance.randrange(1, 4)
            async with garden(workers=workers, capacity=5, folder=folder, durable=durable) as g:
                await season.live(g)
                numbers = g.queue.statistics()
                assert (numbers.running, numbers.waiting) == (season.count("running"), season.count("waiting"))
            return g

        g = anyio.run(run, backend=backend)
        numbers, handles = g.queue.statistics(), season.handles

        done = [name for name, handle in handles.items() if handle.status == "done"]
        dead = [letter.trace_id for letter in g.letters if letter.trace_id in handles]
        kept = Journal(folder, g.clock, sync=False).open().actions
        assert sorted([*done, *dead, *(record.trace_id for record, _ in kept)]) == sorted(handles)
        assert season.count("done") + season.count("dead") == len(handles)
        assert (numbers.accepted, numbers.done) == (len(handles), len(done))
        assert numbers.dead == Counter(letter.reason for letter in g.letters)
        assert len(g.letters) == len(dead) + season.refused.total()
        assert sum(lane.refused for lane in numbers.lanes.values()) == season.refused["queue_full"]
        assert (numbers.running, numbers.waiting, numbers.oldest_age) == (0, 0, None)
        assert sum(lane.depth for lane in numbers.lanes.values()) == 0
        written = DeadLetterQueue(folder / "dlq.jsonl").items(limit=1000)
        assert [letter.trace_id for letter in reversed(written)] == [letter.trace_id for letter in g.letters]
        assert all(handle.attempts <= handle.envelope.retry.max_attempts for handle in handles.values())
