"""Handlers that do their worst, clocks that jump, and poison: each action still ends as promised, and others go on."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from aetherra.kernel import (
    ActionEnvelope,
    ActionExpiredError,
    ActionHandle,
    ActionPriority,
    Config,
    Kernel,
    Plugin,
    RetryLater,
    RetryPolicy,
    handler,
)
from aetherra.kernel.testing import FakeClock
from aetherra.registry import AetherraError, Message, Request

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project, RunningHost

WORKERS = 3
HOUR = 3600.0
TWICE = RetryPolicy(2, 1.0, 1.0)


class Did(Message, tag="odd.did"):
    number: int


class Other(Message, tag="odd.other"):
    pass


class Misbehave(Request[Did], tag="odd.misbehave"):
    how: str


class Good(Request[Did], tag="odd.good"):
    number: int


class Hold(Request[Did], tag="odd.hold"):
    """Done once the world is let go."""


class Block(Request[Did], tag="odd.block"):
    """Blocks a thread until it is let go."""


class World:
    """What happens in a host with a plugin that is odd."""

    def __init__(self, kernel: Kernel, clock: FakeClock) -> None:
        self.kernel = kernel
        self.clock = clock
        self.begun = Counter[str]()
        self.order: list[int] = []
        self.inside = self.most_inside = 0
        self.let_go = anyio.Event()
        self.let_shield_go = anyio.Event()
        self.let_thread_go = threading.Event()
        self.leaked: list[Any] = []

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Let time go on until a condition holds."""
        for _ in range(200):
            if condition():
                return
            await anyio.to_thread.run_sync(lambda: None)  # the disk is written in threads, which need their turn
            await self.clock.advance(0.5)
        pytest.fail(f"not within 100 s: {what}; {self.kernel.statistics().actions}")

    async def end_of(self, handle: ActionHandle[Any]) -> str:
        """See an action to its end and say what it was: a reply's number, or why it is dead."""
        await self.until(lambda: handle.status in ("done", "dead"), f"the end of {handle!r}")
        try:
            reply = await handle.wait()
        except AetherraError:
            (letter,) = [x for x in await self.kernel.get_dlq_items() if x.trace_id == handle.trace_id]
            return letter.reason
        return f"done {reply.number}"

    async def assert_all_workers_work(self) -> None:
        """As many run side by side as ever, and what waits behind them is done."""
        self.let_go = anyio.Event()
        held = [await self.kernel.submit(Hold()) for _ in range(WORKERS)]
        behind = await self.kernel.submit(Good(99))
        await self.until(lambda: self.most_inside == WORKERS, "all workers at work")
        assert behind.status == "queued"
        self.let_go.set()
        for handle in (*held, behind):
            assert (await self.end_of(handle)).startswith("done")
        self.most_inside = 0


class Odd(Plugin):
    """Misbehaves as it is asked to."""

    name = "odd"
    world: World

    @handler
    async def misbehave(self, request: Misbehave) -> Did:
        self.world.begun[request.how] += 1
        return await MISDEEDS[request.how][0](self)  # type: ignore[no-any-return]

    @handler
    async def good(self, request: Good) -> Did:
        self.world.order.append(request.number)
        return Did(request.number)

    @handler
    async def hold(self, request: Hold) -> Did:
        world = self.world
        world.inside += 1
        world.most_inside = max(world.inside, world.most_inside)
        try:
            await world.let_go.wait()
        finally:
            world.inside -= 1
        return Did(0)

    @handler(blocking=True)
    def block(self, request: Block) -> Did:
        world = self.world
        world.inside += 1
        world.most_inside = max(world.inside, world.most_inside)
        world.begun["block"] += 1
        world.let_thread_go.wait(20)
        world.inside -= 1
        return Did(7)


