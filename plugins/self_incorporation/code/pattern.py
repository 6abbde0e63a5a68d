"""A pattern: a regular expression that is compiled when it is first used, so that no start waits for it."""

import re
from collections.abc import Callable
from functools import cached_property

__all__ = ["Pattern"]


class Pattern:
    """Looks for something in text, as what ``re.compile`` returns does; after the first time it is as fast.

    Args:
        pattern: The expression.
        flags: Of ``re``.
    """

    def __init__(self, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> None:
        self.pattern = pattern
        self._flags = flags

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self._flags)

    @cached_property
    def search(self) -> Callable[[str], re.Match[str] | None]:
        """Find the first place where it fits."""
        return self._compiled.search

    @cached_property
    def fullmatch(self) -> Callable[[str], re.Match[str] | None]:
        """Say whether it fits the whole."""
        return self._compiled.fullmatch
