"""What is asked for and cannot be done here."""

from __future__ import annotations

from aetherra.plugins import AetherraError

__all__ = ["NothingKeptError"]


class NothingKeptError(AetherraError, RuntimeError):
    """What was asked for needs a data directory, and this host keeps everything in memory."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} needs a place to keep what was before: set kernel.data_dir in the configuration"
