"""What ends with a generation: all that it took; and nothing of the host keeps what it was made of in memory."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import tempfile
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from aetherra.hmr import HmrController, Reload
from aetherra.kernel import Config, GetVitals, Kernel, RetryPolicy
from aetherra.kernel.holders import holder_of
from aetherra.kernel.retired import SETTLE
from aetherra.kernel.testing import FakeClock
from aetherra.registry import AetherraError, HandlerError, Message, Request

RICH = """
import abc, dataclasses, enum, functools, logging, typing
from typing import Generic, NamedTuple, Optional, TypeVar, Union

import msgspec

from aetherra.plugins import (
    Message, MetricSample, Plugin, PluginContext, Request, RetryPolicy, Settings, every, handler, hookimpl,
)

log = logging.getLogger(__name__)
T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@dataclasses.dataclass(slots=True)
class Point:
    x: int
    next: Optional["Point"] = None

    def length(self) -> int:
        return self.x


class Box(Generic[T]):
    def get(self) -> T: ...


class Pair(NamedTuple):
    left: int
    right: Optional[Point] = None


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> int: ...


class Square(Shape):
    def area(self) -> int:
        return 1


assert not isinstance(3, Shape)
PointBox = Box[Point]
Either = Union[Colour, Point, None]
Callback = typing.Callable[[Point], Colour]


def measure(point: Optional[Point], either: Either, shapes: "list[Square]") -> Box[Point]: ...


typing.get_type_hints(measure)


@functools.singledispatch
def show(thing) -> str:
    return str(thing)


@show.register
def _(colour: Colour) -> str:
    return colour.name


@functools.lru_cache
def cached(x: int) -> Point:
    return Point(x)


show(Colour.RED), show(cached(1))


class Deep(msgspec.Struct, frozen=True):
    colour: Colour = Colour.RED

    def paint(self) -> str:
        return show(self.colour)


class Answer(Message, tag="rich.answer"):
    version: int
    count: int
    deep: Optional[Deep] = None

    def paint(self) -> str:
        return show(self.version)


class Ask(Request[Answer], tag="rich.ask"):
    count: int = 1
    deep: Optional[Deep] = None

    def paint(self) -> str:
        return show(self.count)


class Fail(Request[Answer], tag="rich.fail"):
    pass


class Tick(Message, tag="rich.tick"):
    n: int = 0
    deep: Deep = Deep()

    def paint(self) -> str:
        return show(self.n)


class State(msgspec.Struct):
    count: int
    colour: Colour = Colour.GREEN

    def paint(self) -> str:
        return show(self.colour)


class RichSettings(Settings):
    interval: float = 1.0

    def paint(self) -> str:
        return show(self.interval)


class Trouble(Exception):
    pass


class Rich(Plugin[RichSettings]):
    count = 0

    @handler
    async def ask(self, request: Ask) -> Answer:
        self.count += request.count
        await self.ctx.publish(Tick(self.count), retain=True)
        return Answer(VERSION, self.count, Deep())

    @handler
    async def fail(self, request: Fail) -> Answer:
        point = Point(1)
        raise Trouble(point)

    @handler
    async def hear(self, tick: Tick) -> None:
        if tick.n % 3 == 0:
            raise Trouble(tick)

    @every("interval")
    async def tick(self) -> None:
        await self.ctx.publish(Tick(1))
        await self.ctx.call(Ask())
        for request in (Ask(), Fail()):
            handle = await self.ctx.submit(request, idempotency_key="own VERSION", retry=RetryPolicy(max_attempts=1))
            try:
                await handle.wait()
            except Exception:
                log.exception("it failed")

    @hookimpl
    def collect_metrics(self) -> list[MetricSample]:
        return [MetricSample("version", float(VERSION), "")]

    async def start(self, ctx: PluginContext) -> None:
        log.debug("starting")
        ctx.subscribe(Tick, self.listen)
        ctx.subscribe("rich.*", self.listen)
        ctx.start_soon(self.break_down)
        ctx.start_thread(self.work)
        ctx.temporary_folder()
        ctx.add_log_handler(logging.NullHandler(), "nothing_leaks")
        ctx.forward(self.ticks())
        ctx.every(0.5, self.tick)
        ctx.start_soon(ctx.clock.sleep, 1e9)
        STARTED

    def work(self, stop) -> None:
        stop.wait()

    async def ticks(self):
        yield Tick(2)
        await self.ctx.clock.sleep(1e9)

    async def break_down(self) -> None:
        raise Trouble(self)

    async def listen(self, event) -> None: ...

    async def self_test(self) -> None:
        TESTED

    async def hand_over(self) -> State:
        return State(self.count)

    async def take_over(self, state: State) -> None:
        TAKEN
        self.count = state.count
