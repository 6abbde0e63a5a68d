"""This package's errors."""

from __future__ import annotations

__all__ = ["StateError"]


class StateError(ValueError):
    """A controller's saved state cannot be read.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the controller's saved state cannot be read: {self.reason}; begin anew with on_damage='anew'"
