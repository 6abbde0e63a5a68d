"""A project on disk with a plugin to edit, a host over it, and a gate to hold a plugin's code at."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from aetherra.hmr import HmrController
from aetherra.kernel import Config, Kernel
from aetherra.plugins import Message, Plugin, Request, handler

COUNTER = """
import msgspec
from aetherra.plugins import Message, Plugin, Request, handler, hookimpl, MetricSample

VERSION = 1


class Answer(Message, tag="counter.answer"):
    version: int
    count: int


class Ask(Request[Answer], tag="counter.ask"):
    pass


class AskSlowly(Request[Answer], tag="counter.ask_slowly"):
    pass


class State(msgspec.Struct):
    count: int


class Counter(Plugin):
    name = "counter"

    count = 0

    @handler
    async def ask(self, request: Ask) -> Answer:
        self.count += 1
        return Answer(VERSION, self.count)

    @handler
    async def ask_slowly(self, request: AskSlowly) -> Answer:
        await self.ctx.call_tag("gate.wait", {"name": "ask"})
        return await self.ask(Ask())

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("version", float(VERSION), "")]

    async def start(self, ctx) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def self_test(self) -> None:
        pass

    async def hand_over(self) -> State:
        return State(self.count)

    async def take_over(self, state: State) -> None:
        self.count = state.count
"""


class Opened(Message, tag="gate.opened"):
    pass


class Wait(Request[Opened], tag="gate.wait"):
    name: str


class Gate(Plugin):
    """Lets callers wait until the test opens the gate of that name; one that nobody shut is open."""

    shut: ClassVar[dict[str, anyio.Event]] = {}
    reached: ClassVar[dict[str, anyio.Event]] = {}

    @handler
    async def wait(self, request: Wait) -> Opened:
        if request.name in self.shut:
            self.reached[request.name].set()
            await self.shut[request.name].wait()
        return Opened()


class Project:
    """Files in a folder, and the host that runs them."""

    def __init__(self, root):
        self.root = root
        self.write("counter.py", COUNTER)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def counter(self, *changes, version=1):
        text = COUNTER.replace("VERSION = 1", f"VERSION = {version}")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return text

    def save(self, *changes, version):
        """Write the counter again, in place."""
        return self.write("counter.py", self.counter(*changes, version=version))

    def save_atomically(self, *, version):
        """Write beside and rename, as editors do."""
        beside = self.write("counter.py.swp", self.counter(version=version))
        beside.replace(self.root / "counter.py")

    def shut(self, name):
        Gate.shut[name], Gate.reached[name] = anyio.Event(), anyio.Event()

    async def reached(self, name):
        with anyio.fail_after(10):
            await Gate.reached[name].wait()

    def open(self, name):
        Gate.shut.pop(name).set()

    @asynccontextmanager
    async def host(self, plugins=None, *, hmr=None, clock=None, **limits):
        """Run a host with the configured plugins, the gate, and hot swap."""
        if plugins is None:
            plugins = {"counter": {"source": "counter.py"}}
        kernel_part = {"data_dir": None, "discover": False, "durability": "none", **limits}
        document = {"kernel": kernel_part, "plugins": plugins}
        async with Kernel(Config.parse(document, root=self.root), clock=clock) as kernel:
            await kernel.add_plugin(Gate)
            await kernel.add_plugin(HmrController, settings=hmr or {})
            yield kernel


@pytest.fixture
def project(tmp_path):
    Gate.shut.clear()
    Gate.reached.clear()
    return Project(tmp_path)
