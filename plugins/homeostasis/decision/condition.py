"""A condition: what else must hold, or must not."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.shape import check_shape

__all__ = ["Condition"]


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a metric lies beyond a bound, or that a symptom holds.

    Attributes:
        metric: Its name; ``*`` stands for the target of the rule, and ``"a + b"`` is a sum.
        above: Met while the metric is above this.
        below: Met while the metric is below this; with ``above`` too, between the two.
        symptom: In place of a metric: met while this symptom holds on the same target, or on any if one has none.
        unknown: Whether it counts as met while the metric is UNKNOWN.
        max_age: Seconds after which the metric is UNKNOWN.

    Raises:
        ValueError: It names both or neither of metric and symptom, or a metric without a bound or with bounds between
            which there is nothing, or it is no name.
    """

    metric: str = ""
    above: float | None = None
    below: float | None = None
    symptom: str = ""
    unknown: bool = False
    max_age: float = 10.0

    def __post_init__(self) -> None:
        check_shape(self)
        if bool(self.metric) == bool(self.symptom):
            raise ValueError(f"expected a metric or a symptom, got metric {self.metric!r}, symptom {self.symptom!r}")
        bounds = [bound for bound in (self.above, self.below) if bound is not None]
        if self.metric and not bounds:
            raise ValueError(f"expected above or below for metric {self.metric!r}")
        if self.symptom and bounds:
            raise ValueError(f"expected no bounds for symptom {self.symptom!r}: it holds or it does not")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(
                f"expected above less than below for metric {self.metric!r}, as it is met between the two, "
                f"got above {self.above:g} and below {self.below:g}"
            )
        if self.metric:
            Naming(self.metric)
        if not self.max_age > 0:
            raise ValueError(f"expected a max_age above 0, got {self.max_age!r}")

    def met_by(self, value: float) -> bool:
        """Return whether a known value meets it."""
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)

    def __str__(self) -> str:
        if self.symptom:
            return f"{self.symptom} holds"
        bounds = (("above", self.above), ("below", self.below))
        return f"{self.metric} " + " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
