"""What the corrector counts: in all, and by category."""

from __future__ import annotations

from collections import Counter, deque

from aetherra.plugins.homeostasis.corrector.messages import Corrected, CorrectorStatistics

RECENT = 50
"""Outcomes that are remembered."""
CATEGORIES = 100
"""Categories that are counted apart; those beyond count in all only."""
_AS = {"fixed": "successful", "failed": "failed", "advised": "advised"}


class Counts:
    """Counts troubles and what became of them."""

    def __init__(self) -> None:
        self._all: Counter[str] = Counter()
        self._categories: dict[str, Counter[str]] = {}
        self._recent: deque[Corrected] = deque(maxlen=RECENT)

    def suppressed(self, category: str) -> None:
        """Count a trouble that cools down."""
        self._count(category, "detected")
        self._all["suppressed"] += 1

    def gone(self, category: str) -> None:
        """Count one that was over."""
        self._count(category, "detected")
        self._all["gone"] += 1

    def ended(self, corrected: Corrected) -> None:
        """Count an outcome; all but advice was an attempt."""
        self._count(corrected.category, "detected")
        self._count(corrected.category, _AS[corrected.outcome])
        if corrected.outcome != "advised":
            self._all["attempted"] += 1
        self._recent.append(corrected)

    def statistics(
        self, *, running: bool, seen: int, exceptions: int, dropped: int, waiting: int, watched: int
    ) -> CorrectorStatistics:
        """Return a snapshot, with what others count."""
        return CorrectorStatistics(
            running=running,
            seen=seen,
            exceptions=exceptions,
            dropped=dropped,
            waiting=waiting,
            watched=watched,
            detected=self._all["detected"],
            suppressed=self._all["suppressed"],
            gone=self._all["gone"],
            attempted=self._all["attempted"],
            successful=self._all["successful"],
            failed=self._all["failed"],
            advised=self._all["advised"],
            categories={name: dict(counter) for name, counter in self._categories.items()},
            recent=tuple(self._recent),
        )

    def _count(self, category: str, what: str) -> None:
        self._all[what] += 1
        if category in self._categories or len(self._categories) < CATEGORIES:
            self._categories.setdefault(category, Counter())[what] += 1
