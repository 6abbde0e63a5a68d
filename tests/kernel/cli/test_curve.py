"""Series made fit to be drawn."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.cli.curve import stretches, thinned

START = 1_800_000_000.0
TIMES = st.floats(0, 1e6).map(lambda at: START + at)
POINTS = st.lists(st.tuples(TIMES, st.floats(allow_nan=False, allow_infinity=False)), max_size=400).map(sorted)


class TestThinning:
    @given(POINTS, st.integers(1, 30))
    def test_a_spike_is_lost(self, points: list[tuple[float, float]], columns: int) -> None:
        """First, last, highest and lowest stay, in order, and there are no more than four a column."""
        kept = thinned(points, columns)
        assert len(kept) <= max(4 * columns, 0)
        assert kept == sorted(kept, key=lambda point: point[0])
        assert set(kept) <= set(points)
        if points:
            assert (kept[0][0], kept[-1][0]) == (points[0][0], points[-1][0])
            values = [value for _, value in points]
            assert {min(values), max(values)} <= {value for _, value in kept}

    def test_all_at_one_time_is_too_much(self) -> None:
        """Points of one moment are one column."""
        assert len(thinned([(START, float(i)) for i in range(1000)], 10)) == 2


class TestGaps:
    @given(POINTS)
    def test_a_point_is_lost(self, points: list[tuple[float, float]]) -> None:
        """The stretches together are the series."""
        assert list(chain.from_iterable(stretches(points))) == points

    def test_an_even_series_has_a_gap(self) -> None:
        """Nor has one that was taken more rarely in the past."""
        rare = [(START + 3600 * i, 1.0) for i in range(50)]
        often = [(rare[-1][0] + 60 * i, 1.0) for i in range(1, 50)]
        assert [len(stretch) for stretch in stretches(rare + often)] == [99]

    def test_a_gap_is_not_seen(self) -> None:
        """One hole, two close to each other, and a point alone between them."""
        points = [(START + 60 * i, 1.0) for i in range(100)]
        parts = stretches(points[:20] + points[40:41] + points[60:])
        assert [len(stretch) for stretch in parts] == [20, 1, 40]
