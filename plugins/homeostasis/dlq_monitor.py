"""The monitor of dead letters: which actions end undone, why, and how fast, by looking only at what is new."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from aetherra.plugins import DeadLetter, ListDeadLetters
from aetherra.plugins.homeostasis.messages import DeadGroup

__all__ = ["DlqLook", "DlqMonitor"]

OVERLAP = 5.0
"""Seconds before the newest letter that are looked at again: one is written a little later than it is dated."""
MOST_GROUPS = 200
"""Groups that are told apart; letters of more are counted together, under ``*``."""
KEPT_SEC = 7 * 86_400.0
"""For how long a group is told of after its newest letter."""
QUIET_SEC = 3600.0
"""After which one may leave before, when there are as many and another comes."""
_ELSEWHERE = ("*", "*")


class Letters(Protocol):
    """What the kernel answers: letters, newest first, and whether there are more."""

    @property
    def letters(self) -> tuple[DeadLetter, ...]:
        """The letters."""
        ...

    @property
    def cut(self) -> bool:
        """Whether there are more than one reply has room for."""
        ...


class DlqLook(msgspec.Struct, frozen=True):
    """What one look found.

    Attributes:
        new: Letters that no look before has found, oldest first.
        behind: Whether there were more than one look takes; the oldest of them stay unseen.
        asked: Whether the kernel was asked at all.
    """

    new: tuple[DeadLetter, ...] = ()
    behind: bool = False
    asked: bool = True


class DlqMonitor:
    """Groups of dead letters, and their rates.

    Args:
        ask: Puts a request to the kernel, as ``ctx.call`` does.
        monotonic: Seconds that only go forward.
        time: Unix time.
        page: Letters that are asked for at once.
        pages: How often one look asks, at most.
        memory: Seconds in which a letter's weight in the rate falls to a third.
        unasked: Seconds for which the kernel's own count is believed, before letters of other processes are looked for.
    """

    def __init__(
        self,
        ask: Callable[[ListDeadLetters], Awaitable[Letters]],
        *,
        monotonic: Callable[[], float],
        time: Callable[[], float],
        page: int = 200,
        pages: int = 5,
        memory: float = 300.0,
        unasked: float = 60.0,
    ) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._time = time
        self._page = page
        self._pages = pages
        self._memory = memory
        self._unasked = unasked
        self._begun = time()
        self._newest: float | None = None
        self._seen: dict[tuple[str, float], None] = {}
        self._groups: dict[tuple[str, str], _Group] = {}
        self._last_total: int | None = None
        self._last_asked = -math.inf

    async def look(self, total: int | None = None) -> DlqLook:
        """Look for letters that are new. A look that is cancelled or raises loses none.

        Args:
            total: The kernel's count of actions that were dead-lettered. While it stays the same, and it is not long
                since the last look, nobody is asked; ``None`` asks.

        Raises:
            AetherraError: The kernel could not be asked.
        """
        now = self._monotonic()
        if total is not None and total == self._last_total and now - self._last_asked < self._unasked:
            return DlqLook(asked=False)
        since = None if self._newest is None else min(self._newest, self._time()) - OVERLAP
        found: dict[tuple[str, float], DeadLetter] = {}
        before: float | None = None
        behind = True
        for _ in range(self._pages):
            reply = await self._ask(ListDeadLetters(limit=self._page, since=since, before=before))
            more = {(letter.trace_id, letter.ts): letter for letter in reply.letters}
            is_news = bool(more.keys() - found.keys())
            found |= more
            if not more or not (reply.cut or len(reply.letters) >= self._page):
                behind = False
                break
            oldest = min(letter.ts for letter in reply.letters)
            before = math.nextafter(oldest, math.inf) if is_news else oldest  # others of the same moment may follow
        new = [letter for key, letter in found.items() if key not in self._seen]
        new.sort(key=lambda letter: letter.ts)
        for letter in new:
            self._add(letter)
        self._remember(found)
        self._last_total, self._last_asked = total, now
        return DlqLook(tuple(new), behind)

    def _remember(self, found: dict[tuple[str, float], DeadLetter]) -> None:
        """Keep what the next look will be shown again."""
        if found:
            self._newest = max(ts for _, ts in found)
        elif self._newest is None:
            self._newest = self._begun
        since = min(self._newest, self._time()) - OVERLAP
        self._seen = {key: None for key in (*self._seen, *found) if key[1] >= since}

    def _add(self, letter: DeadLetter) -> None:
        key: tuple[str, str] = (letter.action_type, letter.reason)
        if key not in self._groups and not self._has_room(letter):
            key = _ELSEWHERE
        group = self._groups.setdefault(key, _Group(letter))
        group.add(letter, self._monotonic(), self._memory, is_recent=letter.ts >= self._begun)

    def _has_room(self, letter: DeadLetter) -> bool:
        """Whether there is room for another group; if need be that makes way which has been quiet for longest."""
        self._forget()
        if len(self._groups) < MOST_GROUPS:
            return True
        quietest = min((key for key in self._groups if key != _ELSEWHERE), key=lambda key: self._groups[key].newest.ts)
        newest = self._groups[quietest].newest.ts
        if newest > min(letter.ts, self._time() - QUIET_SEC):
            return False
        del self._groups[quietest]
        return True

    def _forget(self) -> None:
        before = self._time() - KEPT_SEC
        self._groups = {key: group for key, group in self._groups.items() if group.newest.ts >= before}

    def groups(self) -> list[DeadGroup]:
        """Return the groups of the last days, those that grow fastest first."""
        self._forget()
        now = self._monotonic()
        told = [
            DeadGroup(
                action_type=action_type,
                reason=reason,
                count=group.count,
                rate=group.rate(now, self._memory),
                first=group.first,
                last=group.newest.ts,
                trace_id=group.newest.trace_id,
                plugin=group.newest.plugin,
                error=f"{group.newest.error_type}: {group.newest.message}"[:200] if group.newest.error_type else "",
            )
            for (action_type, reason), group in self._groups.items()
        ]
        return sorted(told, key=lambda group: (-group.rate, -group.count, group.action_type, group.reason))

    @property
    def rate(self) -> float:
        """New letters a second, of the last minutes, of all groups."""
        now = self._monotonic()
        return math.fsum(group.rate(now, self._memory) for group in self._groups.values())


class _Group:
    """What is counted of one group."""

    __slots__ = ("_at", "_rate", "count", "first", "newest")

    def __init__(self, letter: DeadLetter) -> None:
        self.count = 0
        self.first = letter.ts
        self.newest = letter
        self._rate = 0.0
        self._at = 0.0

    def add(self, letter: DeadLetter, now: float, memory: float, *, is_recent: bool) -> None:
        self.count += 1
        self.first = min(self.first, letter.ts)
        if letter.ts >= self.newest.ts:
            self.newest = letter
        if is_recent:
            self._rate, self._at = self.rate(now, memory) + 1 / memory, now

    def rate(self, now: float, memory: float) -> float:
        return self._rate * math.exp(-(now - self._at) / memory)
