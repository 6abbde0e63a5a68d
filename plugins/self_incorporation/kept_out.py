"""What is kept out: items that were taken out again, and are not brought in unasked as they are."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from aetherra.plugins.storage import StateFile

__all__ = ["KeptOut"]


class KeptOut:
    """Reasons by the digest of the item, and by what it is `unnamed`, as the same is kept out under any name.

    Any thread may use it.

    Args:
        file: Where it is kept.
    """

    def __init__(self, file: StateFile[dict[str, str]]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._reasons: Mapping[str, str] = file.load() or {}

    def why(self, digest: str) -> str:
        """Return why an item is kept out; ``""`` if it is not."""
        return self._reasons.get(digest, "")

    def problem(self) -> str:
        """Say why it is not known what else is kept out; ``""`` if it is. While it is not, all is."""
        path = self._file.path
        aside = sorted(path.parent.glob(f"{path.name}.corrupt-*")) if path is not None else []
        if not aside:
            return ""
        return (
            f"what was taken out again is not known any more, so nothing is brought in unasked: mend {aside[0]} and "
            f"put it in the place of {path}, or remove it"
        )

    def add(self, digests: Iterable[str], why: str) -> None:
        """Keep some items out.

        Raises:
            DataFileError: The disk does not take it: they are kept out in this run alone.
        """
        with self._lock:
            self._change({**self._reasons, **dict.fromkeys(digests, why)})

    def let_in(self, digests: Iterable[str]) -> None:
        """Keep some items out no more, as somebody has asked for them.

        Raises:
            DataFileError: The disk does not take it: they are kept out again in the next run.
        """
        gone = set(digests)
        with self._lock:
            self._change({digest: why for digest, why in self._reasons.items() if digest not in gone})

    def rename(self, before: str, now: str) -> None:
        """Keep an item out by another digest than before.

        Raises:
            DataFileError: The disk does not take it: it is kept out by that in this run alone.
        """
        with self._lock:
            self._change({now if digest == before else digest: why for digest, why in self._reasons.items()})

    def _change(self, reasons: dict[str, str]) -> None:
        if reasons != self._reasons:
            self._reasons = reasons
            self._file.save(reasons)
