"""The steps of a swap: each leaves everything as it was, or hands all of it on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from aetherra.kernel import Candidate, Config, Kernel, KernelConfig, Plugin, PluginContext, PluginLoadError, Swapper
from aetherra.kernel.config import PluginConfig
from aetherra.kernel.sources import Loaded
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Message, Request, RouteConflictError, ServiceConflictError

ROOM = """
import anyio, sys
from aetherra.plugins import Message, Plugin, Request, handler
from {module} import Ask, Answer, Heard, Reading, gate

class Room(Plugin):
    version = "{version}"
    {attributes}

    @handler
    async def answer(self, ask: Ask) -> Answer:
        await gate.wait(ask.what)
        return Answer("{version}" + ask.what)

    @handler(capacity={capacity}, overflow="block")
    async def hear(self, reading: Reading) -> Heard:
        await gate.wait("event")
        return Heard("{version}", reading.number)
"""


class Ask(Request["Answer"], tag="swap_test.ask"):
    what: str = ""


class Answer(Message, tag="swap_test.answer"):
    text: str


class Reading(Message, tag="swap_test.reading"):
    number: int


class Heard(Message, tag="swap_test.heard"):
    version: str
    number: int


class Gate:
    """Holds handlers back where a test says so."""

    def __init__(self) -> None:
        self.closed: dict[str, anyio.Event] = {}

    def close(self, what: str) -> None:
        self.closed[what] = anyio.Event()

    def open(self, what: str) -> None:
        self.closed.pop(what).set()

    async def wait(self, what: str) -> None:
        if what in self.closed:
            await self.closed[what].wait()


gate = Gate()


class Taker(Plugin):
    """Asks for the privilege."""

    privileges = ("kernel:swap",)
    swapper: Swapper

    async def start(self, ctx: PluginContext) -> None:
        Taker.swapper = ctx.privilege("kernel:swap")


@pytest.fixture(autouse=True)
def fresh_gate() -> Generator[None]:
    """Every test begins with an open gate."""
    gate.closed.clear()
    yield
    gate.closed.clear()


class Rig:
    """A host with a plugin from a file, and the steps of a swap."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.file = folder / "room.py"
        self.clock = clock
        self.write("1")
        config = Config(
            kernel=KernelConfig(data_dir=None, discover=False),
            plugins={"room": PluginConfig(source=str(self.file))},
            root=folder,
        )
        self.kernel = Kernel(config, clock=clock)

    def write(self, version: str, *, attributes: str = "", capacity: int = 100) -> None:
        text = ROOM.format(module=__name__, version=version, attributes=attributes, capacity=capacity)
        self.file.write_text(text)

    @property
    def swapper(self) -> Swapper:
        return Taker.swapper

    async def prepare(self) -> Candidate:
        loaded = await self.swapper.load("room")
        brought_up.update(code for code in (self.swapper.current("room"), loaded) if code is not None)
        return await self.swapper.prepare("room", self.swapper.read("room", loaded))

    async def take_over(self, candidate: Candidate) -> None:
        async with self.swapper.quiesced("room", timeout=5.0):
            old = self.swapper.promote("room", candidate)
        if old is not None:
            await old.stop()

    async def ask(self, what: str = "") -> str:
        return (await self.kernel.call(Ask(what), timeout=100.0)).text


brought_up: set[Loaded] = set()


@pytest.fixture(autouse=True)
def no_code_is_left() -> Generator[None]:
    """Unload what was swapped, as hot swap would once it needs no way back."""
    yield
    while brought_up:
        brought_up.pop().unload()


@asynccontextmanager
async def hosted(folder: Path) -> AsyncGenerator[Rig]:
    """A running rig."""
    rig = Rig(folder, FakeClock())
    async with rig.kernel:
        await rig.kernel.add_plugin(Taker)
        assert [info.reason for info in rig.kernel.plugins()] == ["", ""]
        yield rig


