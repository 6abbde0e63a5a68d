"""What self-improvement says: the only file of it that other plugins import."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from aetherra.plugins import Message, Request
from aetherra.plugins.self_improvement.analysis import Correlation, MetricAnalysis
from aetherra.plugins.self_improvement.proposals import Calibration, Passed, Proposal, Simulation, State, Strategy

Window = Annotated[float, msgspec.Meta(gt=0, le=315_360_000)]
"""Seconds, counted back from now; ten years at most."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


# Recording


class MetricPoint(msgspec.Struct, frozen=True):
    """A point of a metric; ``timestamp`` is Unix seconds, and now if there is none."""

    name: str
    value: float
    unit: str = ""
    timestamp: float | None = None
    context: dict[str, Any] = {}


class Recorded(Message, tag="selfimprovement.recorded"):
    """A point is in the history: on disk, where the host has a data directory."""

    stored: int


class RecordMetric(Request[Recorded], tag="selfimprovement.record_metric"):
    """Keep a point of a metric; ``timestamp`` is Unix seconds, and now if there is none."""

    name: str
    value: float
    unit: str = ""
    timestamp: float | None = None
    context: dict[str, Any] = {}


class RefusedPoint(msgspec.Struct, frozen=True):
    """A point that is not in the history: its place among those that were sent, its metric, and why."""

    index: int
    name: str
    reason: str


class RecordedMetrics(Message, tag="selfimprovement.record_metrics_reply"):
    """``stored`` points are in the history; the others are not, and say why."""

    stored: int
    refused: tuple[RefusedPoint, ...] = ()


class RecordMetrics(Request[RecordedMetrics], tag="selfimprovement.record_metrics"):
    """Keep many points at once; one that cannot be kept does not keep the others out."""

    points: Annotated[tuple[MetricPoint, ...], msgspec.Meta(max_length=10_000)]


class Forgotten(Message, tag="selfimprovement.forget_metric_reply"):
    """So many points of a metric are gone."""

    name: str
    points: int


class ForgetMetric(Request[Forgotten], tag="selfimprovement.forget_metric"):
    """Drop a metric's history, so that it may come in another unit; fails with a ``LookupError`` if there is none."""

    name: str


class Renamed(Message, tag="selfimprovement.rename_metric_reply"):
    """A metric has another name."""

    name: str
    new: str


class RenameMetric(Request[Renamed], tag="selfimprovement.rename_metric"):
    """Give a metric's history another name, so that it may come in another unit and nothing is lost.

    Fails with a ``LookupError`` if there is none, and with a ``ValueError`` if there is one of the new name.
    """

    name: str
    new: str


class StoredPoint(msgspec.Struct, frozen=True):
    """What is kept of one point, or of the points of one minute or hour.

    Attributes:
        timestamp: Unix seconds; of a minute or hour, its middle.
        value: Of the point, or the mean.
        count: How many points that stands for.
        low: The least of them.
        high: The greatest.
        width: Seconds: 0 of a point, 60 or 3600.
        context: What was recorded with a point; a minute or hour has none.
    """

    timestamp: float
    value: float
    count: int
    low: float
    high: float
    width: int
    context: dict[str, Any] = {}


class StoredPoints(Message, tag="selfimprovement.points_reply"):
    """What is kept of a metric, in the order of time; where there is more than asked for, the latest."""

    name: str
    unit: str
    points: tuple[StoredPoint, ...]


class GetPoints(Request[StoredPoints], tag="selfimprovement.points"):
    """Ask for what is kept of a metric; fails with a ``LookupError`` for one that has no history."""

    name: str
    window: Window = 86_400.0
    limit: Limit = 5000


# Analysis


class MetricTrend(msgspec.Struct, frozen=True):
    """Where one metric is heading, and how anyone can tell.

    Attributes:
        name: The metric.
        unit: Its unit.
        direction: What the movement means, by what is known of the metric.
        movement: What the figures do.
        slope_per_hour: In units an hour; ``None`` if unknown.
        p_value: Of no trend at all, autocorrelation accounted for.
        points: How many there were in the window.
        mean: Of these.
        last: The latest.
        reason: In a sentence.
    """

    name: str
    unit: str
    direction: Literal["improving", "degrading", "stable", "unknown"]
    movement: Literal["rising", "falling", "flat", "unknown"]
    slope_per_hour: float | None
    p_value: float | None
    points: int
    mean: float | None
    last: float | None
    reason: str


class Trends(Message, tag="selfimprovement.trends_reply"):
    """The trends of one metric, or of all, over the last ``window`` seconds."""

    window: float
    trends: tuple[MetricTrend, ...]


class GetTrends(Request[Trends], tag="selfimprovement.trends"):
    """Ask where a metric is heading, or all of them; ``window`` in seconds. Fails with a ``LookupError`` if unknown."""

    name: str | None = None
    window: Window = 86_400.0


