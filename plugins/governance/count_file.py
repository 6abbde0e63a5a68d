"""What guards have counted, in a file that is appended to: what was let pass is on disk before anybody is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from aetherra.plugins import AppendFile, DataFileError
from aetherra.plugins.governance.guards import Counted

__all__ = ["CountFile"]

FILE_NAME = "guards.jsonl"
MOST_LINES = 1000
"""Lines after which the file is written anew, with those that still count."""


class CountFile:
    """One line for each that was let pass.

    Args:
        folder: Where it stands; ``None`` keeps nothing.

    Attributes:
        problem: Why not all that was counted before is known; ``""`` if it is.
        is_whole: Whether the file is there, and each line of it was read; if not, it is to be written anew.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE_NAME
        self._file = None if self._path is None else AppendFile(self._path, sync=True)
        self._lines = 0
        self.problem = ""
        self.is_whole = True

    def load(self) -> list[Counted]:
        """Return what was counted, the oldest first. A line without its end was torn by a death, and told to nobody.

        Raises:
            DataFileError: It cannot be read.
        """
        if self._path is None:
            return []
        try:
            *lines, torn = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            self.problem, self.is_whole = f"{self._path} is gone", False
            return []
        except OSError as exc:
            raise DataFileError(str(self._path), f"cannot read: {exc.strerror or exc}") from exc
        found, unreadable = list[Counted](), 0
        for line in filter(bytes.strip, lines):
            try:
                found.append(_DECODER.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                unreadable += 1
        if unreadable:
            self.problem = f"{unreadable} lines of {self._path} cannot be read"
        self.is_whole = not (unreadable or torn)
        self._lines = len(lines)
        return found

    def append(self, counted: Counted) -> None:
        """Add one; once this returns, the disk has it.

        Raises:
            DataFileError: It could not be written, and is not there.
        """
        if self._file is not None:
            self._file.append(_encoded(counted))
            self._lines += 1

    @property
    def is_long(self) -> bool:
        """Whether it is worth while to write it anew."""
        return self._lines > MOST_LINES or not self.is_whole

    def replace(self, counted: Iterable[Counted]) -> None:
        """Have these alone in it.

        Raises:
            DataFileError: It could not be written, and is as it was.
        """
        if self._file is not None:
            lines = [_encoded(each) for each in counted]
            self._file.replace(lines)
            self._lines, self.problem, self.is_whole = len(lines), "", True

    def close(self) -> None:
        """Close it; the next append opens it again."""
        if self._file is not None:
            self._file.close()


_DECODER = msgspec.json.Decoder(Counted)


def _encoded(counted: Counted) -> bytes:
    return msgspec.json.encode(counted)
