"""One night: its tasks in the order of their phases, each in small steps, and none done twice."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from aetherra.plugins import Intent
from aetherra.plugins.self_incorporation.night.insights.census import Census
from aetherra.plugins.self_incorporation.night.insights.census_taker import CensusTaker
from aetherra.plugins.self_incorporation.night.insights.conflicts import conflicts_of
from aetherra.plugins.self_incorporation.night.insights.dead_code import dead_code_in
from aetherra.plugins.self_incorporation.night.insights.insight import Insight
from aetherra.plugins.self_incorporation.night.insights.quality import quality_of
from aetherra.plugins.self_incorporation.night.insights.risks import risks_of
from aetherra.plugins.self_incorporation.night.learned import Kept
from aetherra.plugins.self_incorporation.night.learning.candidate import Candidate, LearnedValue, Tried, mark_of
from aetherra.plugins.self_incorporation.night.learning.kind_learner import KindLearner
from aetherra.plugins.self_incorporation.night.learning.learner import Learner
from aetherra.plugins.self_incorporation.night.learning.plan_learner import PlanLearner
from aetherra.plugins.self_incorporation.night.learning.rescan_learner import RescanLearner
from aetherra.plugins.self_incorporation.night.learning.trial import Target, Trial, try_out
from aetherra.plugins.self_incorporation.night.library import Library
from aetherra.plugins.self_incorporation.night.pace import PaceStatistics, Steps
from aetherra.plugins.self_incorporation.night.phases import WORKING, Phase
from aetherra.plugins.self_incorporation.night.progress import Progress
from aetherra.plugins.self_incorporation.night.report import NightReport
from aetherra.plugins.self_incorporation.night.settings import NightSettings
from aetherra.plugins.self_incorporation.night.store import NightStore

__all__ = ["Night", "Refused", "Wanted", "Wish"]

FRESH = 5
"""Pieces of evidence younger than what is in use, from which on it is seen whether it still helps."""
GROWTH = 0.1
"""Of the evidence since the last trial for a target, as a share, before which there is no other: who tries often enough
will succeed by chance."""
MOST_TOLD = 50
"""Insights of one kind, files that were not measured, and interruptions in a report."""


class Wish(Struct, frozen=True):
    """Something that the night wants to change, and how; nothing is changed before it is permitted.

    Attributes:
        target: What would be another.
        intent: For whoever permits it.
        do: Changes it, in a worker thread.
    """

    target: Target
    intent: Intent
    do: Callable[[], object]


class Refused(Struct, frozen=True):
    """Why a wish was not carried out, and what is told to have come of it."""

    outcome: Literal["not_permitted", "discarded"]
    reason: str


Wanted = Wish | Phase
"""What a night yields besides None: a change that it wants, to be answered with `Refused` or None; or the phase that
begins."""


class Night:
    """Work in steps: left and gone on with wherever it stands; another night of the same progress goes on at the task.

    Args:
        progress: How far it has come; a new one for a new night.
        library: What it reads.
        store: Where it keeps things.
        settings: How much it looks at, and how sure it wants to be.
        time: Unix time.
        statistics: How the work goes.
    """

    def __init__(
        self,
        progress: Progress,
        library: Library,
        store: NightStore,
        settings: NightSettings,
        time: Callable[[], float],
        statistics: Callable[[], PaceStatistics],
    ) -> None:
        self.progress = progress
        self._library, self._store, self._settings = library, store, settings
        self._time, self._statistics = time, statistics
        self._census: Census | None = None
        self._tried: list[Tried] = []
        self.task = ""
        self._tasks = self._all_tasks()
        open_phases = [phase for phase in WORKING if not self._tasks[phase].keys() <= set(progress.finished)]
        progress.phase = open_phases[0] if open_phases else Phase.REPORTING
        self.steps = self._work()

    def at(self) -> str:
        """Say what it is at."""
        return f"{self.progress.phase}: {self.task}"

    def interrupted(self, why: str) -> None:
        """Note that it has to wait."""
        self.progress.interruptions += 1
        if len(self.progress.interrupted_by) < MOST_TOLD:
            self.progress.interrupted_by.append(why)

    def _work(self) -> Steps[Wanted, NightReport]:
        first = WORKING.index(self.progress.phase)
        for phase in WORKING[first:]:
            self.progress.phase = phase
            yield phase
            for name, task in self._tasks[phase].items():
                if name not in self.progress.finished:
                    self.task, self._tried = name, []
                    yield from task()
                    self.progress.tried.extend(self._tried)
                    self.progress.finished.append(name)
                    self._store.save_progress(self.progress)
                    yield None
        return self._report()

    def _all_tasks(self) -> dict[Phase, dict[str, Callable[[], Steps[Wanted, None]]]]:
        return {
            Phase.DISCOVERY_ANALYSIS: {"census": self._look_at_files, "conflicts": self._find_conflicts},
            Phase.PATTERN_LEARNING: {
                "quality": self._find_quality,
                "dead code": self._find_dead_code,
                "risks": self._find_risks,
            },
            Phase.OPTIMIZATION: {"candidates": self._learn},
            Phase.VALIDATION: {"what is in use": self._try_again, "candidates on trial": self._try_out},
            Phase.REPORTING: {"marks": self._mark},
        }

    # Discovery and patterns

    def _census_of(self) -> Steps[Wanted, Census]:
        if self._census is None:
            settings = self._settings
            taker = CensusTaker(self._library, self._store.measures, settings.most_files, settings.most_file_bytes)
            self._census = yield from taker.census()
        return self._census

    def _look_at_files(self) -> Steps[Wanted, None]:
        census = yield from self._census_of()
        self.progress.files = len(census.files)
        self.progress.measured = sum(1 for _ in census.sources())
        self.progress.unmeasured = dict(sorted(census.unmeasured.items())[:MOST_TOLD])

    def _find_conflicts(self) -> Steps[Wanted, None]:
        self.progress.conflicts = yield from conflicts_of(self._library.items())

    def _find_quality(self) -> Steps[Wanted, None]:
        self.progress.quality = yield from quality_of((yield from self._census_of()))

    def _find_dead_code(self) -> Steps[Wanted, None]:
        self.progress.dead_code = yield from dead_code_in((yield from self._census_of()))

    def _find_risks(self) -> Steps[Wanted, None]:
        self.progress.risks = yield from risks_of(self._library.decisions(), self._store.evidence.plans.all())

    # Learning

    def _learners(self) -> Steps[Wanted, Sequence[Learner]]:
        census, evidence, share = (yield from self._census_of()), self._store.evidence, self._settings.held_back
        here = [change for change in evidence.changes.all() if change.root == self._library.root]
        dead = self.progress.dead_code
        return (
            KindLearner(evidence.labels.all(), share),
            RescanLearner(here, sorted(census.files), () if dead is None else dead.quiet, share),
            PlanLearner(evidence.plans.all(), share),
        )

    def _learn(self) -> Steps[Wanted, None]:
        found: list[Candidate] = []
        for learner in (yield from self._learners()):
            since = self._store.learned.tried_at(learner.target)
            if learner.younger(since) > GROWTH * learner.learnt_from:
                found.extend((yield from learner.learn(_in_use(self._store, learner.target))))
        self.progress.candidates = found

    def _try_again(self) -> Steps[Wanted, None]:
        """See whether what is in use still does better than what it replaced, on what has happened since."""
        for learner in (yield from self._learners()):
            versions = self._store.learned.versions(learner.target)
            if not versions:
                continue
            *before, kept = versions
            replaced = before[-1].value if before else None
            old = yield from learner.losses(replaced, since=kept.trial.at)
            new = yield from learner.losses(kept.value, since=kept.trial.at)
            if len(new) < FRESH:
                continue
            # The other way round: what was replaced is on trial against what is in use.
            trial = self._trial(learner, kept.trial.insight, new, old, replaced, allowed=1.0)
            if trial.passed:
                reason = f"what {kept.trial.insight} had taught no longer helps"
                yield from self._taken_back(kept, trial, reason)

    def _taken_back(self, kept: Kept, trial: Trial, why: str) -> Steps[Wanted, None]:
        target = kept.trial.target
        what = f"go back to the {target.replace('_', ' ')} before: {why}"
        undo = partial(self._store.learned.undo, target, version=kept.version)
        yield from self._changed(trial, "taken_back", what, undo)

    def _try_out(self) -> Steps[Wanted, None]:
        for learner in (yield from self._learners()):
            target = learner.target
            candidates = [candidate for candidate in self.progress.candidates if candidate.target == target]
            purposes = len({candidate.insight for candidate in candidates})
            refused = False
            for candidate in candidates:
                in_use = _in_use(self._store, target)
                if (kept := self._kept_already(candidate)) is not None:  # before this night was interrupted
                    self._tried.append(Tried(trial=kept, outcome="kept", reason=_taking(kept)))
                    continue
                if candidate.builds_on != mark_of(in_use) or mark_of(candidate.value) == mark_of(in_use):
                    continue
                before = yield from learner.losses(in_use)
                after = yield from learner.losses(candidate.value)
                allowed = self._settings.doubt / purposes
                trial = self._trial(learner, candidate.insight, before, after, candidate.value, allowed=allowed)
                if trial.passed and (harm := learner.harm(in_use, candidate.value)):
                    self._tried.append(Tried(trial=trial, outcome="discarded", reason=f"less is lost, but {harm}"))
                elif not trial.passed:
                    self._tried.append(Tried(trial=trial, outcome="discarded", reason=trial.reason))
                else:
                    refused |= not (yield from self._kept(trial, candidate.value))
            if candidates and not refused:
                self._store.learned.tried(target, learner.latest)
                yield None

    def _kept(self, trial: Trial, value: LearnedValue) -> Steps[Wanted, bool]:
        keep = partial(self._store.learned.keep, trial, value)
        return (yield from self._changed(trial, "kept", _taking(trial), keep))

    def _kept_already(self, candidate: Candidate) -> Trial | None:
        for kept in self._store.learned.versions(candidate.target):
            if kept.trial.digest == mark_of(candidate.value) and kept.trial.at >= self.progress.began_at:
                return kept.trial
        return None

    def _changed(
        self, trial: Trial, outcome: Literal["kept", "taken_back"], what: str, do: Callable[[], object]
    ) -> Steps[Wanted, bool]:
        """Have something changed if it is permitted; say whether it was."""
        intent = Intent(
            kind="learning",
            component=f"self_incorporation.{trial.target}.{trial.insight}",
            summary=what,
            digest=trial.digest,
            undo=outcome == "taken_back",
            facts={
                "before": trial.before,
                "after": trial.after,
                "held_back": trial.held_back,
                "chance": trial.chance,
            },
        )
        refused: Refused | None = yield Wish(trial.target, intent, do)
        if refused is not None:
            self._tried.append(Tried(trial=trial, outcome=refused.outcome, reason=f"{what}; {refused.reason}"))
        else:
            self._tried.append(Tried(trial=trial, outcome=outcome, reason=what))
        return refused is None

    def _trial(
        self,
        learner: Learner,
        insight: str,
        before: list[float],
        after: list[float],
        value: LearnedValue | None,
        *,
        allowed: float,
    ) -> Trial:
        return try_out(
            learner.target,
            insight,
            learner.metric,
            before,
            after,
            value=value,
            learnt_from=learner.learnt_from,
            margin=self._settings.margin,
            allowed=allowed,
            at=self._time(),
        )

    # The end

    def _mark(self) -> Steps[Wanted, None]:
        marks: dict[str, dict[str, float]] = {}
        for found in (self.progress.quality, self.progress.conflicts):
            for path, named in found.marks.items() if found is not None else ():
                marks.setdefault(path, {}).update(named)
        yield None
        self._store.save_marks(marks)

    def _report(self) -> NightReport:
        progress = self.progress
        insights = list(self._insights())
        found: dict[str, int] = {}
        told: list[Insight] = []
        for insight in insights:
            found[insight.kind] = found.get(insight.kind, 0) + 1
            if found[insight.kind] <= MOST_TOLD:
                told.append(insight)
        if progress.dead_code is not None and progress.dead_code.definitions:
            found["dead_code"] = progress.dead_code.definitions
        return NightReport(
            number=progress.number,
            root=self._library.root,
            revision=progress.revision,
            began_at=progress.began_at,
            ended_at=self._time(),
            interruptions=progress.interruptions,
            interrupted_by=tuple(progress.interrupted_by),
            files=progress.files,
            measured=progress.measured,
            unmeasured=progress.unmeasured,
            found=found,
            insights=tuple(told),
            tried=tuple(progress.tried),
            changed=sum(tried.outcome in ("kept", "taken_back") for tried in progress.tried),
            work=self._statistics(),
        )

    def _insights(self) -> Iterator[Insight]:
        progress = self.progress
        for found in (progress.quality, progress.conflicts, progress.dead_code, progress.risks):
            yield from found.insights if found is not None else ()


def _taking(trial: Trial) -> str:
    return f"take a {trial.target.replace('_', ' ')} into use that {trial.insight} taught: {trial.reason}"


def _in_use(store: NightStore, target: Target) -> LearnedValue | None:
    kept = store.learned.current(target)
    return None if kept is None else kept.value
