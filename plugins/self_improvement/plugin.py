"""The self-improvement plugin: wires what records, analyses, proposes and learns, and answers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import anyio
import msgspec

from aetherra.plugins import (
    AetherraError,
    CycleStep,
    GetStatus,
    KnobTurned,
    ListKnobs,
    MetricSample,
    Plugin,
    PluginContext,
    State,
    current_call,
    handler,
    hookimpl,
)
from aetherra.plugins.homeostasis.messages import Acted
from aetherra.plugins.self_improvement import messages as m
from aetherra.plugins.self_improvement.agreements import Agreements
from aetherra.plugins.self_improvement.analyst import Analyst, Look, metric_trend
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.book import REMEMBERED, Book, UnknownProposalError
from aetherra.plugins.self_improvement.consumer import Consumer
from aetherra.plugins.self_improvement.explanation import explain
from aetherra.plugins.self_improvement.heard import ApprovalDecided, CodeRolledBack, CodeSwapped
from aetherra.plugins.self_improvement.history import DatabaseUnusableError, HistoryWriter, MetricHistory, Point
from aetherra.plugins.self_improvement.improver import Improver
from aetherra.plugins.self_improvement.proposals import (
    Context,
    Impact,
    Outcome,
    Passed,
    Proposal,
    Proposer,
    ProposerSettings,
    Round,
    Simulation,
    Strategies,
    Strategy,
    calibration,
    simulate,
)
from aetherra.plugins.self_improvement.proposals.register import Register
from aetherra.plugins.self_improvement.settings import Mode, SelfImprovementSettings

__all__ = ["ApprovalError", "SelfImprovementEngine"]

ROLL_UP_SEC = 600.0
"""Seconds between two times that old points become minutes and hours."""
SAVE_SEC = 300.0
"""Seconds between two times that detectors are saved."""
STEPS_AHEAD = 24
"""Of a forecast that are told of one metric: enough for a day's season to be seen in."""
MOST_TOLD = 1_000
"""Strategies that are told with a proposal."""
SLOW_SEC = 300.0
"""Seconds that an analysis or a simulation may take."""


class ApprovalError(AetherraError, PermissionError):
    """A plugin would approve what waits for a person."""

    def __init__(self, proposal: str, who: str) -> None:
        super().__init__(proposal, who)
        self.proposal, self.who = proposal, who

    def __str__(self) -> str:
        return f"proposal {self.proposal!r} waits for a person, and {self.who} is none: 'aetherra improve approve'"


