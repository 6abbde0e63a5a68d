"""What was done to a ledger that is not what was written: told by its lines, its numbers and its head."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from aetherra.kernel.ledger.entry import Entry, is_sealed, read_line
from aetherra.kernel.ledger.head import SignedHead
from aetherra.kernel.ledger.keys import LedgerKeys
from aetherra.kernel.ledger.problem import Problem, ProblemKind
from aetherra.kernel.ledger.segments import Line, lines_of, name_of, segments_of

MOST_PROBLEMS = 100
"""Problems that are told one by one."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: how many whole entries, and what is wrong, in the order of the lines."""

    entries: int
    problems: tuple[Problem, ...]


class _Found(NamedTuple):
    """A line, and the entry that it is, if it is one."""

    line: Line
    entry: Entry | None
    sequence: int  # as the line says, whatever else it says


def diagnose(folder: Path, head: SignedHead | None, keys: LedgerKeys | None) -> Diagnosis:
    """Read a whole ledger and say what is wrong; without a head, what can be told without it."""
    problems: list[Problem] = []
    found: list[_Found] = []
    for segment in segments_of(folder):
        try:
            lines = list(lines_of(segment.path))
        except OSError as exc:
            detail = f"cannot be read: {exc.strerror or exc}"
            problems.append(Problem(kind="unreadable", file=segment.path.name, sequence=segment.first, detail=detail))
            continue
        found += [_read(line) for line in lines]
    entries = [it.entry for it in found if it.entry is not None]
    problems += _edited(found)
    problems += _misplaced(found)
    problems += _unlinked(found)
    last = head.sequence if head is not None else max((entry.sequence for entry in entries), default=0)
    first = head.sequence - head.count + 1 if head is not None else min((e.sequence for e in entries), default=1)
    problems += _gone({it.sequence: it.line.file for it in found}, first, last)
    if head is not None and keys is not None:
        problems += _unlike(found, head, keys)
    return Diagnosis(entries=len(entries), problems=tuple(problems[:MOST_PROBLEMS]))


def _read(line: Line) -> _Found:
    entry = read_line(line.data) if line.whole else "unreadable"
    if isinstance(entry, Entry):
        return _Found(line, entry, entry.sequence)
    try:
        return _Found(line, None, msgspec.json.decode(line.data, type=_Numbered).sequence)
    except (msgspec.DecodeError, UnicodeError):
        return _Found(line, None, 0)


class _Numbered(msgspec.Struct):
    sequence: int


def _at(kind: ProblemKind, it: _Found, detail: str) -> Problem:
    return Problem(kind=kind, sequence=it.sequence, file=it.line.file, line=it.line.number, detail=detail)


def _edited(found: Iterable[_Found]) -> Iterator[Problem]:
    for it in found:
        if it.entry is None:
            what = f"entry {it.sequence} does not have the hash that it says" if it.sequence else "the line is no entry"
            yield _at("edited", it, what)


def _misplaced(found: Iterable[_Found]) -> Iterator[Problem]:
    highest = 0
    seen: dict[int, str] = {}
    for it in found:
        if it.entry is None:
            highest = max(highest, it.sequence)
            continue
        if it.sequence in seen:
            same = seen[it.sequence] == it.entry.entry_hash
            what = "again" if same else "again, and says something else"
            yield _at("duplicated" if same else "fork", it, f"entry {it.sequence} stands here {what}")
        elif it.sequence < highest:
            yield _at("reordered", it, f"entry {it.sequence} stands behind entry {highest}")
        seen.setdefault(it.sequence, it.entry.entry_hash)
        highest = max(highest, it.sequence)


def _unlinked(found: list[_Found]) -> Iterator[Problem]:
    for before, it in itertools.pairwise(found):
        if before.entry is None or it.entry is None or it.sequence != before.sequence + 1:
            continue
        if it.entry.prev_hash != before.entry.entry_hash:
            what = f"entry {it.sequence} does not follow on the entry {before.sequence} that stands before it"
            yield _at("edited", it, f"{what}: one of them was written anew")


def _gone(there: Mapping[int, str], first: int, last: int) -> Iterator[Problem]:
    """Tell which numbers there should be that are in no file; ``there`` has the file of each that is."""
    begin = first
    for number in [*sorted(number for number in there if first <= number <= last), last + 1]:
        if number > begin:
            which = f"entry {begin} is" if number == begin + 1 else f"entries {begin} to {number - 1} are"
            if begin > first and number > last:
                yield Problem(kind="truncated", sequence=begin, detail=f"{which} gone from the end")
            elif begin == first or there[begin - 1] != there[number]:
                yield Problem(
                    kind="deleted", sequence=begin, file=name_of(begin), detail=f"{which} gone with their file"
                )
            else:
                detail = f"{which} gone from between others"
                yield Problem(kind="missing", sequence=begin, file=there[number], detail=detail)
        begin = number + 1


def _is_adoption(entry: Entry | None, head: SignedHead) -> bool:
    """Whether an entry tells from where on entries are sealed by the key that the head is signed by."""
    return entry is not None and entry.kind == "audit.adopted" and entry.facts.get("key") == head.key


def _unlike(found: list[_Found], head: SignedHead, keys: LedgerKeys) -> Iterator[Problem]:
    adopted = max((i for i, it in enumerate(found) if _is_adoption(it.entry, head)), default=0)
    for it in found[adopted:]:
        if it.entry is None or is_sealed(it.entry, head.ledger, keys.secret):
            continue
        if it.sequence > head.sequence:
            yield _at("forged", it, f"entry {it.sequence} was added without the ledger's key")
        else:
            yield _at("edited", it, f"entry {it.sequence} was written without the ledger's key")
        break
    last = next((it for it in found if it.entry is not None and it.sequence == head.sequence), None)
    if last is not None and last.entry is not None and last.entry.entry_hash != head.hash:
        yield _at("fork", last, f"entry {head.sequence} is not the one that the head signs: this is another history")
