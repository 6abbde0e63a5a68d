"""An SLO: what share of a metric's events or samples must be good, and how fast its budget may burn."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.rule import check_ladder
from aetherra.plugins.homeostasis.decision.rung import Rung
from aetherra.plugins.homeostasis.decision.shape import check_shape

__all__ = ["Slo"]


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A promise over time. It is broken while its error budget burns too fast in two windows at once.

    The long window says that it matters, the short one that it still goes on, and the minimum of events that a share is
    one: see "Multiwindow, Multi-Burn-Rate Alerts" in chapter 5 of the Site Reliability Workbook (Google, 2018).

    Attributes:
        metric: Its name, ``"a + b"`` for a sum, one ``*`` for a target. Without minimum and maximum it is itself the
            share of bad events, 0 to 1.
        target: Share of events that must be good; the rest is the budget.
        minimum: A sample below this is bad.
        maximum: A sample above this is bad.
        events: Metric with the events per second that a sample stands for; without it each sample is one event.
        long: Seconds of the long window.
        short: Seconds of the short window.
        burn: Times the budget's rate that counts as a breach. 14.4 over an hour is 2 % of a month's budget.
        minimum_events: Fewer in the long window say nothing.
        grace: Seconds that the breach must last before the first rung.
        max_age: Seconds after which the metric is UNKNOWN.
        plausible: ``(low, high)``: a value outside is UNKNOWN.
        confirm: Other metrics that must agree before anything disruptive is done.
        ladder: What to try, as in a rule.
        masks: Symptoms that wait while this one holds and can be acted on.
        relapse: As in a rule.
        cooldown: As in a rule.
        undo_after: As in a rule.

    Raises:
        ValueError: The SLO cannot work; the message says why.
    """

    metric: str
    target: float
    minimum: float | None = None
    maximum: float | None = None
    events: str = ""
    long: float = 3600.0
    short: float = 300.0
    burn: float = 14.4
    minimum_events: float = 20.0
    grace: float = 0.0
    max_age: float = 10.0
    plausible: tuple[float, float] | None = None
    confirm: tuple[Condition, ...] = ()
    ladder: tuple[Rung, ...] = ()
    masks: tuple[str, ...] = ()
    relapse: float = 120.0
    cooldown: float = 300.0
    undo_after: float = 60.0

    def __post_init__(self) -> None:
        check_shape(self)
        Naming(self.metric)
        if self.events:
            Naming(self.events)
        if not 0 < self.target < 1:
            raise ValueError(f"expected a target between 0 and 1, got {self.target!r}: of all there is no budget")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"expected minimum <= maximum, got {self.minimum!r} and {self.maximum!r}")
        if not 0 < self.short <= self.long:
            raise ValueError(f"expected 0 < short <= long, got {self.short!r} and {self.long!r}")
        if not 0 < self.burn * (1 - self.target) <= 1:
            raise ValueError(
                f"burn {self.burn:g} at target {self.target:g} can never be reached: expected at most "
                f"{1 / (1 - self.target):g}"
            )
        for name in ("minimum_events", "grace", "relapse", "cooldown", "undo_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected {name} of at least 0, got {getattr(self, name)!r}")
        if not self.max_age > 0:
            raise ValueError(f"expected a max_age above 0, got {self.max_age!r}")
        self._check_plausible()
        check_ladder(self.metric, self.ladder, self.confirm)

    def _check_plausible(self) -> None:
        if self.plausible is None:
            return
        low, high = self.plausible
        if not low < high:
            raise ValueError(f"expected plausible as (low, high), got {self.plausible}")
        if self.by_share:
            share = self.burn * (1 - self.target)
            seen_bad, seen_good = high >= share, low < share
        else:
            seen_bad = (self.minimum is not None and low < self.minimum) or (
                self.maximum is not None and high > self.maximum
            )
            least, most = low if self.minimum is None else self.minimum, high if self.maximum is None else self.maximum
            seen_good = max(low, least) <= min(high, most)
        if not seen_bad or not seen_good:
            raise ValueError(
                f"expected a plausible range of {self.metric!r} in which it can be bad and good, "
                f"got {low:g} to {high:g}"
            )

    @property
    def by_share(self) -> bool:
        """Whether the metric is itself the share of bad events."""
        return self.minimum is None and self.maximum is None