"""


class Answer(Message, tag="rich.answer"):
    """The host's own."""

    version: int
    count: int


class Ask(Request[Answer], tag="rich.ask"):
    """The host's own."""

    count: int = 1


class Fail(Request[Answer], tag="rich.fail"):
    """The host's own."""


class Tick(Message, tag="rich.tick"):
    """The host's own."""

    n: int = 0


def code(version: int, **lines: str) -> str:
    """The plugin, with a line in some of its steps."""
    text = RICH.replace("VERSION", str(version))
    for step in ("STARTED", "TESTED", "TAKEN"):
        text = text.replace(step, lines.get(step.lower(), "pass"))
    return text + lines.get("end", "")


@pytest.fixture(autouse=True)
def no_log_is_kept() -> Generator[None]:
    """The record of an exception has its traceback, and a test keeps all records."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


BROKEN: dict[str, Callable[[int], str]] = {
    "a syntax error": lambda version: code(version, end="\nnonsense("),
    "an import that raises": lambda version: code(version, end="\nraise Trouble(cached(1))"),
    "a start that raises": lambda version: code(version, started="raise Trouble(self)"),
    "a self-test that raises": lambda version: code(version, tested="raise Trouble(self)"),
    "a take-over that raises": lambda version: code(version, taken="raise Trouble(state)"),
    "a broken promise": lambda version: code(version).replace("count: int = 1\n", "count: str\n"),
    "a lost tag": lambda version: code(version).replace('tag="rich.fail"', 'tag="rich.fall"'),
}


class Rig:
    """A host with the plugin, and weak references to all that its generations were made of."""

    def __init__(self, root: Path, kernel: Kernel, clock: FakeClock) -> None:
        self.root = root
        self.kernel = kernel
        self.clock = clock
        self.ghosts: dict[str, weakref.ref[Any]] = {}

    def note(self) -> None:
        """Remember what serves now, weakly."""
        generation = self.kernel._running().plugins.entry("rich").generation
        assert generation is not None
        root = type(generation.plugin).__module__
        self.ghosts[f"{root}: generation"] = weakref.ref(generation)
        self.ghosts[f"{root}: object"] = weakref.ref(generation.plugin)
        self.ghosts[root] = weakref.ref(sys.modules[root])
        for name, thing in vars(sys.modules[root]).items():
            if isinstance(thing, type) and thing.__module__ == root:
                self.ghosts[f"{root}.{name}"] = weakref.ref(thing)

    async def talk(self) -> None:
        """Have everything done that a generation does, also by classes of the host's, and what fails."""
        kernel = self.kernel
        for _ in range(4):
            await kernel.call(Ask())
            await kernel.call_tag("rich.ask", {"count": 1, "deep": {"colour": 2}})
            await kernel.publish(Tick(5))
            handle = await kernel.submit(Ask(), idempotency_key="once")
            await handle.wait()
            failing = await kernel.submit(Fail(), idempotency_key="failed", retry=RetryPolicy(max_attempts=1))
            for failed in (kernel.call(Fail()), kernel.call_tag("rich.fail"), failing.wait()):
                with suppress(AetherraError):
                    await failed
            with suppress(AetherraError):
                await kernel.call_tag("rich.ask", {"count": "many"})
            assert list(kernel._hooks.call("collect_metrics"))
            assert "rich" in [vitals.plugin for vitals in (await kernel.call(GetVitals())).plugins]
            await self.clock.advance(1.0)

    async def swap(self, text: str) -> bool:
        """Save and reload; return whether the new code serves."""
        (self.root / "rich.py").write_text(text)  # small
        try:
            await self.kernel.call(Reload("rich"))
        except HandlerError:
            return False
        return True

    async def settle(self) -> None:
        """Let what has ended go, as time does."""
        await self.clock.advance(SETTLE)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(join_those_that_end)
        collect()

    def there(self) -> list[str]:
        """What is in memory of the generations that were noted."""
        return [name for name, ghost in self.ghosts.items() if ghost() is not None]

    def alive(self) -> dict[str, str]:
        """What is in memory of the generations that were noted, and who holds it."""
        return {name: holder_of(ghost) for name, ghost in self.ghosts.items() if ghost() is not None}


