"""The register: owns proposals, what they came to and the log of analyses, over a SQLite file of its own.

It is no part of the history, so that a damaged history takes nothing that was learnt with it.
"""

# ruff: noqa: S608  # statements are put together of names that stand in this file

import math
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aetherra.plugins.self_improvement.proposals.proposal import Proposal, State
from aetherra.plugins.self_improvement.proposals.strategies import Outcome
from aetherra.plugins.storage import Database, Schema, Store, silent, size_of

__all__ = ["Register", "RegisterStatistics"]

S = TypeVar("S", bound=msgspec.Struct)

_LOG = """CREATE TABLE {name} (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL CHECK (typeof(at) = 'real'),
    body BLOB NOT NULL CHECK (typeof(body) = 'blob')
)"""

REGISTER = Schema(
    kind="register of proposals",
    number=1,
    tables={
        "proposals": """CREATE TABLE proposals (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL CHECK (typeof(id) = 'text'),
    state TEXT NOT NULL CHECK (typeof(state) = 'text'),
    stands INTEGER NOT NULL CHECK (stands IN (0, 1)),
    created REAL NOT NULL CHECK (typeof(created) = 'real'),
    body BLOB NOT NULL CHECK (typeof(body) = 'blob')
)""",
        "proposals_by_id": "CREATE UNIQUE INDEX proposals_by_id ON proposals (id)",
        "proposals_by_age": "CREATE INDEX proposals_by_age ON proposals (stands, created)",
        "outcomes": _LOG.format(name="outcomes"),
        "outcomes_by_age": "CREATE INDEX outcomes_by_age ON outcomes (at)",
        "cycles": _LOG.format(name="cycles"),
    },
    text=("SELECT id, state FROM proposals",),
)


class RegisterStatistics(msgspec.Struct, frozen=True):
    """How much is kept.

    Attributes:
        proposals: In any state.
        outcomes: Of them.
        cycles: Analyses in the log.
        size: Bytes of the database, without its log.
        unreadable: Rows met since opening that could not be read, and were left out.
        unreadable_reason: What was wrong with the last of them, or an empty string.
    """

    proposals: int
    outcomes: int
    cycles: int
    size: int
    unreadable: int
    unreadable_reason: str


