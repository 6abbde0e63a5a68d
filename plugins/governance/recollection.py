"""Recollection: what an earlier run knew when it ended, by the state that it saved and what the ledger says since."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aetherra.plugins import DataFileError, Intent
from aetherra.plugins.governance.approvals import is_open
from aetherra.plugins.governance.count_file import earlier_counts
from aetherra.plugins.governance.guards import Counted
from aetherra.plugins.governance.kept import ENDS, STATE, UNCOUNTED, Kept, OpenAct, count_said
from aetherra.plugins.ledger import AuditLedger, Entry
from aetherra.plugins.storage import StateFile

__all__ = ["MOST_READ", "Recollection", "recollect"]

MOST_READ = 10_000
"""Entries that are read, from the newest back. A state is saved long before there are as many that it does not know."""


class Recollection(msgspec.Struct, frozen=True, kw_only=True):
    """What was known.

    Attributes:
        kept: All of it, up to ``kept.entry``; what is open in it, nobody will tell the outcome of.
        is_new: Whether something else is on disk, as it must not be for long.
        lost: Why what was known is not known any more; ``""`` if it is.
        doubt: Why the state on disk is not the one that was saved last; ``""`` if it is.
    """

    kept: Kept
    is_new: bool
    lost: str = ""
    doubt: str = ""


def recollect(file: StateFile[Kept], ledger: AuditLedger) -> Recollection:
    """Read what is kept, and the ledger as far back as that.

    A state is saved before the entry that names it: one that is newer than the ledger says was cut off between the two.
    One that is older was put back. The ledger is read as it stands; what is wrong with that, its own check tells.

    Raises:
        OSError: The state is there and cannot be read.
    """
    found = file.load()
    kept = found or Kept()
    if file.path is None:
        return Recollection(kept=kept, is_new=False)
    try:
        since = _Since.read(ledger, kept.entry)
    except DataFileError as exc:
        return _doubted(kept, f"what was done since cannot be read: {exc}")
    doubt = _doubt(file.path, found, since) if found is not None else ""
    kept = since.added_to(kept)
    if doubt:
        return _doubted(kept, doubt)
    lost = file.problem
    if found is None and not lost and since.last:
        lost = f"{file.path} is gone"
    if found is not None and not found.number:
        counted, problem = earlier_counts(file.path.parent)
        lost = problem
        kept = msgspec.structs.replace(kept, counted=(*counted, *kept.counted))
    return Recollection(kept=kept, is_new=found is None or not found.number or bool(lost), lost=lost)


def _doubt(path: Path, kept: Kept, since: _Since) -> str:
    if since.state > kept.number:
        return f"an older {path} was put back: it is state {kept.number}, and the ledger names state {since.state}"
    if kept.entry > since.last:
        return f"{path} was saved after entry {kept.entry} of the ledger, which ends before that"
    if kept.entry and not since.is_whole:
        return f"{path} was saved after entry {kept.entry} of the ledger, and what came next is gone"
    return ""


def _doubted(kept: Kept, doubt: str) -> Recollection:
    """Return what may be believed of a state that is not the last: no approval, as it may have been used since."""
    void = tuple(
        msgspec.structs.replace(each, state="void", reason=doubt) if is_open(each) else each for each in kept.approvals
    )
    return Recollection(kept=msgspec.structs.replace(kept, approvals=void), is_new=True, doubt=doubt)


class _Since(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of the time after an entry.

    Attributes:
        last: The number of its last entry; 0 if there is none.
        state: The newest state that it names; 0 if it names none.
        is_whole: Whether no entry is missing in between, but for those that were dropped as too old.
        counted: What guards have counted, the oldest first.
        begun: What was allowed, by entry, and its outcome not told.
        ended: Acts whose outcome was told, whenever they began.
    """

    last: int
    state: int
    is_whole: bool
    counted: tuple[Counted, ...]
    begun: tuple[tuple[int, OpenAct], ...]
    ended: frozenset[int]

    @classmethod
    def read(cls, ledger: AuditLedger, entry: int) -> _Since:
        last, state, lowest, is_short = 0, 0, 0, False
        counted, begun = list[Counted](), list[tuple[int, OpenAct]]()
        ended, uncounted = set[int](), set[int]()
        for each in ledger.newest_first(MOST_READ):
            last = last or each.sequence
            if each.sequence <= entry:
                lowest = entry + 1
                break
            lowest = each.sequence
            is_short = is_short or each.kind == "audit.retained"
            state = state or _number(each)
            if each.refers_to and each.code in ENDS:
                ended.add(each.refers_to)
                if each.facts.get(UNCOUNTED):
                    uncounted.add(each.refers_to)
            elif each.code == "allowed":
                if each.sequence not in ended:
                    begun.append((each.sequence, _act(each)))
                count = count_said(each.facts)
                if count is not None and each.sequence not in uncounted:
                    counted.append(Counted(count, each.at))
        return cls(
            last=last,
            state=state,
            is_whole=lowest <= entry + 1 or is_short,
            counted=tuple(reversed(counted)),
            begun=tuple(reversed(begun)),
            ended=frozenset(ended),
        )

    def added_to(self, kept: Kept) -> Kept:
        """Return a state as it would have been saved last."""
        still = [(entry, act) for entry, act in kept.open if entry not in self.ended]
        return msgspec.structs.replace(
            kept,
            counted=(*kept.counted, *self.counted),
            open=(*still, *self.begun),
            entry=max(kept.entry, self.last),
            number=max(kept.number, self.state),
        )


def _number(entry: Entry) -> int:
    said = entry.facts.get(STATE)
    return said if isinstance(said, int) else 0


def _act(entry: Entry) -> OpenAct:
    intent = Intent(kind=entry.kind, component=entry.component, summary=entry.summary, digest=entry.digest)
    return OpenAct(entry.actor, intent)
