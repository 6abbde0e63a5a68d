"""What self-incorporation says: the only file of it that other plugins import."""

from __future__ import annotations

from typing import Annotated

import msgspec

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal
from aetherra.plugins.self_incorporation.gate.decision import Decision, Verdict
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.quarantine import Quarantined, QuarantineStatistics
from aetherra.plugins.self_incorporation.index.report import Risk
from aetherra.plugins.self_incorporation.integration.describe import Description
from aetherra.plugins.self_incorporation.integration.intents import Stage
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.registrations import Registration
from aetherra.plugins.self_incorporation.night.learned import Kept
from aetherra.plugins.self_incorporation.night.learning.trial import Target
from aetherra.plugins.self_incorporation.night.report import NightReport, NightStatus

Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]

# Scanning


class Scanned(Message, tag="selfinc.scanned"):
    """One scan of one tree: the reply to ``Scan``, and an event after each.

    ``files_found == files_indexed + refusals``: nothing is skipped in silence. Paths are relative to ``root``. Lists
    hold the first 1,000 of each.

    Attributes:
        root: What was scanned.
        files_found: Every file below it outside of ``folders_excluded``.
        files_indexed: Those that are in the index now.
        files_refused: Those that are not, each with its reason.
        refusals: How many they are.
        files_new: Seen for the first time.
        files_changed: With other content than last time.
        files_unchanged: As last time.
        files_removed: In the index last time, and gone.
        files_read: Opened; a file whose size and times are as last time is not.
        folders_excluded: Not entered: version control, caches, virtual environments.
        excluded: How many they are.
        folders_refused: Could not be listed, each with its reason.
        unlisted: How many they are.
        kinds: Files by kind.
        severities: Findings by severity, all of them.
        findings: Warnings and threats, threats first.
        risks: The riskiest files, and why.
        seconds: What the scan took.
    """

    root: str
    files_found: int
    files_indexed: int
    files_refused: tuple[Refusal, ...]
    refusals: int
    files_new: int
    files_changed: int
    files_unchanged: int
    files_removed: int
    files_read: int
    folders_excluded: tuple[str, ...]
    excluded: int
    folders_refused: tuple[Refusal, ...]
    unlisted: int
    kinds: dict[str, int]
    severities: dict[str, int]
    findings: tuple[Finding, ...]
    risks: tuple[Risk, ...]
    seconds: float


class Scan(Request[Scanned], tag="selfinc.scan"):
    """Scan a file or folder; relative to the project, default is the first of the configured roots."""

    path: str | None = None


class ScanProgress(Message, tag="selfinc.progress"):
    """A scan goes on: ``done`` of ``total`` files."""

    what: str
    done: int
    total: int


class Kinds(Message, tag="selfinc.classify_reply"):
    """The indexed files by kind."""

    kinds: dict[str, int]


class Classify(Request[Kinds], tag="selfinc.classify"):
    """Ask for the kinds of the files that the index holds of all roots."""


# Items, and what is decided about them


class JudgedItem(msgspec.Struct, frozen=True):
    """An item, and what was decided about it.

    Attributes:
        item: As the index knows it.
        decision: The latest about exactly these bytes; ``None`` if there is none.
        registered: Under which name it was brought in; ``""`` if it was not, or not as it is now.
    """

    item: Item
    decision: Decision | None
    registered: str = ""


class Items(Message, tag="selfinc.items_reply"):
    """Items by path; ``total`` are what was asked for, of which these are the first."""

    items: tuple[JudgedItem, ...]
    total: int


class ListItems(Request[Items], tag="selfinc.items"):
    """Ask what could be brought in, and what was decided about it.

    Attributes:
        name: Only those of this name or path.
        verdict: Only those that were decided so.
        kind: Only those of this kind.
        judged: Only those that something was decided about.
        limit: How many, at most.
    """

    name: str = ""
    verdict: Verdict | None = None
    kind: FileKind | None = None
    judged: bool = False
    limit: Limit = 100


