"""What of an item may tell whether it will fail."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.code.findings import RiskFactor
from aetherra.plugins.self_incorporation.gate.item import ItemFile
from aetherra.plugins.self_incorporation.night.learning.plan_features import GROUPS, features_of


class TestFeatures:
    def test_an_insight_has_no_features(self, make_item):
        """Factors and capabilities are of risk; marks of the item and of its files are of what marked them."""
        item = make_item(
            "pkg",
            risk=0.4,
            files=(ItemFile("pkg/a.py", "1", 1), ItemFile("pkg/b.py", "2", 1)),
            factors=(RiskFactor("decoded_code", 0.6, (1,)),),
            capabilities=("network",),
            warnings=20,
            requires=("x",),
        )
        marks = {"pkg": {"conflict:tag": 1.0}, "pkg/a.py": {"quality:complex": 0.5}, "other": {"quality:complex": 1.0}}

        assert features_of(item, marks) == {
            "conflict:tag": 1.0,
            "item:files": 0.4771,
            "item:needs": 0.2,
            "item:risk": 0.4,
            "item:warnings": 1.0,
            "quality:complex": 0.25,
            "risk:decoded_code": 1.0,
            "risk:network": 1.0,
        }
        assert {name.partition(":")[0] + ":" for name in features_of(item, marks)} == {*GROUPS.values(), "item:"}

    def test_an_item_of_one_file_counts_it_twice(self, make_item):
        """Its path and its file's are one."""
        item = make_item("a.py", files=(ItemFile("a.py", "1", 1),))

        assert features_of(item, {"a.py": {"quality:complex": 0.5}})["quality:complex"] == 0.5
