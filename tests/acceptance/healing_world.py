"""A running host with real plugins from real files, load on it, a fault that strikes, and who was served badly by it.

Time is a ``FakeClock``'s, so that minutes take seconds; all else is real: files, imports, swaps, memory, the queue.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr import HmrController, Reload
from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.registry import AetherraError, Message, Request, Subscription, Timer

SLOW_STEP = 0.05
SLICE = 5.0
"""Seconds that are judged as one."""
TOLERATED = 0.1
"""Share of the requests of a slice that may be served badly while all is well."""
WARM_UP = 30.0
"""Seconds in which all is well, before the fault."""
ACTS = ("homeostasis.act", "homeostasis.undo")


class WorldClock(FakeClock):
    """A fake clock on which all that is due at one time begins at once, as on a real event loop; much is, here."""

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> Timer:
        """Call a function with all others of that time."""
        others = self._at.get(when)
        if others is None:
            others = self._at[when] = {}
            super().call_at(when, self._call_all, when)
        return Together(others, partial(function, *args))

    def _call_all(self, when: float) -> None:
        due = self._at.pop(when)
        while due:
            due.pop(next(iter(due)))()

    def __init__(self) -> None:
        super().__init__()
        self._at: dict[float, dict[Together, Callable[[], object]]] = {}


class Together:
    """One of the things that are due at one time."""

    def __init__(self, others: dict[Together, Callable[[], object]], function: Callable[[], object]) -> None:
        self._others = others
        others[self] = function

    def cancel(self) -> None:
        """Leave the others."""
        self._others.pop(self, None)


class Score:
    """Who was served well and who was not, by the time at which they asked."""

    def __init__(self) -> None:
        self._requests: list[tuple[float, bool]] = []

    def take(self, asked: float, *, good: bool) -> None:
        """Count one request."""
        self._requests.append((asked, good))

    def count(self, since: float, until: float) -> int:
        """Return how many asked in a time."""
        return sum(since <= asked < until for asked, _ in self._requests)

    def bad_share(self, since: float, until: float) -> float:
        """Return the share of them that was served badly; 0 if nobody asked."""
        served = [good for asked, good in self._requests if since <= asked < until]
        return served.count(False) / len(served) if served else 0.0

    def trouble(self, since: float, until: float) -> float:
        """Return the seconds from the begin of the first bad slice to the end of the last; 0 if none was bad."""
        asked, failed = Counter[int](), Counter[int]()
        for at, good in self._requests:
            if since <= at < until:
                asked[int((at - since) // SLICE)] += 1
                failed[int((at - since) // SLICE)] += not good
        bad = [number for number, count in asked.items() if failed[number] > TOLERATED * count]
        return (max(bad) - min(bad) + 1) * SLICE if bad else 0.0


class Deed(msgspec.Struct, frozen=True):
    """Something that homeostasis did, or failed to do.

    Attributes:
        at: Seconds since the fault.
        actuator: By which.
        target: On what.
        summary: In its own words, or the error.
        failed: Whether it could not be done.
        undone: Whether it took back an earlier one.
    """

    at: float
    actuator: str
    target: str
    summary: str
    failed: bool = False
    undone: bool = False

    def __str__(self) -> str:
        how = "FAILED " if self.failed else "undone " if self.undone else ""
        return f"{self.at:6.0f} s  {how}{self.actuator} {self.target}: {self.summary}"


class Load:
    """Requests at a rate, each judged: calls, or actions if ``submit`` has their options.

    Args:
        tag: What is asked.
        rate: How often a second.
        timeout: Seconds that a caller waits, or until an action's deadline.
        body: What the request says; may be changed.
        submit: The request's class, to submit actions.
        options: Of the submission.
    """

    def __init__(
        self,
        tag: str,
        rate: float,
        *,
        timeout: float = 1.0,
        body: Mapping[str, Any] | None = None,
        submit: type[Request[Any]] | None = None,
        attempt_timeout: float | None = None,
        **options: Any,
    ) -> None:
        self.tag, self.rate, self.timeout, self.body = tag, rate, timeout, dict(body or {})
        self._submit, self._options = submit, options
        if attempt_timeout is not None:
            self._options["timeout"] = attempt_timeout
        self._owed = 0.0

    def due(self, seconds: float) -> int:
        """Return how many more requests so many seconds bring."""
        self._owed += self.rate * seconds
        count = int(self._owed)
        self._owed -= count
        return count

    async def ask(self, world: World) -> None:
        """Ask once, and judge the answer."""
        asked = world.clock.monotonic()
        try:
            if self._submit is None:
                await world.kernel.call_tag(self.tag, self.body, timeout=self.timeout)
            else:
                request = self._submit(**self.body)
                await world.kernel.submit_and_wait(request, deadline=self.timeout, **self._options)
        except AetherraError as exc:
            world.complaints[type(exc).__name__] = str(exc)
            world.score.take(asked, good=False)
        else:
            world.score.take(asked, good=world.clock.monotonic() - asked <= self.timeout)


class World:
    """A host, the load on it, and what became of both."""

    def __init__(self, kernel: Kernel, clock: FakeClock, folder: Path, step: float) -> None:
        self.kernel, self.clock, self.folder, self.step = kernel, clock, folder, step
        self.score = Score()
        self.deeds: list[Deed] = []
        self.complaints: dict[str, str] = {}
        self.struck = 0.0

    @property
    def since(self) -> float:
        """Seconds since the fault."""
        return self.clock.monotonic() - self.struck

    async def bear(self, loads: Iterable[Load], tick: float) -> None:
        """Have all loads ask, in batches, until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                for load in loads:
                    for _ in range(load.due(tick)):
                        group.start_soon(load.ask, self)
                await self.clock.sleep(tick)

    async def go_on(self, seconds: float) -> None:
        """Let time pass, slowly while an actuator or a thread is at work, which may need real time."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 1e-9:
            if self._is_acting():
                await anyio.sleep(0.001)
                await self.clock.advance(min(left, SLOW_STEP))
            else:
                await self.clock.advance(min(left, self.step))

    def _is_acting(self) -> bool:
        if anyio.to_thread.current_default_thread_limiter().borrowed_tokens:
            return True
        types = self.kernel.statistics().actions.types
        return any(types[name].running for name in ACTS if name in types)

    async def ask(self, tag: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask a plugin, or homeostasis."""
        return await self.kernel.call_tag(tag, body or {}, timeout=30.0)

    async def save_and_reload(self, plugin: str, source: str) -> None:
        """Put new code on disk and have hot swap load it, as a deployment does."""
        (self.folder / f"{plugin}.py").write_text(source, encoding="utf-8")
        async with anyio.create_task_group() as group:
            group.start_soon(self._reload, plugin, group.cancel_scope)
            while True:
                await anyio.sleep(0.001)
                await self.clock.advance(SLOW_STEP)

    async def _reload(self, plugin: str, over: anyio.CancelScope) -> None:
        await self.kernel.call(Reload(plugin), timeout=60.0)
        over.cancel()

    async def hear(self, events: Subscription[Message]) -> None:
        """Note what actuators did."""
        async for event in events:
            said = msgspec.to_builtins(event)
            self.deeds.append(
                Deed(self.since, said["actuator"], said["target"], said["summary"], undone=said["undone"])
            )

    async def failures(self) -> list[Deed]:
        """Return what actuators could not do."""
        began = self.clock.time() - self.since
        return [
            Deed(letter.ts - began, letter.params["actuator"], letter.params["target"], letter.message, failed=True)
            for letter in await self.kernel.get_dlq_items(1000)
            if letter.action_type in ACTS
        ]