class Judged(Message, tag="selfinc.security_eval_reply"):
    """What was decided about the items of all roots, and what somebody should look at.

    Attributes:
        severities: Findings in the index, by severity.
        riskiest: The riskiest files, and why.
        verdicts: Items by what was decided about them.
        blocked: Decisions that keep an item out, those of the highest risk first, at most 100.
        judged: Items that were judged now, as they, the rules, the policy or their grants are new.
        drifted: Those of them that do more, or are riskier, than when they were judged before.
        quarantined: Those that were set aside now.
        held: Those that would have been set aside, and why they were not.
    """

    severities: dict[str, int]
    riskiest: tuple[Risk, ...]
    verdicts: dict[str, int]
    blocked: tuple[Decision, ...]
    judged: int
    drifted: int
    quarantined: tuple[str, ...]
    held: dict[str, str]


class SecurityEval(Request[Judged], tag="selfinc.security_eval"):
    """Decide about every item that is new, has changed, or falls under other rules, and set aside what must be.

    Items are plugins, agents and workflows wherever they lie, and all that lies in an incoming folder; others are
    judged when somebody asks for them by name.
    """


class ItemDecided(Message, tag="selfinc.decide_reply"):
    """What is decided about an item now."""

    decision: Decision


class DecideItem(Request[ItemDecided], tag="selfinc.decide"):
    """Say that exactly these bytes may come in, or may not. Only a person may.

    Attributes:
        item: Its name or path.
        digest: Of the item as the person has looked at it; it must be that still.
        accept: Whether it may.
        reason: Why.
    """

    item: str
    digest: str
    accept: bool
    reason: Reason


class Corrected(Message, tag="selfinc.correct_reply"):
    """What a file was taken for, and what it is."""

    path: str
    before: FileKind
    kind: FileKind


class CorrectKind(Request[Corrected], tag="selfinc.correct"):
    """Say what a file really is, for nights to learn from. Only a person may.

    Attributes:
        path: Of the file, relative to the first root that has it.
        kind: What it is.
    """

    path: str
    kind: FileKind


# Bringing in, and taking out


class Planned(Message, tag="selfinc.plan_reply"):
    """A plan, and exactly what carrying it out would do; nothing was done.

    Attributes:
        plan: Its steps, and what is left out and why.
        would: What would happen; ``None`` if there is no step, or where there is a problem.
        problem: Why it cannot be said what would happen, nor be done; ``""`` if it can.
    """

    plan: Plan
    would: Description | None
    problem: str = ""


class MakePlan(Request[Planned], tag="selfinc.plan"):
    """Ask for a plan for some items, by name or path; for none: for all that lie in the incoming folders."""

    items: tuple[str, ...] = ()


class Incorporated(Message, tag="selfinc.integrate_reply"):
    """What came of it: the reply to ``Integrate``, and an event after each integration.

    Attributes:
        token: What it is rolled back by; ``""`` if nothing was done.
        names: What was brought in, or waits to be, by the names it is registered under.
        notes: How each step went, for people.
        approval: The approval that it waits for; ``""`` if it does not.
        why_not: Why nothing was done; ``""`` if it was.
    """

    token: str
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    approval: str = ""
    why_not: str = ""


class Integrate(Request[Incorporated], tag="selfinc.integrate"):
    """Bring items in: all of them, or none.

    If it needs an approval, it waits for that, and is then done by itself if nothing has changed.

    Attributes:
        items: By name or path; for none: all approved ones of the incoming folders.
        digest: Of the plan that was looked at, which must be what would be done now; ``""`` for any.
    """

    items: tuple[str, ...] = ()
    digest: str = ""


class TakenOut(Message, tag="selfinc.rollback_reply"):
    """An integration was rolled back: the reply to ``Rollback``, and an event after each.

    Attributes:
        token: Which.
        names: What was brought in by it.
        left: What could not be undone; nothing if all is as it was, byte for byte.
        reason: Why.
        automatic: Whether self-incorporation decided it.
    """

    token: str
    names: tuple[str, ...]
    left: tuple[str, ...]
    reason: str
    automatic: bool = False


