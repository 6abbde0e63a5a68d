"""The roll-up: which points are old enough to become minutes, hours or nothing, and how much of it is done at once."""

# ruff: noqa: S608  # statements are put together of names and numbers that stand in this package

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Mapping

import msgspec

from aetherra.plugins.self_improvement.history.tiers import DAY, HOURS, MINUTES, RAW, TIERS, Retention, drop, roll
from aetherra.plugins.storage import Database, size_of

__all__ = ["RolledUp", "add_points", "forget_empty", "rolling", "share_of"]

_STRIDE = DAY  # seconds that one roll-up goes beyond the one before, whatever the clock says
_STEP_ROWS = 2_000  # moved in one transaction: some ten milliseconds
_STEP_METRICS = 100  # looked at in one
_SHORTEN, _LENGTHEN, _SLACK = (
    0.8,
    1.05,
    0.8,
)  # the share while too much is stored; while less than _SLACK of the bound is
_LEAST_SHARE = 1e-6
_MOST_POINTS = 10**15  # of a metric; what a damaged count may say


class RolledUp(msgspec.Struct, frozen=True):
    """What a roll-up did: rows that became part of a minute or hour, and points that were dropped."""

    moved: int = 0
    dropped: int = 0

    def __add__(self, other: RolledUp) -> RolledUp:
        return RolledUp(self.moved + other.moved, self.dropped + other.dropped)


def rolling(database: Database, retention: Retention, clock: Callable[[], float]) -> Generator[RolledUp, None, None]:
    """Roll up in portions, a transaction each, until all is where it belongs and the file is within its bound."""
    with database.writing() as db:
        reference, share = _reference(db, clock())
        if reference is None:
            return
        if _used(db) < retention.max_size * _SLACK:
            share = min(1.0, share * _LENGTHEN)
        _keep_progress(db, reference, share)
    yield RolledUp()
    yield from _all_metrics(database, retention, reference, share)
    while share > _LEAST_SHARE:
        with database.writing() as db:
            if _used(db) <= retention.max_size:
                return
            share *= _SHORTEN
            _keep_progress(db, reference, share)
        yield from _all_metrics(database, retention, reference, share)


def share_of(db: sqlite3.Connection) -> float:
    """Return how much of the retention's time points and minutes are kept for, since the last roll-up."""
    row = db.execute("SELECT share FROM progress").fetchone()
    return 1.0 if row is None else float(row[0])


def add_points(db: sqlite3.Connection, added: Mapping[int, int]) -> None:
    """Count points of metrics, or with a negative number discount them."""
    db.executemany(
        f"UPDATE metrics SET points = max(0, min({_MOST_POINTS}, points + ?)) WHERE id = ?",
        [(number, metric) for metric, number in added.items() if number],
    )


def forget_empty(db: sqlite3.Connection) -> None:
    """Remove the metrics that have no points left, with their unit."""
    none = " AND ".join(f"NOT EXISTS (SELECT 1 FROM {tier.table} WHERE metric = id)" for tier in TIERS)
    db.execute(f"DELETE FROM metrics WHERE {none}")


def _all_metrics(
    database: Database, retention: Retention, reference: float, share: float
) -> Generator[RolledUp, None, None]:
    oldest = reference - retention.hours * min(1.0, share * 10)
    raw_before = _whole(max(oldest, reference - retention.raw * share), MINUTES.width)
    minutes_before = _whole(max(oldest, reference - retention.minutes * share), HOURS.width)
    with database.reading() as db:
        metrics = [metric for (metric,) in db.execute("SELECT id FROM metrics")]
    while metrics:
        room, looked, moved, dropped = _STEP_ROWS, 0, 0, 0
        with database.writing() as db:
            while metrics and room > 0 and looked < _STEP_METRICS:
                metric, gone, looked = metrics[-1], 0, looked + 1
                for tier in TIERS:  # first: the absurd times that a damaged or older file may hold are of no minute
                    rows, points = drop(db, metric, tier, oldest, max(1, room))
                    room, gone = room - rows, gone + points
                for source, target, before in ((RAW, MINUTES, raw_before), (MINUTES, HOURS, minutes_before)):
                    rows = roll(db, metric, source, target, before, max(1, room))
                    room, moved = room - rows, moved + rows
                add_points(db, {metric: -gone})
                dropped += gone
                if room > 0:  # else there may be more of it
                    metrics.pop()
            if not metrics:
                forget_empty(db)
        yield RolledUp(moved, dropped)


def _reference(db: sqlite3.Connection, now: float) -> tuple[float | None, float]:
    """Return the time that ages are counted from, if there is any point, and the share."""
    row = db.execute("SELECT reference, share FROM progress").fetchone()
    if row is None:
        newest = "SELECT max((SELECT max(ts) FROM points WHERE metric = id AND ts <= ?)) FROM metrics"
        row = db.execute(newest, (now,)).fetchone()[0], 1.0
    before, share = row
    return (None if before is None else min(now, before + _STRIDE)), share


def _keep_progress(db: sqlite3.Connection, reference: float, share: float) -> None:
    db.execute("INSERT OR REPLACE INTO progress VALUES (1, ?, ?)", (reference, share))


def _whole(time: float, width: int) -> float:
    return time // width * width


def _used(db: sqlite3.Connection) -> int:
    size, free = size_of(db)
    return size - free
