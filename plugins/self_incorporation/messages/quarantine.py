"""What is said of quarantine."""

from __future__ import annotations

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined, QuarantineStatistics
from aetherra.plugins.self_incorporation.messages.bounds import Reason

__all__ = ["DeleteItem", "ListQuarantined", "QuarantineItem", "QuarantineList", "ReleaseItem", "ReviewItem", "SetAside"]


class SetAside(Message, tag="selfinc.quarantine_reply"):
    """How something in quarantine is now.

    Attributes:
        quarantined: What.
        taken_out: What had been brought in from it, and is out now.
        serving: What was brought in from it and could not be taken out; it is tried again.
    """

    quarantined: Quarantined
    taken_out: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()


class QuarantineItem(Request[SetAside], tag="selfinc.quarantine"):
    """Set an item aside, so that nothing loads it, keep it, and take out what was brought in from it as it is."""

    item: str
    reason: Reason


class ReleaseItem(Request[SetAside], tag="selfinc.release"):
    """Put something in quarantine back where it was, byte for byte. Only a person may."""

    id: str
    reason: str = ""


class DeleteItem(Request[SetAside], tag="selfinc.delete"):
    """Delete something in quarantine for good. Only a person may."""

    id: str
    reason: str = ""


class ReviewItem(Request[SetAside], tag="selfinc.review"):
    """Note what a person says of something in quarantine. Only a person may."""

    id: str
    says: Reason


class QuarantineList(Message, tag="selfinc.quarantined_reply"):
    """What is, or was, in quarantine, and how much."""

    items: tuple[Quarantined, ...]
    statistics: QuarantineStatistics


class ListQuarantined(Request[QuarantineList], tag="selfinc.quarantined"):
    """Ask what is in quarantine; with ``ended`` also for what was released or deleted."""

    ended: bool = False
