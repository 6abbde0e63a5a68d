"""A regulator: one knob on one target, and the PID that turns it."""

from __future__ import annotations

import math

import msgspec

from aetherra.plugins.homeostasis.decision.clause import Clause, Holding
from aetherra.plugins.homeostasis.decision.knob import Knob
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.observation import Observation, read_sum
from aetherra.plugins.homeostasis.decision.signal import reached

__all__ = ["Regulator", "RegulatorMemory"]

LOWEST_GAIN, HIGHEST_GAIN = 0.5, 2.0
"""A gain that learns without bounds is a random walk."""
_LARGEST_ERROR = 2.0  # of a logarithm: beyond a factor of seven more is no news
_LARGEST_RELIEF = math.log(2.0)  # of an error that lets the knob go back to rest: that is not urgent
_SMALLEST = 1e-9  # in place of 0, whose logarithm there is not
_MANY_TURNS = 3.0  # decayed count of reversals that is an oscillation


class RegulatorMemory(msgspec.Struct):
    """Where a knob stands: last told, exact place, integral, learnt gain, how it moved, and where it rests."""

    told: float
    place: float
    integral: float = 0.0
    gain: float = 1.0
    told_at: float | None = None
    moved: int = 0
    turns: float = 0.0
    rest: float | None = None


