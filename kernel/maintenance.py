"""One maintenance cycle: the parts that plugins declare, called phase by phase."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from aetherra.kernel.hookspecs import PHASES, CycleStep
from aetherra.kernel.host import HookCaller
from aetherra.kernel.messages import CycleReport, StepDone
from aetherra.registry import AetherraError, Bus, tag_of
from aetherra.registry.messages import to_builtins

log = logging.getLogger("aetherra.kernel.maintenance")


async def run_cycle(bus: Bus, hooks: HookCaller, *, step_timeout: float) -> CycleReport:
    """Run a cycle and report it; a step that fails is reported with its error, and the cycle goes on."""
    clock = bus.clock
    begun = clock.monotonic()
    parts = [(plugin, step) for plugin, steps in hooks.call("cycle_steps") for step in _checked(plugin, steps)]
    done: list[StepDone] = []
    findings: dict[str, Any] = {}
    for phase in PHASES:
        for plugin, step in parts:
            if step.phase == phase:
                done.append(await _run_step(bus, plugin, step, step_timeout, findings))
                await bus.publish(done[-1])
    used = {step.phase for _, step in parts}
    return CycleReport(
        seconds=clock.monotonic() - begun,
        steps=tuple(done),
        idle_phases=tuple(phase for phase in PHASES if phase not in used),
        findings=findings,
    )


def _checked(plugin: str, steps: Iterable[CycleStep]) -> list[CycleStep]:
    """Return a plugin's steps; none if they are not such, so that it holds up nobody's cycle."""
    try:
        found = list(steps)
        for step in found:
            tag_of(type(step.request))
            PHASES.index(step.phase)
    except Exception:
        log.exception("plugin %r names cycle steps that are none; the cycle goes on without them", plugin)
        return []
    return found


async def _run_step(bus: Bus, plugin: str, step: CycleStep, timeout: float, findings: dict[str, Any]) -> StepDone:
    tag, begun, error = tag_of(type(step.request)), bus.clock.monotonic(), ""
    try:
        reply: dict[str, Any] | None = to_builtins(await bus.call(step.request, timeout=timeout))
    except (AetherraError, TypeError, ValueError) as exc:
        error = str(exc)
    else:
        for name, value in (reply or {}).items():
            findings[f"{plugin}.{name}" if name in findings else name] = value
    return StepDone(step.phase, plugin, tag, bus.clock.monotonic() - begun, error)
