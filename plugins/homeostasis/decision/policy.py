"""A policy: all that a controller goes by."""

from __future__ import annotations

import math

import msgspec

from aetherra.plugins.homeostasis.decision.knob import Knob
from aetherra.plugins.homeostasis.decision.rule import Rule
from aetherra.plugins.homeostasis.decision.slo import Slo

__all__ = ["Policy"]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules, knobs and SLOs by name, and the bounds on all that is done.

    Attributes:
        rules: By symptom, the most telling first: the first that can act goes first.
        knobs: By name.
        slos: By name, which is a symptom like those of the rules.
        limits: Times a minute that an action may be done to one target; 0.5 is every other minute, 0 never.
        default_limit: The same for actions that ``limits`` does not name. A knob's own is its ``every``.
        flap_budget: Acts, to whatever target, that ``flap_window`` may hold. Knobs and undoing do not count.
        flap_window: Seconds.
        longest_gap: Seconds between two observations after which earlier samples are no evidence any more, as after a
            machine has slept.
        forget_after: Seconds that a target may be missing from observations before it is taken for gone.
        holdout: Share of symptoms that are first left alone for a while, to learn what heals by itself.
        half_life: Seconds in which what was learnt of actions counts for half.
        jitter: Share by which cooldowns are longer, at random, so that targets do not act in step.

    Raises:
        ValueError: A figure is out of range, a name stands for a rule and an SLO, or masks go in a circle.
    """

    rules: dict[str, Rule] = {}
    knobs: dict[str, Knob] = {}
    slos: dict[str, Slo] = {}
    limits: dict[str, float] = {}
    default_limit: float = 1.0
    flap_budget: int = 10
    flap_window: float = 600.0
    longest_gap: float = 60.0
    forget_after: float = 3600.0
    holdout: float = 0.0
    half_life: float = 86_400.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        for action, limit in (("default_limit", self.default_limit), *self.limits.items()):
            if not 0 <= limit < math.inf:
                raise ValueError(f"expected a limit of at least 0 a minute for {action!r}, got {limit!r}")
        if self.flap_budget < 0:
            raise ValueError(f"expected a flap_budget of at least 0, got {self.flap_budget}")
        for name in ("flap_window", "longest_gap", "forget_after", "half_life"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"expected {name} above 0 s, got {getattr(self, name)!r}")
        for name in ("holdout", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} between 0 and 1, got {getattr(self, name)!r}")
        if both := self.rules.keys() & self.slos.keys():
            raise ValueError(f"expected one symptom for each name, got a rule and an SLO: {sorted(both)}")
        self._check_masks()

    def _check_masks(self) -> None:
        masks = {name: part.masks for part in (self.rules, self.slos) for name, part in part.items()}
        for name, own in masks.items():
            seen: set[str] = set()
            ahead = list(own)
            while ahead:
                masked = ahead.pop()
                if masked == name:
                    raise ValueError(f"{name!r} masks itself by way of others: both would wait for ever")
                if masked not in seen:
                    seen.add(masked)
                    ahead.extend(masks.get(masked, ()))
