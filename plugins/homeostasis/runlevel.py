"""The runlevel: in which of six states the host is, moved by its health, and not at every breath of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

__all__ = ["Runlevel", "RunlevelChange", "RunlevelMachine", "RunlevelSettings"]

_REASONS = 3


Runlevel: TypeAlias = Literal["BOOTING", "ONLINE", "DEGRADED", "CRITICAL", "MAINTENANCE", "STOPPING"]
"""What can be expected of the host.

- BOOTING: not everything has come up yet.
- ONLINE: all is well.
- DEGRADED: it serves, worse than it should; or nobody has known for a while how it is.
- CRITICAL: much of it does not serve.
- MAINTENANCE: a person works on it; nothing is done to it meanwhile.
- STOPPING: it ends; there is no way back.
"""
_HEALTHS: tuple[Runlevel, ...] = ("ONLINE", "DEGRADED", "CRITICAL")
"""The levels that health decides about, the best first."""


class RunlevelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What moves the runlevel; scores are 0 to 1, durations seconds.

    Attributes:
        degraded_below: A score that speaks for DEGRADED, or worse.
        degraded_until: A score from which on it speaks for leaving it.
        critical_below: A score that speaks for CRITICAL.
        critical_until: A score from which on it speaks for leaving it.
        worse: ``(n, m)``: so many of the last m scores must speak for a worse level.
        better: So many of the last m for a better one.
        stay: How long a level lasts at least before a better one.
        boot_limit: How long the host may be BOOTING; then it is judged as it is.
        blind_after: How long its health may be unknown before it is DEGRADED for that.

    Raises:
        ValueError: Figures contradict each other, so that the level could flap; says which.
    """

    degraded_below: float = 0.8
    degraded_until: float = 0.88
    critical_below: float = 0.4
    critical_until: float = 0.5
    worse: tuple[int, int] = (2, 3)
    better: tuple[int, int] = (4, 5)
    stay: float = 10.0
    boot_limit: float = 60.0
    blind_after: float = 60.0

    def __post_init__(self) -> None:
        scores = (self.critical_below, self.critical_until, self.degraded_below, self.degraded_until)
        if not (0 < scores[0] <= scores[1] <= 1 and scores[0] <= scores[2] <= scores[3] <= 1):
            raise ValueError(
                f"expected each *_below at most its *_until, critical below degraded, in 0..1, got {scores}"
            )
        for n, m in (self.worse, self.better):
            if not 1 <= n <= m:
                raise ValueError(f"expected n of m with 1 <= n <= m, got {n} of {m}")
        if not all(seconds >= 0 for seconds in (self.stay, self.boot_limit, self.blind_after)):
            raise ValueError("expected stay, boot_limit and blind_after from 0 on")

    def below(self, level: Runlevel) -> float:
        """Return the score below which ``level``, or worse, is due."""
        return self.critical_below if level == "CRITICAL" else self.degraded_below

    def until(self, level: Runlevel) -> float:
        """Return the score from which on a better one than ``level`` is."""
        return self.critical_until if level == "CRITICAL" else self.degraded_until


class RunlevelChange(msgspec.Struct, frozen=True):
    """The host went from one runlevel to another at a Unix time, and why."""

    ts: float
    old: Runlevel
    new: Runlevel
    reasons: tuple[str, ...]