@asynccontextmanager
async def odd_world(
    folder: Path | None = None, *, clock: FakeClock | None = None, late: bool = False
) -> AsyncGenerator[World]:
    """Host the odd plugin, unless it is to come later."""
    limits: dict[str, Any] = {"discover": False, "control_socket": False, "workers": WORKERS}
    limits |= {"data_dir": ".aetherra"} if folder else {"data_dir": None, "durability": "none"}
    clock = clock or FakeClock()
    async with anyio.create_task_group() as beside:
        async with Kernel(Config.parse({"kernel": limits}, root=folder), clock=clock) as kernel:
            Odd.world = world = World(kernel, clock)
            try:
                if not late:
                    await kernel.add_plugin(Odd)
                yield world
            finally:
                world.let_shield_go.set()
                world.let_thread_go.set()
                for task in world.leaked:
                    task.cancel()
                beside.start_soon(go_on, clock)  # the stop has its time limits by this clock
        beside.cancel_scope.cancel()


async def go_on(clock: FakeClock) -> None:
    while True:
        await clock.advance(1.0)


# Misdeeds: each with how its action ends, and on which event loop it can be done


class OddError(BaseException):
    """Not even an Exception."""


def raising(error: Callable[[], BaseException]) -> Callable[[Odd], Awaitable[Any]]:
    async def misdeed(odd: Odd) -> Any:
        raise error()

    return misdeed


def raising_later(error: Callable[[], BaseException]) -> Callable[[Odd], Awaitable[Any]]:
    async def misdeed(odd: Odd) -> Any:
        await anyio.lowlevel.checkpoint()
        await odd.ctx.clock.sleep(0.1)
        raise error()

    return misdeed


def returning(what: Any) -> Callable[[Odd], Awaitable[Any]]:
    async def misdeed(odd: Odd) -> Any:
        return what

    return misdeed


async def hang(odd: Odd) -> Any:
    await anyio.sleep_forever()


async def cancel_its_task(odd: Odd) -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return Did(1)


async def cancel_its_task_and_swallow(odd: Odd) -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        return Did(1)


async def cancel_its_task_and_return(odd: Odd) -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return Did(1)


async def await_a_cancelled_future(odd: Odd) -> Any:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancel_a_group_of_its_own(odd: Odd) -> Any:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        group.cancel_scope.cancel()
    return Did(1)


async def leave_a_cancelled_scope_open(odd: Odd) -> Any:
    scope = anyio.CancelScope()
    scope.__enter__()
    scope.cancel()
    await anyio.lowlevel.checkpoint()


async def leak_a_task(odd: Odd) -> Any:
    odd.world.leaked.append(asyncio.create_task(asyncio.sleep(HOUR)))
    return Did(1)


async def leak_a_task_with_the_plugin(odd: Odd) -> Any:
    odd.ctx.start_soon(anyio.sleep_forever)
    return Did(1)


async def start_a_task_that_fails(odd: Odd) -> Any:
    async def fail() -> None:
        raise OddError

    odd.ctx.start_soon(fail)
    await anyio.lowlevel.checkpoint()
    return Did(1)


async def swallow_its_cancellation(odd: Odd) -> Any:
    for _ in range(3):
        with suppress(BaseException):
            await anyio.sleep_forever()
    return Did(1)


async def shield(odd: Odd) -> Any:
    with anyio.CancelScope(shield=True):
        await odd.world.let_shield_go.wait()
    return Did(1)


async def ask_for_later(odd: Odd) -> Any:
    raise RetryLater(30.0)


async def fail_when_cancelled(odd: Odd) -> Any:
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError("while it was cancelled")


