"""Scenarios: what goes wrong when, and for how long it is looked at."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import pi, sin

import msgspec

from healing.plant import Plant
from healing.sensing import OF_TARGETS, Broken, Sensors, flaps, says, silent
from healing.target import Target, Version

BEGIN = 120.0
"""When the fault comes, in seconds."""
END = 720.0
TAIL = 30.0
"""Seconds at the end in which what came before may still be answered."""
DAY = 86_400.0
LARGER = 3
"""Targets, of the five, that enough is asked of for their code to matter."""

Fault = Callable[[Plant, Sensors, random.Random], None]


class Scenario(msgspec.Struct, frozen=True):
    """Something to live through.

    Attributes:
        name: What a reader is told.
        happens: Prepares plant and sensors.
        kind: Whether one thing goes wrong, two do, a sensor alone does, or nothing.
        end: Seconds that it goes on.
        step: Seconds of a step of the plant, and between two looks of a controller.
    """

    name: str
    happens: Fault
    kind: str = "single"
    end: float = END
    step: float = 0.5
    look: float = 1.0


def targets() -> list[Target]:
    """Return what the plant is made of."""
    return [
        Target("search", 0.30, 0.25),
        Target("basket", 0.25, 0.20),
        Target("prices", 0.20, 0.30),
        Target("images", 0.15, 0.25),
        Target("mail", 0.10, 0.40),
    ]


def load(plant: Plant, _: Sensors, rng: random.Random) -> None:
    """Three times as many requests come as can be served, for four minutes."""
    factor = 3 * plant.capacity() / plant.rate
    plant.at(BEGIN + rng.random(), lambda: plant.surge_by(factor, 240.0))


def storm(plant: Plant, _: Sensors, rng: random.Random) -> None:
    """All is slow for 20 s; the retries of those who gave up keep it so."""
    plant.at(BEGIN + rng.random(), lambda: plant.slow_down(6.0, 20.0))


def leak(plant: Plant, _: Sensors, rng: random.Random) -> None:
    """A target's memory grows, and its cleanup lets go of most of it."""
    name, speed = rng.choice([*plant.targets]), rng.uniform(2e6, 4e6)
    plant.at(BEGIN, lambda: plant.leak(name, speed))


def wedge(plant: Plant, _: Sensors, rng: random.Random) -> None:
    """A target answers no more until it is begun anew."""
    name = rng.choice([*plant.targets])
    plant.at(BEGIN + rng.random(), lambda: plant.wedge(name))


def bad_version(plant: Plant, _: Sensors, rng: random.Random) -> None:
    """New code of one of the larger targets fails three times in ten."""
    name = rng.choice([*plant.targets][:LARGER])
    plant.at(BEGIN + rng.random(), lambda: plant.deploy(name, Version(error_rate=0.3)))


def blind(plant: Plant, sensors: Sensors, rng: random.Random) -> None:
    """New code of one of the larger targets fails three times in ten, and the sensor of its errors says none do."""
    name = rng.choice([*plant.targets][:LARGER])
    plant.at(BEGIN + rng.random(), lambda: plant.deploy(name, Version(error_rate=0.3)))
    sensors.broken[f"{name}.errors"] = says(0.0)


def idle_cleanup(plant: Plant, sensors: Sensors, rng: random.Random) -> None:
    """A target leaks; its cleanup says that it is done, and changes nothing."""
    leak(plant, sensors, rng)
    plant.broken["release"] = "lies"


def failing_actuator(plant: Plant, sensors: Sensors, rng: random.Random) -> None:
    """A target is wedged, and whatever would begin it anew fails."""
    wedge(plant, sensors, rng)
    plant.broken["restart"] = plant.broken["rollback"] = "fails"


def wedge_and_leak(plant: Plant, sensors: Sensors, rng: random.Random) -> None:
    """One target is wedged, another leaks."""
    wedged, leaking = rng.sample([*plant.targets], 2)
    plant.at(BEGIN + rng.random(), lambda: plant.wedge(wedged))
    plant.at(BEGIN, lambda: plant.leak(leaking, 3e6))
    del sensors


def load_and_bad_version(plant: Plant, sensors: Sensors, rng: random.Random) -> None:
    """New code fails three times in ten while three times as much comes as can be served."""
    load(plant, sensors, rng)
    bad_version(plant, sensors, rng)


def sensor(make: Callable[[random.Random], Broken], *names: str) -> Fault:
    """Return a scenario in which sensors of one target are broken and nothing else is."""

    def happens(plant: Plant, sensors: Sensors, rng: random.Random) -> None:
        target = rng.choice([*plant.targets])
        broken = make(rng)

        def breaks() -> None:
            for name in names:
                sensors.broken[f"{target}.{name}"] = broken

        plant.at(BEGIN, breaks)

    return happens


def day(plant: Plant, _: Sensors, rng: random.Random) -> None:
    """A day like any other: more at noon than at night, bursts, pauses, and things that pass before anybody acts."""
    plant.curve = lambda now: 1 - 0.15 * sin(2 * pi * (now / DAY + 0.2))
    names = [*plant.targets]

    def often(times: int, happens: Callable[[], None]) -> None:
        for _ in range(times):
            plant.at(rng.uniform(BEGIN, DAY), happens)

    often(60, lambda: plant.surge_by(rng.uniform(1.1, 1.25), rng.uniform(4, 12)))
    often(150, lambda: plant.pause(rng.uniform(0.3, 1.2)))
    often(30, lambda: plant.hiccup(rng.choice(names), rng.uniform(0.1, 0.4), rng.uniform(3, 8)))
    often(20, lambda: plant.wedge(rng.choice(names), rng.uniform(0.5, 2)))
    often(4, lambda: plant.deploy(rng.choice(names), Version()))


SCENARIOS = (
    Scenario("load step, 3 x capacity", load),
    Scenario("retry storm", storm),
    Scenario("leak", leak),
    Scenario("wedge", wedge),
    Scenario("bad version", bad_version),
    Scenario("bad version, lying sensor", blind),
    Scenario("leak, idle cleanup", idle_cleanup),
    Scenario("wedge, failing actuator", failing_actuator),
    Scenario("wedge and leak", wedge_and_leak, "double"),
    Scenario("load and bad version", load_and_bad_version, "double"),
    Scenario("sensor flaps", sensor(lambda rng: flaps(0.0, 0.6, rng.uniform(6, 14)), "errors"), "sensor"),
    Scenario("sensor lies: errors", sensor(lambda _: says(0.6), "errors"), "sensor"),
    Scenario("sensor lies: stuck", sensor(lambda _: says(40.0), "stuck"), "sensor"),
    Scenario("sensor lies: memory", sensor(lambda _: says(9e8), "memory"), "sensor"),
    Scenario("sensors go silent", sensor(lambda _: silent(BEGIN), *OF_TARGETS), "sensor"),
    Scenario("a day without a fault", day, "none", end=DAY, step=1.0, look=1.0),
)
