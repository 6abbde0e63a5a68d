"""The SQLite file a history lives in: owns its schema, the check at opening and the moving aside of a damaged one.

One row a metric, and the points in a ``WITHOUT ROWID`` table whose key is (metric, time), so that the points of one
metric lie side by side in the order of time and no second index is kept (sqlite.org/withoutrowid.html). The journal is
a write-ahead log with ``synchronous=NORMAL``: a killed process loses nothing it was told is stored, a power failure may
take the last transactions but not the file (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

import os
import sqlite3
from pathlib import Path

__all__ = ["open_history_file"]

_SCHEMA_NUMBER = 1
_BUSY_SECONDS = 5.0

# The checks are there for a damaged file: the integrity check at opening evaluates them.
_SCHEMA = {
    "metrics": """CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (typeof(name) = 'text'),
    unit TEXT NOT NULL CHECK (typeof(unit) = 'text')
)""",
    "points": """CREATE TABLE points (
    metric INTEGER NOT NULL CHECK (typeof(metric) = 'integer'),
    ts REAL NOT NULL CHECK (typeof(ts) = 'real' AND abs(ts) <= 1.7976931348623157e308),
    value REAL NOT NULL CHECK (typeof(value) = 'real' AND abs(value) <= 1.7976931348623157e308),
    context BLOB,
    PRIMARY KEY (metric, ts)
) WITHOUT ROWID""",
}

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


def open_history_file(path: Path | str) -> tuple[sqlite3.Connection, Path | None, str]:
    """Open the history at ``path``, or create it, with its folder; ``":memory:"`` lives and dies with the connection.

    The whole file is checked: 0.2 s a million points. One that is damaged, or no history of ours, is renamed to the
    first free ``<file>.corrupt-<n>`` together with its log, and a new one started.

    Returns:
        The connection, which commits by itself and may be used from any thread; where the damaged file went, or None;
        and what was wrong with it, or an empty string.

    Raises:
        sqlite3.OperationalError: It cannot be opened for a reason other than damage: rights, space, a lock.
    """
    if path == ":memory:":
        return _opened(path), None, ""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _opened(path), None, ""
    except _DamagedFileError as damage:
        aside = _moved_aside(path)
        return _opened(path), aside, str(damage)


class _DamagedFileError(Exception):
    """The file is no history; the message says why."""


def _opened(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db)
    except BaseException as error:
        db.close()
        if isinstance(error, UnicodeDecodeError) or (isinstance(error, sqlite3.Error) and _is_damage(error, path)):
            raise _DamagedFileError(str(error)) from error
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    db.text_factory = bytes.decode  # the default hides undecodable text behind an error without a code
    db.execute("BEGIN IMMEDIATE")
    with db:
        number = db.execute("PRAGMA user_version").fetchone()[0]
        tables = dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
        if not number and not tables:
            for create in _SCHEMA.values():
                db.execute(create)
            db.execute(f"PRAGMA user_version = {_SCHEMA_NUMBER}")
            number, tables = _SCHEMA_NUMBER, _SCHEMA
    if number != _SCHEMA_NUMBER or tables != _SCHEMA:
        raise _DamagedFileError(f"expected a history of schema {_SCHEMA_NUMBER}, got {number} with {sorted(tables)}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise _DamagedFileError(verdict)
    db.execute("SELECT name, unit FROM metrics").fetchall()  # text that is no UTF-8 shows only when read


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
    file.rename(aside)
    for log in ("-wal", "-shm"):
        part = file.with_name(file.name + log)
        if part.exists():
            part.rename(aside.with_name(aside.name + log))
    return aside
