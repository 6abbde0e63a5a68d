"""What the kernel counts of each plugin, as metrics: owns the memory of what was counted before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from aetherra.plugins import PluginVitals
from aetherra.plugins.homeostasis.sensors import Reading

MINIMUM_CALLS = 10
"""Fewer calls than this say nothing about the share of them that fails."""
WINDOW = 60.0
"""Seconds that the share of failed calls looks back on, if it takes so long to see enough of them."""
HELD = 30.0
"""Seconds that the share of time looks back on for which the event loop was held."""
NAMES = (
    "failed", "error_ratio", "call_rate", "timeouts", "faults", "blocked",
    "in_hand", "oldest_call", "unanswered", "stalled",
)  # fmt: skip
"""What is read of each plugin; the names are put together once, not at each reading."""
TOGETHER = 2
"""Calls without an answer, at least, that make an overdue one evidence: one alone may be long for its own reasons."""


class PluginMetrics:
    """Turns snapshots of the kernel's counters into readings, each plugin's since the snapshot before.

    What is read of a plugin, under ``plugin.<name>.``:

    - ``error_ratio``: share of its calls without a reply, over the shortest time with ``MINIMUM_CALLS`` of them, a
      minute at most; with fewer in that time it is unknown. Refusals of senders' mistakes are no such calls.
    - ``call_rate``, ``timeouts``, ``faults``: per second since the last snapshot.
    - ``blocked``: share of the last half minute for which it held the event loop, in blocks that were too long.
    - ``in_hand``, ``oldest_call``: calls that are not finished, and for how many seconds the oldest of them is not.
    - ``unanswered``: calls that timed out, or that their callers left, since it last answered one.
    - ``stalled``: seconds since it last answered, if calls are stuck in it: some timed out, or two or more have no
      answer and one has taken ten times as long as any of its kind did. 0 if it answers, or is not asked.
    - ``failed``: 1 if it could not be brought up, 0 if it could; nothing of one that was stopped or is kept away.

    And of each service ``service.<name>.rtt_p95``: seconds that its calls took, the 95th percentile of the last ones.
    """

    def __init__(self) -> None:
        self._memories: dict[str, _Memory] = {}

    def read(self, vitals: Iterable[PluginVitals], now: float) -> Iterator[Reading]:
        """Yield the readings of one snapshot.

        Args:
            vitals: The snapshot, each plugin once.
            now: Seconds of a clock that never goes back.
        """
        known, self._memories = self._memories, {}
        for one in vitals:
            memory = known.get(one.plugin)
            if memory is None or memory.last.generation != one.generation:
                memory = _Memory(one, now)
                rates: tuple[float | None, ...] = (None, None, None, None)
            else:
                rates = memory.rates(one, now)
            self._memories[one.plugin] = memory
            memory.learn(one, now)
            yield from _readings(one, memory, rates, now)


class _Memory:
    """What is remembered of one generation of a plugin."""

    def __init__(self, first: PluginVitals, now: float) -> None:
        self.names = tuple(f"plugin.{first.plugin}.{name}" for name in NAMES)
        self.rtt = f"service.{first.service}.rtt_p95"
        self.last, self.last_at = first, now
        self.answered_at = now
        self.unanswered = 0
        self._evidence_at: float | None = None
        self._held: deque[tuple[float, float]] = deque([(now, first.blocked)])
        self._past: deque[tuple[float, int, int]] = deque([(now, 0, 0)])

    def rates(self, one: PluginVitals, now: float) -> tuple[float | None, ...]:
        """Return calls, timeouts and faults a second since the last snapshot, and for what share it held the loop."""
        last, seconds = self.last, now - self.last_at
        if seconds <= 0:
            return (None, None, None, None)
        deltas = (one.calls - last.calls, one.timeouts - last.timeouts, one.faults - last.faults)
        return (*(max(0, delta) / seconds for delta in deltas), self._blocked(one, now))

    def _blocked(self, one: PluginVitals, now: float) -> float:
        """Return the share of the last half minute for which it held the event loop."""
        self._held.append((now, one.blocked))
        while len(self._held) > 2 and self._held[1][0] <= now - HELD:
            self._held.popleft()
        since, before = self._held[0]
        return min(1.0, (one.blocked - before) / max(now - since, HELD / 6))

    def learn(self, one: PluginVitals, now: float) -> None:
        """Take a snapshot in."""
        last = self.last
        gave_up = one.timeouts - last.timeouts
        left = one.cancelled - last.cancelled
        if _answered(one) > _answered(last):
            self._begin_anew(now)
        else:
            self.unanswered += gave_up + left
            if gave_up or self._is_overdue(one):
                self._evidence_at = now
            elif self._evidence_at is None and not one.in_hand and not left:
                self._begin_anew(now)
            elif self._evidence_at is not None and now - self._evidence_at > WINDOW:
                self._begin_anew(now)  # nobody has asked since: nobody knows
        self.last, self.last_at = one, now
        finished, failed = one.calls - one.in_hand - one.refusals, one.errors - one.refusals
        if (finished, failed) != self._past[-1][1:]:
            self._past.append((now, finished, failed))
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW:
            self._past.popleft()

    def error_ratio(self) -> tuple[float | None, int]:
        """Return the share of failed calls, if there are enough, and how many there are."""
        _, finished, errors = self._past[-1]
        count = 0
        for _, past_finished, past_errors in reversed(self._past):
            count = finished - past_finished
            if count >= MINIMUM_CALLS:
                return (errors - past_errors) / count, count
        return None, count

    def stalled(self, now: float) -> float:
        """Return for how long calls have been stuck."""
        return now - self.answered_at if self._evidence_at is not None else 0.0

    def _is_overdue(self, one: PluginVitals) -> bool:
        """Whether a call takes far longer than any of its kind did, and is not the only one without an answer."""
        return one.overdue > 0 and one.overdue + self.unanswered >= TOGETHER

    def _begin_anew(self, now: float) -> None:
        self.answered_at, self._evidence_at, self.unanswered = now, None, 0


def _answered(one: PluginVitals) -> int:
    return one.calls - one.in_hand - one.errors + one.refusals - one.cancelled


def _readings(one: PluginVitals, memory: _Memory, rates: tuple[float | None, ...], now: float) -> Iterator[Reading]:
    failed, error_ratio, *of_rates, in_hand, oldest_call, unanswered, stalled = memory.names
    if one.state in ("serving", "failed"):
        yield Reading(failed, float(one.state == "failed"), "ratio")
    if one.state != "serving":
        return
    ratio, count = memory.error_ratio()
    reason = "" if ratio is not None else f"{count} calls within {WINDOW:g} s; needs {MINIMUM_CALLS}"
    yield Reading(error_ratio, ratio, "ratio", reason)
    for name, rate, unit in zip(of_rates, rates, ("1/s", "1/s", "1/s", "ratio"), strict=True):
        yield Reading(name, rate, unit, "" if rate is not None else "a rate needs two snapshots")
    yield Reading(in_hand, float(one.in_hand), "calls")
    yield Reading(oldest_call, one.oldest_call or 0.0, "s")
    yield Reading(unanswered, float(memory.unanswered), "calls")
    yield Reading(stalled, memory.stalled(now), "s")
    if one.service:
        rtt = one.latency.p95
        yield Reading(memory.rtt, rtt, "s", "" if rtt is not None else "it was not called yet")
