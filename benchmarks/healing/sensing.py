"""Sensors: what can be read of the plant from outside, with noise, delays and gaps, and sensors that are broken."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from healing.plant import Plant
from healing.target import Target

ENOUGH = 10  # calls that say something about the share of them that fails
LONGEST = 60.0  # seconds that such a share looks back on
GROWTH = 20.0  # seconds that the growth of a target's memory is drawn from
NOISE = 0.05
GAPS = 0.01  # share of readings that are missing
DELAYED = 0.05  # share of readings that are one look old


class Sample(msgspec.Struct, frozen=True):
    """A reading: its value, ``None`` if nobody knows, and for how many seconds it has been so."""

    value: float | None
    age: float = 0.0


UNKNOWN, ZERO = Sample(None), Sample(0.0)
Samples = Mapping[str, Sample]
Broken = Callable[[float, Sample], Sample]
"""What a broken sensor makes of a reading at that time."""


def says(value: float) -> Broken:
    """Return a sensor that always says the same."""
    return lambda _, __: Sample(value)


def flaps(low: float, high: float, period: float) -> Broken:
    """Return a sensor that says one thing and another in turn."""
    return lambda now, _: Sample(high if now % period < period / 2 else low)


def silent(since: float) -> Broken:
    """Return a sensor that said its last word then, and that is handed out still."""
    return lambda now, sample: Sample(sample.value if now - since < 10 else None, max(0.0, now - since))


OF_TARGETS = (
    "changed",
    "errors",
    "rate",
    "faults",
    "timeouts",
    "latency",
    "held",
    "oldest",
    "stuck",
    "memory",
    "growth",
)


class Sensors:
    """Reads the plant.

    What can be read:

    - ``offered``, ``refused``, ``gave_up``, ``served``: requests a second; ``failing``: share that clients did not get;
      ``errors``: share of what was served that failed.
    - ``failed`` (1/s, of what was served), ``again`` (share of what is asked that was asked before), ``growth`` (of
      memory, bytes/s), ``workers``, ``room`` (places of the queue), ``limit`` (seconds of a call).
    - ``queue.waiting``, ``queue.full`` (share of its places), ``queue.wait`` (s, of the oldest), ``busy`` (ratio).
    - ``chores``: background work that is left, in seconds of a worker.
    - ``memory`` (ratio), ``pause`` (seconds that nothing was done).
    - of each target, as ``<target>.errors``: ``errors`` (ratio), ``rate`` (1/s), ``faults`` (1/s, from its log),
      ``timeouts`` (1/s), ``latency`` (s), ``held`` (requests in hand), ``oldest`` (s), ``stuck`` (s that it has been
      asked and has not answered), ``memory`` (bytes), ``growth`` (bytes/s), ``changed`` (s since it got new code).

    Args:
        plant: What is read.
        seed: Of noise and gaps.
        broken: Sensors that are broken, by name.
    """

    def __init__(self, plant: Plant, seed: int, broken: Mapping[str, Broken] | None = None) -> None:
        self._plant = plant
        self._rng = random.Random(f"{seed} sensors")
        self.broken: dict[str, Broken] = dict(broken or {})
        self._watched = {name: _Watched(target) for name, target in plant.targets.items()}
        self._at = plant.now
        self._counted = (0, 0, 0, 0, 0, 0)
        self._grown = _Growth()
        self._last: dict[str, float | None] = {}

    def read(self) -> Samples:
        """Read all."""
        now = self._plant.now
        passed = max(now - self._at, 1e-9)
        truth = self._whole(passed)
        for watched in self._watched.values():
            truth.update(watched.read(now, passed))
        chance, last = self._rng.random, self._last
        samples: dict[str, Sample] = {}
        for name, value in truth.items():
            luck = chance()
            if value is None or luck < GAPS:
                samples[name] = UNKNOWN
            elif luck < GAPS + DELAYED:
                samples[name] = Sample(last.get(name), passed)
            elif value:
                samples[name] = Sample(value * (1 - NOISE + 2 * NOISE * luck))
            else:
                samples[name] = ZERO
        for name, broken in self.broken.items():
            samples[name] = broken(now, samples.get(name, Sample(None)))
        self._last, self._at = truth, now
        return samples

    def _whole(self, passed: float) -> dict[str, float | None]:
        plant = self._plant
        counts = (plant.offered, plant.refused, plant.gave_up, plant.served, plant.failed, plant.repeated)
        before, self._counted = self._counted, counts
        offered, refused, gave_up, served, errors, again = [new - old for new, old in zip(counts, before, strict=True)]
        return {
            "offered": offered / passed,
            "refused": refused / passed,
            "gave_up": gave_up / passed,
            "served": served / passed,
            "errors": min(1.0, errors / served) if served >= ENOUGH else None,
            "failed": errors / passed,
            "again": again / offered if offered >= ENOUGH else None,
            "growth": self._grown.per_second(plant.now, plant.memory * plant.memory_limit),
            "workers": float(plant.workers),
            "room": float(plant.queue_limit),
            "limit": plant.call_limit,
            "failing": min(1.0, (refused + gave_up + errors) / offered) if offered >= ENOUGH else None,
            "queue.waiting": float(plant.waiting),
            "queue.full": plant.waiting / plant.queue_limit,
            "queue.wait": plant.wait(),
            "busy": plant.busy,
            "chores": plant.chores * plant.chore_work,
            "memory": plant.memory,
            "pause": max(0.0, min(passed, plant.paused_until - plant.now)),
        }


class _Watched:
    """What is remembered of a target between two looks."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._names = tuple(f"{target.name}.{name}" for name in OF_TARGETS)
        self._begin_anew()

    def _begin_anew(self) -> None:
        target = self._target
        self._lives = target.lives
        self._past: deque[tuple[float, int, int]] = deque([(-math.inf, 0, 0)])
        self._before = (0, 0, 0)
        self._growth = _Growth()

    def read(self, now: float, passed: float) -> dict[str, float | None]:
        it = self._target
        if it.lives != self._lives:
            self._begin_anew()
        changed = min(now - it.changed_at, 1e6)
        if it.down(now):
            return {self._names[0]: changed}
        holding = it.holding
        oldest = now - it.held[0].born if holding else 0.0
        counts = (it.calls, it.faults, it.timeouts)
        calls, faults, timeouts = [(new - old) / passed for new, old in zip(counts, self._before, strict=True)]
        self._before = counts
        values = (
            changed,
            self._errors(now, it.calls - holding, it.errors),
            calls,
            faults,
            timeouts,
            it.latency,
            holding + calls * it.latency,
            max(oldest, it.latency),
            now - it.answered_at if holding >= 2 and it.held[0].born > it.answered_at - 10 else 0.0,
            it.memory,
            self._growth.per_second(now, it.memory),
        )
        return dict(zip(self._names, values, strict=True))

    def _errors(self, now: float, finished: int, errors: int) -> float | None:
        past = self._past
        past.append((now, finished, errors))
        while len(past) > 1 and past[0][0] < now - LONGEST:
            past.popleft()
        for _, was_finished, was_errors in reversed(past):
            if finished - was_finished >= ENOUGH:
                return max(0.0, (errors - was_errors) / (finished - was_finished))
        return None


class _Growth:
    """How fast something grows, over the last seconds."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, float]] = deque()

    def per_second(self, now: float, value: float) -> float | None:
        self._past.append((now, value))
        if self._past[0][0] < now - GROWTH:
            self._past.popleft()
        begun, was = self._past[0]
        return (value - was) / (now - begun) if now - begun >= 10 else None