class TestPrepare:
    async def test_a_candidate_is_reached_before_it_is_promoted(self, tmp_path: Path) -> None:
        """Loaded and started apart, a candidate changes nothing; discarded, nothing of it is left."""
        async with hosted(tmp_path) as rig:
            rig.write("2", attributes="async def stop(self): sys.stopped = True")
            candidate = await rig.prepare()
            assert candidate.generation.identity.generation == 2
            assert await rig.ask() == "1"
            await rig.swapper.retire(candidate.generation)
            candidate.loaded.unload()
            assert await rig.ask() == "1"
            assert rig.kernel.plugins()[0].generation == 1

    @pytest.mark.parametrize("attributes", ["1 / 0", "def __init__(self, s): 1 / 0", "async def start(self, c): 1 / 0"])
    async def test_a_candidate_that_fails_takes_the_serving_one_along(self, tmp_path: Path, attributes: str) -> None:
        """Code that cannot be loaded, configured or started leaves the one that serves alone."""
        async with hosted(tmp_path) as rig:
            rig.write("2", attributes=attributes)
            with pytest.raises(PluginLoadError, match="ZeroDivisionError"):
                await rig.prepare()
            assert await rig.ask() == "1"
            assert rig.kernel.plugins()[0].state == "serving"

    async def test_watched_paths_are_missing(self, tmp_path: Path) -> None:
        """Plugins with files are listed with them, and the code that serves is known."""
        async with hosted(tmp_path) as rig:
            assert rig.swapper.watched() == {"room": rig.file, "taker": Path(__file__)}
            current = rig.swapper.current("room")
            assert current is not None
            assert current.plugin_type.version == "1"


