"""The tally: what became of the requests, by the time that each was first asked."""

from __future__ import annotations

WINDOW = 10.0
"""Seconds of one window."""


class Tally:
    """Counts requests that came, and those that were served well and badly, in windows."""

    def __init__(self) -> None:
        self._windows: list[list[int]] = []

    def came(self, when: float, count: int) -> None:
        """Count requests that are first asked."""
        self._window(when)[0] += count

    def good(self, first: float, count: int) -> None:
        """Count good answers in time."""
        self._window(first)[1] += count

    def bad(self, first: float, count: int) -> None:
        """Count refusals, failures and late answers."""
        self._window(first)[2] += count

    def unsettled(self) -> list[int]:
        """Return for each window how many requests have no outcome yet."""
        return [came - good - bad for came, good, bad in self._windows]

    def shares(self, begin: float, end: float) -> list[float]:
        """Return for each window in that time the share that was served badly."""
        return [
            1 - good / came if came else 0.0 for came, good, _ in self._windows[int(begin / WINDOW) : int(end / WINDOW)]
        ]

    def share(self, begin: float, end: float) -> float:
        """Return the share that was served badly in all that time; what has no outcome yet was not served well."""
        windows = self._windows[int(begin / WINDOW) : int(end / WINDOW)]
        came = sum(window[0] for window in windows)
        return 1 - sum(window[1] for window in windows) / came if came else 0.0

    def _window(self, when: float) -> list[int]:
        number = int(when / WINDOW)
        while len(self._windows) <= number:
            self._windows.append([0, 0, 0])
        return self._windows[number]
