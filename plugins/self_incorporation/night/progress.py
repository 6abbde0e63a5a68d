"""How far a night has come: what is on disk after each of its tasks, so that it goes on from there after a restart."""

from msgspec import Struct

from aetherra.plugins.self_incorporation.night.insights.conflicts import Conflicts
from aetherra.plugins.self_incorporation.night.insights.dead_code import DeadCode
from aetherra.plugins.self_incorporation.night.insights.quality import Quality
from aetherra.plugins.self_incorporation.night.insights.risks import Risks
from aetherra.plugins.self_incorporation.night.learning.candidate import Candidate, Tried
from aetherra.plugins.self_incorporation.night.phases import Phase

__all__ = ["Progress"]


class Progress(Struct, kw_only=True):
    """What a night has done.

    Attributes:
        number: Of the night.
        began_at: Unix time.
        revision: Of the root at that time.
        phase: At which it is.
        finished: Its tasks that are done.
        interruptions: How often it had to wait.
        interrupted_by: Why, for the first of these.
        files: In the index.
        measured: Of these.
        unmeasured: Files that could not be, with why.
        quality: From here on, what its tasks found.
    """

    number: int
    began_at: float
    revision: str
    phase: Phase = Phase.DISCOVERY_ANALYSIS
    finished: list[str] = []
    interruptions: int = 0
    interrupted_by: list[str] = []
    files: int = 0
    measured: int = 0
    unmeasured: dict[str, str] = {}
    quality: Quality | None = None
    conflicts: Conflicts | None = None
    dead_code: DeadCode | None = None
    risks: Risks | None = None
    candidates: list[Candidate] = []
    tried: list[Tried] = []
