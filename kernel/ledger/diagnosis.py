"""What was done to a ledger that is not what was written: told by its lines, its numbers and its head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
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
    """What was found: how many whole entries, and what is wrong, sort by sort and in the order of the lines."""

    entries: int
    problems: tuple[Problem, ...]


class _Found(NamedTuple):
    """A line, and the entry that it is, if it is one."""

    line: Line
    entry: Entry | None
    sequence: int  # as the line says, whatever else it says


class _Run(NamedTuple):
    """Numbers that stand one after another in a file."""

    first: int
    last: int
    file: str


def diagnose(folder: Path, head: SignedHead | None, keys: LedgerKeys | None) -> Diagnosis:
    """Read a whole ledger and say what is wrong; without a head, what can be told without it.

    It is read line by line: what is kept of it grows with what is wrong, and not with the ledger.
    """
    reading = _Reading(folder, head, keys)
    unreadable: list[Problem] = []
    for segment in segments_of(folder):
        try:
            for line in lines_of(segment.path):
                reading.take(_read(line))
        except OSError as exc:
            detail = f"cannot be read: {exc.strerror or exc}"
            unreadable.append(Problem(kind="unreadable", file=segment.path.name, sequence=segment.first, detail=detail))
    problems = islice((*unreadable, *reading.problems()), MOST_PROBLEMS)
    return Diagnosis(entries=reading.entries, problems=tuple(problems))


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


class _Reading:
    """A ledger that is read once, line by line.

    Attributes:
        entries: Whole entries so far.
    """

    def __init__(self, folder: Path, head: SignedHead | None, keys: LedgerKeys | None) -> None:
        self.entries = 0
        self._folder = folder
        self._head = head
        self._keys = keys
        self._edited: list[Problem] = []
        self._misplaced: list[Problem] = []
        self._unlinked: list[Problem] = []
        self._unsealed: list[Problem] = []
        self._another: list[Problem] = []
        self._numbered: list[_Run] = []  # by what lines say, entries or not
        self._whole: list[_Run] = []
        self._highest = 0
        self._before: Entry | None = None
        self._is_end_there = False

    def take(self, it: _Found) -> None:
        """See what is wrong with a line beside those before it."""
        if it.entry is None:
            what = f"entry {it.sequence} does not have the hash that it says" if it.sequence else "the line is no entry"
            _add(self._edited, _at("edited", it, what))
        else:
            self._place(it, it.entry)
            self._hold_against_head(it, it.entry)
            self.entries += 1
        self._before = it.entry
        self._highest = max(self._highest, it.sequence)
        if it.sequence:
            _note(self._numbered, it)

    def _place(self, it: _Found, entry: Entry) -> None:
        before = self._before
        if before is not None and it.sequence == before.sequence + 1 and entry.prev_hash != before.entry_hash:
            what = f"entry {it.sequence} does not follow on the entry {before.sequence} that stands before it"
            _add(self._unlinked, _at("edited", it, f"{what}: one of them was written anew"))
        if it.sequence <= self._highest and len(self._misplaced) < MOST_PROBLEMS:
            self._misplaced += self._behind(it, entry)
        _note(self._whole, it)

    def _behind(self, it: _Found, entry: Entry) -> Iterator[Problem]:
        """Tell what is wrong with an entry that stands behind one of its number or of a higher one."""
        there = next((run.file for run in self._whole if run.first <= it.sequence <= run.last), None)
        if there is not None:
            lines = (read_line(line.data) for line in lines_of(self._folder / there) if line.whole)
            first = next((e for e in lines if isinstance(e, Entry) and e.sequence == it.sequence), entry)
            same = first.entry_hash == entry.entry_hash
            what = "again" if same else "again, and says something else"
            yield _at("duplicated" if same else "fork", it, f"entry {it.sequence} stands here {what}")
        elif it.sequence < self._highest:
            yield _at("reordered", it, f"entry {it.sequence} stands behind entry {self._highest}")

    def _hold_against_head(self, it: _Found, entry: Entry) -> None:
        head, keys = self._head, self._keys
        if head is None or keys is None:
            return
        if entry.kind == "audit.adopted" and entry.facts.get("key") == head.key:
            self._unsealed.clear()  # from here on entries are sealed by the key that the head is signed by
        if not self._unsealed and not is_sealed(entry, head.ledger, keys.secret):
            kind: ProblemKind = "forged" if it.sequence > head.sequence else "edited"
            how = "added" if kind == "forged" else "written"
            self._unsealed.append(_at(kind, it, f"entry {it.sequence} was {how} without the ledger's key"))
        if it.sequence == head.sequence and not self._is_end_there:
            self._is_end_there = True
            if entry.entry_hash != head.hash:
                what = f"entry {head.sequence} is not the one that the head signs: this is another history"
                self._another.append(_at("fork", it, what))

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with all that was read."""
        yield from self._edited
        yield from self._misplaced
        yield from self._unlinked
        if self._head is not None:
            first, last = self._head.sequence - self._head.count + 1, self._head.sequence
        else:
            first = min((run.first for run in self._whole), default=1)
            last = max((run.last for run in self._whole), default=0)
        yield from _gone(self._numbered, first, last)
        yield from self._unsealed
        yield from self._another


def _add(problems: list[Problem], problem: Problem) -> None:
    if len(problems) < MOST_PROBLEMS:
        problems.append(problem)


def _note(runs: list[_Run], it: _Found) -> None:
    if runs and runs[-1].file == it.line.file and runs[-1].last + 1 == it.sequence:
        runs[-1] = runs[-1]._replace(last=it.sequence)
    else:
        runs.append(_Run(it.sequence, it.sequence, it.line.file))


def _gone(there: Iterable[_Run], first: int, last: int) -> Iterator[Problem]:
    """Tell which numbers there should be that are in no file."""
    begin, before = first, ""
    behind = _Run(last + 1, last + 1, "")
    for run in [*sorted(run for run in there if run.first <= last and run.last >= first), behind]:
        if run.first > begin:
            which = f"entry {begin} is" if run.first == begin + 1 else f"entries {begin} to {run.first - 1} are"
            if begin > first and run is behind:
                yield Problem(kind="truncated", sequence=begin, detail=f"{which} gone from the end")
            elif begin == first or before != run.file:
                yield Problem(
                    kind="deleted", sequence=begin, file=name_of(begin), detail=f"{which} gone with their file"
                )
            else:
                detail = f"{which} gone from between others"
                yield Problem(kind="missing", sequence=begin, file=run.file, detail=detail)
        if run.last >= begin:
            begin, before = run.last + 1, run.file