async def in_time(condition: Callable[[], bool]) -> bool:
    """Whether something comes true: a thread that has told of its end has yet to let go of what it ran."""
    for _ in range(500):
        collect()
        if condition():
            return True
        await anyio.sleep(0.02)
    return False


def join_those_that_end() -> None:
    """Let threads go that have told of their end, and have yet to let go of what they ran."""
    for thread in threading.enumerate():
        if "aetherra removal" in thread.name or "aetherra import" in thread.name:
            thread.join(10.0)


def collect() -> None:
    """Free all that is free; what has finalizers in it takes more than one turn."""
    for _ in range(3):
        gc.collect()


@asynccontextmanager
async def rig(root: Path) -> AsyncGenerator[Rig]:
    """Run a host with the plugin and hot swap."""
    (root / "rich.py").write_text(code(1))  # small
    clock = FakeClock()
    config = Config.parse(
        {"kernel": {"data_dir": None, "discover": False}, "plugins": {"rich": {"source": "rich.py"}}}, root=root
    )
    async with Kernel(config, clock=clock) as kernel:
        await kernel.add_plugin(HmrController, settings={"watch_period": 0.0})
        yield Rig(root, kernel, clock)


class TestMemory:
    async def test_an_old_generation_stays_in_memory(self, tmp_path: Path) -> None:
        """After swaps its object, classes and modules are free, whatever was done with it; the last is the way back."""
        async with rig(tmp_path) as r:
            for version in range(2, 6):
                r.note()
                await r.talk()
                assert await r.swap(code(version))
            await r.talk()
            await r.settle()
            assert await in_time(lambda: not [name for name in r.there() if not name.startswith("rich@4")]), r.alive()
            assert await in_time(lambda: not [name for name in r.there() if name.startswith("rich@4: ")]), r.alive()
            assert [(old.generation, old.alive, old.kept) for old in r.kernel._running().plugins.retired.alive()] == [
                (4, ("class", "module"), True)
            ]
            await r.kernel.remove_plugin("rich")
            await r.settle()
            assert await in_time(lambda: not r.there()), r.alive()

    @pytest.mark.parametrize("broken", BROKEN)
    async def test_a_refused_candidate_stays_in_memory(self, tmp_path: Path, broken: str) -> None:
        """However it failed: nothing of it is kept, and nothing of the one that serves is let go."""
        async with rig(tmp_path) as r:
            modules: list[weakref.ref[ModuleType]] = []
            loaded = sys.modules.copy()
            await r.talk()
            for version in (2, 3):
                assert not await r.swap(BROKEN[broken](version))
                modules += [
                    weakref.ref(sys.modules[name]) for name in sys.modules.keys() - loaded.keys() if "rich@" in name
                ]
                await r.talk()
            await r.settle()
            assert [name for name in sys.modules if name.startswith("rich@")] == ["rich@1"]
            free = await in_time(lambda: not [module for module in modules if module() is not None])
            assert free, [holder_of(module) for module in modules]
            assert r.kernel._running().plugins.retired.alive() == []

            def classes() -> set[str]:
                return {cls.__module__ for cls in _subclasses(Message) if cls.__module__.startswith("rich@")}

            assert await in_time(lambda: classes() == {"rich@1"}), classes()

    async def test_a_reply_under_a_key_goes_with_its_class(self, tmp_path: Path) -> None:
        """What an old generation had done under a key is not done again, and comes as the new one's class."""
        async with rig(tmp_path) as r:
            replies: list[Any] = []
            for version in (1, 2):
                generation = r.kernel._running().plugins.entry("rich").generation
                assert generation is not None
                module: Any = sys.modules[type(generation.plugin).__module__]
                handle = await generation.context.submit(module.Ask(count=7), idempotency_key="seven")
                replies.append(await handle.wait())
                assert type(replies[-1]) is module.Answer
                assert await r.swap(code(version + 1))
            assert [(reply.version, reply.count, reply.deep.colour.name) for reply in replies] == [(1, 7, "RED")] * 2
            assert r.kernel.statistics().actions.duplicates == 1

    async def test_a_host_that_stopped_keeps_its_plugins(self, tmp_path: Path) -> None:
        """After the end of the host nothing of any plugin is in memory."""
        async with rig(tmp_path) as r:
            r.note()
            await r.talk()
            assert await r.swap(code(2))
            r.note()
            await r.talk()
        ghosts = r.ghosts
        del r
        free = await in_time(lambda: not [ghost for ghost in ghosts.values() if ghost() is not None])
        assert free, {name: holder_of(ghost) for name, ghost in ghosts.items() if ghost() is not None}


