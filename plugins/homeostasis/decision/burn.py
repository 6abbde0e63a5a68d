"""A burn rate: how fast one SLO's error budget goes, over two windows."""

from __future__ import annotations

from collections import deque

from aetherra.plugins.homeostasis.decision.clause import Clause, Holding
from aetherra.plugins.homeostasis.decision.observation import Observation, read_sum
from aetherra.plugins.homeostasis.decision.signal import Agreement
from aetherra.plugins.homeostasis.decision.slo import Slo

__all__ = ["BurnRate"]

_SLICES = 12  # of the short window: how sharply it ends
_CONFIRM = (2, 3)  # samples of the others that must agree
_LONGEST_SAMPLE = 60.0  # seconds that a sample may stand for; what is between it and the next is not known


class BurnRate:
    """Sums of good and bad events in slices of time; a ``Signal``.

    The symptom holds while both windows burn at ``burn`` times the budget's rate or more, and there were enough events.
    It leaves once the short window burns at less. Missing samples add no events, so silence neither breaks a promise
    nor keeps one: without a known sample the state holds.
    """

    __slots__ = (
        "_events", "_long", "_names", "_slice", "_slices", "_slo", "active", "agreement", "bound", "good",
        "known", "metric", "suspect", "taken", "value", "why",
    )  # fmt: skip

    def __init__(self, slo: Slo, names: tuple[str, ...], events: tuple[str, ...], target: str) -> None:
        self._slo, self._names, self._events = slo, names, events
        self.agreement = Agreement(tuple(Clause(condition, target) for condition in slo.confirm), *_CONFIRM)
        self.metric = f"burn rate of {' + '.join(names)}"
        self.bound, self.good = f"at least {slo.burn:g}", slo.burn
        self._slice = slo.short / _SLICES
        self._slices: deque[tuple[int, float, float]] = deque()  # (number, bad events, all events)
        self._long = (0.0, 0.0)
        self.taken = float("-inf")
        self.active = self.suspect = self.known = False
        self.value: float | None = None
        self.why = "not seen yet"

    def look(self, observation: Observation, now: float, holding: Holding) -> None:
        """Take the next observation in."""
        slo = self._slo
        value, age, why = read_sum(observation, self._names, slo.max_age)
        span = slo.plausible
        if value is not None and span is not None and not span[0] <= value <= span[1]:
            value, why = None, f"it reads {value:.4g}, which cannot be"
        rate = 1.0
        if value is not None and self._events:
            events, _, why = read_sum(observation, self._events, slo.max_age)
            value, rate = (None, 0.0) if events is None else (value, max(events, 0.0))
        if value is None:
            self.known = self.suspect = False
            self.why = why
            return
        taken = now - age
        passed = taken - self.taken
        if passed <= 0:
            return
        if passed == float("inf"):
            passed = 0.0
        self.taken = taken
        weight = rate * min(passed, _LONGEST_SAMPLE) if self._events else 1.0
        self._add(int(now // self._slice), self._share(value) * weight, weight)
        self._judge(int(now // self._slice))
        if self.suspect or self.active:
            self.agreement.look(observation, holding)

    def votes(self) -> tuple[int, int, int]:
        """Return bad events, all events of the short window, and how many events the long one must have."""
        bad, every = self._short(self._slices[-1][0]) if self._slices else (0.0, 0.0)
        return round(bad), round(every), round(self._slo.minimum_events)

    def due(self) -> bool:
        """Return whether the budget still burns."""
        return self.active and self.known and self.suspect

    def refresh(self) -> None:
        """Have the others agree anew, and the short window begin anew: it says whether the burning goes on."""
        self.agreement.refresh()
        first = self._slices[-1][0] - _SLICES if self._slices else 0
        while self._slices and self._slices[-1][0] > first:
            _, bad, every = self._slices.pop()
            self._long = (self._long[0] - bad, self._long[1] - every)
        self.suspect = False

    def _share(self, value: float) -> float:
        slo = self._slo
        if slo.by_share:
            return min(max(value, 0.0), 1.0)
        below = slo.minimum is not None and value < slo.minimum
        return 1.0 if below or (slo.maximum is not None and value > slo.maximum) else 0.0

    def _add(self, number: int, bad: float, every: float) -> None:
        if self._slices and self._slices[-1][0] == number:
            _, bad_before, every_before = self._slices.pop()
            self._slices.append((number, bad_before + bad, every_before + every))
        else:
            self._slices.append((number, bad, every))
        self._long = (self._long[0] + bad, self._long[1] + every)

    def _judge(self, number: int) -> None:
        slo = self._slo
        first = number - round(slo.long / self._slice)
        while self._slices and self._slices[0][0] <= first:
            _, bad, every = self._slices.popleft()
            self._long = (self._long[0] - bad, self._long[1] - every) if self._slices else (0.0, 0.0)
        budget = 1 - slo.target
        bad, every = self._short(number)
        short = bad / every / budget if every > 0 else 0.0
        long = self._long[0] / self._long[1] / budget if self._long[1] > 0 else 0.0
        self.known, self.why, self.value = True, "", short
        enough = self._long[1] >= slo.minimum_events
        self.suspect = enough and every > 0 and short >= slo.burn
        if self.suspect and long >= slo.burn:
            self.active = True
        elif self.active and every > 0 and every >= slo.minimum_events * slo.short / slo.long and short < slo.burn:
            self.active = False
            self.agreement.refresh()

    def _short(self, number: int) -> tuple[float, float]:
        bad = every = 0.0
        for at, some_bad, some in reversed(self._slices):
            if at <= number - _SLICES:
                break
            bad, every = bad + some_bad, every + some
        return bad, every
