"""Acts: the one place where an actuator is called, behind the gate, and what can be taken back is remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from aetherra.plugins.homeostasis.actuators import Actuator, ActuatorError, Applied
from aetherra.plugins.homeostasis.changes import Changes
from aetherra.plugins.homeostasis.gate import Gate
from aetherra.plugins.homeostasis.messages import Act, Acted, ActuatorInfo, Undo

__all__ = ["Acts"]


class Acts:
    """Performs acts and undoes them.

    Args:
        actuators: All there are.
        gate: What they must pass.
        changes: What stands.
    """

    def __init__(self, actuators: Iterable[Actuator[Any]], gate: Gate, changes: Changes) -> None:
        self._actuators = {actuator.name: actuator for actuator in actuators}
        self._gate = gate
        self._changes = changes
        self.acted: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def find(self, name: str) -> Actuator[Any]:
        """Return an actuator.

        Raises:
            ActuatorError: There is none of that name.
        """
        try:
            return self._actuators[name]
        except KeyError:
            raise ActuatorError(name, f"there is none of that name; there are {', '.join(self._actuators)}") from None

    async def act(self, request: Act) -> Acted:
        """Have an actuator do something, or say what it would do.

        Raises:
            FrozenError, NotAllowedError: The gate is shut for it.
            ActuatorError: Arguments, target or conditions are not as they must be.
            AetherraError: It could not be done.
        """
        actuator = self.find(request.actuator)
        arguments = actuator.read(request.arguments)
        if request.dry_run:
            planned = await actuator.plan(request.target, arguments)
            return _told(request, planned, dry_run=True)
        self._gate.check(actuator.name)
        try:
            applied = await actuator.apply(request.target, arguments)
        except BaseException:
            self.failed[actuator.name] += 1
            raise
        self.acted[actuator.name] += applied.changed
        if applied.before:
            stood = self._changes.find(actuator.name, request.target)
            before = applied.before if stood is None else actuator.join(stood, applied.before)
            self._changes.note(actuator.name, request.target, before)
        return _told(request, applied)

    async def undo(self, request: Undo) -> Acted:
        """Take back what stands of an actuator on a target; nothing, if nothing does.

        Raises:
            FrozenError: A person has frozen all.
            AetherraError: It could not be done; it stands.
        """
        actuator = self.find(request.actuator)
        before = self._changes.find(actuator.name, request.target)
        if before is None:
            return _told(request, Applied(False, "nothing of it stands that could be taken back"), undone=True)
        self._gate.check_freeze(actuator.name)
        applied = await actuator.undo(request.target, before)
        self._changes.forget(actuator.name, request.target)
        return _told(request, applied, undone=True)

    def list(self, quarantined: Mapping[str, str]) -> tuple[ActuatorInfo, ...]:
        """Return all actuators, given why some are quarantined."""
        return tuple(
            ActuatorInfo(
                name=name,
                description=actuator.description,
                disruptive=actuator.disruptive,
                mode=self._gate.mode_of(name),
                quarantined=quarantined.get(name, ""),
                acted=self.acted[name],
                failed=self.failed[name],
                undoable=self._changes.targets(name),
            )
            for name, actuator in self._actuators.items()
        )


def _told(request: Act | Undo, applied: Applied, *, dry_run: bool = False, undone: bool = False) -> Acted:
    return Acted(
        decision=request.decision,
        actuator=request.actuator,
        target=request.target,
        changed=applied.changed,
        summary=applied.summary,
        before=applied.before,
        dry_run=dry_run,
        undone=undone,
    )
