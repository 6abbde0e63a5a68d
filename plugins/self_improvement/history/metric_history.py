"""What was measured and when: owns the points of all metrics, over one SQLite file."""

# ruff: noqa: S608  # statements are put together of names and numbers that stand in this package

import math
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from aetherra.plugins.self_improvement.history.history_file import HISTORY
from aetherra.plugins.self_improvement.history.point import (
    Batch,
    MetricLimitError,
    Point,
    UnitMismatchError,
    batch_of,
    check_text,
)
from aetherra.plugins.self_improvement.history.roll_up import (
    RolledUp,
    add_points,
    forget_empty,
    rolling,
    share_of,
)
from aetherra.plugins.self_improvement.history.tiers import DAY, TIERS, Retention, Tier, drop
from aetherra.plugins.storage import Database, Store, silent, size_of

__all__ = ["Aggregate", "HistoryStatistics", "MetricHistory", "MetricInfo"]

_AHEAD = DAY  # seconds that a point may be ahead of the clock: others' clocks, time zones


class MetricInfo(msgspec.Struct, frozen=True):
    """One stored metric: its unit, how many points it has, and the times of the first and the last of them."""

    name: str
    unit: str
    count: int
    first: float
    last: float


class Aggregate(msgspec.Struct, frozen=True):
    """What is kept of some points of one metric.

    Attributes:
        timestamp: The middle of the time that they are of.
        width: How long that is: 0 of a single point, 60 or 3600.
        count: How many points there were.
        mean: Of these.
        minimum: Of these.
        maximum: Of these.
    """

    timestamp: float
    width: int
    count: int
    mean: float
    minimum: float
    maximum: float


class HistoryStatistics(msgspec.Struct, frozen=True):
    """How much is stored.

    Attributes:
        metrics: Metrics with points.
        points: Points of all metrics that were recorded and are not dropped, those that stand in a minute or hour too.
        size: Bytes of the database, without its log; it never shrinks.
        free: Bytes of these that dropped points have left, for new ones.
        share: Of the time that the retention names, how much points and minutes are kept for: less than 1 where
            ``max_size`` asks for it.
        unreadable_contexts: Contexts read since opening that were damaged and came back empty.
    """

    metrics: int
    points: int
    size: int
    free: int
    share: float
    unreadable_contexts: int