ANY, ASYNCIO = ("asyncio", "trio"), ("asyncio",)
MISDEEDS: dict[str, tuple[Callable[[Odd], Awaitable[Any]], set[str], tuple[str, ...]]] = {
    "raises": (raising(ValueError), {"failed"}, ANY),
    "raises later": (raising_later(ValueError), {"failed"}, ANY),
    "raises BaseException": (raising(OddError), {"failed"}, ANY),
    "raises BaseException later": (raising_later(OddError), {"failed"}, ANY),
    "exits": (raising(SystemExit), {"failed"}, ANY),
    "exits later": (raising_later(SystemExit), {"failed"}, ANY),
    "has no memory": (raising(MemoryError), {"failed"}, ANY),
    "stops an iteration": (raising(StopAsyncIteration), {"failed"}, ANY),
    "raises a group": (raising(lambda: BaseExceptionGroup("odd", [OddError(), ValueError()])), {"failed"}, ANY),
    "raises a cancellation": (raising(asyncio.CancelledError), {"failed"}, ASYNCIO),
    "raises a cancellation later": (raising_later(asyncio.CancelledError), {"failed"}, ASYNCIO),
    "raises a group with a cancellation": (
        raising(lambda: BaseExceptionGroup("odd", [asyncio.CancelledError(), ValueError()])),
        {"failed"},
        ASYNCIO,
    ),
    "closes a generator": (raising(GeneratorExit), {"failed"}, ANY),
    "hangs": (hang, {"timeout"}, ANY),
    "cancels its task": (cancel_its_task, {"failed"}, ASYNCIO),
    "cancels its task and swallows that": (cancel_its_task_and_swallow, {"failed", "done 1"}, ASYNCIO),
    "cancels its task and returns": (cancel_its_task_and_return, {"failed", "done 1"}, ASYNCIO),
    "awaits a cancelled future": (await_a_cancelled_future, {"failed"}, ASYNCIO),
    "cancels a group of its own": (cancel_a_group_of_its_own, {"done 1"}, ANY),
    "returns another message": (returning(Other()), {"invalid"}, ANY),
    "returns nothing": (returning(None), {"invalid"}, ANY),
    "returns no message": (returning(object()), {"invalid"}, ANY),
    "leaks a task": (leak_a_task, {"done 1"}, ASYNCIO),
    "leaks a task with the plugin": (leak_a_task_with_the_plugin, {"done 1"}, ANY),
    "starts a task that fails": (start_a_task_that_fails, {"done 1"}, ANY),
    "swallows its cancellation": (swallow_its_cancellation, {"timeout", "done 1"}, ANY),
    "shields": (shield, set(), ANY),
    "asks for later": (ask_for_later, {"failed"}, ANY),
    "fails when cancelled": (fail_when_cancelled, {"timeout", "failed"}, ANY),
}


