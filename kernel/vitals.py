"""The vital signs of plugins: what a controller reads every second, counted from what is kept anyway."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from weakref import WeakKeyDictionary

import msgspec

from aetherra.kernel.entry import Entry
from aetherra.kernel.generation import Generation
from aetherra.registry import Latency, Route, ServiceRegistry, ServiceStatus, tag_of

LOOKED_AT = 64
"""Durations of a plugin that one reading looks at, the last ones: cold memory is what it costs."""
OVERDUE = 10.0
"""How many times as long as the longest of its kind a call must be in hand to be overdue."""
READINGS = 64
"""Readings of which is remembered what they saw, not counting those that saw nothing new."""


class PluginVitals(msgspec.Struct, frozen=True, gc=False):
    """A snapshot of how one plugin does; what is counted begins anew with each generation.

    Attributes:
        plugin: Its name.
        generation: The one that serves, or was tried last; 0 before the first.
        service: What its service is registered as; ``""`` if nobody knows.
        state: As in ``PluginInfo``.
        status: Its service's, by what the plugin says of it; ``None`` if there is no such service now.
        calls: Calls that reached its handlers.
        errors: How many of them had no reply.
        timeouts: How many of those took too long.
        refusals: How many of those say that the request was its sender's mistake, which is an answer.
        cancelled: Calls that their callers left before they ended.
        in_hand: Calls that are not finished.
        overdue: How many of these have taken ``OVERDUE`` times as long as the longest finished one of the same request,
            and longer than the timeout that their handler declares.
        oldest_call: Seconds since the oldest of these began; ``None`` if there is none.
        longest_done: Seconds that the longest call took of those that readings have looked at, but for times in which a
            caller gave up: what that one waited is not what a call takes. ``None`` before any.
        latency: Seconds that its calls took that ended since the time that was asked for; if none was, of those that
            are remembered. Of many only the last are looked at.
        faults: Faults of its tasks, events and repeated methods.
        blocked: Seconds for which it held the event loop, in blocks that were too long, since the host's start.
    """

    plugin: str
    generation: int
    service: str
    state: str
    status: ServiceStatus | None
    calls: int = 0
    errors: int = 0
    timeouts: int = 0
    cancelled: int = 0
    in_hand: int = 0
    overdue: int = 0
    oldest_call: float | None = None
    longest_done: float | None = None
    latency: Latency = Latency()
    faults: int = 0
    blocked: float = 0.0
    refusals: int = 0


class VitalSigns:
    """Reads what routes and generations count anyway, and remembers of each reading only what it had counted.

    Args:
        registry: Whose clock and calls these are.
        entries: The plugins there are.
        blocked: For how many seconds each plugin has held the event loop.
    """

    def __init__(
        self,
        registry: ServiceRegistry,
        entries: Callable[[], Iterable[Entry]],
        blocked: Callable[[], Mapping[str, float]],
    ) -> None:
        self._bus = registry.bus
        self._entries = entries
        self._blocked = blocked
        self._pulses: WeakKeyDictionary[Generation, _Pulse] = WeakKeyDictionary()

    def read(self, since: float | None = None) -> tuple[float, tuple[PluginVitals, ...]]:
        """Return the time, and how each plugin does, by name.

        Args:
            since: Look only at how long those calls took that ended after this time, at which ``read`` was called.
        """
        self._bus.deadlines.settle()
        now, blocked = self._bus.clock.monotonic(), self._blocked()
        return now, tuple(self._of(entry, now, since, blocked.get(entry.name, 0.0)) for entry in self._entries())

    def _of(self, entry: Entry, now: float, since: float | None, blocked: float) -> PluginVitals:
        generation, spec = entry.generation, entry.spec
        service = spec.service if spec is not None else ""
        if generation is None:
            status = None if entry.lease is None else entry.lease.status
            return PluginVitals(entry.name, entry.last_number, service, entry.state, status, blocked=blocked)
        pulse = self._pulses.get(generation)
        if pulse is None:
            pulse = self._pulses[generation] = _Pulse(generation)
        calls = errors = refusals = timeouts = cancelled = in_hand = overdue = 0
        oldest: float | None = None
        ended: list[int] = []
        for number, route in enumerate(generation.routes):
            held = route.in_hand
            calls += route.calls
            errors += route.errors
            refusals += route.refusals
            timeouts += route.timeouts
            cancelled += route.cancelled
            ended.append(route.calls - len(held))
            if held:
                in_hand += len(held)
                first = min(call.started for call in held)
                oldest = first if oldest is None else min(oldest, first)
                patience = pulse.patience(number)
                if now - first > patience:
                    overdue += sum(now - call.started > patience for call in held)
        pulse.take(now, ended, generation.routes, given_up=timeouts + cancelled)
        return PluginVitals(
            entry.name,
            generation.identity.generation,
            service,
            entry.state,
            None if generation.standing.lease is None else generation.standing.lease.status,
            calls,
            errors,
            timeouts,
            cancelled,
            in_hand,
            overdue,
            None if oldest is None else max(0.0, now - oldest),
            pulse.longest,
            pulse.latency(since, generation.routes),
            generation.standing.faults,
            blocked,
            refusals,
        )


class _Pulse:
    """What earlier readings have seen of the routes of one generation; holds neither, so that it goes with it."""

    def __init__(self, generation: Generation) -> None:
        declared = {tag_of(each.message_type): each.mark.timeout for each in generation.spec.handlers}
        routes = generation.routes
        self.longest: float | None = None
        self._longest_of: list[float | None] = [None] * len(routes)
        self._declared = [declared.get(route.tag) or 0.0 for route in routes]
        self._given_up = 0
        self._none = [0] * len(routes)
        self._past: deque[tuple[float, list[int]]] = deque([(-inf, self._none)], maxlen=READINGS)
        self._sample: tuple[list[int], list[int], list[float]] = (self._none, self._none, [])
        self._latency: tuple[list[float], Latency] = (self._sample[2], Latency())

    def take(self, now: float, ended: list[int], routes: Sequence[Route], *, given_up: int) -> None:
        """Note how many calls of each route have ended, and how many were given up; nothing, if no more have."""
        before = self._past[-1][1]
        if ended != before:
            self._past.append((now, ended))
            if given_up > self._given_up:
                self._given_up = given_up
                return
            self.longest = max(self.longest or 0.0, max(self._durations(before, routes), default=0.0))
            share = max(1, LOOKED_AT // max(1, sum(map(int.__gt__, ended, before))))
            for number, (route, first, last) in enumerate(zip(routes, before, ended, strict=True)):
                if last > first:
                    latest = max(islice(reversed(route.durations), min(last - first, share)), default=0.0)
                    self._longest_of[number] = max(self._longest_of[number] or 0.0, latest)

    def patience(self, number: int) -> float:
        """Return for how many seconds a call of a route may be in hand before it is overdue."""
        usual = self._longest_of[number]
        return inf if usual is None else max(OVERDUE * usual, self._declared[number])

    def latency(self, since: float | None, routes: Sequence[Route]) -> Latency:
        """Return how long the calls took that ended after a reading; without one all that are remembered."""
        durations = self._durations(self._none if since is None else self._at(since), routes)
        if self._latency[0] is not durations:
            self._latency = (durations, Latency.of(durations))
        return self._latency[1]

    def _at(self, since: float) -> list[int]:
        for at, ended in reversed(self._past):
            if at <= since:
                return ended
        return self._none

    def _durations(self, before: list[int], routes: Sequence[Route]) -> list[float]:
        """Return how long those calls took, or the last of them, that ended between a reading and the last one."""
        ended = self._past[-1][1]
        if self._sample[:2] != (before, ended):
            share = LOOKED_AT // max(1, sum(map(int.__gt__, ended, before)))
            found: list[float] = []
            for route, first, last in zip(routes, before, ended, strict=True):
                if last > first:
                    found += islice(reversed(route.durations), min(last - first, max(1, share)))
            self._sample = (before, ended, found)
        return self._sample[2]