class LookedAround(Message, tag="selfinc.look_reply"):
    """What was found at all roots, what was decided, and what came of it.

    Attributes:
        files_found: Files below the roots.
        files_new: Of them, those that were seen for the first time.
        files_changed: With other content than last time.
        files_removed: In the index last time, and gone.
        files_refused: That are not in the index.
        verdicts: Items by what is decided about them.
        quarantined: Those that were set aside now.
        held: Those that would have been set aside, and why they were not.
        brought_in: What came of bringing in what lies in the incoming folders, of each item with those it needs.
        kept_out: Why other items of the incoming folders stay out, by path.
    """

    files_found: int
    files_new: int
    files_changed: int
    files_removed: int
    files_refused: int
    verdicts: dict[str, int]
    quarantined: tuple[str, ...]
    held: dict[str, str]
    brought_in: tuple[Incorporated, ...]
    kept_out: dict[str, str]


class LookAround(Request[LookedAround], tag="selfinc.look"):
    """Do at once what is done by itself every ``scan_interval``: scan all roots, decide, bring in what may come in."""


class Rollback(Request[TakenOut], tag="selfinc.rollback"):
    """Put everything back to what it was before an integration."""

    token: str
    reason: Reason = "somebody asked for it"


class Integration(msgspec.Struct, frozen=True):
    """One integration that is remembered.

    Attributes:
        token: Its name.
        at: Unix time of its beginning.
        names: What it brought in.
        summary: For people.
        stage: How far it is: ``open``, ``committed``, ``going_back`` or ``undone``.
        reason: Why it was undone.
        left: What could not be.
    """

    token: str
    at: float
    names: tuple[str, ...]
    summary: str
    stage: Stage
    reason: str = ""
    left: tuple[str, ...] = ()


class Integrations(Message, tag="selfinc.integrations_reply"):
    """Integrations, the latest first, and what of them is registered now.

    Attributes:
        integrations: The latest ones.
        registered: What was brought in and is there, by name.
        waiting: Items that wait for an approval, by its id.
        problems: What somebody has to see to: nothing is brought in until then, or not unasked.
    """

    integrations: tuple[Integration, ...]
    registered: dict[str, Registration]
    waiting: dict[str, tuple[str, ...]]
    problems: tuple[str, ...]


class ListIntegrations(Request[Integrations], tag="selfinc.integrations"):
    """Ask what was brought in."""

    limit: Limit = 100


# Quarantine


class SetAside(Message, tag="selfinc.quarantine_reply"):
    """How something in quarantine is now.

    Attributes:
        quarantined: What.
        taken_out: What had been brought in from it, and is out now.
        serving: What was brought in from it and could not be taken out; it is tried again.
    """

    quarantined: Quarantined
    taken_out: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()


class QuarantineItem(Request[SetAside], tag="selfinc.quarantine"):
    """Set an item aside, so that nothing loads it, keep it, and take out what was brought in from it as it is."""

    item: str
    reason: Reason


class ReleaseItem(Request[SetAside], tag="selfinc.release"):
    """Put something in quarantine back where it was, byte for byte. Only a person may."""

    id: str
    reason: str = ""


class DeleteItem(Request[SetAside], tag="selfinc.delete"):
    """Delete something in quarantine for good. Only a person may."""

    id: str
    reason: str = ""


class ReviewItem(Request[SetAside], tag="selfinc.review"):
    """Note what a person says of something in quarantine. Only a person may."""

    id: str
    says: Reason


class QuarantineList(Message, tag="selfinc.quarantined_reply"):
    """What is, or was, in quarantine, and how much."""

    items: tuple[Quarantined, ...]
    statistics: QuarantineStatistics


class ListQuarantined(Request[QuarantineList], tag="selfinc.quarantined"):
    """Ask what is in quarantine; with ``ended`` also for what was released or deleted."""

    ended: bool = False


