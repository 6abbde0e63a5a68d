"""Errands: plain functions in threads that nobody has to wait for."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from math import inf

import anyio
import pytest

from aetherra.kernel import ActionEnvelope, ActionExpiredError, ActionOverrun, Kernel, Plugin, RetryPolicy, threads
from aetherra.kernel.actions.action import Action, AttemptCall
from aetherra.kernel.actions.lanes import Lane
from aetherra.kernel.actions.tally import Tally
from aetherra.kernel.plugin import handler
from aetherra.kernel.testing import FakeClock
from aetherra.kernel.threads import Errand, run_in_thread
from aetherra.registry import Gate, Message, Request
from aetherra.registry.call import CURRENT, IN_A_SCOPE


class TestErrand:
    async def test_its_result_is_lost(self) -> None:
        """What the function returns is there after the wait."""
        errand = Errand(lambda: 42, name="errand", unwanted=print)
        await errand.wait()
        assert errand.result() == 42

    @pytest.mark.parametrize("fault", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
    async def test_what_it_raises_ends_the_wait_or_the_thread(self, fault: BaseException) -> None:
        """What the function raises, signals included, is raised where the result is asked for."""

        def fail() -> None:
            raise fault

        errand = Errand(fail, name="errand", unwanted=print)
        await errand.wait()
        with pytest.raises(type(fault)):
            errand.result()

    async def test_the_process_would_wait_for_it(self) -> None:
        """A thread that was left behind is a daemon, and where it hangs can be told."""
        release = threading.Event()
        unwanted: list[str] = []
        discarded = threading.Event()

        def hang_here() -> str:
            release.wait()
            return "late"

        def discard(result: str) -> None:
            unwanted.append(result)
            discarded.set()

        errand = Errand(hang_here, name="errand to be left", unwanted=discard)
        async with anyio.create_task_group() as group:
            group.start_soon(errand.wait)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert "hang_here" in errand.stack()
        assert "in _run" not in errand.stack()
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "errand to be left"] == [True]
        release.set()
        assert discarded.wait(10)
        assert unwanted == ["late"]


class Thread:
    """A function in a thread that stays inside until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.over = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)
        self.inside = self.most = self.calls = 0
        self.fault: BaseException | None = None

    def work(self, number: int) -> int:
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.release()
        assert self.go_on.wait(20)
        self.inside -= 1
        self.over.release()
        if self.fault is not None:
            raise self.fault
        return number

    async def is_inside(self) -> None:
        assert await anyio.to_thread.run_sync(lambda: self.begun.acquire(timeout=10))

    async def is_over(self) -> None:
        assert await anyio.to_thread.run_sync(lambda: self.over.acquire(timeout=10))


class TestGated:
    async def test_a_thread_that_is_left_gives_its_place_away(self) -> None:
        """However many callers give up, no more threads are inside than the gate lets in."""
        gate, limiter, thread = Gate("a.b", 1, 10, kept=True), anyio.CapacityLimiter(10), Thread()

        async def call(number: int) -> int:
            await gate.enter()
            return await run_in_thread(thread.work, number, limiter, gate)

        async with anyio.create_task_group() as group:
            group.start_soon(call, 0)
            await thread.is_inside()
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(call, number)
            await FakeClock().advance(0)
            group.cancel_scope.cancel()
        assert (thread.most, thread.calls) == (1, 1)
        thread.go_on.set()
        with anyio.fail_after(10):
            assert await call(9) == 9
            await gate.enter()
        assert thread.most == 1

    async def test_a_call_that_never_began_keeps_its_place(self) -> None:
        """Cancelled while it waits for a thread, it gives its place back at once."""
        gate, limiter = Gate("a.b", 1, 10, kept=True), anyio.CapacityLimiter(1)
        await limiter.acquire_on_behalf_of(self)
        await gate.enter()
        async with anyio.create_task_group() as group:
            group.start_soon(run_in_thread, str, 1, limiter, gate)
            await FakeClock().advance(0)
            group.cancel_scope.cancel()
        with anyio.fail_after(5):
            await gate.enter()

    async def test_a_call_for_nobody_in_particular_is_a_plain_one(self) -> None:
        """What it returns and what it raises are the caller's; cancelled, it leaves the thread to itself."""
        limiter, thread = anyio.CapacityLimiter(1), Thread()
        thread.go_on.set()
        assert await run_in_thread(thread.work, 3, limiter, None) == 3
        thread.fault = OSError("broken")
        with pytest.raises(OSError, match="broken"):
            await run_in_thread(thread.work, 3, limiter, None)


