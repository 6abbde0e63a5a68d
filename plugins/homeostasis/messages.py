"""What homeostasis says: the only file of it that other plugins import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from aetherra.plugins import Message, Request

Mode = Literal["act", "dry_run", "observe", "off"]
"""What is done with a decision: all of it; its checks, and no change; it is told; none is taken."""
Runlevel = Literal["BOOTING", "ONLINE", "DEGRADED", "CRITICAL", "MAINTENANCE", "STOPPING"]
PhaseState = Literal["working", "waiting", "off", "failing"]


class Metric(msgspec.Struct, frozen=True, gc=False):
    """One reading.

    Attributes:
        value: What was read; ``None`` if nobody knows, which is not 0.
        unit: What the value counts.
        reason: Why nobody knows.
        age: Seconds since it was read, when this was told.
    """

    value: float | None
    unit: str
    reason: str = ""
    age: float = 0.0


class Measured(Message, tag="homeostasis.measured"):
    """One cycle: the reply to ``Collect``, and an event after each.

    Attributes:
        cycle: Counts up from 1.
        ts: Unix time.
        health_score: 0 (useless) to 1 (well); ``None`` if nothing is known.
        health_coverage: Share of the judged metrics that have a value.
        health_reasons: What lowers the score, most first.
        metrics: All readings, by name.
        seconds: What the cycle took.
    """

    cycle: int
    ts: float
    health_score: float | None
    health_coverage: float
    health_reasons: tuple[str, ...]
    metrics: dict[str, Metric]
    seconds: float


class Collect(Request[Measured], tag="homeostasis.collect"):
    """Measure now, and forward the metrics at once."""


class Corrections(Message, tag="homeostasis.correct_reply"):
    """What was found in the log since the start, and became of it."""

    errors_detected: int
    fixes_successful: int
    fixes_advised: int
    fixes_failed: int


class Correct(Request[Corrections], tag="homeostasis.correct"):
    """Look now at what the log told, and mend what can be mended."""


class PhaseStatus(msgspec.Struct, frozen=True):
    """One of the nine phases.

    Attributes:
        number: 1 to 9.
        name: What it does.
        state: ``working``; ``waiting`` for something that ``summary`` names; ``off`` by the settings; or ``failing``.
        summary: In a sentence.
        figures: What it counted.
    """

    number: int
    name: str
    state: PhaseState
    summary: str
    figures: Mapping[str, int | float | str | None] = {}


class HomeostasisStatus(Message, tag="homeostasis.status_reply"):
    """What homeostasis has done since it started.

    Attributes:
        runlevel: How the host is, in a word.
        mode: What is done with decisions.
        frozen: Why nothing is done, if somebody has frozen the actuators; ``""`` if nobody has.
        cycles: Measurements.
        metrics: Readings in the last one, of which ``unknown`` had no value.
        health_score: The last one's.
        forwarded: Readings that self-improvement has taken.
        forward_failed: Readings that it has refused or could not be given.
        last_forward_problem: Why, for the latest of these.
        phases: The nine, in order.
    """

    runlevel: Runlevel
    mode: Mode
    frozen: str
    cycles: int
    metrics: int
    unknown: int
    health_score: float | None
    forwarded: int
    forward_failed: int
    last_forward_problem: str
    phases: tuple[PhaseStatus, ...]


class GetHomeostasisStatus(Request[HomeostasisStatus], tag="homeostasis.status"):
    """Ask what homeostasis has done."""


# Actuators


class Acted(Message, tag="homeostasis.acted"):
    """An actuator has done something: the reply to ``Act``, and an event.

    Attributes:
        decision: What it was done for; ``""`` if somebody asked for it.
        actuator: Which.
        target: On what; ``""`` for the host.
        changed: Whether anything is otherwise now; of a dry run, whether it would be.
        summary: What was done, in a sentence.
        before: What it was, as the way back needs it.
        dry_run: Whether nothing was done.
        undone: Whether this took back what was done before.
    """

    decision: str
    actuator: str
    target: str
    changed: bool
    summary: str
    before: dict[str, Any] = {}
    dry_run: bool = False
    undone: bool = False


class Act(Request[Acted], tag="homeostasis.act"):
    """Have an actuator act, behind the gate of homeostasis itself: freeze, mode, and the actuator's own conditions.

    Limits and quarantine hold for decisions; who asks by hand knows why. It is in the history.

    Attributes:
        actuator: Which; ``homeostasis.actuators`` lists them.
        target: On what: a plugin, a lane, an action's type; ``""`` for the host.
        arguments: As the actuator takes them.
        decision: What it is done for.
        dry_run: Tell what would be done.
    """

    actuator: str
    target: str = ""
    arguments: dict[str, Any] = {}
    decision: str = ""
    dry_run: bool = False


class Undo(Request[Acted], tag="homeostasis.undo"):
    """Take back what an actuator did last on a target, as far as it left a way back."""

    actuator: str
    target: str = ""
    decision: str = ""


class ActuatorInfo(msgspec.Struct, frozen=True):
    """One actuator.

    Attributes:
        name: What it is asked for by.
        description: What it does, and how it is taken back.
        disruptive: Whether somebody's calls or state may suffer from it.
        mode: What is done with decisions for it.
        quarantined: Why it is not used for now; ``""`` if it is.
        acted: How often it did something; ``failed``: how often it could not.
        undoable: Targets on which something of it stands that can be taken back.
        holds: The same by the names that guards and knobs know them by, as ``kernel.workers``: while homeostasis holds
            a knob, who else turns knobs by itself leaves it alone.
    """

    name: str
    description: str
    disruptive: bool
    mode: Mode
    quarantined: str
    acted: int
    failed: int
    undoable: tuple[str, ...]
    holds: tuple[str, ...] = ()


class ActuatorList(Message, tag="homeostasis.actuators_reply"):
    """The actuators there are."""

    actuators: tuple[ActuatorInfo, ...]


class ListActuators(Request[ActuatorList], tag="homeostasis.actuators"):
    """Ask which actuators there are, and how they fare."""


class FreezeState(Message, tag="homeostasis.freeze_reply"):
    """Whether all actuators are frozen, since when, until when, by whom and why; times are Unix times."""

    frozen: bool
    reason: str = ""
    by: str = ""
    since: float | None = None
    until: float | None = None


class Freeze(Request[FreezeState], tag="homeostasis.freeze"):
    """Stop all actuators at once and over restarts, until ``Unfreeze`` or for so many seconds. Measuring goes on."""

    reason: str = ""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] | None = None


class Unfreeze(Request[FreezeState], tag="homeostasis.unfreeze"):
    """Let actuators act again."""

    reason: str = ""


class GetFreeze(Request[FreezeState], tag="homeostasis.freeze_state"):
    """Ask whether the actuators are frozen."""


# Insight


class ComponentHealth(msgspec.Struct, frozen=True):
    """How one component is, 0..1, and what lowers that; ``None`` if nobody knows."""

    component: str
    score: float | None
    reasons: tuple[str, ...] = ()


class HostHealth(Message, tag="homeostasis.health_reply"):
    """How the host is, all of it and each component, worst first."""

    runlevel: Runlevel
    since: float
    reasons: tuple[str, ...]
    overall: ComponentHealth
    components: tuple[ComponentHealth, ...]


class GetHostHealth(Request[HostHealth], tag="homeostasis.health"):
    """Ask how the host is."""


class RunlevelChanged(Message, tag="homeostasis.runlevel_changed"):
    """The host went from one runlevel to another."""

    old: Runlevel
    new: Runlevel
    reasons: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """One decision: what was seen, which rule it went by, what was done, and what that changed; or what else was done.

    Attributes:
        decision: Its id; ``""`` of what is no decision: what a person did or froze, another runlevel, a quarantine.
        ts: Unix time.
        text: All of it, to read.
        facts: The same, to work with.
    """

    decision: str
    ts: float
    text: str
    facts: dict[str, Any]


class Explanations(Message, tag="homeostasis.explain_reply"):
    """Decisions, and what else bears on them, newest first."""

    decisions: tuple[Explanation, ...]


class Explain(Request[Explanations], tag="homeostasis.explain"):
    """Ask why something was done, or was not.

    Attributes:
        decision: One decision's id; ``""`` for the newest.
        symptom: Those for one symptom.
        target: Those on one target.
        since: Those from a Unix time on.
        limit: How many, at most.
    """

    decision: str = ""
    symptom: str = ""
    target: str = ""
    since: float | None = None
    limit: int = 20


class Prometheus(Message, tag="homeostasis.prometheus_reply"):
    """The metrics in Prometheus' text form, version 0.0.4."""

    text: str


