"""What the index's file holds: its schema, and how a file of the one before is brought up to it.

A file stands under its root, its folder and its name, so that a scan takes in one folder at a time. What queries need
is in columns of its own, all else in ``record``: the whole of `rows.FileRecord`, as JSON.
"""

import sqlite3

from aetherra.plugins.storage import Schema

__all__ = ["INDEX"]

_ROOTS = """CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (typeof(name) = 'text'),
    weights TEXT NOT NULL CHECK (typeof(weights) = 'text'),
    left_out TEXT NOT NULL CHECK (typeof(left_out) = 'text')
)"""

_FILES = """CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (typeof(size) = 'integer'),
    mtime_ns INTEGER NOT NULL CHECK (typeof(mtime_ns) = 'integer'),
    ctime_ns INTEGER NOT NULL CHECK (typeof(ctime_ns) = 'integer'),
    inode INTEGER NOT NULL CHECK (typeof(inode) = 'integer'),
    rules TEXT NOT NULL,
    indexed_at REAL NOT NULL CHECK (typeof(indexed_at) = 'real'),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    kind TEXT NOT NULL,
    risk REAL NOT NULL CHECK (risk BETWEEN 0 AND 1),
    record TEXT NOT NULL
)"""

_REFUSALS = """CREATE TABLE refusals (
    root INTEGER NOT NULL,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (typeof(size) = 'integer'),
    mtime_ns INTEGER NOT NULL CHECK (typeof(mtime_ns) = 'integer'),
    ctime_ns INTEGER NOT NULL CHECK (typeof(ctime_ns) = 'integer'),
    inode INTEGER NOT NULL CHECK (typeof(inode) = 'integer'),
    rules TEXT NOT NULL,
    indexed_at REAL NOT NULL CHECK (typeof(indexed_at) = 'real'),
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (root, folder, name)
) WITHOUT ROWID"""

_FINDINGS = """CREATE TABLE findings (
    file INTEGER NOT NULL,
    root INTEGER NOT NULL,
    line INTEGER NOT NULL CHECK (typeof(line) = 'integer'),
    code TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL
)"""

_STATE = """CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    writes INTEGER NOT NULL CHECK (typeof(writes) = 'integer')
)"""

_FIRST = {
    "files": """CREATE TABLE files (
  root TEXT, path TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, rules TEXT, indexed_at REAL,
  sha256 TEXT, kind TEXT, confidence REAL, features TEXT, risk REAL, factors TEXT, capabilities TEXT, imports TEXT,
  definitions TEXT, entry_points TEXT, lines INTEGER, PRIMARY KEY (root, path)
) WITHOUT ROWID""",
    "files_by_risk": "CREATE INDEX files_by_risk ON files (root, risk DESC, path)",
    "refusals": """CREATE TABLE refusals (
  root TEXT, path TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, rules TEXT, indexed_at REAL,
  reason TEXT, detail TEXT, PRIMARY KEY (root, path)
) WITHOUT ROWID""",
    "findings": ("CREATE TABLE findings (root TEXT, path TEXT, line INTEGER, code TEXT, severity TEXT, message TEXT)"),
    "findings_by_path": "CREATE INDEX findings_by_path ON findings (root, path)",
    "findings_by_severity": "CREATE INDEX findings_by_severity ON findings (root, severity, path, line)",
}


def _anew(db: sqlite3.Connection) -> None:
    """Begin anew: what the first schema kept of a file lacks what is kept now, so that each must be read again."""
    for table in ("files", "refusals", "findings"):
        db.execute(f"DROP TABLE {table}")  # with its indexes
    for create in INDEX.tables.values():
        db.execute(create)


INDEX = Schema(
    kind="code index",
    number=2,
    tables={
        "roots": _ROOTS,
        "files": _FILES,
        "files_by_place": "CREATE UNIQUE INDEX files_by_place ON files (root, folder, name)",
        "files_by_kind": "CREATE INDEX files_by_kind ON files (root, kind)",
        "files_by_risk": "CREATE INDEX files_by_risk ON files (root, risk DESC) WHERE risk > 0",
        "refusals": _REFUSALS,
        "findings": _FINDINGS,
        "findings_by_file": "CREATE INDEX findings_by_file ON findings (file)",
        "findings_by_severity": "CREATE INDEX findings_by_severity ON findings (root, severity)",
        "state": _STATE,
    },
    text=("SELECT name FROM roots",),
    older=Schema(kind="code index", number=1, tables=_FIRST),
    upgrade=_anew,
)