class RunlevelMachine:
    """The runlevel, as scores of health and a person's word move it.

    ``update`` is to be called after each measurement. Health goes worse by any number of levels at once and better by
    one at a time. An unknown score speaks for nothing: it holds the level. MAINTENANCE lies over what health says; it
    is judged on below that, and shows again afterwards.

    Args:
        settings: The bounds.
        monotonic: Seconds that only go forward.
        time: Unix time.
    """

    def __init__(
        self, settings: RunlevelSettings, *, monotonic: Callable[[], float], time: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._time = time
        self._scores: deque[float] = deque(maxlen=max(settings.worse[1], settings.better[1]))
        self._judged: Runlevel = "BOOTING"
        self._begun = self._moved = self._known = monotonic()
        self._judged_reasons: tuple[str, ...] = ("the host has just started",)
        self._maintenance = ""
        self._stopping = ""
        self._shown = RunlevelChange(time(), "BOOTING", "BOOTING", self._judged_reasons)

    @property
    def level(self) -> Runlevel:
        """The runlevel now."""
        return self._shown.new

    @property
    def since(self) -> float:
        """The Unix time from which on it is."""
        return self._shown.ts

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is, by the latest measurement."""
        return self._judged_reasons if self._shown.new is self._judged else self._shown.reasons

    def update(self, score: float | None, *, ready: bool = True, reasons: Sequence[str] = ()) -> RunlevelChange | None:
        """Take in a measurement; return the change of level that it led to, ``None`` if it led to none.

        Args:
            score: The host's health; ``None`` if nobody knows.
            ready: Whether all has come up; until then, or the limit, the host is BOOTING.
            reasons: What lowers the score, most first.
        """
        now = self._monotonic()
        if score is not None and score == score:  # no NaN
            if now - self._known >= self._settings.blind_after:
                self._scores.clear()  # what was before the silence says nothing about now
            self._known = now
            self._scores.append(score)
        if self._judged == "BOOTING":
            self._judge_boot(now, ready, reasons)
        else:
            self._judge(now, reasons)
            if self._known == now and self._moved != now:
                self._judged_reasons = self._said(self._scores[-1], reasons)
        return self._show()

    def maintain(self, reason: str | None) -> RunlevelChange | None:
        """Begin maintenance for a reason, or with ``None`` end it; return the change, ``None`` if there was none."""
        self._maintenance = "" if reason is None else reason or "no reason was given"
        return self._show()

    def stop(self, reason: str = "") -> RunlevelChange | None:
        """Say that the host stops, for good; return the change, ``None`` if that was known."""
        self._stopping = self._stopping or reason or "the host stops"
        return self._show()

    def _judge_boot(self, now: float, ready: bool, reasons: Sequence[str]) -> None:
        late = now - self._begun >= self._settings.boot_limit
        if not (ready or late):
            return
        if not self._scores and not late:
            return
        why = () if ready else (f"not all came up within {self._settings.boot_limit:g} s",)
        if not self._scores:
            self._move(now, "DEGRADED", (*why, "nobody knows how the host is"))
            return
        score = self._scores[-1]
        worst: Runlevel = "ONLINE"
        for level in _HEALTHS[1:]:
            if score < self._settings.below(level):
                worst = level
        if worst == "ONLINE" and why:
            worst = "DEGRADED"
        self._move(now, worst, (*why, *self._said(score, reasons)))

    def _judge(self, now: float, reasons: Sequence[str]) -> None:
        blind = now - self._known
        if blind >= self._settings.blind_after and self._judged == "ONLINE":
            self._move(now, "DEGRADED", (f"nobody has known for {blind:.0f} s how the host is",))
            self._scores.clear()
            return
        if not self._scores:
            return
        rank = _HEALTHS.index(self._judged)
        for level in reversed(_HEALTHS[rank + 1 :]):
            if self._speak(self._settings.worse, -math.inf, self._settings.below(level)):
                self._move(now, level, self._said(self._scores[-1], reasons))
                return
        if (
            rank > 0
            and blind == 0  # what speaks for better must be of now
            and now - self._moved >= self._settings.stay
            and self._speak(self._settings.better, self._settings.until(self._judged), math.inf)
        ):
            self._move(now, _HEALTHS[rank - 1], self._said(self._scores[-1], reasons))
            self._scores.clear()  # a level better by two takes two rounds

    def _speak(self, rule: tuple[int, int], low: float, high: float) -> bool:
        """Whether n of the last m scores are from ``low`` on and below ``high``."""
        needed, of = rule
        return sum(low <= score < high for score in list(self._scores)[-of:]) >= needed

    @staticmethod
    def _said(score: float, reasons: Sequence[str]) -> tuple[str, ...]:
        return (f"health is {score:.2f}", *reasons[:_REASONS])

    def _move(self, now: float, level: Runlevel, reasons: tuple[str, ...]) -> None:
        self._judged, self._moved, self._judged_reasons = level, now, reasons

    def _show(self) -> RunlevelChange | None:
        level, reasons = self._judged, self._judged_reasons
        if self._stopping:
            level, reasons = "STOPPING", (self._stopping,)
        elif self._maintenance:
            level, reasons = "MAINTENANCE", (self._maintenance,)
        if level == self._shown.new:
            return None
        self._shown = RunlevelChange(self._time(), self._shown.new, level, reasons)
        return self._shown
