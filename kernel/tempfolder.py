"""A temporary folder of a plugin's: private, and removed with its generation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from aetherra.kernel.background import BackgroundThread


class TemporaryFolder:
    """A new folder under the system's temporary folder; a thread removes it, as that may take its time.

    Args:
        prefix: What its name begins with.
        report: Told on the event loop why it cannot be removed, with its path.

    Attributes:
        left: Set when it was removed, or its removal is not waited for.
    """

    def __init__(self, prefix: str, report: Callable[[str, BaseException], None]) -> None:
        self.left = anyio.Event()
        self._directory = TemporaryDirectory(prefix=prefix)
        self._report = report
        self._removal: BackgroundThread | None = None
        self.path = Path(self._directory.name)

    def leave(self, *, hurry: bool) -> None:
        """Remove it with all that is in it; in a hurry do not wait for that."""
        if self._removal is None:
            self._removal = BackgroundThread(
                self._remove,
                (),
                name=f"aetherra removal of {self.path}",
                report=lambda _, fault: self._report(f"removing the temporary folder {self.path}", fault),
                ended=lambda _: self.left.set(),
            )
        if hurry:
            self.left.set()

    def _remove(self, _: threading.Event) -> None:
        self._directory.cleanup()

    def stack(self) -> str:
        """Return where its removal is now, as text."""
        return "" if self._removal is None else self._removal.stack()
