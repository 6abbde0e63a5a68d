"""Checking a ledger against its signed head: read-only, and while a host adds to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger.diagnosis import diagnose
from aetherra.kernel.ledger.follow import BrokenChainError, Followed, Follower, kept_of
from aetherra.kernel.ledger.head import HeadError, HeadStore, SignedHead
from aetherra.kernel.ledger.keys import LedgerKeys
from aetherra.kernel.ledger.problem import Problem, Remain, Verification
from aetherra.kernel.ledger.reading import entry_at
from aetherra.kernel.ledger.segments import Segment, segments_of

BESIDE = ("state.json", "guards.jsonl")
"""What a host writes into the folder above that of its ledger, once it has one."""
LOOKS = 5
"""How often a ledger is read that changes while it is."""


def verify(folder: Path, heads: Path, *, witness: SignedHead | None = None) -> Verification:
    """Check that a ledger is what was written, all of it, and say what was done to it if it is not.

    Nothing is written. A ledger that a host adds to meanwhile is read again if it does not fit the head at first.

    Args:
        folder: Where its files are.
        heads: Where its head is.
        witness: An earlier head that somebody kept elsewhere: it shows whether ledger, head and key were all replaced
            since, which nothing on this machine can.
    """
    store = HeadStore(heads)
    try:
        for _ in range(LOOKS - 1):
            before = _now(store, folder)
            found = _look(store, folder, witness)
            if found.ok or before == _now(store, folder):
                return found
        return _look(store, folder, witness)
    finally:
        store.close()


def _now(store: HeadStore, folder: Path) -> object:
    try:
        return store.raw(), segments_of(folder)
    except (HeadError, DataFileError) as exc:
        return str(exc)


def _look(store: HeadStore, folder: Path, witness: SignedHead | None) -> Verification:
    found = _held_against_head(store, folder)
    return found if witness is None else _beside(found, witness, store, folder)


def _held_against_head(store: HeadStore, folder: Path) -> Verification:
    try:
        keys, head, _ = store.read()
    except HeadError as exc:
        if store.is_new() and not segments_of(folder):
            return _none_yet(folder)
        problem = Problem(kind=exc.kind, detail=exc.detail)
        diagnosis = diagnose(folder, None, None)
        return _told(None, None, (problem, *diagnosis.problems), entries=diagnosis.entries)
    except DataFileError as exc:
        return _told(None, None, (Problem(kind="unreadable", detail=str(exc)),))
    try:
        segments = segments_of(folder)
        kept = kept_of(segments, head)
        followed = Follower(head, keys.secret).follow(segments, None)
    except BrokenChainError as exc:
        diagnosis = diagnose(folder, head, keys)
        problems = diagnosis.problems or (Problem(kind="edited", detail=str(exc)),)
        return _told(head, None, problems, entries=diagnosis.entries)
    except OSError as exc:
        return _told(head, None, (Problem(kind="unreadable", detail=str(exc)),))
    return _told(head, followed, (), remains=tuple(_remains(segments[: len(segments) - len(kept)], head, followed)))


def _none_yet(folder: Path) -> Verification:
    """Tell a ledger that nobody has begun from one that is gone with its head: by what a host keeps beside it."""
    beside = next((name for name in BESIDE if (folder.parent / name).is_file()), None)
    if beside is None:
        return Verification(ok=True)
    detail = f"there is no entry and no head, but a host was governed here, as {beside} shows: all of it is gone"
    return _told(None, None, (Problem(kind="deleted", file=beside, detail=detail),))


def _remains(left: list[Segment], head: SignedHead, followed: Followed) -> Iterator[Remain]:
    for segment in left:
        yield Remain(kind="dropped", file=segment.path.name, detail="a file that was to leave, when a kill came")
    if (line := followed.ahead) is not None:
        detail = "whole entries behind the head, sealed by its key: a kill came before the head was written"
        yield Remain(kind="ahead", sequence=head.sequence + 1, file=line.file, line=line.number, detail=detail)
    if (line := followed.torn) is not None:
        detail = "a line that was not written to its end, as a kill or a power cut leaves it"
        behind = followed.tip.sequence + 1
        yield Remain(kind="torn", sequence=behind, file=line.file, line=line.number, detail=detail)


def _beside(found: Verification, witness: SignedHead, store: HeadStore, folder: Path) -> Verification:
    """Hold a ledger against a head that was kept elsewhere."""
    problem = _contradiction(found, witness, store, folder)
    if problem is None:
        return found
    return msgspec.structs.replace(found, ok=False, problems=(*found.problems, problem))


def _contradiction(found: Verification, witness: SignedHead, store: HeadStore, folder: Path) -> Problem | None:
    number = witness.sequence
    try:
        keys = LedgerKeys.load(store.folder)
        entry = entry_at(folder, number)
    except OSError as exc:
        return Problem(kind="unreadable", sequence=number, detail=str(exc))
    if keys is None or witness.key != keys.id:
        detail = f"the copy of the head is signed by {witness.key!r}, which is not the key that is kept here"
        return Problem(kind="fork", sequence=number, detail=detail)
    if not keys.has_signed(witness.signature, witness.statement):
        return Problem(kind="head_forged", sequence=number, detail="the copy of the head is not signed by its key")
    if number > found.last:
        detail = f"the copy of the head signs entry {number}, and the ledger ends with entry {found.last}"
        return Problem(kind="truncated", sequence=number, detail=detail)
    if number < found.first:
        detail = f"entry {number}, which the copy of the head signs, is not kept any more: take a copy more often"
        return Problem(kind="missing", sequence=number, detail=detail)
    if number and (entry is None or entry.entry_hash != witness.hash):
        detail = f"entry {number} is not the one that the copy of the head signs: this is another history"
        return Problem(kind="fork", sequence=number, detail=detail)
    return None


def _told(
    head: SignedHead | None,
    followed: Followed | None,
    problems: tuple[Problem, ...],
    *,
    entries: int = 0,
    remains: tuple[Remain, ...] = (),
) -> Verification:
    return Verification(
        ok=not problems,
        entries=followed.entries if followed is not None else entries,
        first=0 if head is None or not head.sequence else head.sequence - head.count + 1,
        last=0 if head is None else head.sequence,
        ledger="" if head is None else head.ledger,
        key="" if head is None else head.key,
        problems=problems,
        remains=remains,
    )
