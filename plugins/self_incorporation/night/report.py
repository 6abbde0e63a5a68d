"""What a night tells when it is over, and what the cycle tells at any time."""

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.idle import IdleReport
from aetherra.plugins.self_incorporation.night.insights.insight import Insight
from aetherra.plugins.self_incorporation.night.learning.candidate import Tried
from aetherra.plugins.self_incorporation.night.pace import PaceStatistics
from aetherra.plugins.self_incorporation.night.phases import Phase

__all__ = ["NightReport", "NightStatus"]


class NightReport(Struct, frozen=True, kw_only=True):
    """One night.

    Attributes:
        number: Counts up from 1.
        root: What was looked at.
        revision: Of it, when the night began.
        began_at: Unix time.
        ended_at: Unix time.
        interruptions: How often somebody needed the host meanwhile, or it was ended.
        interrupted_by: Why, for the first of these.
        files: That the index holds.
        measured: Of them, those whose code was measured.
        unmeasured: Python files that were not, with why; the first of them.
        found: How many insights there are of each kind.
        insights: The first of each kind.
        tried: Every trial, with both figures, and what came of it.
        changed: How many of them changed something.
        work: How the work went since the host's start.
    """

    number: int
    root: str
    revision: str
    began_at: float
    ended_at: float
    interruptions: int
    interrupted_by: tuple[str, ...]
    files: int
    measured: int
    unmeasured: dict[str, str]
    found: dict[str, int]
    insights: tuple[Insight, ...]
    tried: tuple[Tried, ...]
    changed: int
    work: PaceStatistics


class NightStatus(Struct, frozen=True, kw_only=True):
    """The night cycle as it is now.

    Attributes:
        phase: Where it stands.
        unfinished: The phase at which a night that was begun goes on; None if there is none.
        at: What it is at, or waits for, in words.
        idle: How long nobody has needed the host.
        nights: How many were finished.
        last_ended_at: Unix time of the last one's end; 0 before the first.
        kept: Version of what is in use, by target; what is not there was not learnt.
        work: How the work went since the host's start.
        problem: Why the last night could not be finished; empty if it was.
    """

    phase: Phase
    unfinished: Phase | None
    at: str
    idle: IdleReport
    nights: int
    last_ended_at: float
    kept: dict[str, int]
    work: PaceStatistics
    problem: str
