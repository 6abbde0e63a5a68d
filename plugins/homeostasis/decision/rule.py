"""A rule: when a metric is evidence of a symptom, and what to try against it."""

from __future__ import annotations

import msgspec

from aetherra.plugins.homeostasis.decision.condition import Condition
from aetherra.plugins.homeostasis.decision.naming import Naming
from aetherra.plugins.homeostasis.decision.rung import Rung
from aetherra.plugins.homeostasis.decision.shape import check_shape

__all__ = ["LONGEST_WINDOW", "Rule", "check_ladder"]

LONGEST_WINDOW = 60
"""Samples that a window may have at most."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence of one symptom, and its ladder. The symptom's name is the rule's key in the policy.

    A sample is bad beyond ``bad_above`` or ``bad_below``, good from ``clear`` on, and neither between the two. UNKNOWN
    samples are no votes: they hold whatever holds.

    Attributes:
        metric: Its name. One ``*`` stands for a target: ``plugin.*.error_ratio`` makes one symptom for each plugin that
            is seen. ``"a + b"`` is a sum, as of work that waits and work that was refused.
        bad_above: A value above this is bad.
        bad_below: A value below this is bad; exactly one of the two is given.
        clear: A value not beyond this is good; by default the bad bound.
        enter: ``(n, m)``: the symptom holds once n of the last m samples are bad, the latest two among
            them.
        leave: ``(n, m)``: it has left once n of the last m samples are good, the latest two among
            them.
        max_age: Seconds after which the metric is UNKNOWN.
        plausible: ``(low, high)``: a value outside is no measurement, and UNKNOWN.
        stuck_after: So many samples of the very same value in a row are UNKNOWN; 0: a still value is fine, as of a
            queue that is empty.
        flapping: ``(n, m)``: n changes between good and bad within m samples make the metric UNKNOWN, until at most one
            is left among the last m.
        given: Conditions without which no sample is bad, as that there is work for a plugin that finishes none.
        confirm: Other, independent metrics that must agree, by ``enter`` too, before anything disruptive is done.
        grace: Seconds that the symptom must hold before the first rung: many heal alone.
        ladder: What to try, the mildest first. Empty: the symptom is only told, and masks others.
        masks: Symptoms that this one causes: they wait while this one holds and can be acted on.
        relapse: A symptom that comes back within so many seconds goes on where its ladder stood. A rung that has kept
            it away for twice its settle time may be taken again.
        cooldown: Seconds after giving up until the ladder starts over.
        undo_after: Seconds that the symptom must have been away before lasting changes are undone.

    Raises:
        ValueError: The rule cannot work; the message says why.
    """

    metric: str
    bad_above: float | None = None
    bad_below: float | None = None
    clear: float | None = None
    enter: tuple[int, int] = (3, 5)
    leave: tuple[int, int] = (4, 5)
    max_age: float = 10.0
    plausible: tuple[float, float] | None = None
    stuck_after: int = 0
    flapping: tuple[int, int] = (6, 12)
    given: tuple[Condition, ...] = ()
    confirm: tuple[Condition, ...] = ()
    grace: float = 0.0
    ladder: tuple[Rung, ...] = ()
    masks: tuple[str, ...] = ()
    relapse: float = 120.0
    cooldown: float = 300.0
    undo_after: float = 60.0

    def __post_init__(self) -> None:
        check_shape(self)
        Naming(self.metric)
        if (self.bad_above is None) == (self.bad_below is None):
            raise ValueError(f"expected bad_above or bad_below for {self.metric!r}, and not both")
        if self.good > self.bad if self.bad_above is not None else self.good < self.bad:
            raise ValueError(f"expected clear {self.good:g} of {self.metric!r} on the good side of {self.bad:g}")
        for name, (n, m) in (("enter", self.enter), ("leave", self.leave), ("flapping", self.flapping)):
            if not 1 <= n <= m <= LONGEST_WINDOW:
                raise ValueError(f"expected {name} as n of m with 1 <= n <= m <= {LONGEST_WINDOW}, got {n} of {m}")
        self._check_plausible()
        if not self.max_age > 0:
            raise ValueError(f"expected a max_age above 0, got {self.max_age!r}")
        if self.stuck_after < 0 or self.stuck_after == 1:
            raise ValueError(f"expected stuck_after of 0, or of at least 2 samples, got {self.stuck_after}")
        for name in ("grace", "relapse", "cooldown", "undo_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected {name} of at least 0 s, got {getattr(self, name)!r}")
        check_ladder(self.metric, self.ladder, self.confirm)

    def _check_plausible(self) -> None:
        if self.plausible is None:
            return
        low, high = self.plausible
        if not low < high:
            raise ValueError(f"expected plausible as (low, high), got {self.plausible}")
        seen_bad = high > self.bad if self.bad_above is not None else low < self.bad
        if not seen_bad or not low <= self.good <= high:
            raise ValueError(
                f"expected a plausible range of {self.metric!r} in which it can be bad, {self.bound}, and good again, "
                f"at {self.good:g}, got {low:g} to {high:g}"
            )

    @property
    def bad(self) -> float:
        """The bound beyond which a sample is bad."""
        bound = self.bad_above if self.bad_above is not None else self.bad_below
        assert bound is not None
        return bound

    @property
    def good(self) -> float:
        """The bound up to which a sample is good."""
        return self.bad if self.clear is None else self.clear

    @property
    def bound(self) -> str:
        """The bad bound in words."""
        return f"{'above' if self.bad_above is not None else 'below'} {self.bad:g}"


def check_ladder(metric: str, ladder: tuple[Rung, ...], confirm: tuple[Condition, ...]) -> None:
    """See that nothing disruptive hangs on one sensor alone.

    Raises:
        ValueError: A rung is disruptive and no other metric confirms the evidence, or a confirming one reads what the
            evidence reads, or is met while it knows nothing.
    """
    for condition in confirm:
        if condition.unknown:
            raise ValueError(f"expected confirm without unknown: {condition} cannot agree while nobody knows it")
        if condition.metric and (shared := Naming(metric).shared_with(Naming(condition.metric))):
            raise ValueError(
                f"expected another metric in confirm than {shared!r}, of which {metric!r} itself is made: "
                "a sensor cannot confirm itself"
            )
    disruptive = [rung.action for rung in ladder if rung.disruptive]
    if disruptive and not any(condition.metric for condition in confirm):
        raise ValueError(
            f"{disruptive[0]!r} is disruptive and only {metric!r} would speak for it, which may lie: "
            "name another metric that must agree in confirm"
        )
