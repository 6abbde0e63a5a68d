"""Actuators on the action queue: how many run at a time, each lane's share and room, and shedding a lane."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from aetherra.plugins import ActionStatistics, GetActions, LaneBounds, TuneActions
from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied, NoArguments
from aetherra.plugins.homeostasis.actuators.tuner import Tuner


class SetWorkers(Tuner):
    """Sets how many actions run at a time."""

    name = "set_workers"
    description = "change how many actions run at a time; taken back by setting what it was"
    target = "none"
    what = "workers"

    def component(self, target: str) -> str:
        """Return the knob that it is."""
        del target
        return "kernel.workers"

    async def current(self, target: str) -> float:
        """Return how many there are."""
        if target:
            raise self.error(f"expected no target, got {target!r}")
        return (await self.ctx.call(GetActions())).workers

    async def set(self, target: str, value: float) -> None:
        """Set them."""
        del target
        await self.ctx.call(TuneActions(workers=int(value)))


class _LaneTuner(Tuner):
    """One whose target is a lane."""

    target = "needed"
    bound: ClassVar[Literal["weight", "capacity"]]

    def component(self, target: str) -> str:
        """Return the knob that it is."""
        return f"kernel.lane.{target}.{self.bound}"

    async def current(self, target: str) -> float:
        """Return the lane's bound."""
        lanes = (await self.ctx.call(GetActions())).lanes
        if target not in lanes:
            raise self.error(f"there is no lane {target!r}; there are {', '.join(lanes)}")
        bound: int = getattr(lanes[target], self.bound)
        return bound

    async def set(self, target: str, value: float) -> None:
        """Set it."""
        await self.ctx.call(TuneActions(lanes={target: self.bounds(int(value))}))

    @abstractmethod
    def bounds(self, value: int) -> LaneBounds:
        """Return what to change of the lane."""


class SetLaneWeight(_LaneTuner):
    """Sets a lane's share of turns."""

    name = "set_lane_weight"
    description = "change a lane's share of turns; taken back by setting what it was"
    what = "the weight of lane {0!r}"
    bound = "weight"

    def bounds(self, value: int) -> LaneBounds:
        """Return another weight."""
        return LaneBounds(weight=value)


class SetLaneCapacity(_LaneTuner):
    """Sets how many actions may wait in a lane."""

    name = "set_lane_capacity"
    description = "change how many actions may wait in a lane; taken back by setting what it was"
    what = "the capacity of lane {0!r}"
    bound = "capacity"

    def bounds(self, value: int) -> LaneBounds:
        """Return another capacity."""
        return LaneBounds(capacity=value)


class ShedBackground(Actuator[NoArguments]):
    """Refuses new work in the background lane, and lets what waits there wait."""

    name = "shed_background"
    description = "refuse new background actions and start none that wait; taken back by taking them again"
    arguments_type = NoArguments
    target = "none"
    lane: ClassVar[str] = "background"

    def component(self, target: str) -> str:
        """Return the lane."""
        del target
        return f"kernel.lane.{self.lane}"

    async def plan(self, target: str, arguments: NoArguments) -> Applied:
        """Say whether it is shed already."""
        del arguments
        if target not in ("", self.lane):
            raise self.error(f"expected the background lane, got {target!r}")
        return self._planned(shed=True, statistics=await self.ctx.call(GetActions()))

    async def apply(self, target: str, arguments: NoArguments) -> Applied:
        """Shed it."""
        planned = await self.plan(target, arguments)
        await self.ctx.call(TuneActions(lanes={self.lane: LaneBounds(shed=True)}))
        return planned

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Take them again."""
        del target, before
        planned = self._planned(shed=False, statistics=await self.ctx.call(GetActions()))
        await self.ctx.call(TuneActions(lanes={self.lane: LaneBounds(shed=False)}))
        return Applied(planned.changed, planned.summary)

    def _planned(self, *, shed: bool, statistics: ActionStatistics) -> Applied:
        lane = statistics.lanes[self.lane]
        state = "is shed" if shed else "is taken"
        summary = f"lane {self.lane!r} {state}{'' if lane.shed is not shed else ' already'}; {lane.waiting} wait in it"
        return Applied(lane.shed is not shed, summary, {"shed": lane.shed} if lane.shed is not shed else {})
