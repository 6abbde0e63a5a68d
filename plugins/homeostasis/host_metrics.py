"""What the kernel's counters say as metrics: a pure function of a snapshot and those of the last minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aetherra.plugins import KernelStatistics, LaneStatistics
from aetherra.plugins.homeostasis.sensors import Reading

MINIMUM_EVENTS = 20
"""Fewer calls or actions than this say nothing about the share of them that fails."""
WINDOW = 60.0
"""Seconds that the share of what failed looks back on, if it takes so long to see enough events."""
STORM_WINDOW = 15.0
"""The same for repeated attempts: a storm is to be seen at once, and seen to be over at once."""
STORM_EVENTS = 10
"""Attempts that tell it: a storm is nearly all of them, or it is none."""
Counted = Callable[[KernelStatistics, KernelStatistics], tuple[int, int]]
"""Part and whole of some events between two snapshots, the later one first."""


def host_readings(now: KernelStatistics, past: Sequence[KernelStatistics]) -> Iterator[Reading]:
    """Yield the readings of one snapshot; rates cover the time since the last of the ``past``, which is oldest first.

    A ratio covers the shortest time with enough events, ``WINDOW`` at most. One of few events is unknown, not 0: no
    call is no proof that calls succeed. Waiting and running times are unknown while nothing ran since the snapshot
    before: those of long ago say nothing about now.
    """
    before = past[-1] if past else None
    yield Reading("loop.lag", now.loop.lag, "s")
    yield Reading("loop.lag_max", now.loop.lag_max, "s")
    actions = now.actions
    for name, lane in actions.lanes.items():
        yield Reading(f"queue.{name}.depth", float(lane.depth), "actions")
        yield Reading(f"queue.{name}.oldest_age", lane.oldest_age or 0.0, "s")
        ran = before is None or _attempts(lane) > _attempts(before.actions.lanes[name])
        yield _latency(f"queue.{name}.wait_p95", lane.wait.p95 if ran else None)
        yield _latency(f"queue.{name}.run_p95", lane.run.p95 if ran else None)
    yield Reading("queue.depth_ratio", max(lane.depth / lane.capacity for lane in actions.lanes.values()), "ratio")
    yield Reading("queue.oldest_age", actions.oldest_age or 0.0, "s")
    yield Reading("actions.running", float(actions.running), "actions")
    yield Reading("actions.workers", float(actions.workers), "actions")
    yield Reading("actions.overrunning", float(actions.overrunning), "actions")
    yield Reading("dlq.depth", float(actions.dlq.depth), "actions")
    yield Reading("plugins.failed", float(now.plugins.get("failed", 0)), "plugins")
    life = now.lifecycle
    tried = life.loads + life.load_failures
    yield Reading("plugins.load_success", life.loads / tried if tried else None, "ratio", "" if tried else "none yet")
    yield Reading("plugins.restarts", float(life.restarts), "restarts")
    yield _ratio("actions.failed_ratio", "actions ended", _died, now, past)
    yield _ratio("actions.retry_ratio", "attempts ended", _repeated, now, past, STORM_WINDOW, STORM_EVENTS)
    yield _ratio("calls.error_ratio", "calls", _failed, now, past)
    yield from _since(now, before)


def _since(now: KernelStatistics, before: KernelStatistics | None) -> Iterator[Reading]:
    names = (
        ("actions.utilisation", "ratio"),
        ("calls.errors", "1/s"),
        ("calls.timeouts", "1/s"),
        ("calls.rate", "1/s"),
        ("events.rate", "1/s"),
        ("bus.dropped", "1/s"),
        ("queue.refused", "1/s"),
        ("queue.expired", "1/s"),
        ("dlq.rate", "1/s"),
    )
    seconds = 0.0 if before is None else now.uptime - before.uptime
    if before is None or seconds <= 0:
        for name, unit in names:
            yield Reading(name, None, unit, "needs two readings")
        return
    yield _utilisation(now, before, seconds)
    yield Reading("calls.errors", _failed(now, before)[0] / seconds, "1/s")
    yield Reading("calls.timeouts", (now.bus.timeouts - before.bus.timeouts) / seconds, "1/s")
    yield Reading("calls.rate", (now.bus.calls - before.bus.calls) / seconds, "1/s")
    yield Reading("events.rate", (now.bus.published - before.bus.published) / seconds, "1/s")
    yield Reading("bus.dropped", (now.bus.dropped - before.bus.dropped) / seconds, "1/s")
    yield Reading("queue.refused", (_refused(now) - _refused(before)) / seconds, "1/s")
    expired = now.actions.dead.get("expired", 0) - before.actions.dead.get("expired", 0)
    yield Reading("queue.expired", expired / seconds, "1/s")
    yield Reading("dlq.rate", _died(now, before)[0] / seconds, "1/s")


def _utilisation(now: KernelStatistics, before: KernelStatistics, seconds: float) -> Reading:
    """What comes, times what it takes, by how many can work: above 1 the rest waits, expires or is refused."""
    name, offered, known = "actions.utilisation", 0.0, False
    for lane_name, lane in now.actions.lanes.items():
        earlier = before.actions.lanes[lane_name]
        come = lane.accepted + lane.retried - earlier.accepted - earlier.retried
        if lane.run.p50 is not None:
            known = True
            offered += come * lane.run.p50
    if not known:
        return Reading(name, None, "ratio", "no action has run yet")
    return Reading(name, offered / seconds / now.actions.workers, "ratio")


def _died(now: KernelStatistics, before: KernelStatistics) -> tuple[int, int]:
    dead = sum(now.actions.dead.values()) - sum(before.actions.dead.values())
    return dead, dead + now.actions.done - before.actions.done


def _repeated(now: KernelStatistics, before: KernelStatistics) -> tuple[int, int]:
    retried = now.actions.retried - before.actions.retried
    return retried, retried + _died(now, before)[1]


def _failed(now: KernelStatistics, before: KernelStatistics) -> tuple[int, int]:
    refused = now.bus.call_refusals - before.bus.call_refusals  # the callers' own mistakes say nothing of the host
    failed = now.bus.call_errors - before.bus.call_errors - refused
    return failed, now.bus.calls - before.bus.calls - refused


def _attempts(lane: LaneStatistics) -> int:
    """Return how many attempts of a lane have ended, or more: what died unattempted counts, too."""
    return lane.done + lane.retried + sum(lane.dead.values())


def _refused(numbers: KernelStatistics) -> int:
    """Return how many actions found no room; what a shed lane refuses is refused on purpose."""
    return sum(lane.refused for lane in numbers.actions.lanes.values()) - numbers.actions.dead.get("shed", 0)


def _latency(name: str, seconds: float | None) -> Reading:
    return Reading(name, seconds, "s", "" if seconds is not None else "no action has run since the last reading")


def _ratio(
    name: str,
    events: str,
    counted: Counted,
    now: KernelStatistics,
    past: Sequence[KernelStatistics],
    window: float = WINDOW,
    fewest: int = MINIMUM_EVENTS,
) -> Reading:
    if not past:
        return Reading(name, None, "ratio", "needs two readings")
    whole = 0
    for before in reversed(past):
        if now.uptime - before.uptime > window and before is not past[-1]:
            break
        part, whole = counted(now, before)
        if whole >= fewest:
            return Reading(name, part / whole, "ratio")
    return Reading(name, None, "ratio", f"{whole} {events} within {window:g} s; needs {fewest}")