class GetPrometheus(Request[Prometheus], tag="homeostasis.prometheus"):
    """Ask for the metrics as Prometheus scrapes them."""


class MetricPoint(msgspec.Struct, frozen=True):
    """One reading of the past, at a Unix time."""

    ts: float
    value: float | None


class MetricHistoryReply(Message, tag="homeostasis.history_reply"):
    """The past of one metric, oldest first."""

    name: str
    unit: str
    points: tuple[MetricPoint, ...]


class GetMetricHistory(Request[MetricHistoryReply], tag="homeostasis.history"):
    """Ask for the past of one metric, a point a minute."""

    name: str
    since: float | None = None


class DeadGroup(msgspec.Struct, frozen=True):
    """The dead letters of one type of action and one reason.

    Attributes:
        action_type: The tag; ``*`` for the groups beyond those that are told apart.
        reason: Why they are dead.
        count: Letters seen; those of before the start, too, as far as they were listed.
        rate: Letters a second, of the last minutes.
        first: Unix time of the oldest one seen.
        last: Of the newest.
        trace_id: The newest one's.
        plugin: Whose handler failed at it; ``""`` if none did.
        error: What it raised, in brief.
    """

    action_type: str
    reason: str
    count: int
    rate: float
    first: float
    last: float
    trace_id: str
    plugin: str
    error: str


class DeadLetterGroups(Message, tag="homeostasis.dead_letters_reply"):
    """What ends as dead letters, what grows fastest first, and how many a second in all."""

    groups: tuple[DeadGroup, ...]
    rate: float


class GetDeadLetterGroups(Request[DeadLetterGroups], tag="homeostasis.dead_letters"):
    """Ask what ends as dead letters."""
