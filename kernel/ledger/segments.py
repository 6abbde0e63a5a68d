"""The files of a ledger: JSON lines, the next file begun when one is large or old, the oldest dropped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aetherra.kernel.datadir import sync_folder
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.signing.disk import opened

_NAME = re.compile(r"audit-(\d{12,18})\.jsonl")
LONGEST_LINE = 1 << 20
"""Bytes that no entry comes near."""
BLOCK = 1 << 18
"""Bytes of a file that are read at once."""


class Segment(NamedTuple):
    """A file, and the number of its first entry, by its name."""

    path: Path
    first: int


class Line(NamedTuple):
    """A line of a file, and whether its newline is there."""

    file: str
    number: int
    data: bytes
    whole: bool


def segments_of(folder: Path) -> list[Segment]:
    """Return the files of a ledger, oldest first; none if there is no folder.

    Raises:
        DataFileError: The folder cannot be read.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise DataFileError(str(folder), f"cannot read: {exc.strerror or exc}") from exc
    numbers = sorted({int(match[1]) for match in map(_NAME.fullmatch, names) if match is not None})
    return [Segment(folder / name_of(number), number) for number in numbers if name_of(number) in names]


def name_of(first: int) -> str:
    """Return how the file is called that begins with an entry."""
    return f"audit-{first:012d}.jsonl"


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, block by block.

    Raises:
        OSError: It cannot be read, is no regular file, or has a line longer than any entry.
    """
    rest, number = b"", 0
    with opened(path) as (descriptor, _):
        while block := os.read(descriptor, BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            for data in lines:
                number += 1
                yield Line(path.name, number, data, whole=True)
            if len(rest) > LONGEST_LINE:
                raise OSError(0, f"line {number + 1} is longer than any entry")
    if rest:
        yield Line(path.name, number + 1, rest, whole=False)


class SegmentWriter:
    """The file that entries are added to.

    Attributes:
        size: How many bytes it has; 0 if none is open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size = 0
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._left: tuple[int, ...] = ()

    @property
    def path(self) -> Path:
        """Where the open file is."""
        assert self._path is not None
        return self._path

    def open(self, segment: Segment, size: int) -> None:
        """Go on after the first bytes of a file; what is behind them, a kill has left, and is cut off.

        Raises:
            OSError: It cannot be written.
        """
        self.close()
        descriptor = os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        self._descriptor, self._path, self.size = descriptor, segment.path, size
        self._left = _traces(os.fstat(descriptor))

    def begin(self, sequence: int) -> None:
        """Begin the file whose first entry has this number.

        Raises:
            OSError: It cannot be made; the one before stays.
        """
        path = self.folder / name_of(sequence)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size:
                raise OSError(0, f"there is a file already: {path.name}")
            sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor, self._path, self.size = descriptor, path, 0
        self._left = _traces(os.fstat(descriptor))

    def is_as_left(self) -> bool:
        """Whether the file still is the one that was written to, and nobody has written to it since."""
        if self._descriptor is None or self._path is None:
            return False
        try:
            told = self._path.lstat()
        except OSError:
            return False
        return _traces(told) == self._left and told.st_size == self.size

    def append(self, data: bytes) -> None:
        """Write lines, and return once the disk has them.

        Raises:
            OSError: They could not be written, or not wholly; ``take_back`` is to be called.
        """
        assert self._descriptor is not None
        if os.write(self._descriptor, data) < len(data):
            raise OSError(0, "only a part could be written; is the disk full?")
        os.fsync(self._descriptor)
        self._left = _traces(os.fstat(self._descriptor))

    def take_back(self) -> bool:
        """Cut off all that was not ``kept``, and say whether that went."""
        if self._descriptor is None:
            return True
        try:
            os.ftruncate(self._descriptor, self.size)
            os.fsync(self._descriptor)
            self._left = _traces(os.fstat(self._descriptor))
        except OSError:
            return False
        return True

    def kept(self, written: int) -> None:
        """Count bytes that were written for good."""
        self.size += written

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = self._path = None
            self.size = 0


def _traces(told: os.stat_result) -> tuple[int, ...]:
    """Return what tells whether anybody has written to a file since, or put another in its place."""
    return told.st_ino, told.st_dev, told.st_mtime_ns, told.st_ctime_ns