class MetricHistory(Store):
    """Store of metric points in one SQLite file.

    Synchronous; any number of threads may use it at once. Readers of a file wait for no writer. Other processes may
    read and write the same file: a call waits up to 5 s for its turn.

    A point is kept as it came until ``roll_up()`` finds it older than the retention's ``raw``; then it becomes part of
    a row of its minute, later of its hour, and at last it is dropped. It stands in one place at a time, so that all
    that is read or counted is the sum of the three. A point that comes late is kept as it came and goes to where it
    belongs with the next roll-up.

    Opening checks the whole file, but for one that was left by a clean stop; ``Database`` says what is done with one
    that is damaged, deleted or replaced.

    Args:
        path: The file, whose folder is created; or ``":memory:"``.
        clock: Tells the time that a point may have, in Unix seconds.
        retention: How long what is kept.
        tell: Is told when something goes wrong with the file after it was opened, from whichever thread.

    Raises:
        DatabaseUnusableError: By all methods: the file cannot be opened, read or written, and nothing was changed.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], float] = time.time,
        retention: Retention = Retention(),  # noqa: B008  # frozen
        tell: Callable[[str], None] = silent,
    ) -> None:
        self.retention = retention
        self._clock = clock
        self._unreadable_contexts = 0
        super().__init__(Database(path, HISTORY, tell))

    # Recording

    def record(self, points: Sequence[Point]) -> int:
        """Store all of ``points`` in one transaction, or none.

        They may come in any order. A point takes the place of an earlier one of its metric and time, as long as that
        is kept as it came; of one that stands in a minute or hour it is another one.

        Returns:
            How many points were stored, replacements included.

        Raises:
            ValueError: A value or time is NaN or infinite, a name is empty or long, a name or unit cannot be printed,
                or a context is nothing JSON can say in 4 KiB.
            PointTimeError: A time is older than the retention, or more than a day ahead of the clock.
            UnitMismatchError: A metric came in another unit than before.
            MetricLimitError: There are too many metrics.
        """
        (stored,) = self.record_each([points])
        if isinstance(stored, ValueError):
            raise stored
        return stored

    def record_each(self, batches: Sequence[Sequence[Point]]) -> list[int | ValueError]:
        """Store the batches in one transaction: each whole, or not at all, without harm to the others.

        Returns:
            For each batch how many points were stored, or the error that ``record()`` would have raised.
        """
        now = self._clock()
        sound = [self._batch_or_error(points, now) for points in batches]
        with self._database.writing() as db:
            storing = _Storing(db, self.retention.max_metrics)
            results = [batch if isinstance(batch, ValueError) else storing.store(batch) for batch in sound]
            storing.finish()
        return results

    def _batch_or_error(self, points: Sequence[Point], now: float) -> Batch | ValueError:
        try:
            return batch_of(points, now - self.retention.hours, now + _AHEAD)
        except ValueError as error:
            return error

    # Reading

    def points(
        self, name: str, since: float = -math.inf, until: float = math.inf, limit: int = 10_000
    ) -> list[tuple[float, float]]:
        """Return times and values of ``name`` with ``since <= time < until``, in the order of time.

        What has become part of a minute or hour comes as its mean in the middle of it. Where there are more than
        ``limit``, the latest. An unknown metric has none.

        Raises:
            ValueError: ``limit`` is below 1.
        """
        return self._latest(name, since, until, limit, _MEAN)[1]

    def recorded(
        self, name: str, since: float = -math.inf, until: float = math.inf, limit: int = 10_000
    ) -> list[Point]:
        """Return the same points as ``points()``, whole, with unit and context; a minute or hour has no context.

        A damaged context comes back empty and is counted in ``statistics()``.

        Raises:
            ValueError: ``limit`` is below 1.
        """
        unit, rows = self._latest(name, since, until, limit, _WHOLE)
        return [Point(name, unit, time, value, self._decoded(context)) for time, value, context in rows]

    def aggregates(
        self, name: str, since: float = -math.inf, until: float = math.inf, limit: int = 10_000
    ) -> list[Aggregate]:
        """Return the same points as ``points()``, with how many each stands for, and the least and greatest of them.

        Raises:
            ValueError: ``limit`` is below 1.
        """
        return [Aggregate(*row) for row in self._latest(name, since, until, limit, _AGGREGATE)[1]]

    def names(self) -> list[MetricInfo]:
        """Return all metrics by name; some 20 us a metric, however many points there are."""
        with self._database.reading() as db:
            rows = db.execute(_NAMES).fetchall()
        infos: list[MetricInfo] = []
        for name, unit, count, *times in rows:
            known = [time for time in times if time is not None]
            if known:
                infos.append(MetricInfo(name, unit, count, min(known), max(known)))
        return infos

    def statistics(self) -> HistoryStatistics:
        """Return how much is stored, without counting it."""
        with self._database.reading() as db:
            metrics, points = db.execute("SELECT COUNT(*), total(points) FROM metrics").fetchone()
            size, free = size_of(db)
            return HistoryStatistics(metrics, int(points), size, free, share_of(db), self._unreadable_contexts)

    # Forgetting

    def rolling(self) -> Generator[RolledUp, None, None]:
        """Roll up in portions: each ``next()`` is one transaction of some ten milliseconds and tells what it did.

        Between two of them anybody may read and write. One that is left half-way has lost nothing; the next roll-up
        goes on where it ended. A roll-up goes at most a day beyond the one before, the first a day beyond the newest
        point: a clock that says 2100 does not have all dropped, and after a year without a host it takes some time.
        """
        return rolling(self._database, self.retention, self._clock)

    def roll_up(self) -> RolledUp:
        """Do all of ``rolling()`` at once and return what it did."""
        return sum(self.rolling(), RolledUp())

    def prune(self, before: float) -> int:
        """Remove all points older than ``before``, and metrics that have none left together with their unit.

        A minute or hour goes when the last of its points is older.

        Returns:
            How many points were removed.
        """
        with self._database.writing() as db:
            metrics = [metric for (metric,) in db.execute("SELECT id FROM metrics")]
            removed = {metric: sum(drop(db, metric, tier, before)[1] for tier in TIERS) for metric in metrics}
            add_points(db, {metric: -points for metric, points in removed.items()})
            forget_empty(db)
        return sum(removed.values())

    def forget(self, name: str) -> int:
        """Remove a metric with all its points: it may come back in another unit.

        Returns:
            How many points were removed.

        Raises:
            LookupError: There is no such metric.
        """
        with self._database.writing() as db:
            metric = _known(db, name)
            (points,) = db.execute("DELETE FROM metrics WHERE id = ? RETURNING points", (metric,)).fetchone()
            for tier in TIERS:
                db.execute(f"DELETE FROM {tier.table} WHERE metric = ?", (metric,))
        return int(points)

    def rename(self, name: str, new: str) -> None:
        """Give a metric another name: the old one may come back in another unit, and nothing is lost.

        Raises:
            LookupError: There is no metric ``name``.
            ValueError: ``new`` is no name, or that of another metric.
        """
        check_text("name", new)
        with self._database.writing() as db:
            metric = _known(db, name)
            if _found(db, new) is not None:
                raise ValueError(f"metric {name!r} cannot be named {new!r}: there is a metric of that name")
            db.execute("UPDATE metrics SET name = ? WHERE id = ?", (new, metric))

    def _latest(
        self, name: str, since: float, until: float, limit: int, queries: Sequence[str]
    ) -> tuple[str, list[Any]]:
        if limit < 1:
            raise ValueError(f"expected a limit of at least 1, got {limit!r}")
        with self._database.reading() as db:
            if (found := _found(db, name)) is None:
                return "", []
            metric, unit = found
            parts = [
                db.execute(query, (metric, since - tier.middle, until - tier.middle, limit)).fetchall()
                for query, tier in zip(queries, TIERS, strict=True)
            ]
        filled = [part for part in reversed(parts) if part]
        for part in filled:
            part.reverse()
        if len(filled) < 2:
            return unit, filled[0] if filled else []
        rows = [row for part in filled for row in part]
        rows.sort(key=itemgetter(0))
        return unit, rows[-limit:]

    def _decoded(self, context: bytes | None) -> dict[str, Any]:
        if context is None:
            return {}
        try:
            return msgspec.json.decode(context, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._unreadable_contexts += 1
            return {}


def _reading(columns: Callable[[Tier], Sequence[str]]) -> list[str]:
    """Return for each tier the query for its latest rows, told by the time that stands for them."""
    return [
        f"SELECT {_time(tier)}, {', '.join(columns(tier))} FROM {tier.table}"
        " WHERE metric = ? AND ts >= ? AND ts < ? ORDER BY ts DESC LIMIT ?"
        for tier in TIERS
    ]


def _time(tier: Tier) -> str:
    return f"ts + {tier.middle}" if tier.width else "ts"


_MEAN = _reading(lambda tier: tier.columns[1:2])
_WHOLE = _reading(lambda tier: (tier.columns[1], "NULL" if tier.width else "context"))
_AGGREGATE = _reading(lambda tier: (str(tier.width), *tier.columns))
_ENDS = ", ".join(
    f"(SELECT {end}(ts) + {tier.middle} FROM {tier.table} WHERE metric = id)"
    for tier in TIERS
    for end in ("MIN", "MAX")
)
_NAMES = f"SELECT name, unit, points, {_ENDS} FROM metrics ORDER BY name"


def _found(db: sqlite3.Connection, name: str) -> tuple[int, str] | None:
    row: tuple[int, str] | None = db.execute("SELECT id, unit FROM metrics WHERE name = ?", (name,)).fetchone()
    return row


def _known(db: sqlite3.Connection, name: str) -> int:
    if (found := _found(db, name)) is None:
        raise LookupError(f"no metric {name!r} has been recorded")
    return found[0]


class _Storing:
    """One transaction that stores: knows the metrics that it met and counts their new points."""

    def __init__(self, db: sqlite3.Connection, limit: int) -> None:
        self._db = db
        self._limit = limit
        self._met: dict[str, tuple[int, str]] = {}
        self._added: dict[int, int] = {}

    def store(self, batch: Batch) -> int | ValueError:
        """Store a batch, or return why not."""
        fresh: list[str] = []
        for name, unit in batch.units.items():
            found = self._met.get(name) or _found(self._db, name)
            if found is None:
                fresh.append(name)
            elif found[1] != unit:
                return UnitMismatchError(name, found[1], unit)
            else:
                self._met[name] = found
        if fresh:
            (known,) = self._db.execute("SELECT COUNT(*) FROM metrics").fetchone()
            if known + len(fresh) > self._limit:
                return MetricLimitError(fresh[max(0, self._limit - known)], self._limit)
        for name in fresh:
            unit = batch.units[name]
            row = self._db.execute(
                "INSERT INTO metrics (name, unit, points) VALUES (?, ?, 0) RETURNING id", (name, unit)
            )
            self._met[name] = row.fetchone()[0], unit
        for name, rows in batch.rows.items():
            self._insert(self._met[name][0], rows)
        return batch.size

    def _insert(self, metric: int, rows: dict[float, tuple[float, bytes | None]]) -> None:
        values = [(metric, time, value, context) for time, (value, context) in rows.items()]
        added = self._db.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?)", values).rowcount
        if added < len(values):
            self._db.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", values)
        self._added[metric] = self._added.get(metric, 0) + added

    def finish(self) -> None:
        """Write the counts."""
        add_points(self._db, self._added)
