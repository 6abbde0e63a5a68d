"""The faults: plugins that have them, the load that meets them, and what a person who knows would do about them."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aetherra.kernel import ActionPriority, RetryPolicy
from aetherra.registry import Message, Request

from .healing_world import Load, Scenario, World

MIB = 2**20
MINUTE = 60.0
HOUR = 3600.0

PLUGIN = """
from aetherra.plugins import Message, MetricSample, Plugin, Request, handler, hookimpl

class Served(Message, tag="{name}.served"):
    pass

class Serve(Request[Served], tag="{name}.serve"):
    keep: int = 0
    number: int = 0

class Turn(Request[Served], tag="{name}.turn"):
    to: str

class It(Plugin):
    name = "{name}"
    service = "{name}"
    how = "well"
    count = 0

    @handler
    async def turn(self, request: Turn) -> Served:
        self.how = request.to
        return Served()

    @handler
    async def serve(self, request: Serve) -> Served:
        self.count += 1
{serve}
        return Served()
{body}
"""


def plugin(name: str, serve: str = "", body: str = "") -> str:
    """Return the source of a plugin that answers ``<name>.serve``, and that ``<name>.turn`` turns into another mood."""
    return PLUGIN.format(name=name, serve=_indented(serve, 8), body=_indented(body, 4))


def _indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in text.strip("\n").splitlines())


BYSTANDERS = ("shelf", "stamp", "clerk", "porter")


def with_bystanders(**plugins: str) -> dict[str, str]:
    """Return the sources of plugins, and of some that are well and stay so."""
    return {**plugins, **{name: plugin(name) for name in BYSTANDERS}}


def load_on(*names: str, rate: float = 4.0) -> dict[str, Load]:
    """Return calls of some plugins, and fewer of the bystanders."""
    loads = {name: Load(f"{name}.serve", rate) for name in names}
    return loads | {name: Load(f"{name}.serve", 0.5) for name in BYSTANDERS}


# A leak

LEAKING = """
if request.keep and sum(map(len, self.kept)) + request.keep > 96 * 2**20:
    raise MemoryError(f"{len(self.kept)} pieces are kept")
if request.keep:
    self.kept.append(bytes([self.count % 255 + 1]) * request.keep)
"""
KEEPS = """
def __init__(self, settings=None):
    super().__init__(settings)
    self.kept = []
"""
BOASTS = """
@hookimpl
def release_memory(self):
    return 512 * 2**20
"""


async def begin_to_leak(_: World, loads: dict[str, Load]) -> None:
    loads["cache"].body = {"keep": MIB // 4}
    loads["cache"].rate = 2.0


LEAK = Scenario(
    name="a plugin that leaks memory",
    plugins=with_bystanders(cache=plugin("cache", LEAKING, KEEPS)),
    loads=lambda: load_on("cache"),
    strikes=begin_to_leak,
    helps=frozenset({("restart_plugin", "cache"), ("reload_plugin", "cache")}),
    seconds=320.0,
)
IDLE_CLEANUP = Scenario(
    name="a cleanup that reports ok and changes nothing",
    plugins=with_bystanders(cache=plugin("cache", LEAKING, KEEPS + BOASTS)),
    loads=lambda: load_on("cache"),
    strikes=begin_to_leak,
    helps=LEAK.helps,
    seconds=320.0,
)

# A wedge

WEDGING = """
if self.how == "wedged":
    await self.ctx.clock.sleep(1e9)
"""


async def wedge(world: World, _: dict[str, Load]) -> None:
    await world.ask("desk.turn", {"to": "wedged"})


WEDGE = Scenario(
    name="a plugin that wedges",
    plugins=with_bystanders(desk=plugin("desk", WEDGING)),
    loads=lambda: load_on("desk"),
    strikes=wedge,
    seconds=200.0,
    helps=frozenset({("restart_plugin", "desk"), ("reload_plugin", "desk")}),
)

# A bad reload

FAILING = """
if self.count % 10 in (2, 5, 9):
    raise ValueError(f"no page {self.count}")
