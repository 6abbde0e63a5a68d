"""Measures: what is in force because a guard was breached, until its time is over or a person ends it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from aetherra.plugins import Intent
from aetherra.plugins.governance.guards import Count
from aetherra.plugins.governance.settings import Breach, GuardName

__all__ = ["LOST", "Measure", "Measures"]

LOST: Literal["state"] = "state"
"""What stands for a guard where it cannot be told which measures were in force: their file is damaged, or older."""
PAUSED = frozenset(("integration", "quarantine", "learning"))
"""What self-incorporation does by itself, but for the way back."""
_NO_WAY_BACK = ("integration", "quarantine")
"""Kinds that are none, whatever an intent says of itself: taking out again is a rollback."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What holds what would be done without a person.

    Attributes:
        guard: Which was breached; ``state`` where the state was lost.
        key: The component, sender or asker that it counted.
        breach: What is in force; ``hold_everything`` where the state is not the one that was saved last.
        asker: Who breached it.
        actuator: By what means; ``""`` if by none that has a name.
        since: Unix time from which.
        until: Unix time at which it ends by itself; ``None``: a person ends it.
        reason: Why, in words.
    """

    guard: GuardName | Literal["state"]
    key: str
    breach: Breach | Literal["hold_everything"]
    asker: str = ""
    actuator: str = ""
    since: float
    until: float | None = None
    reason: str

    def holds(self, asker: str, intent: Intent, count: Count | None) -> bool:
        """Whether it is about this intent.

        A way back is held by nothing but what has a person agree to ways back, and what holds everything.

        Args:
            asker: Who would act.
            intent: What.
            count: What counts it.
        """
        if self.breach == "hold_everything":
            return True
        is_back = intent.kind == "rollback" or (intent.undo and intent.kind not in _NO_WAY_BACK)
        is_counted = count is not None and (count.guard, count.key) == (self.guard, self.key)
        if self.breach == "require_human_approval":
            return not (is_back and intent.undo) if self.guard == LOST else is_counted
        if is_back:
            return False
        if self.breach == "pause_self_incorporation":
            return intent.kind in PAUSED and asker == self.asker
        by_means = intent.actuator == self.actuator if self.actuator else is_counted
        return by_means and asker == self.asker

    @property
    def lasts(self) -> float:
        """For how many seconds it was imposed; infinite if a person ends it."""
        return math.inf if self.until is None else max(0.0, self.until - self.since)

    @property
    def sentence(self) -> str:
        """What is in force and why, in words."""
        what = {
            "pause_self_incorporation": "self-incorporation is paused",
            "disable_actuator": f"actuator {self.actuator!r} is disabled"
            if self.actuator
            else "such acts are disabled",
            "require_human_approval": "a person must agree",
            "hold_everything": "nothing is done by itself",
        }[self.breach]
        ends = "" if self.until is not None else f"; a person ends it: 'aetherra guards reset {self.guard}'"
        return f"{what}, as {self.reason}{ends}"


class Measures:
    """Those in force. Any thread may look at them while one changes them.

    Args:
        time: Unix time as of the start, which nobody sets since.
        known: Those of an earlier run.
    """

    def __init__(self, time: Callable[[], float], known: Iterable[Measure] = ()) -> None:
        self._time = time
        self.restore(known)

    def restore(self, known: Iterable[Measure]) -> None:
        """Have these in force and nothing else; none for longer than it was imposed for."""
        now = self._time()
        self._measures = [
            each if each.until is None else msgspec.structs.replace(each, until=min(each.until, now + each.lasts))
            for each in known
        ]

    def in_force(self) -> tuple[Measure, ...]:
        """Return them, the oldest first."""
        now = self._time()
        return tuple(each for each in self._measures if each.until is None or now < each.until)

    def holding(self, asker: str, intent: Intent, count: Count | None) -> Measure | None:
        """Return what holds an intent, what refuses it before what has a person agree; ``None`` if nothing does."""
        holding = [each for each in self.in_force() if each.holds(asker, intent, count)]
        return min(holding, key=lambda each: each.breach == "require_human_approval", default=None)

    def impose(self, measure: Measure) -> bool:
        """Put a measure in force, and return whether that is news; one like it lasts on, now until the later end."""
        is_news = True
        likeness, others = _likeness(measure), list[Measure]()
        for each in self.in_force():
            if _likeness(each) != likeness:
                others.append(each)
            else:
                is_news = False
                until = None if measure.until is None or each.until is None else max(measure.until, each.until)
                measure = msgspec.structs.replace(each, until=until)
        self._measures = [*others, measure]
        return is_news

    def lift(self, guard: str, key: str | None = None) -> tuple[Measure, ...]:
        """End the measures of a guard, for one key or all, and return them."""
        lifted = tuple(each for each in self.in_force() if each.guard == guard and key in (None, each.key))
        self._measures = [each for each in self.in_force() if each not in lifted]
        return lifted


def _likeness(measure: Measure) -> tuple[str, str, str, str, str]:
    return measure.guard, measure.key, measure.breach, measure.asker, measure.actuator
