"""What the configuration says of self-improvement."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec

from aetherra.plugins import Settings
from aetherra.plugins.self_improvement.analysis import Direction
from aetherra.plugins.self_improvement.history import Retention
from aetherra.plugins.self_improvement.proposals import Impact, ProposerSettings, Setpoint

__all__ = ["Mode", "SelfImprovementSettings", "TrialSettings"]

Mode = Literal["act", "propose", "off"]
"""What is done with proposals: carried out, those of high impact once approved; all wait for approval; none is made."""
GUARDS: Mapping[str, Literal["up", "down"]] = MappingProxyType({"health.score": "up", "calls.error_ratio": "down"})
"""What no change may make worse."""
Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]


class TrialSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it is seen whether a change was for the better; durations are seconds.

    Attributes:
        before: How far back the points reach that the change is held against.
        settle: After the change, until its effect counts.
        after: How long it is watched after that; once more as long, if that is too little to tell.
        every: Between two looks at it.
        minimum_effect: The least change of the metric, as a share of its level, that counts as an effect.
        guards: Metrics that must not get worse whatever the change was for, each with the way that is good.
    """

    before: Seconds = 1800.0
    settle: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    after: Seconds = 600.0
    every: Annotated[float, msgspec.Meta(ge=0.05, le=3600)] = 15.0
    minimum_effect: Annotated[float, msgspec.Meta(ge=0)] = 0.05
    guards: dict[str, Literal["up", "down"]] = msgspec.field(default_factory=lambda: dict(GUARDS))


class SelfImprovementSettings(Settings):
    """Settings of self-improvement; durations are seconds.

    Attributes:
        retention: How long points are kept, and how closely.
        directions: Which way is good for a metric, by name or shell pattern: ``up``, ``down``, ``near`` or ``unknown``.
        targets: What a metric of direction ``near`` should be near to, in its unit, by name or shell pattern.
        minimum_effect: The least change over the window, as a share of the metric's level, that counts as a movement.
        analysis_interval: Between two analyses.
        window: How far back an analysis looks.
        horizon: How far ahead a forecast looks for a setpoint that will be crossed.
        setpoints: In place of, or beside, the built-in ones: what is wanted of a metric, by name or shell pattern;
            ``null`` leaves one out.
        mode: What is done with proposals; ``None`` for what the profile says: ``act``, in ``dev`` and ``prod``
            ``propose``.
        confidence_threshold: Proposals of less confidence are not made.
        max_proposals: That are open at a time.
        expiry: Seconds after which a proposal that was not carried out is void.
        cool_down: How long a change that did not help is left alone; twice as long after each further time.
        give_back_after: How long a change must have been kept until it is taken back as no longer needed; ``None`` for
            never.
        explore: Whether a knob may be tried of which nobody said what it moves.
        trial: How it is seen whether a change was for the better.
    """

    retention: Retention = Retention()
    directions: dict[str, Direction] = {}
    targets: dict[str, float] = {}
    minimum_effect: Annotated[float, msgspec.Meta(ge=0)] = 0.05
    analysis_interval: Seconds = 300.0
    window: Seconds = 86_400.0
    horizon: Seconds = 86_400.0
    setpoints: dict[str, Setpoint | None] = {}
    mode: Mode | None = None
    confidence_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.6
    max_proposals: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 10
    expiry: Seconds = 86_400.0
    cool_down: Seconds = 86_400.0
    give_back_after: Seconds | None = 14 * 86_400.0
    explore: bool = False
    trial: TrialSettings = TrialSettings()

    def mode_in(self, profile: str) -> Mode:
        """Return the mode in a host of a profile."""
        return self.mode or ("propose" if profile in ("dev", "prod") else "act")

    def proposer(self, mode: Mode) -> ProposerSettings:
        """Return what is proposed at all in a mode."""
        needs_approval: tuple[Impact, ...] = ("high",) if mode == "act" else ("low", "medium", "high")
        return ProposerSettings(
            confidence_threshold=self.confidence_threshold,
            max_proposals=self.max_proposals,
            expiry=self.expiry,
            horizon=self.horizon,
            cool_down=self.cool_down,
            give_back_after=self.give_back_after,
            explore=self.explore,
            needs_approval=needs_approval,
            setpoints=self.setpoints,
            directions=self.directions,
        )

    def target(self, metric: str) -> float | None:
        """Return what a metric should be near to: by exactly its name, else by the first pattern; None if unknown."""
        if metric in self.targets:
            return self.targets[metric]
        return next((target for pattern, target in self.targets.items() if fnmatchcase(metric, pattern)), None)
