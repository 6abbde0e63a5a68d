"""The homeostasis plugin: wires what measures, judges, decides, acts and explains, and answers for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aetherra.plugins import (
    AetherraError,
    CycleStep,
    DoubtService,
    GetStatus,
    HandlerError,
    Plugin,
    PluginContext,
    Request,
    ServiceStatus,
    handler,
    hookimpl,
)
from aetherra.plugins.homeostasis import messages as m
from aetherra.plugins.homeostasis import phases
from aetherra.plugins.homeostasis.acts import Acts
from aetherra.plugins.homeostasis.actuators import all_actuators
from aetherra.plugins.homeostasis.collector import Collector
from aetherra.plugins.homeostasis.corrector import AutonomousErrorCorrector
from aetherra.plugins.homeostasis.corrector import messages as c
from aetherra.plugins.homeostasis.cycle import Cycle
from aetherra.plugins.homeostasis.dlq_monitor import DlqMonitor
from aetherra.plugins.homeostasis.errands import CORRECTION_SEC, Errands
from aetherra.plugins.homeostasis.executor import Executor
from aetherra.plugins.homeostasis.explanation import answer
from aetherra.plugins.homeostasis.forwarder import RECEIVER, ROUND_SEC, Forwarder
from aetherra.plugins.homeostasis.freeze import Freeze
from aetherra.plugins.homeostasis.gate import CandidateError, Gate
from aetherra.plugins.homeostasis.health import DEFAULT_SETPOINTS
from aetherra.plugins.homeostasis.hold import Hold
from aetherra.plugins.homeostasis.incorporation_metrics import IncorporationMetrics
from aetherra.plugins.homeostasis.knowledge import Knowledge
from aetherra.plugins.homeostasis.leave import Leave, asker
from aetherra.plugins.homeostasis.ledger import Ledger
from aetherra.plugins.homeostasis.metric_history import MetricHistory
from aetherra.plugins.homeostasis.prometheus import Counts, exposition
from aetherra.plugins.homeostasis.requests import Requests
from aetherra.plugins.homeostasis.runlevel import RunlevelMachine
from aetherra.plugins.homeostasis.saved_state import SavedState
from aetherra.plugins.homeostasis.sensors import ProcessSensors, Reading
from aetherra.plugins.homeostasis.settings import INTERVALS, HomeostasisSettings
from aetherra.plugins.homeostasis.standstill import Standstill
from aetherra.plugins.homeostasis.state import HomeostasisState
from aetherra.plugins.homeostasis.status_keeper import StatusKeeper
from aetherra.plugins.homeostasis.supervisor import Supervisor
from aetherra.plugins.homeostasis.swap_metrics import CodeRolledBack, CodeSwapped, SwapMetrics
from aetherra.plugins.homeostasis.watch import Trouble, Watch

COLLECT_SEC = 2.0
"""Seconds that somebody who asks for a measurement waits for it to be forwarded; what takes longer was not taken."""


class Homeostasis(Plugin[HomeostasisSettings]):
    """Keeps the host well: measures, decides, acts, verifies and learns; a counter counts what happened."""

    name = "homeostasis"
    service = "homeostasis_system"
    version = "2"
    capabilities = (
        "call:kernel.*",
        "call:hmr.reload",
        "call:hmr.rollback",
        "call:selfimprovement.record_metric",
        "call:selfinc.status",
        "submit:homeostasis.*",
    )

    async def start(self, ctx: PluginContext) -> None:
        """Put the parts together. The first cycle comes once this generation serves."""
        settings, clock, folder = self.settings, ctx.clock, ctx.data_dir
        policy, host = settings.policy(), await ctx.call(GetStatus())

        freeze = Freeze(None if folder is None else folder / "frozen.json", clock.time)
        self._ledger = Ledger(folder, clock.time)
        ctx.defer(self._ledger.close)
        self._gate = Gate(freeze, profile=host.profile, mode=settings.mode, actuators=settings.actuators)
        self._hold = Hold(freeze, Standstill(ctx, clock.move_on_after), self._ledger, ctx.log)
        self._leave = Leave(ctx)
        self._knowledge = Knowledge(
            policy,
            SavedState(folder),
            f"{host.pid}, begun at {clock.monotonic() - host.uptime:.1f}",
            clock=clock.monotonic,
            series=f"{int(clock.time()):x}-{ctx.identity.generation}.",  # no id comes twice, whatever is lost
            warn=ctx.log.warning,
        )
        self._errands = Errands(
            ctx,
            self._gate,
            self._hold,
            self._leave,
            policy,
            lambda: self._knowledge.controller,
            settings.corrector.timeout,
        )
        self._corrector = AutonomousErrorCorrector(
            ctx,
            settings.corrector,
            act=self._errands.submit,
            held=self._errands.held,
            treated=self._errands.treated,
            leave=self._leave,
        )
        ctx.defer(self._corrector.stop)

        self._history = MetricHistory(clock.monotonic, clock.time, interval=settings.history_interval)
        self._runlevels = RunlevelMachine(settings.runlevels, monotonic=clock.monotonic, time=clock.time)
        self._forwarder = Forwarder(ctx)
        self._incorporation = IncorporationMetrics(ctx)
        self._swaps = SwapMetrics()
        self._dlq = DlqMonitor(ctx.call, monotonic=clock.monotonic, time=clock.time)
        sensors = await ctx.enter(ProcessSensors(ctx.root))
        self._keeper = StatusKeeper(self._doubt)
        self._cycle = Cycle(
            ctx,
            collector=Collector(ctx, sensors, self._counted, self._heard),
            supervisor=Supervisor({**DEFAULT_SETPOINTS, **settings.setpoints}),
            keeper=self._keeper,
            runlevels=self._runlevels,
            ledger=self._ledger,
            history=self._history,
            hold=self._hold,
        )
        self._wire()

        interval = settings.interval if settings.interval is not None else INTERVALS[host.profile]
        self._watch = Watch(clock, interval=interval, limit=settings.cycle_limit, tell=self._tell_trouble)
        ctx.start_soon(self._watch.run, self._run_cycle)
        ctx.start_soon(self._forward_first)
        ctx.every(settings.forward_interval, self._forward)
        ctx.every(settings.dlq_interval, self._look_at_dead_letters)
        ctx.every(settings.history_interval, self._save)

    def _wire(self) -> None:
        """Have all go by what is known, which is another one's after a swap."""
        self._cycle.controller = self._knowledge.controller
        self._acts = Acts(all_actuators(self.ctx), self._gate, self._knowledge.changes, self._leave)
        executor = Executor(self.ctx, self._acts, self._gate, self._leave, concluded=self._cycle.conclude)
        self._cycle.executor = executor
        self._requests = Requests(self.ctx, self._acts, executor, self._ledger)

    async def stop(self) -> None:
        """Say that the host stops, if it does and not homeostasis alone, and keep what was learnt."""
        await self._keeper.let_go()
        if self._in_charge:
            await self._see_whether_it_stops()
            await self._save()

    async def _see_whether_it_stops(self) -> None:
        kernel = self.ctx.registry.get_service_info("kernel")
        if kernel is not None and kernel.status is ServiceStatus.STOPPING:
            await self._cycle.tell(self._runlevels.stop())

    # A swap

    async def hand_over(self) -> HomeostasisState:
        """Give the next generation what was learnt, and what stands of what was changed."""
        self._in_charge = False
        known = self._knowledge.now()
        return HomeostasisState(self._cycle.number, known.controller, known.changes)

    async def take_over(self, state: HomeostasisState) -> None:
        """Go on where the generation before is."""
        self._cycle.number = state.cycle
        self._knowledge.take_over(state.controller, state.changes)
        self._wire()

    # Loops

    @property
    def _serves(self) -> bool:
        """Whether this generation is the one that serves: two must not control one host."""
        info = self.ctx.registry.get_service_info(self.service)
        return info is not None and info.generation == self.ctx.identity.generation

    async def _run_cycle(self) -> None:
        if self._serves:
            self._in_charge = True
            self._corrector.start()
            await self._see_whether_it_stops()
            await self._cycle.run()
            self.ctx.heartbeat()

    async def _forward_first(self) -> None:
        """Forward as soon as there is somebody to forward to; plugins come up in no order of ours."""
        try:
            await self.ctx.registry.wait_for(RECEIVER, timeout=self.settings.forward_interval)
        except AetherraError:
            return
        if self._serves:
            await self._forward()

    async def _forward(self, within: float = ROUND_SEC) -> None:
        """Give the last readings and their score to self-improvement, each once; ask self-incorporation for its own."""
        await self._incorporation.ask()
        if self._cycle.last is not None:
            await self._forwarder.forward_once(self._cycle.last, within)

    _in_charge = False
    """Whether what is to be kept is here: not before the first cycle, and not once it was handed over."""

    async def _look_at_dead_letters(self) -> None:
        look = await self._dlq.look()
        if look.behind:
            self.ctx.log.warning("there are more dead letters than one look takes: the oldest are in no group")

    async def _save(self) -> None:
        await self.ctx.run_sync(self._knowledge.keep, self._knowledge.now())
        self._ledger.flush()

    # What parts ask of the whole

    async def _doubt(self, service: str, reason: str) -> None:
        await self.ctx.call(DoubtService(service, reason))

    def _counted(self) -> dict[str, int]:
        found = self._corrector.get_statistics()
        return {"log.warnings": found.seen, "log.exceptions": found.exceptions, "errors.detected": found.detected}

    def _heard(self, now: float) -> Iterator[tuple[Reading, float]]:
        yield from self._incorporation.read(now)
        for reading in self._swaps.read(now):
            yield reading, 0.0

    def _tell_trouble(self, trouble: Trouble) -> None:
        self._ledger.note("controller", trouble.text)

    # What it hears

    @handler
    async def hear_of_swap(self, event: CodeSwapped) -> None:
        """Remember when a plugin's code was swapped."""
        self._swaps.swapped(event, self.ctx.clock.monotonic())

    @handler
    async def hear_of_rollback(self, event: CodeRolledBack) -> None:
        """Remember that there is nothing to go back from."""
        self._swaps.rolled_back(event)

    # What it answers

    @handler
    async def collect(self, _: m.Collect) -> m.Measured:
        """Measure and forward, now."""
        measured = await self._cycle.measure()
        with self.ctx.clock.move_on_after(2 * COLLECT_SEC):
            await self._forward(COLLECT_SEC)
        return measured

    @handler(timeout=CORRECTION_SEC)
    async def correct(self, _: m.Correct) -> m.Corrections:
        """Look at what the log told, now."""
        self._check_serves()
        self._corrector.start()
        await self._corrector.work()
        found = self._corrector.get_statistics()
        return m.Corrections(found.detected, found.successful, found.advised, found.failed)

    @handler
    async def status(self, _: m.GetHomeostasisStatus) -> m.HomeostasisStatus:
        """Say what was done, phase by phase."""
        last, sent = self._cycle.last, self._forwarder.statistics()
        watch, decided, frozen = self._watch.statistics(), self._cycle.controller.status(), self._hold.why
        actuators = self._acts.list(decided.mistrusted)
        unknown = sum(metric.value is None for metric in last.metrics.values()) if last is not None else 0
        return m.HomeostasisStatus(
            runlevel=self._runlevels.level,
            mode=self._gate.mode,
            frozen=frozen,
            cycles=self._cycle.number,
            metrics=len(last.metrics) if last is not None else 0,
            unknown=unknown,
            health_score=last.health_score if last is not None else None,
            forwarded=sent.forwarded,
            forward_failed=sent.failed,
            last_forward_problem=sent.problem,
            phases=(
                phases.metrics(last, watch),
                phases.the_controller(decided, watch),
                phases.the_actuators(self._gate.mode, frozen, actuators, self._knowledge.changes.count),
                phases.supervision(self._cycle.health(), watch),
                phases.feedback(decided, self._cycle.effects),
                phases.observability(self._ledger.statistics(), len(self._history.rows()), self._history.left_out),
                phases.error_correction(self._corrector.get_statistics()),
                phases.bridge_to_self_improvement(sent, self._dlq.groups()),
                phases.bridge_from_self_incorporation(self._incorporation),
            ),
        )

    @handler(timeout=300.0)
    async def act(self, request: m.Act) -> m.Acted:
        """Have an actuator act."""
        self._check_serves()
        return await self._requests.act(request)

    @handler(timeout=300.0)
    async def undo(self, request: m.Undo) -> m.Acted:
        """Take back what stands."""
        self._check_serves()
        return await self._requests.undo(request)

    def _check_serves(self) -> None:
        if not self._serves:
            raise CandidateError(str(self.ctx.identity))

    @handler
    async def list_actuators(self, _: m.ListActuators) -> m.ActuatorList:
        """Say which actuators there are."""
        return m.ActuatorList(self._acts.list(self._cycle.controller.status().mistrusted))

    @handler
    async def freeze(self, request: m.Freeze) -> m.FreezeState:
        """Freeze all actuators."""
        until = None if request.seconds is None else self.ctx.clock.time() + request.seconds
        try:
            self._hold.freeze(asker(), request.reason, until)
        finally:
            await self._cycle.maintain()
        return self._hold.state()

    @handler
    async def unfreeze(self, request: m.Unfreeze) -> m.FreezeState:
        """Let actuators act again."""
        self._hold.unfreeze(asker(), request.reason)
        await self._cycle.maintain()
        return self._hold.state()

    @handler
    async def freeze_state(self, _: m.GetFreeze) -> m.FreezeState:
        """Say whether they are frozen."""
        return self._hold.state()

    @handler
    async def health(self, _: m.GetHostHealth) -> m.HostHealth:
        """Say how the host is."""
        return self._cycle.health()

    @handler
    async def explain(self, request: m.Explain) -> m.Explanations:
        """Say why something was done, or was not."""
        return m.Explanations(tuple(await self.ctx.run_sync(answer, self._ledger, request)))

    @handler
    async def prometheus(self, _: m.GetPrometheus) -> m.Prometheus:
        """Say the metrics as Prometheus reads them."""
        last, found = self._cycle.last, self._corrector.get_statistics()
        counts = Counts(found.detected, found.successful, self._forwarder.statistics().forwarded)
        metrics = {} if last is None else last.metrics
        return m.Prometheus(exposition(metrics, health=None if last is None else last.health_score, counts=counts))

    @handler
    async def history(self, request: m.GetMetricHistory) -> m.MetricHistoryReply:
        """Say the past of one metric."""
        past = self._history.past(request.name, request.since)
        metric = None if self._cycle.last is None else self._cycle.last.metrics.get(request.name)
        points = tuple(m.MetricPoint(ts, None if spread is None else spread.mean) for ts, spread in past)
        return m.MetricHistoryReply(request.name, "" if metric is None else metric.unit, points)

    @handler
    async def dead_letters(self, _: m.GetDeadLetterGroups) -> m.DeadLetterGroups:
        """Say what ends as dead letters."""
        return m.DeadLetterGroups(tuple(self._dlq.groups()), self._dlq.rate)

    @handler
    async def corrections(self, _: c.GetCorrections) -> c.CorrectorStatistics:
        """Say what was found in the log, and done about it."""
        return self._corrector.get_statistics()

    @handler(timeout=CORRECTION_SEC)
    async def install_module(self, request: c.InstallModule) -> c.ModuleInstalled:
        """Install a module that the settings allow."""
        async with self._errands.doing(request):
            return await self._corrector.install_module(request)

    @handler
    async def make_data_file(self, request: c.MakeDataFile) -> c.DataFileMade:
        """Make a file that the settings declare."""
        async with self._errands.doing(request):
            return await self._corrector.make_data_file(request)

    @handler
    async def rewrite_imports(self, request: c.RewriteImports) -> c.ImportsRewritten:
        """Rewrite imports of moved names, where the settings allow it."""
        async with self._errands.doing(request):
            return await self._corrector.rewrite_imports(request)

    @handler
    async def restore_edit(self, request: c.RestoreEdit) -> c.EditRestored:
        """Undo a rewriting."""
        async with self._errands.doing(request, undo=True):
            return await self._corrector.restore_edit(request)

    @handler(timeout=CORRECTION_SEC)
    async def bring_up(self, request: c.BringUp) -> c.BroughtUp:
        """Bring a plugin up."""
        way: Request[Any] = request.way
        async with self._errands.doing(way):
            try:
                await self.ctx.call(way, timeout=self.settings.corrector.timeout)
            except HandlerError as exc:
                raise (exc.__cause__ or exc) from None  # what kept it down is the next trouble, and not whom we asked
        return c.BroughtUp(request.plugin)

    @handler
    async def make_offered(self, request: c.MakeOffered) -> c.OfferedDone:
        """Make a correction that a plugin offers."""
        async with self._errands.doing(request):
            return await self._corrector.make_offered(request)

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Measure first, so that the other phases have something to go by; then mend what the log told."""
        return [CycleStep("collect", m.Collect()), CycleStep("correct", m.Correct())]
