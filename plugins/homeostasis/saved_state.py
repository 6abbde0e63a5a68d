"""What homeostasis knows, kept in a file: what was learnt outlives the host, what was changed outlives the plugin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

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
    """A small file that is replaced as a whole: a killed process leaves the state before or the one after.

    Args:
        folder: Where it stands; ``None`` keeps nothing.

    Attributes:
        problem: Why it could not be read or written, the last time that it could not.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / NAME
        self.problem = ""

    def load(self) -> Saved | None:
        """Return what was saved last; ``None`` if nothing was, or it cannot be read: that is put aside."""
        if self._path is None:
            return None
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            self.put_aside(str(exc))
            return None

    def save(self, saved: Saved) -> None:
        """Put it in the place of the one before; ``problem`` tells what the disk does not take."""
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.touch(mode=0o600)
            fresh.write_bytes(msgspec.msgpack.encode(saved))
            os.replace(fresh, self._path)  # noqa: PTH105  # it says what it does
        except (OSError, TypeError, ValueError) as exc:
            self.problem = f"{self._path} cannot be written: {exc}"
        else:
            self.problem = ""

    def put_aside(self, why: str) -> None:
        """Keep a state that nobody can read beside, where it is in nobody's way, and say why."""
        if self._path is None:
            return
        self.problem = f"{self._path} cannot be read, and is put aside: {why}"
        try:
            os.replace(self._path, self._path.with_suffix(".unreadable"))  # noqa: PTH105
        except OSError as exc:
            self.problem += f"; nor can it be put aside: {exc.strerror}"
