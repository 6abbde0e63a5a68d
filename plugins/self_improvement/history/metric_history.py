"""What was measured and when: owns the points of all metrics, over one SQLite file."""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from aetherra.plugins.self_improvement.history.history_file import HISTORY
from aetherra.plugins.self_improvement.history.sqlite_file import open_sqlite

__all__ = ["HistoryStatistics", "MetricHistory", "MetricInfo", "Point", "UnitMismatchError"]


class UnitMismatchError(ValueError):
    """A metric came in another unit than the one it is stored in; rename it or convert it."""

    def __init__(self, name: str, stored: str, given: str) -> None:
        super().__init__(name, stored, given)
        self.name, self.stored, self.given = name, stored, given

    def __str__(self) -> str:
        return f"metric {self.name!r} is stored in {self.stored!r}, got {self.given!r}: convert it or name it otherwise"


class Point(msgspec.Struct, frozen=True):
    """One measurement.

    Attributes:
        name: The metric, ``loop.lag``.
        unit: What the value counts, ``seconds``; the same in all points of a metric.
        timestamp: Seconds since the epoch.
        value: A finite number.
        context: Whatever else JSON can say about it.
    """

    name: str
    unit: str
    timestamp: float
    value: float
    context: dict[str, Any] = {}


class MetricInfo(msgspec.Struct, frozen=True):
    """One stored metric: its unit, how many points it has, and the times of the first and the last of them."""

    name: str
    unit: str
    count: int
    first: float
    last: float


class HistoryStatistics(msgspec.Struct, frozen=True):
    """How much is stored.

    Attributes:
        metrics: Metrics with points.
        points: Points of all metrics.
        size: Bytes of the database, without its log; pruning frees pages for new points and does not shrink it.
        unreadable_contexts: Contexts read since opening that were damaged and came back empty.
    """

    metrics: int
    points: int
    size: int
    unreadable_contexts: int


