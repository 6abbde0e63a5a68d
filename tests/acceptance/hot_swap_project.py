"""A project whose files an editor outside of the process changes, and the host that runs and watches it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest

from aetherra.hmr import GetHmrStatus, HmrController, SwapFailed, Swapped
from aetherra.kernel import Config, Kernel
from aetherra.registry import Message, Subscription

PATIENCE = 30.0
"""Seconds after which what a test waits for has failed to happen."""
FENCE = "fence/fence.py"
SaveT = TypeVar("SaveT", Swapped, SwapFailed)

PLUGIN = """\
import anyio
import msgspec
from aetherra.plugins import Message, Plugin, Request, ServiceStatus, every, handler, hookimpl
{top}


class {cls}Answer(Message, tag="{name}.answer"):
    value: object


class {cls}Ask(Request[{cls}Answer], tag="{name}.ask"):
    pass


class {cls}(Plugin):
    name = "{name}"

    @handler
    async def ask(self, request: {cls}Ask) -> {cls}Answer:
        return {cls}Answer({value})
{body}
"""


def plugin(value: object, *, name: str = "counter", top: str = "", body: str = "") -> str:
    """Return the source of a plugin that answers ``<name>.ask`` with the value of an expression."""
    indented = "".join(f"    {line}\n" if line.strip() else "\n" for line in body.splitlines())
    return PLUGIN.format(name=name, cls=name.title().replace("_", ""), value=value, top=top, body=indented)


class Editor:
    """``hot_swap_editor.py`` in a process of its own. What it was told has been done when a method returns."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, how: str, path: Path, text: str = "") -> None:
        """Have it done, and wait for that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([how, str(path), text]) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        assert said == "done", said


@contextmanager
def an_editor() -> Generator[Editor]:
    """Have an editor for as long as the block lasts."""
    program = Path(__file__).with_name("hot_swap_editor.py")
    pipe = subprocess.PIPE
    command = [sys.executable, "-I", "-S", str(program)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield Editor(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def editor_fixture() -> Generator[Editor]:
    """One editor for the tests of a module, which names it ``editor``."""
    with an_editor() as editor:
        yield editor


@pytest.fixture
def project_fixture(tmp_path: Path, editor: Editor) -> Project:
    """A project with a plugin ``counter`` in a file, which answers 1; a module of tests names it ``project``."""
    project = Project(tmp_path, editor)
    project.write("counter.py", plugin(1))
    return project


class Project:
    """A folder with the files of plugins."""

    def __init__(self, root: Path, editor: Editor) -> None:
        self.root = root
        self._editor = editor

    def write(self, name: str, text: str) -> Path:
        """Write a file before anybody looks."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def save(self, name: str, text: str = "", how: str = "in_place") -> None:
        """Have the editor save a file, in the way that ``how`` names."""
        await anyio.to_thread.run_sync(self._editor.tell, how, self.root / name, text)

    async def save_all(self, files: dict[str, str]) -> None:
        """Have the editor save several files, one directly after the other."""
        await self.save("", json.dumps([(str(self.root / name), text) for name, text in files.items()]), "several")

    @asynccontextmanager
    async def host(
        self, *plugins: str, clock: Any = None, backend: dict[str, Any] | None = None, **settings: Any
    ) -> AsyncGenerator[Host]:
        """Run a host with plugins, each in ``<name>.py`` or as ``name=source``, and with hot swap that watches.

        Beside them is a plugin ``fence``, whose swap says that what was saved before was seen.
        """
        self.write(FENCE, plugin(0, name="fence"))
        sections = dict(
            given.split("=") if "=" in given else (given, f"{given}.py") for given in (*plugins, f"fence={FENCE}")
        )
        document = {
            "kernel": {"data_dir": None, "discover": False, "durability": "none", **(backend or {})},
            "plugins": {name: {"source": source} for name, source in sections.items()},
        }
        async with Kernel(Config.parse(document, root=self.root), clock=clock) as kernel:
            failed = [info for info in kernel.plugins() if info.state != "serving"]
            assert not failed
            await kernel.add_plugin(HmrController, settings={"watch": True, **settings})
            with kernel.subscribe("hmr.*", capacity=10_000) as events:
                host = Host(self, kernel, events, watches=settings.get("watch", True))
                if host.watches:
                    await host.watching()
                yield host


