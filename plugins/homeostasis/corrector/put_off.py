"""What was put off: corrections that are not permitted now, kept until they are, or are not worth it any more."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from aetherra.plugins import Advise, Intent, LogFacts, NotPermittedError

MOST = 50
"""Corrections that are kept at a time; what comes beyond is dealt with when the log tells of it again."""
LONGEST = 86_400.0
"""Seconds after which one is not worth making any more."""
AGAIN = 120.0
"""Seconds between two looks at one that waits for no guard, but for somebody."""


class NotNow(Advise):
    """Raised where a correction would begin and is not permitted: nothing was changed.

    Attributes:
        intent: What was asked for.
        refused: The answer.
    """

    def __init__(self, text: str, intent: Intent, refused: NotPermittedError) -> None:
        super().__init__(text)
        self.intent, self.refused = intent, refused


class PutOff(msgspec.Struct, frozen=True):
    """One correction.

    Attributes:
        category: Its name; what it is of may be another object by then.
        facts: What the log told.
        subject: What it is about.
        occasion: On which it was to be made.
        intent: What was asked for.
        since: When it was first.
        due: When to ask again, on the same clock.
    """

    category: str
    facts: LogFacts
    subject: dict[str, str]
    occasion: str
    intent: Intent
    since: float
    due: float


class PutOffs:
    """Those that wait, by trouble.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[Hashable, PutOff] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, trouble: Hashable, category: str, facts: LogFacts, subject: dict[str, str], occasion: str, why: NotNow
    ) -> None:
        """Keep one, unless nobody is going to permit it, or there are too many."""
        now, known = self._clock(), self._waiting.get(trouble)
        if why.refused.code == "denied" or (known is None and len(self._waiting) >= MOST):
            self._waiting.pop(trouble, None)
            return
        since = now if known is None else known.since
        due = now + _wait(why.refused.retry_after)
        self._waiting[trouble] = PutOff(category, facts, subject, occasion, why.intent, since, due)

    def due(self) -> list[tuple[Hashable, PutOff]]:
        """Return those that are to be asked about now, and forget those that are too old."""
        now = self._clock()
        self._waiting = {key: each for key, each in self._waiting.items() if now - each.since < LONGEST}
        return [(trouble, each) for trouble, each in self._waiting.items() if each.due <= now]

    def wait(self, trouble: Hashable, retry_after: float) -> None:
        """Ask again later."""
        due = self._clock() + _wait(retry_after)
        self._waiting[trouble] = msgspec.structs.replace(self._waiting[trouble], due=due)

    def forget(self, trouble: Hashable) -> None:
        """Let one go: it is made now, or never."""
        self._waiting.pop(trouble, None)


def _wait(retry_after: float) -> float:
    return retry_after or AGAIN
