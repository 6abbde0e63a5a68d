"""The gate: whether an actuator may act now, and how far."""

from __future__ import annotations

from collections.abc import Mapping

from aetherra.plugins import AetherraError
from aetherra.plugins.homeostasis.freeze import Freeze
from aetherra.plugins.homeostasis.messages import Mode

__all__ = ["CandidateError", "FrozenError", "Gate", "NotAllowedError"]


class FrozenError(AetherraError, PermissionError):
    """Nothing may be done to the host, as a person has frozen the actuators."""

    def __init__(self, actuator: str, why: str) -> None:
        super().__init__(actuator, why)
        self.actuator, self.why = actuator, why

    def __str__(self) -> str:
        return f"actuator {self.actuator!r} does nothing: {self.why}; unfreeze with 'homeostasis.unfreeze'"


class CandidateError(AetherraError, RuntimeError):
    """A generation that is on trial does nothing to the host: another one controls it."""

    def __init__(self, who: str) -> None:
        super().__init__(who)
        self.who = who

    def __str__(self) -> str:
        return f"{self.who} does nothing to the host, as another generation of it serves"


class NotAllowedError(AetherraError, PermissionError):
    """An actuator is off, or only observed, by the settings or the profile."""

    def __init__(self, actuator: str, mode: Mode, why: str) -> None:
        super().__init__(actuator, mode, why)
        self.actuator, self.mode, self.why = actuator, mode, why

    def __str__(self) -> str:
        remedy = f'set "actuators": {{"{self.actuator}": "act"}} in the settings of homeostasis to allow it'
        return f"actuator {self.actuator!r} is in mode {self.mode!r} ({self.why}); {remedy}"


class Gate:
    """Decides by the freeze, the settings and the profile.

    What the settings say of one actuator counts. Of all others, in profile ``prod``, none does more than observe: there
    an actuator acts because somebody has named it. In ``dev`` all observe unless the settings say otherwise, so that
    nothing changes under the hands of who is working on it.

    Args:
        freeze: A person's override.
        profile: The host's.
        mode: For all actuators that are not named; ``None`` for what the profile says.
        actuators: For single ones.
    """

    def __init__(self, freeze: Freeze, *, profile: str, mode: Mode | None, actuators: Mapping[str, Mode]) -> None:
        self._freeze = freeze
        self._profile = profile
        self._mode: Mode | None = mode
        self._actuators = actuators

    @property
    def mode(self) -> Mode:
        """What holds where nothing is said of an actuator."""
        by_profile: Mode = "observe" if self._profile in ("dev", "prod") else "act"
        is_too_much = self._profile == "prod" and self._mode == "act"
        return by_profile if self._mode is None or is_too_much else self._mode

    def mode_of(self, actuator: str) -> Mode:
        """Return what is done with decisions for an actuator."""
        return self._actuators.get(actuator, self.mode)

    def why_not(self, actuator: str) -> str:
        """Return why an actuator must not act, ``""`` if it may."""
        try:
            self.check(actuator)
        except AetherraError as exc:
            return str(exc)
        return ""

    def check_freeze(self, actuator: str) -> None:
        """See that no person has frozen all actuators.

        Raises:
            FrozenError: One has.
        """
        frozen = self._freeze.now()
        if frozen is not None:
            raise FrozenError(actuator, frozen.sentence)

    def check(self, actuator: str) -> None:
        """See that an actuator may act now.

        Raises:
            FrozenError: A person has frozen all of them.
            NotAllowedError: It is in another mode than ``act``.
        """
        self.check_freeze(actuator)
        mode = self.mode_of(actuator)
        if mode != "act":
            said = (
                "by its own setting" if actuator in self._actuators else f"as all others, in profile {self._profile!r}"
            )
            raise NotAllowedError(actuator, mode, said)
