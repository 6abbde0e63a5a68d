"""Deprecation warnings, taken where they are shown: by category and place, as the log has their text alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TextIO

from aetherra.plugins.homeostasis.corrector.facts import Gleaned

LOGGER = "py.warnings"
WANTED = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


class WarningsTap:
    """Stands before ``warnings.showwarning``, which is asked as before; what filters hold back comes to neither.

    ``logging.captureWarnings`` may be on already; turned on later, it takes this one's place.

    Args:
        put: Takes what is known of a warning; from any thread.
    """

    def __init__(self, put: Callable[[Gleaned], None]) -> None:
        self._put = put
        self._before: Callable[..., None] | None = None
        self._listening = False

    def open(self) -> None:
        """Begin; once."""
        self._listening = True
        self._before = warnings.showwarning
        warnings.showwarning = self._show

    def close(self) -> None:
        """Put back what was there, unless somebody else stands before it now; then only pass on."""
        self._listening = False
        if self._before is not None and warnings.showwarning == self._show:
            warnings.showwarning = self._before
            self._before = None

    def _show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        known = next((wanted for wanted in WANTED if issubclass(category, wanted)), None)
        if self._listening and known is not None and isinstance(filename, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # anybody may call this
            place = "".join((filename,))  # a plain one, whatever it was made of
            fault = ["builtins", known.__name__, "filename", place, "line", int(lineno), None]
            self._put(Gleaned(LOGGER, "WARNING", category.__qualname__, fault, "", "", "", int(lineno), time.time()))
        if self._before is not None:
            self._before(message, category, filename, lineno, file, line)