class TestSwap:
    async def test_calls_go_elsewhere(self, tmp_path: Path) -> None:
        """A call in hand finishes on the old generation; those parked meanwhile go to the new, in no other's hands."""
        async with hosted(tmp_path) as rig, anyio.create_task_group() as group:
            answers: list[str] = []

            async def ask(what: str) -> None:
                answers.append(await rig.ask(what))

            gate.close("early")
            group.start_soon(ask, "early")
            await anyio.wait_all_tasks_blocked()
            rig.write("2")
            candidate = await rig.prepare()

            async def swap() -> None:
                async with rig.swapper.quiesced("room", timeout=5.0) as serving:
                    assert serving is not None
                    answers.append("quiet")
                    old = rig.swapper.promote("room", candidate)
                    assert old is serving
                await serving.stop()

            group.start_soon(swap)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(ask, "late")
            await anyio.wait_all_tasks_blocked()
            assert answers == []
            gate.open("early")
            await anyio.wait_all_tasks_blocked()
            assert sorted(answers) == ["1early", "2late", "quiet"]
            info = rig.kernel.registry.get_service_info("room")
            assert info is not None
            assert (info.generation, info.version, info.status) == (2, "2", "healthy")

    async def test_waiting_events_are_lost_or_reordered(self, tmp_path: Path) -> None:
        """Events in the old mailbox, and publishers that wait for room in it, come along in order."""
        rig = Rig(tmp_path, FakeClock())
        rig.write("1", capacity=3)
        async with rig.kernel as kernel, anyio.create_task_group() as group:
            await kernel.add_plugin(Taker)
            gate.close("event")
            heard = kernel.subscribe(Heard)

            async def publish() -> None:
                for number in range(10):
                    await kernel.publish(Reading(number))

            group.start_soon(publish)
            await anyio.wait_all_tasks_blocked()
            rig.write("2", capacity=1)
            group.start_soon(rig.take_over, await rig.prepare())
            await anyio.wait_all_tasks_blocked()
            gate.open("event")
            events = [await anext(heard) for _ in range(10)]
            await anyio.wait_all_tasks_blocked()
            assert len(heard.mailbox) == 0
            heard.close()
            assert [event.number for event in events] == list(range(10))
            assert [event.version for event in events] == ["1"] + ["2"] * 9
            assert kernel.bus.statistics().dropped == 0

    async def test_dropped_events_are_counted_twice(self, tmp_path: Path) -> None:
        """What the old generation's mailbox dropped stays counted, once."""
        rig = Rig(tmp_path, FakeClock())
        rig.write("1", capacity=1)
        rig.file.write_text(rig.file.read_text().replace('"block"', '"drop_oldest"'))
        async with rig.kernel as kernel:
            await kernel.add_plugin(Taker)
            gate.close("event")
            for number in range(4):
                await kernel.publish(Reading(number))
                await anyio.wait_all_tasks_blocked()
            assert kernel.bus.statistics().dropped == 2
            candidate = await rig.prepare()
            gate.open("event")
            await rig.take_over(candidate)
            assert kernel.bus.statistics().dropped == 2

    async def test_an_event_in_hand_that_calls_the_plugin_itself_holds_up_the_swap(self, tmp_path: Path) -> None:
        """A plugin whose event handler calls its own request can be quiesced."""
        rig = Rig(tmp_path, FakeClock())
        (tmp_path / "room.py").write_text(
            ROOM.format(module=__name__, version="1", attributes="", capacity=9).replace(
                'await gate.wait("event")', 'await gate.wait("event"); await self.ctx.call(Ask())'
            )
        )
        async with rig.kernel as kernel, anyio.create_task_group() as group:
            await kernel.add_plugin(Taker)
            gate.close("event")
            await kernel.publish(Reading(1))
            await anyio.wait_all_tasks_blocked()
            rig.write("2")
            group.start_soon(rig.take_over, await rig.prepare())
            await anyio.wait_all_tasks_blocked()
            gate.open("event")
            await anyio.wait_all_tasks_blocked()
            assert await rig.ask() == "2"

    async def test_a_failed_plugin_cannot_be_repaired(self, tmp_path: Path) -> None:
        """New code takes the place of a plugin that failed, its failed service included, and is stopped at the end."""
        rig = Rig(tmp_path, FakeClock())
        rig.write("1", attributes="1 / 0")
        stopped: list[str] = []
        gate.stopped = stopped  # type: ignore[attr-defined]  # seen by the plugin
        async with rig.kernel as kernel:
            await kernel.add_plugin(Taker)
            assert kernel.plugins()[0].state == "failed"
            rig.write("2", attributes="service = 'rooms'\n    async def stop(self): gate.stopped.append('stop')")
            await rig.take_over(await rig.prepare())
            assert kernel.plugins()[0].state == "serving"
            assert kernel.plugins()[0].reason == ""
            assert [(info.name, info.status) for info in kernel.registry.list()] == [
                ("kernel", "healthy"),
                ("rooms", "healthy"),
                ("taker", "healthy"),
            ]
            assert await rig.ask() == "2"
        assert stopped == ["stop"]


class Other(Plugin):
    """Provides a service that a candidate may want."""

    service = "wanted"


