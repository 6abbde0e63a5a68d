"""An actuator: one kind of change to the running host, with its conditions and its way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from aetherra.plugins import AetherraError, PluginContext

ArgumentsT = TypeVar("ArgumentsT", bound=msgspec.Struct)


class ActuatorError(AetherraError, ValueError):
    """An actuator cannot do what it is asked to: arguments, target or conditions are not as they must be."""

    def __init__(self, actuator: str, problem: str) -> None:
        super().__init__(actuator, problem)
        self.actuator, self.problem = actuator, problem

    def __str__(self) -> str:
        return f"actuator {self.actuator!r}: {self.problem}"


class NoArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For actuators that take none."""


class Applied(msgspec.Struct, frozen=True):
    """What an actuator did, or would do.

    Attributes:
        changed: Whether anything is otherwise than before.
        summary: In a sentence.
        before: What it was, for the way back; empty if there is nothing to take back.
    """

    changed: bool
    summary: str
    before: dict[str, Any] = {}


class Actuator(ABC, Generic[ArgumentsT]):
    """Changes one thing on the running host by requests to who owns it.

    Attributes:
        name: What decisions call it by.
        description: What it does, and how that is taken back, in a sentence.
        disruptive: Whether calls or state may suffer from it.
        arguments_type: What it takes.
        target: Whether a decision must name what it is to be done to, must not, or may.
        seconds: How long one attempt may take.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    disruptive: ClassVar[bool] = False
    arguments_type: type[ArgumentsT]
    target: ClassVar[Literal["needed", "none", "any"]] = "any"
    seconds: ClassVar[float] = 10.0

    def __init__(self, ctx: PluginContext) -> None:
        self.ctx = ctx

    def component(self, target: str) -> str:
        """Return what is acted on, as guards count it: what is turned here is the same thing to whoever turns it."""
        return target or self.name

    def read(self, arguments: Mapping[str, Any]) -> ArgumentsT:
        """Return the arguments, checked.

        Raises:
            ActuatorError: One is wrong; says which, and what was expected.
        """
        try:
            return msgspec.convert(dict(arguments), self.arguments_type)
        except msgspec.ValidationError as exc:
            raise self.error(str(exc)) from exc

    def error(self, problem: str) -> ActuatorError:
        """Return the error that says so in this actuator's name."""
        return ActuatorError(self.name, problem)

    @abstractmethod
    async def plan(self, target: str, arguments: ArgumentsT) -> Applied:
        """Return what ``apply`` would do now, and do nothing.

        Raises:
            AetherraError: It cannot be done as things are.
        """

    @abstractmethod
    async def apply(self, target: str, arguments: ArgumentsT) -> Applied:
        """Do it, and return what was done.

        Raises:
            AetherraError: It could not be done.
        """

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Take back what ``apply`` did, given what it said was before.

        Raises:
            AetherraError: It could not be done.
        """
        del target, before
        raise self.error("it leaves nothing that could be taken back")

    def join(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        """Return the way back from two changes in a row: what was before the first, told from what the second made.

        Empty if the second took the first back.
        """
        return {**first, **{key: value for key, value in second.items() if key == "new"}}
