"""What the history's file holds: its schema, and how a file of the one before is brought up to it.

One row a metric; the points in a ``WITHOUT ROWID`` table whose key is (metric, time), so that those of one metric lie
side by side in the order of time and no second index is kept (sqlite.org/withoutrowid.html); what became of older
points in two tables alike, one row a minute and one an hour. A point stands in one of the three alone. ``low`` and
``high`` are NULL where they equal the mean, as they do in a minute of one point: that halves such a row.
"""

import sqlite3

from aetherra.plugins.storage import Schema

__all__ = ["HISTORY"]

# The checks are there for a damaged file: the check of the whole file evaluates them.
_POINTS = """CREATE TABLE points (
    metric INTEGER NOT NULL CHECK (typeof(metric) = 'integer'),
    ts REAL NOT NULL CHECK (typeof(ts) = 'real' AND abs(ts) <= 1.7976931348623157e308),
    value REAL NOT NULL CHECK (typeof(value) = 'real' AND abs(value) <= 1.7976931348623157e308),
    context BLOB,
    PRIMARY KEY (metric, ts)
) WITHOUT ROWID"""

# No text or blob is BETWEEN two numbers. These are evaluated of each row, and so as short as can be.
_TIER = """CREATE TABLE {name} (
    metric INTEGER NOT NULL,
    ts INTEGER NOT NULL CHECK (ts BETWEEN -1000000000000 AND 1000000000000),
    count INTEGER NOT NULL CHECK (count BETWEEN 1 AND 1000000000000),
    mean REAL NOT NULL CHECK (mean BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
    low REAL CHECK (low BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
    high REAL CHECK (high BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
    PRIMARY KEY (metric, ts)
) WITHOUT ROWID"""

_METRICS = """CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (typeof(name) = 'text'),
    unit TEXT NOT NULL CHECK (typeof(unit) = 'text'),
    points INTEGER NOT NULL CHECK (typeof(points) = 'integer' AND points BETWEEN 0 AND 1000000000000000)
)"""

_PROGRESS = """CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    reference REAL NOT NULL CHECK (typeof(reference) = 'real' AND abs(reference) <= 1.7976931348623157e308),
    share REAL NOT NULL CHECK (typeof(share) = 'real' AND share > 0 AND share <= 1)
)"""

_TEXT = ("SELECT name, unit FROM metrics",)


def _with_tiers(db: sqlite3.Connection) -> None:
    metrics = db.execute(
        "SELECT id, name, unit, (SELECT COUNT(*) FROM points WHERE metric = id) FROM metrics"
    ).fetchall()
    db.execute("DROP TABLE metrics")
    for name, create in HISTORY.tables.items():
        if name != "points":
            db.execute(create)
    db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?)", metrics)


HISTORY = Schema(
    kind="history",
    number=2,
    tables={
        "metrics": _METRICS,
        "points": _POINTS,
        "minutes": _TIER.format(name="minutes"),
        "hours": _TIER.format(name="hours"),
        "progress": _PROGRESS,
    },
    text=_TEXT,
    older=Schema(
        kind="history",
        number=1,
        tables={
            "metrics": """CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (typeof(name) = 'text'),
    unit TEXT NOT NULL CHECK (typeof(unit) = 'text')
)""",
            "points": _POINTS,
        },
        text=_TEXT,
    ),
    upgrade=_with_tiers,
)
