"""What homeostasis says: the only file of it that other plugins import."""

from __future__ import annotations

import msgspec

from aetherra.plugins import Message, Request


class Metric(msgspec.Struct, frozen=True):
    """One reading: ``value`` in ``unit``, or ``None`` with the reason why nobody knows."""

    value: float | None
    unit: str
    reason: str = ""


class Measured(Message, tag="homeostasis.measured"):
    """One cycle: the reply to ``Collect``, and an event after each.

    Attributes:
        cycle: Counts up from 1.
        ts: Unix time.
        health_score: 0 (useless) to 1 (well); ``None`` if nothing is known.
        health_coverage: Share of the judged metrics that have a value.
        health_reasons: What lowers the score, most first.
        metrics: All readings, by name.
        seconds: What the cycle took.
    """

    cycle: int
    ts: float
    health_score: float | None
    health_coverage: float
    health_reasons: tuple[str, ...]
    metrics: dict[str, Metric]
    seconds: float


class Collect(Request[Measured], tag="homeostasis.collect"):
    """Measure now, and forward the metrics at once."""


class HomeostasisStatus(Message, tag="homeostasis.status_reply"):
    """What homeostasis has done since it started.

    Attributes:
        cycles: Measurements.
        metrics: Readings in the last one, of which ``unknown`` had no value.
        health_score: The last one's.
        forwarded: Readings that self-improvement has taken.
        forward_failed: Readings that it has refused or could not be given.
        last_forward_problem: Why, for the latest of these.
    """

    cycles: int
    metrics: int
    unknown: int
    health_score: float | None
    forwarded: int
    forward_failed: int
    last_forward_problem: str


class GetHomeostasisStatus(Request[HomeostasisStatus], tag="homeostasis.status"):
    """Ask what homeostasis has done."""
