"""Cooldowns: how often the same trouble is looked at. Pure: the clock and the randomness are given."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable

MOST = 1000
"""Troubles that cool down at a time; while there are as many, no other is looked at."""
PER_KIND = 50
"""Of these, of one logger, template and exception type: who makes up a new name for each record gets no further."""


class Cooldowns:
    """Lets a trouble pass once, and then not until its time is over.

    Args:
        clock: Monotonic seconds.
        rng: What the jitter is drawn from.
        seconds: The least time.
        jitter: What is added to it at most.
    """

    def __init__(self, clock: Callable[[], float], rng: random.Random, seconds: float, jitter: float) -> None:
        self._clock = clock
        self._rng = rng
        self._seconds = seconds
        self._jitter = jitter
        self._until: dict[Hashable, tuple[float, Hashable]] = {}
        self._kinds: Counter[Hashable] = Counter()

    def admit(self, trouble: Hashable, kind: Hashable) -> bool:
        """Whether a trouble may be looked at now; if so its cooldown begins."""
        now = self._clock()
        held = self._until.get(trouble)
        if held is not None and held[0] > now:
            return False
        if held is not None:
            self._forget(trouble)
        if self._is_full(kind):
            self._let_go(now)
        if self._is_full(kind):
            return False
        self._until[trouble] = (now + self._seconds + self._rng.uniform(0.0, self._jitter), kind)
        self._kinds[kind] += 1
        return True

    def shorten(self, trouble: Hashable, seconds: float) -> None:
        """End a cooldown in so many seconds, if that is sooner."""
        if trouble in self._until:
            until, kind = self._until[trouble]
            self._until[trouble] = (min(until, self._clock() + seconds), kind)

    def __len__(self) -> int:
        return len(self._until)

    def _is_full(self, kind: Hashable) -> bool:
        return len(self._until) >= MOST or self._kinds[kind] >= PER_KIND

    def _let_go(self, now: float) -> None:
        for trouble in [trouble for trouble, (until, _) in self._until.items() if until <= now]:
            self._forget(trouble)

    def _forget(self, trouble: Hashable) -> None:
        _, kind = self._until.pop(trouble)
        self._kinds[kind] -= 1
        if not self._kinds[kind]:
            del self._kinds[kind]