"""


async def deploy_badly(world: World, _: dict[str, Load]) -> None:
    await world.save_and_reload("pages", plugin("pages", FAILING))


BAD_RELOAD = Scenario(
    name="an error rate of 0.3 after a bad reload",
    plugins=with_bystanders(pages=plugin("pages")),
    loads=lambda: load_on("pages"),
    strikes=deploy_badly,
    seconds=200.0,
    helps=frozenset({("roll_back_plugin", "pages")}),
    hot_swap=True,
)

# Overload


class Done(Message, tag="mill.served"):
    """What the plugins below answer."""


class Grind(Request[Done], tag="mill.serve"):
    """A tenth of a second of work."""


class Paid(Message, tag="till.served"):
    """What the plugin below answers."""


class Pay(Request[Paid], tag="till.serve"):
    """Work that takes the longer the more of it is done at a time."""


def grinding() -> dict[str, Load]:
    kinds = {"normal": (10.0, ActionPriority.MEDIUM), "background": (4.0, ActionPriority.LOW)}
    loads = {
        name: Load("mill.serve", rate, timeout=3.0, submit=Grind, priority=priority)
        for name, (rate, priority) in kinds.items()
    }
    return load_on() | loads


async def triple(_: World, loads: dict[str, Load]) -> None:
    loads["normal"].rate, loads["background"].rate = 42.0, 18.0


LOAD_STEP = Scenario(
    name="a load step of 3x capacity",
    plugins=with_bystanders(mill=plugin("mill", "await self.ctx.clock.sleep(0.1)")),
    loads=grinding,
    strikes=triple,
    helps=frozenset({("set_workers", ""), ("shed_background", ""), ("shed_background", "background")}),
    kernel={"workers": 2},
    seconds=160.0,
)

CROWDED = """
async with database.query():
    await self.ctx.clock.sleep(database.seconds)
"""
DATABASE = "crowded_database"
IMPORT_DATABASE = f"import {DATABASE} as database\n"


class Database:
    """Something outside of the host that is the slower the more is asked of it at a time: no restart helps it."""

    CAPACITY = 6.0

    def __init__(self) -> None:
        self.stalls = False
        self._inside = 0

    @property
    def seconds(self) -> float:
        """What a query takes that begins now."""
        return max(0.05, self._inside / self.CAPACITY) + (5.0 if self.stalls else 0.0)

    @asynccontextmanager
    async def query(self) -> AsyncGenerator[None]:
        """Be one of those who ask."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


IMPATIENT = RetryPolicy(max_attempts=4, backoff_sec=0.25, max_backoff_sec=0.25, jitter=False)


def paying() -> dict[str, Load]:
    sys.modules[DATABASE] = Database()  # type: ignore[assignment]  # as good as a module to who imports it
    kinds = {"normal": (1.5, ActionPriority.MEDIUM), "background": (1.5, ActionPriority.LOW)}
    loads = {
        name: Load(
            "till.serve", rate, timeout=10.0, submit=Pay, priority=priority, retry=IMPATIENT, attempt_timeout=1.0
        )
        for name, (rate, priority) in kinds.items()
    }
    return load_on() | loads


async def stall(world: World, _: dict[str, Load]) -> None:
    database = sys.modules[DATABASE]
    database.stalls = True
    await world.go_on(8.0)
    database.stalls = False


STORM = Scenario(
    name="a retry storm",
    plugins=with_bystanders(till=IMPORT_DATABASE + plugin("till", CROWDED)),
    loads=paying,
    strikes=stall,
    helps=frozenset({("set_workers", ""), ("shed_background", ""), ("shed_background", "background")}),
    kernel={"workers": 32},
)

# Sensors

SENSOR = """
@hookimpl
def collect_metrics(self):
    now = self.ctx.clock.monotonic()
    value = 0.3
    if self.how == "flaps":
        value = 0.99 if now % 7 < 3 else 0.05
    elif self.how == "lies":
        value = 0.97 + now % 10 / 1000
    elif self.how == "silent" and now % 40 < 2:
        value = 0.99
    elif self.how == "silent" and now % 40 > 34:
        value = 0.3
    elif self.how == "silent" and now % 120 < 40:
        raise OSError("the probe is gone")
    elif self.how == "silent" and now % 120 < 80:
        value = None
    elif self.how == "silent":
        return None
    return [MetricSample("pressure", value, "ratio")]
"""
DISAGREES = {"metric": "plugin.*.error_ratio", "above": 0.1}
AGREES = {"metric": "plugin.*.call_rate", "above": 1.0}


