"""A target: one of the parts that the plant's requests are for, with versions, memory, and what is wrong with it."""

from __future__ import annotations

import math
from collections import deque

CACHE_FILLS = 120.0
"""Seconds in which a cache is about two thirds full."""


class Version:
    """Code of a target.

    Attributes:
        error_rate: Share of its requests that fail.
        leak: Bytes that each request leaves behind.
    """

    __slots__ = ("error_rate", "leak")

    def __init__(self, error_rate: float = 0.002, leak: float = 0.0) -> None:
        self.error_rate, self.leak = error_rate, leak


class Batch:
    """Requests that came together: when, of which attempt, and whether their clients still wait."""

    __slots__ = ("attempt", "born", "count", "first", "left", "target")

    def __init__(self, target: Target, count: int, born: float, first: float, attempt: int) -> None:
        self.target, self.count, self.born, self.first, self.attempt = target, count, born, first, attempt
        self.left = False


class Target:
    """State of one target; the plant moves it.

    Args:
        name: Its name.
        share: Its part of all requests.
        work: Seconds of a worker that a request takes.
        memory: Bytes that it holds after a start; its cache comes to as much again.
        restart: Seconds that it is down for when it is restarted or rolled back.
    """

    def __init__(self, name: str, share: float, work: float, memory: float = 40e6, restart: float = 3.0) -> None:
        self.name, self.share, self.work, self.base, self.restart_seconds = name, share, work, memory, restart
        self.versions = [Version()]
        self.changed_at = -math.inf
        self.down_until = -math.inf
        self.disabled = False
        self.stuck_until = -math.inf
        self.hiccup, self.hiccup_until = 0.0, -math.inf
        self.drip = 0.0
        self.leaked = 0.0
        self.cache = memory
        self.held: deque[Batch] = deque()
        self.holding = 0
        self.calls = self.errors = self.timeouts = self.faults = 0
        self.answered_at = 0.0
        self.latency = work
        self.lives = 0

    @property
    def memory(self) -> float:
        """Bytes that it holds."""
        return self.base + self.cache + self.leaked

    def wedged(self, now: float) -> bool:
        """Return whether requests go in and do not come out."""
        return now < self.stuck_until

    def down(self, now: float) -> bool:
        """Return whether it refuses what comes."""
        return self.disabled or now < self.down_until

    def error_rate(self, now: float) -> float:
        """Return the share of its requests that fail now."""
        rate = self.versions[-1].error_rate
        return max(rate, self.hiccup) if now < self.hiccup_until else rate

    def hold(self, batch: Batch) -> None:
        """Take requests that will not come out."""
        self.held.append(batch)
        self.holding += batch.count

    def let_go(self) -> Batch:
        """Return the oldest requests that it holds."""
        batch = self.held.popleft()
        self.holding -= batch.count
        return batch

    def begin_anew(self, now: float, seconds: float) -> None:
        """Lose all state, for as long as it takes to be up again."""
        self.down_until = now + seconds
        self.stuck_until = -math.inf
        self.leaked = self.cache = 0.0
        self.calls = self.errors = self.timeouts = self.faults = 0
        self.answered_at = now + seconds
        self.lives += 1

    def age(self, step: float) -> None:
        """Fill the cache."""
        self.cache += (self.base - self.cache) * step / CACHE_FILLS