def _subclasses(kind: type) -> list[type]:
    return [inner for cls in kind.__subclasses__() for inner in (cls, *_subclasses(cls))]


class Belongings:
    """All that a plugin has of the host and the process."""

    def __init__(self, kernel: Kernel) -> None:
        self.routes = sorted(f"{route.tag} of {route.provider.name}" for route in kernel.bus.routes())
        self.subscriptions = kernel.bus.statistics().subscriptions
        self.services = sorted(info.name for info in kernel.registry.list())
        self.hooks = sorted(name for name, _ in kernel._hooks.call("collect_metrics"))
        self.tasks = sorted(str(task.name) for task in anyio.get_running_tasks())
        self.threads = sorted(thread.name for thread in threading.enumerate() if "rich" in thread.name)
        self.handlers = len(logging.getLogger("nothing_leaks").handlers)
        self.folders = len(folders())


def folders() -> set[Path]:
    """The temporary folders of the plugin that there are."""
    return set(Path(tempfile.gettempdir()).glob("aetherra-rich-*"))


@pytest.fixture(autouse=True)
def temporary_folders_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else runs these tests on the machine makes and removes such folders, too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))


class TestBelongings:
    @pytest.mark.parametrize("broken", [None, *BROKEN])
    async def test_a_swap_leaves_or_loses_something(self, tmp_path: Path, broken: str | None) -> None:
        """After a swap, done or failed, the host has as many routes, tasks, threads and so on as before."""
        async with rig(tmp_path) as r:
            await r.talk()
            await in_time(lambda: Belongings(r.kernel).threads == ["rich: Rich.work"])  # the import's has yet to end
            before = vars(Belongings(r.kernel))
            assert before["threads"] == ["rich: Rich.work"]
            for version in (2, 3, 4):
                assert await r.swap(code(version) if broken is None else BROKEN[broken](version)) == (broken is None)
                await r.talk()
                await in_time(lambda: vars(Belongings(r.kernel)) == before)
                assert vars(Belongings(r.kernel)) == before

    async def test_a_removal_leaves_something(self, tmp_path: Path) -> None:
        """After it the host is as before the plugin came; also if it could not be started at all."""
        (tmp_path / "late.py").write_text(code(1, started="raise Trouble(self)"))
        async with rig(tmp_path) as r:
            await r.kernel.remove_plugin("rich")
            await r.settle()
            await in_time(lambda: not Belongings(r.kernel).threads)
            before = vars(Belongings(r.kernel))
            assert (before["threads"], before["handlers"], before["hooks"]) == ([], 0, [])
            assert not [tag for tag in before["routes"] if tag.startswith("rich.")]
            assert "rich" not in before["services"]

    async def test_the_hosts_end_leaves_something(self, tmp_path: Path) -> None:
        """No task, thread, handler or folder is there after the host, nor a task of its own."""
        tasks = len(anyio.get_running_tasks())
        before = folders()
        async with rig(tmp_path) as r:
            await r.talk()
            assert await r.swap(code(2))
        for thread in [thread for thread in threading.enumerate() if "rich" in thread.name]:
            await anyio.to_thread.run_sync(thread.join, 20.0)  # told to end, it has yet to do so
            assert not thread.is_alive(), thread
        assert logging.getLogger("nothing_leaks").handlers == []
        assert len(anyio.get_running_tasks()) == tasks
        assert folders() == before


