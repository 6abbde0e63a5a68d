"""The history's file: one of the schema before is brought up to date, with all that it held."""

import math
import sqlite3
from pathlib import Path

import pytest

from aetherra.kernel.storage.sqlite_file import open_sqlite
from aetherra.plugins.self_improvement.history import MetricHistory, MetricInfo, Point, Retention
from aetherra.plugins.self_improvement.history.history_file import HISTORY

NOW = 1_700_000_000.0
DAY = 86_400.0


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A history as version 1 wrote it, also with the times that it did not refuse."""
    file = tmp_path / "history.sqlite3"
    assert HISTORY.older is not None
    db = open_sqlite(file, HISTORY.older).db
    db.executemany(
        "INSERT INTO metrics VALUES (?, ?, ?)", [(1, "loop.lag", "seconds"), (2, "odd", "s"), (3, "none", "s")]
    )
    db.executemany(
        "INSERT INTO points VALUES (1, ?, ?, ?)",
        [(NOW - 60.0 * minute, float(minute), b'{"n": 1}' if minute == 5 else None) for minute in range(30 * 1440)],
    )
    db.executemany("INSERT INTO points VALUES (2, ?, 1.0, NULL)", [(at,) for at in (-1e300, -5.0, NOW, 4e9, 1e300)])
    db.close()
    return file


class TestUpgrade:
    def test_all_points_are_there(self, first: Path) -> None:
        """Counts, units, values and contexts are those of before; nothing is set aside."""
        with MetricHistory(first, lambda: NOW) as history:
            assert history.set_aside is None
            assert history.names() == [
                MetricInfo("loop.lag", "seconds", 43_200, NOW - 60.0 * 43_199, NOW),
                MetricInfo("odd", "s", 5, -1e300, 1e300),
            ]
            assert history.points("loop.lag", limit=43_200)[-1] == (NOW, 0.0)
            assert history.recorded("loop.lag", NOW - 300, NOW - 240) == [
                Point("loop.lag", "seconds", NOW - 300, 5.0, {"n": 1})
            ]
            assert history.statistics().points == 43_205
        with MetricHistory(first, lambda: NOW) as history:
            assert history.statistics().points == 43_205

    def test_they_are_rolled_up_like_new_ones(self, first: Path) -> None:
        """Old points become minutes and hours; absurd times, which version 1 took, are none and stop nothing."""
        with MetricHistory(first, lambda: NOW, Retention(raw=DAY, minutes=10 * DAY)) as history:
            history.roll_up()
            rows = history.aggregates("loop.lag", limit=50_000)
            assert {row.width for row in rows} == {0, 60, 3600}
            assert sum(row.count for row in rows) == 43_200
            assert min(row.minimum for row in rows) == 0.0
            assert max(row.maximum for row in rows) == 43_199.0
            assert [at for at, _ in history.points("odd")] == [NOW, 4e9, 1e300]
            assert history.statistics().points == 43_203

    def test_a_file_that_was_upgraded_is_none_of_the_version_before(self, first: Path) -> None:
        """The version before sets it aside, unchanged, rather than write into it; moved back, all is there."""
        MetricHistory(first, lambda: NOW).close()
        content = first.read_bytes()
        assert HISTORY.older is not None
        opened = open_sqlite(first, HISTORY.older)
        opened.db.close()
        assert opened.set_aside is not None
        assert opened.set_aside.read_bytes() == content


class TestChecks:
    @pytest.mark.parametrize(
        "row",
        [
            (1, 60, 0, 1.0, None, None),
            (1, 60, 10**13, 1.0, None, None),
            (1, 10**14, 1, 1.0, None, None),
            (1, 60, 1, math.inf, None, None),
            (1, 60, 1, 1.0, -math.inf, None),
            (1, 60, 1, 1.0, None, math.inf),
            (1, 60, 1, "text", None, None),
            (1, 60, b"1", 1.0, None, None),
            (1, "text", 1, 1.0, None, None),
            (1, 60, 1, None, None, None),
        ],
    )
    @pytest.mark.parametrize("table", ["minutes", "hours"])
    def test_a_row_that_was_never_ours_is_damage(self, tmp_path: Path, table: str, row: tuple[object, ...]) -> None:
        """What no roll-up writes does not pass the check at opening."""
        db = open_sqlite(tmp_path / "history.sqlite3", HISTORY).db
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", row)
        db.execute("PRAGMA ignore_check_constraints = 1")
        if row[3] is not None:
            db.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", row)
            db.close()
            opened = open_sqlite(tmp_path / "history.sqlite3", HISTORY)
            assert opened.set_aside is not None
            db = opened.db
        db.close()
