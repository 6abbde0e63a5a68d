"""The freeze: a person's word that nothing is to be done to the host, which holds at once and across restarts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aetherra.plugins.storage import Word, WordFile

__all__ = ["Freeze", "Frozen"]


class Frozen(Word, frozen=True, kw_only=True):
    """That actuators are frozen, or no more.

    Attributes:
        frozen: Whether they are.
        until: Unix time at which it ends by itself; ``None``: it does not.
    """

    frozen: bool
    until: float | None = None

    @property
    def holds(self) -> bool:
        """Whether they are frozen, or were until it ended by itself."""
        return self.frozen

    @property
    def sentence(self) -> str:
        """Who froze what, and why, in words."""
        if self.problem:
            return f"all actuators are frozen, as nobody can tell whether they are meant to be: {self.problem}"
        return f"all actuators are frozen by {self.who or 'somebody'}: {self.why or 'no reason was given'}"


class Freeze:
    """Whether all actuators are frozen; see ``WordFile`` for what counts where a file cannot be read or written.

    Args:
        path: The file; ``None``: a freeze ends with the host.
        time: Unix time.
    """

    def __init__(self, path: Path | None, time: Callable[[], float]) -> None:
        self._file = WordFile(path, partial(Frozen, frozen=True), Frozen(frozen=False))
        self._time = time

    def now(self) -> Frozen | None:
        """Return the freeze that holds, ``None`` if there is none. Never raises; one look at the file system."""
        said = self._file.last()
        if not said.frozen or (said.until is not None and self._time() >= said.until):
            return None
        return said

    def freeze(self, who: str, why: str, until: float | None = None) -> Frozen:
        """Freeze all actuators from now on, in place of a freeze that holds, and return what holds now.

        Args:
            who: Who says so.
            why: And why.
            until: Unix time at which it ends by itself; ``None``: when somebody says ``unfreeze``.

        Raises:
            ValueError: ``until`` has passed, or is no time; nothing has changed.
            DataFileError: It could not be written: it holds, but not across a restart.
        """
        now = self._time()
        if until is not None and not now < until < math.inf:
            raise ValueError(f"expected until as a Unix time after {now:.0f}, which is now, got {until!r}")
        said = self._file.say(Frozen(frozen=True, who=who, why=why, since=now, until=until), instead=True)
        self._file.write()
        return said

    def unfreeze(self, who: str, why: str) -> Frozen | None:
        """End a freeze, also one for a problem; return what held until now, ``None`` if nothing did.

        It needs no room on the disk.

        Raises:
            DataFileError: The file could not be removed: all stays frozen, as it would be after a restart.
        """
        held = self.now()
        self._file.unsay(Frozen(frozen=False, who=who, why=why, since=self._time()))
        return held
