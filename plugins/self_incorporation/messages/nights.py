"""What is said of nights, and of what they learn."""

from __future__ import annotations

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.night.learned import Kept
from aetherra.plugins.self_incorporation.night.learning.trial import Target
from aetherra.plugins.self_incorporation.night.report import NightReport, NightStatus

__all__ = ["GetNight", "Night", "NightDone", "RunNight", "Unlearn", "Unlearned"]


class Night(Message, tag="selfinc.night_reply"):
    """The night cycle as it is, and what the last night came to; ``None`` before the first.

    Attributes:
        status: Where it stands, and what of what was learnt is in use.
        last: The report of the last night that was finished.
    """

    status: NightStatus
    last: NightReport | None


class GetNight(Request[Night], tag="selfinc.night"):
    """Ask what the night cycle does, did, and has learnt."""


class NightDone(Message, tag="selfinc.night_done"):
    """A night was finished: the reply to ``RunNight``, and an event after each."""

    report: NightReport


class RunNight(Request[NightDone], tag="selfinc.run_night"):
    """Have a night's work done now, though the host is not idle; it makes way for nobody."""


class Unlearned(Message, tag="selfinc.unlearn_reply"):
    """What is in use now in place of what was learnt last."""

    kept: Kept


class Unlearn(Request[Unlearned], tag="selfinc.unlearn"):
    """Go back to what was in use before what was learnt last. Only a person may."""

    target: Target
