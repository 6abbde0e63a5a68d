"""Names with a target in them."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision.naming import Naming


class TestNaming:
    @pytest.mark.parametrize(
        ("name", "target"),
        [("svc.a.wait", "a"), ("svc.a.b.wait", "a.b"), ("svc..wait", None), ("svc.a.waiting", None), ("x", None)],
    )
    def test_a_target_is_not_found_in_a_name(self, name, target):
        """``*`` stands for one character or more, dots included."""
        assert Naming("svc.*.wait").target_of(name) == target

    def test_a_sum_loses_a_part(self):
        """Each part gets the target."""
        assert Naming("svc.*.waiting + svc.*.refused").names("a") == ("svc.a.waiting", "svc.a.refused")
        assert Naming("refused + svc.*.waiting").target_of("svc.a.waiting") == "a"

    @pytest.mark.parametrize(
        "metric",
        [
            "a.*.*",
            "a + ",
            " + b",
            "a +",
            "+",
            "",
            " ",
            "a - b",
            "-",
            "a..b",
            ".a",
            "a.",
            "a.*.b.*",
            "a b",
            "a+b",
            "a + + b",
            "a\tb",
        ],
    )
    def test_a_name_that_cannot_be_matched_is_taken(self, metric):
        """It is refused when it is written, not passed over when it is looked at."""
        with pytest.raises(ValueError, match="at most one"):
            Naming(metric)

    def test_a_sensor_counts_twice(self):
        """Each name stands once in a sum."""
        with pytest.raises(ValueError, match="'m' twice"):
            Naming("m + m")

    @pytest.mark.parametrize(
        ("one", "other", "shared"),
        [
            ("m", "m", "m"),
            ("m", " m ", "m"),
            ("m + n", "m", "m"),
            ("m", "n + m", "m"),
            ("svc.*.x", "svc.a.x", "svc.a.x"),
            ("svc.a.x", "svc.*.x", "svc.*.x"),
            ("svc.*.x", "svc.*.y + z", ""),
            ("m", "n", ""),
            ("svc.*.x", "svc.x", ""),
        ],
    )
    def test_one_sensor_is_taken_for_two(self, one, other, shared):
        """However it is spelled, what both read is found."""
        assert Naming(one).shared_with(Naming(other)) == shared
