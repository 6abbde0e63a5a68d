"""What is said of how self-incorporation is: what it has done, and whether it is well."""

from __future__ import annotations

from aetherra.plugins import Message, Request

__all__ = ["CheckHealth", "GetSelfIncorporationStatus", "SelfIncorporationHealth", "SelfIncorporationStatus"]


class SelfIncorporationStatus(Message, tag="selfinc.status_reply"):
    """What was done since the start, and what there is.

    Attributes:
        scanning: The tree that is being scanned now, ``""`` if none.
        scans: Scans finished.
        failed_scans: Scans that ended with an error.
        last_problem: Why, for the latest of these.
        files: In the index, while a scan goes on as it was before; likewise the next two.
        refusals: Files that are not, and why is kept.
        findings: In the index, of all severities.
        set_aside: Where an index that could not be read was moved, ``""`` if none was.
        items: That could be brought in, by what was decided about them.
        integrations: Done since the start.
        failed_integrations: That failed since the start, and were taken back.
        rollbacks: Done since the start.
        registered: What was brought in and is there.
        not_serving: Of these the plugins that do not serve, each with the reason.
        quarantined: Items in quarantine.
        waiting: Integrations that wait for an approval.
        night: What the night cycle does: its phase.
        problems: What somebody has to see to; until then nothing is brought in, or not unasked, or not all is seen.
    """

    scanning: str
    scans: int
    failed_scans: int
    last_problem: str
    files: int
    refusals: int
    findings: int
    set_aside: str
    items: dict[str, int]
    integrations: int
    failed_integrations: int
    rollbacks: int
    registered: tuple[str, ...]
    not_serving: dict[str, str]
    quarantined: int
    waiting: int
    night: str
    problems: tuple[str, ...]


class GetSelfIncorporationStatus(Request[SelfIncorporationStatus], tag="selfinc.status"):
    """Ask what was done, and what there is."""


class SelfIncorporationHealth(Message, tag="selfinc.health_reply"):
    """How self-incorporation is: the reply to ``CheckHealth``, and an event every minute.

    Attributes:
        healthy: Whether it can do what it is there for.
        reasons: Why not.
        metrics: Its figures, by name.
    """

    healthy: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]


class CheckHealth(Request[SelfIncorporationHealth], tag="selfinc.health"):
    """Look whether the index, the decisions, the quarantine, what was integrated and what nights know are in order."""
