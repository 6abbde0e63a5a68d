"""The way in: a logging handler that puts what it gleans into a bounded queue, and nothing else."""

from __future__ import annotations

import logging
from collections import deque

from aetherra.plugins.homeostasis.corrector.facts import Gleaned, Kind, glean, kind_of

PER_KIND = 32
"""Records of one logger, template and exception type that wait at a time: a storm of one leaves room for all others."""


class Intake(logging.Handler):
    """Takes records from any thread, of level WARNING and above, and never raises.

    ``emit`` runs under the handler's own lock, as ``logging`` sees to; a record that is logged while one is taken, in
    the same thread, is taken like any other.

    Args:
        capacity: Records that may wait.
        own: Loggers whose records are left out, with all below them.

    Attributes:
        seen: Records that came, but for those left out.
        exceptions: How many of them came with an exception.
        dropped: Those that found no room, or could not be read.
    """

    def __init__(self, capacity: int, own: tuple[str, ...]) -> None:
        super().__init__(logging.WARNING)
        self.seen = self.exceptions = 0
        self.dropped = 0
        self._capacity = capacity
        self._own = own
        self._below = tuple(f"{name}." for name in own)
        self._waiting: deque[Gleaned] = deque()
        self._kinds: dict[Kind, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Take what is to be known of a record, or count it as dropped."""
        name = record.name
        if name.startswith(self._own) and (name in self._own or name.startswith(self._below)):
            return
        self.seen += 1
        if record.exc_info:
            self.exceptions += 1
        try:
            self._keep(kind_of(record), record)
        except Exception:  # noqa: BLE001  # an exception's own attributes may raise whatever they like; logging must not
            self.dropped += 1

    def put(self, gleaned: Gleaned) -> None:
        """Take what came another way than by a record."""
        self.acquire()
        try:
            self.seen += 1
            self._keep((gleaned.logger, gleaned.template, gleaned.faults[1] if gleaned.faults else ""), gleaned)
        finally:
            self.release()

    def _keep(self, kind: Kind, found: logging.LogRecord | Gleaned) -> None:
        alike = self._kinds.get(kind, 0)
        if alike >= PER_KIND or len(self._waiting) >= self._capacity:
            self.dropped += 1
            return
        gleaned = found if isinstance(found, Gleaned) else glean(found, kind)
        self._kinds[kind] = alike + 1
        self._waiting.append(gleaned)

    def take(self) -> list[Gleaned]:
        """Return all that waits, oldest first, and make room."""
        self.acquire()
        try:
            taken = list(self._waiting)
            self._waiting.clear()
            self._kinds.clear()
        finally:
            self.release()
        return taken

    @property
    def waiting(self) -> int:
        """Records that wait."""
        return len(self._waiting)
