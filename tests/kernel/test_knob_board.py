"""The board on a real host: knobs of plugins that behave, fail, hang, lie, are swapped, and go."""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import (
    Config,
    Kernel,
    Knob,
    KnobChangedError,
    KnobError,
    KnobInfo,
    KnobRangeError,
    KnobSet,
    KnobTurned,
    ListKnobs,
    Plugin,
    PluginContext,
    SetKnob,
    StepTimeoutError,
    Swapper,
    UnknownKnobError,
    handler,
    hookimpl,
)
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.kernel.sources import Loaded
from aetherra.kernel.testing import FakeClock
from aetherra.registry import CallTimeoutError, HandlerError, Message, Request, Subscription


class Room(Plugin):
    """Has a knob whose writing a test may replace."""

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.batch: Any = 8
        self.written: list[object] = []

    @hookimpl
    def knobs(self) -> Iterable[Knob]:
        yield Knob(
            name="room.batch", read=self.read, write=self.write, low=1, high=64, step=8, unit="items",
            moves={"room.wait_*": "down"}, role="capacity", impact="low", cost="memory",
        )  # fmt: skip

    def read(self) -> object:
        return self.batch

    async def write(self, value: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.batch = value
        self.written.append((value, type(value)))


class Inner(Request["Done"], tag="knob_test.inner"):
    value: int


class Done(Message, tag="knob_test.done"):
    text: str


class Setter(Plugin):
    """Sets the room's knob from inside a handler, in its own name."""

    capabilities = ("call:kernel.set_knob",)

    @handler
    async def set(self, request: Inner) -> Done:
        done = await self.ctx.call(SetKnob("room.batch", request.value, reason="busy"))
        return Done(f"{done.before} -> {done.after}")


def made(plugin_type: type[Plugin[Any]], kernel: Kernel) -> Any:
    """Return the object of a plugin class that serves."""
    (generation,) = (
        entry.generation
        for entry in kernel._running().plugins.entries()
        if entry.generation is not None and isinstance(entry.generation.plugin, plugin_type)
    )
    return generation.plugin


async def listed(kernel: Kernel, plugin: str = "room") -> dict[str, KnobInfo]:
    """What is listed of one plugin."""
    return {knob.name: knob for knob in (await kernel.call(ListKnobs())).knobs if knob.plugin == plugin}


async def turn(kernel: Kernel, value: Any, name: str = "room.batch", **more: Any) -> KnobSet:
    """Set a knob, and raise what the kernel raised."""
    try:
        return await kernel.call(SetKnob(name, value, **more), timeout=30.0)
    except HandlerError as exc:
        fault = exc.__cause__
    assert fault is not None
    raise fault


def told(events: Subscription[KnobTurned]) -> list[tuple[object, object]]:
    """What was told of changes so far, as before and after."""
    return [(event.before, event.after) for event in drained(events)]


def drained(events: Subscription[KnobTurned]) -> list[KnobTurned]:
    """The events that wait."""
    found: list[KnobTurned] = []
    while len(events.mailbox):
        found.append(events.mailbox.get_nowait().event)
    return found


@asynccontextmanager
async def hosted(*plugins: type[Plugin[Any]]) -> AsyncGenerator[tuple[Kernel, FakeClock]]:
    """A host of plugin classes."""
    clock = FakeClock()
    async with Kernel(clock=clock) as kernel:
        for plugin in plugins:
            await kernel.add_plugin(plugin)
        yield kernel, clock


class TestSet:
    async def test_a_set_value_does_not_hold(self) -> None:
        """It is written as declared, read back, and told to whoever listens, with who did it and why."""
        async with hosted(Room, Setter) as (kernel, _):
            with kernel.subscribe(KnobTurned) as events:
                assert (await kernel.call(Inner(16))).text == "8 -> 16"
                assert made(Room, kernel).written == [(16, int)]
                knob = (await listed(kernel))["room.batch"]
                assert (knob.value, knob.generation, knob.problem) == (16, 1, "")
                assert (knob.role, knob.moves, knob.impact, knob.cost) == (
                    "capacity", {"room.wait_*": "down"}, "low", "memory",
                )  # fmt: skip
                who = "plugin 'setter' (generation 1)"
                assert drained(events) == [KnobTurned("room.batch", 8, 16, who, "busy", 1)]

    async def test_a_document_turns_a_whole_number_into_a_float(self) -> None:
        """By name, from another process or the command line, numbers and texts arrive as what the knob takes."""
        async with hosted(Room) as (kernel, _):
            body = {"name": "room.batch", "value": 16.0, "expected": 8}
            reply = await kernel.call_tag("kernel.set_knob", body)
            assert (reply, type(reply["after"])) == ({"name": "room.batch", "before": 8, "after": 16}, int)

    async def test_the_same_value_is_written_again(self) -> None:
        """What holds already is left alone, and nobody is told."""
        async with hosted(Room) as (kernel, _):
            with kernel.subscribe(KnobTurned) as events:
                assert await turn(kernel, 8) == KnobSet("room.batch", 8, 8)
                assert (made(Room, kernel).written, drained(events)) == ([], [])

    async def test_a_value_beyond_the_range_reaches_the_plugin(self) -> None:
        """It is refused with what would do, and the plugin never sees it."""
        async with hosted(Room) as (kernel, _):
            for value in (0, 65, 8.5, "8", True, float("nan")):
                with pytest.raises(KnobRangeError, match=r"expected a whole number from 1 to 64 \(items\), got"):
                    await turn(kernel, value)
            assert made(Room, kernel).written == []

    async def test_a_knob_that_is_not_there_is_not_said_so(self) -> None:
        """The error names those that are like it, and why a plugin's are not there."""
        async with hosted(Room) as (kernel, _):
            with pytest.raises(UnknownKnobError, match=r"there is no knob 'room.bach'; nearest: 'room.batch'"):
                await turn(kernel, 8, "room.bach")
            with pytest.raises(UnknownKnobError, match=r"'kernel.worker'; nearest: 'kernel.workers'"):
                await turn(kernel, 8, "kernel.worker")
            with pytest.raises(UnknownKnobError, match="there is no knob ''; 'aetherra knobs' lists them"):
                await turn(kernel, 8, "")
            await kernel.disable_plugin("room", reason="it leaks")
            assert await listed(kernel) == {}
            with pytest.raises(UnknownKnobError, match=r"as plugin 'room' is quarantined \(it leaks\)"):
                await turn(kernel, 8)

    async def test_a_plugin_that_was_removed_meanwhile_is_written_to(self) -> None:
        """Between a list and a set a plugin may go."""
        async with hosted(Room) as (kernel, _):
            room = made(Room, kernel)
            assert "room.batch" in await listed(kernel)
            await kernel.remove_plugin("room")
            with pytest.raises(UnknownKnobError, match=r"there is no knob 'room.batch'"):
                await turn(kernel, 16)
            assert room.written == []

    async def test_a_change_of_somebody_else_is_overwritten(self) -> None:
        """With ``expected``, what is something else by now stays, and the error says what it is."""
        async with hosted(Room) as (kernel, _):
            made(Room, kernel).batch = 12
            with pytest.raises(KnobChangedError, match=r"knob 'room.batch' is 12, not 8") as caught:
                await turn(kernel, 16, expected=8)
            assert (caught.value.expected, caught.value.actual) == (8, 12)
            assert (await turn(kernel, 16, expected=12)).after == 16

    async def test_a_last_digit_is_a_change_of_somebody_else(self) -> None:
        """What a plugin keeps in another unit is still expected where it reads back a digit off what was set."""

        class Slow(Plugin):
            seconds = 60.0

            @hookimpl
            def knobs(self) -> Iterable[Knob]:
                yield Knob(
                    name="slow.pause", read=lambda: self.seconds / 60, write=self.write, low=0.0, high=15.0, step=0.1,
                    unit="minutes",
                )  # fmt: skip

            def write(self, value: float) -> None:
                self.seconds = value * 60

        async with hosted(Slow) as (kernel, _):
            expected = 1.0
            odd = [value for value in (hundredths / 100 for hundredths in range(1, 200)) if value * 60 / 60 != value]
            assert odd
            for value in odd:
                assert (await turn(kernel, value, "slow.pause", expected=expected)).after != value
                expected = value
            with pytest.raises(KnobChangedError, match=r"knob 'slow\.pause' is "):
                await turn(kernel, 1.0, "slow.pause", expected=expected + 1e-6)
            assert (await turn(kernel, 1.0, "slow.pause", expected=expected)).after == 1.0

    async def test_large_whole_numbers_are_the_same(self) -> None:
        """A whole number that somebody turned by one is changed, however large it is."""

        class Vast(Plugin):
            size = 10**12

            @hookimpl
            def knobs(self) -> Iterable[Knob]:
                yield Knob(name="vast.size", read=lambda: self.size, write=self.write, low=1, high=10**13, step=1)

            def write(self, value: int) -> None:
                self.size = value

        async with hosted(Vast) as (kernel, _):
            with pytest.raises(KnobChangedError, match="is 1000000000000, not 1000000000001"):
                await turn(kernel, 5, "vast.size", expected=10**12 + 1)
            assert (await turn(kernel, 5, "vast.size", expected=10**12)).after == 5

    async def test_two_setters_both_see_the_old_value(self) -> None:
        """Of many that expect the same, one wins: look, write and look again are one step."""
        async with hosted(Room) as (kernel, _):
            outcomes: list[str] = []

            async def compete(value: int) -> None:
                try:
                    await turn(kernel, value, expected=8)
                except KnobChangedError:
                    outcomes.append("lost")
                else:
                    outcomes.append("won")

            async with anyio.create_task_group() as group:
                for value in range(20, 30):
                    group.start_soon(compete, value)
            assert sorted(outcomes) == ["lost"] * 9 + ["won"]
            assert len(made(Room, kernel).written) == 1

    async def test_a_plain_function_cannot_write(self) -> None:
        """``write`` may be async or not."""
        async with hosted(Room) as (kernel, _):
            room = made(Room, kernel)
            room.write = lambda value: setattr(room, "batch", value)
            assert (await turn(kernel, 16)).after == 16


class TestFailure:
    @pytest.mark.parametrize("fault", [OSError("no disk"), SystemExit(3), KnobRangeError("x", "y", "z")])
    async def test_a_write_that_raises_is_a_success(self, fault: BaseException) -> None:
        """The error has the plugin's own as its cause, says what holds now, and the host goes on."""
        async with hosted(Room) as (kernel, _):

            async def write(value: object) -> None:
                raise fault

            made(Room, kernel).write = write
            with kernel.subscribe(KnobTurned) as events:
                with pytest.raises(KnobError, match=f"its write failed: {type(fault).__name__}: ") as caught:
                    await turn(kernel, 16)
                assert (caught.value.before, caught.value.after) == (8, 8)
                assert caught.value.__cause__ is fault
                assert drained(events) == []
            assert [info.state for info in kernel.plugins()] == ["serving"]

    async def test_a_write_that_fails_half_way_is_not_told(self) -> None:
        """What a failed write has changed is told as a change, as it is one."""
        async with hosted(Room) as (kernel, _):
            room = made(Room, kernel)

            async def write(value: object) -> None:
                room.batch = 3
                raise ValueError("half way")

            room.write = write
            with kernel.subscribe(KnobTurned) as events:
                with pytest.raises(
                    KnobError, match=r"knob 'room.batch' \(was 8, is 3\): its write failed: ValueError: half way"
                ):
                    await turn(kernel, 16)
                assert told(events) == [(8, 3)]

    async def test_a_write_that_lies_is_believed(self) -> None:
        """A write that returns and made something else of it, or nothing, is an error with what it really is."""
        async with hosted(Room) as (kernel, _):
            room = made(Room, kernel)
            room.write = lambda value: setattr(room, "batch", min(value, 10))
            with kernel.subscribe(KnobTurned) as events:
                with pytest.raises(KnobError, match=r"\(was 8, is 10\): .* did not make it so"):
                    await turn(kernel, 16)
                with pytest.raises(KnobError, match=r"\(was 10, is 10\): .* did not make it so"):
                    await turn(kernel, 16)
                assert told(events) == [(8, 10)]

    async def test_a_value_that_was_rounded_is_a_lie(self) -> None:
        """What a plugin keeps in another unit may come back with the last digit changed."""

        class Slow(Plugin):
            minutes = 1.0

            @hookimpl
            def knobs(self) -> Iterable[Knob]:
                yield Knob(
                    name="slow.pause", read=lambda: self.minutes * 60, write=self.write, low=0.0, high=900.0, step=9.0
                )

            def write(self, value: float) -> None:
                self.minutes = value / 60

        async with hosted(Slow) as (kernel, _):
            turned = await turn(kernel, 15.2, "slow.pause")
            assert turned.after != 15.2
            assert turned.after == pytest.approx(15.2)

    @pytest.mark.parametrize("stubborn", [False, True])
    async def test_a_write_that_hangs_holds_the_host_up(self, stubborn: bool) -> None:
        """After its time it is cancelled, or left behind, and named with where it waits; others are set meanwhile."""
        async with hosted(Room) as (kernel, clock):
            room, let_go = made(Room, kernel), anyio.Event()
            errors: list[BaseException] = []

            async def write(value: object) -> None:
                with anyio.CancelScope(shield=stubborn):
                    await let_go.wait()

            async def hang() -> None:
                with pytest.raises(
                    KnobError, match=r"(?s)its write failed: StepTimeoutError: .*test_knob_board.py"
                ) as caught:
                    await turn(kernel, 16)
                errors.append(caught.value)

            room.write = write
            async with anyio.create_task_group() as group:
                group.start_soon(hang)
                await anyio.wait_all_tasks_blocked()
                assert (await turn(kernel, 4, "kernel.workers")).after == 4
                await clock.advance(11.0)
            (error,) = errors
            assert isinstance(error.__cause__, StepTimeoutError)
            let_go.set()
            room.write = lambda value: setattr(room, "batch", value)
            assert (await turn(kernel, 16)).after == 16

    async def test_a_caller_that_goes_leaves_a_knob_half_set(self) -> None:
        """A write that has begun is finished, and told, when its caller is cancelled."""
        async with hosted(Room) as (kernel, _):
            room, let_go = made(Room, kernel), anyio.Event()

            async def write(value: object) -> None:
                await let_go.wait()
                room.batch = value

            room.write = write
            with kernel.subscribe(KnobTurned) as events:
                async with anyio.create_task_group() as group:
                    group.start_soon(turn, kernel, 16)
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()
                    let_go.set()
                assert room.batch == 16
                assert told(events) == [(8, 16)]

    async def test_a_short_call_waits_for_a_long_write(self) -> None:
        """A write has no more time than its call."""
        async with hosted(Room) as (kernel, clock):
            made(Room, kernel).write = lambda value: anyio.sleep_forever()
            failures: list[BaseException] = []

            async def short() -> None:
                with pytest.raises((CallTimeoutError, HandlerError)) as caught:
                    await kernel.call(SetKnob("room.batch", 16), timeout=2.0)
                failures.append(caught.value)

            async with anyio.create_task_group() as group:
                group.start_soon(short)
                await anyio.wait_all_tasks_blocked()
                await clock.advance(2.0)
                await anyio.wait_all_tasks_blocked()
                assert len(failures) == 1

    @pytest.mark.parametrize("stop", ["remove", "restart"])
    async def test_a_plugin_that_stops_during_a_write_is_waited_for(self, stop: str) -> None:
        """A removal ends the write, and the setter is told; a restart waits until it is over, and keeps no value."""
        async with hosted(Room) as (kernel, _):
            room, let_go = made(Room, kernel), anyio.Event()
            outcomes: list[object] = []

            async def write(value: object) -> None:
                await let_go.wait()
                room.batch = value

            async def begin() -> None:
                try:
                    outcomes.append((await turn(kernel, 16)).after)
                except KnobError as exc:
                    outcomes.append(exc.problem)

            room.write = write
            async with anyio.create_task_group() as group:
                group.start_soon(begin)
                await anyio.wait_all_tasks_blocked()
                if stop == "remove":
                    await kernel.remove_plugin("room")
                else:
                    group.start_soon(kernel.restart_plugin, "room")
                    await anyio.wait_all_tasks_blocked()
                    assert made(Room, kernel) is room
                    let_go.set()
            if stop == "remove":
                assert outcomes == ["its plugin was stopped while it was set"]
            else:
                assert outcomes == [16]
                knob = (await listed(kernel))["room.batch"]
                assert (knob.generation, knob.value) == (2, 8)

    @pytest.mark.parametrize("reading", ["eight", None, 8.5])
    async def test_a_knob_that_cannot_be_read_is_set(self, reading: object) -> None:
        """It is listed without a value and with the reason, and not written, as nobody could take that back."""
        async with hosted(Room) as (kernel, _):
            room = made(Room, kernel)
            room.batch = reading
            knob = (await listed(kernel))["room.batch"]
            assert knob.value is None
            assert knob.problem.startswith("TypeError: read() returned")
            with pytest.raises(KnobError, match="it cannot be read, so it was not set: TypeError"):
                await turn(kernel, 16)
            assert room.written == []

    async def test_a_write_after_which_nobody_can_read_is_a_success(self) -> None:
        """It says so, and tells that the value is not known any more."""
        async with hosted(Room) as (kernel, _):
            room = made(Room, kernel)
            room.write = lambda value: setattr(room, "batch", "gone")
            with kernel.subscribe(KnobTurned) as events:
                with pytest.raises(KnobError, match="it cannot be read after its write: TypeError"):
                    await turn(kernel, 16)
                assert told(events) == [(8, None)]

    async def test_a_write_that_turns_its_plugins_other_knob_waits_for_ever(self) -> None:
        """What waits for itself is told so in time."""
        async with hosted(Room) as (kernel, clock):
            room = made(Room, kernel)
            errors: list[str] = []

            async def write(value: object) -> None:
                await room.ctx.call(SetKnob("room.batch", 3), timeout=8.0)

            async def begin() -> None:
                with pytest.raises(KnobError) as caught:
                    await turn(kernel, 16)
                errors.append(str(caught.value))

            room.write = write
            async with anyio.create_task_group() as group:
                group.start_soon(begin)
                await anyio.wait_all_tasks_blocked()
                await clock.advance(6.0)
            assert "another change of plugin 'room'" in errors[0]


class TestDeclarations:
    async def test_a_plugin_declares_the_knob_of_another(self, caplog: pytest.LogCaptureFixture) -> None:
        """That, a second one of a name, and one of the host's are refused and logged once; its others are there."""

        class Thief(Plugin):
            @hookimpl
            def knobs(self) -> Iterable[Knob]:
                for name in ("room.batch", "kernel.workers", "thief.mask", "thief.mask", "thie.x"):
                    yield Knob(name=name, read=lambda: "a", write=str, choices=("a", "b"))

        async with hosted(Thief, Room) as (kernel, _):
            for _ in range(3):
                assert set(await listed(kernel, "thief")) == {"thief.mask"}
            assert (await listed(kernel))["room.batch"].value == 8
            assert (await turn(kernel, 4, "kernel.workers")).after == 4
        (line,) = (record.getMessage() for record in caplog.records if record.name == "aetherra.kernel.knobs")
        assert line.startswith("plugin 'thief' (generation 1): it declares knob 'room.batch', which is not its own")
        for problem in ("knob 'kernel.workers', which is not", "knob 'thie.x', which", "knob 'thief.mask' twice"):
            assert problem in line

    async def test_a_plugin_of_the_hosts_name_declares_the_hosts_knobs(self, caplog: pytest.LogCaptureFixture) -> None:
        """What begins with ``kernel.`` is the host's alone."""

        class Impostor(Plugin):
            name = "kernel"
            service = "impostor"

            @hookimpl
            def knobs(self) -> Iterable[Knob]:
                yield Knob(name="kernel.mine", read=lambda: "a", write=str, choices=("a", "b"))

        async with hosted(Impostor) as (kernel, _):
            assert "kernel.mine" not in await listed(kernel, "kernel")
        assert "it declares knob 'kernel.mine', which is not its own" in caplog.text

    @pytest.mark.parametrize("how", ["raises", "declares badly", "returns what is none", "never ends"])
    async def test_a_broken_hook_takes_the_others_knobs_along(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged once with its plugin, and its knob where it is one's fault; the others' knobs are there."""

        class Broken(Plugin):
            @hookimpl
            def knobs(self) -> Any:
                if how == "raises":
                    raise ValueError("no knobs today")
                if how == "declares badly":
                    return [Knob(name="broken.x", read=int, write=str, low=3, high=1, step=1)]
                if how == "returns what is none":
                    return ["broken.x"]
                return iter(lambda: Knob(name="broken.x", read=int, write=str, low=0, high=1, step=1), None)

        async with hosted(Room, Broken) as (kernel, _):
            for _ in range(3):
                assert set(await listed(kernel)) == {"room.batch"}
            assert (await turn(kernel, 16)).after == 16
        (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
        said = {
            "raises": "ValueError: no knobs today",
            "declares badly": "knob 'broken.x': expected low < high, got 3 and 1",
            "returns what is none": "TypeError: expected Knob, got str",
            "never ends": "TypeError: expected 1000 results at most, got more",
        }
        assert record.getMessage().startswith("plugin 'broken' (generation 1): its hook 'knobs' failed: ")
        assert said[how] in record.getMessage()

    async def test_all_knobs_are_out_of_order(self) -> None:
        """They are listed by name, the host's among them."""
        async with hosted(Room) as (kernel, _):
            names = [knob.name for knob in (await kernel.call(ListKnobs())).knobs]
            assert names == sorted(names)
            assert {"kernel.workers", "room.batch"} < set(names)


FILE = """
import sys
import msgspec
from aetherra.plugins import Knob, Plugin, hookimpl

class Kept(msgspec.Struct):
    batch: int

class Room(Plugin):
    name = "room"
    def __init__(self, settings=None):
        super().__init__(settings)
        self.batch = 8

    async def start(self, ctx):
        await sys.room_gate("start", ctx.identity.generation)

    async def hand_over(self) -> Kept:
        kept = Kept(self.batch)
        await sys.room_gate("hand_over", self.ctx.identity.generation)
        return kept

    async def take_over(self, state: Kept) -> None:
        self.batch = state.batch

    @hookimpl
    def knobs(self):
        return [Knob(name="room.batch", read=lambda: self.batch, write=self.write, low=1, high=HIGH, step=8)]

    async def write(self, value):
        await sys.room_gate("write", self.ctx.identity.generation)
        self.batch = value
"""


class Taker(Plugin):
    """Asks for the privilege to swap."""

    privileges = ("kernel:swap",)
    swapper: Swapper

    async def start(self, ctx: PluginContext) -> None:
        Taker.swapper = ctx.privilege("kernel:swap")


class Gate:
    """Holds the plugin where a test says so."""

    def __init__(self) -> None:
        self.passed: list[tuple[str, int]] = []
        self.held: dict[str, anyio.Event] = {}
        self.reached = defaultdict[str, anyio.Event](anyio.Event)

    async def __call__(self, where: str, generation: int) -> None:
        self.passed.append((where, generation))
        self.reached[where].set()
        if where in self.held:
            await self.held[where].wait()

    def hold(self, where: str) -> Callable[[], None]:
        self.reached[where] = anyio.Event()
        self.held[where] = event = anyio.Event()
        return event.set

    async def wait(self, where: str) -> None:
        with anyio.fail_after(20):
            await self.reached[where].wait()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate that the plugin's file finds."""
    gate = Gate()
    monkeypatch.setattr(sys, "room_gate", gate, raising=False)
    return gate


@asynccontextmanager
async def swapping(folder: Path) -> AsyncGenerator[tuple[Kernel, FakeClock, Callable[[], Awaitable[None]]]]:
    """A host of a plugin in a file, and a swap of it as hot swap does it."""
    file = folder / "room.py"
    file.write_text(FILE.replace("HIGH", "64"))
    config = Config(
        kernel=KernelConfig(data_dir=None, discover=False),
        plugins={"room": PluginConfig(source=str(file))},
        root=folder,
    )
    clock = FakeClock()
    replaced: list[Loaded] = []

    async def swap() -> None:
        file.write_text(FILE.replace("HIGH", "32"))
        swapper = Taker.swapper
        async with swapper.turn("room"):
            before = swapper.current("room")
            assert before is not None
            replaced.append(before)
            candidate = await swapper.prepare("room", swapper.read("room", await swapper.load("room")))
            async with swapper.quiesced("room", timeout=5.0) as old:
                assert old is not None
                parcel = await old.hand_over()
                assert parcel is not None
                await candidate.generation.take_over(parcel)
                swapper.promote("room", candidate)
            await swapper.retire(old)

    try:
        async with Kernel(config, clock=clock) as kernel:
            await kernel.add_plugin(Taker)
            yield kernel, clock, swap
    finally:
        for loaded in replaced:
            loaded.unload()


class TestSwap:
    async def test_a_write_during_a_swap_is_lost(self, tmp_path: Path, gate: Gate) -> None:
        """Set after the old generation has packed its state, a knob is set in the new one, by the new one's range."""
        async with swapping(tmp_path) as (kernel, _, swap), anyio.create_task_group() as group:
            go_on = gate.hold("hand_over")
            done: list[KnobSet] = []
            over = anyio.Event()

            async def begin() -> None:
                done.append(await turn(kernel, 16, expected=8))
                over.set()

            group.start_soon(swap)
            await gate.wait("hand_over")
            group.start_soon(begin)
            await anyio.wait_all_tasks_blocked()
            assert done == []
            go_on()
            with anyio.fail_after(20):
                await over.wait()
            with pytest.raises(KnobRangeError, match="from 1 to 32"):
                await turn(kernel, 33)
            assert ("write", 2) in gate.passed
            knob = (await listed(kernel))["room.batch"]
            assert (knob.value, knob.generation, knob.high) == (16, 2, 32)

    async def test_a_swap_begins_in_the_middle_of_a_write(self, tmp_path: Path, gate: Gate) -> None:
        """The swap waits for the write, and hands over what was written."""
        async with swapping(tmp_path) as (kernel, _, swap):
            go_on = gate.hold("write")
            async with anyio.create_task_group() as group:
                group.start_soon(turn, kernel, 16)
                await gate.wait("write")
                group.start_soon(swap)
                await anyio.wait_all_tasks_blocked()
                assert "hand_over" not in dict(gate.passed)
                go_on()
            knob = (await listed(kernel))["room.batch"]
            assert (knob.value, knob.generation) == (16, 2)
            assert gate.passed == [("start", 1), ("write", 1), ("start", 2), ("hand_over", 1)]

    async def test_a_swap_that_takes_for_ever_holds_a_setter(self, tmp_path: Path, gate: Gate) -> None:
        """The setter is told to try again, and nothing was written."""
        async with swapping(tmp_path) as (kernel, clock, swap), anyio.create_task_group() as group:
            go_on = gate.hold("hand_over")
            errors: list[str] = []

            async def begin() -> None:
                with pytest.raises(KnobError) as caught:
                    await turn(kernel, 16)
                errors.append(str(caught.value))

            group.start_soon(swap)
            await gate.wait("hand_over")
            group.start_soon(begin)
            await anyio.wait_all_tasks_blocked()
            await clock.advance(5.0)
            assert "(a start, a swap, another knob) took longer than 5 s; it was not set, try again" in errors[0]
            go_on()

    async def test_a_plugin_that_is_starting_has_no_knobs(self, tmp_path: Path, gate: Gate) -> None:
        """Whoever sets one while its plugin starts waits for it."""
        async with swapping(tmp_path) as (kernel, _, _):
            await kernel.remove_plugin("room")
            go_on = gate.hold("start")
            source = Taker.swapper.add("room", tmp_path / "room.py")
            done: list[KnobSet] = []

            async def begin() -> None:
                done.append(await turn(kernel, 16))

            async def add() -> None:
                await source

            gate.passed.clear()
            async with anyio.create_task_group() as group:
                group.start_soon(add)
                await gate.wait("start")
                group.start_soon(begin)
                await anyio.wait_all_tasks_blocked()
                go_on()
            assert done == [KnobSet("room.batch", 8, 16)]