class Regulator:
    """PID in the knob's own domain, with the derivative on the measurement, a slew limit, and an integral that does not
    grow while the knob is at a bound or still on its way.

    Oscillation, which is told by reversals of what it decides, lowers the gain and makes the steps rarer; an error that
    stays raises it; rest brings it back to 1. The gain stays within 0.5 and 2.
    """  # noqa: D205

    def __init__(self, knob: Knob, target: str, memory: RegulatorMemory | None = None) -> None:
        self.knob, self.target = knob, target
        self._names = Naming(knob.metric).names(target)
        self._unless = tuple(Clause(condition, target) for condition in knob.unless)
        self._actual = Naming(knob.actual).names(target) if knob.actual else ()
        self.memory = memory or RegulatorMemory(told=float(knob.resting), place=float(knob.resting))
        self.memory.told = float(min(max(self.memory.told, knob.low), knob.high))
        self.memory.place = float(min(max(self.memory.place, knob.low), knob.high))
        self.metric = " + ".join(self._names)
        self.holds = "not seen yet"
        self.value: float | None = None
        self._looked_at: float | None = None
        self._stood: float | None = None
        self._away = 0  # votes: whether the samples were beyond the deadband
        self._before: float | None = None
        self.seen_at = 0.0

    def step(self, observation: Observation, now: float, holding: Holding) -> float | None:
        """Take the next observation in, and return where to turn the knob; None: it stays."""
        knob = self.knob
        value, _, why = read_sum(observation, self._names, knob.max_age)
        if value is not None and knob.plausible is not None and not knob.plausible[0] <= value <= knob.plausible[1]:
            value, why = None, f"it reads {value:.4g}, which cannot be"
        if value is not None:
            why = next((f"{clause.text}" for clause in self._unless if clause.met(observation, holding)), "")
        if value is None or why:
            self.holds, self._looked_at, self._before = why, None, None
            return None
        self._follow(observation, now)
        self.value = value
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, 5 * knob.every)
        self._looked_at = now
        if passed > 0 and self._wanted(value):
            self._move(self._error(value), self._speed(value, passed), passed)
        self._before = value
        return self._tell(now)

    def _wanted(self, value: float) -> bool:
        """Say whether to move: a knob at rest takes more than one sample to leave it."""
        error, memory = self._error(value), self.memory
        low, high, rest = self._bounds()
        away = (error > 0 and rest < high) or (error < 0 and rest > low)
        self._away = (self._away << 1 | away) & ((1 << self.knob.enter[1]) - 1)
        if memory.told != rest or reached(self._away, self.knob.enter):
            return True
        memory.place, memory.integral, self.holds = float(rest), 0.0, "at rest"
        return False

    def _bounds(self) -> tuple[float, float, float]:
        """Return the least and the highest place, and that of rest. Relief alone never turns a knob beyond its rest."""
        knob = self.knob
        rest = knob.resting if self.memory.rest is None else self.memory.rest
        if knob.rest is not None:
            return knob.low, knob.high, rest
        return (rest, knob.high, rest) if knob.direction == "up" else (knob.low, rest, rest)

    def _error(self, value: float) -> float:
        knob = self.knob
        if knob.log:
            error = math.log(max(value, _SMALLEST) / knob.setpoint)
            error, band = min(max(error, -_LARGEST_ERROR), _LARGEST_ERROR), math.log1p(knob.deadband)
        else:
            error, band = value - knob.setpoint, knob.deadband
        inside = math.copysign(max(abs(error) - band, 0.0), error)
        return inside if knob.direction == "up" else -inside

    def _speed(self, value: float, passed: float) -> float:
        knob = self.knob
        if not knob.kd or self._before is None:
            return 0.0
        if knob.log:
            change = math.log(max(value, _SMALLEST) / max(self._before, _SMALLEST))
            change = min(max(change, -_LARGEST_ERROR), _LARGEST_ERROR)
        else:
            change = value - self._before
        return (change if knob.direction == "up" else -change) / passed

    def _move(self, error: float, speed: float, passed: float) -> None:
        knob, memory = self.knob, self.memory
        low, high, rest, place = (self._inner(at) for at in (*self._bounds(), memory.place))
        if knob.log and (place - rest) * error < 0:
            error = math.copysign(min(abs(error), _LARGEST_RELIEF), error)
        integral = memory.integral + knob.ki * error * passed
        wanted = rest + memory.gain * (knob.kp * error + integral + knob.kd * speed)
        reach = (math.log1p(knob.slew) if knob.log else knob.slew) * passed
        aim = min(max(wanted, low), high)
        at = min(max(aim, place - reach), place + reach)
        if (wanted - at) * error <= 0 or memory.integral * error < 0:
            memory.integral = integral  # conditional integration: no more of what cannot be done, but always less of it
        memory.place = self._clamped(self._outer(at))
        self.holds = ""
        if error == 0:
            self.holds = "within the deadband"
            memory.gain += (1 - memory.gain) * min(passed / (20 * knob.every), 1.0)
        elif aim in (low, high) and at == aim:
            self.holds = f"at its bound of {memory.place:g}"
        elif at == aim and memory.turns < 1:
            memory.gain = min(memory.gain * 1.05 ** (passed / knob.every), HIGHEST_GAIN)
        memory.turns *= 0.5 ** (passed / (20 * knob.every))

    def _tell(self, now: float) -> float | None:
        knob, memory = self.knob, self.memory
        if memory.told_at is not None and now - memory.told_at < knob.every / min(memory.gain, 1.0):
            return None
        bounds = self._bounds()
        goal = float(round(memory.place)) if knob.whole else memory.place
        goal = self._clamped(goal if self._far(goal, bounds[2]) else bounds[2])
        if goal == memory.told or not (self._far(goal, memory.told) or goal in bounds):
            return None
        moved = 1 if goal > memory.told else -1
        if memory.moved and moved != memory.moved:
            memory.turns += 1
            if memory.turns >= _MANY_TURNS:
                memory.gain = max(memory.gain * 0.8, LOWEST_GAIN)
        self._stood = memory.told
        memory.told, memory.told_at, memory.moved = goal, now, moved
        return goal

    def take_back(self) -> None:
        """Go on from where the knob was told to stand before, as it was not turned."""
        if self._stood is not None:
            self._stand(self._stood)

    def _stand(self, place: float) -> None:
        memory = self.memory
        memory.told = memory.place = place
        memory.integral = (self._inner(place) - self._inner(self._bounds()[2])) / memory.gain

    def _follow(self, observation: Observation, now: float) -> None:
        """Go on from where the knob really stands, if somebody else has turned it, without a jolt."""
        knob, memory = self.knob, self.memory
        if not self._actual or (memory.told_at is not None and now - memory.told_at < 2 * knob.every):
            return
        actual = read_sum(observation, self._actual, knob.max_age)[0]
        if actual is None or not self._far(actual, memory.told):
            return
        place = float(min(max(actual, knob.low), knob.high))
        if knob.rest is None and memory.told == self._bounds()[2]:
            memory.rest = place
        self._stand(place)

    def _clamped(self, place: float) -> float:
        low, high, _ = self._bounds()
        return float(min(max(place, low), high))

    def _far(self, one: float, other: float) -> bool:
        knob = self.knob
        if knob.log:
            return abs(self._inner(max(one, _SMALLEST)) - self._inner(max(other, _SMALLEST))) >= math.log1p(knob.step)
        return abs(one - other) >= knob.step

    def _inner(self, value: float) -> float:
        return math.log(value) if self.knob.log else value

    def _outer(self, value: float) -> float:
        return math.exp(value) if self.knob.log else value
