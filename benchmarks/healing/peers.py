"""Peers: controllers that ours is compared with, from nothing at all to one that knows what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from healing.plant import Outcome, Plant
from healing.sensing import Samples
from healing.target import Target

Act = Callable[..., Outcome]
"""``act(action, target="", value=0.0)`` of the plant, watched by the judge."""

Read = Callable[[], Samples]
"""Reads the plant's sensors."""


class Controller(Protocol):
    """Something that looks and acts."""

    def look(self, now: float, read: Read, act: Act) -> None:
        """Look once, and do what seems right."""


class Nothing:
    """Does nothing."""

    def look(self, now: float, read: Read, act: Act) -> None:
        """Look on."""


class BangBang:
    """Acts at once when a threshold is passed, and again after ten seconds if it still is."""

    AGAIN = 10.0

    def __init__(self) -> None:
        self._done: dict[tuple[str, str], float] = {}

    def look(self, now: float, read: Read, act: Act) -> None:
        """Compare each reading with its threshold."""
        samples = read()

        def value(name: str) -> float:
            sample = samples.get(name)
            return sample.value if sample is not None and sample.value is not None else 0.0

        def once(action: str, target: str = "", number: float = 0.0) -> None:
            if now - self._done.get((action, target), -math.inf) >= self.AGAIN:
                self._done[action, target] = now
                act(action, target, number)

        names = [name.removesuffix(".changed") for name in samples if name.endswith(".changed")]
        for name in names:
            if value(f"{name}.errors") > 0.2:
                once("rollback" if value(f"{name}.changed") < 600 else "restart", name)
            if value(f"{name}.stuck") > 5:
                once("restart", name)
        if value("memory") > 0.8:
            once("restart", max(names, key=lambda name: value(f"{name}.memory")))
        if value("queue.wait") > 2:
            once("shed")
            once("queue_limit", number=100)
        elif value("queue.wait") < 0.5:
            once("unshed")
            once("queue_limit", number=1000)


class Pid:
    """A plain PID controller of how many requests may be inside, by how long the oldest has waited; nothing else."""

    SETPOINT = 1.0
    KP, KI, KD = 60.0, 8.0, 20.0
    LOW, HIGH = 10.0, 1000.0

    def __init__(self) -> None:
        self._integral, self._error, self._at = self.HIGH, 0.0, 0.0

    def look(self, now: float, read: Read, act: Act) -> None:
        """Move the limit."""
        wait = read()["queue.wait"].value
        if wait is None:
            return
        passed, self._at = now - self._at, now
        error = self.SETPOINT - wait
        self._integral = min(max(self._integral + self.KI * error * passed, self.LOW), self.HIGH)
        limit = self._integral + self.KP * error + self.KD * (error - self._error) / passed
        self._error = error
        act("queue_limit", value=min(max(limit, self.LOW), self.HIGH))


class Oracle:
    """Knows what is wrong, and does what is right at once."""

    CROWDED = 0.7

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._calm_since = 0.0

    def look(self, now: float, read: Read, act: Act) -> None:
        """Ask the plant itself."""
        del read
        plant = self._plant
        for target in plant.targets.values():
            self._mend(target, act)
        overload = plant.wait() > plant.slo / 2 or plant.demand() > plant.capacity() or now < plant.slow_until
        if overload:
            self._calm_since = now
            act("shed")
            act("workers", value=56)
            act("queue_limit", value=max(5, 0.5 * plant.slo * plant.capacity()))
        elif plant.shed and now - self._calm_since > 10:
            act("unshed")
            act("workers", value=32)
            act("queue_limit", value=1000)

    def _mend(self, target: Target, act: Act) -> None:
        plant, now = self._plant, self._plant.now
        if target.down(now):
            return
        if target.versions[-1].error_rate > 0.1:
            act("rollback", target.name)
        elif target.wedged(now) and now - target.answered_at > 1 and act("restart", target.name) == "failed":
            act("disable", target.name)
        elif plant.memory > self.CROWDED and target.leaked > 0.1 * plant.memory_limit:
            act("restart" if "release" in plant.broken else "release", target.name)
