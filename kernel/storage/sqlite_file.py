"""A SQLite file of ours: owns the check at opening, the way from an older schema and the moving aside of a damaged one.

A file that was left by a clean stop, and not touched since, is believed to be sound; any other is checked whole.

The journal is a write-ahead log with ``synchronous=NORMAL``: a killed process loses nothing it was told is stored, a
power failure may take the last transactions but not the file (sqlite.org/wal.html, sqlite.org/pragma.html).
"""

import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aetherra.kernel.storage.clean_stop import take_clean_stop

__all__ = ["NAMELESS", "Opened", "Schema", "connected", "open_sqlite"]

NAMELESS = (":memory:", "")
"""Paths of databases that are no file that anybody could find."""
_BUSY_SECONDS = 5.0
_LOG_BYTES = 8_000_000  # that the log keeps of what a large transaction made of it

# Errors that are the surroundings' doing and no sign of a damaged file.
_SURROUNDINGS = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


@dataclass(frozen=True)
class Schema:
    """What a database holds.

    Attributes:
        kind: What it is, for messages: ``history``.
        number: Counts up with each change, and stands in the file.
        tables: By name of table or index, the statement that makes it, as it stands in the file to the letter. Their
            ``CHECK`` clauses are evaluated when a file is checked whole.
        text: Queries that read all text, at each opening; what is no UTF-8 shows only when read.
        older: The schema before this one.
        upgrade: Turns a database of ``older`` into one of this, within the transaction that it is called in.
    """

    kind: str
    number: int
    tables: Mapping[str, str]
    text: tuple[str, ...] = ()
    older: "Schema | None" = None
    upgrade: Callable[[sqlite3.Connection], None] | None = None


@dataclass(frozen=True)
class Opened:
    """A database that is fit for use.

    Attributes:
        db: Commits by itself and may be used from any thread, by one at a time.
        set_aside: Where the damaged file went that stood in its place, or None.
        reason: What was wrong with that, or an empty string.
    """

    db: sqlite3.Connection
    set_aside: Path | None = None
    reason: str = ""


def open_sqlite(path: Path | str, schema: Schema) -> Opened:
    """Open the database at ``path``, or create it, with its folder.

    ``":memory:"`` lives and dies with the connection; so does ``""``, of which the system's folder for temporary files
    takes what does not fit into a few megabytes, under no name.

    One of an older schema is upgraded. One that is found damaged, or not of this schema, is renamed to the first free
    ``<file>.corrupt-<n>`` together with its log, and a new one started.

    Header, schema and text are checked at each opening. All else, page by page and row by row, 0.2 s to 1 s a million
    rows, is checked unless the file carries the mark of a clean stop (``clean_stop``): so after a crash, an upgrade,
    and whatever others have done with it. What is damaged in a marked file, by a disk that forgets without a word, is
    found when it is met, or at the next whole check.

    Raises:
        OSError: The folder cannot be made, or the mark of a clean stop not be removed.
        sqlite3.OperationalError: It cannot be opened for a reason other than damage: rights, space, a lock.
    """
    if path in NAMELESS:
        return Opened(_checked(path, schema))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Opened(_checked(path, schema, believed=take_clean_stop(path)))
    except _DamagedFileError as damage:
        aside = _moved_aside(path)
        try:
            return Opened(_checked(path, schema), aside, str(damage))
        except BaseException:
            _move(aside, path)  # or what is opened next would be new, and nobody would know of this one
            raise


def connected(path: Path | str) -> sqlite3.Connection:
    """Return one more connection to a database that ``open_sqlite`` has opened; nothing is checked."""
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.text_factory = bytes.decode  # the default hides undecodable text behind an error without a code
    return db


class _DamagedFileError(Exception):
    """The file is no database of ours; the message says why."""


def _checked(path: Path | str, schema: Schema, believed: bool = False) -> sqlite3.Connection:
    db = connected(path)
    try:
        _prepare(db, schema, believed)
    except BaseException as error:
        db.close()
        if isinstance(error, UnicodeDecodeError) or (isinstance(error, sqlite3.Error) and _is_damage(error, path)):
            raise _DamagedFileError(str(error)) from error
        raise
    return db


def _prepare(db: sqlite3.Connection, schema: Schema, believed: bool) -> None:
    db.execute("BEGIN IMMEDIATE")
    with db:
        number = db.execute("PRAGMA user_version").fetchone()[0]
        tables = dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
        if not number and not tables:
            for create in schema.tables.values():
                db.execute(create)
            db.execute(f"PRAGMA user_version = {schema.number}")
        else:
            _upgrade(db, schema, number, tables)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if not believed or number != schema.number:
        (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise _DamagedFileError(verdict)
    for query in schema.text:
        db.execute(query).fetchall()


def _upgrade(db: sqlite3.Connection, schema: Schema, number: int, tables: Mapping[str, str]) -> None:
    """Bring a database up to ``schema``, from whichever older one it is of."""
    behind: list[Schema] = []
    found: Schema | None = schema
    while found is not None and found.number != number:
        behind.append(found)
        found = found.older
    if found is None or tables != found.tables:
        raise _DamagedFileError(
            f"expected a {schema.kind} of schema {schema.number}, got schema {number} with {sorted(tables)}"
        )
    for step in reversed(behind):
        assert step.upgrade is not None
        step.upgrade(db)
    if behind:
        db.execute(f"PRAGMA user_version = {schema.number}")


def _is_damage(error: sqlite3.Error, path: Path | str) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code == sqlite3.SQLITE_READONLY:  # also the answer to a damaged format number in the header
        return os.access(path, os.W_OK) and os.access(Path(path).parent, os.W_OK)
    return code not in _SURROUNDINGS


def _moved_aside(file: Path) -> Path:
    """Rename the file and its log to the first free ``.corrupt-<n>``."""
    number = 1
    while (aside := file.with_name(f"{file.name}.corrupt-{number}")).exists():
        number += 1
    _move(file, aside)
    return aside


def _move(file: Path, to: Path) -> None:
    """Put a file and its log in the place of another."""
    file.replace(to)
    for log in ("-wal", "-shm"):
        part, place = file.with_name(file.name + log), to.with_name(to.name + log)
        if part.exists():
            part.replace(place)
        else:
            place.unlink(missing_ok=True)
