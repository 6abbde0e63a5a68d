"""Following a chain from line to line, for as long as it is what was written and signed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from aetherra.kernel.ledger.chain import Tip
from aetherra.kernel.ledger.entry import Entry, read_line, seal_of
from aetherra.kernel.ledger.head import SignedHead
from aetherra.kernel.ledger.problem import Problem
from aetherra.kernel.ledger.segments import Line, Segment, lines_of


class BrokenChainError(Exception):
    """A line is not the one that has to be there, or the chain does not end as its head says."""


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a chain was followed.

    Attributes:
        tip: Where it ends.
        entries: How many entries were read.
        segment: The file that its last entry is in; ``None`` if there is no file.
        size: How many bytes of that file belong to it.
        begun_at: When the first entry of that file was written.
        remains: What a kill left behind the head.
    """

    tip: Tip
    entries: int = 0
    segment: Segment | None = None
    size: int = 0
    begun_at: float = 0.0
    remains: tuple[Problem, ...] = ()


class Follower:
    """Follows one chain; see ``follow``."""

    def __init__(self, head: SignedHead, secret: bytes) -> None:
        self._head = head
        self._secret = secret
        self._tip: Tip | None = None
        self._from = (1, "")
        self._entries = 0
        self._torn: Line | None = None
        self._ahead: Line | None = None

    def follow(self, segments: Iterable[Segment], start: Tip | None) -> Followed:
        """Read files and check each line against the one before, and the whole against its head.

        Entries behind the head, which a kill between the two has left, count if they are sealed.

        Args:
            segments: Oldest first.
            start: What is known of the chain before them; ``None`` if they are all there is.

        Raises:
            BrokenChainError: Something is not as it has to be; says what.
            OSError: A file cannot be read.
        """
        self._tip = start or (Tip(ledger=self._head.ledger) if self._head.sequence == 0 else None)
        end = Followed(tip=Tip(ledger=self._head.ledger))
        for segment in segments:
            if self._torn is not None:
                raise BrokenChainError(f"{segment.path.name} follows on a file that ends with a torn line")
            size, begun_at = 0, 0.0
            for line in lines_of(segment.path):
                entry = self._take(segment, line)
                if entry is not None:
                    size += len(line.data) + 1
                    begun_at = begun_at or entry.at
            end = msgspec.structs.replace(end, segment=segment, size=size, begun_at=begun_at)
        tip = self._tip
        if tip is None or tip.sequence < self._head.sequence:
            raise BrokenChainError(f"it ends before entry {self._head.sequence}, which its head signs as the last")
        return msgspec.structs.replace(end, tip=tip, entries=self._entries, remains=tuple(self._remains()))

    def _remains(self) -> Iterable[Problem]:
        if self._ahead is not None:
            detail = "whole entries behind the head, genuine by their seals: a kill came before the head was written"
            yield self._problem(self._ahead, detail)
        if self._torn is not None:
            yield self._problem(
                self._torn, "a line that was not written to its end, as a kill or a power cut leaves it"
            )

    def _problem(self, line: Line, detail: str) -> Problem:
        return Problem(kind="torn", sequence=self._head.sequence + 1, file=line.file, line=line.number, detail=detail)

    def _take(self, segment: Segment, line: Line) -> Entry | None:
        """Check one line; ``None`` if it is what a kill left of one."""
        entry = read_line(line.data) if line.whole else "unreadable"
        if entry == "unreadable" and self._tip is not None and self._tip.sequence >= self._head.sequence:
            self._torn = self._torn or line
            return None
        where = f"line {line.number} of {line.file}"
        if not isinstance(entry, Entry):
            raise BrokenChainError(f"{where} is not what was written")
        if self._torn is not None:
            raise BrokenChainError(f"{where} stands behind a torn line")
        tip = self._tip
        if tip is None:
            tip = Tip(ledger=self._head.ledger, sequence=segment.first - 1, entry_hash=entry.prev_hash)
        if entry.sequence != tip.sequence + 1 or entry.prev_hash != tip.entry_hash:
            raise BrokenChainError(f"{where} is entry {entry.sequence}, which does not follow on entry {tip.sequence}")
        if line.number == 1 and entry.sequence != segment.first:
            raise BrokenChainError(f"{line.file} begins with entry {entry.sequence}")
        if self._tip is None:
            self._from = (entry.sequence, entry.prev_hash)
        try:
            self._tip = tip.after(entry)
        except ValueError as exc:
            raise BrokenChainError(str(exc)) from exc
        self._entries += 1
        self._compare(entry, line)
        return entry

    def _compare(self, entry: Entry, line: Line) -> None:
        head, tip = self._head, self._tip
        assert tip is not None
        if entry.sequence == head.sequence:
            begins = (tip.first, tip.before)
            if entry.entry_hash != head.hash:
                raise BrokenChainError(f"entry {entry.sequence} is not the one that the head signs")
            if (tip.ledger, tip.key, tip.count) != (head.ledger, head.key, head.count):
                raise BrokenChainError("its last anchor is not that of the head: another ledger, key or beginning")
            if self._from[1] and begins != self._from:
                raise BrokenChainError(f"it begins with entry {self._from[0]}, and has to with entry {tip.first}")
        elif entry.sequence > head.sequence:
            if entry.seal != seal_of(self._secret, head.ledger, entry.entry_hash):
                raise BrokenChainError(f"entry {entry.sequence}, behind the head, is not sealed by the ledger's key")
            self._ahead = self._ahead or line
