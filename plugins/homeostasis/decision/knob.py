"""A knob: an actuator that can be turned a little, and the metric that it holds at its setpoint."""

from __future__ import annotations

from typing import Literal

import msgspec

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.rule import LONGEST_WINDOW
from aetherra.plugins.homeostasis.decision.rung import Arguments
from aetherra.plugins.homeostasis.decision.shape import check_shape

__all__ = ["Knob"]


class Knob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A PID controller for one actuator.

    With ``log`` the error is ``ln(metric / setpoint)`` and the knob moves by factors: what works at 4 workers works at
    400. While the metric is UNKNOWN, or a condition of ``unless`` is met, the knob holds.

    Attributes:
        action: The actuator's name; the decision carries the value.
        metric: What is held at the setpoint; ``"a + b"`` is a sum. With ``*``: one knob for each target.
        setpoint: The wanted value; above 0 with ``log``.
        low: The knob's least value; above 0 with ``log``.
        high: Its highest.
        rest: Where it stands while all is well; by default where ``actual`` found it, else ``low`` if ``direction`` is
            "up" and ``high`` if it is "down". Without it, the knob is never turned beyond its rest.
        direction: "up": more of it while the metric is above the setpoint, as workers against waiting; "down": less.
        kp: Share of the error that acts at once.
        ki: Share that adds up, per second.
        kd: Share of the metric's speed (not of the error's: a new setpoint is no jolt), in seconds.
        log: Errors and steps as factors.
        slew: Most change a second: with ``log`` as a share (0.1: ten per cent), else in the knob's unit.
        deadband: Error that counts as none: with ``log`` as a share of the setpoint, else in the metric's unit.
        enter: ``(n, m)``: from rest it moves once n of the last m samples are beyond the deadband.
        step: Least change worth a decision: with ``log`` as a share, else in the knob's unit.
        whole: Only whole numbers.
        every: Least seconds between two decisions: a knob's own rate limit.
        max_age: Seconds after which the metric is UNKNOWN.
        plausible: ``(low, high)``: a value outside is UNKNOWN.
        unless: Conditions of which none may be met; else the knob holds.
        actual: Metric that says where the knob really stands, if there is one: somebody else may have turned it, or
            started with another setting.
        arguments: What the actuator is given beside target and value.

    Raises:
        ValueError: The knob cannot work; the message says why.
    """

    action: str
    metric: str
    setpoint: float
    low: float
    high: float
    rest: float | None = None
    direction: Literal["up", "down"] = "up"
    kp: float = 0.5
    ki: float = 0.05
    kd: float = 0.0
    log: bool = True
    slew: float = 0.1
    deadband: float = 0.1
    enter: tuple[int, int] = (3, 5)
    step: float = 0.05
    whole: bool = False
    every: float = 5.0
    max_age: float = 10.0
    plausible: tuple[float, float] | None = None
    unless: tuple[Condition, ...] = ()
    actual: str = ""
    arguments: Arguments = {}

    def __post_init__(self) -> None:
        check_shape(self)
        if not self.action:
            raise ValueError("expected the name of an actuator as action, got ''")
        self._check_names()
        if not self.low <= self.resting <= self.high or self.low == self.high:
            raise ValueError(f"expected low <= rest <= high of {self.action!r}, and low < high")
        if min(self.kp, self.ki, self.kd, self.deadband, self.step) < 0:
            raise ValueError(f"expected gains, deadband and step of at least 0 for {self.action!r}; see direction")
        if not max(self.kp, self.ki, self.kd) > 0:
            raise ValueError(f"expected one of kp, ki and kd above 0 for {self.action!r}: without one it never moves")
        if not self.slew > 0 or not self.every > 0 or not self.max_age > 0:
            raise ValueError(f"expected slew, every and max_age above 0 for {self.action!r}")
        if not 1 <= self.enter[0] <= self.enter[1] <= LONGEST_WINDOW:
            raise ValueError(
                f"expected enter as n of m with 1 <= n <= m <= {LONGEST_WINDOW} for {self.action!r}, got {self.enter}"
            )
        if self.log and (self.setpoint <= 0 or self.low <= 0):
            raise ValueError(f"expected setpoint and low of {self.action!r} above 0, or log false")
        if self.whole and any(place % 1 for place in (self.low, self.high, self.resting)):
            raise ValueError(f"expected whole numbers for low, high and rest of {self.action!r}, which is whole")
        if self.plausible is not None and not self.plausible[0] < self.setpoint < self.plausible[1]:
            raise ValueError(
                f"expected plausible as (low, high) around the setpoint {self.setpoint:g} of {self.metric!r}, "
                f"got {self.plausible}"
            )

    def _check_names(self) -> None:
        starred = Naming(self.metric).starred
        if self.actual and Naming(self.actual).starred and not starred:
            raise ValueError(f"{self.metric!r} has no target that the '*' of {self.actual!r} could stand for")

    @property
    def resting(self) -> float:
        """Where the knob stands while all is well."""
        if self.rest is not None:
            return self.rest
        return self.low if self.direction == "up" else self.high
