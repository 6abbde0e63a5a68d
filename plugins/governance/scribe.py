"""The scribe: words the ledger's entries, and keeps those that the disk does not take until it does."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from aetherra.plugins import DataFileError, Fact, Intent
from aetherra.plugins.governance.approvals import Approval, digest_of
from aetherra.plugins.governance.gatekeeper import Verdict
from aetherra.plugins.governance.kept import STATE, count_said, facts_of, without_own
from aetherra.plugins.ledger import AuditLedger, Entry

__all__ = ["Asked", "Note", "Scribe"]

MOST_UNTOLD = 1_000
"""Entries that are kept until the disk takes them; of more, the oldest are lost, and an entry says how many."""
REPEATS_SEC = 60.0
"""Seconds in which the same refusal is written once."""
MOST_REPEATS = 1_000


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry says, as the ledger takes it."""

    kind: str
    actor: str
    component: str = ""
    summary: str = ""
    code: str = ""
    refers_to: int = 0
    digest: str = ""
    facts: dict[str, Fact] = {}


class Asked(msgspec.Struct, frozen=True):
    """That a question stands in the ledger.

    Attributes:
        entry: As which entry.
        is_counted: Whether the entry says what counts it word for word, and nothing of that was taken for a secret.
    """

    entry: int
    is_counted: bool = True


class Scribe:
    """Writes to one ledger, by one thread at a time.

    Args:
        ledger: Where to.
        monotonic: Seconds that only grow.

    Attributes:
        untold: What the disk has not taken yet.
        lost: How many more it has not taken, which are kept no longer.
        problem: Why it does not; ``""`` if it does.
        state: The number of the state that is on disk; each entry names it.
        last: The number of the last entry that is known here.
        is_apart: Whether others have written to the ledger since ``is_apart`` was made false.
    """

    def __init__(self, ledger: AuditLedger, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._repeats: OrderedDict[tuple[str, ...], _Repeats] = OrderedDict()
        self._is_prepared = False
        self.untold: deque[Note] = deque()
        self.lost = 0
        self.problem = ""
        self.state = self.last = 0
        self.is_apart = False

    @property
    def entries(self) -> int:
        """How many the ledger keeps."""
        return self._ledger.statistics().entries

    def write(self, note: Note) -> int:
        """Write an entry, after all that is still untold, and return its number once the disk has it.

        Raises:
            DataFileError: It could not be written, and is not in the ledger.
        """
        return self._write(note).sequence

    def _write(self, note: Note) -> Entry:
        try:
            self._write_untold()
            entry = self._append(note)
        except DataFileError as exc:
            self.problem = str(exc)
            raise
        self.problem = ""
        return entry

    def keep(self, note: Note) -> int:
        """Write an entry, or keep it until the disk takes it.

        Raises:
            DataFileError: It is kept.
        """
        try:
            return self.write(note)
        except DataFileError:
            self.recall([note])
            raise

    def catch_up(self) -> None:
        """Write what is untold, and see whether the ledger can be written. Never raises; ``problem`` tells."""
        try:
            if self.problem or not self._is_prepared:
                self._ledger.prepare()
                self._is_prepared = True
            self.fold()
            self._write_untold()
            self.problem = ""
        except DataFileError as exc:
            self.problem = str(exc)

    def question(self, asker: str, intent: Intent, verdict: Verdict, approval: Approval | None) -> Asked:
        """Write what was asked and answered; of the same refusals within a minute, the first.

        How often they were given again is written once the minute is over.

        Raises:
            DataFileError: It could not be written.
        """
        if verdict.code == "allowed":
            entry = self._question(asker, intent, verdict, approval, facts_of(verdict.count))
            return Asked(entry.sequence, count_said(entry.facts) == verdict.count)
        self.fold()
        asked = (asker, intent.kind, intent.component, intent.sender, intent.actuator, digest_of(intent))
        like = (*asked, verdict.code, "" if approval is None else approval.id)
        before = self._repeats.get(like)
        if before is not None:
            before.times += 1
            return Asked(before.entry)
        entry = self._question(asker, intent, verdict, approval, {"why": verdict.reason})
        self._repeats[like] = _Repeats(self._monotonic(), entry.sequence)
        self.fold()
        return Asked(entry.sequence)

    def _question(
        self, asker: str, intent: Intent, verdict: Verdict, approval: Approval | None, facts: Mapping[str, Fact]
    ) -> Entry:
        known: dict[str, Fact] = {**facts, "sender": intent.sender, "actuator": intent.actuator}
        if approval is not None:
            known |= {"approval": approval.id, "agreed_to": approval.summary if approval.since else ""}
        known |= {"undo": intent.undo, "breach": verdict.measure.breach if verdict.measure is not None else ""}
        known = {name: said for name, said in known.items() if said}
        return self._write(
            Note(
                kind=intent.kind,
                actor=asker,
                component=intent.component,
                summary=intent.summary,
                code=verdict.code,
                digest=intent.digest if approval is None else digest_of(intent),
                facts={**known, **without_own(intent.facts), **known},  # first and last: none is left out, or overruled
            )
        )

    def fold(self, *, everything: bool = False) -> None:
        """Word how often refusals were given again whose minute is over, or of which there are too many."""
        since = self._monotonic() - REPEATS_SEC
        while self._repeats:
            like, first = next(iter(self._repeats.items()))
            if not everything and first.since > since and len(self._repeats) <= MOST_REPEATS:
                return
            del self._repeats[like]
            if first.times:
                asker, kind, component, *_, code, _ = like
                again = f"the same was asked {first.times} times more within {REPEATS_SEC:g} s, and answered so"
                note = Note(kind=kind, actor=asker, component=component, summary=again, code=code,
                            refers_to=first.entry, facts={"repeated": first.times})  # fmt: skip
                self.recall([note])

    @staticmethod
    def outcome(entry: int, asker: str, intent: Intent, outcome: str, detail: str, facts: Mapping[str, Fact]) -> Note:
        """Word what came of what was allowed as ``entry``."""
        return Note(
            kind=intent.kind,
            actor=asker,
            component=intent.component,
            summary=detail or f"{outcome}: {intent.summary}",
            code=outcome,
            refers_to=entry,
            digest=intent.digest,
            facts=without_own(facts),
        )

    def recall(self, notes: Iterable[Note]) -> None:
        """Have these written with the next entry, or when the disk takes it."""
        self.untold.extend(notes)
        while len(self.untold) > MOST_UNTOLD:
            self.untold.popleft()
            self.lost += 1

    def _write_untold(self) -> None:
        if self.lost:
            gone = self.lost
            summary = f"{gone} entries that came before this one could not be written, and are lost"
            self._append(Note(kind="governance.lost", actor="governance", summary=summary, facts={"lost": gone}))
            self.lost -= gone
        while self.untold:
            self._append(self.untold[0])
            self.untold.popleft()

    def _append(self, note: Note) -> Entry:
        note = msgspec.structs.replace(note, facts={STATE: self.state, **note.facts})
        entry = self._ledger.append(**msgspec.structs.asdict(note))
        self.is_apart = self.is_apart or entry.sequence != self.last + 1
        self.last = entry.sequence
        return entry


class _Repeats:
    """A refusal that was written, and how often it was given again since."""

    __slots__ = ("entry", "since", "times")

    def __init__(self, since: float, entry: int) -> None:
        self.since = since
        self.entry = entry
        self.times = 0