class Owner:
    """Whoever an action is in the hands of, who writes down what is heard, and on which thread."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.threads = set[int]()
        self.returned = anyio.Event()

    def cancel(self, action: Action) -> bool:
        return False

    def left_behind(self, action: Action) -> None:
        self.heard.append("left")
        self.threads.add(threading.get_ident())

    def thread_returned(self, action: Action) -> None:
        self.heard.append("returned")
        self.threads.add(threading.get_ident())
        self.returned.set()


class Dye(Request[None], tag="threads.dye"):
    pass


class Woven(Message, tag="threads.woven"):
    pass


class Weave(Request[Woven], tag="threads.weave"):
    pass


class Pause(Request[None], tag="threads.pause"):
    pass


@contextmanager
def attempt(owner: Owner | None) -> Generator[Action]:
    """Be inside an attempt of an action."""
    action = Action(ActionEnvelope(Dye()), owner=owner, tally=Tally("threads.dye", Lane("high", 1, 1, 1)))
    token = CURRENT.set(AttemptCall(action.tally.line, inf, 0.0, None, 0, IN_A_SCOPE, action=action))
    try:
        yield action
    finally:
        CURRENT.reset(token)


class TestForAnAction:
    """A thread cannot be ended: whose action it works for is told that it is left, and when it is back."""

    @pytest.mark.parametrize("fault", [None, OSError("broken")])
    async def test_its_owner_hears_that_it_is_left_and_that_it_is_back(self, fault: BaseException | None) -> None:
        """On the event loop, each once, whatever the function ends with."""
        owner, thread, limiter = Owner(), Thread(), anyio.CapacityLimiter(1)
        thread.fault = fault
        with attempt(owner):
            async with anyio.create_task_group() as group:
                group.start_soon(run_in_thread, thread.work, 1, limiter, None)
                await thread.is_inside()
                assert owner.heard == []
                group.cancel_scope.cancel()
        assert owner.heard == ["left"]
        thread.go_on.set()
        with anyio.fail_after(10):
            await owner.returned.wait()

        assert (owner.heard, owner.threads) == (["left", "returned"], {threading.get_ident()})

    async def test_its_owner_hears_nothing_of_one_that_is_waited_for(self) -> None:
        """Nothing is left behind."""
        owner, thread, limiter = Owner(), Thread(), anyio.CapacityLimiter(1)
        thread.go_on.set()
        with attempt(owner):
            assert await run_in_thread(thread.work, 3, limiter, None) == 3
            thread.fault = OSError("broken")
            with pytest.raises(OSError, match="broken"):
                await run_in_thread(thread.work, 3, limiter, None)

        assert owner.heard == []

    async def test_one_that_never_began_does_not_begin_later(self) -> None:
        """Nobody has to wait for it."""
        owner, thread, limiter = Owner(), Thread(), anyio.CapacityLimiter(1)
        await limiter.acquire_on_behalf_of(self)
        with attempt(owner):
            async with anyio.create_task_group() as group:
                group.start_soon(run_in_thread, thread.work, 1, limiter, None)
                await FakeClock().advance(0)
                group.cancel_scope.cancel()
        limiter.release_on_behalf_of(self)
        await FakeClock().advance(0)

        assert (owner.heard, thread.calls) == ([], 0)

    async def test_one_that_is_given_up_as_it_returns_is_not_left(self) -> None:
        """Whichever comes first; its place behind the gate is given back once."""
        owner, gate = Owner(), Gate("a.b", 1, 10, kept=True)
        with attempt(owner) as action:
            await gate.enter()
            limiter = anyio.CapacityLimiter(2)
            errand = threads._Inside(gate, limiter, action)
            await limiter.acquire_on_behalf_of(errand)
            assert await anyio.to_thread.run_sync(errand.call, str, 5) == "5"
            errand.leave()
            late = threads._Inside(None, limiter, action)
            await limiter.acquire_on_behalf_of(late)
            late.leave()
            assert limiter.borrowed_tokens == 0
            with pytest.raises(RuntimeError, match="gone before it began"):
                await anyio.to_thread.run_sync(late.call, str, 5)

        assert owner.heard == []
        with anyio.fail_after(5):
            await gate.enter()
        with anyio.move_on_after(0) as scope:
            await gate.enter()
        assert scope.cancelled_caught

    async def test_an_action_of_nobody_is_no_ones_trouble(self) -> None:
        """One that is not in a queue."""
        thread, limiter = Thread(), anyio.CapacityLimiter(1)
        with attempt(None):
            async with anyio.create_task_group() as group:
                group.start_soon(run_in_thread, thread.work, 1, limiter, None)
                await thread.is_inside()
                group.cancel_scope.cancel()
        thread.go_on.set()
        await thread.is_over()

        assert thread.inside == 0

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_a_thread_that_outlives_the_event_loop_troubles_nobody(self, backend: str) -> None:
        """There is nobody left to tell."""
        thread, owners = Thread(), list[Owner]()
        faults: list[BaseException] = []
        outliving: list[threading.Thread] = []

        async def run() -> None:
            owners.append(Owner())
            limiter = anyio.CapacityLimiter(1)
            with attempt(owners[0]) as action:
                errand = threads._Inside(None, limiter, action)
                await limiter.acquire_on_behalf_of(errand)

                def work() -> None:
                    try:
                        errand.call(thread.work, 1)
                    except BaseException as exc:
                        faults.append(exc)

                outliving.append(threading.Thread(target=work))
                outliving[0].start()
                await thread.is_inside()
                errand.leave()

        anyio.run(run, backend=backend)
        thread.go_on.set()
        outliving[0].join(10)

        assert (faults, thread.calls, owners[0].heard) == ([], 1, ["left"])

    async def test_threads_that_are_left_behind_are_more_than_there_may_be(self) -> None:
        """Each has its place among them until it returns, so that they do not grow without bound."""
        thread, limiter = Thread(), anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as group:
            group.start_soon(run_in_thread, thread.work, 1, limiter, None)
            await thread.is_inside()
            group.cancel_scope.cancel()
        assert limiter.borrowed_tokens == 1
        with anyio.move_on_after(0) as scope:
            await run_in_thread(thread.work, 2, limiter, None)
        assert (scope.cancelled_caught, thread.calls) == (True, 1)
        thread.go_on.set()
        await thread.is_over()
        with anyio.fail_after(5):
            while limiter.borrowed_tokens:
                await anyio.lowlevel.checkpoint()


class Loom:
    """A host whose only plugin works in threads, which stay inside until they are let go."""

    def __init__(self, kernel: Kernel, clock: FakeClock, thread: Thread) -> None:
        self.kernel, self.clock, self.thread = kernel, clock, thread

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return once it is so; a thread's end comes when it comes."""
        with anyio.fail_after(20):
            while not is_so():
                await anyio.to_thread.run_sync(lambda: None)
                await self.clock.advance(0)


