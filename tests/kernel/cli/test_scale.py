"""Units in which figures read well."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aetherra.kernel.cli.scale import scale_for


class TestScale:
    @pytest.mark.parametrize(
        ("magnitude", "unit", "written"),
        [
            (0.0, "s", "s"),
            (0.012, "s", "ms"),
            (2e-7, "s", "ns"),
            (5.0, "seconds", "s"),
            (5000.0, "s", "s"),
            (1.5e6, "bytes", "MiB"),
            (3e9, "B", "GiB"),
            (100.0, "bytes", "bytes"),
            (0.5, "ratio", "ratio"),
            (99_999.0, "items", "items"),
            (2.5e6, "items", "10⁶ items"),
            (2.5e6, "", "10⁶"),
            (3e-5, "items", "10⁻⁶ items"),
            (1.7e308, "items", "10³⁰⁶ items"),
        ],
    )
    def test_a_figure_is_long(self, magnitude: float, unit: str, written: str) -> None:
        """Seconds and bytes take their prefix, others a power of ten where they need one."""
        scale = scale_for(magnitude, unit)
        assert scale.unit == written
        assert magnitude == 0 or 0.1 <= magnitude / scale.divisor < 1e5

    @example(5e-324, "items")
    @given(st.floats(0, allow_nan=False, allow_infinity=False), st.sampled_from(["s", "bytes", "items", ""]))
    def test_a_magnitude_has_no_scale(self, magnitude: float, unit: str) -> None:
        """Any can be divided."""
        assert math.isfinite(magnitude / scale_for(magnitude, unit).divisor)