class TestAHandlerThatDoesItsWorst:
    @pytest.mark.parametrize(
        ("how", "anyio_backend"),
        [(how, backend) for how, (_, ends, backends) in MISDEEDS.items() if ends for backend in backends],
    )
    @pytest.mark.parametrize("durable", [False, True])
    async def test_has_its_action_end_and_no_other(self, how: str, durable: bool, tmp_path: Path) -> None:
        """The action ends as its misdeed asks for, after all its attempts; others are done; no worker is lost."""
        ends = MISDEEDS[how][1]
        async with odd_world(tmp_path if durable else None) as world:
            before = await world.kernel.submit(Good(1))
            bad = [await world.kernel.submit(Misbehave(how), timeout=5.0, retry=TWICE) for _ in range(2 * WORKERS)]
            after = await world.kernel.submit(Good(2))
            for handle in bad:
                assert await world.end_of(handle) in ends
            assert await world.end_of(before) == "done 1"
            assert await world.end_of(after) == "done 2"
            tries = 1 if ends <= {"invalid", "done 1"} else 2
            assert world.begun[how] in (tries * len(bad), *([len(bad)] if "done 1" in ends else []))
            await world.assert_all_workers_work()

            actions = world.kernel.statistics().actions
            assert (actions.running, actions.oldest_age) == (0, None)
            assert actions.accepted == actions.done + sum(actions.dead.values())
            assert await world.kernel.call(Good(3)) == Did(3)

    async def test_that_shields_itself_is_not_run_twice_at_a_time(self) -> None:
        """One that does not end when told to is said and counted; its place is given to others, its turn comes once."""
        async with odd_world() as world:
            stubborn = await world.kernel.submit(Misbehave("shields"), timeout=5.0, retry=RetryPolicy(3, 0.0, 0.0))
            await world.until(lambda: world.kernel.statistics().actions.overruns, "it is counted")
            good = [await world.kernel.submit(Good(number)) for number in range(10)]
            for number, handle in enumerate(good):
                assert await world.end_of(handle) == f"done {number}"
            await world.clock.advance(100.0)
            assert world.begun["shields"] == 1, "another attempt runs beside it"
            await world.assert_all_workers_work()
            world.let_shield_go.set()
            await world.until(lambda: stubborn.status in ("done", "dead"), "the end of it")
            assert await world.end_of(stubborn) in ("done 1", "timeout")

    async def test_that_blocks_a_thread_is_not_run_twice_at_a_time(self) -> None:
        """A thread cannot be cancelled: the worker is free, and the next attempt waits for the thread."""
        async with odd_world() as world:
            blocked = [
                await world.kernel.submit(Block(), timeout=5.0, retry=RetryPolicy(2, 0.0, 0.0)) for _ in range(WORKERS)
            ]
            with anyio.fail_after(60):  # the clock stands still meanwhile: a thread that begins late must not be late
                while world.begun["block"] < WORKERS:
                    await anyio.to_thread.run_sync(lambda: None)
            await world.clock.advance(60.0)
            assert world.begun["block"] == WORKERS, "another attempt runs beside one that is not done"
            good = await world.kernel.submit(Good(1))
            assert await world.end_of(good) == "done 1"
            world.inside = world.most_inside = 0
            await world.assert_all_workers_work()

            world.let_thread_go.set()
            for handle in blocked:
                while handle.status not in ("done", "dead"):
                    await anyio.to_thread.run_sync(lambda: None)  # a thread's end comes when it comes
                    await world.clock.advance(1.0)
            assert world.begun["block"] <= 2 * WORKERS
            assert {await world.end_of(handle) for handle in blocked} <= {"done 7", "timeout"}


