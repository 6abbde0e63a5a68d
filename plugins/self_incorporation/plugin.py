"""The self-incorporation plugin: wires what finds, judges, brings in, takes out and learns, and answers for it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from aetherra.plugins import (
    AetherraError,
    CycleStep,
    GetGrants,
    GetStatus,
    MetricSample,
    NotAPersonError,
    Persons,
    Plugin,
    PluginContext,
    ServiceRegistered,
    Swapper,
    current_call,
    handler,
    hookimpl,
)
from aetherra.plugins.governance.messages import ApprovalDecided, StopLifted
from aetherra.plugins.self_incorporation import messages as m
from aetherra.plugins.self_incorporation.aftercare import Aftercare
from aetherra.plugins.self_incorporation.assessor import Assessor, GrantBook, names_of
from aetherra.plugins.self_incorporation.code.panel import Panel
from aetherra.plugins.self_incorporation.followup import FollowUp
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.gate.security_gate import SecurityGate, net_strict
from aetherra.plugins.self_incorporation.incorporator import Incorporator
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.report import Risk
from aetherra.plugins.self_incorporation.index.rows import FileRecord
from aetherra.plugins.self_incorporation.index.scanner import Limits, Scanner, name_of_root
from aetherra.plugins.self_incorporation.integration.host_hands import HostHands
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.kept_out import KeptOut
from aetherra.plugins.self_incorporation.lookout import Lookout
from aetherra.plugins.self_incorporation.night.processor import NightCycleProcessor
from aetherra.plugins.self_incorporation.night.store import NightStore
from aetherra.plugins.self_incorporation.night_shift import NightPort, RootLibrary
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.self_incorporation.settings import SelfIncorporationSettings
from aetherra.plugins.self_incorporation.stock import Stock
from aetherra.plugins.self_incorporation.surveyor import Surveyor
from aetherra.plugins.self_incorporation.tray import Tray
from aetherra.plugins.self_incorporation.troubles import Troubles
from aetherra.plugins.self_incorporation.turn import Turn
from aetherra.plugins.self_incorporation.waiting import Waiting, WaitingList
from aetherra.plugins.signing import RING_NAME, KeyRing
from aetherra.plugins.storage import StateFile

__all__ = ["NothingKeptError", "SelfIncorporationService"]

LOOK_AFTER_SEC = 30.0
"""Seconds between two looks at what was brought in."""
ASK_WHY = "it lies in an incoming folder, and the setting 'integrate' is 'ask'"
"""Why a person has to agree to what is brought in unasked."""
HEALTH_SEC = 60.0
"""Seconds between two times that homeostasis is told how this is."""


class NothingKeptError(AetherraError, RuntimeError):
    """What was asked for needs a data directory, and this host keeps everything in memory."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} needs a place to keep what was before: set kernel.data_dir in the configuration"


class Asker(NamedTuple):
    """Who asks for something: a person, or why a person must agree to it."""

    name: str
    ask_why: str


