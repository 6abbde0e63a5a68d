"""What would have been proposed: owns the replay of the proposer over recorded history, without acting.

At each moment it is told only what was known then: points up to it, and outcomes up to it. Nothing is carried out, so
the metrics go on as they did, and the knobs stand where they stand now: their past settings are not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from aetherra.plugins import KnobInfo
from aetherra.plugins.self_improvement.analysis.correlation import Correlation
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis
from aetherra.plugins.self_improvement.analysis.series import Points
from aetherra.plugins.self_improvement.proposals.proposal import Problem, Proposal
from aetherra.plugins.self_improvement.proposals.proposer import Passed, Proposer
from aetherra.plugins.self_improvement.proposals.strategies import Outcome, Strategies

__all__ = ["Analyse", "History", "Simulation", "WouldBe", "simulate"]

History = Callable[[float, float], Mapping[str, Points]]
"""Returns the points of every metric from the first time to the second, both Unix seconds."""

Analyse = Callable[[Mapping[str, Points], float], tuple[Iterable[MetricAnalysis], Iterable[Correlation]]]
"""Analyses the points of every metric as of a time, Unix seconds: what the live analysis does."""

_LATEST = 1e12
"""Times beyond this are no seconds since the epoch."""
_MOST_PASSED = 200
"""Reasons that are counted."""
_MOST_PROPOSALS = 1000
"""Different ones that are told; of each further one only that there was one."""


class WouldBe(msgspec.Struct, frozen=True):
    """One change that would have been proposed, as long as it would have.

    Attributes:
        proposal: As it would have been made the first time.
        first: When that was, Unix seconds.
        last: When it would have been made the last time; without acting it comes again with every look.
        times: How many looks that were.
        confidence: The highest probability that it would have been given.
        expected_lift: Median lift of like changes, as known at the last time; None where there was none.
    """

    proposal: Proposal
    first: float
    last: float
    times: int
    confidence: float
    expected_lift: float | None


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to.

    Attributes:
        since: When it begins, Unix seconds.
        until: When it ends; earlier than asked where that would have been too many looks.
        step: Seconds from one look to the next.
        looks: How many there were.
        complete: Whether it reached the end that was asked for, and all proposals are told.
        proposals: What would have been proposed, by when it would have been first.
        problems: How many looks found each problem, by metric.
        passed: What was not proposed and why, the most frequent first, with the number of looks.
    """

    since: float
    until: float
    step: float
    looks: int
    complete: bool
    proposals: tuple[WouldBe, ...]
    problems: dict[str, dict[Problem, int]]
    passed: tuple[tuple[Passed, int], ...]


def simulate(
    proposer: Proposer,
    history: History,
    analyse: Analyse,
    *,
    knobs: Iterable[KnobInfo],
    outcomes: Iterable[Outcome] = (),
    since: float,
    until: float,
    step: float = 3600.0,
    window: float = 86_400.0,
    most_looks: int = 1000,
) -> Simulation:
    """Replay analysis and proposer over history.

    Proposals of one knob, direction, metric and problem are told as one. Reasons that hold figures of the moment differ
    from look to look, so at most 200 of them are kept.

    Args:
        proposer: With the settings to replay.
        history: Asked once for each look; points that are not of the window are dropped, so that it cannot tell the
            future.
        analyse: What the live analysis does.
        knobs: As they are now.
        outcomes: All that there are; each look knows those of its past.
        since: Time of the first look, Unix seconds.
        until: No look is later.
        step: Seconds from one look to the next.
        window: Seconds that each look looks back.
        most_looks: The bound of the work; later ones are left out, and ``complete`` says so.

    Raises:
        ValueError: ``step``, ``window`` or ``most_looks`` is not above 0, ``until`` is before ``since``, or one of them
            is no figure that seconds since the epoch can have.
    """
    if not (step > 0 and window > 0 and most_looks > 0 and until >= since):
        raise ValueError(
            "expected step, window and most_looks above 0 and until >= since, "
            f"got {step!r}, {window!r}, {most_looks!r}, {until!r} and {since!r}"
        )
    for name, seconds in (("since", since), ("until", until), ("step", step), ("window", window)):
        if not abs(seconds) <= _LATEST:
            raise ValueError(f"expected {name} to be within {_LATEST:g} s, got {seconds!r}")
    if until > since and since + step == since:
        raise ValueError(f"expected a step that leads from {since!r} to a later time, got {step!r}")
    rows, there = tuple(outcomes), tuple(knobs)
    steps = (until - since) / step  # may be infinite
    looks = int(steps) + 1 if steps < most_looks else most_looks
    found: dict[tuple[str, str, str, str], WouldBe] = {}
    problems: dict[str, dict[Problem, int]] = {}
    passed: dict[Passed, int] = {}
    dropped = False
    for number in range(looks):
        now = since + number * step
        points = {
            name: [(time, value) for time, value in series if now - window <= time <= now]
            for name, series in history(now - window, now).items()
        }
        analyses, relations = analyse(points, now)
        result = proposer.propose(now, analyses, there, strategies=Strategies(rows, now=now), relations=relations)
        for judgement in result.problems:
            counts = problems.setdefault(judgement.metric, {})
            assert judgement.problem is not None
            counts[judgement.problem] = counts.get(judgement.problem, 0) + 1
        for one in result.passed:
            if one in passed or len(passed) < _MOST_PASSED:
                passed[one] = passed.get(one, 0) + 1
        for proposal in result.proposals:
            key = (proposal.knob, proposal.direction, proposal.metric, proposal.context.problem)
            if key in found or len(found) < _MOST_PROPOSALS:
                found[key] = _again(found.get(key), proposal)
            else:
                dropped = True
    return Simulation(
        since=since,
        until=since + (looks - 1) * step,
        step=step,
        looks=looks,
        complete=steps < most_looks and not dropped,
        proposals=tuple(found.values()),
        problems=problems,
        passed=tuple(sorted(passed.items(), key=lambda item: (-item[1], item[0].knob, item[0].metric, item[0].why))),
    )


def _again(before: WouldBe | None, proposal: Proposal) -> WouldBe:
    lift = None if proposal.expected_effect is None else proposal.expected_effect.lift
    now, confidence = proposal.created, proposal.confidence
    if before is None:
        return WouldBe(proposal, now, now, 1, confidence, lift)
    return WouldBe(before.proposal, before.first, now, before.times + 1, max(before.confidence, confidence), lift)
