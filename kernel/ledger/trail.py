"""Where entries are kept: on disk, or in memory where nothing is to outlive the host."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from aetherra.kernel.ledger.chain import Draft, Tip, anchor
from aetherra.kernel.ledger.entry import Entry, hash_of
from aetherra.kernel.ledger.problem import Problem, Verification

IN_MEMORY = 10_000
"""Entries that are kept where there is no disk."""


class Trail(Protocol):
    """Keeps entries; one thread at a time commits, any may read meanwhile."""

    @property
    def tip(self) -> Tip | None:
        """Where the chain ends, as far as is known without reading."""
        ...

    def prepare(self) -> Tip:
        """Return where the chain ends, once entries can be added to it; raises ``DataFileError`` if they cannot."""
        ...

    def commit(self, draft: Draft) -> Entry:
        """Add an entry, and return it once it is kept; raises ``DataFileError`` if it is not."""
        ...

    def newest_first(self) -> Iterator[Entry]:
        """Yield what is kept, the last one first."""
        ...

    def oldest_first(self, since: int) -> Iterator[Entry]:
        """Yield what is kept from a number on."""
        ...

    def verify(self) -> Verification:
        """Check all of it."""
        ...

    def close(self) -> None:
        """Let go of all files."""
        ...


class MemoryTrail:
    """Entries that end with the process: the same chain, of which the last are kept."""

    def __init__(self, clock: Callable[[], float], bound: int = IN_MEMORY) -> None:
        self._clock = clock
        self._bound = bound
        self._secret = secrets.token_bytes(32)
        self._entries: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._tip = Tip(ledger=secrets.token_hex(16))
        self._key = "memory"
        with self._lock:
            self._add(anchor("audit.begun", self._tip, self._key, actor="audit", summary="the ledger begins"))

    def _add(self, draft: Draft) -> Entry:
        entry = self._tip.next_entry(draft, self._clock(), self._secret)
        self._entries.append(entry)
        self._tip = self._tip.after(entry)
        return entry

    @property
    def tip(self) -> Tip:
        """Where the chain ends."""
        return self._tip

    def prepare(self) -> Tip:
        """Return where the chain ends."""
        return self._tip

    def commit(self, draft: Draft) -> Entry:
        """Add an entry; the oldest go, by a tenth of what is kept, once there are too many."""
        with self._lock:
            added = self._add(draft)
            if len(self._entries) > self._bound:
                self._shorten()
            return added

    def _shorten(self) -> None:
        left = self._entries[0]
        while len(self._entries) > self._bound * 9 // 10:
            left = self._entries.popleft()
        self._tip = msgspec.structs.replace(self._tip, first=left.sequence + 1, before=left.entry_hash)
        summary = f"entries up to {left.sequence} were dropped to make room"
        self._add(anchor("audit.retained", self._tip, self._key, actor="audit", summary=summary))

    def newest_first(self) -> Iterator[Entry]:
        """Yield what is kept, the last one first."""
        return iter(list(self._entries)[::-1])

    def oldest_first(self, since: int) -> Iterator[Entry]:
        """Yield what is kept from a number on."""
        return (entry for entry in list(self._entries) if entry.sequence >= since)

    def verify(self) -> Verification:
        """Check all of it."""
        with self._lock:
            entries, tip = list(self._entries), self._tip
        before, problems = tip.before, list[Problem]()
        for number, entry in enumerate(entries, tip.first):
            if (entry.sequence, entry.prev_hash, entry.entry_hash) != (number, before, hash_of(entry)):
                problems.append(Problem(kind="edited", sequence=number, detail=f"entry {number} was changed in memory"))
                break
            before = entry.entry_hash
        return Verification(
            ok=not problems,
            entries=len(entries),
            first=tip.first,
            last=tip.sequence,
            ledger=tip.ledger,
            key=self._key,
            problems=tuple(problems),
        )

    def close(self) -> None:
        """There are no files."""
