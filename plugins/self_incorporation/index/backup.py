"""The index once more, as lines of text: what it is rebuilt from when its database is damaged or gone.

A line is a checksum (CRC-32, of what follows) and a JSON object; the last line about a path counts. Each transaction of
the index appends its lines and a mark that carries its number, so that one look at the end of the file tells whether it
is in step with the database. Once most of the file is out of date it is written anew and put in the old one's place.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins import AppendFile, DataFileError
from aetherra.plugins.self_incorporation.code.findings import Finding
from aetherra.plugins.self_incorporation.index.report import LeftOut
from aetherra.plugins.self_incorporation.index.rows import FileRecord, RefusalRecord

__all__ = ["Backup", "DroppedLine", "DroppedRootLine", "FileLine", "Line", "Mark", "RefusalLine", "RootLine"]

_FORMAT = 1
_SLACK = 4_000_000
_TAIL = 4096


class Head(Struct, frozen=True, tag="aetherra code index"):
    """The first line, and whether this code can read those below it."""

    format: int = _FORMAT


class FileLine(Struct, frozen=True, tag="file"):
    """A file that was taken in."""

    root: str
    record: FileRecord
    findings: tuple[Finding, ...]


class RefusalLine(Struct, frozen=True, tag="refusal"):
    """A file that was refused."""

    root: str
    record: RefusalRecord


class DroppedLine(Struct, frozen=True, tag="dropped"):
    """A file, or all that lay right in a folder, that is in the index no more."""

    root: str
    path: str
    folder: bool = False


class DroppedRootLine(Struct, frozen=True, tag="dropped root"):
    """A root that is in the index no more, with all that lay in it."""

    name: str


class RootLine(Struct, frozen=True, tag="root"):
    """A root, under which weights its files were classified, and what of it was not entered."""

    name: str
    weights: str
    left_out: LeftOut


class Mark(Struct, frozen=True, tag="mark"):
    """The end of a transaction: its number, and how long the file was when it was last written anew."""

    writes: int
    base: int


Line: TypeAlias = FileLine | RefusalLine | DroppedLine | DroppedRootLine | RootLine
_Any: TypeAlias = Line | Mark | Head
_decoder = msgspec.json.Decoder(_Any)


class Backup:
    """Owns the file of lines.

    Any thread may use it, one at a time.

    Attributes:
        damaged: Lines that the last reading found damaged and left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._file = AppendFile(path)
        self._base = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def writes(self) -> int:
        """Return the number of the last transaction that stands at the end, 0 if none does.

        Raises:
            OSError: It cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                head = _read(file.readline())
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                last = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
        except FileNotFoundError:
            return 0
        mark = _read(last)
        if head != Head() or not isinstance(mark, Mark):
            return 0
        self._base = mark.base
        return mark.writes

    def lines(self) -> Iterator[Line]:
        """Yield all lines that are sound; `damaged` counts the others, or the file as one if it cannot be read."""
        self.damaged = 0
        try:
            with self.path.open("rb") as file:
                if _read(file.readline()) != Head():
                    self.damaged = 1
                    return
                for raw in file:
                    line = _read(raw)
                    if line is None:
                        self.damaged += 1
                    elif isinstance(line, Line):
                        yield line
        except OSError:
            self.damaged += 1

    def append(self, lines: Iterable[Line], writes: int) -> None:
        """Append the lines of one transaction: all of them, or none.

        Raises:
            DataFileError: The disk does not take them, or what they should be appended to is gone.
        """
        head: list[_Any] = []
        if not self.path.exists():
            if writes > 1:
                raise DataFileError(str(self.path), "it is gone")
            head = [Head()]
        self._file.append(b"\n".join(map(_written, [*head, *lines, Mark(writes, self._base)])))

    def rewrite(self, lines: Iterable[Line], writes: int) -> None:
        """Put these lines in the place of all that stand there, in one step.

        Raises:
            OSError: The disk does not take them; what stood there stands.
        """
        self._file.close()
        beside = self.path.with_name(f"{self.path.name}.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(_written(Head()) + b"\n")
            for line in lines:
                file.write(_written(line) + b"\n")
            base = file.tell()
            file.write(_written(Mark(writes, base)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._base = base

    @property
    def is_overgrown(self) -> bool:
        """Whether more of it is out of date than not, or it is not there."""
        try:
            return self.path.stat().st_size > 2 * self._base + _SLACK
        except FileNotFoundError:
            return True


def _written(line: _Any) -> bytes:
    data = msgspec.json.encode(line)
    return b"%08x %b" % (zlib.crc32(data), data)


def _read(raw: bytes) -> _Any | None:
    checksum, _, data = raw.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(data):
        return None
    try:
        line: _Any = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return line
