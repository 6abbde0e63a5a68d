"""What is said once: a warning about something that is so at every look is logged at the first alone."""

from __future__ import annotations

import logging
from collections.abc import Container, Hashable

__all__ = ["Once"]


class Once:
    """Warnings by what they are about.

    Args:
        log: Told each once.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log
        self._said: dict[Hashable, str] = {}

    def say(self, about: Hashable, code: str, text: str, *values: object) -> None:
        """Log a warning, unless the last one about this was for the same reason, in whatever words.

        Args:
            about: What it is about.
            code: The reason, for programs.
            text: The warning, as for ``logging``.
            values: What goes into it.
        """
        if self._said.get(about) != code:
            self._said[about] = code
            self._log.warning(text, *values)

    def keep(self, still: Container[Hashable]) -> None:
        """Forget what was said about anything else: it is said again when it comes back."""
        self._said = {about: code for about, code in self._said.items() if about in still}

    def __len__(self) -> int:
        return len(self._said)
