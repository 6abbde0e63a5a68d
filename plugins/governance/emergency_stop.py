"""The emergency stop: a person's word that nothing is to be done without one, at once and across restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aetherra.plugins.storage import STOP_NAME, Stopped, stop_file

__all__ = ["FILE_NAME", "EmergencyStop", "Stopped"]

FILE_NAME = STOP_NAME
"""What the file is called, in governance's folder of the data directory."""


class EmergencyStop:
    """Whether everything autonomous is stopped; ``WordFile`` says what counts where a file cannot be read or written.

    Any thread may use it. Who looks, or says stop, waits for nobody who writes.

    Args:
        path: The file; ``None``: a stop ends with the host.
        time: Unix time.
    """

    def __init__(self, path: Path | None, time: Callable[[], float]) -> None:
        self._file = stop_file(path)
        self._time = time

    @property
    def problem(self) -> str:
        """Why a stop would not hold across a restart; ``""`` if it would, or if there is none."""
        return self._file.problem

    def now(self) -> Stopped | None:
        """Return the stop that holds, ``None`` if there is none. Never raises; one look at the file system."""
        said = self.last()
        return said if said.stopped else None

    def last(self) -> Stopped:
        """Return what was said last, a stop or that it is lifted; as ``now``."""
        return self._file.last()

    def say(self, who: str, why: str) -> Stopped:
        """Stop everything from now on; one that holds stays as it is. Return what holds; ``write`` makes it last."""
        return self._file.say(Stopped(stopped=True, who=who, why=why, since=self._time()))

    def write(self) -> None:
        """Have a stop that was said hold across restarts, too; there need not be one.

        Raises:
            DataFileError: It cannot be written now: it holds, but not across a restart.
        """
        self._file.write()

    def stop(self, who: str, why: str) -> Stopped:
        """Say it and write it.

        Raises:
            DataFileError: As ``write``.
        """
        said = self.say(who, why)
        self.write()
        return said

    def lift(self, who: str, why: str) -> Stopped | None:
        """End a stop, also one for a problem; return what held until now, ``None`` if nothing did.

        It needs no room on the disk.

        Raises:
            DataFileError: The file could not be removed: all stays stopped, as it would be after a restart.
        """
        if self.now() is None:
            return None
        held = self._file.unsay(Stopped(stopped=False, who=who, why=why, since=self._time()))
        return held if held.stopped else None

    def fleeting(self) -> Stopped | None:
        """Return what the disk does not have, and the next generation must be told; ``None`` if there is no such."""
        return self._file.fleeting()

    def recall(self, said: Stopped) -> None:
        """Take over what was ``fleeting``."""
        self._file.recall(said)
