"""The growth of a figure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.homeostasis.growth import Growth


class TestGrowth:
    def test_too_few_readings_make_a_slope(self) -> None:
        """Three readings are none."""
        growth = Growth(60.0)
        for now in (0.0, 5.0, 10.0):
            growth.add(now, now)
        assert growth.per_second(10.0) is None
        growth.add(15.0, 15.0)
        assert growth.per_second(15.0) == pytest.approx(1.0)

    @given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3))
    def test_a_straight_line_has_another_slope(self, start: float, slope: float) -> None:
        """What grows evenly grows by that."""
        growth = Growth(60.0)
        for now in range(0, 120, 5):
            growth.add(float(now), start + slope * now)
        assert growth.per_second(115.0) == pytest.approx(slope, abs=1e-6)

    def test_a_jump_passes_for_growth(self) -> None:
        """One large allocation in a still minute is no leak."""
        growth = Growth(60.0)
        for now in range(0, 60, 5):
            growth.add(float(now), 100.0 if now < 50 else 1e9)
        assert growth.per_second(55.0) == 0.0

    def test_old_readings_count(self) -> None:
        """What was before the window says nothing about now."""
        growth = Growth(60.0)
        for now in range(0, 60, 5):
            growth.add(float(now), float(now))
        assert growth.per_second(1000.0) is None

    def test_a_reading_of_each_second_crowds_out_the_window(self) -> None:
        """However often it is read, it looks back on all of the window."""
        growth = Growth(60.0)
        for now in range(61):
            growth.add(float(now), 0.0 if now < 30 else float(now - 30))
        slope = growth.per_second(60.0)
        assert slope is not None
        assert 0.2 < slope < 0.8
