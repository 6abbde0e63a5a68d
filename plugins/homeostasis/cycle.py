"""One cycle: measure, judge, decide, and send what was decided on its way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from aetherra.plugins import PluginContext, ServiceInfo
from aetherra.plugins.homeostasis.collector import Collector
from aetherra.plugins.homeostasis.decision import Controller, Decision, Effect, Observed, Outcome
from aetherra.plugins.homeostasis.executor import Executor
from aetherra.plugins.homeostasis.hold import Hold
from aetherra.plugins.homeostasis.ledger import Ledger
from aetherra.plugins.homeostasis.messages import ComponentHealth, HostHealth, Measured, Metric, RunlevelChanged
from aetherra.plugins.homeostasis.metric_history import MetricHistory
from aetherra.plugins.homeostasis.runlevel import RunlevelChange, RunlevelMachine
from aetherra.plugins.homeostasis.status_keeper import StatusKeeper
from aetherra.plugins.homeostasis.supervisor import Assessment, Supervisor

__all__ = ["Cycle"]

OURSELVES = "plugin.homeostasis."
"""Metrics that nothing is decided by: what controls does not restart itself, and whoever is refused here is not ill."""


class Cycle:
    """Turns measurements into a judgement of the host, and into decisions.

    Args:
        ctx: In whose name.
        collector: What measures.
        supervisor: What judges.
        keeper: What keeps the statuses of services in step with that.
        runlevels: In what state the host is, by that.
        ledger: What remembers decisions.
        history: What remembers metrics.
        hold: Why nothing is to be decided, if a person has frozen all actuators or stopped everything.

    Attributes:
        controller: What decides.
        executor: What carries decisions out.
        last: The last measurement; ``None`` before the first.
        judged: What it was judged to be.
        effects: How many acts have helped, have not, and of how many nobody can tell.
    """

    controller: Controller
    executor: Executor

    def __init__(
        self,
        ctx: PluginContext,
        *,
        collector: Collector,
        supervisor: Supervisor,
        keeper: StatusKeeper,
        runlevels: RunlevelMachine,
        ledger: Ledger,
        history: MetricHistory,
        hold: Hold,
    ) -> None:
        self._ctx = ctx
        self._collector = collector
        self._supervisor = supervisor
        self._keeper = keeper
        self._runlevels = runlevels
        self._ledger = ledger
        self._history = history
        self._hold = hold
        self._quarantined: dict[str, str] = {}
        self.number = 0
        self.last: Measured | None = None
        self.judged: Assessment | None = None
        self.effects: dict[bool | None, int] = {True: 0, False: 0, None: 0}

    async def run(self) -> Measured:
        """Run one cycle and return what it measured; what it decided goes on in tasks of its own."""
        return await self._look(decides=True)

    async def measure(self) -> Measured:
        """Measure, judge and tell, and decide nothing: a look between two cycles is no evidence."""
        return await self._look(decides=False)

    async def _look(self, *, decides: bool) -> Measured:
        clock = self._ctx.clock
        begun = clock.monotonic()
        services = self._ctx.registry.list()
        metrics = await self._collector.collect(services)
        held = await self._hold.look()
        await self.maintain()
        if decides:
            self._decide(metrics, hold=bool(held))
        judged = await self._judge(metrics, services)
        self.number += 1
        self.last = Measured(
            cycle=self.number,
            ts=clock.time(),
            health_score=judged.overall,
            health_coverage=judged.coverage,
            health_reasons=judged.reasons,
            metrics=metrics,
            seconds=clock.monotonic() - begun,
        )
        await self._ctx.publish(self.last)
        return self.last

    def _decide(self, metrics: Mapping[str, Metric], *, hold: bool) -> None:
        for decision in self.controller.decide(_observation(metrics), hold=hold):
            self._begin(decision)
        for effect in self.controller.take_effects():
            self._settle(effect)

    async def _judge(self, metrics: Mapping[str, Metric], services: Sequence[ServiceInfo]) -> Assessment:
        values = {name: metric.value for name, metric in metrics.items()}
        status = self.controller.status()
        symptoms = status.symptoms
        self._tell_quarantines(status.mistrusted)
        reports = [report for _, report in self._ctx.hooks.call("health")]
        judged = self.judged = self._supervisor.assess(services, values, symptoms, reports)
        self._history.add(values, judged.overall)
        await self._keeper.keep(services, symptoms)
        await self.tell(self._runlevels.update(judged.overall, ready=judged.ready, reasons=judged.reasons))
        return judged

    def _tell_quarantines(self, quarantined: Mapping[str, str]) -> None:
        """Tell which actuators are left alone, and which are no more, when that changes."""
        for actuator in quarantined.keys() - self._quarantined.keys():
            self._ctx.log.warning("actuator %r: %s", actuator, quarantined[actuator])
            self._ledger.note("quarantine", quarantined[actuator], target=actuator)
        for actuator in self._quarantined.keys() - quarantined.keys():
            self._ctx.log.info("actuator %r is quarantined no more, or is to be tried once", actuator)
            self._ledger.note("quarantine", "it is quarantined no more, or is to be tried once", target=actuator)
        self._quarantined = dict(quarantined)

    def health(self) -> HostHealth:
        """Return how the host was judged to be last, part by part."""
        judged = self.judged
        score, reasons, parts = (
            (None, (), ()) if judged is None else (judged.overall, judged.reasons, judged.components)
        )
        return HostHealth(
            runlevel=self._runlevels.level,
            since=self._runlevels.since,
            reasons=self._runlevels.reasons,
            overall=ComponentHealth("host", score, reasons),
            components=tuple(ComponentHealth(part.name, part.score, part.reasons) for part in parts),
        )

    async def maintain(self) -> None:
        """Have the runlevel show whether anything may be changed."""
        await self.tell(self._runlevels.maintain(self._hold.why or None))

    async def tell(self, change: RunlevelChange | None) -> None:
        """Tell of another runlevel, if there is one."""
        if change is None:
            return
        reasons = "; ".join(change.reasons)
        self._ctx.log.log(
            logging.WARNING if change.new in ("DEGRADED", "CRITICAL") else logging.INFO,
            "the host is %s, it was %s: %s",
            change.new,
            change.old,
            reasons,
        )
        self._ledger.note("runlevel", f"{change.old} -> {change.new}: {reasons}")
        await self._ctx.publish(RunlevelChanged(change.old, change.new, change.reasons), retain=True)

    def conclude(self, decision: Decision, outcome: Outcome) -> None:
        """Take in what became of a decision."""
        self.controller.report(decision.id, outcome)
        self._ledger.concluded(decision, outcome)
        if outcome.status == "failed":
            self._ctx.log.error("%s %s failed: %s", decision.action, decision.target, outcome.detail)
        elif outcome.status != "skipped":
            self._ctx.log.info("%s %s: %s", decision.action, decision.target, outcome.detail)

    def _begin(self, decision: Decision) -> None:
        self._ledger.decided(decision)
        if decision.kind == "give_up":
            self._ctx.log.warning("homeostasis gives up: %s", decision.reason)
        else:
            level = logging.DEBUG if decision.kind == "set" else logging.INFO
            self._ctx.log.log(level, "homeostasis decides: %s", decision.reason)
        self.executor.carry_out(decision)

    def _settle(self, effect: Effect) -> None:
        self.effects[effect.helped] += 1
        self._ledger.settled(effect)


def _observation(metrics: Mapping[str, Metric]) -> dict[str, Observed | float | None]:
    return {
        name: Observed(metric.value, metric.age) if metric.age else metric.value
        for name, metric in metrics.items()
        if not name.startswith(OURSELVES)
    }