class SelfIncorporationService(Plugin[SelfIncorporationSettings]):
    """Finds code, judges it, brings it in and takes it out. It runs none of what it judges.

    All that reads a disk or takes long runs in worker threads.
    """

    name = "self_incorporation"
    service = "self_incorporation"
    version = "2"
    exclusive = True  # the index has one writer, and what is brought in has one who does it
    capabilities = (
        "publish:selfinc.*",
        "subscribe:governance.approval_decided",
        "subscribe:governance.lifted",
        "subscribe:service.registered",
        "call:governance.approvals",
        "call:hmr.*",
        "call:kernel.grants",
        "call:kernel.plugins",
        "call:kernel.status",
        "call:kernel.vitals",
        "submit:*",
    )
    privileges = ("kernel:swap",)

    async def start(self, ctx: PluginContext) -> None:
        """Open what is kept, put the parts together, and undo what an earlier run has not finished."""
        settings, folder, clock = self.settings, ctx.data_dir, ctx.clock
        profile = (await ctx.call(GetStatus())).profile
        self._persons = Persons(profile, (await ctx.call(GetGrants(self.name))).clients)
        self._places = Places(ctx.root, settings.roots, settings.incoming)

        self._index = await ctx.enter(await ctx.run_sync(CodeIndex, _within(folder, "index.sqlite3"), ctx.log.warning))
        if self._index.set_aside is not None:
            ctx.log.error("the index could not be read; it was moved to %s", self._index.set_aside.path)
        limits = Limits(source_bytes=settings.max_source_bytes, file_bytes=settings.max_file_bytes)
        panel = Panel(partial(ctx.hooks.implementations, "classify_file"), clock=time.perf_counter, say=ctx.log.warning)
        self._apart = () if folder is None else (folder.parent,)
        scanner = Scanner(self._index, clock=time.perf_counter, limits=limits, apart=self._apart, panel=panel)
        self._troubles = Troubles(ctx)

        self._safety = await ctx.enter(
            await ctx.run_sync(SafetyIndex, _within(folder, "decisions.sqlite3"), ctx.log.error)
        )
        self._quarantine = None
        if folder is not None:
            self._quarantine = await ctx.run_sync(partial(QuarantineManager, folder / "quarantine", clock=clock.time))
            for undone in await ctx.run_sync(self._quarantine.recover):
                ctx.log.warning("%s is %s, as an earlier run has not finished with it", undone.path, undone.state)
        grants = GrantBook(ctx)
        gate = SecurityGate(
            settings.policy,
            self._safety,
            profile=profile,
            grants=grants,
            ring=self._ring(folder),
            quarantine=self._quarantine,
            strict_network=net_strict(),
        )
        await ctx.run_sync(gate.look_at_keys)
        self._troubles.note("keys", gate.ring_problem)
        self._troubles.note("decisions", gate.lost)
        self._assessor = Assessor(ctx, Stock(self._index), gate, grants, self._places)

        self._nights = await ctx.enter(
            await ctx.run_sync(NightStore, None if folder is None else folder / "nights", clock.time, ctx.log.warning)
        )
        turn = Turn(ctx)
        self._school = School(self._nights, scanner, turn, self._index.file, ctx.log)
        held = await ctx.run_sync(self._index.statistics)
        self._surveyor = Surveyor(ctx, self._index, scanner, self._school, held)
        library = RootLibrary(self._first_root, self._index, self._safety)
        port = NightPort(ctx, turn, self._school)
        self._night = NightCycleProcessor(settings.night, self._nights, library, port)

        self._integrator: CoreIntegrator | None = None
        self._incorporator: Incorporator | None = None
        self._kept_out: KeptOut | None = None
        tray = None if folder is None else await self._open_integrator(ctx, folder)
        self._lookout = Lookout(
            ctx,
            places=self._places,
            surveyor=self._surveyor,
            assessor=self._assessor,
            tray=tray if settings.integrate != "off" and settings.incoming else None,
            ask_why=ASK_WHY if settings.integrate == "ask" else "",
            troubles=self._troubles,
            apart=self._apart,
        )

        ctx.subscribe(ApprovalDecided, self._hear)
        ctx.subscribe(ServiceRegistered, self._meet)
        ctx.subscribe(StopLifted, self._go_on)
        ctx.start_soon(self._begin)
        ctx.start_soon(self._night.run)
        if settings.watch:
            ctx.start_soon(self._lookout.follow, self._night.notice)
        ctx.every(settings.scan_interval, self._lookout.begin, at_start=settings.scan_at_start)
        ctx.every(LOOK_AFTER_SEC, self._look_after)
        ctx.every(HEALTH_SEC, self._tell_health)

    async def _open_integrator(self, ctx: PluginContext, folder: Path) -> Tray:
        settings = self.settings
        swapper: Swapper = ctx.privilege("kernel:swap")
        integrator = CoreIntegrator(
            HostHands(ctx, swapper, settings.trial),
            folder / "integrations",
            now=ctx.clock.time,
            log=ctx.log,
            destination=None if settings.destination is None else ctx.root / settings.destination,
        )
        await integrator.recover()
        waiting = WaitingList(StateFile(folder / "waiting.json", dict[str, Waiting]))
        self._kept_out = kept_out = KeptOut(StateFile(folder / "taken_out.json", dict[str, str]))
        self._troubles.note("waiting", waiting.problem)
        self._troubles.note("kept out", kept_out.problem())
        incorporator = Incorporator(ctx, self._assessor, integrator, self._school, waiting, kept_out)
        assert self._quarantine is not None  # it is in the same folder
        self._follow_up = FollowUp(ctx, incorporator, waiting)
        self._aftercare = Aftercare(ctx, incorporator, integrator, seconds=settings.aftercare, why_out=self._why_out)
        self._integrator, self._incorporator = integrator, incorporator
        return Tray(ctx, incorporator, kept_out)

    def _why_out(self, digest: str) -> str:
        """Say why what came of an item must go."""
        if self._quarantine is not None and self._quarantine.holds(digest):
            return "is in quarantine"
        return "was signed with a key that was revoked" if self._safety.revoked(digest) else ""

    def _ring(self, folder: Path | None) -> KeyRing | None:
        """Return the ring of known keys, which is not read yet."""
        if self.settings.keyring is not None:
            path = self.ctx.root / self.settings.keyring
        elif folder is not None:
            path = folder.parent / RING_NAME
        else:
            return None
        return KeyRing(path, clock=self.ctx.clock.time)

    async def stop(self) -> None:
        """Have a scan end at its next file."""
        self._surveyor.stop()

    async def _begin(self) -> None:
        """Bring up what was brought in earlier, and go on with what was agreed to meanwhile."""
        if self._integrator is None or self._incorporator is None:
            return
        await self._aftercare.take_out_held()
        for brought in await self._integrator.bring_up():
            if brought.problem:
                self.ctx.log.warning("%s was brought in earlier, and does not serve: %s", brought.name, brought.problem)
        await self._follow_up.catch_up()

    # Scanning

    @handler
    async def trigger_scan(self, request: m.Scan) -> m.Scanned:
        """Scan one tree; a cancelled call ends the scan at its next file, and what was read stays in the index."""
        return await self._surveyor.scan(self._places.path(request.path))

    @handler
    async def trigger_classify(self, _: m.Classify) -> m.Kinds:
        """Count the kinds of all roots."""
        kinds: Counter[str] = Counter()
        for root in self._places.roots():
            counted = await self.ctx.run_sync(self._index.kinds, root)
            kinds.update({str(kind): count for kind, count in counted.items()})
        return m.Kinds(dict(kinds))

    @handler
    async def tell_file(self, request: m.GetFile) -> m.IndexedFile:
        """Tell what is known of one file of the roots."""
        _, record = await self._file(request.path)
        return m.IndexedFile(
            path=record.path,
            sha256=record.sha256,
            size=record.stamp.size,
            kind=str(record.kind),
            confidence=record.confidence,
            features=tuple(record.features),
            risk=record.risk,
            factors=tuple(factor.code for factor in record.factors),
            capabilities=tuple(record.capabilities),
            imports=tuple(record.imports),
            entry_points=tuple(record.entry_points),
            lines=record.lines,
        )

    async def _file(self, path: str) -> tuple[str, FileRecord]:
        roots = self._places.roots()
        for root in roots:
            record = await self.ctx.run_sync(self._index.file, root, path)
            if record is not None:
                return root, record
        raise LookupError(f"the index holds no file {path!r}; paths are relative to {' or '.join(roots)}")

    @handler
    async def correct(self, request: m.CorrectKind) -> m.Corrected:
        """Note what a file really is, at a person's word."""
        self._persons.require(current_call(), "say what a file is")
        root, record = await self._file(request.path)
        await self._school.note_kind(record, root, request.kind, by="person")
        return m.Corrected(record.path, record.kind, request.kind)

    # Items

    @handler
    async def trigger_security_eval(self, _: m.SecurityEval) -> m.Judged:
        """Decide about every item that is new, has changed, or falls under other rules."""
        assessed = await self._assessor.assess()
        severities: Counter[str] = Counter()
        risks: list[Risk] = []
        for root in self._places.roots():
            severities.update(await self.ctx.run_sync(self._index.severities, root))
            riskiest = await self.ctx.run_sync(self._index.riskiest, root)
            risks.extend(Risk(record.path, record.risk, record.factors) for record in riskiest)
        risks.sort(key=lambda risk: (-risk.risk, risk.path))
        return m.Judged(
            severities=dict(severities),
            riskiest=tuple(risks[:10]),
            verdicts=assessed.verdicts,
            blocked=assessed.blocked,
            judged=assessed.judged,
            drifted=assessed.drifted,
            quarantined=assessed.quarantined,
            held=assessed.held,
        )

    @handler
    async def tell_items(self, request: m.ListItems) -> m.Items:
        """List items with what was decided about them."""
        registered = () if self._integrator is None else self._integrator.registered.values()
        names = {one.digest: one.name for one in registered}
        found: list[m.JudgedItem] = []
        total = 0
        async for item, decision in self._assessor.judged():
            if request.name and request.name not in names_of(item):
                continue
            if request.kind is not None and item.kind is not request.kind:
                continue
            if decision is None and (request.judged or request.verdict is not None):
                continue
            if decision is not None and request.verdict not in (None, decision.verdict):
                continue
            total += 1
            if len(found) < request.limit:
                found.append(m.JudgedItem(item, decision, names.get(item.digest, "")))
        return m.Items(tuple(found), total)

    @handler
    async def decide(self, request: m.DecideItem) -> m.ItemDecided:
        """Keep a person's word on exactly these bytes, and decide anew."""
        person = self._persons.require(current_call(), "decide about an item")
        item = await self._assessor.find(request.item)
        if item.digest != request.digest:
            raise ValueError(f"{item.path} is not what you looked at: its digest is {item.digest} now")
        says: Literal["accept", "reject"] = "accept" if request.accept else "reject"
        decision = await self._assessor.review(item, says, person=str(person), reason=request.reason)
        return m.ItemDecided(decision)

    # Bringing in, and taking out

    @handler
    async def trigger_planning(self, request: m.MakePlan) -> m.Planned:
        """Make a plan, and say exactly what carrying it out would do."""
        return await self._kept("a plan").rehearse(request.items)

    @handler
    async def trigger_integrate(self, request: m.Integrate) -> m.Incorporated:
        """Bring items in, or have them wait for a person."""
        asker = self._asker()
        return await self._kept("bringing something in").integrate(
            request.items, digest=request.digest, sender=asker.name, ask_why=asker.ask_why
        )

    @handler
    async def trigger_rollback(self, request: m.Rollback) -> m.TakenOut:
        """Put everything back to what it was before an integration."""
        asker = self._asker()
        taken = await self._kept("a way back").take_out(request.token, reason=request.reason, sender=asker.name)
        self._aftercare.forget(taken.names)
        return taken

    @handler
    async def tell_integrations(self, request: m.ListIntegrations) -> m.Integrations:
        """List what was brought in."""
        if self._integrator is None or self._incorporator is None:
            return m.Integrations((), {}, {}, ())
        return m.Integrations(
            self._incorporator.integrations(request.limit),
            dict(self._integrator.registered),
            self._incorporator.waiting,
            self._problems(),
        )

    def _kept(self, what: str) -> Incorporator:
        if self._incorporator is None:
            raise NothingKeptError(what)
        return self._incorporator

    def _asker(self) -> Asker:
        """Tell who asks for what is answered now."""
        call = current_call()
        try:
            person = self._persons.require(call, "bring something in unasked")
        except NotAPersonError as exc:
            return Asker("" if call is None else str(call.caller), f"{exc.who} asks for it, which is no person")
        return Asker(str(person.identity), "")

    async def _hear(self, told: ApprovalDecided) -> None:
        if self._incorporator is not None:
            self.ctx.start_soon(self._follow_up.hear, told)

    async def _meet(self, told: ServiceRegistered) -> None:
        """Once governance serves, take out what must go, and go on with what was agreed to."""
        if told.service == "governance" and self._incorporator is not None:
            self.ctx.start_soon(self._aftercare.take_out_held)
            self.ctx.start_soon(self._follow_up.catch_up)

    async def _go_on(self, _: StopLifted) -> None:
        """Once nothing is stopped any more, go on with what was agreed to, and look at what came meanwhile."""
        if self._incorporator is not None:
            self.ctx.start_soon(self._follow_up.catch_up)
        await self._lookout.begin()

    async def _look_after(self) -> None:
        if self._incorporator is not None:
            await self._aftercare.look()
            await self._follow_up.catch_up()

    # Quarantine

    @handler
    async def quarantine_item(self, request: m.QuarantineItem) -> m.SetAside:
        """Set an item aside: at a person's word at once, at a plugin's if that may be done now."""
        item = await self._assessor.find(request.item)
        decision = await self._assessor.judge(item)
        done = await self._assessor.quarantine(item, decision, reason=request.reason, sender=self._asker().name)
        if self._integrator is None:
            return m.SetAside(done)
        out = await self._aftercare.take_out_held()
        serving = (name for name, one in self._integrator.registered.items() if one.digest == item.digest)
        return m.SetAside(done, out, tuple(serving))

    @handler
    async def release(self, request: m.ReleaseItem) -> m.SetAside:
        """Put something back where it was."""
        person = self._persons.require(current_call(), "release something from quarantine")
        await self._note_review(request.id, str(person), request.reason)
        return m.SetAside(await self.ctx.run_sync(partial(self._vault().release, request.id, by=str(person))))

    @handler
    async def delete(self, request: m.DeleteItem) -> m.SetAside:
        """Delete something in quarantine."""
        person = self._persons.require(current_call(), "delete something in quarantine")
        await self._note_review(request.id, str(person), request.reason)
        return m.SetAside(await self.ctx.run_sync(partial(self._vault().delete, request.id, by=str(person))))

    @handler
    async def review(self, request: m.ReviewItem) -> m.SetAside:
        """Note what a person says of something in quarantine."""
        person = self._persons.require(current_call(), "review something in quarantine")
        noted = partial(self._vault().review, request.id, by=str(person), says=request.says)
        return m.SetAside(await self.ctx.run_sync(noted))

    async def _note_review(self, id: str, by: str, says: str) -> None:  # noqa: A002 - what it is called
        if says:
            await self.ctx.run_sync(partial(self._vault().review, id, by=by, says=says))

    @handler
    async def tell_quarantined(self, request: m.ListQuarantined) -> m.QuarantineList:
        """List what is in quarantine."""
        vault = self._vault()
        items = await self.ctx.run_sync(partial(vault.all, kept=not request.ended))
        return m.QuarantineList(tuple(items), await self.ctx.run_sync(vault.statistics))

    def _vault(self) -> QuarantineManager:
        if self._quarantine is None:
            raise NothingKeptError("quarantine")
        return self._quarantine

    # Nights

    @handler
    async def tell_night(self, _: m.GetNight) -> m.Night:
        """Tell what the night cycle does."""
        reports = self._nights.reports.all()
        return m.Night(self._night.status(), reports[-1] if reports else None)

    @handler
    async def run_night(self, _: m.RunNight) -> m.NightDone:
        """Have a night's work done now."""
        return m.NightDone(await self._night.night_now())

    @handler
    async def unlearn(self, request: m.Unlearn) -> m.Unlearned:
        """Go back to what was in use before."""
        self._persons.require(current_call(), "have something unlearnt")
        return m.Unlearned(await self._night.undo(request.target))

    def _first_root(self) -> str:
        return name_of_root(self._places.path())

    # How this is

    @handler
    async def get_status(self, _: m.GetSelfIncorporationStatus) -> m.SelfIncorporationStatus:
        """Say what was done, also in the middle of a scan: then the index is as it was before."""
        held = await self._surveyor.statistics()
        aside = self._index.set_aside
        incorporator = self._incorporator
        return m.SelfIncorporationStatus(
            scanning=self._surveyor.scanning,
            scans=self._surveyor.scans,
            failed_scans=self._surveyor.failed,
            last_problem=self._surveyor.problem,
            files=held.files,
            refusals=held.refusals,
            findings=held.findings,
            set_aside="" if aside is None else str(aside.path),
            items=dict(self._assessor.verdicts),
            integrations=0 if incorporator is None else incorporator.done,
            failed_integrations=0 if incorporator is None else incorporator.failed,
            rollbacks=0 if incorporator is None else incorporator.rollbacks,
            registered=() if self._integrator is None else tuple(sorted(self._integrator.registered)),
            not_serving={} if incorporator is None else dict(self._aftercare.not_serving),
            quarantined=0 if self._quarantine is None else len(self._quarantine.all(kept=True)),
            waiting=0 if incorporator is None else len(incorporator.waiting),
            night=str(self._night.phase),
            problems=self._problems(),
        )

    @handler
    async def health_check(self, _: m.CheckHealth) -> m.SelfIncorporationHealth:
        """Look whether all that is kept is in order."""
        reasons = list(self._problems())
        if self._incorporator is not None:
            reasons += [f"{name} does not serve: {why}" for name, why in self._aftercare.not_serving.items()]
        if self._integrator is not None:
            reasons += [f"{one.path} cannot be read: {one.problem}" for one in self._integrator.unreadable]
        if self._index.backup_problem:
            reasons.append(f"the backup of the index is behind: {self._index.backup_problem}")
        if why := self._night.status().problem:
            reasons.append(f"the last night failed: {why}")
        metrics = {sample.name: sample.value for sample in self.collect_metrics() if sample.value is not None}
        return m.SelfIncorporationHealth(not reasons, tuple(reasons), metrics)

    async def _tell_health(self) -> None:
        if self._kept_out is not None:
            self._troubles.note("kept out", await self.ctx.run_sync(self._kept_out.problem))
        await self.ctx.publish(await self.health_check(m.CheckHealth()))

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Scan, tell the kinds, decide, and plan what lies in the incoming folders."""
        steps = [
            CycleStep("discover", m.Scan()),
            CycleStep("classify", m.Classify()),
            CycleStep("judge", m.SecurityEval()),
        ]
        return steps if self._incorporator is None else [*steps, CycleStep("plan", m.MakePlan())]

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Count what was done."""
        incorporator = self._incorporator
        counts: list[tuple[str, int, str]] = [
            ("scans", self._surveyor.scans, "scans"),
            ("failed_scans", self._surveyor.failed, "scans"),
            ("blocked", self._assessor.verdicts.get("blocked", 0), "items"),
            ("problems", len(self._problems()), "problems"),
        ]
        if incorporator is not None:
            counts += [
                ("integrations", incorporator.done, "integrations"),
                ("failed_integrations", incorporator.failed, "integrations"),
                ("rollbacks", incorporator.rollbacks, "rollbacks"),
                ("waiting", len(incorporator.waiting), "integrations"),
                ("not_serving", len(self._aftercare.not_serving), "plugins"),
            ]
        if self._quarantine is not None:
            counts.append(("quarantined", len(self._quarantine.all(kept=True)), "items"))
        return [MetricSample(name, float(count), unit) for name, count, unit in counts]

    def _problems(self) -> tuple[str, ...]:
        problems = () if self._integrator is None else self._integrator.problems
        kept = () if self._quarantine is None else self._quarantine.problems
        return (*self._troubles.all(), *problems, *kept)

    @handler
    async def look_around(self, _: m.LookAround) -> m.LookedAround:
        """Scan the roots, decide about what is new, and bring in what lies in the incoming folders."""
        return await self._lookout.look()


def _within(folder: Path | None, name: str) -> str | Path:
    return ":memory:" if folder is None else folder / name