class TestAClockThatJumps:
    """The wall clock is put right by an hour while actions wait; what is measured in seconds stays so."""

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    async def test_moves_no_deadline(self, jump: float, tmp_path: Path) -> None:
        """A deadline is so many seconds from the submission, whatever the wall clock says later."""
        async with odd_world(tmp_path) as world:
            busy = [await world.kernel.submit(Hold(), timeout=1000.0) for _ in range(WORKERS)]
            due = await world.kernel.submit(Good(1), deadline=60.0)
            later = await world.kernel.submit(Good(2), deadline=600.0)
            await world.clock.advance(1.0)
            world.clock.set_time(world.clock.time() + jump)
            await world.clock.advance(58.0)
            assert due.status == "queued"
            await world.clock.advance(2.0)
            assert due.status == "dead"
            with pytest.raises(ActionExpiredError):
                await due.wait()
            world.let_go.set()
            for handle in (*busy, later):
                assert (await world.end_of(handle)).startswith("done")

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    async def test_moves_no_retry(self, jump: float) -> None:
        """The next attempt comes after so many seconds, neither an hour late nor at once."""
        async with odd_world() as world:
            handle = await world.kernel.submit(Misbehave("asks for later"), retry=RetryPolicy(3))
            await world.clock.advance(1.0)
            world.clock.set_time(world.clock.time() + jump)
            await world.clock.advance(28.0)
            assert (world.begun["asks for later"], handle.status) == (1, "waiting")
            await world.clock.advance(2.0)
            assert world.begun["asks for later"] == 2

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    async def test_moves_no_attempts_time(self, jump: float) -> None:
        """The time of an attempt that runs is neither cut short nor made longer."""
        async with odd_world() as world:
            handle = await world.kernel.submit(Misbehave("hangs"), timeout=10.0, retry=RetryPolicy(1))
            await world.clock.advance(1.0)
            world.clock.set_time(world.clock.time() + jump)
            await world.clock.advance(8.0)
            assert handle.status == "running"
            await world.clock.advance(2.0)
            assert await world.end_of(handle) == "timeout"

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    async def test_moves_no_window_of_a_key(self, jump: float, tmp_path: Path) -> None:
        """A key counts for as many seconds as it was said to, and not for one more or less."""
        async with odd_world(tmp_path) as world:

            async def submit(number: int) -> ActionHandle[Any]:
                envelope = ActionEnvelope(Good(number), idempotency_key="once", idempotency_window=100.0)
                return await world.kernel.submit_action(envelope)

            first = await submit(1)
            assert await world.end_of(first) == "done 1"
            world.clock.set_time(world.clock.time() + jump)
            await world.clock.advance(90.0)
            again = await submit(2)
            assert await world.end_of(again) == "done 1"
            await world.clock.advance(20.0)
            anew = await submit(3)
            assert await world.end_of(anew) == "done 3"
            assert world.order == [1, 3]

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    async def test_changes_no_order_and_no_number(self, jump: float, tmp_path: Path) -> None:
        """Equals go in the order they came; ages and times are seconds that really went by."""
        async with odd_world(tmp_path) as world:
            busy = [await world.kernel.submit(Hold(), timeout=1000.0) for _ in range(WORKERS)]
            await world.clock.advance(0.0)
            handles = []
            for number in range(10):
                handles.append(await world.kernel.submit(Good(number)))
                await world.clock.advance(1.0)
                world.clock.set_time(world.clock.time() + jump * (-1) ** number)
            actions = world.kernel.statistics().actions
            assert actions.oldest_age is not None
            assert 9.0 <= actions.oldest_age <= 11.0
            assert 9.0 <= actions.lanes["normal"].oldest_age <= 11.0
            world.let_go.set()
            for handle in (*busy, *handles):
                assert (await world.end_of(handle)).startswith("done")
            assert world.order == list(range(10))
            good = world.kernel.statistics().actions.types["odd.good"]
            assert 0.0 <= good.wait.p50 <= good.wait.p99 <= 15.0
            assert 0.0 <= good.run.p99 <= 15.0

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    async def test_loses_nothing_from_one_run_to_the_next(self, jump: float, tmp_path: Path) -> None:
        """What a host took in an hour that is to come yet, or long gone, is done by the next, keys and all."""
        async with odd_world(tmp_path) as world:
            for _ in range(WORKERS):
                await world.kernel.submit(Hold(), timeout=1000.0)
            await world.until(lambda: world.inside == WORKERS, "all workers are busy")
            waits = await world.kernel.submit(Good(1))
            envelope = ActionEnvelope(Good(2), idempotency_key="once")
            keyed = await world.kernel.submit_action(envelope)
            urgent = await world.kernel.submit(Good(3), priority=ActionPriority.HIGH)
            assert {handle.status for handle in (waits, keyed, urgent)} == {"queued"}
        clock = FakeClock(start=1_700_000_000.0 + jump)
        async with odd_world(tmp_path, clock=clock) as world:
            world.let_go.set()
            await world.until(lambda: world.kernel.statistics().actions.done == WORKERS + 3, "all are done")
            again = await world.kernel.submit_action(ActionEnvelope(Good(4), idempotency_key="once"))
            assert again.trace_id == keyed.trace_id
            assert await again.wait() == Did(2)
            assert sorted(world.order) == [1, 2, 3]
            assert world.kernel.statistics().actions.oldest_age is None


class TestAnActionOfAnEarlierRun:
    async def test_keeps_its_key_while_its_plugin_is_not_there_yet(self, tmp_path: Path) -> None:
        """Work that is submitted again before its plugin has come is the same work."""
        async with odd_world(tmp_path) as world:
            for _ in range(WORKERS):
                await world.kernel.submit(Hold(), timeout=1000.0)
            await world.until(lambda: world.inside == WORKERS, "all workers are busy")
            first = await world.kernel.submit_action(ActionEnvelope(Good(1), idempotency_key="once"))
        async with odd_world(tmp_path, late=True) as world:
            again = await world.kernel.submit_action(ActionEnvelope(Good(2), idempotency_key="once"))
            assert again.trace_id == first.trace_id
            world.let_go.set()
            await world.kernel.add_plugin(Odd)
            assert await world.end_of(again) == "done 1"
            await world.until(lambda: world.kernel.statistics().actions.done == WORKERS + 1, "all are done")
            assert world.order == [1]


