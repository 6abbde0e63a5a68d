"""What should be changed now: owns one look at everything, and the choice of what is proposed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.analysis.correlation import Correlation
from aetherra.plugins.self_improvement.analysis.directions import good_direction
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis
from aetherra.plugins.self_improvement.proposals.candidates import Candidates, Tell
from aetherra.plugins.self_improvement.proposals.give_back import returns
from aetherra.plugins.self_improvement.proposals.levels import Known
from aetherra.plugins.self_improvement.proposals.problems import Judgement, judge, load_band
from aetherra.plugins.self_improvement.proposals.proposal import Proposal, State, Step, proposal_id
from aetherra.plugins.self_improvement.proposals.setpoints import find_setpoint
from aetherra.plugins.self_improvement.proposals.settings import ProposerSettings
from aetherra.plugins.self_improvement.proposals.strategies import Strategies, same_value
from aetherra.plugins.self_improvement.proposals.weighing import Weighing

__all__ = ["Passed", "Proposer", "Round", "Withdrawn"]

_MOST_PASSED = 200
"""Reasons kept of one round."""


class Passed(msgspec.Struct, frozen=True):
    """Why something was not proposed.

    Attributes:
        knob: The knob that might have been turned; ``""`` where none comes into question.
        metric: The metric that it might have helped.
        why: In a sentence.
    """

    knob: str
    metric: str
    why: str


class Withdrawn(msgspec.Struct, frozen=True):
    """An open proposal that should be concluded without being carried out.

    Attributes:
        proposal: Its id.
        state: What it becomes: ``expired``, ``superseded`` or ``failed``.
        reason: Why, in a sentence.
    """

    proposal: str
    state: State
    reason: str


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at everything came to.

    Attributes:
        at: When, Unix seconds.
        proposals: New ones, the highest priority first.
        passed: What was not proposed, and why; 200 at the most.
        withdrawn: Open ones that are not to be carried out any more.
        problems: What is wrong, the worst first, whether or not a knob helps.
        unknown: Metrics that nothing can be said of, with the reason.
    """

    at: float
    proposals: tuple[Proposal, ...]
    passed: tuple[Passed, ...]
    withdrawn: tuple[Withdrawn, ...]
    problems: tuple[Judgement, ...]
    unknown: tuple[Judgement, ...]