@asynccontextmanager
async def loom() -> AsyncGenerator[Loom]:
    thread, clock = Thread(), FakeClock()

    class Weaver(Plugin):
        name = "weaver"

        @handler
        async def pause(self, _: Pause) -> None:
            await clock.sleep(20.0)

        @handler(blocking=True)
        def weave(self, _: Weave) -> Woven:
            thread.work(1)
            return Woven()

    async with Kernel(clock=clock) as kernel:
        await kernel.add_plugin(Weaver)
        yield Loom(kernel, clock, thread)
        thread.go_on.set()


class TestInTheQueue:
    async def test_an_action_is_not_run_again_before_its_thread_is_back(self) -> None:
        """It waits for that without a worker; then it has its next attempt."""
        async with loom() as it:
            handle = await it.kernel.submit(Weave(), timeout=5.0, retry=RetryPolicy(3, 1.0, 1.0, jitter=False))
            await it.thread.is_inside()
            await it.clock.advance(100.0)
            numbers = it.kernel.statistics().actions
            assert (handle.status, handle.attempts, it.thread.calls) == ("waiting", 1, 1)
            assert (numbers.running, numbers.waiting, numbers.overruns, numbers.overrunning) == (0, 1, 1, 1)
            it.thread.go_on.set()
            await it.until(lambda: it.kernel.statistics().actions.overrunning == 0)
            assert it.thread.calls == 1  # its backoff begins when the thread is back
            await it.clock.advance(1.0)
            await it.until(lambda: handle.status == "done")

            assert (handle.attempts, it.thread.calls, it.thread.most) == (2, 2, 1)

    async def test_a_thread_is_told_of_with_how_long_its_attempt_has_run(self) -> None:
        """Not with how long its action has waited for its turn."""
        async with loom() as it:
            told: list[ActionOverrun] = []

            async def listen() -> None:
                with it.kernel.bus.subscribe(ActionOverrun) as events:
                    told.append(await anext(events))

            it.kernel.set_workers(1)
            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                await it.kernel.submit(Pause())
                await it.kernel.submit(Weave(), timeout=5.0, retry=RetryPolicy(1))
                await it.clock.advance(20.0)
                await it.thread.is_inside()
                await it.clock.advance(5.0)

            assert [event.seconds for event in told] == [5.0]

    async def test_an_action_that_is_cancelled_ends_at_once_and_keeps_its_key_until_its_thread_is_back(self) -> None:
        """The same work is not begun beside itself."""
        async with loom() as it:
            handle = await it.kernel.submit(Weave(), idempotency_key="k")
            await it.thread.is_inside()
            assert handle.cancel()
            await it.clock.advance(0)
            assert handle.status == "dead"
            again = await it.kernel.submit(Weave(), idempotency_key="k")
            assert again is handle
            assert it.thread.calls == 1
            it.thread.go_on.set()
            await it.until(lambda: it.kernel.statistics().actions.overrunning == 0)
            other = await it.kernel.submit(Weave(), idempotency_key="k")
            await it.until(lambda: other.status == "done")

            assert (it.thread.calls, it.thread.most) == (2, 1)

    async def test_an_action_whose_deadline_comes_while_its_thread_is_out_expires(self) -> None:
        """It is not run again, however late the thread is back."""
        async with loom() as it:
            handle = await it.kernel.submit(Weave(), timeout=5.0, deadline=20.0)
            await it.thread.is_inside()
            await it.clock.advance(19.0)
            assert handle.status == "waiting"
            await it.clock.advance(1.0)
            with pytest.raises(ActionExpiredError):
                await handle.wait()
            it.thread.go_on.set()
            await it.until(lambda: it.kernel.statistics().actions.overrunning == 0)
            await it.clock.advance(100.0)

            assert (it.thread.calls, it.kernel.statistics().actions.dead) == (1, {"expired": 1})


class TestShortTurns:
    def test_the_interpreters_own_setting_is_lost(self) -> None:
        """It is set again when the last one is done, in whatever order they end; what others set meanwhile stays."""
        before = sys.getswitchinterval()
        first, second = threads.short_turns(), threads.short_turns()
        first.__enter__()
        second.__enter__()
        assert sys.getswitchinterval() == pytest.approx(threads.SHORT_TURN)
        first.__exit__(None, None, None)
        assert sys.getswitchinterval() == pytest.approx(threads.SHORT_TURN)
        second.__exit__(None, None, None)
        assert sys.getswitchinterval() == pytest.approx(before)

        try:
            with threads.short_turns():
                sys.setswitchinterval(0.002)
            assert sys.getswitchinterval() == pytest.approx(0.002)
        finally:
            sys.setswitchinterval(before)

    def test_turns_that_are_shorter_still_are_made_longer(self) -> None:
        """Who wants them shorter keeps them so."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(0.0001)
        try:
            with threads.short_turns():
                assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.02)
            assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.02)
        finally:
            sys.setswitchinterval(before)