SLY = """
import atexit, logging, signal, sys, threading
from aetherra.plugins import Message, Plugin, PluginContext, Request, handler

ENDED = threading.Event()


class Handler(logging.Handler):
    def emit(self, record): ...


class Answer(Message, tag="sly.answer"):
    version: int


class Ask(Request[Answer], tag="sly.ask"):
    pass


def poll() -> None:
    ENDED.wait(20.0)


def hook(*args) -> None: ...


AT_IMPORT


class Sly(Plugin):
    @handler
    async def ask(self, request: Ask) -> Answer:
        return Answer(VERSION)

    async def start(self, ctx: PluginContext) -> None:
        AT_START
"""
THREAD = "threading.Thread(target=poll, name='sly poller', daemon=True).start()"
OWN_HANDLER = "logging.getLogger('nothing_leaks').addHandler(Handler())"
STANDARD_HANDLER = "logging.getLogger('nothing_leaks').addHandler(logging.StreamHandler())"


def sly(version: int = 1, at_import: str = "", at_start: str = "pass") -> str:
    """A plugin that takes things behind its context's back."""
    return SLY.replace("VERSION", str(version)).replace("AT_IMPORT", at_import).replace("AT_START", at_start)


@pytest.fixture
def put_back() -> Generator[None]:
    """End the threads of sly plugins, and undo what they did to the process."""
    hooks = sys.excepthook, signal.getsignal(signal.SIGUSR2)
    logging.disable(logging.NOTSET)
    yield
    for thread in threading.enumerate():
        if thread.name == "sly poller":
            frame = sys._current_frames()[thread.ident or 0]
            while frame.f_code.co_name != "poll":
                frame = frame.f_back  # type: ignore[assignment]
            frame.f_globals["ENDED"].set()
            thread.join(10.0)
    sys.excepthook = hooks[0]
    signal.signal(signal.SIGUSR2, hooks[1])
    logging.getLogger("nothing_leaks").handlers.clear()


