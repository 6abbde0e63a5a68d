"""Tests of the metrics' recent past: a row a minute, bounded, and unknown is no value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.metric_history import HistoryRow, MetricHistory, Spread


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(clock: FakeClock) -> MetricHistory:
    return MetricHistory(clock.monotonic, clock.time)


async def test_a_row_does_not_last_a_minute(clock: FakeClock, history: MetricHistory) -> None:
    """A row ends with the first measurement a minute after its first, and holds what was measured in between."""
    rows = []
    for number in range(25):
        rows.append(history.add({"a": float(number)}, health=0.5))
        await clock.advance(5.0)
    ended = [row for row in rows if row is not None]
    assert [row.cycles for row in ended] == [13, 12]
    assert ended[0] == HistoryRow(1_700_000_060.0, 13, Spread(0.5, 0.5, 0.5, 0.5, 13), {"a": Spread(0, 6, 12, 12, 13)})
    assert ended[1].metrics == {"a": Spread(13, 18.5, 24, 24, 12)}
    assert history.rows() == ended


async def test_unknown_is_zero(clock: FakeClock, history: MetricHistory) -> None:
    """Values that are unknown or no numbers do not count; a metric that was never known has no spread."""
    history.add({"a": None, "b": None, "c": math.nan}, health=None)
    await clock.advance(60.0)
    row = history.add({"a": 4.0, "b": None, "c": math.inf}, health=None)
    assert row is not None
    assert row.health is None
    assert row.metrics == {"a": Spread(4.0, 4.0, 4.0, 4.0, 1)}
    assert history.past("b") == [(row.ts, None)]


async def test_rows_grow_for_ever(clock: FakeClock) -> None:
    """The oldest rows go."""
    history = MetricHistory(clock.monotonic, clock.time, interval=1.0, rows=3)
    for number in range(10):
        history.add({"a": float(number)}, health=None)
        await clock.advance(1.0)
    assert [spread.last for _, spread in history.past("a") if spread is not None] == [7.0, 8.0, 9.0]
    assert [ts for ts, _ in history.past("a", since=clock.time() - 2.0)] == [clock.time() - 1.0]


async def test_a_row_grows_without_end(clock: FakeClock) -> None:
    """More metrics than a row may have are left out, and counted; those that are there go on."""
    history = MetricHistory(clock.monotonic, clock.time, metrics=2)
    history.add({"a": 1.0, "b": 1.0, "c": 1.0}, health=None)
    await clock.advance(60.0)
    row = history.add({"c": 2.0, "a": 2.0}, health=None)
    assert row is not None
    assert {name: spread.count for name, spread in row.metrics.items()} == {"a": 2, "b": 1}
    assert history.left_out == 2


def test_time_without_measurements_has_rows(clock: FakeClock, history: MetricHistory) -> None:
    """Nobody measured is no row."""
    assert history.rows() == []
    assert history.past("a") == []


@pytest.mark.parametrize("bounds", [{"interval": 0.0}, {"rows": 0}, {"metrics": 0}])
def test_a_bound_without_meaning_is_taken(clock: FakeClock, bounds: dict[str, int]) -> None:
    """Bounds that would keep nothing are errors."""
    with pytest.raises(ValueError, match="expected"):
        MetricHistory(clock.monotonic, clock.time, **bounds)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_mean_lies_outside(values: list[float]) -> None:
    """Whatever the values, the mean lies between the least and the greatest."""
    now = 0.0
    history = MetricHistory(lambda: now, lambda: now)
    for value in values[:-1]:
        history.add({"a": value}, health=None)
    now = 60.0
    row = history.add({"a": values[-1]}, health=None)
    assert row is not None
    spread = row.metrics["a"]
    assert spread.low == min(values) <= spread.mean <= spread.high == max(values)
    assert (spread.last, spread.count) == (values[-1], len(values))