class Anomaly(msgspec.Struct, frozen=True):
    """A point that is out of the ordinary.

    Attributes:
        metric: Of which.
        timestamp: Unix seconds.
        value: In the metric's unit.
        score: 0 to 1; 0.5 is where it begins to be worth a word.
    """

    metric: str
    timestamp: float
    value: float
    score: float


class MetricReport(Message, tag="selfimprovement.metric_reply"):
    """All that is known of one metric.

    Attributes:
        name: Its name.
        unit: Its unit.
        window: Seconds that this looks back.
        points: Times (Unix seconds) and values in the window; where there are more than asked for, the latest.
        analysis: What they say.
        anomalies: Points in the window that were out of the ordinary when they came.
        score: How much the last point is, 0 to 1; ``None`` before the first since the detector began.
    """

    name: str
    unit: str
    window: float
    points: tuple[tuple[float, float], ...]
    analysis: MetricAnalysis
    anomalies: tuple[Anomaly, ...]
    score: float | None


class GetMetric(Request[MetricReport], tag="selfimprovement.metric"):
    """Ask for all that is known of a metric; fails with a ``LookupError`` for one that has no history."""

    name: str
    window: Window = 86_400.0
    limit: Limit = 5000


class MetricEntry(msgspec.Struct, frozen=True):
    """One metric of the history: its unit, and the times of its first and last point, Unix seconds."""

    name: str
    unit: str
    first: float
    last: float


class MetricList(Message, tag="selfimprovement.metrics_reply"):
    """The metrics that have a history, by name."""

    metrics: tuple[MetricEntry, ...]


class ListMetrics(Request[MetricList], tag="selfimprovement.metrics"):
    """Ask which metrics have a history."""


class Finding(msgspec.Struct, frozen=True):
    """Something that an analysis found worth telling.

    Attributes:
        metric: Of which metric.
        kind: What it is.
        text: In a sentence.
    """

    metric: str
    kind: Literal["degrading", "improving", "beyond_setpoint", "crossing", "change_point", "anomaly", "correlation"]
    text: str


