"""The phases: what they say of themselves is how it is now, not how it was once."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis import phases
from aetherra.plugins.homeostasis.decision import Controller, Policy
from aetherra.plugins.homeostasis.forwarder import ForwarderStatistics
from aetherra.plugins.homeostasis.messages import Measured, Metric
from aetherra.plugins.homeostasis.watch import WatchStatistics

MEASURED = Measured(
    cycle=9,
    ts=1.0,
    health_score=1.0,
    health_coverage=1.0,
    health_reasons=(),
    metrics={"loop.lag": Metric(0.1, "s")},
    seconds=0.01,
)


def watching(problem: str = "", *, running: bool = True) -> WatchStatistics:
    """Return what a watch tells whose cycles end well, or do not for this reason."""
    return WatchStatistics(
        cycles=9, in_hand=None, longest=0.1, restarts=0, abandoned=0, troubles={}, running=running, well_ago=7.0,
        problem=problem,
    )  # fmt: skip


@pytest.mark.parametrize("problem", ["", "the controller's cycle raised OSError()"])
def test_a_controller_works_whose_cycles_raise(problem: str) -> None:
    """While no cycle ends well, phases 1 and 2 fail and say why, whatever was measured before."""
    controller = Controller(Policy(), clock=lambda: 0.0).status()
    for phase in (phases.metrics(MEASURED, watching(problem)), phases.the_controller(controller, watching(problem))):
        assert phase.state == ("failing" if problem else "working")
        assert (phase.summary == problem) is bool(problem)
    assert phases.metrics(MEASURED, watching(problem)).figures["seconds_since"] == 7.0


def test_nothing_measured_yet_is_a_failure() -> None:
    """Before the first cycle both wait."""
    controller = Controller(Policy(), clock=lambda: 0.0).status()
    assert phases.metrics(None, watching(running=False)).state == "waiting"
    assert phases.the_controller(controller, watching(running=False)).state == "waiting"


@pytest.mark.parametrize(("now", "state"), [(None, "waiting"), (0.0, "failing"), (1.0, "working")])
def test_a_bridge_is_judged_by_its_whole_life(now: float | None, state: str) -> None:
    """Phase 8 goes by the last round; the share of all that was ever sent is a figure."""
    phase = phases.bridge_to_self_improvement(ForwarderStatistics(100_000, 40_000, 0.71, now, "refused"), [])
    assert phase.state == state
    assert (phase.figures["success_rate"], phase.figures["last_success_rate"]) == (0.71, now)
