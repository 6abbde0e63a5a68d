"""The judge: lives through a scenario with a controller, and says what it was worth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec

from healing.peers import Controller
from healing.plant import Outcome, Plant
from healing.scenarios import BEGIN, DAY, TAIL, Scenario, targets
from healing.sensing import Sensors

DISRUPTIVE = frozenset({"restart", "rollback", "disable", "deploy"})
UNDOING = frozenset({"unshed", "enable"})
KNOBS = frozenset({"workers", "queue_limit", "call_limit"})
MUCH = 0.05  # share of the memory that a leak must have to be worth a cure
ROUNDING = 0.2  # a knob that moves by less has not been acted on

Make = Callable[[Plant], Controller]


class Action(msgspec.Struct, frozen=True):
    """What a controller did, and whether it could have helped."""

    when: float
    action: str
    target: str
    value: float
    outcome: Outcome
    helpful: bool

    @property
    def disruptive(self) -> bool:
        """Whether it hurts what it is done to."""
        return self.action in DISRUPTIVE


class Life(msgspec.Struct, frozen=True):
    """What came of a scenario.

    Attributes:
        bad: Share of the requests after the fault that were served badly.
        windows: The same of each window.
        actions: What was done.
        crashes: How often all memory was gone.
    """

    bad: float
    windows: list[float]
    actions: list[Action]
    crashes: int

    @property
    def futile(self) -> list[Action]:
        """What could not have helped."""
        return [action for action in self.actions if not action.helpful]

    @property
    def harmful(self) -> list[Action]:
        """What hurt and could not have helped."""
        return [action for action in self.futile if action.disruptive and action.outcome == "done"]

    def told(self) -> str:
        """Say how often what was done."""
        counts = Counter(f"{it.action}{'' if it.helpful else '!'}" for it in self.actions)
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


class Judge:
    """Watches what is done to a plant, and knows whether it could help."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.actions: list[Action] = []
        self._strained_at = -1e9

    def watch(self) -> None:
        """Look whether there is more to do than can be done."""
        plant = self._plant
        if plant.wait() > plant.slo / 2 or plant.demand() > plant.capacity() or plant.now < plant.slow_until:
            self._strained_at = plant.now

    def act(self, action: str, target: str = "", value: float = 0.0) -> Outcome:
        """Do it, and remember it unless it changes next to nothing."""
        plant = self._plant
        if action in KNOBS:
            before = getattr(plant, action)
            changes = abs(value - before) > ROUNDING * before
        else:
            changes = plant.shed != (action == "shed") if action in ("shed", "unshed") else True
        helpful = self.could_help(action, target)
        outcome = plant.act(action, target, value)
        if changes:
            self.actions.append(Action(plant.now, action, target, value, outcome, helpful))
        return outcome

    def could_help(self, action: str, target: str) -> bool:
        """Return whether it could help with what is wrong now."""
        plant = self._plant
        it = plant.targets.get(target)
        leaks = [one for one in plant.targets.values() if one.leaked > MUCH * plant.memory_limit]
        if action in UNDOING:
            return True
        if action == "release":
            return plant.broken.get("release") is None and (it in leaks if it is not None else bool(leaks))
        if action in KNOBS or action == "shed":
            return plant.now - self._strained_at <= 30
        if it is None:
            return False
        wedged = it.wedged(plant.now)
        if action == "restart":
            return (wedged or it in leaks) and plant.broken.get("restart") is None
        if action == "rollback":
            bad = it.versions[-1].error_rate > 0.1 or ((wedged or it in leaks) and len(it.versions) > 1)
            return bad and plant.broken.get("rollback") is None
        return wedged and action == "disable"


def live(scenario: Scenario, make: Make, seed: int, *, end: float = 0.0) -> Life:
    """Live through a scenario, or the first so many seconds of it. The same seed is the same story."""
    end = end or scenario.end
    plant = Plant(targets(), seed=seed, step=scenario.step)
    sensors = Sensors(plant, seed)
    scenario.happens(plant, sensors, random.Random(f"{seed} {scenario.name}"))
    judge = Judge(plant)
    controller = make(plant)
    looks = round(scenario.look / scenario.step)
    for number in range(1, round(end / scenario.step) + 1):
        plant.step()
        judge.watch()
        if number % looks == 0:
            controller.look(plant.now, sensors.read, judge.act)
    begin = BEGIN if end < DAY else 0.0
    return Life(
        bad=plant.tally.share(begin, end - TAIL),
        windows=plant.tally.shares(begin, end - TAIL),
        actions=judge.actions,
        crashes=plant.crashes,
    )
