"""The self-incorporation plugin: wires what finds, judges, brings in, takes out and learns, and answers for it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal

from aetherra.plugins import (
    CycleStep,
    GetGrants,
    GetStatus,
    MetricSample,
    Persons,
    Plugin,
    PluginContext,
    current_call,
    handler,
    hookimpl,
)
from aetherra.plugins.governance.messages import StopLifted
from aetherra.plugins.self_incorporation import messages as m
from aetherra.plugins.self_incorporation.asker import asker
from aetherra.plugins.self_incorporation.assessor import Assessor, GrantBook
from aetherra.plugins.self_incorporation.clearing import Clearing
from aetherra.plugins.self_incorporation.code.panel import Panel
from aetherra.plugins.self_incorporation.errors import NothingKeptError
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.gate.security_gate import SecurityGate, net_strict
from aetherra.plugins.self_incorporation.holdings import Holdings
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.scanner import Limits, Scanner, name_of_root
from aetherra.plugins.self_incorporation.intake import Intake
from aetherra.plugins.self_incorporation.listing import listing
from aetherra.plugins.self_incorporation.lookout import Lookout
from aetherra.plugins.self_incorporation.night.processor import NightCycleProcessor
from aetherra.plugins.self_incorporation.night.store import NightStore
from aetherra.plugins.self_incorporation.night_shift import NightPort, RootLibrary
from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.self_incorporation.quarantine_desk import QuarantineDesk
from aetherra.plugins.self_incorporation.school import School
from aetherra.plugins.self_incorporation.settings import SelfIncorporationSettings
from aetherra.plugins.self_incorporation.standing import Standing
from aetherra.plugins.self_incorporation.stock import Stock
from aetherra.plugins.self_incorporation.surveyor import Surveyor
from aetherra.plugins.self_incorporation.troubles import Troubles
from aetherra.plugins.self_incorporation.turn import Turn
from aetherra.plugins.signing import RING_NAME, KeyRing
from aetherra.plugins.storage import StateFile

__all__ = ["SelfIncorporationService"]

ASK_WHY = "it lies in an incoming folder, and the setting 'integrate' is 'ask'"
"""Why a person has to agree to what is brought in unasked."""
HEALTH_SEC = 60.0
"""Seconds between two times that homeostasis is told how this is."""


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
        "subscribe:selfinc.integrate_reply",
        "subscribe:selfinc.scanned",
        "subscribe:service.registered",
        "call:governance.approvals",
        "call:governance.withdraw",
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
        names = StateFile(None if folder is None else folder / "roots.json", dict[str, str])
        self._places = await ctx.run_sync(Places, ctx.root, settings.roots, settings.incoming, names)

        self._index = await ctx.enter(await ctx.run_sync(CodeIndex, _within(folder, "index.sqlite3"), ctx.log.warning))
        if self._index.set_aside is not None:
            ctx.log.error("the index could not be read; it was moved to %s", self._index.set_aside.path)
        limits = Limits(source_bytes=settings.max_source_bytes, file_bytes=settings.max_file_bytes)
        panel = Panel(partial(ctx.hooks.implementations, "classify_file"), clock=time.perf_counter, say=ctx.log.warning)
        apart = () if folder is None else (folder.parent,)
        scanner = Scanner(self._index, clock=time.perf_counter, limits=limits, apart=apart, panel=panel)
        troubles = Troubles(ctx)
        self._holdings = Holdings(ctx, self._index, self._places)

        safety = await ctx.enter(await ctx.run_sync(SafetyIndex, _within(folder, "decisions.sqlite3"), ctx.log.error))
        quarantine = None
        if folder is not None:
            quarantine = await ctx.run_sync(partial(QuarantineManager, folder / "quarantine", clock=clock.time))
            for undone in await ctx.run_sync(quarantine.recover):
                ctx.log.warning("%s is %s, as an earlier run has not finished with it", undone.path, undone.state)
        self._desk = QuarantineDesk(ctx, quarantine)
        grants = GrantBook(ctx)
        gate = SecurityGate(
            settings.policy,
            safety,
            profile=profile,
            grants=grants,
            ring=self._ring(folder),
            quarantine=quarantine,
            strict_network=net_strict(),
        )
        await ctx.run_sync(gate.look_at_keys)
        troubles.note("keys", gate.ring_problem)
        troubles.note("decisions", gate.lost)
        self._assessor = Assessor(ctx, Stock(self._index), gate, grants, self._places)

        self._nights = await ctx.enter(
            await ctx.run_sync(NightStore, None if folder is None else folder / "nights", clock.time, ctx.log.warning)
        )
        turn = Turn(ctx)
        self._school = School(self._nights, scanner, turn, self._index.file, ctx.log)
        held = await ctx.run_sync(self._index.statistics)
        self._surveyor = Surveyor(ctx, self._index, scanner, self._school, held)
        library = RootLibrary(self._first_root, self._index, safety)
        port = NightPort(ctx, turn, self._school)
        self._night = NightCycleProcessor(settings.night, self._nights, library, port)

        self._intake = None
        if folder is not None and quarantine is not None:
            self._intake = await Intake.open(
                ctx,
                folder,
                settings,
                assessor=self._assessor,
                school=self._school,
                troubles=troubles,
                quarantine=quarantine,
                safety=safety,
            )
        brings_in = self._intake is not None and settings.integrate != "off" and settings.incoming
        self._lookout = Lookout(
            ctx,
            places=self._places,
            surveyor=self._surveyor,
            assessor=self._assessor,
            tray=self._intake.tray if self._intake is not None and brings_in else None,
            ask_why=ASK_WHY if settings.integrate == "ask" else "",
            troubles=troubles,
            apart=apart,
        )

        self._standing = Standing(
            index=self._index,
            surveyor=self._surveyor,
            assessor=self._assessor,
            night=self._night,
            quarantine=quarantine,
            intake=self._intake,
            troubles=troubles,
        )

        if self._intake is not None:
            self._intake.attend()
            clearing = Clearing(ctx, self._places, self._surveyor, self._index, safety, self._intake.kept)
            ctx.start_soon(clearing.clear)
        ctx.subscribe(StopLifted, self._go_on)
        ctx.start_soon(self._night.run)
        if settings.watch:
            ctx.start_soon(self._lookout.follow, self._night.notice)
        ctx.every(settings.scan_interval, self._lookout.begin, at_start=settings.scan_at_start)
        ctx.every(HEALTH_SEC, self._tell_health)

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

    async def _go_on(self, _: StopLifted) -> None:
        """Once nothing is stopped any more, go on with what was agreed to, and look at what came meanwhile."""
        if self._intake is not None:
            self._intake.go_on()
        await self._lookout.begin()

    async def _tell_health(self) -> None:
        if self._intake is not None:
            await self._intake.look_at_files()
        await self.ctx.publish(self._standing.health())

    # Scanning

    @handler
    async def trigger_scan(self, request: m.Scan) -> m.Scanned:
        """Scan one tree; a cancelled call ends the scan at its next file, and what was read stays in the index."""
        return await self._surveyor.scan(self._places.path(request.path))

    @handler
    async def look_around(self, _: m.LookAround) -> m.LookedAround:
        """Scan the roots, decide about what is new, and bring in what lies in the incoming folders."""
        return await self._lookout.look()

    @handler
    async def trigger_classify(self, _: m.Classify) -> m.Kinds:
        """Count the kinds of all roots."""
        return m.Kinds(await self._holdings.kinds())

    @handler
    async def tell_file(self, request: m.GetFile) -> m.IndexedFile:
        """Tell what is known of one file of the roots."""
        return await self._holdings.tell(request.path)

    @handler
    async def correct(self, request: m.CorrectKind) -> m.Corrected:
        """Note what a file really is, at a person's word."""
        self._persons.require(current_call(), "say what a file is")
        root, record = await self._holdings.file(request.path)
        await self._school.note_kind(record, root, request.kind, by="person")
        return m.Corrected(record.path, record.kind, request.kind)

    # Items

    @handler
    async def trigger_security_eval(self, _: m.SecurityEval) -> m.Judged:
        """Decide about every item that is new, has changed, or falls under other rules."""
        assessed = await self._assessor.assess()
        return m.Judged(
            severities=await self._holdings.severities(),
            riskiest=await self._holdings.riskiest(),
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
        registered = () if self._intake is None else self._intake.integrator.registered.values()
        return await listing(self._assessor, request, {one.digest: one.name for one in registered})

    @handler
    async def decide(self, request: m.DecideItem) -> m.ItemDecided:
        """Keep a person's word on exactly these bytes, and decide anew."""
        person = self._persons.require(current_call(), "decide about an item")
        item = await self._assessor.find(request.item)
        if item.digest != request.digest:
            raise ValueError(f"{item.path} is not what you looked at: its digest is {item.digest} now")
        says: Literal["accept", "reject"] = "accept" if request.accept else "reject"
        decision = await self._assessor.review(item, says, person=str(person), reason=request.reason)
        if self._intake is not None:
            await self._intake.note_word(item, accept=request.accept)
        return m.ItemDecided(decision)

    # Bringing in, and taking out

    @handler
    async def trigger_planning(self, request: m.MakePlan) -> m.Planned:
        """Make a plan, and say exactly what carrying it out would do."""
        return await self._kept("a plan").incorporator.rehearse(request.items, request.settings)

    @handler
    async def trigger_integrate(self, request: m.Integrate) -> m.Incorporated:
        """Bring items in, or have them wait for a person."""
        who = asker(self._persons)
        return await self._kept("bringing something in").incorporator.integrate(
            request.items,
            settings=request.settings,
            digest=request.digest,
            sender=who.name,
            ask_why=who.ask_why,
        )

    @handler
    async def trigger_rollback(self, request: m.Rollback) -> m.TakenOut:
        """Put everything back to what it was before an integration."""
        sender = asker(self._persons).name
        return await self._kept("a way back").take_out(request.token, reason=request.reason, sender=sender)

    @handler
    async def tell_integrations(self, request: m.ListIntegrations) -> m.Integrations:
        """List what was brought in."""
        if self._intake is None:
            return m.Integrations((), {}, {}, ())
        return m.Integrations(
            self._intake.incorporator.integrations(request.limit),
            self._intake.incorporator.registered,
            self._intake.incorporator.waiting,
            self._standing.problems(),
        )

    def _kept(self, what: str) -> Intake:
        if self._intake is None:
            raise NothingKeptError(what)
        return self._intake

    # Quarantine

    @handler
    async def quarantine_item(self, request: m.QuarantineItem) -> m.SetAside:
        """Set an item aside: at a person's word at once, at a plugin's if that may be done now."""
        item = await self._assessor.find(request.item)
        decision = await self._assessor.judge(item)
        done = await self._assessor.quarantine(item, decision, reason=request.reason, sender=asker(self._persons).name)
        if self._intake is None:
            return m.SetAside(done)
        return m.SetAside(done, *await self._intake.take_out_held(item.digest))

    @handler
    async def release(self, request: m.ReleaseItem) -> m.SetAside:
        """Put something back where it was."""
        person = self._persons.require(current_call(), "release something from quarantine")
        return m.SetAside(await self._desk.release(request.id, by=str(person), says=request.reason))

    @handler
    async def delete(self, request: m.DeleteItem) -> m.SetAside:
        """Delete something in quarantine."""
        person = self._persons.require(current_call(), "delete something in quarantine")
        return m.SetAside(await self._desk.delete(request.id, by=str(person), says=request.reason))

    @handler
    async def review(self, request: m.ReviewItem) -> m.SetAside:
        """Note what a person says of something in quarantine."""
        person = self._persons.require(current_call(), "review something in quarantine")
        return m.SetAside(await self._desk.review(request.id, by=str(person), says=request.says))

    @handler
    async def tell_quarantined(self, request: m.ListQuarantined) -> m.QuarantineList:
        """List what is in quarantine."""
        return await self._desk.list(ended=request.ended)

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
        return await self._standing.status()

    @handler
    async def health_check(self, _: m.CheckHealth) -> m.SelfIncorporationHealth:
        """Look whether all that is kept is in order."""
        return self._standing.health()

    @hookimpl
    def cycle_steps(self) -> Iterable[CycleStep]:
        """Scan, tell the kinds, decide, and plan what lies in the incoming folders."""
        steps = [
            CycleStep("discover", m.Scan()),
            CycleStep("classify", m.Classify()),
            CycleStep("judge", m.SecurityEval()),
        ]
        return steps if self._intake is None else [*steps, CycleStep("plan", m.MakePlan())]

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Count what was done."""
        return self._standing.metrics()


def _within(folder: Path | None, name: str) -> str | Path:
    return ":memory:" if folder is None else folder / name
