"""What was decided, and what people have said about it: kept over restarts, with every ground."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.storage import Database, Schema, Store, silent

__all__ = ["SCHEMA", "Review", "SafetyIndex"]

KEPT: Final = 50
"""Decisions that are kept of one item: the latest, and the one that drift is measured by."""
_LET_IN = "verdict IN ('approved', 'needs_approval')"

SCHEMA: Final = Schema(
    kind="safety index",
    number=1,
    tables={
        "decisions": """CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, root TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, verdict TEXT NOT NULL,
  decided_at REAL NOT NULL, seen_at REAL NOT NULL, decision TEXT NOT NULL CHECK (json_valid(decision))
)""",
        "decisions_by_path": "CREATE INDEX decisions_by_path ON decisions (root, path, number)",
        "reviews": """CREATE TABLE reviews (
  digest TEXT PRIMARY KEY, says TEXT NOT NULL CHECK (says IN ('accept', 'reject')), person TEXT NOT NULL,
  reason TEXT NOT NULL, at REAL NOT NULL
)""",
    },
    text=("SELECT max(length(decision)) FROM decisions", "SELECT max(length(reason)) FROM reviews"),
)


class Review(Struct, frozen=True):
    """What a person said of exactly these bytes.

    Attributes:
        digest: Of the item.
        says: Whether it may come in.
        person: Who.
        reason: Why.
        at: Unix time.
    """

    digest: str
    says: Literal["accept", "reject"]
    person: str
    reason: str
    at: float

    def told(self) -> str:
        """Say it in a sentence."""
        return f"{self.person} has looked at exactly these bytes and {self.says}s them: {self.reason}"


class SafetyIndex(Store):
    """Decisions by item, and reviews by digest.

    Any number of threads may use it.

    Args:
        path: Of the SQLite file; ``:memory:`` keeps nothing.
        tell: Told what happens to the file that somebody should know.

    Raises:
        DatabaseUnusableError: It cannot be opened for want of rights or room.
    """

    def __init__(self, path: Path | str, tell: Callable[[str], None] = silent) -> None:
        super().__init__(Database(path, SCHEMA, tell))
        self._path = None if path == ":memory:" else Path(path)

    def lost(self) -> tuple[Path, ...]:
        """Return the damaged files that were set aside and still lie there: what they held is not known here.

        Raises:
            OSError: Their folder cannot be read.
        """
        if self._path is None:
            return ()
        aside = self._path.parent.glob(f"{self._path.name}.corrupt-*")
        return tuple(sorted(file for file in aside if not file.name.endswith(("-wal", "-shm"))))

    def record(self, decision: Decision) -> None:
        """Keep a decision. One that says the same as the latest of this item only renews that.

        Raises:
            DatabaseUnusableError: It could not be kept.
        """
        latest = self.latest(decision.root, decision.path)
        with self._database.writing() as db:
            if latest is not None and _same(latest, decision):
                db.execute(
                    "UPDATE decisions SET seen_at = ?, decision = ? WHERE number ="
                    " (SELECT max(number) FROM decisions WHERE root = ? AND path = ?)",
                    (decision.decided_at, _encoded(decision), decision.root, decision.path),
                )
                return
            db.execute(
                "INSERT INTO decisions (root, path, digest, verdict, decided_at, seen_at, decision)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    decision.root, decision.path, decision.digest, decision.verdict,
                    decision.decided_at, decision.decided_at, _encoded(decision),
                ),
            )  # fmt: skip
            db.execute(
                "DELETE FROM decisions WHERE root = ?1 AND path = ?2"
                " AND number NOT IN (SELECT number FROM decisions WHERE root = ?1 AND path = ?2"
                " ORDER BY number DESC LIMIT ?3)"
                " AND number IS NOT (SELECT max(number) FROM decisions WHERE root = ?1 AND path = ?2"
                " AND verdict IN ('approved', 'needs_approval'))",
                (decision.root, decision.path, KEPT),
            )

    def latest(self, root: str, path: str) -> Decision | None:
        """Return the latest decision on an item, or None."""
        return next(self._decisions("root = ? AND path = ? ORDER BY number DESC LIMIT 1", (root, path)), None)

    def revoked(self, digest: str) -> bool:
        """Say whether the latest decision on exactly these bytes kept them out for a key that was revoked."""
        latest = next(self._decisions("digest = ? ORDER BY number DESC LIMIT 1", (digest,)), None)
        return latest is not None and any(ground.code == "revoked" for ground in latest.rationale)

    def baseline(self, root: str, path: str) -> Decision | None:
        """Return the decision that drift is measured by: the latest that let the item in, or would on approval.

        What was kept out is nothing to go by: one that was mended may come in, and one that drifted is kept out until
        it is what it was, or until a person accepts it as it is.
        """
        return next(
            self._decisions(f"root = ? AND path = ? AND {_LET_IN} ORDER BY number DESC LIMIT 1", (root, path)), None
        )

    def all(self, root: str | None = None, *, limit: int = 1000) -> list[Decision]:
        """Return the latest decision on each item, of one root or of all, by path."""
        where = (
            "number IN (SELECT max(number) FROM decisions WHERE ?1 IS NULL OR root = ?1 GROUP BY root, path)"
            " ORDER BY root, path LIMIT ?2"
        )
        return list(self._decisions(where, (root, limit)))

    def forget(self, root: str, path: str) -> int:
        """Drop all decisions on an item that is gone, and return how many there were; reviews stay."""
        with self._database.writing() as db:
            return db.execute("DELETE FROM decisions WHERE root = ? AND path = ?", (root, path)).rowcount

    def roots(self, *, but: Iterable[str] = ()) -> list[str]:
        """Return the roots that there are decisions of, other than on items of some digests."""
        sql = "SELECT DISTINCT root FROM decisions WHERE digest NOT IN (SELECT value FROM json_each(?)) ORDER BY root"
        with self._database.reading() as db:
            return [root for (root,) in db.execute(sql, (_list(but),))]

    def forget_root(self, root: str, *, but: Iterable[str] = (), at_most: int = 1000) -> int:
        """Drop so many decisions of a root, other than on items of some digests, and return how many there were."""
        sql = (
            "DELETE FROM decisions WHERE number IN (SELECT number FROM decisions"
            " WHERE root = ? AND digest NOT IN (SELECT value FROM json_each(?)) LIMIT ?)"
        )
        with self._database.writing() as db:
            return db.execute(sql, (root, _list(but), at_most)).rowcount

    def review(self, review: Review) -> None:
        """Keep what a person said of an item, in place of what was said of the same bytes before."""
        with self._database.writing() as db:
            db.execute("INSERT OR REPLACE INTO reviews VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(review))

    def reviewed(self, digest: str) -> Review | None:
        """Return what a person said of exactly these bytes, or None."""
        with self._database.reading() as db:
            row = db.execute("SELECT * FROM reviews WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else Review(*row)

    def _decisions(self, where: str, values: tuple[Any, ...]) -> Iterator[Decision]:
        with self._database.reading() as db:
            rows = db.execute(f"SELECT decision FROM decisions WHERE {where}", values).fetchall()  # noqa: S608
        for (text,) in rows:
            yield msgspec.json.decode(text, type=Decision)


def _list(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode()


def _encoded(decision: Decision) -> str:
    return msgspec.json.encode(decision).decode()


def _same(one: Decision, other: Decision) -> bool:
    """Say whether two decisions say the same, whenever they were made and whatever they hang on."""
    renewed = {name: getattr(other, name) for name in ("decided_at", "looked_for", "basis")}
    return msgspec.structs.replace(one, **renewed) == other
