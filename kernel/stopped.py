"""The emergency stop's word: governance and the command line read and write the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aetherra.kernel.storage.word_file import Word, WordFile

__all__ = ["GOVERNANCE", "STOP_NAME", "Stopped", "stop_file"]

STOP_NAME = "STOP"
"""What the file is called, in governance's folder of the data directory."""
GOVERNANCE = "governance"
"""What that folder is called."""


class Stopped(Word, frozen=True, kw_only=True):
    """That all is stopped, or is no more.

    Attributes:
        stopped: Whether it is.
    """

    stopped: bool

    @property
    def holds(self) -> bool:
        """Whether it is stopped."""
        return self.stopped

    @property
    def sentence(self) -> str:
        """Who stopped it, and why, in words."""
        if self.problem:
            return f"emergency stop, as nobody can tell whether one is meant: {self.problem}"
        return f"emergency stop by {self.who or 'somebody'}: {self.why or 'no reason was given'}"


def stop_file(path: Path | None) -> WordFile[Stopped]:
    """Return a stop's file; ``None``: a stop ends with the host."""
    return WordFile(path, partial(Stopped, stopped=True), Stopped(stopped=False))
