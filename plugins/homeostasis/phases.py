"""The nine phases of homeostasis, each with what it counted: what its status tells one by one."""

from __future__ import annotations

from collections.abc import Iterable

from aetherra.plugins.homeostasis.corrector.messages import CorrectorStatistics
from aetherra.plugins.homeostasis.decision import ControllerStatus
from aetherra.plugins.homeostasis.forwarder import ForwarderStatistics
from aetherra.plugins.homeostasis.incorporation_metrics import IncorporationMetrics
from aetherra.plugins.homeostasis.ledger import LedgerStatistics
from aetherra.plugins.homeostasis.messages import (
    ActuatorInfo,
    DeadGroup,
    HostHealth,
    Measured,
    Mode,
    PhaseState,
    PhaseStatus,
)
from aetherra.plugins.homeostasis.watch import WatchStatistics

__all__ = [
    "bridge_from_self_incorporation",
    "bridge_to_self_improvement",
    "error_correction",
    "feedback",
    "metrics",
    "observability",
    "supervision",
    "the_actuators",
    "the_controller",
]


def metrics(last: Measured | None, watch: WatchStatistics) -> PhaseStatus:
    """Phase 1: what is measured."""
    known = sum(metric.value is not None for metric in last.metrics.values()) if last is not None else 0
    total = len(last.metrics) if last is not None else 0
    state: PhaseState = "waiting" if last is None else "working"
    text = "nothing was measured yet" if last is None else f"{known} of {total} metrics are known"
    if watch.problem:
        state, text = "failing", watch.problem
    figures = {
        "cycles": watch.cycles,
        "seconds_since": watch.well_ago,
        "known": known,
        "unknown": total - known,
        "seconds": None if last is None else last.seconds,
        "longest_seconds": watch.longest,
    }
    return PhaseStatus(1, "stability metrics", state, text, figures)


def the_controller(status: ControllerStatus, watch: WatchStatistics) -> PhaseStatus:
    """Phase 2: what is decided."""
    holding = [symptom for symptom in status.symptoms if symptom.phase in ("holds", "settling", "given_up")]
    named = ", ".join(f"{symptom.symptom} {symptom.target}".strip() for symptom in holding[:3])
    text = f"{len(holding)} symptoms hold: {named}" if holding else f"no symptom holds, {status.watched} are watched"
    state: PhaseState = "failing" if watch.problem else "working" if watch.running else "waiting"
    figures = {
        "watched": status.watched,
        "unknown": status.unknown,
        "holding": len(holding),
        "given_up": sum(symptom.phase == "given_up" for symptom in holding),
        "budget_left": status.budget_left,
        "restarts": watch.restarts,
        **{f"decisions_{kind}": count for kind, count in status.decisions.items()},
    }
    return PhaseStatus(2, "controller", state, watch.problem or text, figures)


def the_actuators(mode: Mode, frozen: str, actuators: Iterable[ActuatorInfo], undoable: int) -> PhaseStatus:
    """Phase 3: what is done."""
    every = list(actuators)
    quarantined = [actuator.name for actuator in every if actuator.quarantined]
    acting = sum(actuator.mode == "act" for actuator in every)
    state: PhaseState = "off" if frozen or not acting else "failing" if len(quarantined) == len(every) else "working"
    text = frozen or f"{acting} of {len(every)} actuators act" + ("" if acting == len(every) else f"; mode {mode!r}")
    if quarantined and not frozen:
        text += f"; quarantined: {', '.join(quarantined)}"
    figures = {
        "acted": sum(actuator.acted for actuator in every),
        "failed": sum(actuator.failed for actuator in every),
        "quarantined": len(quarantined),
        "undoable": undoable,
        "mode": mode,
    }
    return PhaseStatus(3, "actuators", state, text, figures)


