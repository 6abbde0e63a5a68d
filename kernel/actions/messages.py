"""What a running kernel answers about actions and dead letters: requests under ``kernel.*``."""

from __future__ import annotations

from aetherra.kernel.actions.lanes import LaneBounds
from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.actions.redrive import Redriven, RedriveReport
from aetherra.kernel.actions.tally import ActionStatistics
from aetherra.registry import Message, Request


class GetActions(Request[ActionStatistics], tag="kernel.actions"):
    """Ask how the action queue is."""


class TuneActions(Request[ActionStatistics], tag="kernel.tune_actions"):
    """Change how many actions may run at a time, and lanes' bounds, until the next start; answered with what is then.

    What runs or waits beyond the new bounds is let finish.
    """

    workers: int | None = None
    lanes: dict[str, LaneBounds] = {}


class DeadLetters(Message, tag="kernel.dlq_reply"):
    """Dead letters, newest first.

    Attributes:
        letters: Those that fit.
        cut: Whether there are more of them, for which one reply has no room; ask again with ``before``, or for fewer.
        unreadable: Lines of the files that are no letters.
        aside: The file that such lines are kept in; ``""`` if there are none.
    """

    letters: tuple[DeadLetter, ...]
    cut: bool = False
    unreadable: int = 0
    aside: str = ""


class ListDeadLetters(Request[DeadLetters], tag="kernel.dlq"):
    """Ask for the newest dead letters that fit all that is given; times are Unix times.

    With ``parked`` for those that are parked, and else for the others alone.
    """

    limit: int = 100
    reason: str | None = None
    action_type: str | None = None
    since: float | None = None
    trace_id: str | None = None
    before: float | None = None
    parked: bool = False


class RedriveDeadLetter(Request[Redriven], tag="kernel.dlq_redrive"):
    """Submit a dead letter's action again."""

    trace_id: str


class RedriveDeadLetters(Request[RedriveReport], tag="kernel.dlq_redrive_where"):
    """Submit the actions of the newest dead letters that fit all that is given again; ``dry_run`` only tells who."""

    trace_ids: tuple[str, ...] | None = None
    reason: str | None = None
    action_type: str | None = None
    since: float | None = None
    before: float | None = None
    limit: int = 1000
    dry_run: bool = False


class Purged(Message, tag="kernel.dlq_purged"):
    """Dead letters were deleted."""

    removed: int


class PurgeDeadLetters(Request[Purged], tag="kernel.dlq_purge"):
    """Delete the dead letters that fit all that is given, or all of them."""

    trace_ids: tuple[str, ...] | None = None
    reason: str | None = None
    action_type: str | None = None
    since: float | None = None
    before: float | None = None


class Parked(Message, tag="kernel.dlq_parked"):
    """Dead letters were put aside."""

    parked: int


class ParkDeadLetters(Request[Parked], tag="kernel.dlq_park"):
    """Put the dead letters aside that fit all that is given, or all of them.

    They are kept, and neither counted among the others, nor listed, sent again or deleted with them.
    """

    trace_ids: tuple[str, ...] | None = None
    reason: str | None = None
    action_type: str | None = None
    since: float | None = None
    before: float | None = None


class Unparked(Message, tag="kernel.dlq_unparked"):
    """Dead letters are among the others again."""

    unparked: int


class UnparkDeadLetters(Request[Unparked], tag="kernel.dlq_unpark"):
    """Put the parked dead letters back that fit all that is given, or all of them, as they were."""

    trace_ids: tuple[str, ...] | None = None
    reason: str | None = None
    action_type: str | None = None
    since: float | None = None
    before: float | None = None