class Scenario(msgspec.Struct, frozen=True):
    """A fault, and the host that it strikes.

    Attributes:
        name: What a reader is told.
        plugins: Sources, by plugin.
        loads: Makes the load.
        strikes: Begins the fault.
        helps: Actuator and target of what can help: a person who knows what is wrong would have taken one of them.
        seconds: How long it is watched after the fault.
        tick: Seconds between two batches of requests.
        kernel: Settings of the kernel.
        homeostasis: Settings of homeostasis.
        hot_swap: Whether there is hot swap.
    """

    name: str
    plugins: dict[str, str]
    loads: Callable[[], dict[str, Load]]
    strikes: Callable[[World, dict[str, Load]], Awaitable[None]]
    helps: frozenset[tuple[str, str]] = frozenset()
    seconds: float = 300.0
    tick: float = 0.5
    kernel: dict[str, Any] = {}
    homeostasis: dict[str, Any] = {}
    hot_swap: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        trouble: Seconds from when requests began to be served badly until they were served well for good.
        bad_share: Share of all requests since the fault that were served badly.
        requests: How many those were.
        bad_at_the_end: The same share in the last tenth of the time.
        bad_before: The same share before the fault.
        deeds: What homeostasis did.
        helps: As the scenario has it.
        complaints: One error of each kind that callers got.
        decisions: What homeostasis says of its decisions.
        quarantined: Actuators that are left alone at the end, and why.
    """

    trouble: float
    bad_share: float
    requests: int
    bad_at_the_end: float
    bad_before: float
    deeds: tuple[Deed, ...]
    helps: frozenset[tuple[str, str]]
    complaints: dict[str, str]
    decisions: tuple[dict[str, Any], ...] = ()
    quarantined: dict[str, str] = {}

    @property
    def acts(self) -> list[Deed]:
        """What was done or tried, without what took it back."""
        return [deed for deed in self.deeds if not deed.undone]

    @property
    def useless(self) -> list[Deed]:
        """Acts that could not have helped."""
        return [deed for deed in self.acts if (deed.actuator, deed.target) not in self.helps]

    def __str__(self) -> str:
        lines = [f"{self.trouble:.0f} s of trouble, {self.bad_share:.1%} of {self.requests} requests served badly"]
        lines += [str(deed) for deed in self.deeds]
        lines += [decision["text"] for decision in self.decisions]
        lines += [f"{name}: {text}" for name, text in self.complaints.items()]
        return "\n".join(lines)


async def live_through(scenario: Scenario, *, healing: bool) -> Outcome:
    """Live through a scenario, with homeostasis or without, and return what came of it."""
    _free_memory()
    loads = scenario.loads()
    with tempfile.TemporaryDirectory() as folder:
        async with a_world(scenario, Path(folder), healing=healing) as world, anyio.create_task_group() as group:
            group.start_soon(world.bear, loads.values(), scenario.tick)
            await world.go_on(WARM_UP)
            world.struck = world.clock.monotonic()
            await scenario.strikes(world, loads)
            await world.go_on(scenario.seconds - world.since)
            outcome = await _outcome(world, scenario, healing=healing)
            group.cancel_scope.cancel()
    _free_memory()
    return outcome


def _free_memory() -> None:
    """Give back what worlds have left: each is measured as if it were alone in its process."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def _outcome(world: World, scenario: Scenario, *, healing: bool) -> Outcome:
    begin = world.struck
    patience = 10.0  # those who asked last have no answer yet
    end = begin + scenario.seconds - patience
    explained = await world.ask("homeostasis.explain", {"limit": 100}) if healing else {"decisions": []}
    actuators = (await world.ask("homeostasis.actuators"))["actuators"] if healing else []
    return Outcome(
        trouble=world.score.trouble(begin, end),
        bad_share=world.score.bad_share(begin, end),
        requests=world.score.count(begin, end),
        bad_at_the_end=world.score.bad_share(end - scenario.seconds / 10, end),
        bad_before=world.score.bad_share(0.0, begin),
        deeds=tuple(sorted([*world.deeds, *await world.failures()], key=lambda deed: deed.at)),
        helps=scenario.helps,
        complaints=world.complaints,
        decisions=tuple(reversed(explained["decisions"])),
        quarantined={each["name"]: each["quarantined"] for each in actuators if each["quarantined"]},
    )


