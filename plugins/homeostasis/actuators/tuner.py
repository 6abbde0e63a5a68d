"""A tuner: an actuator that sets one number of the host, and knows what it was."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied

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
    """Sets a number by a new value or a factor, and takes that back while it still is what was made of it.

    Attributes:
        what: What the number is called; ``{0!r}`` stands for the target.
    """

    arguments_type = NewValue
    what: ClassVar[str]

    @abstractmethod
    async def current(self, target: str) -> float:
        """Return what it is now.

        Raises:
            ActuatorError: There is no such target.
        """

    @abstractmethod
    async def set(self, target: str, value: float) -> None:
        """Make it so."""

    def round(self, value: float) -> float:
        """Return the nearest value that it can have: a whole number, unless a subclass says otherwise."""
        return round(value)

    def show(self, value: float) -> str:
        """Return a value as people read it."""
        return str(value)

    async def plan(self, target: str, arguments: NewValue) -> Applied:
        """Say from what to what."""
        old = await self.current(target)
        new = self.round(arguments.of(old))
        if new == old:
            return Applied(False, f"{self.what.format(target)} is {self.show(old)}")
        return Applied(True, self._step(target, old, new), {"value": old, "new": new})

    async def apply(self, target: str, arguments: NewValue) -> Applied:
        """Set it, unless it is so already."""
        planned = await self.plan(target, arguments)
        if planned.changed:
            await self.set(target, planned.before["new"])
        return planned

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Set what it was, if it still is what was made of it; else somebody has changed it since."""
        old = await self.current(target)
        if old != before["new"]:
            return Applied(False, f"{self.what.format(target)} is {self.show(old)}, which is not ours to take back")
        await self.set(target, before["value"])
        return Applied(True, self._step(target, old, before["value"]))

    def join(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        """Return the way back from two changes in a row, empty if it has become what it was."""
        joined = super().join(first, second)
        return {} if joined["new"] == joined["value"] else joined

    def _step(self, target: str, old: float, new: float) -> str:
        return f"{self.what.format(target)} {self.show(old)} -> {self.show(new)}"
