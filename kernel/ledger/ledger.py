"""The audit ledger: what the host did by itself, in a chain that nobody changes unnoticed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger.chain import Draft
from aetherra.kernel.ledger.disk import DiskTrail
from aetherra.kernel.ledger.entry import Entry, Fact
from aetherra.kernel.ledger.problem import Verification
from aetherra.kernel.ledger.settings import LedgerSettings
from aetherra.kernel.ledger.trail import MemoryTrail, Trail

if TYPE_CHECKING:
    from aetherra.kernel.ledger.redaction import Redactor

OWN = "audit."
"""How the kinds of entries begin that only the ledger itself writes: some of them say where its chain begins."""


class LedgerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How a ledger stands.

    Attributes:
        entries: How many are kept.
        first: The number of the oldest; 0 if that is not known yet.
        last: The number of the last.
        refused: How many could not be added through this object.
        problem: Why the last one could not be; empty if it could.
    """

    entries: int
    first: int
    last: int
    refused: int
    problem: str


class AuditLedger:
    """Entries, each bound to the one before, with a signed head kept apart; use ``open``.

    All of it may be called from any thread, waits for the disk, and belongs in a worker thread. Threads that append at
    the same time wait for one another.

    Args:
        trail: Where entries are kept.
    """

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._turn = threading.Lock()
        self._refused = 0
        self._problem = ""

    @classmethod
    def open(
        cls,
        data_dir: Path | None,
        settings: LedgerSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Return the ledger of a host, whatever there is on disk; what is wrong with it, ``prepare`` tells.

        Args:
            data_dir: The host's data directory; ``None`` keeps the last entries in memory.
            settings: Bounds, and where the head is.
            clock: Unix seconds.
        """
        settings = settings or LedgerSettings()
        trail = MemoryTrail(clock) if data_dir is None else DiskTrail.of(data_dir, settings, clock)
        return cls(trail)

    @cached_property
    def _redactor(self) -> Redactor:
        from aetherra.kernel.ledger.redaction import Redactor  # noqa: PLC0415  # 9 ms, which a start need not wait for

        return Redactor.of_environment()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self) -> None:
        """Get ready to append: begin a ledger where there is none, and put in order what a kill left.

        Raises:
            LedgerBrokenError: What is there is not what was written; every ``append`` raises it as well.
            DataFileError: The disk is full, a folder cannot be written, ...
        """
        with self._turn:
            try:
                self._trail.prepare()
            except DataFileError as exc:
                self._problem = str(exc)
                raise
            self._problem = ""

    def append(
        self,
        *,
        kind: str,
        actor: str,
        component: str = "",
        summary: str = "",
        code: str = "",
        refers_to: int = 0,
        digest: str = "",
        facts: Mapping[str, Fact] | None = None,
    ) -> Entry:
        """Add an entry and return it once the disk has it, and the head that signs it.

        Secrets are taken out, and what is too long is cut, which the text says. Kinds that begin with ``audit.`` are
        the ledger's own: anybody else's gets a question mark before it. What fails once is tried anew the next time, so
        that it goes on by itself once there is room.

        Raises:
            LedgerBrokenError: What is there is not what was written; a person has to look.
            DataFileError: It could not be written. Nothing of it is in the ledger.
        """
        draft = Draft(
            kind=f"?{kind}" if kind.startswith(OWN) else kind,
            actor=actor,
            component=component,
            summary=summary,
            code=code,
            refers_to=refers_to,
            digest=digest,
            facts=dict(facts or {}),
        )
        clean = self._redactor.clean(draft)
        with self._turn:
            try:
                entry = self._trail.commit(clean)
            except Exception as exc:
                self._refused += 1
                self._problem = str(exc) or repr(exc)
                raise
            self._problem = ""
        return entry

    def tail(self, limit: int = 20) -> tuple[Entry, ...]:
        """Return the last entries, oldest first."""
        return tuple(reversed(list(self.newest_first(limit))))

    def newest_first(self, limit: int) -> Iterator[Entry]:
        """Yield the last entries, the last one first, and read no more than is asked for."""
        return itertools.islice(self._trail.newest_first(), limit)

    def entries(self, *, since: int = 0) -> Iterator[Entry]:
        """Yield entries from a number on, oldest first; lines that are none are left out, and found by ``verify``."""
        return self._trail.oldest_first(since)

    def statistics(self) -> LedgerStatistics:
        """Return how it stands, without reading it."""
        tip = self._trail.tip
        return LedgerStatistics(
            entries=tip.count if tip is not None else 0,
            first=tip.first if tip is not None else 0,
            last=tip.sequence if tip is not None else 0,
            refused=self._refused,
            problem=self._problem,
        )

    def verify(self) -> Verification:
        """Check that every entry is there as it was written, and that the head which signs the last one is genuine."""
        return self._trail.verify()

    def close(self) -> None:
        """Let go of all files; the next ``append`` opens them again."""
        with self._turn:
            self._trail.close()
