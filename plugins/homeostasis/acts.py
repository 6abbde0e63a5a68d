"""Acts: the one place where an actuator is called, behind the gate and by leave, and what was before is remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from aetherra.plugins import Intent
from aetherra.plugins.homeostasis.actuators import Actuator, ActuatorError, Applied
from aetherra.plugins.homeostasis.changes import Changes
from aetherra.plugins.homeostasis.gate import Gate
from aetherra.plugins.homeostasis.leave import Leave, digest_of, on_behalf
from aetherra.plugins.homeostasis.messages import Act, Acted, ActuatorInfo, Undo

__all__ = ["Acts"]


class Acts:
    """Performs acts and undoes them.

    Args:
        actuators: All there are.
        gate: What they must pass.
        changes: What stands.
        leave: Asks whether it may be.
    """

    def __init__(self, actuators: Iterable[Actuator[Any]], gate: Gate, changes: Changes, leave: Leave) -> None:
        self._actuators = {actuator.name: actuator for actuator in actuators}
        self._gate = gate
        self._changes = changes
        self._leave = leave
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
            NotPermittedError: Who governs the host does not let it be done, or no more.
            ActuatorError: Arguments, target or conditions are not as they must be.
            AetherraError: It could not be done.
        """
        actuator = self.find(request.actuator)
        arguments = actuator.read(request.arguments)
        if request.dry_run:
            planned = await actuator.plan(request.target, arguments)
            return _told(request, planned, dry_run=True)
        self._gate.check(actuator.name)
        async with self._leave.use(self.intent(request), request) as permit:
            try:
                applied = await actuator.apply(request.target, arguments)
            except BaseException:
                self.failed[actuator.name] += 1
                raise
            self.acted[actuator.name] += applied.changed
            if applied.before:
                stood = self._changes.find(actuator.name, request.target)
                before = applied.before if stood is None else actuator.join(stood, applied.before)
                if before:
                    self._changes.note(actuator.name, request.target, before)
                else:
                    self._changes.forget(actuator.name, request.target)
            permit.outcome("done" if applied.changed else "unchanged", applied.summary)
        return _told(request, applied)

    async def undo(self, request: Undo) -> Acted:
        """Take back what stands of an actuator on a target; nothing, if nothing does.

        Raises:
            FrozenError: A person has frozen all.
            NotPermittedError: Who governs the host does not let it be done, or no more; it stands.
            AetherraError: It could not be done; it stands.
        """
        actuator = self.find(request.actuator)
        before = self._changes.find(actuator.name, request.target)
        if before is None:
            return _told(request, Applied(False, "nothing of it stands that could be taken back"), undone=True)
        self._gate.check_freeze(actuator.name)
        async with self._leave.use(self.intent(request), request) as permit:
            applied = await actuator.undo(request.target, before)
            self._changes.forget(actuator.name, request.target)
            permit.outcome("done" if applied.changed else "unchanged", applied.summary)
        return _told(request, applied, undone=True)

    def intent(self, request: Act | Undo, why: str = "") -> Intent:
        """Return what is to be asked leave for. What is done is in the digest, and not what it is done for.

        Args:
            request: What is to be done.
            why: And why.

        Raises:
            ActuatorError: There is no such actuator.
        """
        actuator, undo = self.find(request.actuator), isinstance(request, Undo)
        what: dict[str, Any] = {"actuator": request.actuator, "target": request.target, "undo": undo}
        if isinstance(request, Act):
            what["arguments"] = request.arguments
        named = "".join(f" {name} {value}" for name, value in what.get("arguments", {}).items())
        on = f" on {request.target!r}" if request.target else ""
        facts = {name: text for name, text in (("decision", request.decision), ("why", why)) if text}
        return Intent(
            kind="actuator",
            component=actuator.component(request.target),
            summary=f"{'take back ' if undo else ''}{request.actuator}{on}{named}",
            digest=digest_of(what),
            sender=on_behalf(),
            actuator=request.actuator,
            undo=undo,
            facts={**facts},
        )

    def list(self, quarantined: Mapping[str, str]) -> tuple[ActuatorInfo, ...]:
        """Return all actuators, given why some are quarantined."""
        undoable = {name: self._changes.targets(name) for name in self._actuators}
        return tuple(
            ActuatorInfo(
                name=name,
                description=actuator.description,
                disruptive=actuator.disruptive,
                mode=self._gate.mode_of(name),
                quarantined=quarantined.get(name, ""),
                acted=self.acted[name],
                failed=self.failed[name],
                undoable=undoable[name],
                holds=tuple(map(actuator.component, undoable[name])),
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
