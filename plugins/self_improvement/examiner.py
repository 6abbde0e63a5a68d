"""The examiner: looks at everything, now or as it was, and at what should be proposed upon it; logs what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from aetherra.plugins import AetherraError, KnobInfo, ListKnobs, PluginContext
from aetherra.plugins.self_improvement.analyst import Analyst, Look, metric_trend
from aetherra.plugins.self_improvement.book import Book
from aetherra.plugins.self_improvement.messages import AnalysisCycle, Simulate, SimulationReport
from aetherra.plugins.self_improvement.proposals import Passed, Proposal, Proposer, Round, Simulation, simulate
from aetherra.plugins.self_improvement.proposals.register import Register

__all__ = ["Examiner"]


class Examiner:
    """Works in worker threads.

    Args:
        ctx: Of the plugin that it works in.
        analyst: Looks at the metrics.
        proposer: Sees what should be changed.
        book: The proposals that there are, and what is known to work.
        register: Where analyses are logged.
        window: How far back they look, seconds.

    Attributes:
        count: Analyses begun.
        last: The last one; ``None`` before the first.
        passed: What it did not propose, and why.
        problem: Why the last one failed; ``""`` if it did not.
    """

    def __init__(
        self, ctx: PluginContext, analyst: Analyst, proposer: Proposer, book: Book, register: Register, window: float
    ) -> None:
        self._ctx = ctx
        self._analyst = analyst
        self._proposer = proposer
        self._book = book
        self._register = register
        self._window = window
        self.count = 0
        self.last: AnalysisCycle | None = None
        self.passed: tuple[Passed, ...] = ()
        self.problem = ""

    async def examine(self, *, propose: bool) -> tuple[AnalysisCycle, Round]:
        """Analyse all metrics, and see what should be proposed upon it.

        Args:
            propose: Whether that is to be proposed, and so is told.
        """
        clock = self._ctx.clock
        self.count += 1
        number, at, begun = self.count, clock.time(), clock.monotonic()
        try:
            knobs = (await self._ctx.call(ListKnobs())).knobs
            look, found = await self._ctx.run_sync(self._look, at, knobs, self._book.all())
        except Exception as exc:
            self.problem = f"the last analysis failed: {exc!r}"
            await self._log(AnalysisCycle(number, at, clock.monotonic() - begun, self._window, 0, 0, problem=repr(exc)))
            raise
        self.problem, self.passed = "", found.passed
        cycle = AnalysisCycle(
            number=number,
            ts=at,
            seconds=clock.monotonic() - begun,
            window=self._window,
            metrics=len(look.analyses),
            points=look.points,
            found=self._analyst.found(look, found.problems),
            trends=tuple(metric_trend(one) for one in look.analyses),
            correlations=look.correlations,
            proposed=tuple(one.id for one in found.proposals) if propose else (),
        )
        await self._log(cycle)
        return cycle, found

    def _look(self, now: float, knobs: Sequence[KnobInfo], past: Sequence[Proposal]) -> tuple[Look, Round]:
        look = self._analyst.look(now, self._window)
        found = self._proposer.propose(
            now,
            look.analyses,
            knobs,
            strategies=self._book.strategies,
            proposals=past,
            relations=look.correlations,
        )
        return look, found

    async def rehearse(self, request: Simulate) -> SimulationReport:
        """Say what would have been proposed over the recorded past, by what was known then."""
        knobs = (await self._ctx.call(ListKnobs())).knobs
        return SimulationReport(await self._ctx.run_sync(self._replay, request, self._ctx.clock.time(), knobs))

    def _replay(self, request: Simulate, now: float, knobs: Sequence[KnobInfo]) -> Simulation:
        infos = self._analyst.infos(None)

        def history(since: float, until: float) -> dict[str, list[tuple[float, float]]]:
            return {info.name: self._analyst.between(info.name, since, until) for info in infos}

        def analyse(series: Mapping[str, Any], at: float) -> tuple[Iterable[Any], Iterable[Any]]:
            look = self._analyst.look_at(infos, series, at, self._window)
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
            window=self._window,
        )

    async def _log(self, cycle: AnalysisCycle) -> None:
        self.last = cycle
        short = msgspec.structs.replace(cycle, trends=(), correlations=())
        try:
            await self._ctx.run_sync(self._register.log_cycle, cycle.ts, short)
        except AetherraError as exc:
            self._ctx.log.warning("an analysis is not in the log: %s", exc)
        await self._ctx.publish(cycle)
