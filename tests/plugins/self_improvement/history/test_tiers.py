"""How closely points are kept: the bounds that may be set, and the way of rows from one tier to the next."""

import msgspec
import pytest

from aetherra.kernel.storage.sqlite_file import open_sqlite
from aetherra.plugins.self_improvement.history.history_file import HISTORY
from aetherra.plugins.self_improvement.history.tiers import HOURS, MINUTES, RAW, Retention, Tier, drop, roll


class TestRetention:
    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"raw": 100, "minutes": 50}, "expected a retention of raw <= minutes <= hours, got 100, 50, "),
            ({"minutes": 1e8, "hours": 1e7}, "raw <= minutes <= hours"),
            ({"raw": 0}, "> 0"),
            ({"max_size": 10}, ">= 100000"),
            ({"max_metrics": 0}, ">= 1"),
            ({"weeks": 3}, "weeks"),
        ],
    )
    def test_a_retention_that_makes_no_sense_is_refused(self, given: dict[str, float], says: str) -> None:
        """As a setting it is refused with the reason."""
        with pytest.raises(msgspec.ValidationError, match=says):
            msgspec.convert(given, Retention)

    def test_a_retention_is_a_setting(self) -> None:
        """What is not said has its default."""
        assert msgspec.convert({"raw": 60.0}, Retention) == Retention(raw=60.0)


class TestRoll:
    @pytest.mark.parametrize("most", [1, 2, 3, 100])
    def test_points_become_minutes_in_any_portions(self, most: int) -> None:
        """Count, mean, low and high are those of all points, in however many moves; later ones stay."""
        db = open_sqlite(":memory:", HISTORY).db
        db.executemany(
            "INSERT INTO points VALUES (7, ?, ?, NULL)", [(60.0, 1.0), (61.0, 6.0), (119.9, 5.0), (120.0, 2.0)]
        )
        db.execute("INSERT INTO points VALUES (8, 60.0, 100.0, NULL)")
        moved = 0
        while rows := roll(db, 7, RAW, MINUTES, 120.0, most):
            assert rows <= most
            moved += rows
        assert moved == 3
        assert db.execute("SELECT * FROM minutes").fetchall() == [(7, 60, 3, pytest.approx(4.0), 1.0, 6.0)]
        assert db.execute("SELECT metric, ts FROM points ORDER BY 1").fetchall() == [(7, 120.0), (8, 60.0)]
        db.close()

    def test_hours_weigh_minutes_by_their_points(self) -> None:
        """The mean of an hour is that of its points, and not of its minutes."""
        db = open_sqlite(":memory:", HISTORY).db
        db.executemany(
            "INSERT INTO minutes VALUES (7, ?, ?, ?, ?, ?)", [(3600, 1, 9.0, None, None), (7140, 3, 1.0, 0.0, 2.0)]
        )
        assert roll(db, 7, MINUTES, HOURS, 7200.0, 100) == 2
        assert db.execute("SELECT * FROM hours").fetchall() == [(7, 3600, 4, 3.0, 0.0, 9.0)]
        db.close()

    @pytest.mark.parametrize("values", [[1.7e308, 1.7e308], [1.7e308, -1.7e308], [-1.7e308] * 3, [5e-324] * 2])
    def test_a_mean_of_the_greatest_numbers_is_one(self, values: list[float]) -> None:
        """No sum overflows on the way, and the mean stays between low and high."""
        db = open_sqlite(":memory:", HISTORY).db
        for number, value in enumerate(values):
            db.execute("INSERT INTO points VALUES (7, ?, ?, NULL)", (60.0 + number, value))
        roll(db, 7, RAW, MINUTES, 120.0, 100)
        db.execute("INSERT INTO points VALUES (7, 100.0, ?, NULL)", (values[0],))
        roll(db, 7, RAW, MINUTES, 120.0, 100)
        count, low, mean, high = db.execute(
            "SELECT count, coalesce(low, mean), mean, coalesce(high, mean) FROM minutes"
        ).fetchone()
        assert (count, low, high) == (len(values) + 1, min(values), max(values))
        assert low <= mean <= high
        db.close()

    def test_a_minute_of_one_point_takes_no_more_room_than_it(self) -> None:
        """Low and high are not said where they are the mean."""
        db = open_sqlite(":memory:", HISTORY).db
        db.execute("INSERT INTO points VALUES (7, 60.5, 1.25, NULL)")
        roll(db, 7, RAW, MINUTES, 120.0, 100)
        assert db.execute("SELECT * FROM minutes").fetchall() == [(7, 60, 1, 1.25, None, None)]
        db.close()


class TestDrop:
    @pytest.mark.parametrize(
        ("tier", "before", "left"),
        [
            (RAW, 120.0, [120.0]),
            (MINUTES, 119.0, [60, 120]),
            (MINUTES, 120.0, [120]),
            (MINUTES, 120.5, [120]),
            (MINUTES, 180.0, []),
        ],
    )
    def test_a_row_goes_when_all_of_it_is_old(self, tier: Tier, before: float, left: list[float]) -> None:
        """A minute goes when it has ended by that time, a point when it is older; what they stood for is told."""
        db = open_sqlite(":memory:", HISTORY).db
        db.executemany("INSERT INTO points VALUES (7, ?, 1.0, NULL)", [(60.0,), (120.0,)])
        db.executemany("INSERT INTO minutes VALUES (7, ?, 5, 1.0, NULL, NULL)", [(60,), (120,)])
        gone = 2 - len(left)
        assert drop(db, 7, tier, before) == (gone, gone * (5 if tier is MINUTES else 1))
        assert [at for (at,) in db.execute(f"SELECT ts FROM {tier.table}")] == left
        db.close()
