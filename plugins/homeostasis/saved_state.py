"""What the decision core knows, kept in a file, so that a restart of the host forgets nothing that was learnt."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["SavedState"]

NAME = "controller.state"


class SavedState:
    """A small file that is replaced as a whole: a killed process leaves the state before or the one after.

    Args:
        folder: Where it stands; ``None`` keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / NAME
        self.problem = ""

    def load(self) -> bytes | None:
        """Return what was saved last; ``None`` if nothing was, or it cannot be read, and ``problem`` says why."""
        if self._path is None:
            return None
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            self.problem = f"{self._path} cannot be read: {exc.strerror}"
            return None

    def save(self, state: bytes) -> None:
        """Put a state in the place of the one before; ``problem`` tells what the disk does not take."""
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.touch(mode=0o600)
            fresh.write_bytes(state)
            os.replace(fresh, self._path)  # noqa: PTH105  # it says what it does
        except OSError as exc:
            self.problem = f"{self._path} cannot be written: {exc.strerror}"
        else:
            self.problem = ""

    def put_aside(self) -> None:
        """Keep a state that nobody can read beside, where it is in nobody's way."""
        if self._path is not None:
            self._path.replace(self._path.with_suffix(".unreadable"))