@asynccontextmanager
async def sly_host(root: Path, text: str) -> AsyncGenerator[Rig]:
    """Run a host with a sly plugin."""
    (root / "sly.py").write_text(text)  # small
    document = {"kernel": {"data_dir": None, "discover": False}, "plugins": {"sly": {"source": "sly.py"}}}
    clock = FakeClock()
    async with Kernel(Config.parse(document, root=root), clock=clock) as kernel:
        await kernel.add_plugin(HmrController, settings={"watch_period": 0.0})
        yield Rig(root, kernel, clock)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of leftovers."""
    return [record.getMessage() for record in caplog.records if record.name == "aetherra.kernel.retired"]


@pytest.mark.usefixtures("put_back")
class TestBehindItsBack:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            (THREAD, ["thread 'sly poller', which is at\n", "ENDED.wait(20.0)", "ctx.start_thread()"]),
            (OWN_HANDLER, ["log handler <sly@1.Handler> of logger 'nothing_leaks'", "ctx.add_log_handler()"]),
            (STANDARD_HANDLER, ["<logging.StreamHandler> of logger 'nothing_leaks'", "appeared while the plugin was"]),
            ("signal.signal(signal.SIGUSR2, hook)", ["sly@1.hook of the signal SIGUSR2", "ctx.defer()"]),
            ("sys.excepthook = hook", ["sly@1.hook of sys.excepthook"]),
        ],
    )
    @pytest.mark.parametrize("ending", ["swap", "removal", "the host's end"])
    async def test_what_was_taken_is_not_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, words: list[str], ending: str
    ) -> None:
        """Once, in the log, with what to do instead, and only when the generation has ended."""
        async with sly_host(tmp_path, sly(at_start=how)) as r:
            await r.clock.advance(2 * SETTLE)
            assert told(caplog) == []
            if ending == "swap":
                (tmp_path / "sly.py").write_text(sly(2))
                await r.kernel.call(Reload("sly"))
            elif ending == "removal":
                await r.kernel.remove_plugin("sly")
            if ending != "the host's end":
                assert told(caplog) == []
                await r.clock.advance(SETTLE)
                assert len(told(caplog)) == 1
        (text,) = told(caplog)
        assert text.startswith("plugin 'sly' (generation 1) has ended and left this in the process")
        assert [word for word in words if word not in text] == []
        assert text.count("\n- ") == 1

    async def test_a_refused_import_is_not_told_of(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """What code left that raised half-way through its import is of nobody else."""
        async with sly_host(tmp_path, sly()) as r:
            broken = sly(2, at_import=f"{THREAD}\n{STANDARD_HANDLER}\nraise ValueError")
            (tmp_path / "sly.py").write_text(broken)
            with pytest.raises(HandlerError):
                await r.kernel.call(Reload("sly"))
            await r.clock.advance(SETTLE)
            text = "\n".join(told(caplog))
            assert "code that was loaded as 'sly@2' has ended" in text
            assert "'sly poller'" in text
            assert "plugin 'sly', whose code could not be brought up, has ended" in text
            assert "StreamHandler" in text
            assert "generation 1" not in text

    async def test_what_keeps_a_generation_is_not_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A request says who is in memory, and by which attribute of which module."""
        cache: Any = ModuleType("host_cache")
        sys.modules["host_cache"] = cache
        try:
            async with sly_host(tmp_path, sly(at_start="import host_cache; host_cache.CALLBACKS = [1, self.ask]")) as r:
                (tmp_path / "sly.py").write_text(sly(2))
                await r.kernel.call(Reload("sly"))
                await r.settle()
                collect()
                reply = await r.kernel.call_tag("kernel.retired", {"plugin": "sly", "why": True})
                (old,) = reply["generations"]
                assert old["holder"] == (
                    "module 'host_cache' attribute 'CALLBACKS' -> list[1] -> method Sly.ask -> sly@1.Sly object"
                )
                assert told(caplog) == []
                await r.clock.advance(60.0)
                (text,) = told(caplog)
                assert "is still in memory (its object, its class, its module)" in text
                cache.CALLBACKS.clear()
                await r.settle()
                retired = r.kernel._running().plugins.retired
                await in_time(lambda: [old.alive for old in retired.alive()] == [("class", "module")])
                (old,) = (await r.kernel.call_tag("kernel.retired"))["generations"]
                assert (old["alive"], old["kept"]) == (("class", "module"), True)
        finally:
            del sys.modules["host_cache"]