class TrialState(State):
    """What the next generation must know of the trial; in a host that keeps nothing on disk, of all proposals.

    Attributes:
        proposal: The change that is on trial; ``""`` if there is none.
        begun: Since when, Unix seconds.
        calm: Since when nothing else had changed the host before, Unix seconds.
        proposals: That are on no disk.
        outcomes: The same of what they came to.
    """

    proposal: str = ""
    begun: float = 0.0
    calm: float = 0.0
    proposals: tuple[Proposal, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


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
        self._anomalies = Anomalies(folder)
        await ctx.run_sync(self._anomalies.load)
        if self._anomalies.problem:
            ctx.log.warning("%s", self._anomalies.problem)
        self._analyst = Analyst(self._history, self._anomalies, settings, clock.time())

        profile = (await ctx.call(GetStatus())).profile
        by_profile: Mode = "propose" if profile in ("dev", "prod") else "act"
        self._mode: Mode = settings.mode or by_profile
        self._proposer = Proposer(_proposer_settings(settings, self._mode))
        self._book = Book(
            self._register,
            run_sync=ctx.run_sync,
            tell=self._tell,
            time=clock.time,
            remembered=max(REMEMBERED, 10 * settings.cool_down),
        )
        await self._book.load()
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

    _cycles = 0
    _last: m.AnalysisCycle | None = None
    _passed: tuple[Passed, ...] = ()
    _cycle_problem = ""
    _record_problem = ""

    # A swap

    async def hand_over(self) -> TrialState:
        """Let the next generation go on with the trial."""
        await self._save()
        state, trial = TrialState(), self._improver.trial
        if self.ctx.data_dir is None:
            proposals, outcomes = tuple(self._book.all()), self._book.outcomes
            state = msgspec.structs.replace(state, proposals=proposals, outcomes=outcomes)
        if trial is not None:
            where = {"proposal": trial.proposal.id, "begun": trial.begun, "calm": trial.calm}
            state = msgspec.structs.replace(state, **where)
        return state

    async def take_over(self, state: TrialState) -> None:
        """Go on where the generation before is."""
        for proposal in state.proposals:
            await self.ctx.run_sync(self._register.save, proposal)
        for outcome in state.outcomes:
            await self.ctx.run_sync(self._register.record_outcome, outcome)
        await self._book.load()
        await self.ctx.run_sync(self._anomalies.load)
        if state.proposal:
            self._improver.go_on(state.proposal, state.begun, state.calm)

    # Loops

    async def _run_cycle(self) -> None:
        await self._improve()
        await self._improver.look()

    async def _save(self) -> None:
        problem = self._anomalies.problem
        await self.ctx.run_sync(self._save_detectors)
        if self._anomalies.problem and self._anomalies.problem != problem:
            self.ctx.log.warning("%s", self._anomalies.problem)

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
        await self._record([Point(name, unit, self.ctx.clock.time(), value, dict(context or {}))])

    @handler
    async def record(self, request: m.RecordMetric) -> m.Recorded:
        """Keep a point; raises ``ValueError`` for one that is no number or changes its metric's unit."""
        return m.Recorded(await self._record([self._point(request)]))

    @handler
    async def record_many(self, request: m.RecordMetrics) -> m.RecordedMetrics:
        """Keep the points that can be kept."""
        points = [self._point(point) for point in request.points]
        problems = await self._writer.record_each(points)
        stored = [point for point, problem in zip(points, problems, strict=True) if problem is None]
        await self.ctx.run_sync(self._anomalies.observe, stored)
        refused = [
            m.RefusedPoint(index, points[index].name, str(problem))
            for index, problem in enumerate(problems)
            if problem is not None
        ]
        return m.RecordedMetrics(len(stored), tuple(refused))

    async def _record(self, points: list[Point]) -> int:
        try:
            stored = await self._writer.record(points)
        except DatabaseUnusableError as exc:
            self._record_problem = str(exc)
            raise
        self._record_problem = ""
        await self.ctx.run_sync(self._anomalies.observe, points)
        return stored

    def _point(self, point: m.RecordMetric | m.MetricPoint) -> Point:
        timestamp = self.ctx.clock.time() if point.timestamp is None else point.timestamp
        return Point(point.name, point.unit, timestamp, point.value, point.context)

    @handler
    async def forget(self, request: m.ForgetMetric) -> m.Forgotten:
        """Drop a metric; raises ``LookupError`` if it has no history."""
        points = await self.ctx.run_sync(self._history.forget, request.name)
        await self.ctx.run_sync(self._anomalies.forget, request.name)
        return m.Forgotten(request.name, points)

    @handler
    async def rename(self, request: m.RenameMetric) -> m.Renamed:
        """Give a metric another name; its detector learns anew."""
        await self.ctx.run_sync(self._history.rename, request.name, request.new)
        await self.ctx.run_sync(self._anomalies.forget, request.name)
        return m.Renamed(request.name, request.new)

    @handler
    async def points(self, request: m.GetPoints) -> m.StoredPoints:
        """Say what is kept of a metric; raises ``LookupError`` for a name that has no history."""
        return await self.ctx.run_sync(self._stored, request, self.ctx.clock.time())

    def _stored(self, request: m.GetPoints, now: float) -> m.StoredPoints:
        info, since = self._analyst.info(request.name), now - request.window
        contexts = {
            point.timestamp: point.context
            for point in self._history.recorded(request.name, since, limit=request.limit)
            if point.context
        }
        rows = self._history.aggregates(request.name, since, limit=request.limit)
        points = tuple(
            m.StoredPoint(
                row.timestamp,
                row.mean,
                row.count,
                row.minimum,
                row.maximum,
                row.width,
                contexts.get(row.timestamp, {}) if row.width == 0 else {},
            )
            for row in rows
        )
        return m.StoredPoints(info.name, info.unit, points)

    # Analysis

    async def get_metric_trends(self, name: str | None = None, time_window: float = 86_400.0) -> m.Trends:
        """Say where one metric is heading, or all, over the last ``time_window`` seconds.

        Raises:
            UnknownMetricError: There is no history of that name.
        """
        return m.Trends(time_window, await self.ctx.run_sync(self._trends, name, self.ctx.clock.time(), time_window))

    @handler(timeout=SLOW_SEC)
    async def tell_trends(self, request: m.GetTrends) -> m.Trends:
        """Analyse one metric, or all; raises ``LookupError`` for a name that has no history."""
        return await self.get_metric_trends(request.name, request.window)

    def _trends(self, name: str | None, now: float, window: float) -> tuple[m.MetricTrend, ...]:
        return tuple(metric_trend(self._analyst.analyse(info, now, window)) for info in self._analyst.infos(name))

    @handler
    async def metrics(self, _: m.ListMetrics) -> m.MetricList:
        """Say which metrics there are."""
        infos = await self.ctx.run_sync(self._history.names)
        return m.MetricList(tuple(m.MetricEntry(info.name, info.unit, info.first, info.last) for info in infos))

    @handler(timeout=SLOW_SEC)
    async def metric(self, request: m.GetMetric) -> m.MetricReport:
        """Say all that is known of a metric; raises ``LookupError`` for a name that has no history."""
        return await self.ctx.run_sync(self._report, request, self.ctx.clock.time())

    def _report(self, request: m.GetMetric, now: float) -> m.MetricReport:
        info, since = self._analyst.info(request.name), now - request.window
        points = self._analyst.points(request.name, now, request.window, request.limit)
        return m.MetricReport(
            name=info.name,
            unit=info.unit,
            window=request.window,
            points=tuple(points),
            analysis=self._analyst.analyse(info, now, request.window, points, STEPS_AHEAD),
            anomalies=tuple(self._anomalies.since(since, request.name)),
            score=self._anomalies.score(request.name),
        )

    @handler(timeout=SLOW_SEC)
    async def analyse(self, _: m.Analyse) -> m.AnalysisCycle:
        """Analyse all metrics."""
        return (await self._cycle(propose=False))[0]

    @handler
    async def cycles(self, request: m.GetAnalysisCycles) -> m.AnalysisCycles:
        """Say what the latest analyses found."""
        found = await self.ctx.run_sync(self._register.cycles, m.AnalysisCycle, request.limit)
        return m.AnalysisCycles(tuple(reversed(found)))

    async def _improve(self) -> tuple[Proposal, ...]:
        async with self._improving:  # two at once would propose the same twice
            _, found = await self._cycle(propose=self._mode != "off")
            return () if found is None else tuple(await self._improver.take(found))

    async def _cycle(self, *, propose: bool) -> tuple[m.AnalysisCycle, Round | None]:
        """Analyse, see what should be proposed upon it, log it and tell it."""
        clock = self.ctx.clock
        self._cycles += 1
        number, at, begun, window = self._cycles, clock.time(), clock.monotonic(), self.settings.window
        try:
            knobs = (await self.ctx.call(ListKnobs())).knobs
            look, found = await self.ctx.run_sync(self._look_at_all, at, window, knobs, self._book.all())
        except Exception as exc:
            self._cycle_problem = f"the last analysis failed: {exc!r}"
            await self._log(m.AnalysisCycle(number, at, clock.monotonic() - begun, window, 0, 0, problem=repr(exc)))
            raise
        self._cycle_problem, self._passed = "", found.passed
        cycle = m.AnalysisCycle(
            number=number,
            ts=at,
            seconds=clock.monotonic() - begun,
            window=window,
            metrics=len(look.analyses),
            points=look.points,
            found=self._analyst.found(look, found.problems),
            trends=tuple(metric_trend(one) for one in look.analyses),
            correlations=look.correlations,
            proposed=tuple(one.id for one in found.proposals) if propose else (),
        )
        await self._log(cycle)
        return cycle, found if propose else None

    def _look_at_all(self, now: float, window: float, knobs: Any, past: list[Proposal]) -> tuple[Look, Round]:
        look = self._analyst.look(now, window)
        found = self._proposer.propose(
            now,
            look.analyses,
            knobs,
            strategies=self._book.strategies,
            proposals=past,
            relations=look.correlations,
        )
        return look, found

    async def _log(self, cycle: m.AnalysisCycle) -> None:
        self._last = cycle
        short = msgspec.structs.replace(cycle, trends=(), correlations=())
        try:
            await self.ctx.run_sync(self._register.log_cycle, cycle.ts, short)
        except AetherraError as exc:
            self.ctx.log.warning("an analysis is not in the log: %s", exc)
        await self.ctx.publish(cycle)

    # Proposals

    @handler
    async def proposals(self, request: m.ListProposals) -> m.ProposalList:
        """Say what was proposed."""
        found = self._book.all() if request.state is None else self._book.all(request.state)
        return m.ProposalList(tuple(found[: request.limit]), self._passed)

    @handler(timeout=SLOW_SEC)
    async def propose(self, _: m.MakeProposals) -> m.ProposalList:
        """Analyse and propose."""
        return m.ProposalList(await self._improve(), self._passed)

    @handler(timeout=SLOW_SEC)
    async def carry_out(self, request: m.CarryOut) -> m.ProposalReceipt:
        """Carry out a proposal that is in the register as it is sent; raises ``LookupError`` if it is not."""
        async with self._carrying_out:
            known, trial = self._known(request.proposal), self._improver.trial
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
        known = self._known(request.proposal)
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
        """Let a proposal be carried out; raises ``ApprovalError`` if a plugin asks for it: people approve.

        Their word counts where agreements are kept, too, and if it does not there, it does not here.
        """
        call = current_call()
        if call is not None and call.caller.kind == "plugin":
            raise ApprovalError(request.proposal_id, str(call.caller))
        known = self._book.get(request.proposal_id)
        known.moved("approved", self.ctx.clock.time())
        await self._agreements.pass_on(known, request.reason, agrees=True)
        await self._improver.approve(known, _said("approved", request.reason))
        return m.ProposalChanged(self._book.get(request.proposal_id))

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
        proposal = await self._recall(request.proposal_id)

        def its_own(_: Strategies) -> Iterable[Context]:
            return [proposal.context]

        known = await self.ctx.run_sync(self._strategies, its_own, proposal.knob, MOST_TOLD)
        return m.Explanation(proposal.id, explain(proposal, known), proposal, known)

    async def _recall(self, proposal: str) -> Proposal:
        """Return a proposal, also one that was concluded long ago; raises ``UnknownProposalError``."""
        try:
            return self._book.get(proposal)
        except UnknownProposalError:
            kept = await self.ctx.run_sync(self._register.get, proposal)
            if kept is None:
                raise
            return kept

    @handler(timeout=SLOW_SEC)
    async def strategies(self, request: m.GetStrategies) -> m.StrategyList:
        """Say what is known to work."""

        def contexts(library: Strategies) -> Iterable[Context]:
            latest = reversed(library.outcomes)
            return {one.context: None for one in latest if request.metric in ("", one.context.metric)}

        return m.StrategyList(await self.ctx.run_sync(self._strategies, contexts, "", request.limit))

    def _strategies(
        self, contexts: Callable[[Strategies], Iterable[Context]], knob: str, most: int
    ) -> tuple[Strategy, ...]:
        library = self._book.strategies
        found = (one for context in contexts(library) for one in library.lookup(context) if knob in ("", one.knob))
        return tuple(islice(found, most))

    @handler(timeout=SLOW_SEC)
    async def simulate(self, request: m.Simulate) -> m.SimulationReport:
        """Replay the past."""
        knobs = (await self.ctx.call(ListKnobs())).knobs
        return m.SimulationReport(await self.ctx.run_sync(self._simulate, request, self.ctx.clock.time(), knobs))

    def _simulate(self, request: m.Simulate, now: float, knobs: Any) -> Simulation:
        window, infos = self.settings.window, self._history.names()

        def history(since: float, until: float) -> dict[str, list[tuple[float, float]]]:
            return {info.name: self._history.points(info.name, since, until) for info in infos}

        def analyse(series: Mapping[str, Any], at: float) -> tuple[Iterable[Any], Iterable[Any]]:
            look = self._analyst.look_at(infos, series, at, window)
            return look.analyses, look.correlations

        return simulate(
            self._proposer,
            history,
            analyse,
            knobs=knobs,
            outcomes=self._book.outcomes,
            since=now - request.window,
            until=now,
            step=request.step,
            window=window,
        )

    def _known(self, proposal: Proposal) -> Proposal:
        known = self._book.get(proposal.id)
        if known != proposal:
            raise ValueError(f"proposal {proposal.id!r} is {known.state!r} in the register, and not as it was sent")
        return known

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
        writer, trial, last = self._writer.statistics(), self._improver.trial, self._last
        aside = [str(one.set_aside) for one in (self._history, self._register) if one.set_aside is not None]
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
            analyses=self._cycles,
            last_analysis=None if last is None else last.ts,
            last_analysis_seconds=None if last is None else last.seconds,
            proposals=self._book.counts(),
            on_trial="" if trial is None else trial.proposal.id,
            calibration=calibration(forecasts),
            problem=self._record_problem or self._cycle_problem or self._book.problem or self._anomalies.problem,
            left_alone=await self._consumer.held(),
        )

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Tell how the engine itself does."""
        last, writer = self._last, self._writer.statistics()
        seconds = None if last is None else last.seconds
        yield MetricSample("analysis_seconds", seconds, "s", "" if last else "no analysis yet")
        yield MetricSample("open_proposals", float(len(self._book.open())), "proposals")
        yield MetricSample("refused_points", float(writer.refused), "points")

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Analyse what was collected, and propose upon it."""
        return [CycleStep("analyse", m.Analyse()), CycleStep("propose", m.MakeProposals())]


def _proposer_settings(settings: SelfImprovementSettings, mode: Mode) -> ProposerSettings:
    needs_approval: tuple[Impact, ...] = ("high",) if mode == "act" else ("low", "medium", "high")
    return ProposerSettings(
        confidence_threshold=settings.confidence_threshold,
        max_proposals=settings.max_proposals,
        expiry=settings.expiry,
        horizon=settings.horizon,
        cool_down=settings.cool_down,
        give_back_after=settings.give_back_after,
        explore=settings.explore,
        needs_approval=needs_approval,
        setpoints=settings.setpoints,
        directions=settings.directions,
    )


def _said(what: str, reason: str) -> str:
    call = current_call()
    who = "somebody" if call is None else str(call.caller)
    return f"{what} by {who}{f': {reason}' if reason else ''}"
