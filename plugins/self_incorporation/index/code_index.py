"""The index on disk: what every scanned file was, so that what did not change need not be read again.

The index is a cache of what the files themselves say: one that is damaged, or of another schema, is moved aside and
begun anew, and `CodeIndex.set_aside` says so.
"""

import itertools
import os
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal, Severity
from aetherra.plugins.self_incorporation.index.rows import (
    SCHEMA,
    SCHEMA_VERSION,
    Entry,
    FileRecord,
    RefusalRecord,
    file_record,
    file_row,
    path_of,
    refusal_row,
    stamp_of,
)
from aetherra.plugins.self_incorporation.index.walk import Stamp

__all__ = ["CodeIndex", "IndexStatistics", "IndexUnusableError", "Known", "SetAside"]

_KNOWN_FILES = "SELECT path, size, mtime_ns, ctime_ns, inode, rules, indexed_at FROM files WHERE root = ?"
_KNOWN_REFUSALS = (
    "SELECT path, size, mtime_ns, ctime_ns, inode, rules, indexed_at, reason, detail FROM refusals WHERE root = ?"
)
_NEW_FILE = "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEW_REFUSAL = "INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FINDINGS = (
    "SELECT path, line, code, severity, message FROM findings WHERE root = ? AND (? IS NULL OR severity = ?)"
    " ORDER BY path, line, code LIMIT ?"
)
_DAMAGE = frozenset([sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])


class IndexUnusableError(OSError):
    """The index could not be opened, read or written; ``__cause__`` is what SQLite said."""

    def __init__(self, path: str, doing: str) -> None:
        super().__init__(path, doing)
        self.path, self.doing = path, doing

    def __str__(self) -> str:
        return f"the code index {self.path!r} failed while {self.doing}: {self.__cause__}"


class SetAside(Struct, frozen=True):
    """An index that was moved out of the way: where to, and why."""

    path: str
    reason: str


class Known(Struct, frozen=True):
    """What decides whether a file must be read again, and its refusal if it had one."""

    stamp: Stamp
    rules: str
    indexed_at: float
    refusal: Refusal | None


class IndexStatistics(Struct, frozen=True):
    """What an index holds, over all its roots."""

    roots: int
    files: int
    refusals: int
    findings: int


