"""Which way a metric should move: owns the table from metric names and units to the good direction."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

__all__ = ["Direction", "good_direction"]

Direction = Literal["up", "down", "near", "unknown"]
"""More is better, less is better, close to a target is better, or nobody said."""

_BY_NAME: tuple[tuple[str, Direction], ...] = (
    # Free-moving figures of the host come first: later patterns would claim to know them.
    ("process.threads", "unknown"),
    ("process.open_files", "unknown"),
    ("process.*", "down"),
    ("host.load", "down"),
    ("host.pressure_*", "down"),
    ("host.*_available", "up"),
    ("host.*_free", "up"),
    ("host.*_free_bytes", "up"),
    ("loop.lag", "down"),
    ("queue.*depth*", "down"),
    ("queue.*oldest_age", "down"),
    ("queue.*wait_p95", "down"),
    ("queue.*run_p95", "down"),
    ("actions.overrunning", "down"),
    ("dlq.*", "down"),
    ("bus.dropped", "down"),
    ("services.available", "up"),
    ("plugins.failed", "down"),
    ("health.score", "up"),
    # What other plugins record: the last words of a name usually say it.
    ("*.gain", "near"),
    ("*error*", "down"),
    ("*fail*", "down"),
    ("*timeout*", "down"),
    ("*dropped*", "down"),
    ("*refused*", "down"),
    ("*retries*", "down"),
    ("*latency*", "down"),
    ("*roundtrip*", "down"),
    ("*duration*", "down"),
    ("*lag", "down"),
    ("*backlog*", "down"),
    ("*success*", "up"),
    ("*throughput*", "up"),
    ("*hit_ratio", "up"),
    ("*availability", "up"),
    ("*accuracy", "up"),
    ("*uptime", "up"),
)

_BY_UNIT: dict[str, Direction] = {
    "errors": "down",
    "failures": "down",
    "drops": "down",
    "timeouts": "down",
    "errors/s": "down",
    "failures/s": "down",
    "drops/s": "down",
    "timeouts/s": "down",
}


def good_direction(name: str, unit: str = "", overrides: Mapping[str, Direction] | None = None) -> Direction:
    """Say which way ``name`` should move.

    Asked in this order, the first answer counts: an override of exactly this name, the overrides that are patterns
    (in their order), the table by name, the table by unit. All patterns are shell patterns (``*`` and ``?``) and
    mind upper and lower case.

    Args:
        name: The metric, ``loop.lag``.
        unit: Its unit, where the name says nothing: ``errors/s``.
        overrides: Names or patterns of the host's own, with their direction.

    Returns:
        The good direction, ``unknown`` where no table answers: a guess would turn into false praise or blame.
    """
    if overrides:
        if name in overrides:
            return overrides[name]
        for pattern, direction in overrides.items():
            if fnmatchcase(name, pattern):
                return direction
    for pattern, direction in _BY_NAME:
        if fnmatchcase(name, pattern):
            return direction
    return _BY_UNIT.get(unit, "unknown")
