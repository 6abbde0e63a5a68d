"""A window: the latest samples of one metric under one rule, and whether they add up to a symptom."""

from __future__ import annotations

from aetherra.plugins.homeostasis.decision.clause import Clause, Holding
from aetherra.plugins.homeostasis.decision.observation import Observation, read, read_sum
from aetherra.plugins.homeostasis.decision.rule import LONGEST_WINDOW, Rule
from aetherra.plugins.homeostasis.decision.signal import Agreement, counted, reached

__all__ = ["Window"]

_KEPT = (1 << LONGEST_WINDOW) - 1
_SAME = 1e-6  # seconds between two looks at one measurement, by rounding alone


class Window:
    """Votes of samples: n of m to enter, n of m to leave; UNKNOWN is no vote. A ``Signal``.

    A sample is a measurement: one that is seen again, older by the time that has passed, has no second vote. So has
    none a look while time stands still.

    Args:
        rule: The rule.
        names: The metrics that are added up.
        target: What ``*`` stands for.
        gap: Seconds between two samples after which the earlier ones are no evidence any more.
    """

    __slots__ = (
        "_bad", "_changes", "_doubt", "_gap", "_given", "_good", "_last", "_names", "_rule", "_same",
        "_verdict", "active", "agreement", "bound", "good", "known", "metric", "suspect", "taken", "value", "why",
    )  # fmt: skip

    def __init__(self, rule: Rule, names: tuple[str, ...], target: str, gap: float) -> None:
        self._rule, self._names, self._gap = rule, names, gap
        self._given = tuple(Clause(condition, target) for condition in rule.given)
        self.agreement = Agreement(tuple(Clause(condition, target) for condition in rule.confirm), *rule.enter)
        self.metric, self.bound, self.good = " + ".join(names), rule.bound, rule.good
        self._bad = self._good = self._changes = 0
        self._verdict: bool | None = None  # the last sample's that was either good or bad: whether it was bad
        self._doubt = False
        self.taken = float("-inf")
        self._last: float | None = None
        self._same = 0
        self.active = self.suspect = self.known = False
        self.value: float | None = None
        self.why = "not seen yet"

    def look(self, observation: Observation, now: float, holding: Holding) -> None:
        """Take the next observation in."""
        rule, names = self._rule, self._names
        if len(names) == 1:
            name = names[0]
            value, age, why = (
                read(observation[name], rule.max_age) if name in observation else (None, 0.0, f"{name} is missing")
            )
        else:
            value, age, why = read_sum(observation, names, rule.max_age)
        if value is None:
            self._lose(why)
            return
        if (span := rule.plausible) is not None and not span[0] <= value <= span[1]:
            self._lose(f"it reads {value:.4g}, which cannot be: expected {span[0]:g} to {span[1]:g}")
            return
        taken = now - age
        if taken <= self.taken + _SAME:
            return
        if taken - self.taken > self._gap:
            self.refresh()
        self.taken = taken
        if rule.stuck_after and self._is_stuck(value):
            return
        self._vote(value, observation, holding)

    def votes(self) -> tuple[int, int, int]:
        """Return n, m and how many are needed: bad samples of the last m, or good ones once the symptom has left."""
        needed, last = self._rule.enter if self.active else self._rule.leave
        return counted(self._bad if self.active else self._good, last), last, needed

    def due(self) -> bool:
        """Return whether the evidence since the last act is enough for another."""
        return self.active and self.known and reached(self._bad, self._rule.enter)

    def refresh(self) -> None:
        """Forget the votes."""
        self._bad = self._good = 0
        self.suspect = False
        self.agreement.refresh()

    def _vote(self, value: float, observation: Observation, holding: Holding) -> None:
        rule = self._rule
        above = rule.bad_above is not None
        bad = value > rule.bad if above else value < rule.bad
        good = value <= rule.good if above else value >= rule.good
        self.value = value
        if self._alternates(bad, good):
            return
        if self._given and not good:
            unmet = [clause for clause in self._given if not clause.met(observation, holding)]
            if not all(clause.known(observation) for clause in unmet):
                self._lose(f"it reads {value:.4g}, and what that means is unknown")
                return
            bad, good = bad and not unmet, bool(unmet)
        self.known, self.why, self.suspect = True, "", bad
        self._bad = (self._bad << 1 | bad) & _KEPT
        self._good = (self._good << 1 | good) & _KEPT
        if self._bad or self.active:
            self.agreement.look(observation, holding)
        if not self.active:
            self.active = reached(self._bad, rule.enter)
        elif reached(self._good, rule.leave):
            self.active = False
            self._bad = 0
            self.agreement.refresh()

    def _alternates(self, bad: bool, good: bool) -> bool:
        """Say whether the metric goes to and fro too often for any of it to be evidence."""
        needed, last = self._rule.flapping
        changed = (bad or good) and self._verdict is not None and self._verdict is not bad
        if bad or good:
            self._verdict = bad
        self._changes = (self._changes << 1 | changed) & ((1 << last) - 1)
        changes = self._changes.bit_count()
        self._doubt = changes > 1 if self._doubt else changes >= needed
        if self._doubt:
            self._lose(f"it went to and fro between good and bad {changes} times in {last} samples")
            self.refresh()
        return self._doubt

    def _is_stuck(self, value: float) -> bool:
        self._same = self._same + 1 if value == self._last else 1
        self._last = value
        if self._same >= self._rule.stuck_after:
            self._lose(f"it has read {value:.6g} for {self._same} samples in a row, and this metric never stands still")
            return True
        return False

    def _lose(self, why: str) -> None:
        self.known = self.suspect = False
        self.why = why