def supervision(health: HostHealth, watch: WatchStatistics) -> PhaseStatus:
    """Phase 4: how the host is, and whether its controller is."""
    state: PhaseState = "working" if health.overall.score is not None else "waiting"
    text = f"{health.runlevel}: {'; '.join(health.reasons) or 'all is well'}"
    figures = {
        "health": health.overall.score,
        "components": len(health.components),
        "unwell": sum(part.score is not None and part.score < 1 for part in health.components),
        **{f"controller_{kind}": count for kind, count in watch.troubles.items()},
    }
    return PhaseStatus(4, "supervisor", state, text, figures)


def feedback(status: ControllerStatus, effects: dict[bool | None, int]) -> PhaseStatus:
    """Phase 5: what acts have changed, and what was learnt of that."""
    seen = sum(effects.values())
    state: PhaseState = "working" if seen else "waiting"
    text = f"{effects[True]} of {seen} acts helped" if seen else "no act has shown its effect yet"
    figures = {
        "helped": effects[True],
        "did_not_help": effects[False],
        "unclear": effects[None],
        "lifts": len(status.lifts),
        "standing_changes": len(status.changes),
    }
    return PhaseStatus(5, "feedback", state, text, figures)


def observability(ledger: LedgerStatistics, rows: int, left_out: int) -> PhaseStatus:
    """Phase 6: what is kept to explain it all."""
    state: PhaseState = "failing" if ledger.unwritten or ledger.dropped else "working"
    text = f"{ledger.written} entries in the history" + (
        f", {ledger.unwritten} wait for the disk" if ledger.unwritten else ""
    )
    figures = {
        "written": ledger.written,
        "unwritten": ledger.unwritten,
        "dropped": ledger.dropped,
        "unreadable": ledger.strange,
        "history_rows": rows,
        "history_left_out": left_out,
    }
    return PhaseStatus(6, "validation and observability", state, text, figures)


def error_correction(found: CorrectorStatistics) -> PhaseStatus:
    """Phase 7: what was mended of what the log told."""
    text = f"{found.successful} mended, {found.advised} advised, {found.failed} failed, of {found.detected} found"
    figures = {
        "detected": found.detected,
        "attempted": found.attempted,
        "successful": found.successful,
        "failed": found.failed,
        "advised": found.advised,
        "suppressed": found.suppressed,
        "dropped": found.dropped,
    }
    return PhaseStatus(7, "error correction", "working" if found.running else "off", text, figures)


def bridge_to_self_improvement(sent: ForwarderStatistics, groups: Iterable[DeadGroup]) -> PhaseStatus:
    """Phase 8: what self-improvement got, and what ended as a dead letter."""
    now = sent.last_success_rate
    state: PhaseState = "waiting" if now is None else "failing" if now < 0.5 else "working"
    text = f"{sent.forwarded} metrics were taken, {sent.failed} were not" + (
        f": {sent.problem}" if sent.problem else ""
    )
    every = list(groups)
    figures = {
        "forwarded": sent.forwarded,
        "failed": sent.failed,
        "success_rate": sent.success_rate,
        "last_success_rate": now,
        "dead_letter_groups": len(every),
        "dead_letters": sum(group.count for group in every),
        "worst_group": f"{every[0].action_type}: {every[0].reason}" if every else None,
    }
    return PhaseStatus(8, "bridge to self-improvement", state, text, figures)


def bridge_from_self_incorporation(heard: IncorporationMetrics) -> PhaseStatus:
    """Phase 9: what self-incorporation says of itself."""
    state: PhaseState = (
        "working" if heard.answered and not heard.problem else "waiting" if not heard.asked else "failing"
    )
    text = heard.problem or ("it was not asked yet" if not heard.asked else "its counters are among the metrics")
    rate = heard.answered / heard.asked if heard.asked else None
    figures = {"asked": heard.asked, "answered": heard.answered, "success_rate": rate}
    return PhaseStatus(9, "bridge from self-incorporation", state, text, figures)
