"""What of an item may tell whether bringing it in will fail: named figures, by the insight that they come from."""

import math
from collections.abc import Mapping

from aetherra.plugins.self_incorporation.gate.item import Item

__all__ = ["GROUPS", "features_of"]

GROUPS: Mapping[str, str] = {"risk": "risk:", "quality": "quality:", "conflict": "conflict:"}
"""What the names of an insight's features begin with; those of no insight begin with ``item:``."""


def features_of(item: Item, marks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return an item's features; one that is 0 is left out.

    Args:
        item: Which.
        marks: What the last night has marked files and items with, by path: ``quality:`` and ``conflict:`` figures.
    """
    features = {
        "item:risk": item.risk,
        "item:files": math.log10(1 + len(item.files)),
        "item:warnings": min(1.0, item.warnings / 10),
        "item:refused": float(bool(item.refused)),
        "item:needs": min(1.0, (len(item.requires) + len(item.dependencies)) / 5),
    }
    features.update({f"risk:{factor.code}": 1.0 for factor in item.factors})
    features.update({f"risk:{capability}": 1.0 for capability in item.capabilities})
    for path in {item.path, *(file.path for file in item.files)}:
        for name, value in marks.get(path, {}).items():
            share = 1.0 if path == item.path else 1.0 / len(item.files)
            features[name] = min(1.0, features.get(name, 0.0) + value * share)
    return {name: round(value, 4) for name, value in sorted(features.items()) if value}
