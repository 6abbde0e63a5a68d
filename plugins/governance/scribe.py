"""The scribe: words the ledger's entries, and keeps those that the disk does not take until it does."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from aetherra.plugins import DataFileError, Intent
from aetherra.plugins.governance.approvals import digest_of
from aetherra.plugins.governance.gatekeeper import Verdict
from aetherra.plugins.ledger import AuditLedger

__all__ = ["Note", "Scribe"]

MOST_UNTOLD = 1_000
"""Entries that are kept until the disk takes them; of more, the oldest are lost."""
REPEATS_SEC = 60.0
"""Seconds in which the same refusal is written once."""
MOST_REPEATS = 1_000
Fact = str | int | float | bool


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


class Scribe:
    """Writes to one ledger, by one thread at a time.

    Args:
        ledger: Where to.
        monotonic: Seconds that only grow.

    Attributes:
        untold: What the disk has not taken yet.
        problem: Why it does not; ``""`` if it does.
    """

    def __init__(self, ledger: AuditLedger, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._repeats: OrderedDict[tuple[str, ...], _Repeats] = OrderedDict()
        self._is_prepared = False
        self.untold: deque[Note] = deque(maxlen=MOST_UNTOLD)
        self.problem = ""

    @property
    def entries(self) -> int:
        """How many the ledger keeps."""
        return self._ledger.statistics().entries

    def write(self, note: Note) -> int:
        """Write an entry, after all that is still untold, and return its number once the disk has it.

        Raises:
            DataFileError: It could not be written, and is not in the ledger.
        """
        try:
            while self.untold:
                self._append(self.untold[0])
                self.untold.popleft()
            number = self._append(note)
        except DataFileError as exc:
            self.problem = str(exc)
            raise
        self.problem = ""
        return number

    def keep(self, note: Note) -> int:
        """Write an entry, or keep it until the disk takes it.

        Raises:
            DataFileError: It is kept.
        """
        try:
            return self.write(note)
        except DataFileError:
            self.untold.append(note)
            raise

    def catch_up(self) -> None:
        """Write what is untold, and see whether the ledger can be written. Never raises; ``problem`` tells."""
        try:
            if self.problem or not self._is_prepared:
                self._ledger.prepare()
                self._is_prepared = True
            while self.untold:
                self._append(self.untold[0])
                self.untold.popleft()
            self.problem = ""
        except DataFileError as exc:
            self.problem = str(exc)

    def question(self, asker: str, intent: Intent, verdict: Verdict, approval: str) -> int:
        """Write what was asked and answered, and return its number; of the same refusals within a minute, the first's.

        Raises:
            DataFileError: It could not be written.
        """
        like = (asker, intent.kind, intent.component, verdict.code, approval)
        known: dict[str, Fact] = {"sender": intent.sender, "actuator": intent.actuator, "approval": approval}
        known |= {"undo": intent.undo, "breach": verdict.measure.breach if verdict.measure is not None else ""}
        is_refusal = verdict.code != "allowed"
        if is_refusal:
            before = self._repeats.get(like)
            if before is not None and self._monotonic() - before.since < REPEATS_SEC:
                before.times += 1
                return before.entry
            known |= {"why": verdict.reason, "repeated": before.times if before is not None else 0}
        number = self.write(
            Note(
                kind=intent.kind,
                actor=asker,
                component=intent.component,
                summary=intent.summary,
                code=verdict.code,
                digest=digest_of(intent) if approval else intent.digest,
                facts={**intent.facts, **{name: value for name, value in known.items() if value}},
            )
        )
        if is_refusal:
            self._repeats[like] = _Repeats(self._monotonic(), number)
            while len(self._repeats) > MOST_REPEATS:
                self._repeats.popitem(last=False)
        return number

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
            facts=dict(facts),
        )

    def recall(self, notes: Iterable[Note]) -> None:
        """Take over what was still untold."""
        self.untold.extend(notes)

    def _append(self, note: Note) -> int:
        return self._ledger.append(**msgspec.structs.asdict(note)).sequence


class _Repeats:
    """A refusal that was written, and how often it was given again since."""

    __slots__ = ("entry", "since", "times")

    def __init__(self, since: float, entry: int) -> None:
        self.since = since
        self.entry = entry
        self.times = 0
