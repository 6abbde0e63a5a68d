"""What is proposed at all: owns the settings of the proposer."""

from __future__ import annotations

from typing import Annotated

import msgspec

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.proposals.proposal import Impact
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint

__all__ = ["ProposerSettings"]

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class ProposerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is proposed at all; durations are seconds.

    Attributes:
        confidence_threshold: Least probability that a proposal helps.
        max_proposals: That are open at a time.
        expiry: After which a proposal that was not carried out is void.
        horizon: How far ahead a forecast is looked at.
        cool_down: How long a change that did not help is left alone; twice as long after each further time, and seven
            times as long after a person rejected it or took it back.
        give_back_after: How long a change must have been kept until it is taken back as no longer needed; None for
            never.
        explore: Whether a knob may be tried of which nobody said what it moves.
        needs_approval: Impacts that wait for it.
        setpoints: In place of, or beside, the built-in ones, by name or shell pattern; None leaves one out.
        directions: Which way is good for a metric without a setpoint, by name or shell pattern.
        load_metrics: What says how busy the host is; the first that has been analysed counts.
        sender: Who proposes.
    """

    confidence_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.6
    max_proposals: Annotated[int, msgspec.Meta(ge=0)] = 10
    expiry: Seconds = 86_400.0
    horizon: Seconds = 86_400.0
    cool_down: Seconds = 86_400.0
    give_back_after: Seconds | None = 14 * 86_400.0
    explore: bool = False
    needs_approval: tuple[Impact, ...] = ("high",)
    setpoints: dict[str, Setpoint | None] = {}
    directions: dict[str, Direction] = {}
    load_metrics: tuple[str, ...] = ("actions.utilisation", "calls.rate", "host.load")
    sender: str = "self_improvement"
