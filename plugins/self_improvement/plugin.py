"""The self-improvement plugin: wires what records, analyses, proposes and learns, and answers for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import anyio

from aetherra.plugins import (
    AetherraError,
    CycleStep,
    GetStatus,
    KnobTurned,
    MetricSample,
    Plugin,
    PluginContext,
    current_call,
    handler,
    hookimpl,
)
from aetherra.plugins.homeostasis.messages import Acted
from aetherra.plugins.self_improvement import messages as m
from aetherra.plugins.self_improvement.agreements import Agreements, ApprovalError
from aetherra.plugins.self_improvement.analyst import Analyst
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.book import REMEMBERED, Book
from aetherra.plugins.self_improvement.consumer import Consumer
from aetherra.plugins.self_improvement.examiner import Examiner
from aetherra.plugins.self_improvement.explanation import explanation
from aetherra.plugins.self_improvement.heard import ApprovalDecided, CodeRolledBack, CodeSwapped
from aetherra.plugins.self_improvement.history import DatabaseUnusableError, HistoryWriter, MetricHistory
from aetherra.plugins.self_improvement.improver import Improver
from aetherra.plugins.self_improvement.proposals import Proposal, Proposer, calibration
from aetherra.plugins.self_improvement.proposals.register import Register
from aetherra.plugins.self_improvement.recorder import Recorder
from aetherra.plugins.self_improvement.settings import Mode, SelfImprovementSettings
from aetherra.plugins.self_improvement.state import TrialState

__all__ = ["SelfImprovementEngine"]

ROLL_UP_SEC = 600.0
"""Seconds between two times that old points become minutes and hours."""
SAVE_SEC = 300.0
"""Seconds between two times that detectors are saved."""
SLOW_SEC = 300.0
"""Seconds that an analysis or a simulation may take."""


class SelfImprovementEngine(Plugin[SelfImprovementSettings]):
    """Keeps what is measured, says where it is heading, proposes, and sees what came of it.

    All that reads a disk or takes long runs in worker threads.
    """

    name = "self_improvement"
    service = "self_improvement_engine"
    version = "2"
    exclusive = True  # the history has one writer, and the host one who turns its knobs
    capabilities = (
        "call:kernel.list_knobs",
        "call:kernel.set_knob",
        "call:kernel.status",
        "call:homeostasis.actuators",
        "call:homeostasis.freeze_state",
        "call:governance.approve",
        "call:governance.deny",
        "call:selfimprovement.*",
        "publish:selfimprovement.*",
    )

    def __init__(self, settings: SelfImprovementSettings | None = None) -> None:
        super().__init__(settings)
        self._improving = anyio.Lock()
        self._carrying_out = anyio.Lock()

    async def start(self, ctx: PluginContext) -> None:
        """Open the history and the register, and put the parts together."""
        settings, folder, clock = self.settings, ctx.data_dir, ctx.clock
        history_file = ":memory:" if folder is None else folder / "history.sqlite3"
        register_file = ":memory:" if folder is None else folder / "improvement.sqlite3"
        self._history = await ctx.enter(
            await ctx.run_sync(MetricHistory, history_file, clock.time, settings.retention, ctx.log.error)
        )
        self._register = await ctx.enter(await ctx.run_sync(Register, register_file, ctx.log.error))
        for what, opened in (("history", self._history), ("register of proposals", self._register)):
            if opened.set_aside is not None:
                ctx.log.error(
                    "the %s could not be read (%s); it was moved to %s and a new one begun",
                    what,
                    opened.set_aside_reason,
                    opened.set_aside,
                )
        self._writer = HistoryWriter(self._history, ctx.run_sync)
        self._anomalies = Anomalies(folder, warn=ctx.log.warning)
        await ctx.run_sync(self._anomalies.load)
        self._recorder = Recorder(self._history, self._writer, self._anomalies, ctx.run_sync, clock.time)
        self._analyst = Analyst(self._history, self._anomalies, settings, clock.time())
        self._book = Book(
            self._register,
            run_sync=ctx.run_sync,
            tell=self._tell,
            time=clock.time,
            remembered=max(REMEMBERED, 10 * settings.cool_down),
        )
        await self._book.load()

        self._mode: Mode = settings.mode_in((await ctx.call(GetStatus())).profile)
        proposer = Proposer(settings.proposer(self._mode))
        self._examiner = Examiner(ctx, self._analyst, proposer, self._book, self._register, settings.window)
        self._agreements = Agreements(ctx, self._mode)
        self._consumer = Consumer(ctx, self._agreements, self._mode)
        self._improver = Improver(ctx, self._book, self._history, self._consumer, self._agreements, settings.trial)

        ctx.every(settings.analysis_interval, self._run_cycle)
        ctx.every(settings.trial.every, self._improver.look)
        ctx.every(ROLL_UP_SEC, self._writer.roll_up)
        ctx.every(SAVE_SEC, self._save)

    async def stop(self) -> None:
        """Keep what the detectors have learnt."""
        await self._save()

    # A swap

    async def hand_over(self) -> TrialState:
        """Let the next generation go on with the trial."""
        await self._save()
        trial, on_no_disk = self._improver.trial, self.ctx.data_dir is None
        return TrialState(
            proposal="" if trial is None else trial.proposal.id,
            begun=0.0 if trial is None else trial.begun,
            calm=0.0 if trial is None else trial.calm,
            proposals=tuple(self._book.all()) if on_no_disk else (),
            outcomes=self._book.outcomes if on_no_disk else (),
        )

    async def take_over(self, state: TrialState) -> None:
        """Go on where the generation before is."""
        await self._book.take_over(state.proposals, state.outcomes)
        await self.ctx.run_sync(self._anomalies.load)
        if state.proposal:
            self._improver.go_on(state.proposal, state.begun, state.calm)

    # Loops

    async def _run_cycle(self) -> None:
        await self._improve()
        await self._improver.look()

    async def _improve(self) -> tuple[Proposal, ...]:
        async with self._improving:  # two at once would propose the same twice
            propose = self._mode != "off"
            _, found = await self._examiner.examine(propose=propose)
            return tuple(await self._improver.take(found)) if propose else ()

    async def _save(self) -> None:
        await self.ctx.run_sync(self._save_detectors)

    def _save_detectors(self) -> None:
        with suppress(DatabaseUnusableError):  # a history that cannot be read has forgotten nothing
            self._anomalies.retain({info.name for info in self._history.names()})
        self._anomalies.save()

    async def _tell(self, proposal: Proposal) -> None:
        self.ctx.log.info("proposal %s is %s: %s", proposal.id, proposal.state, proposal.reason or proposal.rationale)
        await self.ctx.publish(m.ProposalChanged(proposal))

    # Recording

    async def record_performance_metric(
        self, name: str, value: float, unit: str = "", context: Mapping[str, Any] | None = None
    ) -> None:
        """Keep a point of now: on disk, where the host has a data directory.

        Raises:
            ValueError: It is no number, or its metric has another unit.
            DatabaseUnusableError: The disk does not take it.
        """
        await self._recorder.record(m.MetricPoint(name, value, unit, context=dict(context or {})))

    @handler
    async def record(self, request: m.RecordMetric) -> m.Recorded:
        """Keep a point; raises ``ValueError`` for one that is no number or changes its metric's unit."""
        return await self._recorder.record(request)

    @handler
    async def record_many(self, request: m.RecordMetrics) -> m.RecordedMetrics:
        """Keep the points that can be kept."""
        return await self._recorder.record_each(request.points)

    @handler
    async def forget(self, request: m.ForgetMetric) -> m.Forgotten:
        """Drop a metric; raises ``LookupError`` if it has no history."""
        return await self._recorder.forget(request.name)

    @handler
    async def rename(self, request: m.RenameMetric) -> m.Renamed:
        """Give a metric another name; its detector learns anew."""
        return await self._recorder.rename(request.name, request.new)

    @handler
    async def points(self, request: m.GetPoints) -> m.StoredPoints:
        """Say what is kept of a metric; raises ``LookupError`` for a name that has no history."""
        return await self.ctx.run_sync(self._analyst.stored, request, self.ctx.clock.time())

    # Analysis

    async def get_metric_trends(self, name: str | None = None, time_window: float = 86_400.0) -> m.Trends:
        """Say where one metric is heading, or all, over the last ``time_window`` seconds.

        Raises:
            UnknownMetricError: There is no history of that name.
        """
        now = self.ctx.clock.time()
        return m.Trends(time_window, await self.ctx.run_sync(self._analyst.trends, name, now, time_window))

    @handler(timeout=SLOW_SEC)
    async def tell_trends(self, request: m.GetTrends) -> m.Trends:
        """Analyse one metric, or all; raises ``LookupError`` for a name that has no history."""
        return await self.get_metric_trends(request.name, request.window)

    @handler
    async def metrics(self, _: m.ListMetrics) -> m.MetricList:
        """Say which metrics there are."""
        infos = await self.ctx.run_sync(self._history.names)
        return m.MetricList(tuple(m.MetricEntry(info.name, info.unit, info.first, info.last) for info in infos))

    @handler(timeout=SLOW_SEC)
    async def metric(self, request: m.GetMetric) -> m.MetricReport:
        """Say all that is known of a metric; raises ``LookupError`` for a name that has no history."""
        return await self.ctx.run_sync(self._analyst.report, request, self.ctx.clock.time())

    @handler(timeout=SLOW_SEC)
    async def analyse(self, _: m.Analyse) -> m.AnalysisCycle:
        """Analyse all metrics."""
        return (await self._examiner.examine(propose=False))[0]

    @handler
    async def cycles(self, request: m.GetAnalysisCycles) -> m.AnalysisCycles:
        """Say what the latest analyses found."""
        found = await self.ctx.run_sync(self._register.cycles, m.AnalysisCycle, request.limit)
        return m.AnalysisCycles(tuple(reversed(found)))

    # Proposals

    @handler
    async def proposals(self, request: m.ListProposals) -> m.ProposalList:
        """Say what was proposed."""
        found = self._book.all() if request.state is None else self._book.all(request.state)
        return m.ProposalList(tuple(found[: request.limit]), self._examiner.passed)

    @handler(timeout=SLOW_SEC)
    async def propose(self, _: m.MakeProposals) -> m.ProposalList:
        """Analyse and propose."""
        return m.ProposalList(await self._improve(), self._examiner.passed)

    @handler(timeout=SLOW_SEC)
    async def carry_out(self, request: m.CarryOut) -> m.ProposalReceipt:
        """Carry out a proposal that is in the register as it is sent; raises ``LookupError`` if it is not."""
        async with self._carrying_out:
            known, trial = self._book.as_sent(request.proposal), self._improver.trial
            if trial is not None:
                return m.ProposalReceipt(known.id, "held", f"{trial.proposal.id} is on trial")
            return await self._consumer.carry_out(known, self._sender())

    def _sender(self) -> str:
        """Return who sends what is handled now, ``""`` for ourselves."""
        call = current_call()
        if call is None or (call.caller.kind, call.caller.name) == ("plugin", self.name):
            return ""
        return str(call.caller)

    @handler(timeout=SLOW_SEC)
    async def take_back(self, request: m.TakeBack) -> m.ProposalReceipt:
        """Take back a proposal that the engine wants taken back; raises ``LookupError`` for an unknown one."""
        known = self._book.as_sent(request.proposal)
        if not self._improver.waits_for(known.id):
            return m.ProposalReceipt(known.id, "refused", "nobody waits for that; send 'selfimprovement.undo' instead")
        return await self._consumer.take_back(known, request.reason)

    @handler(timeout=SLOW_SEC)
    async def take_result(self, request: m.ProposalResult) -> m.ResultTaken:
        """Hear what became of a proposal; raises ``LookupError`` for an unknown one."""
        moved = await self._improver.take_result(request)
        return m.ResultTaken(moved.id, moved.state)

    @handler(timeout=SLOW_SEC)
    async def approve(self, request: m.ApproveProposal) -> m.ProposalChanged:
        """Let a proposal be carried out; raises ``ApprovalError`` if a plugin asks for it: people approve."""
        call = current_call()
        if call is not None and call.caller.kind == "plugin":
            raise ApprovalError(request.proposal_id, str(call.caller))
        why = _said("approved", request.reason)
        return m.ProposalChanged(await self._improver.approve(request.proposal_id, request.reason, why))

    @handler(timeout=SLOW_SEC)
    async def reject(self, request: m.RejectProposal) -> m.ProposalChanged:
        """Have a proposal not carried out."""
        rejected = await self._improver.reject(request.proposal_id, _said("rejected", request.reason))
        call = current_call()
        if call is not None and call.caller.kind != "plugin":
            try:
                await self._agreements.pass_on(rejected, request.reason, agrees=False)
            except AetherraError as exc:
                self.ctx.log.info("proposal %s is rejected, and waits for approval elsewhere: %s", rejected.id, exc)
        return m.ProposalChanged(rejected)

    @handler(timeout=SLOW_SEC)
    async def undo(self, request: m.UndoKept) -> m.ProposalChanged:
        """Take back what is on trial or kept."""
        await self._improver.undo(request.proposal_id, _said("taken back", request.reason))
        return m.ProposalChanged(self._book.get(request.proposal_id))

    @handler
    async def explain(self, request: m.ExplainProposal) -> m.Explanation:
        """Say why something was proposed, and what became of it."""
        proposal = await self._book.recall(request.proposal_id)
        return await self.ctx.run_sync(explanation, proposal, self._book)

    @handler(timeout=SLOW_SEC)
    async def strategies(self, request: m.GetStrategies) -> m.StrategyList:
        """Say what is known to work."""
        return m.StrategyList(await self.ctx.run_sync(self._book.tried, request.metric, request.limit))

    @handler(timeout=SLOW_SEC)
    async def simulate(self, request: m.Simulate) -> m.SimulationReport:
        """Replay the past."""
        return await self._examiner.rehearse(request)

    # What it hears

    @handler
    async def hear_of_act(self, event: Acted) -> None:
        """Hear that homeostasis changed the host, so that nobody can say what our own change did."""
        if event.changed and not event.dry_run:
            self._improver.disturb(f"homeostasis acted: {event.summary}")

    @handler
    async def hear_of_swap(self, event: CodeSwapped) -> None:
        """Hear that other code than this was swapped."""
        if event.plugin != self.name:
            self._improver.disturb(f"the code of {event.plugin} was swapped")

    @handler
    async def hear_of_rollback(self, event: CodeRolledBack) -> None:
        """Hear that other code than this was rolled back."""
        if event.plugin != self.name:
            self._improver.disturb(f"the code of {event.plugin} was rolled back")

    @handler
    async def hear_of_knob(self, event: KnobTurned) -> None:
        """Hear that a knob was turned."""
        await self._improver.turned(event)

    @handler(capacity=1, overflow="latest")
    async def hear_of_agreement(self, _: ApprovalDecided) -> None:
        """Hear that a person has said something of what waits for them."""
        await self._improver.hear_of_agreement()

    # Status

    @handler
    async def report(self, _: m.GetSelfImprovementStatus) -> m.SelfImprovementStatus:
        """Say what is in the history, and what came of it."""
        statistics = await self.ctx.run_sync(self._history.statistics)
        writer, trial, last = self._writer.statistics(), self._improver.trial, self._examiner.last
        aside = [str(one.set_aside) for one in (self._history, self._register) if one.set_aside is not None]
        parts = (self._recorder, self._examiner, self._book, self._anomalies)
        forecasts = [(one.confidence, one.helped) for one in self._book.outcomes if one.helped is not None]
        return m.SelfImprovementStatus(
            metrics=statistics.metrics,
            points=statistics.points,
            size=statistics.size,
            share=statistics.share,
            recorded=writer.stored,
            refused=writer.refused,
            set_aside=", ".join(aside),
            mode=self._mode,
            analyses=self._examiner.count,
            last_analysis=None if last is None else last.ts,
            last_analysis_seconds=None if last is None else last.seconds,
            proposals=self._book.counts(),
            on_trial="" if trial is None else trial.proposal.id,
            calibration=calibration(forecasts),
            problem=next(filter(None, (part.problem for part in parts)), ""),
            left_alone=await self._consumer.held(),
        )

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Tell how the engine itself does."""
        last, writer = self._examiner.last, self._writer.statistics()
        seconds = None if last is None else last.seconds
        yield MetricSample("analysis_seconds", seconds, "s", "" if last else "no analysis yet")
        yield MetricSample("open_proposals", float(len(self._book.open())), "proposals")
        yield MetricSample("refused_points", float(writer.refused), "points")

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Analyse what was collected, and propose upon it."""
        return [CycleStep("analyse", m.Analyse()), CycleStep("propose", m.MakeProposals())]


def _said(what: str, reason: str) -> str:
    call = current_call()
    who = "somebody" if call is None else str(call.caller)
    return f"{what} by {who}{f': {reason}' if reason else ''}"
