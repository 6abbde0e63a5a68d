"""The freeze: a person's word that nothing is to be done to the host, which holds at once and across restarts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from aetherra.plugins import AppendFile, DataFileError

__all__ = ["Freeze", "Frozen"]


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """That actuators are frozen, or no more. The file holds one of these as JSON.

    Attributes:
        frozen: Whether they are.
        who: Who said so.
        why: And why.
        since: Unix time of it.
        until: Unix time at which it ends by itself; ``None``: it does not.
        problem: Why it counts as frozen though nobody said so: what is wrong with the file.
    """

    frozen: bool
    who: str = ""
    why: str = ""
    since: float = 0.0
    until: float | None = None
    problem: str = ""

    @property
    def sentence(self) -> str:
        """Who froze what, and why, in words."""
        if self.problem:
            return f"all actuators are frozen, as nobody can tell whether they are meant to be: {self.problem}"
        return f"all actuators are frozen by {self.who or 'somebody'}: {self.why or 'no reason was given'}"


_FREE = Frozen(frozen=False)


class Freeze:
    """Whether all actuators are frozen, kept in a file that outlives the host.

    A freeze counts from when it is said, also when it cannot be written. A file that cannot be read, or says nothing
    that is understood, freezes: whoever cannot tell must not act. So a person whose host answers nobody can make a file
    of that name by any means, an empty one will do, and remove it again: ``now`` looks whether it has changed.

    Args:
        path: The file; ``None``: a freeze ends with the host.
        time: Unix time.
    """

    def __init__(self, path: Path | None, time: Callable[[], float]) -> None:
        self._path = path
        self._file = AppendFile(path) if path is not None else None
        self._time = time
        self._said = _FREE
        self._is_written = True
        self._mark: object = None

    def now(self) -> Frozen | None:
        """Return the freeze that holds, ``None`` if there is none. Never raises; one look at the file system."""
        if self._path is not None and self._is_written and (mark := _mark_of(self._path)) != self._mark:
            self._mark = mark
            self._said = self._read(self._path)
        said = self._said
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
        self._said, self._is_written = Frozen(frozen=True, who=who, why=why, since=now, until=until), False
        self._write(self._said)
        return self._said

    def unfreeze(self, who: str, why: str) -> Frozen | None:
        """End a freeze, also one for a problem; return what held until now, ``None`` if nothing did.

        One that the disk never had ends though the disk takes nothing.

        Raises:
            DataFileError: It could not be written: all stays frozen, as it would be after a restart.
        """
        held = self.now()
        free = Frozen(frozen=False, who=who, why=why, since=self._time())
        try:
            self._write(free)
        except DataFileError:
            if self._is_written:
                raise
            self._is_written, self._mark = True, None if self._path is None else _mark_of(self._path)
        self._said = free
        return held

    def _write(self, said: Frozen) -> None:
        if self._file is not None and self._path is not None:
            self._file.replace([msgspec.json.encode(said)])
            self._mark = _mark_of(self._path)
        self._is_written = True

    @staticmethod
    def _read(path: Path) -> Frozen:
        try:
            text = path.read_bytes()
            if not text.strip():
                since = path.stat().st_mtime
                return Frozen(
                    frozen=True,
                    who="whoever made an empty file",
                    why=f"say unfreeze, or remove the file {path}",
                    since=since,
                )
            said = msgspec.json.decode(text, type=Frozen)
        except FileNotFoundError:
            return _FREE
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            problem = f"{path}: {getattr(exc, 'strerror', None) or exc}; say unfreeze, or remove the file"
            return Frozen(frozen=True, problem=problem)
        return said


def _mark_of(path: Path) -> object:
    """Return what differs once the file is another or has another content; ``""`` where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # each second, and a third of the time of Path.stat
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return exc.errno
    return found.st_ino, found.st_dev, found.st_mtime_ns, found.st_size
