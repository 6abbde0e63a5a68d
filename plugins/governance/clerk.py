"""The clerk: carries out what the gatekeeper says, so that it is on disk before anybody hears of it."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import itemgetter

import msgspec

from aetherra.plugins import (
    DataFileError,
    Fact,
    Identity,
    Intent,
    Permission,
    Person,
)
from aetherra.plugins.governance.approvals import Approval, Approvals
from aetherra.plugins.governance.emergency_stop import EmergencyStop, Stopped
from aetherra.plugins.governance.gatekeeper import Gatekeeper, Verdict, name_of
from aetherra.plugins.governance.guards import Count, Counted, Guards, GuardState
from aetherra.plugins.governance.kept import ENDS, UNCOUNTED, Kept, OpenAct
from aetherra.plugins.governance.measures import LOST, Measure, Measures
from aetherra.plugins.governance.recollection import Recollection
from aetherra.plugins.governance.scribe import Note, Scribe
from aetherra.plugins.governance.settings import GUARDS, GuardName
from aetherra.plugins.storage import StateFile

__all__ = ["Answer", "Clerk", "Hearing", "Standing", "UnknownActError", "UnknownGuardError"]

MOST_OPEN = 10_000
"""Acts whose outcome is waited for; of more, the oldest may go no further, and end as interrupted."""
MOST_BEHIND = 200
"""Entries of the ledger that the state on disk may not know of: so many a start reads, after a death as well."""


class UnknownActError(LookupError):
    """Nothing of that number was allowed to whoever tells of it, or its outcome was told already."""

    def __init__(self, entry: int) -> None:
        super().__init__(entry)
        self.entry = entry

    def __str__(self) -> str:
        return f"entry {self.entry} of the ledger is no act of yours that is under way"


class UnknownGuardError(LookupError):
    """There is no guard of that name."""

    def __init__(self, guard: str) -> None:
        super().__init__(guard)
        self.guard = guard

    def __str__(self) -> str:
        return f"there is no guard {self.guard!r}; expected one of {', '.join((*GUARDS, LOST))}"


class Hearing:
    """Whether somebody still waits for an answer.

    Attributes:
        is_gone: Whether nobody does.
        entry: What was allowed meanwhile; 0 if nothing was.
        counted: As what, and when, that was counted; ``None`` if it was not.
    """

    def __init__(self) -> None:
        self.is_gone = False
        self.entry = 0
        self.counted: tuple[Count, float] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered, and what others are told of it.

    Attributes:
        permission: The answer.
        requested: What waits for a person since.
        voided: Approvals that are void since.
        breached: What is in force since, if it was not before.
    """

    permission: Permission
    requested: Approval | None = None
    voided: tuple[Approval, ...] = ()
    breached: Measure | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How everything stands, at one moment; see ``GovernanceStatus``."""

    approvals: tuple[Approval, ...]
    measures: tuple[Measure, ...]
    guards: tuple[GuardState, ...]
    asked: int
    codes: dict[str, int]
    open: int
    interrupted: int
    untold: int
    lost: int
    entries: int
    problem: str


class Clerk:
    """Owns the order in which things are written. Any thread may call it and wait for the disk, and one has its turn.

    What is allowed is on disk in two places before it is answered: the approval as used, and the entry in the ledger,
    which says what guard has counted it. If one of them cannot be written, nothing is allowed, and what was begun is
    taken back; a death between them leaves an approval that is used up, one after them an entry of something that
    nobody was told.

    Args:
        gatekeeper: Says what holds.
        scribe: Writes the ledger.
        approvals: Changed here alone, like all that follow.
        measures: Those in force.
        guards: What was let pass.
        stop: The emergency stop.
        file: Where all of that is kept.
        time: Unix time.
        known: What an earlier run knew.

    Attributes:
        interrupted: Acts of earlier runs that were cut off, as far as that was found at the start.
    """

    def __init__(
        self,
        *,
        gatekeeper: Gatekeeper,
        scribe: Scribe,
        approvals: Approvals,
        measures: Measures,
        guards: Guards,
        stop: EmergencyStop,
        file: StateFile[Kept],
        time: Callable[[], float],
        known: Recollection,
    ) -> None:
        self._gatekeeper = gatekeeper
        self._scribe = scribe
        self._approvals = approvals
        self._measures = measures
        self._guards = guards
        self._stop = stop
        self._file = file
        self._time = time
        self.stop_seen = self._stop_kept = known.kept.stop
        self._turn = threading.RLock()
        self._unsaved, self._is_worded = "", False
        self._saved_entry = known.kept.entry
        self._cut_off = dict(known.kept.open)
        self.interrupted = len(self._cut_off)
        scribe.state, scribe.last = known.kept.number, known.kept.entry
        self._asked = (0, 0)
        self._codes: Counter[str] = Counter()
        self._open: OrderedDict[int, OpenAct] = OrderedDict()

    # Beginning

    def begin(self, *, is_new: bool) -> None:
        """Have on disk what a later run looks for: where it is missing then, somebody has taken it away.

        Never raises for the disk; until it takes that, nothing is allowed.

        Args:
            is_new: Whether what is to be kept is not what was found.
        """
        with self._turn:
            if is_new:
                with suppress(DataFileError):
                    self._save()

    def take_over(
        self, acts: Mapping[int, OpenAct], kept: Kept, counted: Iterable[Counted], stop_seen: Stopped
    ) -> None:
        """Go on where an earlier generation is: with what it has allowed, and all that its disk may not have taken."""
        with self._turn:
            self._open.update(acts)
            for entry in (*acts, *(note.refers_to for note in self._scribe.untold)):
                self._cut_off.pop(entry, None)
            self.interrupted = len(self._cut_off)
            self._approvals.restore(kept.approvals)
            self._measures.restore(kept.measures)
            self._guards.restore(counted, self._time())
            self.stop_seen, self._stop_kept = stop_seen, kept.stop
            self.begin(is_new=True)

    # Asking

    def ask(self, asker: Identity, intent: Intent, hearing: Hearing) -> Answer:
        """Answer a question for permission, once all that follows from it is on disk. Never raises for the disk.

        Args:
            asker: Who would act.
            intent: What.
            hearing: Whether somebody waits for it; what was allowed to nobody is written as cancelled.
        """
        with self._turn:
            verdict = self._gatekeeper.judge(asker, intent)
            answer = self._answer(name_of(asker), intent, verdict, hearing)
            asked, allowed = self._asked
            self._asked = asked + 1, allowed + answer.permission.allowed
            self._codes[answer.permission.code] += 1
            if answer.permission.allowed:
                hearing.entry = answer.permission.entry
                if hearing.is_gone:
                    self.give_up(hearing)
            self._keep_up()
            return answer

    def give_up(self, hearing: Hearing) -> None:
        """Write that nobody has heard an answer: what it allowed is not done."""
        with self._turn:
            hearing.is_gone = True
            act = self._open.pop(hearing.entry, None)
            if act is not None:
                self._uncount(hearing)
                self._cancel(hearing.entry, act.asker, act.intent, "nobody waited for the answer")

    def peek(self, asker: Identity, intent: Intent) -> Permission:
        """Return what would be answered; nothing is written."""
        with self._turn:
            verdict = self._gatekeeper.judge(asker, intent)
            if verdict.code == "guard" and verdict.measure is not None:  # which is not in force, as nobody has asked
                reason = f"{verdict.measure.reason}; again in {verdict.retry_after:.0f} s"
                verdict = msgspec.structs.replace(verdict, reason=reason)
            return _permission(verdict)

    def check(self, asker: Identity, entry: int) -> Permission:
        """Return whether what was allowed as ``entry`` still is. It waits for nobody who writes."""
        act = self._open.get(entry)
        if act is None or act.asker != name_of(asker):
            return Permission(allowed=False, code="refused", reason=str(UnknownActError(entry)), entry=entry)
        halted = self._gatekeeper.halted(act.asker, act.intent)
        return _permission(halted or Verdict(code="allowed"), entry)

    def tell(self, asker: Identity, entry: int, outcome: str, detail: str, facts: Mapping[str, Fact]) -> int:
        """Write what came of something, and return the number of the entry that says so.

        Raises:
            UnknownActError: Nothing of that number is under way for whoever tells.
            DataFileError: It cannot be written now, and is once it can be.
        """
        with self._turn:
            act = self._open.get(entry)
            if act is None or act.asker != name_of(asker):
                raise UnknownActError(entry)
            del self._open[entry]
            told = self._scribe.keep(self._scribe.outcome(entry, act.asker, act.intent, outcome, detail, facts))
            self._keep_up()
            return told

    def _answer(self, asker: str, intent: Intent, verdict: Verdict, hearing: Hearing) -> Answer:
        before, in_force = self._approvals.snapshot(), self._measures.in_force()
        voided, requested = self._approvals.void(asker, intent), None
        approval: Approval | None = None
        if verdict.question:
            approval = requested = self._approvals.request(asker, intent, verdict.question)
            reason = f"a person must agree, by 'aetherra approvals approve {approval.id}': {verdict.question}"
            verdict = msgspec.structs.replace(verdict, reason=reason, approval=approval.id)
        elif verdict.approval:
            approval = self._approvals.word(verdict.approval, intent.summary)
            if verdict.code == "allowed":
                approval = self._approvals.use(approval.id)
            elif not voided and self._approvals.snapshot() != before:  # words alone: the next tidying saves them
                before, self._is_worded = self._approvals.snapshot(), True
        is_news = verdict.measure is not None and self._measures.impose(verdict.measure)
        breached = verdict.measure if is_news else None
        try:
            if self._unsaved or self._approvals.snapshot() != before or self._measures.in_force() != in_force:
                self._save()
            asked = self._scribe.question(asker, intent, verdict, approval)
        except DataFileError as exc:
            self._take_back(before)
            return Answer(permission=_unwritten(verdict, exc), breached=breached)
        except BaseException:
            self._take_back(before)
            raise
        if verdict.code == "allowed":
            self._open[asked.entry] = OpenAct(asker, msgspec.structs.replace(intent, facts={}))
            refusal = self._count(verdict.count, hearing, is_written=asked.is_counted) or self._stopped()
            if refusal is not None:
                del self._open[asked.entry]
                self._uncount(hearing)
                self._take_back(before)
                self._cancel(asked.entry, asker, intent, refusal.reason)
                return Answer(permission=_permission(refusal, asked.entry), voided=voided)
            while len(self._open) > MOST_OPEN:
                entry, act = self._open.popitem(last=False)
                self._cut_off[entry] = act
        return Answer(
            permission=_permission(verdict, asked.entry), requested=requested, voided=voided, breached=breached
        )

    def _count(self, count: Count | None, hearing: Hearing, *, is_written: bool) -> Verdict | None:
        """Count what is let pass; why it is not, if that stands nowhere and cannot be written."""
        if count is None:
            return None
        hearing.counted = count, self._guards.count(count)
        if not is_written:
            try:
                self._save()
            except DataFileError as exc:
                return _unrecorded(exc)
        return None

    def _uncount(self, hearing: Hearing) -> None:
        """Take back what was counted; on disk, the act's outcome says so."""
        if hearing.counted is not None:
            self._guards.take_back(*hearing.counted)
            hearing.counted = None

    def _stopped(self) -> Verdict | None:
        """Look once more: to write takes a while."""
        stopped = self._stop.now()
        return None if stopped is None else Verdict(code="stopped", reason=stopped.sentence)

    def _cancel(self, entry: int, asker: str, intent: Intent, why: str) -> None:
        note = self._scribe.outcome(entry, asker, intent, "cancelled", why, {})
        self._note(msgspec.structs.replace(note, facts={UNCOUNTED: True}))

    def _take_back(self, before: tuple[Approval, ...]) -> None:
        """Have approvals as they were, in memory and as soon as can be on disk; what is void stays so."""
        now = self._approvals.snapshot()
        void = {each.id: each for each in now if each.state == "void"}
        self._approvals.restore(void.get(each.id, each) for each in before)
        if self._approvals.snapshot() != now or self._unsaved:
            with suppress(DataFileError):
                self._save()

    def withdraw(self, approval: str, asker: Identity, reason: str) -> Approval:
        """Void what its asker does not want any more.

        Raises:
            ApprovalError: There is nothing to withdraw, or it is another's.
            UnknownApprovalError: There is none of that id.
            DataFileError: It cannot be written: it is void all the same, and is written when it can.
        """
        with self._turn:
            withdrawn = self._approvals.withdraw(approval, name_of(asker), reason)
            self._put_down(
                Note(
                    kind="governance.withdraw",
                    actor=str(asker),
                    component=withdrawn.component,
                    summary=f"{withdrawn.kind} of {withdrawn.component!r} is not wanted any more: {reason}",
                    code=withdrawn.state,
                    digest=withdrawn.digest,
                    facts={"approval": withdrawn.id},
                )
            )
            return withdrawn

    # What persons say

    def decide(self, approval: str, person: Person, *, approve: bool, reason: str) -> Approval:
        """Take a person's decision on what waits for one.

        Raises:
            ApprovalError: There is nothing to decide, or it is not for them to.
            UnknownApprovalError: There is none of that id.
            DataFileError: It cannot be written: an approval does not count; a denial does, and is written when it can.
        """
        with self._turn:
            before = self._approvals.snapshot()
            decided = self._approvals.decide(approval, person, approve=approve, reason=reason)
            note = Note(
                kind="governance.approve" if approve else "governance.deny",
                actor=str(person),
                component=decided.component,
                summary=f"{decided.kind} of {decided.component!r} is {decided.state}: {decided.summary}",
                code=decided.state,
                digest=decided.digest,
                facts={"approval": decided.id, "asker": decided.asker, "reason": reason, **_since(decided)},
            )
            if not approve:
                self._put_down(note)
                return decided
            try:
                self._save()
                self._scribe.write(note)
            except DataFileError:
                self._take_back(before)
                raise
            return decided

    def reset(self, guard: str, key: str | None, person: Person, reason: str) -> tuple[int, tuple[Measure, ...]]:
        """Have a guard begin anew, and return how many it had counted and what was in force because of it.

        Raises:
            UnknownGuardError: There is none of that name.
            DataFileError: It cannot be written, and nothing has changed; where the ledger says so already, it takes
                that back.
        """
        name: GuardName | None = next((name for name in GUARDS if name == guard), None)
        if name is None and guard != LOST:
            raise UnknownGuardError(guard)
        with self._turn:
            gone = [
                each
                for each in self._guards.records(self._time())
                if each.count.guard == name and key in (None, each.count.key)
            ]
            lifted = self._measures.lift(guard, key)
            if name is not None:
                self._guards.reset(name, key)
            whom = f" for {key!r}" if key is not None else ""
            entry = 0
            try:
                entry = self._scribe.write(
                    Note(
                        kind="governance.reset_guard",
                        actor=str(person),
                        component=guard,
                        summary=f"guard {guard!r} begins anew{whom}",
                        facts={"forgotten": len(gone), "lifted": len(lifted), "reason": reason},
                    )
                )
                self._save()
            except DataFileError as exc:
                for measure in lifted:
                    self._measures.impose(measure)
                self._guards.recall(gone, self._time())
                if entry:
                    self._note(
                        Note(kind="governance.reset_guard", actor=str(person), component=guard, code="cancelled",
                             refers_to=entry, summary=f"guard {guard!r} does not begin anew: {exc}")
                    )  # fmt: skip
                    with suppress(DataFileError):
                        self._save()
                raise
            return len(gone), lifted

    def note_stop(self, said: Stopped) -> None:
        """Write that all was stopped, or that this is over, if it is news. Never raises for the disk."""
        with self._turn:
            before, self.stop_seen = self.stop_seen, said
            if said == before or not (said.stopped or before.stopped):
                return
            lifted = f"the emergency stop is lifted: {said.why or 'no reason was given'}"
            self._note(
                Note(
                    kind="governance.stop" if said.stopped else "governance.lift",
                    actor=said.who or "somebody, by the file",
                    component="host",
                    summary=said.sentence if said.stopped else lifted,
                )
            )
            with suppress(DataFileError):
                self._save()

    # Keeping

    def tidy(self) -> None:
        """Write what could not be written when it was due. Never raises for the disk; the standing tells."""
        with self._turn:
            with suppress(DataFileError):
                self._stop.write()
            self._scribe.catch_up()
            self._end_cut_off()
            self._keep_up()
            is_news = self._is_worded or self._stop_kept != self.stop_seen
            if self._approvals.expire() or self._unsaved or is_news:
                with suppress(DataFileError):
                    self._save()

    def standing(self) -> Standing:
        """Return how everything stands."""
        with self._turn:
            return Standing(
                approvals=self._approvals.all(),
                measures=self._measures.in_force(),
                guards=self._guards.states(),
                asked=self._asked[0],
                codes=dict(self._codes),
                open=len(self._open),
                interrupted=self.interrupted,
                untold=len(self._scribe.untold),
                lost=self._scribe.lost,
                entries=self._scribe.entries,
                problem=self.problem,
            )

    def figures(self) -> tuple[int, int, int]:
        """Return how many were asked, how many of them were not allowed, and how many wait for a person."""
        waiting = sum(each.state == "pending" for each in self._approvals.snapshot())
        asked, allowed = self._asked
        return asked, asked - allowed, waiting

    @property
    def problem(self) -> str:
        """Why nothing is allowed, or what holds would not after a restart; ``""`` if all is well."""
        return self._scribe.problem or self._unsaved or self._stop.problem

    def kept(self) -> Kept:
        """Return what is to outlive the host. A stop that the disk does not have was not seen, as it will not be."""
        if self._stop.fleeting() is None:
            self._stop_kept = self.stop_seen
        untold = {note.refers_to: _act_of(note) for note in self._scribe.untold if note.code in ENDS}
        return Kept(
            approvals=self._approvals.snapshot(),
            measures=self._measures.in_force(),
            stop=self._stop_kept,
            counted=tuple(self._guards.records(self._time())),
            open=tuple(sorted({**self._cut_off, **untold, **self._open}.items(), key=itemgetter(0))),
            entry=self._scribe.last,
            number=self._scribe.state,
        )

    def open_acts(self) -> dict[int, OpenAct]:
        """Return what is under way, by entry."""
        with self._turn:
            return dict(self._open)

    def untold(self) -> tuple[Note, ...]:
        """Return what the ledger does not say yet."""
        with self._turn:
            self._scribe.fold(everything=True)
            return tuple(self._scribe.untold)

    def _end_cut_off(self) -> None:
        """Write of what nobody will tell the outcome of that it was cut off; what cannot be written now stays to be."""
        for entry, act in sorted(self._cut_off.items()):
            why = f"interrupted: {act.intent.summary}; how far it came nobody told"
            try:
                self._scribe.write(self._scribe.outcome(entry, act.asker, act.intent, "interrupted", why, {}))
            except DataFileError:
                return
            del self._cut_off[entry]

    def _keep_up(self) -> None:
        """Have the state on disk know of nearly all that the ledger says, so that a start has little to read."""
        if self._scribe.is_apart or self._scribe.last - self._saved_entry >= MOST_BEHIND:
            with suppress(DataFileError):
                self._save()

    def _save(self) -> None:
        kept = self.kept()
        kept = msgspec.structs.replace(kept, number=kept.number + 1)
        try:
            self._file.save(kept)
        except DataFileError as exc:
            self._unsaved = str(exc)
            raise
        self._unsaved, self._is_worded, self._scribe.is_apart = "", False, False
        self._scribe.state, self._saved_entry = kept.number, kept.entry

    def _put_down(self, note: Note) -> None:
        """Write the state and an entry of what holds in any case; raise where they are written later."""
        try:
            self._save()
        except DataFileError:
            self._scribe.recall([note])
            raise
        self._scribe.keep(note)

    def _note(self, note: Note) -> None:
        with suppress(DataFileError):
            self._scribe.keep(note)


def _since(approval: Approval) -> dict[str, Fact]:
    return {"asked_since_as": approval.since} if approval.since else {}


def _act_of(note: Note) -> OpenAct:
    intent = Intent(kind=note.kind, component=note.component, summary=note.summary, digest=note.digest)
    return OpenAct(note.actor, intent)


def _permission(verdict: Verdict, entry: int = 0) -> Permission:
    return Permission(
        allowed=verdict.code == "allowed",
        code=verdict.code,
        reason=verdict.reason,
        entry=entry,
        approval=verdict.approval,
        retry_after=verdict.retry_after,
    )


def _unwritten(verdict: Verdict, fault: DataFileError) -> Permission:
    """Return the answer where nothing can be written: no, for the reason that there is in any case or for this."""
    return _permission(_unrecorded(fault) if verdict.code in ("allowed", "needs_approval") else verdict)


def _unrecorded(fault: DataFileError) -> Verdict:
    return Verdict(code="unrecorded", reason=f"it cannot be recorded, so it is not allowed: {fault}")
