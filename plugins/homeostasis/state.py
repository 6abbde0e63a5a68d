"""What the next generation of homeostasis takes over, so that a swap forgets nothing that was learnt or changed."""

from __future__ import annotations

from typing import Any

from aetherra.plugins import State

__all__ = ["HomeostasisState"]


class HomeostasisState(State):
    """All that does not grow back by itself within a cycle.

    Attributes:
        cycle: The number of the last one.
        controller: What the decision core knows, in its own form.
        changes: What stands of what actuators have changed.
    """

    cycle: int
    controller: bytes
    changes: dict[str, dict[str, dict[str, Any]]]
