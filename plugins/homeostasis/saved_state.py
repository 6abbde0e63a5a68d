"""What homeostasis knows, kept in a file: what was learnt outlives the host, what was changed outlives the plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aetherra.plugins import DataFileError
from aetherra.plugins.storage import StateFile

__all__ = ["Saved", "SavedState"]

NAME = "controller.state"


class Saved(msgspec.Struct, frozen=True):
    """What is kept.

    Attributes:
        run: Which run of the host wrote it: the next one begins with nothing changed.
        controller: What the decision core knows, in its own form.
        changes: What stood of what actuators had changed.
    """

    run: str
    controller: bytes
    changes: dict[str, dict[str, dict[str, Any]]]


class SavedState:
    """Where homeostasis can do without: what cannot be read or written is a problem, and no error.

    Args:
        folder: Where it stands; ``None`` keeps nothing.

    Attributes:
        problem: Why it could not be read or written, the last time that it could not.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = StateFile(None if folder is None else folder / NAME, Saved, packed=True)
        self.problem = ""

    def load(self) -> Saved | None:
        """Return what was saved last; ``None`` if nothing was, or it cannot be read: that is put aside."""
        try:
            saved = self._file.load()
        except OSError as exc:
            self.put_aside(str(exc))
            return None
        self.problem = self._file.problem
        return saved

    def save(self, saved: Saved) -> None:
        """Put it in the place of the one before; ``problem`` tells what the disk does not take."""
        try:
            self._file.save(saved)
        except (DataFileError, TypeError, ValueError) as exc:
            self.problem = str(exc)
        else:
            self.problem = ""

    def put_aside(self, why: str) -> None:
        """Keep a state that nobody can read beside, where it is in nobody's way, and say why."""
        self._file.begin_anew(why)
        self.problem = self._file.problem
