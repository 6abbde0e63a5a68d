"""Guards: how often something may be done without a person, in any stretch of time, across restarts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from aetherra.plugins import Intent
from aetherra.plugins.governance.settings import GUARDS, Guard, GuardName

__all__ = ["Count", "Counted", "GuardState", "Guards", "counted_by"]

MOST_KEYS = 10_000
"""Components and senders that are counted at a time; one more is not let pass."""
_OWN: Mapping[str, GuardName] = {
    "integration": "integrations_per_hour",
    "quarantine": "quarantines_per_hour",
    "rollback": "rollbacks_per_hour",
}
"""Kinds of intents with a guard of their own, which counts those of each asker, so that none uses up another's."""


class Count(msgspec.Struct, frozen=True):
    """What one intent counts for: a guard, and whom or what that counts apart (a component, a sender, an asker)."""

    guard: GuardName
    key: str = ""


class Counted(msgspec.Struct, frozen=True):
    """That something was let pass, at a Unix time."""

    count: Count
    at: float


class GuardState(msgspec.Struct, frozen=True):
    """How a guard stands.

    Attributes:
        name: Which it is.
        key: The component, sender or asker that is counted; ``""`` for a guard that has counted nobody.
        limit: So many in any ``seconds``.
        seconds: How long the window is.
        used: Let pass within the last ``seconds``.
        retry_after: Seconds until one more is let pass; 0 if it is now.
        breach: What is done about one more before that.
        lasts: For how many seconds; ``None``: until a person ends it.
    """

    name: GuardName
    key: str
    limit: int
    seconds: float
    used: int
    retry_after: float
    breach: str
    lasts: float | None


def counted_by(intent: Intent, asker: str) -> Count | None:
    """Return what counts an intent; ``None`` for the way back of an action, which is never one too many.

    Every kind that has no guard of its own is an action on its component.

    Args:
        intent: What somebody would do.
        asker: Who would do it.
    """
    if intent.kind == "proposal":
        return Count("proposals_per_sender_per_minute", intent.sender or asker)
    own = _OWN.get(intent.kind)
    if own is not None:
        return Count(own, asker)
    return None if intent.undo else Count("actions_per_component_per_minute", intent.component)


class Guards:
    """Counts what was let pass, so that no stretch of time as long as a guard's window has more of it than its limit.

    Time within a run of the host is that of a clock which nobody sets. What an earlier run has counted is as old as the
    wall clock says, and no younger than nothing where that was set back.

    Args:
        guards: The limits.
        monotonic: Seconds that only grow.
    """

    def __init__(self, guards: Mapping[GuardName, Guard], monotonic: Callable[[], float]) -> None:
        self._guards = guards
        self._monotonic = monotonic
        self._passed: dict[Count, deque[float]] = {}

    def wait(self, count: Count) -> float:
        """Return after how many seconds one more may pass; 0 if it may now. Nothing is counted by it."""
        guard = self._guards[count.guard]
        passed = self._within(count)
        if len(passed) < guard.limit:
            return 0.0
        return max(0.0, passed[-guard.limit] + guard.seconds - self._monotonic())

    def guard(self, count: Count) -> Guard:
        """Return the limit that counts."""
        return self._guards[count.guard]

    def has_room(self, count: Count) -> bool:
        """Whether one of these can be counted: not where too many others are."""
        if count not in self._passed and len(self._passed) >= MOST_KEYS:
            self._forget()
        return count in self._passed or len(self._passed) < MOST_KEYS

    def count(self, count: Count) -> float:
        """Count one that is let pass, and return when that was."""
        now = self._monotonic()
        if count not in self._passed and len(self._passed) >= MOST_KEYS:
            self._forget()
        self._passed.setdefault(count, deque()).append(now)
        return now

    def take_back(self, count: Count, at: float) -> None:
        """Count one no more that was counted then: it was not let pass after all."""
        passed = self._passed.get(count)
        if passed is not None and at in passed:
            passed.remove(at)

    def reset(self, name: GuardName, key: str | None = None) -> int:
        """Begin anew, for one key or all, and return how many were counted until now."""
        counts = [count for count in self._passed if count.guard == name and key in (None, count.key)]
        return sum(len(self._passed.pop(count)) for count in counts)

    def restore(self, records: Iterable[Counted], now: float) -> None:
        """Have these counted and nothing else; as ``recall``."""
        self._passed.clear()
        self.recall(records, now)

    def recall(self, records: Iterable[Counted], now: float) -> None:
        """Take over what was counted before, the oldest first; ``now`` is the Unix time."""
        monotonic = self._monotonic()
        for record in records:
            guard = self._guards.get(record.count.guard)
            age = max(0.0, now - record.at)
            if guard is not None and age < guard.seconds:
                self._passed.setdefault(record.count, deque()).append(monotonic - age)
        for count, passed in self._passed.items():
            self._passed[count] = deque(sorted(passed))

    def records(self, now: float) -> list[Counted]:
        """Return what still counts, the oldest first, to be recalled by a later run."""
        monotonic = self._monotonic()
        found = [Counted(count, now - (monotonic - at)) for count in list(self._passed) for at in self._within(count)]
        return sorted(found, key=lambda record: record.at)

    def states(self) -> tuple[GuardState, ...]:
        """Tell how each guard stands, with a line for each component and sender that counts."""
        self._forget()
        found = [self._state(count) for count in sorted(self._passed, key=lambda count: (count.guard, count.key))]
        seen = {state.name for state in found}
        found += [self._state(Count(name)) for name in GUARDS if name not in seen]
        return tuple(sorted(found, key=lambda state: (GUARDS.index(state.name), state.key)))

    def _state(self, count: Count) -> GuardState:
        guard = self._guards[count.guard]
        used = len(self._within(count))
        return GuardState(
            count.guard, count.key, guard.limit, guard.seconds, used, self.wait(count), guard.breach, guard.lasts
        )

    def _within(self, count: Count) -> deque[float]:
        passed = self._passed.get(count)
        if passed is None:
            return deque()
        since = self._monotonic() - self._guards[count.guard].seconds
        while passed and passed[0] <= since:
            passed.popleft()
        return passed

    def _forget(self) -> None:
        for count in [count for count in self._passed if not self._within(count)]:
            del self._passed[count]
