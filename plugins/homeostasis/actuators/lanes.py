"""Actuators on the action queue: how many run at a time, each lane's share and room, and shedding a lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from aetherra.plugins import ActionStatistics, GetActions, LaneBounds, TuneActions
from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied, NoArguments

Positive = Annotated[float, msgspec.Meta(gt=0)]


class NewValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new value, or a factor for the one there is; held between ``lowest`` and ``highest``, if there is such.

    Raises:
        ValueError: Not exactly one of ``value`` and ``factor`` is given, or there is nothing between the bounds.
    """

    value: Positive | None = None
    factor: Positive | None = None
    lowest: Positive = 1.0
    highest: Positive | None = None

    def __post_init__(self) -> None:
        if (self.value is None) is (self.factor is None):
            raise ValueError("expected either value or factor")
        if self.highest is not None and self.lowest > self.highest:
            raise ValueError(f"expected lowest <= highest, got {self.lowest:g} and {self.highest:g}")

    def of(self, current: float) -> float:
        """Return the new value."""
        wanted = self.value if self.value is not None else current * (self.factor or 1.0)
        return max(wanted if self.highest is None else min(wanted, self.highest), self.lowest)


class Tuner(Actuator[NewValue]):
    """One that sets a whole number of the action queue."""

    arguments_type = NewValue
    what: ClassVar[str]

    def current(self, target: str, actions: ActionStatistics) -> int:
        """Return what it is now."""
        raise NotImplementedError

    def request(self, target: str, value: int) -> TuneActions:
        """Return what sets it."""
        raise NotImplementedError

    async def plan(self, target: str, arguments: NewValue) -> Applied:
        """Say from what to what."""
        old = self.current(target, await self.ctx.call(GetActions()))
        new = round(arguments.of(old))
        summary = f"{self.what.format(target)} {old} -> {new}" if new != old else f"{self.what.format(target)} is {old}"
        return Applied(new != old, summary, {"value": old, "new": new} if new != old else {})

    async def apply(self, target: str, arguments: NewValue) -> Applied:
        """Set it, unless it is so already."""
        planned = await self.plan(target, arguments)
        if planned.changed:
            await self.ctx.call(self.request(target, planned.before["new"]))
        return planned

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Set what it was, if it still is what was made of it; else somebody has changed it since."""
        old = self.current(target, await self.ctx.call(GetActions()))
        if old != before["new"]:
            return Applied(False, f"{self.what.format(target)} is {old}, which is not ours to take back")
        await self.ctx.call(self.request(target, before["value"]))
        return Applied(True, f"{self.what.format(target)} {old} -> {before['value']}")


class SetWorkers(Tuner):
    """Sets how many actions run at a time."""

    name = "set_workers"
    description = "change how many actions run at a time; taken back by setting what it was"
    target = "none"
    what = "workers"

    def current(self, target: str, actions: ActionStatistics) -> int:
        """Return how many there are."""
        if target:
            raise self.error(f"expected no target, got {target!r}")
        return actions.workers

    def request(self, target: str, value: int) -> TuneActions:
        """Return what sets them."""
        del target
        return TuneActions(workers=value)


class _LaneTuner(Tuner):
    """One whose target is a lane."""

    target = "needed"

    def lane(self, target: str, actions: ActionStatistics) -> Any:
        """Return the lane.

        Raises:
            ActuatorError: There is none of that name.
        """
        if target not in actions.lanes:
            raise self.error(f"there is no lane {target!r}; there are {', '.join(actions.lanes)}")
        return actions.lanes[target]


class SetLaneWeight(_LaneTuner):
    """Sets a lane's share of turns."""

    name = "set_lane_weight"
    description = "change a lane's share of turns; taken back by setting what it was"
    what = "the weight of lane {0!r}"

    def current(self, target: str, actions: ActionStatistics) -> int:
        """Return the weight."""
        weight: int = self.lane(target, actions).weight
        return weight

    def request(self, target: str, value: int) -> TuneActions:
        """Return what sets it."""
        return TuneActions(lanes={target: LaneBounds(weight=value)})


class SetLaneCapacity(_LaneTuner):
    """Sets how many actions may wait in a lane."""

    name = "set_lane_capacity"
    description = "change how many actions may wait in a lane; taken back by setting what it was"
    what = "the capacity of lane {0!r}"

    def current(self, target: str, actions: ActionStatistics) -> int:
        """Return the capacity."""
        capacity: int = self.lane(target, actions).capacity
        return capacity

    def request(self, target: str, value: int) -> TuneActions:
        """Return what sets it."""
        return TuneActions(lanes={target: LaneBounds(capacity=value)})


class ShedBackground(Actuator[NoArguments]):
    """Refuses new work in the background lane, and lets what waits there wait."""

    name = "shed_background"
    description = "refuse new background actions and start none that wait; taken back by taking them again"
    arguments_type = NoArguments
    target = "none"
    lane: ClassVar[str] = "background"

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
