"""The governance plugin: answers whether something may be done without a person, and takes what persons say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import anyio.lowlevel

from aetherra.plugins import (
    AskPermission,
    CheckPermission,
    GetGrants,
    GetStatus,
    Identity,
    MetricSample,
    NotAPersonError,
    OutcomeRecorded,
    Permission,
    Person,
    Persons,
    Plugin,
    PluginContext,
    ServiceStatus,
    State,
    TellOutcome,
    current_call,
    handler,
    hookimpl,
)
from aetherra.plugins.governance import messages as m
from aetherra.plugins.governance.approvals import ApprovalError, Approvals
from aetherra.plugins.governance.clerk import Answer, Clerk, Hearing, UnknownActError
from aetherra.plugins.governance.count_file import FILE_NAME as COUNTS_NAME
from aetherra.plugins.governance.emergency_stop import FILE_NAME, EmergencyStop, Stopped
from aetherra.plugins.governance.gatekeeper import Gatekeeper
from aetherra.plugins.governance.guards import Counted, Guards
from aetherra.plugins.governance.kept import Kept, OpenAct
from aetherra.plugins.governance.measures import LOST, Measure, Measures
from aetherra.plugins.governance.recollection import Recollection, recollect
from aetherra.plugins.governance.scribe import Note, Scribe
from aetherra.plugins.governance.settings import GUARDS, GovernanceSettings
from aetherra.plugins.ledger import AuditLedger
from aetherra.plugins.storage import StateFile

__all__ = ["Governance"]

LOOK_SEC = 1.0
"""Seconds between two looks at the file that stops everything."""
TIDY_SEC = 60.0
"""Seconds between two times that what could not be written is tried again."""
STATE_NAME = "state.json"


class GovernanceState(State):
    """What the next generation must know: what is under way, and what holds, whatever the disk says of it.

    Attributes:
        acts: What is under way, by entry; where the ledger goes on, too.
        untold: What the disk has not taken.
        kept: Approvals and measures, also those that the disk has not taken.
        counted: The same of guards.
        stopped: What was said of the emergency stop, if the disk does not say it.
        stop_seen: What was told of it.
    """

    acts: dict[int, OpenAct] = {}
    untold: tuple[Note, ...] = ()
    kept: Kept | None = None
    counted: tuple[Counted, ...] = ()
    stopped: Stopped | None = None
    stop_seen: Stopped = Stopped(stopped=False)


class Governance(Plugin[GovernanceSettings]):
    """Answers for everything autonomous. What waits for the disk runs in worker threads."""

    name = "governance"
    service = "governance"
    version = "1"
    exclusive = True  # the ledger and the files beside it have one writer
    capabilities = ("call:kernel.grants", "call:kernel.status")

    async def start(self, ctx: PluginContext) -> None:
        """Read what holds, and get the ledger ready; while that is damaged, anybody may ask and nothing is allowed."""
        folder = ctx.data_dir
        profile = (await ctx.call(GetStatus())).profile
        clients = (await ctx.call(GetGrants(self.name))).clients
        self._persons = Persons(profile, clients, self.settings.relays)
        self._stop = EmergencyStop(None if folder is None else folder / FILE_NAME, ctx.clock.time)
        self._file = StateFile(None if folder is None else folder / STATE_NAME, Kept)
        self._ledger = await ctx.enter(
            AuditLedger.open(None if folder is None else folder.parent, self.settings.audit, clock=ctx.clock.time)
        )
        known = await ctx.run_sync(recollect, self._file, self._ledger)
        self._assemble(known, profile)
        self._mistrust(known)
        await ctx.run_sync(self._begin, known)
        await self._notice_stop()
        self._show()
        ctx.every(LOOK_SEC, self._notice_stop)
        ctx.every(TIDY_SEC, self._tidy, at_start=self._clerk.interrupted > 0)

    def _begin(self, known: Recollection) -> None:
        self._clerk.begin(is_new=known.is_new)
        if self._file.path is not None and known.is_new and not self._clerk.problem:
            with suppress(OSError):
                self._file.path.with_name(COUNTS_NAME).unlink()  # which is in the state by now

    def _assemble(self, known: Recollection, profile: str) -> None:
        settings, clock, time = self.settings, self.ctx.clock, _steady(self.ctx)
        kept = known.kept
        self._time = time
        self._guards = Guards({name: settings.guard(name) for name in GUARDS}, clock.monotonic)
        self._guards.recall(kept.counted, clock.time())
        self._approvals = Approvals(time, settings.approval_lifetime, settings.most_waiting, kept.approvals)
        self._measures = Measures(time, kept.measures)
        by_profile = ("integration",) if profile == "prod" else ()
        gatekeeper = Gatekeeper(
            stop=self._stop,
            measures=self._measures,
            persons=self._persons,
            guards=self._guards,
            approvals=self._approvals,
            time=time,
            approval_kinds=by_profile if settings.approval_kinds is None else settings.approval_kinds,
        )
        self._scribe = Scribe(self._ledger, clock.monotonic)
        self._clerk = Clerk(
            gatekeeper=gatekeeper,
            scribe=self._scribe,
            approvals=self._approvals,
            measures=self._measures,
            guards=self._guards,
            stop=self._stop,
            file=self._file,
            time=clock.time,
            known=known,
        )
        self._told_stop = kept.stop

    def _mistrust(self, known: Recollection) -> None:
        """Allow nothing if the state is not the last; have a person agree to everything if there is none."""
        if known.doubt:
            measure = Measure(guard=LOST, key="", breach="hold_everything", since=self._time(), reason=known.doubt)
        elif known.lost:
            reason = f"the state was lost: {known.lost}"
            measure = Measure(guard=LOST, key="", breach="require_human_approval", since=self._time(), reason=reason)
        else:
            return
        self.ctx.log.error("%s", measure.sentence)
        self._measures.impose(measure)

    # A swap

    async def hand_over(self) -> GovernanceState:
        """Let the next generation know what is under way, and what holds."""
        return await self.ctx.run_sync(self._state)

    def _state(self) -> GovernanceState:
        return GovernanceState(
            acts={} if self.ctx.data_dir is None else self._clerk.open_acts(),  # a ledger in memory begins anew
            untold=self._clerk.untold(),
            kept=self._clerk.kept(),
            counted=tuple(self._guards.records(self.ctx.clock.time())),
            stopped=self._stop.fleeting(),
            stop_seen=self._clerk.stop_seen,
        )

    async def take_over(self, state: GovernanceState) -> None:
        """Go on where the generation before is."""
        self._scribe.recall(state.untold)
        if state.stopped is not None:
            self._stop.recall(state.stopped)
        if state.kept is not None:
            self._told_stop = state.stop_seen
            await self.ctx.run_sync(self._clerk.take_over, state.acts, state.kept, state.counted, state.stop_seen)
        self._show()

    # Asking

    @handler
    async def ask(self, request: AskPermission) -> Permission:
        """Say whether something may be done; once it is allowed, that is on disk."""
        asker = _asker()
        if asker is None:
            reason = "permission is asked for by a call of one's own, not by an action or a step of the host's"
            return Permission(allowed=False, code="refused", reason=reason)
        if request.peek:
            return await self.ctx.run_sync(self._clerk.peek, asker, request.intent)
        hearing = Hearing()
        try:
            answer = await self.ctx.run_sync(self._clerk.ask, asker, request.intent, hearing)
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self.ctx.start_soon(self._give_up, hearing)
            raise
        self._announce(answer, request)
        return answer.permission

    async def _give_up(self, hearing: Hearing) -> None:
        await self.ctx.run_sync(self._clerk.give_up, hearing)

    def _announce(self, answer: Answer, request: AskPermission) -> None:
        """Tell those who hear of it; nobody who is slow to holds up who asks, or a stop."""
        self._show()
        intent = request.intent
        if answer.breached is not None:
            self.ctx.log.warning("%s", answer.breached.sentence)
            self.ctx.publish_nowait(m.GuardBreached(answer.breached, intent.kind, intent.component))
        for voided in answer.voided:
            self.ctx.publish_nowait(m.ApprovalDecided(voided))
        if answer.requested is not None:
            waits = answer.requested
            self.ctx.log.info("approval %s waits for a person: %r (%r)", waits.id, waits.summary, waits.why)
            self.ctx.publish_nowait(m.ApprovalRequested(waits))

    @handler
    async def check(self, request: CheckPermission) -> Permission:
        """Say whether what was allowed still is; it takes one look at the file system."""
        asker = _asker()
        if asker is None:
            return Permission(
                allowed=False, code="refused", reason="an action was allowed nothing", entry=request.entry
            )
        return self._clerk.check(asker, request.entry)

    @handler
    async def tell(self, request: TellOutcome) -> OutcomeRecorded:
        """Write what came of it; raises ``LookupError`` for what was not allowed to the one who tells."""
        asker = _asker()
        if asker is None:
            raise UnknownActError(request.entry)
        try:
            entry = await self.ctx.run_sync(
                self._clerk.tell, asker, request.entry, request.outcome, request.detail, request.facts
            )
        finally:
            self._show()
        return OutcomeRecorded(entry)

    # Insight

    @handler
    async def report(self, _: m.GetGovernanceStatus) -> m.GovernanceStatus:
        """Say what holds the host."""
        standing = await self.ctx.run_sync(self._clerk.standing)
        return m.GovernanceStatus(
            stopped=self._stop.now(),
            measures=standing.measures,
            guards=standing.guards,
            waiting=sum(each.state == "pending" for each in standing.approvals),
            asked=standing.asked,
            codes=standing.codes,
            open=standing.open,
            interrupted=standing.interrupted,
            untold=standing.untold,
            lost=standing.lost,
            entries=standing.entries,
            problem=standing.problem,
        )

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Count what was asked and what waits."""
        asked, not_allowed, waiting = self._clerk.figures()
        return [
            MetricSample("permissions_asked", float(asked), "questions"),
            MetricSample("permissions_not_allowed", float(not_allowed), "questions"),
            MetricSample("approvals_waiting", float(waiting), "approvals"),
            MetricSample("emergency_stop", float(self._told_stop.stopped), "stops"),
        ]

    # Guards

    @handler
    async def guards(self, _: m.GetGuards) -> m.GuardStates:
        """Say how guards stand."""
        standing = await self.ctx.run_sync(self._clerk.standing)
        return m.GuardStates(standing.guards, standing.measures)

    @handler
    async def reset_guard(self, request: m.ResetGuard) -> m.GuardReset:
        """Have a guard begin anew; raises ``LookupError`` for one that there is not."""
        person = self._person("reset a guard")
        forgotten, lifted = await self.ctx.run_sync(
            self._clerk.reset, request.guard, request.key, person, request.reason
        )
        self.ctx.log.info("%s had guard %s begin anew", person, request.guard)
        return m.GuardReset(request.guard, request.key, forgotten, lifted)

    # Approvals

    @handler
    async def approvals(self, request: m.ListApprovals) -> m.ApprovalList:
        """List them, the newest first."""
        found = (await self.ctx.run_sync(self._clerk.standing)).approvals
        fitting = [each for each in reversed(found) if request.state in (None, each.state)]
        return m.ApprovalList(tuple(fitting[: request.limit]))

    @handler
    async def approve(self, request: m.Approve) -> m.Decided:
        """Take a person's yes."""
        person = self._persons.require(current_call(), "approve")
        return await self._decide(request.approval, person, request.reason, approve=True)

    @handler
    async def deny(self, request: m.Deny) -> m.Decided:
        """Take a person's no."""
        person = self._persons.require(current_call(), "deny")
        return await self._decide(request.approval, person, request.reason, approve=False)

    @handler
    async def withdraw(self, request: m.Withdraw) -> m.Decided:
        """Void what the caller has asked for and does not want any more."""
        asker = _asker()
        if asker is None:
            raise ApprovalError(
                f"approval {request.approval!r} is none that an action or a step of the host's asked for"
            )
        withdrawn = await self.ctx.run_sync(self._clerk.withdraw, request.approval, asker, request.reason)
        self.ctx.publish_nowait(m.ApprovalDecided(withdrawn))
        return m.Decided(withdrawn)

    async def _decide(self, approval: str, person: Person, reason: str, *, approve: bool) -> m.Decided:
        def decide() -> m.Decided:
            return m.Decided(self._clerk.decide(approval, person, approve=approve, reason=reason))

        decided = await self.ctx.run_sync(decide)
        self.ctx.log.info("approval %s is %s by %s", approval, decided.approval.state, person)
        self.ctx.publish_nowait(m.ApprovalDecided(decided.approval))
        return decided

    # Emergency stop

    @handler
    async def stop_all(self, request: m.EmergencyStopAll) -> m.StopReply:
        """Stop everything autonomous. It holds at once, also if ``DataFileError`` says that it cannot be written."""
        call = current_call()
        who = "somebody" if call is None else str(call.caller)
        self._stop.say(who, request.reason)
        try:
            await self.ctx.run_sync(self._stop.write)
        finally:
            await self._notice_stop()
        return m.StopReply(self._stop.now())

    @handler
    async def lift(self, request: m.LiftStop) -> m.StopReply:
        """Lift the emergency stop; raises ``DataFileError`` if that cannot be written, and then it holds."""
        person = self._person("lift the emergency stop")
        held = await self.ctx.run_sync(self._stop.lift, str(person), request.reason)
        await self._notice_stop()
        return m.StopReply(self._stop.now(), held)

    async def _notice_stop(self) -> None:
        """Tell of a stop or of its end, also of one that was said by the file."""
        said, held = self._stop.last(), self._told_stop
        if said != held:
            self._told_stop = said
            if said.stopped:
                self.ctx.log.warning("%s", said.sentence)
                self.ctx.publish_nowait(m.EverythingStopped(said))
            elif held.stopped:
                self.ctx.log.warning("the emergency stop is lifted by %s", said.who or "somebody, by the file")
                self.ctx.publish_nowait(m.StopLifted(said.who or "somebody, by the file", said.why, held))
        if said != self._clerk.stop_seen:
            await self.ctx.run_sync(self._clerk.note_stop, said)

    # The ledger

    @handler
    async def audit_tail(self, request: m.GetAuditTail) -> m.AuditTail:
        """Tell the last entries, the oldest first."""
        return m.AuditTail(await self.ctx.run_sync(self._ledger.tail, request.limit))

    @handler
    async def audit_verify(self, _: m.VerifyAudit) -> m.AuditVerified:
        """Check the ledger."""
        return m.AuditVerified(await self.ctx.run_sync(self._ledger.verify))

    # Standing

    async def _tidy(self) -> None:
        await self.ctx.run_sync(self._clerk.tidy)
        self._show()

    _shown = ""

    def _show(self) -> None:
        """Say in the service's status whether all can be written."""
        problem = self._clerk.problem
        if problem == self._shown:
            return
        if problem:
            self.ctx.log.error("nothing autonomous is allowed, as it cannot be recorded: %s", problem)
            self.ctx.set_status(ServiceStatus.DEGRADED, problem)
        else:
            self.ctx.set_status(ServiceStatus.HEALTHY)
        self._shown = problem

    def _person(self, what: str) -> Person:
        """Return who says what no plugin may pass on."""
        person = self._persons.require(current_call(), what)
        if person.relay:
            raise NotAPersonError(what, f"plugin {person.relay!r}", "a plugin never is, whoever has called it")
        return person


def _steady(ctx: PluginContext) -> Callable[[], float]:
    """Return Unix time as of now, that goes on by the clock which nobody sets."""
    clock = ctx.clock
    ahead = clock.time() - clock.monotonic()
    return lambda: ahead + clock.monotonic()


def _asker() -> Identity | None:
    """Return who makes the call that is being answered; ``None`` if the host makes it for somebody else.

    So it does with actions and with steps of its cycle, which anybody may have worded.
    """
    call = current_call()
    if call is None or (call.caller.kind == "host" and call.parent is not None):
        return None
    return call.caller