class MetricHistory:
    """Store of metric points in one SQLite file.

    Synchronous. It may be used from any thread, by one caller at a time. Other processes may read and write the same
    file: a call waits up to 5 s for its turn, then raises ``sqlite3.OperationalError``.

    Opening checks the whole file. One that is damaged, or is no history of ours, is moved aside under the name
    ``<file>.corrupt-<n>`` and a new one started; nothing is deleted. Damage that strikes while it is open raises
    ``sqlite3.DatabaseError`` from the call that meets it.

    Args:
        path: The file, whose folder is created; or ``":memory:"``.

    Attributes:
        set_aside: Where the damaged file went, or None.
        set_aside_reason: What was wrong with it, or an empty string.

    Raises:
        sqlite3.OperationalError: The file cannot be opened for a reason other than damage: rights, space, a lock.
    """

    def __init__(self, path: Path | str) -> None:
        self._unreadable_contexts = 0
        opened = open_sqlite(path, HISTORY)
        self._db, self.set_aside, self.set_aside_reason = opened.db, opened.set_aside, opened.reason

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file and close it; closing twice is fine, any other call then raises."""
        self._db.close()

    def record(self, points: Sequence[Point]) -> int:
        """Store all of ``points`` in one transaction, or none.

        They may come in any order. A point takes the place of an earlier one of its metric and time.

        Returns:
            How many points were stored, replacements included.

        Raises:
            ValueError: A value or time is NaN or infinite, a name is empty, or a context is nothing JSON can say.
            UnitMismatchError: A metric came in another unit than before.
        """
        units: dict[str, str] = {}
        rows = [(point.name, *_checked(point, units)) for point in points]
        with self._transaction():
            ids = {name: self._metric_id(name, unit) for name, unit in units.items()}
            self._db.executemany(
                "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)",
                ((ids[name], time, value, context) for name, time, value, context in rows),
            )
        return len(rows)

    def points(
        self, name: str, since: float = -math.inf, until: float = math.inf, limit: int = 10_000
    ) -> list[tuple[float, float]]:
        """Return times and values of ``name`` with ``since <= time < until``, in the order of time.

        Where there are more than ``limit``, the latest. An unknown metric has none.

        Raises:
            ValueError: ``limit`` is below 1.
        """
        return [(time, value) for time, value, _, _ in self._selected(name, since, until, limit)]

    def recorded(
        self, name: str, since: float = -math.inf, until: float = math.inf, limit: int = 10_000
    ) -> list[Point]:
        """Return the same points as ``points()``, whole, with unit and context.

        A damaged context comes back empty and is counted in ``statistics()``.

        Raises:
            ValueError: ``limit`` is below 1.
        """
        return [
            Point(name, unit, time, value, self._decoded(context))
            for time, value, context, unit in self._selected(name, since, until, limit)
        ]

    def names(self) -> list[MetricInfo]:
        """Return all metrics by name. Counting reads the whole table: about 0.1 s a million points."""
        rows = self._db.execute(
            "SELECT name, unit, COUNT(*), MIN(ts), MAX(ts) FROM metrics JOIN points ON metric = id"
            " GROUP BY id ORDER BY name"
        )
        return [MetricInfo(*row) for row in rows]

    def prune(self, before: float) -> int:
        """Remove all points older than ``before``, and metrics that have none left together with their unit.

        Returns:
            How many points were removed.
        """
        with self._transaction():
            removed = self._db.execute(
                "DELETE FROM points WHERE metric IN (SELECT id FROM metrics) AND ts < ?", (before,)
            ).rowcount
            self._db.execute("DELETE FROM metrics WHERE NOT EXISTS (SELECT 1 FROM points WHERE metric = id)")
        return removed

    def statistics(self) -> HistoryStatistics:
        """Return how much is stored; as slow as ``names()``."""
        metrics, points, size = self._db.execute(
            "SELECT (SELECT COUNT(*) FROM metrics), (SELECT COUNT(*) FROM points), page_count * page_size"
            " FROM pragma_page_count(), pragma_page_size()"
        ).fetchone()
        return HistoryStatistics(metrics, points, size, self._unreadable_contexts)

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back on an error
            yield

    def _metric_id(self, name: str, unit: str) -> int:
        row = self._db.execute("SELECT id, unit FROM metrics WHERE name = ?", (name,)).fetchone()
        if row is None:
            row = self._db.execute("INSERT INTO metrics (name, unit) VALUES (?, ?) RETURNING id, unit", (name, unit))
            row = row.fetchone()
        if row[1] != unit:
            raise UnitMismatchError(name, row[1], unit)
        return int(row[0])

    def _selected(
        self, name: str, since: float, until: float, limit: int
    ) -> list[tuple[float, float, bytes | None, str]]:
        if limit < 1:
            raise ValueError(f"expected a limit of at least 1, got {limit!r}")
        rows = self._db.execute(
            "SELECT ts, value, context, unit FROM points JOIN metrics ON metric = id"
            " WHERE name = ? AND ts >= ? AND ts < ? ORDER BY ts DESC LIMIT ?",
            (name, since, until, limit),
        ).fetchall()
        return rows[::-1]

    def _decoded(self, context: bytes | None) -> dict[str, Any]:
        if context is None:
            return {}
        try:
            return msgspec.json.decode(context, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._unreadable_contexts += 1
            return {}


def _checked(point: Point, units: dict[str, str]) -> tuple[float, float, bytes | None]:
    """Return time, value and encoded context of a sound point, noting its unit in ``units``."""
    if not point.name:
        raise ValueError(f"expected a metric name, got {point!r}")
    if not math.isfinite(point.value) or not math.isfinite(point.timestamp):
        raise ValueError(
            f"metric {point.name!r}: expected a finite value and timestamp, got {point.value!r} at {point.timestamp!r}"
        )
    if units.setdefault(point.name, point.unit) != point.unit:
        raise UnitMismatchError(point.name, units[point.name], point.unit)
    if not point.context:
        return float(point.timestamp), float(point.value), None
    try:
        context = msgspec.json.encode(point.context)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metric {point.name!r}: JSON cannot say its context: {error}") from error
    return float(point.timestamp), float(point.value), context
