"""The emergency stop: a person's word that nothing is to be done without one, at once and across restarts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from aetherra.plugins import AppendFile, DataFileError

__all__ = ["FILE_NAME", "EmergencyStop", "Stopped"]

FILE_NAME = "STOP"
"""What the file is called, in governance's folder of the data directory."""


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """That all is stopped, or is no more. The file holds one of these as JSON.

    Attributes:
        stopped: Whether it is.
        who: Who said so.
        why: And why.
        since: Unix time of it.
        problem: Why it counts as stopped though nobody said so: what is wrong with the file.
    """

    stopped: bool
    who: str = ""
    why: str = ""
    since: float = 0.0
    problem: str = ""

    @property
    def sentence(self) -> str:
        """Who stopped it, and why, in words."""
        if self.problem:
            return f"emergency stop, as nobody can tell whether one is meant: {self.problem}"
        return f"emergency stop by {self.who or 'somebody'}: {self.why or 'no reason was given'}"


_FREE = Stopped(stopped=False)


class EmergencyStop:
    """Whether everything autonomous is stopped, kept in a file that outlives the host.

    A stop counts from when it is said, also when it cannot be written. A file that cannot be read, or says nothing that
    is understood, stops: whoever cannot tell must not act. So a person whose host answers nobody can make a file of
    that name by any means, an empty one will do, and remove it again: ``now`` looks whether it has changed.

    Any thread may use it; no thread that looks waits for one that writes.

    Args:
        path: The file; ``None``: a stop ends with the host.
        time: Unix time.
    """

    def __init__(self, path: Path | None, time: Callable[[], float]) -> None:
        self._path = path
        self._file = AppendFile(path) if path is not None else None
        self._time = time
        self._said = _FREE
        self._is_written = True
        self._mark: object = None
        self._lock = threading.Lock()

    def now(self) -> Stopped | None:
        """Return the stop that holds, ``None`` if there is none. Never raises; one look at the file system."""
        said = self.last()
        return said if said.stopped else None

    def last(self) -> Stopped:
        """Return what was said last, a stop or that it is lifted; as ``now``."""
        with self._lock:
            if self._path is not None and self._is_written and (mark := _mark_of(self._path)) != self._mark:
                self._mark = mark
                self._said = self._read(self._path)
            return self._said

    def stop(self, who: str, why: str) -> Stopped:
        """Stop everything from now on; one that holds stays as it is. Return what holds now.

        Raises:
            DataFileError: It could not be written: it holds, but not across a restart.
        """
        held = self.now()
        if held is not None and self._is_written:
            return held
        said = held or Stopped(stopped=True, who=who, why=why, since=self._time())
        with self._lock:
            self._said, self._is_written = said, False
        self._write(said)
        return said

    def lift(self, who: str, why: str) -> Stopped | None:
        """End a stop, also one for a problem; return what held until now, ``None`` if nothing did.

        One that the disk never had ends though the disk takes nothing.

        Raises:
            DataFileError: It could not be written: all stays stopped, as it would be after a restart.
        """
        held = self.now()
        if held is None:
            return None
        free = Stopped(stopped=False, who=who, why=why, since=self._time())
        try:
            self._write(free)
        except DataFileError:
            if self._is_written:
                raise
            self._settle(free)
        return held

    def recall(self, said: Stopped) -> None:
        """Take over what held before, where there is no file to say it."""
        if self._path is None:
            self._settle(said)

    def _write(self, said: Stopped) -> None:
        if self._file is not None:
            self._file.replace([msgspec.json.encode(said)])
        self._settle(said)

    def _settle(self, said: Stopped) -> None:
        """Let the file say from now on what holds, which is this."""
        with self._lock:
            self._said, self._is_written = said, True
            self._mark = None if self._path is None else _mark_of(self._path)

    @staticmethod
    def _read(path: Path) -> Stopped:
        try:
            text = path.read_bytes()
            if not text.strip():
                since = path.stat().st_mtime
                return Stopped(stopped=True, who="whoever made an empty file", why=f"remove {path}", since=since)
            return msgspec.json.decode(text, type=Stopped)
        except FileNotFoundError:
            return _FREE
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            problem = f"{path}: {getattr(exc, 'strerror', None) or exc}; lift it, or remove the file"
            return Stopped(stopped=True, problem=problem)


def _mark_of(path: Path) -> object:
    """Return what differs once the file is another or has another content; ``""`` where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # at each question, and a third of the time of Path.stat
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return exc.errno
    return found.st_ino, found.st_dev, found.st_mtime_ns, found.st_size
