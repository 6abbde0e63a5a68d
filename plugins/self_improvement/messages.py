"""What self-improvement says: the only file of it that other plugins import."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from aetherra.plugins import Message, Request


class Recorded(Message, tag="selfimprovement.recorded"):
    """A point is in the history: on disk, where the host has a data directory."""

    stored: int


class RecordMetric(Request[Recorded], tag="selfimprovement.record_metric"):
    """Keep a point of a metric; ``timestamp`` is Unix seconds, and now if there is none."""

    name: str
    value: float
    unit: str = ""
    timestamp: float | None = None
    context: dict[str, Any] = {}


class MetricTrend(msgspec.Struct, frozen=True):
    """Where one metric is heading, and how anyone can tell.

    Attributes:
        name: The metric.
        unit: Its unit.
        direction: What the movement means, by what is known of the metric.
        movement: What the figures do.
        slope_per_hour: In units an hour; ``None`` if unknown.
        p_value: Of no trend at all, autocorrelation accounted for.
        points: How many there were in the window.
        mean: Of these.
        last: The latest.
        reason: In a sentence.
    """

    name: str
    unit: str
    direction: Literal["improving", "degrading", "stable", "unknown"]
    movement: Literal["rising", "falling", "flat", "unknown"]
    slope_per_hour: float | None
    p_value: float | None
    points: int
    mean: float | None
    last: float | None
    reason: str


class Trends(Message, tag="selfimprovement.trends_reply"):
    """The trends of one metric, or of all, over the last ``window`` seconds."""

    window: float
    trends: tuple[MetricTrend, ...]


class GetTrends(Request[Trends], tag="selfimprovement.trends"):
    """Ask where a metric is heading, or all of them; ``window`` in seconds."""

    name: str | None = None
    window: float = 86_400.0


class SelfImprovementStatus(Message, tag="selfimprovement.status_reply"):
    """What is in the history.

    Attributes:
        metrics: How many there are.
        points: How many of all of them.
        size: Bytes of the database.
        recorded: Points taken since the start.
        refused: Points refused since the start.
        set_aside: Where a database that could not be read was moved, ``""`` if none was.
    """

    metrics: int
    points: int
    size: int
    recorded: int
    refused: int
    set_aside: str


class GetSelfImprovementStatus(Request[SelfImprovementStatus], tag="selfimprovement.status"):
    """Ask what is in the history."""
