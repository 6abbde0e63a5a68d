"""How well something is: statuses, reports, and the folding of many reports into one."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class ServiceStatus(enum.StrEnum):
    """The states of a service, from its plugin's first step to its last."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPING = "stopping"
    QUARANTINED = "quarantined"


SCORES = {
    ServiceStatus.HEALTHY: 1.0,
    ServiceStatus.STARTING: 0.75,
    ServiceStatus.STOPPING: 0.75,
    ServiceStatus.DEGRADED: 0.5,
    ServiceStatus.FAILED: 0.0,
    ServiceStatus.QUARANTINED: 0.0,
}
"""What a status alone is worth where its owner gives no score of its own."""


DEAD = frozenset({ServiceStatus.FAILED, ServiceStatus.QUARANTINED})
"""Statuses of what does nothing for anybody."""


class HealthReport(msgspec.Struct, frozen=True):
    """How one component is.

    Attributes:
        component: Its name.
        status: Its state.
        score: 0 (useless) to 1 (well); ``None`` if its owner gives none, and the status alone must do.
        reasons: What keeps it from 1, in words.
    """

    component: str
    status: ServiceStatus
    score: float | None = None
    reasons: tuple[str, ...] = ()


def fold_health(component: str, reports: Iterable[HealthReport]) -> HealthReport:
    """Fold the reports of many into one for ``component``.

    The score is the mean of the average and the lowest one, so that a single failure among many shows.
    The status is degraded as soon as one part is not healthy, and failed when every part is. Nothing to fold is healthy
    with no score: nobody measured it. A score outside 0 to 1 counts as the nearer end, one that is no number as 0.
    """
    parts = list(reports)
    if not parts:
        return HealthReport(component, ServiceStatus.HEALTHY)
    scores = [SCORES[part.status] if part.score is None else min(max(0.0, part.score), 1.0) for part in parts]
    reasons = tuple(
        f"{part.component} is {part.status}" + (f": {'; '.join(part.reasons)}" if part.reasons else "")
        for part in parts
        if part.status is not ServiceStatus.HEALTHY
    )
    dead = [part for part in parts if part.status in DEAD]
    if len(dead) == len(parts):
        status = ServiceStatus.FAILED
    else:
        status = ServiceStatus.DEGRADED if reasons else ServiceStatus.HEALTHY
    return HealthReport(component, status, (sum(scores) / len(scores) + min(scores)) / 2, reasons)