# Nights


class Night(Message, tag="selfinc.night_reply"):
    """The night cycle as it is, and what the last night came to; ``None`` before the first.

    Attributes:
        status: Where it stands, and what of what was learnt is in use.
        last: The report of the last night that was finished.
    """

    status: NightStatus
    last: NightReport | None


class GetNight(Request[Night], tag="selfinc.night"):
    """Ask what the night cycle does, did, and has learnt."""


class NightDone(Message, tag="selfinc.night_done"):
    """A night was finished: the reply to ``RunNight``, and an event after each."""

    report: NightReport


class RunNight(Request[NightDone], tag="selfinc.run_night"):
    """Have a night's work done now, though the host is not idle; it makes way for nobody."""


class Unlearned(Message, tag="selfinc.unlearn_reply"):
    """What is in use now in place of what was learnt last."""

    kept: Kept


class Unlearn(Request[Unlearned], tag="selfinc.unlearn"):
    """Go back to what was in use before what was learnt last. Only a person may."""

    target: Target


# Files


class IndexedFile(Message, tag="selfinc.file_reply"):
    """One file of the index.

    Attributes:
        path: Relative to the root.
        sha256: Of its content.
        size: Bytes.
        kind: What it is, with ``confidence`` 0..1 by ``features``.
        risk: 0..1, by ``factors``.
        capabilities: What its code can do.
        imports: Modules that it imports.
        entry_points: Ways to run it.
        lines: Of source.
    """

    path: str
    sha256: str
    size: int
    kind: str
    confidence: float
    features: tuple[str, ...]
    risk: float
    factors: tuple[str, ...]
    capabilities: tuple[str, ...]
    imports: tuple[str, ...]
    entry_points: tuple[str, ...]
    lines: int


class GetFile(Request[IndexedFile], tag="selfinc.file"):
    """Ask what the index holds of one file; raises ``LookupError`` if nothing."""

    path: str


# Status


class SelfIncorporationStatus(Message, tag="selfinc.status_reply"):
    """What was done since the start, and what there is.

    Attributes:
        scanning: The tree that is being scanned now, ``""`` if none.
        scans: Scans finished.
        failed_scans: Scans that ended with an error.
        last_problem: Why, for the latest of these.
        files: In the index, while a scan goes on as it was before; likewise the next two.
        refusals: Files that are not, and why is kept.
        findings: In the index, of all severities.
        set_aside: Where an index that could not be read was moved, ``""`` if none was.
        items: That could be brought in, by what was decided about them.
        integrations: Done since the start.
        failed_integrations: That failed since the start, and were taken back.
        rollbacks: Done since the start.
        registered: What was brought in and is there.
        not_serving: Of these the plugins that do not serve, each with the reason.
        quarantined: Items in quarantine.
        waiting: Integrations that wait for an approval.
        night: What the night cycle does: its phase.
        problems: Why nothing can be brought in until somebody has seen to it.
    """

    scanning: str
    scans: int
    failed_scans: int
    last_problem: str
    files: int
    refusals: int
    findings: int
    set_aside: str
    items: dict[str, int]
    integrations: int
    failed_integrations: int
    rollbacks: int
    registered: tuple[str, ...]
    not_serving: dict[str, str]
    quarantined: int
    waiting: int
    night: str
    problems: tuple[str, ...]


class GetSelfIncorporationStatus(Request[SelfIncorporationStatus], tag="selfinc.status"):
    """Ask what was done, and what there is."""


class SelfIncorporationHealth(Message, tag="selfinc.health_reply"):
    """How self-incorporation is: the reply to ``CheckHealth``, and an event every minute.

    Attributes:
        healthy: Whether it can do what it is there for.
        reasons: Why not.
        metrics: Its figures, by name.
    """

    healthy: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]


class CheckHealth(Request[SelfIncorporationHealth], tag="selfinc.health"):
    """Look whether the index, the decisions, the quarantine, what was integrated and what nights know are in order."""