POISON = """
from aetherra.kernel import RetryPolicy
from pathlib import Path

class Did(Message, tag="poison.did"):
    pass

class Do(Request[Did], tag="poison.do"):
    number: int

class Poison(Request[Did], tag="poison.poison"):
    how: str

class Accepted(Message, tag="poison.accepted"):
    pass

class Accept(Request[Accepted], tag="poison.accept"):
    how: str = ""
    numbers: tuple[int, ...] = ()

def note(what):
    with Path("seen").open("a") as seen:
        seen.write(what + "\\n")

class Poisoned(Plugin):
    name = "poison"

    @handler
    async def accept(self, request: Accept) -> Accepted:
        for number in request.numbers:
            await self.ctx.submit(Do(number=number))
        if request.how:
            await self.ctx.submit(Poison(how=request.how), retry=RetryPolicy(max_attempts=3, backoff_sec=0.01))
        for number in request.numbers:
            await self.ctx.submit(Do(number=100 + number))
        return Accepted()

    @handler
    async def do(self, request: Do) -> Did:
        note(f"did {request.number}")
        return Did()

    @handler
    async def poison(self, request: Poison) -> Did:
        note(f"poison {request.how}")
        if request.how == "dies":
            os._exit(9)
        if request.how == "is killed":
            os.kill(os.getpid(), 9)
        if request.how == "interrupts":
            raise KeyboardInterrupt
        raise ValueError(request.how)
"""


class TestPoison:
    async def test_that_always_fails_blocks_no_lane(self) -> None:
        """While one action is tried over and over, those behind it in its lane are done."""
        async with odd_world() as world:
            poison = [
                await world.kernel.submit(Misbehave("raises"), retry=RetryPolicy(1000, 0.1, 0.1, jitter=False))
                for _ in range(2 * WORKERS)
            ]
            good = [await world.kernel.submit(Good(number)) for number in range(50)]
            for number, handle in enumerate(good):
                assert await world.end_of(handle) == f"done {number}"
            assert {handle.status for handle in poison} <= {"waiting", "queued", "running"}

    @pytest.mark.parametrize("how", ["dies", "is killed", "interrupts"])
    def test_that_ends_the_host_is_dead_after_its_attempts(self, project: Project, how: str) -> None:
        """It takes the host down as often as it has attempts; then it is a dead letter, and all others are done."""
        project.plugin("poison", POISON)
        project.configure(workers=1)
        numbers = list(range(5))
        with project.host() as host:
            with suppress(AetherraError, OSError, EOFError):  # it may die while it answers
                host.call("poison.accept", {"how": how, "numbers": numbers})
            project.until(lambda: has_ended(host), "it dies")
        for _ in range(6):
            with project.host(serving=False) as host:
                project.until(lambda: has_ended(host) or has_nothing_to_do(host), "it dies, or has nothing to do")
                if not has_ended(host):
                    assert host.stop() == 0, host.log
                    break
        with project.host() as host:
            dead = project.aetherra("dlq", "list", "--json").json
            assert host.stop() == 0
        assert [letter["action_type"] for letter in dead] == ["poison.poison"]
        assert seen(project).count(f"poison {how}") == 3
        did = {line for line in seen(project) if line.startswith("did")}
        assert did >= {f"did {number}" for number in numbers}


def has_ended(host: RunningHost) -> bool:
    return host.process.poll() is not None


def has_nothing_to_do(host: RunningHost) -> bool:
    try:
        return "hosting" in host.log and host.call("kernel.actions")["oldest_age"] is None
    except (AetherraError, OSError, EOFError):  # it dies
        return False


def seen(project: Project) -> list[str]:
    file = project.path / "seen"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