class Register(Store):
    """Store of proposals, outcomes and analysis cycles.

    Synchronous; any number of threads may use it at once. ``Database`` says what is done with a file that is damaged,
    deleted or replaced. A row that cannot be read, as one of a later version, is left out and counted, and stays for
    the code that can read it.

    Args:
        path: The file, whose folder is created; or ``":memory:"``.
        tell: Is told when something goes wrong with the file after it was opened, from whichever thread.
        proposals: Concluded proposals that are kept, the latest; what is open or kept stays in any case.
        outcomes: Outcomes that are kept, the latest.
        cycles: Analysis cycles that are kept, the latest.
        cycle_age: Seconds that one is kept at most.

    Raises:
        DatabaseUnusableError: By all methods: the file cannot be opened, read or written, and nothing was changed.
    """

    def __init__(
        self,
        path: Path | str,
        tell: Callable[[str], None] = silent,
        *,
        proposals: int = 10_000,
        outcomes: int = 10_000,
        cycles: int = 10_000,
        cycle_age: float = 30 * 86_400.0,
    ) -> None:
        self._most_proposals, self._most_outcomes, self._most_cycles = proposals, outcomes, cycles
        self._cycle_age = cycle_age
        self._unreadable = 0
        self._unreadable_reason = ""
        super().__init__(Database(path, REGISTER, tell))

    # Proposals

    def save(self, proposal: Proposal, outcome: Outcome | None = None) -> None:
        """Keep a proposal as it is now, in place of what it was, and with it what it came to: both or neither."""
        stands = proposal.is_open or proposal.state == "kept"
        row = (proposal.id, proposal.state, stands, float(proposal.created), msgspec.msgpack.encode(proposal))
        with self._database.writing() as db:
            db.execute(
                "INSERT INTO proposals (id, state, stands, created, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET state = excluded.state, stands = excluded.stands, body = excluded.body",
                row,
            )
            if not stands:
                db.execute(
                    "DELETE FROM proposals WHERE number IN (SELECT number FROM proposals WHERE stands = 0"
                    " ORDER BY created DESC, number DESC LIMIT -1 OFFSET ?)",
                    (self._most_proposals,),
                )
            if outcome is not None:
                self._record(db, outcome)

    def get(self, proposal: str) -> Proposal | None:
        """Return the proposal of an id, or None; also where it cannot be read."""
        found = self._read(Proposal, "SELECT id, body FROM proposals WHERE id = ?", (proposal,))
        return found[0] if found else None

    def load(self, state: State | None = None, limit: int = 10_000) -> list[Proposal]:
        """Return proposals in the order they were made, those in one state or all.

        Where there are more than ``limit``: first those that are open or kept, then the latest.
        """
        found = self._read(
            Proposal,
            "SELECT id, body FROM proposals WHERE state = coalesce(?, state)"
            " ORDER BY stands DESC, created DESC, number DESC LIMIT ?",
            (state, limit),
        )
        found.reverse()
        found.sort(key=lambda each: each.created)
        return found

    # What they came to

    def record_outcome(self, outcome: Outcome) -> None:
        """Keep what a change came to."""
        with self._database.writing() as db:
            self._record(db, outcome)

    def outcomes(self, since: float = -math.inf, limit: int = 10_000) -> list[Outcome]:
        """Return the outcomes known since a time, the latest ``limit`` of them, in the order of that time."""
        query = "SELECT number, body FROM outcomes WHERE at >= ? ORDER BY at DESC, number DESC LIMIT ?"
        return self._read(Outcome, query, (since, limit))[::-1]

    def _record(self, db: sqlite3.Connection, outcome: Outcome) -> None:
        body = msgspec.msgpack.encode(outcome)
        db.execute("INSERT INTO outcomes (at, body) VALUES (?, ?)", (float(outcome.at), body))
        _keep_latest(db, "outcomes", self._most_outcomes)

    # Analyses

    def log_cycle(self, at: float, cycle: msgspec.Struct) -> None:
        """Keep a cycle, whatever is known of it, that began ``at`` (Unix seconds)."""
        with self._database.writing() as db:
            db.execute("INSERT INTO cycles (at, body) VALUES (?, ?)", (float(at), msgspec.msgpack.encode(cycle)))
            db.execute("DELETE FROM cycles WHERE at < ?", (at - self._cycle_age,))
            _keep_latest(db, "cycles", self._most_cycles)

    def cycles(self, kind: type[S], limit: int = 100) -> list[S]:
        """Return the cycles logged last, in that order, as Structs of ``kind``."""
        return self._read(kind, "SELECT number, body FROM cycles ORDER BY number DESC LIMIT ?", (limit,))[::-1]

    def statistics(self) -> RegisterStatistics:
        """Return how much is kept."""
        with self._database.reading() as db:
            proposals, outcomes, cycles = db.execute(
                "SELECT (SELECT COUNT(*) FROM proposals), (SELECT COUNT(*) FROM outcomes),"
                " (SELECT COUNT(*) FROM cycles)"
            ).fetchone()
            size, _ = size_of(db)
        return RegisterStatistics(proposals, outcomes, cycles, size, self._unreadable, self._unreadable_reason)

    def _read(self, kind: type[S], query: str, parameters: tuple[Any, ...]) -> list[S]:
        with self._database.reading() as db:
            rows: Iterable[tuple[Any, bytes]] = db.execute(query, parameters).fetchall()
        read: list[S] = []
        for key, body in rows:
            try:
                read.append(msgspec.msgpack.decode(body, type=kind))
            except (msgspec.DecodeError, ValueError) as error:
                self._unreadable += 1
                self._unreadable_reason = f"{kind.__name__.lower()} {key!r}: {error}"
        return read


def _keep_latest(db: sqlite3.Connection, table: str, most: int) -> None:
    db.execute(f"DELETE FROM {table} WHERE number <= (SELECT max(number) FROM {table}) - ?", (most,))