@asynccontextmanager
async def a_world(scenario: Scenario, folder: Path, *, healing: bool) -> AsyncGenerator[World]:
    """Host a scenario's plugins."""
    for name, source in scenario.plugins.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    limits = {
        "data_dir": None,
        "durability": "none",
        "discover": False,
        "control_socket": False,
        "block_threshold": 30.0,
    }
    document = {
        "profile": "test",
        "kernel": {**limits, **scenario.kernel},
        "plugins": {name: {"source": f"{name}.py"} for name in scenario.plugins},
    }
    clock = WorldClock()
    async with anyio.create_task_group() as beside:
        async with Kernel(Config.parse(document, root=folder), clock=clock) as kernel:
            try:
                assert all(info.state == "serving" for info in kernel.plugins()), kernel.plugins()
                if scenario.hot_swap:
                    await kernel.add_plugin(HmrController)
                world = World(kernel, clock, folder, 2 * scenario.tick)
                with kernel.subscribe("homeostasis.acted", capacity=10_000) as events:
                    beside.start_soon(world.hear, events)
                    if healing:
                        settings = {"interval": 1.0, "mode": "act", **scenario.homeostasis}
                        await kernel.add_plugin(Homeostasis, settings=settings)
                    yield world
            finally:
                beside.start_soon(_go_on_for_ever, clock)  # the stop has its time limits by this clock
        beside.cancel_scope.cancel()


async def _go_on_for_ever(clock: FakeClock) -> None:
    while True:
        await clock.advance(1.0)
        await anyio.sleep(0.001)