class AnalysisCycle(Message, tag="selfimprovement.analysed"):
    """One analysis: an event after each, the reply to ``Analyse``, and a row of the log.

    Attributes:
        number: Counts up from 1 since the start.
        ts: When it began, Unix seconds.
        seconds: What it took.
        window: How far it looked back, seconds.
        metrics: How many it looked at.
        points: How many of all of them.
        found: What it found, at most 200.
        trends: Of each metric.
        correlations: Metrics that move together, the surest first.
        proposed: What was proposed upon it.
        problem: Why it could not be finished; ``""`` if it was.
    """

    number: int
    ts: float
    seconds: float
    window: float
    metrics: int
    points: int
    found: tuple[Finding, ...] = ()
    trends: tuple[MetricTrend, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    proposed: tuple[str, ...] = ()
    problem: str = ""


class Analyse(Request[AnalysisCycle], tag="selfimprovement.analyse"):
    """Analyse all metrics now; proposes nothing."""


class AnalysisCycles(Message, tag="selfimprovement.cycles_reply"):
    """The log of analyses, newest first; trends and correlations are left out of it."""

    cycles: tuple[AnalysisCycle, ...]


class GetAnalysisCycles(Request[AnalysisCycles], tag="selfimprovement.cycles"):
    """Ask what the latest analyses found, and how long they took."""

    limit: Limit = 20


# Proposals


class ProposalList(Message, tag="selfimprovement.proposals_reply"):
    """Proposals, newest first, or by priority where they were just made.

    Attributes:
        proposals: The proposals.
        passed: Knobs that might have helped and were not proposed at the last analysis, and why.
    """

    proposals: tuple[Proposal, ...]
    passed: tuple[Passed, ...] = ()


class ListProposals(Request[ProposalList], tag="selfimprovement.proposals"):
    """Ask for proposals: of one state, or of all."""

    state: State | None = None
    limit: Limit = 100


class MakeProposals(Request[ProposalList], tag="selfimprovement.propose"):
    """Analyse and propose now; replies with what was new. What may be carried out is, at the next look at the trial."""


class ProposalReceipt(Message, tag="selfimprovement.proposal_reply"):
    """What is done with a proposal: it is taken, and a ``ProposalResult`` tells the rest; held for now; or refused."""

    proposal_id: str
    status: Literal["taken", "held", "refused"]
    reason: str = ""


class CarryOut(Request[ProposalReceipt], tag="selfimprovement.proposal"):
    """A proposal, for its consumer to carry out, and to answer with a ``ProposalResult``."""

    proposal: Proposal


class TakeBack(Request[ProposalReceipt], tag="selfimprovement.undo_proposal"):
    """A proposal that was carried out, for its consumer to undo, and to answer with a ``ProposalResult``."""

    proposal: Proposal
    reason: str = ""


class ResultTaken(Message, tag="selfimprovement.proposal_result_reply"):
    """A result is in the register; the proposal is in ``state`` now."""

    proposal_id: str
    state: State


class ProposalResult(Request[ResultTaken], tag="selfimprovement.proposal_result"):
    """What became of a proposal at its consumer; fails with a ``LookupError`` for an unknown one.

    Attributes:
        proposal_id: Which.
        status: It was carried out; was taken back; could not be; must not be; or somebody else has the knob now.
        value: What the knob is now, if anything was done.
        reason: Why, in a sentence.
    """

    proposal_id: str
    status: Literal["applied", "undone", "failed", "refused", "superseded"]
    value: int | float | str | None = None
    reason: str = ""


class ProposalChanged(Message, tag="selfimprovement.proposal_changed"):
    """A proposal took another state: an event, and the reply to who had a hand in it."""

    proposal: Proposal


class ApproveProposal(Request[ProposalChanged], tag="selfimprovement.approve"):
    """Let a proposal that waits for approval be carried out; fails with a ``LookupError`` for an unknown one."""

    proposal_id: str
    reason: str = ""


class RejectProposal(Request[ProposalChanged], tag="selfimprovement.reject"):
    """Have a proposal not carried out; it is kept with the reason."""

    proposal_id: str
    reason: str = ""


class UndoKept(Request[ProposalChanged], tag="selfimprovement.undo"):
    """Take back what a proposal changed, also while it is on trial."""

    proposal_id: str
    reason: str = ""


class Explanation(Message, tag="selfimprovement.explain_reply"):
    """Why something was proposed, what was done, and what it did.

    Attributes:
        proposal_id: Which.
        text: For people, some lines.
        proposal: For programs, with all its evidence.
        strategies: What is known of the same knob by now.
    """

    proposal_id: str
    text: str
    proposal: Proposal
    strategies: tuple[Strategy, ...] = ()


class ExplainProposal(Request[Explanation], tag="selfimprovement.explain"):
    """Ask why something was proposed and what became of it; fails with a ``LookupError`` for an unknown one."""

    proposal_id: str


class StrategyList(Message, tag="selfimprovement.strategies_reply"):
    """What is known to work, and not to, by the outcomes of proposals."""

    strategies: tuple[Strategy, ...]


class GetStrategies(Request[StrategyList], tag="selfimprovement.strategies"):
    """Ask what is known to work, for one metric or for all: at most ``limit``, for what was tried last."""

    metric: str = ""
    limit: Limit = 100


class SimulationReport(Message, tag="selfimprovement.simulate_reply"):
    """What would have been proposed over the recorded history, if nothing had been done about it."""

    simulation: Simulation


class Simulate(Request[SimulationReport], tag="selfimprovement.simulate"):
    """Ask what would have been proposed over the recorded history; changes nothing.

    Attributes:
        window: How far back it begins, seconds.
        step: Seconds from one look to the next; at most 1000 looks are made.
    """

    window: Window = 86_400.0
    step: Annotated[float, msgspec.Meta(ge=1, le=31_536_000)] = 3600.0


# Status


class SelfImprovementStatus(Message, tag="selfimprovement.status_reply"):
    """What is in the history, and what came of it.

    Attributes:
        metrics: How many there are.
        points: How many of all of them, rows of all tiers.
        size: Bytes of the database.
        share: Of the time that the retention names, how much points and minutes are kept for: less than 1 where
            ``max_size`` asks for it.
        recorded: Points taken since the start.
        refused: Points refused since the start.
        set_aside: Where databases that could not be read were moved, ``""`` if none was.
        mode: What is done with proposals.
        analyses: Made since the start.
        last_analysis: When the last one began, Unix seconds; ``None`` before the first.
        last_analysis_seconds: What it took.
        proposals: How many there are, by state.
        on_trial: The one whose effect is being watched, ``""`` if none is.
        calibration: How far confidences came true.
        problem: What goes wrong at present; ``""`` if nothing does.
        left_alone: Knobs that nothing is tried on now, each with why: homeostasis holds it.
    """

    metrics: int
    points: int
    size: int
    share: float
    recorded: int
    refused: int
    set_aside: str
    mode: Literal["act", "propose", "off"]
    analyses: int
    last_analysis: float | None
    last_analysis_seconds: float | None
    proposals: dict[str, int]
    on_trial: str
    calibration: Calibration
    problem: str = ""
    left_alone: dict[str, str] = {}


class GetSelfImprovementStatus(Request[SelfImprovementStatus], tag="selfimprovement.status"):
    """Ask what is in the history, and what came of it."""