def a_sensor_that(how: str) -> Scenario:
    """Return the scenario of a plugin that is well, whose own metric is not, and of a rule that goes by it.

    Before it goes silent it is bad, too briefly to count, and the other witness agrees; silence must not add to that.
    """

    async def breaks(world: World, _: dict[str, Load]) -> None:
        await world.ask("probe.turn", {"to": how})

    pressure = {
        "metric": "*.pressure",
        "bad_above": 0.8,
        "clear": 0.6,
        "confirm": [AGREES if how == "silent" else DISAGREES],
        "ladder": [{"action": "restart_plugin", "disruptive": True}],
    }

    return Scenario(
        name=f"a sensor that {'goes silent' if how == 'silent' else how}",
        plugins=with_bystanders(probe=plugin("probe", body=SENSOR)),
        loads=lambda: load_on("probe"),
        strikes=breaks,
        homeostasis={"rules": {"pressure": pressure}},
        seconds=200.0,
    )


SENSORS = tuple(map(a_sensor_that, ("flaps", "lies", "silent")))

# An actuator that always fails

FAILS_WHEN_TOLD = """
if self.how == "fails" and self.count % 10 in (2, 5, 9):
    raise ValueError(f"no page {self.count}")
"""
PAGES = ("pages", "papers", "posts")
ROLL_BACK = {
    "metric": "plugin.*.error_ratio",
    "bad_above": 0.15,
    "clear": 0.05,
    "confirm": [{"metric": "plugin.*.call_rate", "above": 1.0}],
    "ladder": [{"action": "roll_back_plugin", "disruptive": True, "settle": 10.0, "tries": 100}],
}
QUARANTINE = {"in_a_row": 4, "rest": 240.0}


async def fail_all(world: World, _: dict[str, Load]) -> None:
    for name in PAGES:
        await world.ask(f"{name}.turn", {"to": "fails"})


FAILING_ACTUATOR = Scenario(
    name="an actuator that always fails",
    plugins=with_bystanders(**{name: plugin(name, FAILS_WHEN_TOLD) for name in PAGES}),
    loads=lambda: load_on(*PAGES),
    strikes=fail_all,
    homeostasis={
        "rules": {"failing": ROLL_BACK},
        "limits": {"roll_back_plugin": 1.0},
        "quarantine": QUARANTINE,
    },
    seconds=500.0,
)

# Two at once, and none


async def wedge_and_leak(world: World, loads: dict[str, Load]) -> None:
    await begin_to_leak(world, loads)
    await wedge(world, loads)


TWO_FAULTS = Scenario(
    name="two faults at once",
    plugins=with_bystanders(desk=plugin("desk", WEDGING), cache=plugin("cache", LEAKING, KEEPS)),
    loads=lambda: load_on("desk", "cache"),
    strikes=wedge_and_leak,
    helps=LEAK.helps | WEDGE.helps,
    seconds=320.0,
)

SOMETIMES = """
if self.count % 97 == 13:
    raise ValueError("one in a hundred")
if self.count % 61 == 7:
    await self.ctx.clock.sleep(0.4)
"""


SOMETIMES_AGAIN = """
await self.ctx.clock.sleep(0.1)
if self.count % 41 == 11:
    raise ValueError("it works the next time")
"""


async def deploy_well(world: World, _: dict[str, Load]) -> None:
    await world.save_and_reload("desk", plugin("desk", SOMETIMES + "# no worse than before"))


def a_quiet_time(seconds: float, interval: float) -> Scenario:
    """Return a scenario without a fault: single errors, single slow calls, single retries, a good reload, no more."""
    grinding = Load("mill.serve", 0.5, timeout=30.0, submit=Grind)
    return Scenario(
        name="no fault" if seconds < 24 * HOUR else "no fault for a day",
        plugins=with_bystanders(desk=plugin("desk", SOMETIMES), mill=plugin("mill", SOMETIMES_AGAIN)),
        loads=lambda: load_on("desk", rate=1.0) | {"mill": grinding},
        strikes=deploy_well,
        homeostasis={"interval": interval},
        seconds=seconds,
        tick=2.0 if seconds < 24 * HOUR else 10.0,
        hot_swap=True,
    )


SINGLE_FAULTS = (LEAK, WEDGE, BAD_RELOAD, LOAD_STEP, STORM, IDLE_CLEANUP)
"""Those from which homeostasis recovers the host, and nobody else does."""
