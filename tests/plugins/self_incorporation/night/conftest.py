"""A folder of code with its index, and a host for the night cycle whose time and use are what a test says."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel.testing import TURNS, FakeClock
from aetherra.plugins import NotPermittedError, PluginVitals, Vitals
from aetherra.plugins.self_incorporation.gate.decision import Decision, Mode
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.tiers import Tier
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.scanner import Scanner, name_of_root
from aetherra.plugins.self_incorporation.night.processor import NightCycleProcessor
from aetherra.plugins.self_incorporation.night.settings import NightSettings
from aetherra.plugins.self_incorporation.night.store import NightStore
from aetherra.plugins.self_incorporation.night.usage import Usage


class Folder:
    """A real folder, really scanned; items and decisions are what a test says."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.index = CodeIndex(":memory:")
        self.found_items = []
        self.found_decisions = []
        self.asked = 0

    @property
    def root(self):
        return name_of_root(self.path)

    def write(self, files):
        for name, text in files.items():
            place = self.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        Scanner(self.index, clock=time.perf_counter).scan(self.path, now=time.time() + 60)

    def revision(self):
        return self.index.revision(self.root)

    def files(self, *, after, limit):
        self.asked += 1
        return self.index.files(self.root, after=after, limit=limit)

    def read(self, path, *, limit):
        place = self.path / original(path)
        if not place.is_file() or place.stat().st_size > limit:
            return None
        return place.read_bytes()

    def items(self):
        yield from self.found_items

    def decisions(self):
        yield from self.found_decisions


class Permit:
    async def check(self):
        await anyio.lowlevel.checkpoint()


class WorkedClock(FakeClock):
    """Goes on when it is told to, and by itself while a thread works: `work` says for how long."""

    def __init__(self):
        super().__init__()
        self.worked = 0.0  # apart, as one thread adds to it while the event loop's may set all else

    def work(self, seconds):
        self.worked += seconds

    def monotonic(self):
        return super().monotonic() + self.worked

    def time(self):
        return super().time() + self.worked


class Host:
    """Answers the night cycle; what it does runs in real worker threads, and uses what the clock says it worked."""

    def __init__(self, clock):
        self.clock = clock
        self.calls = 0
        self.in_hand = 0
        self.cpu = 0.0
        self.asked = []
        self.refusal = ""
        self.told = []
        self.reports = []
        self.turn = anyio.Lock()
        self.units = 0
        self.busy = 0
        self.done = anyio.Event()

    async def run(self, function):
        self.units += 1
        self.busy += 1
        try:
            async with self.turn:
                return await anyio.to_thread.run_sync(function)
        finally:
            self.busy -= 1
            self.done.set()

    async def pass_time(self, seconds, step=5.0):
        """Let time pass, and all that is begun meanwhile in threads come to its end."""
        until = self.clock.monotonic() + seconds
        while (left := until - self.clock.monotonic()) > 0:
            await self.clock.advance(min(step, left))
            await self.rest()

    async def rest(self):
        """Wait until no unit of work is done, and none is about to be."""
        while True:
            for _ in range(TURNS):  # before what on asyncio takes 0.1 s
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            if not self.busy:
                return
            self.done = anyio.Event()
            await self.done.wait()

    async def vitals(self):
        plugins = [
            PluginVitals("worker", 1, "worker", "serving", None, calls=self.calls, in_hand=self.in_hand),
            PluginVitals("homeostasis", 1, "homeostasis", "serving", None, calls=self.units),
        ]
        return Vitals(self.clock.monotonic(), tuple(plugins))

    @asynccontextmanager
    async def permitted(self, intent):
        self.asked.append(intent)
        if self.refusal:
            raise NotPermittedError(intent.kind, intent.component, "stopped", self.refusal)
        yield Permit()

    async def learned(self, target):
        self.told.append(target)

    async def reported(self, report):
        self.reports.append(report)

    def own_cpu(self):
        return self.clock.worked

    def usage(self):
        return Usage(at=self.clock.monotonic(), process_cpu=self.cpu + self.own_cpu())


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "project")
    yield folder
    folder.index.close()


@pytest.fixture
def night(folder, tmp_path):
    """Return a night cycle that runs; ``made`` anew it is one after a restart."""

    @asynccontextmanager
    async def running(*, clock=None, **settings):
        clock = clock or WorkedClock()
        host = Host(clock)
        with NightStore(tmp_path / "night", clock.time) as store:
            made = NightCycleProcessor(
                NightSettings(**settings),
                store,
                folder,
                host,
                usage=host.usage,
                counter=clock.monotonic,
                cpu_time=host.own_cpu,
                io_bytes=lambda: 0.0,
            )
            made.host, made.store, made.clock = host, store, clock
            async with anyio.create_task_group() as group:
                group.start_soon(made.run)
                await anyio.wait_all_tasks_blocked()
                await host.rest()
                yield made
                group.cancel_scope.cancel()

    return running


@pytest.fixture
def make_item():
    def make(path, **given):
        fields = {
            "root": "/r",
            "path": path,
            "name": path,
            "kind": "plugin",
            "confidence": 0.9,
            "files": (),
            "digest": path,
            "risk": 0.0,
            "factors": (),
            "capabilities": (),
            "threats": (),
            "warnings": 0,
        }
        return Item(**{**fields, **given})

    return make


@pytest.fixture
def make_decision():
    def make(path, verdict, *capabilities):
        return Decision(
            item=path,
            root="/r",
            path=path,
            digest=path,
            verdict=verdict,
            tier=Tier.STANDARD,
            mode=Mode.STANDARD,
            risk=0.0,
            rationale=(),
            capabilities=capabilities,
            missing_grants=(),
            policy="",
            rules=1,
            decided_at=0.0,
        )

    return make


@pytest.fixture
def run():
    """Return what work comes to; ``run.steps`` counts the steps of the last."""

    def to_its_end(work):
        to_its_end.steps = 0
        while True:
            try:
                next(work)
            except StopIteration as stop:
                return stop.value
            to_its_end.steps += 1

    return to_its_end
