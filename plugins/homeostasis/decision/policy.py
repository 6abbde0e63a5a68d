"""A policy: all that a controller goes by."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.knob import Knob
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.rule import Rule
from aetherra.plugins.homeostasis.decision.shape import check_shape
from aetherra.plugins.homeostasis.decision.slo import Slo
from aetherra.plugins.homeostasis.decision.trust import QuarantineRule

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
        common_cause: Share of its targets, and more than three, that show a symptom at once: from there on nothing
            disruptive is done about it, as no target's own fault looks like that. 1: there is no such share.
        longest_gap: Seconds between two observations after which earlier samples are no evidence any more, as after a
            machine has slept.
        forget_after: Seconds that a target may be missing from observations before it is taken for gone.
        holdout: Share of symptoms that are first left alone for a while, to learn what heals by itself.
        quarantine: When an actuator that fails is left alone.
        half_life: Seconds in which what was learnt of actions counts for half.
        jitter: Share by which cooldowns are longer, at random, so that targets do not act in step.

    Raises:
        ValueError: A figure is out of range, a name stands for a rule and an SLO, masks go in a circle, or a
            condition names a symptom that there is not, or a target where there is none.
    """

    rules: dict[str, Rule] = {}
    knobs: dict[str, Knob] = {}
    slos: dict[str, Slo] = {}
    limits: dict[str, float] = {}
    default_limit: float = 1.0
    flap_budget: int = 10
    flap_window: float = 600.0
    common_cause: float = 0.5
    longest_gap: float = 60.0
    forget_after: float = 3600.0
    holdout: float = 0.0
    quarantine: QuarantineRule = QuarantineRule()
    half_life: float = 86_400.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        check_shape(self)
        for action, limit in (("default_limit", self.default_limit), *self.limits.items()):
            if limit < 0:
                raise ValueError(f"expected a limit of at least 0 a minute for {action!r}, got {limit!r}")
        if self.flap_budget < 0:
            raise ValueError(f"expected a flap_budget of at least 0, got {self.flap_budget}")
        for name in ("flap_window", "longest_gap", "forget_after", "half_life"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} above 0 s, got {getattr(self, name)!r}")
        for name in ("common_cause", "holdout", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} between 0 and 1, got {getattr(self, name)!r}")
        if both := self.rules.keys() & self.slos.keys():
            raise ValueError(f"expected one symptom for each name, got a rule and an SLO: {sorted(both)}")
        self._check_masks()
        for symptom, plan in self.plans.items():
            self._check_names(symptom, plan)
        for name, knob in self.knobs.items():
            for condition in knob.unless:
                self._check_condition(name, Naming(knob.metric).starred, condition)

    @property
    def plans(self) -> dict[str, Rule | Slo]:
        """Rules and SLOs by symptom."""
        return {**self.rules, **self.slos}

    def _check_names(self, symptom: str, plan: Rule | Slo) -> None:
        starred = Naming(plan.metric).starred
        conditions = [*plan.confirm, *(plan.given if isinstance(plan, Rule) else ())]
        for rung in plan.ladder:
            conditions += [*rung.requires, *rung.unless]
        for condition in conditions:
            self._check_condition(symptom, starred, condition)
        if unknown := set(plan.masks) - self.plans.keys():
            raise ValueError(f"{symptom!r} masks symptoms that no rule or SLO has: {sorted(unknown)}")
        if isinstance(plan, Slo) and plan.events and Naming(plan.events).starred and not starred:
            raise ValueError(f"{symptom!r} has no target that the '*' of {plan.events!r} could stand for")

    def _check_condition(self, name: str, starred: bool, condition: Condition) -> None:
        if condition.metric and Naming(condition.metric).starred and not starred:
            raise ValueError(f"{name!r} has no target that the '*' of {condition.metric!r} could stand for")
        if condition.symptom and condition.symptom not in self.plans:
            raise ValueError(f"{name!r} asks for a symptom that no rule or SLO has: {condition.symptom!r}")

    def _check_masks(self) -> None:
        masks = {name: plan.masks for name, plan in self.plans.items()}
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
