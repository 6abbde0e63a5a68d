"""How closely points are kept, by age: owns the tiers and the way of rows from one to the next."""

# ruff: noqa: S608  # statements are put together of names and numbers that stand in this file

import math
import sqlite3
from typing import Annotated

import msgspec

__all__ = ["DAY", "HOURS", "MINUTES", "RAW", "TIERS", "Retention", "Tier", "drop", "roll"]

DAY = 86_400.0
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_155_760_000)]


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long what is kept; durations are seconds of a point's age. The defaults keep 50 metrics a minute in 200 MB.

    Attributes:
        raw: Points stay as they came.
        minutes: Then there is one row a minute.
        hours: Then there is one row an hour; what is older than this is refused, and dropped.
        max_size: Bytes of the file. When it would outgrow them, points and minutes are kept for a shorter time, both
            for the same share of theirs; only when a tenth of that is too much are hours, too.
        max_metrics: A metric more than these is refused.

    Raises:
        ValueError: ``raw <= minutes <= hours`` does not hold.
    """

    raw: _Seconds = 7 * DAY
    minutes: _Seconds = 35 * DAY
    hours: _Seconds = 730 * DAY
    max_size: Annotated[int, msgspec.Meta(ge=100_000)] = 200_000_000
    max_metrics: Annotated[int, msgspec.Meta(ge=1)] = 1_000

    def __post_init__(self) -> None:
        if not self.raw <= self.minutes <= self.hours:
            raise ValueError(
                f"expected a retention of raw <= minutes <= hours, got {self.raw:g}, {self.minutes:g}, {self.hours:g} s"
            )


class Tier(msgspec.Struct, frozen=True):
    """A table of rows alike.

    Attributes:
        table: Its name.
        width: Seconds that a row stands for; 0 where a row is a point.
        columns: Expressions for a row's count, mean, low and high.
    """

    table: str
    width: int
    columns: tuple[str, str, str, str]

    @property
    def middle(self) -> float:
        """Seconds from a row's time to the one that is told of it."""
        return self.width / 2


_ROLLED = ("count", "mean", "coalesce(low, mean)", "coalesce(high, mean)")
RAW = Tier("points", 0, ("1", "value", "value", "value"))
MINUTES = Tier("minutes", 60, _ROLLED)
HOURS = Tier("hours", 3600, _ROLLED)
TIERS = (RAW, MINUTES, HOURS)

# 2^-40 and its inverse: a sum of finite values is finite, and scaling by a power of two rounds nothing.
_SMALL, _LARGE = "9.094947017729282e-13", "1099511627776.0"


def _rolling(source: Tier, target: Tier) -> str:
    """Return the statement that puts a metric's rows before a time into the next tier."""
    count, mean, low, high = source.columns
    start = f"CAST(ts / {target.width} AS INTEGER) * {target.width}"
    average = f"total({mean} * {_SMALL} * {count}) / sum({count}) * {_LARGE}"
    n = "(count + excluded.count)"
    new_low = "min(coalesce(low, mean), coalesce(excluded.low, excluded.mean))"
    new_high = "max(coalesce(high, mean), coalesce(excluded.high, excluded.mean))"
    merged = f"mean * (1.0 * count / {n}) + excluded.mean * (1.0 * excluded.count / {n})"
    return f"""INSERT INTO {target.table}
        SELECT metric, start, n, average, nullif(low, average), nullif(high, average) FROM (
            SELECT metric, start, n, max(low, min(high, average)) AS average, low, high FROM (
                SELECT metric, {start} AS start, sum({count}) AS n, {average} AS average,
                    min({low}) AS low, max({high}) AS high
                FROM {source.table} WHERE metric = ? AND ts < ? GROUP BY start))
        WHERE true
        ON CONFLICT (metric, ts) DO UPDATE SET count = {n}, low = {new_low}, high = {new_high},
            mean = max({new_low}, min({new_high}, {merged}))"""


_ROLL = {(source, target): _rolling(source, target) for source, target in ((RAW, MINUTES), (MINUTES, HOURS))}


def roll(db: sqlite3.Connection, metric: int, source: Tier, target: Tier, before: float, most: int) -> int:
    """Move a metric's rows of a time before ``before``, at most ``most`` of them, into the next tier.

    What stands there of the same minute or hour already, of a point that came late, is merged with: count, mean, low
    and high are those of all its points, in whatever order and portions they came.

    Returns:
        How many rows were moved.
    """
    before = _end(db, metric, source, before, most)
    db.execute(_ROLL[source, target], (metric, before))
    return db.execute(f"DELETE FROM {source.table} WHERE metric = ? AND ts < ?", (metric, before)).rowcount


def drop(db: sqlite3.Connection, metric: int, tier: Tier, before: float, most: int | None = None) -> tuple[int, int]:
    """Remove a metric's rows that end at ``before`` or earlier, at most ``most`` of them.

    Returns:
        How many rows were removed, and how many points they stood for.
    """
    if tier.width:
        before = math.nextafter(before - tier.width, math.inf)
    end = before if most is None else _end(db, metric, tier, before, most)
    (points,) = db.execute(
        f"SELECT total({tier.columns[0]}) FROM {tier.table} WHERE metric = ? AND ts < ?",
        (metric, end),
    ).fetchone()
    rows = db.execute(f"DELETE FROM {tier.table} WHERE metric = ? AND ts < ?", (metric, end)).rowcount
    return rows, int(points)


def _end(db: sqlite3.Connection, metric: int, tier: Tier, before: float, most: int) -> float:
    row = db.execute(
        f"SELECT ts FROM {tier.table} WHERE metric = ? AND ts < ? ORDER BY ts LIMIT 1 OFFSET ?",
        (metric, before, most),
    ).fetchone()
    return before if row is None else float(row[0])
