"""What the configuration says of homeostasis."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec

from aetherra.plugins import Settings
from aetherra.plugins.homeostasis.corrector import CorrectorSettings
from aetherra.plugins.homeostasis.decision import Knob, Policy, QuarantineRule, Rule, Slo
from aetherra.plugins.homeostasis.decision.defaults import DEFAULT_POLICY
from aetherra.plugins.homeostasis.health import Setpoint
from aetherra.plugins.homeostasis.host_policy import CORRECTOR, check_actuators, lay_over
from aetherra.plugins.homeostasis.messages import Mode
from aetherra.plugins.homeostasis.runlevel import RunlevelSettings

__all__ = ["HomeostasisSettings"]

Seconds = Annotated[float, msgspec.Meta(ge=0.05, le=86_400)]
"""Between two times that something is done; more often it would do nothing else."""
INTERVALS: Mapping[str, float] = MappingProxyType({"dev": 5.0, "test": 0.5, "standard": 2.0, "prod": 2.0})
"""Seconds between two cycles, by profile."""


class HomeostasisSettings(Settings):
    """Settings of homeostasis; durations are seconds.

    Attributes:
        interval: Between two cycles; ``None`` for what the profile says: 2, in ``dev`` 5, in ``test`` 0.5.
        cycle_limit: That a cycle may take before it is given up and begun anew.
        history_interval: Between two rows of the history.
        forward_interval: Between two times that metrics go to self-improvement, and are asked of self-incorporation.
        dlq_interval: Between two looks at the dead letters.
        mode: What is done with decisions; ``None`` for what the profile says: ``act``, in ``dev`` and ``prod``
            ``observe``.
        actuators: The same for single actuators, and for ``corrector``, which counts before all else.
        setpoints: In place of, or beside, the built-in ones: where a metric is good, where it is bad, and its weight.
        rules: In place of, or beside, the built-in ones, by symptom; ``null`` leaves one out.
        slos: Promises, by name.
        knobs: In place of, or beside, the built-in ones; ``null`` leaves one out.
        limits: Times a minute that an actuator may act on one target, by actuator; 1 for those that are not named.
        flap_budget: Acts on whatever targets in ten minutes.
        quarantine: When an actuator that fails is left alone.
        runlevels: What moves the runlevel.
        corrector: What is mended of what the log tells.
    """

    interval: Seconds | None = None
    cycle_limit: Seconds = 15.0
    history_interval: Seconds = 60.0
    forward_interval: Seconds = 60.0
    dlq_interval: Seconds = 30.0
    mode: Mode | None = None
    actuators: dict[str, Mode] = {}
    setpoints: dict[str, Setpoint] = {}
    rules: dict[str, Rule | None] = {}
    slos: dict[str, Slo] = {}
    knobs: dict[str, Knob | None] = {}
    limits: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}
    flap_budget: Annotated[int, msgspec.Meta(ge=0)] | None = None
    quarantine: QuarantineRule = QuarantineRule()
    runlevels: RunlevelSettings = RunlevelSettings()
    corrector: CorrectorSettings = CorrectorSettings()

    def __post_init__(self) -> None:
        """See that it all makes one policy, which the actuators can carry out.

        Raises:
            ValueError: It does not; it begins with the path of what is wrong.
        """
        check_actuators("actuators", self.actuators, CORRECTOR)
        check_actuators("limits", self.limits)
        self.policy()

    def policy(self) -> Policy:
        """Return what the decision core goes by: the built-in policy with what stands here laid over it."""
        laid = lay_over(DEFAULT_POLICY, self.rules, self.slos, self.knobs)
        return msgspec.structs.replace(
            laid,
            limits={**laid.limits, **self.limits},
            quarantine=self.quarantine,
            flap_budget=laid.flap_budget if self.flap_budget is None else self.flap_budget,
        )
