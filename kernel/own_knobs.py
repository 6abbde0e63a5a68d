"""The host's own knobs: its workers, its lanes and its default timeout, in ranges around what is configured."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.kernel.actions.lanes import LaneBounds
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.config import MOST_WORKERS, KernelConfig
from aetherra.kernel.errors import YEAR
from aetherra.kernel.knobs import Knob
from aetherra.registry import Bus

MOST_WAITING = 1_000_000
"""What the configuration takes as a lane's capacity,"""
MOST_WEIGHT = 1000
"""and as its weight."""


def own_knobs(limits: KernelConfig, actions: ActionQueue, bus: Bus) -> Iterator[Knob]:
    """Yield them. What is set lasts until the next start, which begins with what is configured."""
    yield _workers(limits.workers, actions)
    for lane in actions.bounds():
        configured = getattr(limits.lanes, lane)
        yield _weight(lane, configured.weight, actions)
        yield _capacity(lane, configured.capacity, actions)
    yield _timeout(limits.default_timeout, bus)


def _workers(configured: int, actions: ActionQueue) -> Knob:
    return Knob(
        name="kernel.workers",
        read=lambda: actions.workers,
        write=lambda value: actions.tune(workers=value),
        low=1,
        high=min(MOST_WORKERS, max(64, 4 * configured)),
        step=max(1, configured // 4),
        unit="workers",
        role="capacity",
        moves={
            "queue.*.wait_p95": "down",
            "queue.*oldest_age": "down",
            "queue.*.depth": "down",
            "queue.depth_ratio": "down",
            "queue.refused": "down",
            "queue.expired": "down",
            "actions.utilisation": "down",
            "actions.running": "up",
            "process.cpu": "up",
            "process.rss": "up",
            "loop.lag": "up",
            "queue.*.run_p95": "unknown",
        },
        impact="medium",
        cost="more actions at a time: memory, and load on the event loop and on what their handlers use",
        undo="set the value that it had; actions that run beyond it are let finish",
    )


def _weight(lane: str, configured: int, actions: ActionQueue) -> Knob:
    return Knob(
        name=f"kernel.lane.{lane}.weight",
        read=lambda: actions.bounds()[lane].weight,
        write=lambda value: actions.tune(lanes={lane: LaneBounds(weight=value)}),
        low=1,
        high=min(MOST_WEIGHT, max(10, 4 * configured)),
        step=1,
        unit="turns",
        role="tuning",
        moves={
            f"queue.{lane}.wait_p95": "down",
            f"queue.{lane}.oldest_age": "down",
            f"queue.{lane}.depth": "down",
            "queue.*.wait_p95": "up",
            "queue.*.oldest_age": "up",
            "queue.*.depth": "up",
        },
        impact="low",
        cost="the other lanes get fewer turns, while there is more than the workers can do",
    )


def _capacity(lane: str, configured: int, actions: ActionQueue) -> Knob:
    return Knob(
        name=f"kernel.lane.{lane}.capacity",
        read=lambda: actions.bounds()[lane].capacity,
        write=lambda value: actions.tune(lanes={lane: LaneBounds(capacity=value)}),
        low=max(1, configured // 10),
        high=min(MOST_WAITING, 10 * configured),
        step=2,
        unit="actions",
        scale="log",
        role="capacity",
        moves={
            "queue.depth_ratio": "down",
            "queue.refused": "down",
            f"queue.{lane}.depth": "up",
            f"queue.{lane}.wait_p95": "up",
            f"queue.{lane}.oldest_age": "up",
            "queue.oldest_age": "up",
            "queue.expired": "up",
            "process.rss": "up",
        },
        impact="low",
        cost="memory for each action that waits, and longer waits before anybody is told that there is no room",
        undo="set the value that it had; actions that wait beyond it stay",
    )


def _timeout(configured: float, bus: Bus) -> Knob:
    return Knob(
        name="kernel.default_timeout",
        read=lambda: bus.default_timeout,
        write=bus.set_default_timeout,
        low=configured / 10,
        high=min(float(YEAR), 10 * configured),
        step=1.5,
        unit="s",
        scale="log",
        role="tuning",
        moves={
            "calls.timeouts": "down",
            "calls.errors": "down",
            "calls.error_ratio": "down",
            "actions.failed_ratio": "down",
            "actions.retry_ratio": "down",
            "queue.*.run_p95": "up",
            "queue.*.wait_p95": "up",
            "queue.*oldest_age": "up",
        },
        impact="medium",
        cost="what hangs holds its caller, and its worker, for longer",
    )
