"""How an item differs from what it was when it was judged before."""

from collections.abc import Iterable
from typing import Final

from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.gate.decision import Decision, Ground

__all__ = ["MOST_RISK_MOVED", "drifted"]

MOST_RISK_MOVED: Final = 0.3
"""How far the risk of an item may move, up or down, before what was decided about it counts no more."""


def drifted(before: Decision | None, risk: float, capabilities: Iterable[Capability]) -> tuple[Ground, ...]:
    """Return why an item is another than the one that was judged, or nothing if it is not.

    Risk that fell by as much is drift, too: the item is not the one that somebody looked at. Capabilities that went
    away are none.

    Args:
        before: The decision to measure by, or None if it was never judged.
        risk: Of the item as it is now.
        capabilities: Likewise.
    """
    if before is None:
        return ()
    found: list[Ground] = []
    if round(abs(risk - before.risk), 6) > MOST_RISK_MOVED:
        text = f"the risk was {before.risk:.2f} when it was judged and is {risk:.2f} now"
        found.append(Ground("risk_moved", text))
    grown = sorted(set(capabilities).difference(before.capabilities))
    if grown:
        text = f"it can do what it could not when it was judged: {', '.join(grown)}"
        found.append(Ground("capabilities_grew", text))
    return tuple(found)
