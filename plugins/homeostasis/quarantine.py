"""The quarantine of actuators: what fails too often is left alone for a while, then tried once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

__all__ = ["ActuatorStanding", "Quarantine", "QuarantineChange", "QuarantineRule"]

Standing = Literal["trusted", "quarantined", "trial"]


class QuarantineRule(msgspec.Struct, frozen=True):
    """When an actuator is quarantined, and when it gets a trial; durations are seconds.

    Attributes:
        failures: How many of ``minimum`` acts must have failed; of more acts the same share.
        minimum: Acts below which nothing is concluded.
        window: Latest acts that count.
        max_age: How long an act counts.
        rest: How long it is left alone before a trial; twice as long after each trial that fails.
        longest_rest: Where that ends. A trial of which nothing is heard for so long as well is given up.

    Raises:
        ValueError: A figure is out of range; says which.
    """

    failures: int = 5
    minimum: int = 8
    window: int = 16
    max_age: float = 3600.0
    rest: float = 600.0
    longest_rest: float = 7200.0

    def __post_init__(self) -> None:
        if not 1 <= self.failures <= self.minimum <= self.window:
            counts = f"{self.failures}, {self.minimum} and {self.window}"
            raise ValueError(f"expected 1 <= failures <= minimum <= window, got {counts}")
        if not (0 < self.rest <= self.longest_rest and self.max_age > 0):
            spans = f"{self.rest!r}, {self.longest_rest!r} and {self.max_age!r}"
            raise ValueError(f"expected 0 < rest <= longest_rest and max_age above 0, got {spans}")


class ActuatorStanding(msgspec.Struct, frozen=True):
    """How far an actuator is trusted.

    Attributes:
        actuator: Its name.
        standing: ``trusted``; ``quarantined``: left alone; ``trial``: one act is out that decides.
        failed: Failed acts among those that count, of which there are ``acts``.
        trial_in: Seconds until it may be tried, 0 if now; ``None`` unless it is quarantined.
        reason: Why it is not trusted, with its last failure.
    """

    actuator: str
    standing: Standing
    failed: int
    acts: int
    trial_in: float | None = None
    reason: str = ""


class QuarantineChange(msgspec.Struct, frozen=True):
    """An actuator went from one standing to another, and why."""

    actuator: str
    old: Standing
    new: Standing
    reason: str


class Quarantine:
    """The standings of all actuators, by the acts that were reported of them.

    Of ``window`` acts at most, none older than ``max_age``: once there are ``minimum`` of them, and ``failures`` in
    ``minimum`` failed, the actuator is quarantined. After ``rest`` seconds one act is admitted: if it works all is
    forgiven, if not the rest begins anew and is twice as long. What acts that were admitted earlier report meanwhile
    changes nothing.

    Args:
        rule: The bounds.
        monotonic: Seconds that only go forward.
    """

    def __init__(self, rule: QuarantineRule, monotonic: Callable[[], float]) -> None:
        self._rule = rule
        self._monotonic = monotonic
        self._records: dict[str, _Record] = {}

    def admit(self, actuator: str, act: str) -> bool:
        """Whether an act may begin. A quarantined actuator's one trial is taken by the first that asks when it is due.

        An admitted act must be followed by ``record`` or ``withdraw``.
        """
        record = self._records.get(actuator)
        if record is None or record.standing == "trusted":
            return True
        if self._monotonic() < record.due:
            return False
        record.standing, record.trial = "trial", act
        record.due = self._monotonic() + self._rule.longest_rest
        return True

    def withdraw(self, actuator: str, act: str) -> None:
        """Take back an admitted act that was not done after all; if it was the trial, the next may try."""
        record = self._records.get(actuator)
        if record is not None and record.standing == "trial" and record.trial == act:
            record.standing, record.trial, record.due = "quarantined", "", self._monotonic()

    def record(self, actuator: str, act: str, *, worked: bool, reason: str = "") -> QuarantineChange | None:
        """Count how an act ended; return what that changed, ``None`` if nothing."""
        record = self._records.setdefault(actuator, _Record(self._rule))
        if record.standing == "trusted":
            return self._count(actuator, record, worked, reason)
        if record.standing != "trial" or record.trial != act:
            return None
        if worked:
            del self._records[actuator]
            return QuarantineChange(actuator, "trial", "trusted", "its trial worked")
        record.rest = min(2 * record.rest, self._rule.longest_rest)
        record.quarantine(self._monotonic(), f"its trial failed: {reason or 'no reason was given'}")
        return QuarantineChange(actuator, "trial", "quarantined", record.reason)

    def _count(self, actuator: str, record: _Record, worked: bool, reason: str) -> QuarantineChange | None:
        now = self._monotonic()
        record.acts.append((now, worked))
        failed, acts = record.tally(now - self._rule.max_age)
        if worked or acts < self._rule.minimum or failed * self._rule.minimum < self._rule.failures * acts:
            return None
        record.quarantine(now, f"{failed} of its last {acts} acts failed: {reason or 'no reason was given'}")
        return QuarantineChange(actuator, "trusted", "quarantined", record.reason)

    def standing(self, actuator: str) -> ActuatorStanding:
        """Return how far an actuator is trusted; one that was never heard of is."""
        record = self._records.get(actuator)
        if record is None:
            return ActuatorStanding(actuator, "trusted", 0, 0)
        now = self._monotonic()
        failed, acts = record.tally(now - self._rule.max_age)
        trial_in = max(0.0, record.due - now) if record.standing == "quarantined" else None
        return ActuatorStanding(actuator, record.standing, failed, acts, trial_in, record.reason)

    def standings(self) -> list[ActuatorStanding]:
        """Return all that were reported on, by name."""
        return [self.standing(actuator) for actuator in sorted(self._records)]


class _Record:
    """What is known of one actuator."""

    def __init__(self, rule: QuarantineRule) -> None:
        self.acts: deque[tuple[float, bool]] = deque(maxlen=rule.window)
        self.standing: Standing = "trusted"
        self.rest = rule.rest
        self.due = 0.0
        self.trial = ""
        self.reason = ""

    def quarantine(self, now: float, reason: str) -> None:
        self.standing, self.trial, self.due, self.reason = "quarantined", "", now + self.rest, reason

    def tally(self, since: float) -> tuple[int, int]:
        """Return how many acts failed, and how many count."""
        recent = [worked for when, worked in self.acts if when >= since]
        return recent.count(False), len(recent)