class CodeIndex:
    """Files, findings and refusals by root, in one SQLite file or in memory.

    Any thread may use it, one at a time: the caller sees to that.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the index, or begin one.

        Args:
            path: Of the file, whose folder must exist; or ``:memory:``.

        Raises:
            IndexUnusableError: It can be neither opened nor begun, for want of rights or room.
        """
        self.path = str(path)
        self.set_aside: SetAside | None = None
        try:
            self._connection = self._opened()
        except sqlite3.Error as exc:
            raise IndexUnusableError(self.path, "opening") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; closing it twice does nothing."""
        self._connection.close()

    def known(self, root: str) -> dict[str, Known]:
        """Return what is known of every file of a root, by its path."""
        found: dict[str, Known] = {}
        with self._using("reading") as connection:
            for path, *stamp, rules, at in connection.execute(_KNOWN_FILES, (root,)):
                found[path] = Known(stamp_of(*stamp), rules, at, None)
            for path, *stamp, rules, at, reason, detail in connection.execute(_KNOWN_REFUSALS, (root,)):
                found[path] = Known(stamp_of(*stamp), rules, at, Refusal(path, reason, detail))
        return found

    def write(self, root: str, entries: Sequence[Entry], gone: Iterable[str] = ()) -> None:
        """Replace the entries of these files and drop those that are gone: all of it, or nothing.

        Raises:
            IndexUnusableError: It could not be written (a full disk, say); the index is as it was.
        """
        with self._using("writing") as connection, connection:
            dropped = [(root, path) for path in (*gone, *map(path_of, entries))]
            connection.executemany("DELETE FROM files WHERE root = ? AND path = ?", dropped)
            connection.executemany("DELETE FROM refusals WHERE root = ? AND path = ?", dropped)
            connection.executemany("DELETE FROM findings WHERE root = ? AND path = ?", dropped)
            for entry in entries:
                if isinstance(entry, RefusalRecord):
                    connection.execute(_NEW_REFUSAL, refusal_row(root, entry))
                    continue
                record, findings = entry
                connection.execute(_NEW_FILE, file_row(root, record))
                rows = [(root, item.path, item.line, item.code, item.severity, item.message) for item in findings]
                connection.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?)", rows)

    def file(self, root: str, path: str) -> FileRecord | None:
        """Return the record of one file, or None."""
        found = self._records("SELECT * FROM files WHERE root = ? AND path = ?", (root, path))
        return found[0] if found else None

    def files(self, root: str, *, kind: FileKind | None = None, limit: int = 1000) -> list[FileRecord]:
        """Return records of a root in the order of their paths, at most ``limit``."""
        if kind is None:
            return self._records("SELECT * FROM files WHERE root = ? ORDER BY path LIMIT ?", (root, limit))
        sql = "SELECT * FROM files WHERE root = ? AND kind = ? ORDER BY path LIMIT ?"
        return self._records(sql, (root, kind.value, limit))

    def riskiest(self, root: str, *, limit: int = 10) -> list[FileRecord]:
        """Return the records of highest risk, at most ``limit``, and none that is without."""
        sql = "SELECT * FROM files WHERE root = ? AND risk > 0 ORDER BY risk DESC, path LIMIT ?"
        return self._records(sql, (root, limit))

    def findings(self, root: str, *, severity: Severity | None = None, limit: int = 1000) -> list[Finding]:
        """Return findings of a root by path and line, at most ``limit``."""
        with self._using("reading") as connection:
            return [Finding(*row) for row in connection.execute(_FINDINGS, (root, severity, severity, limit))]

    def refusals(self, root: str) -> list[Refusal]:
        """Return all refusals of a root by path."""
        with self._using("reading") as connection:
            rows = connection.execute(
                "SELECT path, reason, detail FROM refusals WHERE root = ? ORDER BY path", (root,)
            ).fetchall()
        return [Refusal(*row) for row in rows]

    def kinds(self, root: str) -> dict[FileKind, int]:
        """Return how many files of each kind a root has."""
        sql = "SELECT kind, count(*) FROM files WHERE root = ? GROUP BY kind ORDER BY kind"
        with self._using("reading") as connection:
            return {FileKind(kind): count for kind, count in connection.execute(sql, (root,))}

    def severities(self, root: str) -> dict[Severity, int]:
        """Return how many findings of each severity a root has."""
        sql = "SELECT severity, count(*) FROM findings WHERE root = ? GROUP BY severity"
        with self._using("reading") as connection:
            return dict(connection.execute(sql, (root,)).fetchall())

    def statistics(self) -> IndexStatistics:
        """Return how much the index holds."""
        sql = "SELECT (SELECT count(DISTINCT root) FROM files), (SELECT count(*) FROM files), \
(SELECT count(*) FROM refusals), (SELECT count(*) FROM findings)"
        with self._using("reading") as connection:
            return IndexStatistics(*connection.execute(sql).fetchone())

    def _records(self, sql: str, values: tuple[Any, ...]) -> list[FileRecord]:
        with self._using("reading") as connection:
            return [file_record(row) for row in connection.execute(sql, values)]

    @contextmanager
    def _using(self, doing: str) -> Generator[sqlite3.Connection]:
        try:
            yield self._connection
        except sqlite3.Error as exc:
            raise IndexUnusableError(self.path, doing) from exc

    def _opened(self) -> sqlite3.Connection:
        connection = self._connected()
        try:
            if (trouble := _trouble(connection)) is not None:
                connection.close()
                self.set_aside = SetAside(self._move_aside(), trouble)
                connection = self._connected()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if _version(connection) == 0:
                connection.executescript(SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, check_same_thread=False)

    def _move_aside(self) -> str:
        old = Path(self.path)
        places = (old.with_name(f"{old.name}.corrupt-{number}") for number in itertools.count(1))
        aside = next(place for place in places if not os.path.lexists(place))
        old.replace(aside)
        for suffix in ("-wal", "-shm"):  # they belong to the old file and would be read into the new one
            extra = old.with_name(old.name + suffix)
            if extra.exists():
                extra.replace(aside.with_name(aside.name + suffix))
        return str(aside)


def _trouble(connection: sqlite3.Connection) -> str | None:
    """Say what is wrong with a database that was there before, if anything is."""
    try:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            return f"damaged: {problem}"
        version = _version(connection)
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode & 0xFF in _DAMAGE:
            return f"damaged: {exc}"
        raise
    if version != SCHEMA_VERSION and (version or tables):
        return f"expected schema {SCHEMA_VERSION}, got {version}"
    return None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