class TestRefusal:
    async def test_a_quiesce_that_takes_too_long_changes_something(self, tmp_path: Path) -> None:
        """When calls in hand do not end in time, they go on, and so do the parked ones and the events."""
        async with hosted(tmp_path) as rig, anyio.create_task_group() as group:
            answers: list[str] = []

            async def ask(what: str) -> None:
                answers.append(await rig.ask(what))

            async def swap() -> None:
                with pytest.raises(TimeoutError, match=r"not finished after 5 s: 1 of 'swap_test.ask'"):
                    await rig.take_over(candidate)
                answers.append("given up")

            gate.close("early")
            group.start_soon(ask, "early")
            await anyio.wait_all_tasks_blocked()
            rig.write("2")
            candidate = await rig.prepare()
            group.start_soon(swap)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(ask, "late")
            with rig.kernel.subscribe(Heard) as heard:
                await rig.kernel.publish(Reading(1))
                await rig.clock.advance(4.0)
                assert answers == []
                assert len(heard.mailbox) == 0
                await rig.clock.advance(1.0)
                assert sorted(answers) == ["1late", "given up"]
                assert await anext(heard) == Heard("1", 1)
            gate.open("early")
            await anyio.wait_all_tasks_blocked()
            assert answers[-1] == "1early"

    async def test_an_event_in_hand_is_not_named(self, tmp_path: Path) -> None:
        """An event handler that does not come to an end is named with where it waits, and goes on."""
        async with hosted(tmp_path) as rig, anyio.create_task_group() as group:

            async def quiesce() -> None:
                with pytest.raises(TimeoutError, match=r"(?s)hearing 'swap_test.reading', at.*gate.wait\(.event.\)"):
                    async with rig.swapper.quiesced("room", timeout=5.0):
                        raise AssertionError("it was not quiet")

            gate.close("event")
            await rig.kernel.publish(Reading(1))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(quiesce)
            await rig.clock.advance(5.0)
            with rig.kernel.subscribe(Heard) as heard:
                gate.open("event")
                assert await anext(heard) == Heard("1", 1)

    @pytest.mark.parametrize(
        "attributes", ["service = 'wanted'", "@handler\n    async def m(self, r: Maintain) -> None: ..."]
    )
    async def test_a_conflict_changes_something(self, tmp_path: Path, attributes: str) -> None:
        """A candidate that wants what another plugin has is refused, and the old one goes on as before."""
        async with hosted(tmp_path) as rig:
            await rig.kernel.add_plugin(Other)
            rig.write("2", attributes=attributes)
            if "Maintain" in attributes:
                rig.file.write_text("from aetherra.kernel import Maintain\n" + rig.file.read_text())
            candidate = await rig.prepare()
            with pytest.raises((RouteConflictError, ServiceConflictError)):
                async with rig.swapper.quiesced("room", timeout=5.0):
                    rig.swapper.promote("room", candidate)
            await rig.swapper.retire(candidate.generation)
            assert await rig.ask() == "1"
            with rig.kernel.subscribe(Heard) as heard:
                await rig.kernel.publish(Reading(1))
                assert await anext(heard) == Heard("1", 1)
            assert (info := rig.kernel.registry.get_service_info("room")) is not None
            assert (info.generation, info.status) == (1, "healthy")

    async def test_a_conflict_of_a_repair_hides_the_failure(self, tmp_path: Path) -> None:
        """A repair that is refused leaves the failed plugin's service as it was."""
        rig = Rig(tmp_path, FakeClock())
        rig.write("1", attributes="1 / 0")
        async with rig.kernel as kernel:
            await kernel.add_plugin(Taker)
            await kernel.add_plugin(Other)
            rig.write("2", attributes="service = 'wanted'")
            candidate = await rig.prepare()
            with pytest.raises(ServiceConflictError):
                rig.swapper.promote("room", candidate)
            await rig.swapper.retire(candidate.generation)
            assert (info := kernel.registry.get_service_info("room")) is not None
            assert info.status == "failed"

    async def test_a_plugin_that_is_removed_meanwhile_comes_back(self, tmp_path: Path) -> None:
        """A swap of a plugin that is removed during it ends with what its body raised, and serves nothing."""
        async with hosted(tmp_path) as rig:
            candidate = await rig.prepare()

            async def swap() -> None:
                async with rig.swapper.quiesced("room", timeout=5.0):
                    await rig.kernel.remove_plugin("room")
                    rig.swapper.promote("room", candidate)

            with pytest.raises(LookupError, match="there is no plugin 'room' here"):
                await swap()
            await rig.swapper.retire(candidate.generation)
            assert [info.name for info in rig.kernel.plugins()] == ["taker"]

    async def test_a_plugin_without_the_privilege_swaps(self) -> None:
        """The privilege is the host's to give."""

        class Sneak(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.privilege("kernel:swap")

        async with Kernel(clock=FakeClock()) as kernel:
            with pytest.raises(
                PluginLoadError, match=r'grant it with "plugins": \{"sneak": \{"grants": \["kernel:swap"\]'
            ):
                await kernel.add_plugin(Sneak)
