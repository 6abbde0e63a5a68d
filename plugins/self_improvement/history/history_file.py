"""What the history's file holds: its schema.

One row a metric, and the points in a ``WITHOUT ROWID`` table whose key is (metric, time), so that the points of one
metric lie side by side in the order of time and no second index is kept (sqlite.org/withoutrowid.html).
"""

from aetherra.plugins.self_improvement.history.sqlite_file import Schema

__all__ = ["HISTORY"]

# The checks are there for a damaged file: the integrity check at opening evaluates them.
HISTORY = Schema(
    kind="history",
    number=1,
    tables={
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
    },
    text=("SELECT name, unit FROM metrics",),
)
