"""What the kernel's counters say as metrics: a pure function of two snapshots and the time between them."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.plugins import KernelStatistics, LaneStatistics
from aetherra.plugins.homeostasis.sensors import Reading

MINIMUM_EVENTS = 20
"""Fewer calls or actions than this say nothing about the share of them that fails."""


def host_readings(now: KernelStatistics, before: KernelStatistics | None) -> Iterator[Reading]:
    """Yield the readings of one snapshot; rates and ratios cover the time since ``before``.

    A ratio of few events is unknown, not 0: no call is no proof that calls succeed. Waiting and running times are
    unknown while nothing ran since ``before``: those of long ago say nothing about now.
    """
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
    yield from _since(now, before)


def _since(now: KernelStatistics, before: KernelStatistics | None) -> Iterator[Reading]:
    names = (
        ("actions.failed_ratio", "ratio"),
        ("actions.retry_ratio", "ratio"),
        ("calls.error_ratio", "ratio"),
        ("calls.errors", "1/s"),
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
    dead = sum(now.actions.dead.values()) - sum(before.actions.dead.values())
    ended = dead + now.actions.done - before.actions.done
    retried = now.actions.retried - before.actions.retried
    yield _ratio("actions.retry_ratio", retried, retried + ended, "attempts ended")
    calls = now.bus.calls - before.bus.calls
    refused = now.bus.call_refusals - before.bus.call_refusals  # the callers' own mistakes say nothing of the host
    yield _ratio("actions.failed_ratio", dead, ended, "actions ended")
    failed = now.bus.call_errors - before.bus.call_errors - refused
    yield _ratio("calls.error_ratio", failed, calls - refused, "calls")
    yield Reading("calls.errors", failed / seconds, "1/s")
    yield Reading("calls.rate", calls / seconds, "1/s")
    yield Reading("events.rate", (now.bus.published - before.bus.published) / seconds, "1/s")
    yield Reading("bus.dropped", (now.bus.dropped - before.bus.dropped) / seconds, "1/s")
    refusals = _refused(now) - _refused(before)
    yield Reading("queue.refused", refusals / seconds, "1/s")
    expired = now.actions.dead.get("expired", 0) - before.actions.dead.get("expired", 0)
    yield Reading("queue.expired", expired / seconds, "1/s")
    yield Reading("dlq.rate", dead / seconds, "1/s")


def _attempts(lane: LaneStatistics) -> int:
    """Return how many attempts of a lane have ended, or more: what died unattempted counts, too."""
    return lane.done + lane.retried + sum(lane.dead.values())


def _refused(numbers: KernelStatistics) -> int:
    return sum(lane.refused for lane in numbers.actions.lanes.values())


def _latency(name: str, seconds: float | None) -> Reading:
    return Reading(name, seconds, "s", "" if seconds is not None else "no action has run since the last reading")


def _ratio(name: str, part: int, whole: int, events: str) -> Reading:
    if whole >= MINIMUM_EVENTS:
        return Reading(name, part / whole, "ratio")
    return Reading(name, None, "ratio", f"{whole} {events} since the last reading; needs {MINIMUM_EVENTS}")
