"""Following a chain from line to line, for as long as it is what was written and signed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from aetherra.kernel.ledger.chain import Tip
from aetherra.kernel.ledger.entry import Entry, is_sealed, read_line
from aetherra.kernel.ledger.head import SignedHead
from aetherra.kernel.ledger.segments import Line, Segment, lines_of


class BrokenChainError(Exception):
    """A line is not the one that has to be there, or the chain does not end as its head says; ``detail`` says which."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def kept_of(segments: list[Segment], head: SignedHead) -> list[Segment]:
    """Return the files that the head is the head of, without older ones that were to leave when a kill came.

    Raises:
        BrokenChainError: The oldest of them is not there.
    """
    first = head.sequence - head.count + 1
    left = sum(following.first <= first for _, following in itertools.pairwise(segments))
    kept = segments[left:]
    if head.sequence and (not kept or kept[0].first != first):
        raise BrokenChainError(f"the file that begins with entry {first} is missing")
    return kept


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a chain was followed.

    Attributes:
        tip: Where it ends.
        entries: How many entries were read.
        segment: The last file; ``None`` if there is none.
        size: How many bytes of that file belong to the chain.
        ahead: The first entry behind the head; ``None`` if the head signs the last.
        torn: A line that was not written to its end, as a kill or a power cut leaves it.
    """

    tip: Tip
    entries: int = 0
    segment: Segment | None = None
    size: int = 0
    ahead: Line | None = None
    torn: Line | None = None


class Follower:
    """Follows one chain, once.

    Args:
        head: What it has to end as.
        secret: What entries behind the head have to be sealed with.
    """

    def __init__(self, head: SignedHead, secret: bytes) -> None:
        self._head = head
        self._secret = secret
        self._tip: Tip | None = None
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
        last, size = None, 0
        for segment in segments:
            if self._torn is not None:
                raise BrokenChainError(f"{segment.path.name} follows on a file that ends with a torn line")
            last, size = segment, 0
            for line in lines_of(segment.path):
                if self._take(segment, line):
                    size += len(line.data) + 1
        tip = self._tip
        if tip is None or tip.sequence < self._head.sequence:
            raise BrokenChainError(f"it ends before entry {self._head.sequence}, which its head signs as the last")
        return Followed(tip=tip, entries=self._entries, segment=last, size=size, ahead=self._ahead, torn=self._torn)

    def _take(self, segment: Segment, line: Line) -> bool:
        """Check one line, and say whether it is an entry, and not what a kill left of one."""
        entry = read_line(line.data) if line.whole else "unreadable"
        if entry == "unreadable" and self._tip is not None and self._tip.sequence >= self._head.sequence:
            self._torn = self._torn or line
            return False
        where = f"line {line.number} of {line.file}"
        if not isinstance(entry, Entry):
            raise BrokenChainError(f"{where} is not what was written")
        if self._torn is not None:
            raise BrokenChainError(f"{where} stands behind a torn line")
        if self._tip is None:
            self._tip = Tip(ledger=self._head.ledger, sequence=segment.first - 1, entry_hash=entry.prev_hash)
        before = self._tip
        if entry.sequence != before.sequence + 1 or entry.prev_hash != before.entry_hash:
            raise BrokenChainError(f"{where} is entry {entry.sequence}, which does not follow on {before.sequence}")
        if line.number == 1 and entry.sequence != segment.first:
            raise BrokenChainError(f"{line.file} begins with entry {entry.sequence}")
        try:
            self._tip = before.after(entry)
        except ValueError as exc:
            raise BrokenChainError(str(exc)) from exc
        self._entries += 1
        self._compare(entry, self._tip, line)
        return True

    def _compare(self, entry: Entry, tip: Tip, line: Line) -> None:
        head = self._head
        if entry.sequence == head.sequence:
            if entry.entry_hash != head.hash:
                raise BrokenChainError(f"entry {entry.sequence} is not the one that the head signs")
            if (tip.ledger, tip.key, tip.count) != (head.ledger, head.key, head.count):
                raise BrokenChainError("its last anchor is not that of the head: another ledger, key or beginning")
        elif entry.sequence > head.sequence:
            if not is_sealed(entry, head.ledger, self._secret):
                raise BrokenChainError(f"entry {entry.sequence}, behind the head, is not sealed by the ledger's key")
            self._ahead = self._ahead or line