class Proposer:
    """Makes proposals; remembers nothing: all that it knows it is given."""

    def __init__(self, settings: ProposerSettings | None = None) -> None:
        self.settings = ProposerSettings() if settings is None else settings

    def propose(
        self,
        now: float,
        analyses: Iterable[MetricAnalysis],
        knobs: Iterable[KnobInfo],
        *,
        strategies: Strategies | None = None,
        proposals: Iterable[Proposal] = (),
        relations: Iterable[Correlation] = (),
    ) -> Round:
        """Look at everything once.

        The same arguments give the same round, whatever their order.

        Args:
            now: Unix seconds.
            analyses: Of all metrics, one each.
            knobs: All that there are now.
            strategies: What was learnt; nothing by default.
            proposals: All open ones, the kept ones, and those that ended within the longest rest, seven cool-downs.
            relations: Metrics that move together.
        """
        strategies = Strategies(now=now) if strategies is None else strategies
        past = sorted(proposals, key=lambda one: (one.concluded or one.created, one.id))
        there = {knob.name: knob for knob in sorted(knobs, key=lambda knob: knob.name)}
        by_name = {one.name: one for one in sorted(analyses, key=lambda one: one.name)}
        load = load_band(next((by_name[name] for name in self.settings.load_metrics if name in by_name), None))
        judged = self._judged(now, by_name.values(), past)
        problems = sorted(
            (one for one in judged.values() if one.problem is not None),
            key=lambda one: (-one.severity * one.weight, one.metric),
        )
        unknown = tuple(one for one in judged.values() if not one.known)
        passed: dict[Passed, None] = {}  # in order, and each once

        def tell(knob: str, metric: str, why: str) -> None:
            passed[Passed(knob, metric, why)] = None

        candidates = Candidates(there, strategies, tell)
        found = [*candidates.find(problems, relations)]
        if self.settings.give_back_after is not None and load != "low":
            found += returns(now, self.settings.give_back_after, past, there, judged, strategies)
        weighing = Weighing(self.settings, now, load, strategies, past, problems)
        weighed: list[Proposal] = []
        for candidate in found:
            result = weighing.weigh(candidate)
            if isinstance(result, Proposal):
                weighed.append(result)
            else:
                tell(candidate.knob.name, candidate.judgement.metric, result)
        withdrawn = tuple(_withdrawn(now, past, there, judged))
        chosen = tuple(self._choose(weighed, past, len(withdrawn), tell))
        candidates.tell_unknown(unknown)
        return Round(
            at=now,
            proposals=tuple(self._named(chosen, now, {one.id for one in past})),
            passed=tuple(passed)[:_MOST_PASSED],
            withdrawn=withdrawn,
            problems=tuple(problems),
            unknown=unknown,
        )

    def _judged(self, now: float, analyses: Iterable[MetricAnalysis], past: Sequence[Proposal]) -> dict[str, Judgement]:
        measured = {
            one.metric: Known(one.concluded, one.outcome.after, one.id)
            for one in past
            if one.state == "kept"
            and one.concluded is not None
            and one.outcome is not None
            and one.outcome.after is not None
        }
        return {
            one.name: judge(
                one,
                setpoint=find_setpoint(one.name, self.settings.setpoints),
                good=good_direction(one.name, one.unit, self.settings.directions),
                now=now,
                horizon=self.settings.horizon,
                measured=measured.get(one.name),
            )
            for one in analyses
        }

    def _choose(
        self, weighed: Iterable[Proposal], past: Iterable[Proposal], withdrawn: int, tell: Tell
    ) -> Iterator[Proposal]:
        """Yield the best of each knob and metric, as many as may be open.

        So holds it the other metrics that it should ease: first it is seen whether it does. What waits for approval
        holds its knob, but no metric: others may help meanwhile.
        """
        held = [one for one in past if one.is_open]
        knobs = {one.knob: f"{one.id} is open" for one in held}
        metrics = {
            metric: f"{one.id} is open for it"
            for one in held
            if one.state != "waiting_approval"
            for metric in (one.metric, *one.eases)
        }
        room = self.settings.max_proposals - len(held) + withdrawn
        for one in sorted(weighed, key=_rank):
            why = knobs.get(one.knob) or metrics.get(one.metric)
            if why is None and room <= 0:
                why = f"as many proposals are open as may be, {self.settings.max_proposals}"
            if why is not None:
                tell(one.knob, one.metric, why)
                continue
            room -= 1
            better = f"to turn {one.knob} from {one.before} to {one.after} for {one.metric} is proposed before it"
            knobs[one.knob] = better
            if not self._waits(one):
                metrics |= dict.fromkeys((one.metric, *one.eases), better)
            yield one

    def _named(self, chosen: Iterable[Proposal], now: float, taken: set[str]) -> Iterator[Proposal]:
        for one in chosen:
            name = proposal_id(one.knob, now, taken)
            taken.add(name)
            named = msgspec.structs.replace(one, id=name, steps=(Step(now, "proposed"),))
            if self._waits(one):
                named = named.moved("waiting_approval", now, f"impact {one.impact}: needs approval")
            yield named

    def _waits(self, proposal: Proposal) -> bool:
        return proposal.impact in self.settings.needs_approval


def _withdrawn(
    now: float, past: Iterable[Proposal], knobs: Mapping[str, KnobInfo], judged: Mapping[str, Judgement]
) -> Iterator[Withdrawn]:
    for one in past:
        if not one.is_open or one.state == "applied":
            continue
        knob, judgement = knobs.get(one.knob), judged.get(one.metric)
        gives_back = one.context.problem == "no_longer_needed"
        if one.is_due(now):
            yield Withdrawn(one.id, "expired", "nobody carried it out in time")
        elif knob is None:
            yield Withdrawn(one.id, "failed", f"there is no knob {one.knob!r} any more")
        elif knob.value is not None and not same_value(knob.value, one.before):
            what = f"{one.knob} is {knob.value} by now; this was to take it from {one.before} to {one.after}"
            yield Withdrawn(one.id, "superseded", what)
        elif judgement is not None and gives_back and judgement.problem is not None:
            yield Withdrawn(one.id, "superseded", f"it is needed after all: {judgement.text}")
        elif judgement is not None and not gives_back and judgement.is_well:
            yield Withdrawn(one.id, "superseded", f"the problem is gone: {judgement.text}")


def _rank(proposal: Proposal) -> tuple[float, float]:
    """Order by priority, then by expected lift; else as they come: the worst problem first, knobs by name."""
    lift = 0.0 if proposal.expected_effect is None else proposal.expected_effect.lift
    return -proposal.priority, -lift