class Host:
    """A running host, and what it has said of swaps."""

    def __init__(self, project: Project, kernel: Kernel, events: Subscription[Message], *, watches: bool) -> None:
        self.kernel = kernel
        self.watches = watches
        self._project = project
        self._events = events
        self._fences = 0

    async def watching(self) -> None:
        """Wait until the watch is on."""
        await until(self._is_watching, "the watch is on")

    async def _is_watching(self) -> bool:
        return (await self.kernel.call(GetHmrStatus())).watching

    async def answer(self, plugin: str = "counter") -> Any:
        """Ask a plugin."""
        return (await self.kernel.call_tag(f"{plugin}.ask"))["value"]

    async def answers(self, value: Any, plugin: str = "counter") -> None:
        """Ask a plugin until it answers this, as new code does."""

        async def does() -> bool:
            return bool(await self.answer(plugin) == value)

        await until(does, f"{plugin} answers {value!r}")

    async def hear(self, kind: type[SaveT], plugin: str = "counter") -> SaveT:
        """Return the next outcome of a save, which must be of this kind and about this plugin."""
        event = await self.outcome()
        assert isinstance(event, kind), event
        assert event.plugin == plugin, event
        return event

    async def outcome(self) -> Swapped | SwapFailed:
        """Return the next outcome of a save."""
        with anyio.fail_after(PATIENCE):
            async for event in self._events:
                if isinstance(event, (Swapped, SwapFailed)) and getattr(event, "how", "reload") == "reload":
                    return event
        raise AssertionError("the host is gone")

    async def outcomes_until(self, value: Any, plugin: str = "counter") -> list[Swapped | SwapFailed]:
        """Return the outcomes from the last one that was heard to the one after which a plugin answers this."""
        outcomes: list[Swapped | SwapFailed] = []
        while not outcomes or await self.answer(plugin) != value:
            outcomes.append(await self.outcome())
        return outcomes

    async def nothing_else(self) -> None:
        """Save another plugin and wait for its swap, which must be the next and only one."""
        for _ in range(2):  # the second is begun after all that the first one's look found
            self._fences += 1
            await self._project.save(FENCE, plugin(self._fences, name="fence"))
            await self.hear(Swapped, "fence")
            await self.watching()

    def module(self, plugin: str = "counter") -> Any:
        """The entry module of a single file's generation that serves."""
        return sys.modules[f"{plugin}@{self.generation(plugin)}"]

    def generation(self, plugin: str = "counter") -> int:
        """Which generation of a plugin serves."""
        info = self.kernel.registry.get_service_info(plugin)
        assert info is not None
        return info.generation


async def until(condition: Callable[[], Any], what: str) -> None:
    """Ask until something is true; awaits what the condition returns, if it is a coroutine."""
    with anyio.move_on_after(PATIENCE):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await anyio.sleep(0.001)  # gives other threads the interpreter
    pytest.fail(f"not within {PATIENCE:g} s: {what}")


class Asked:
    """What plugins answered while somebody asked about once a millisecond."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.more = 0

    async def for_more(self, count: int) -> None:
        """Wait until this many more answers have come."""
        wanted = len(self.values) + count
        await until(lambda: len(self.values) >= wanted, f"{count} more answers; there are {len(self.values)}")


@asynccontextmanager
async def asking(host: Host, plugin: str = "counter", *, tag: str = "ask") -> AsyncGenerator[Asked]:
    """Ask a plugin about once a millisecond while the block lasts; an error of any call fails the test."""
    asked = Asked()
    ended = anyio.Event()

    async def ask() -> None:
        while not ended.is_set():
            asked.values.append((await host.kernel.call_tag(f"{plugin}.{tag}"))["value"])
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        try:
            yield asked
        finally:
            ended.set()


@contextmanager
def said_by_log() -> Generator[list[str]]:
    """Collect what the host logs, as text with tracebacks."""
    lines: list[str] = []
    handler = _Lines(lines)
    logger = logging.getLogger("aetherra")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


class HeldImport:
    """Code at the top of a module that holds its import up until it is let go on."""

    def __init__(self, folder: Path) -> None:
        self._begun, self._go = folder / "import.begun", folder / "import.go"
        self.code = HOLD.format(begun=str(self._begun), go=str(self._go))
        self.released = False

    async def begins(self) -> None:
        """Wait until a module has come to it."""
        await until(self._begun.exists, "the import has begun")

    def release(self) -> None:
        """Let it go on."""
        self.released = True
        self._go.touch()


HOLD = """
import pathlib, time
pathlib.Path({begun!r}).touch()
while not pathlib.Path({go!r}).exists():
    time.sleep(0.002)
"""


@contextmanager
def held_import(project: Project) -> Generator[HeldImport]:
    """Hold up the import of a module while the block lasts, or until it is let go on."""
    held = HeldImport(project.root)
    try:
        yield held
    finally:
        held.release()


def loaded_modules(of: Iterable[str]) -> set[str]:
    """Return the modules that are loaded of plugins' generations."""
    prefixes = tuple(f"{name}@" for name in of)
    return {name for name in sys.modules if name.startswith(prefixes)}
