"""Segments: a log in files of bounded size, of which the oldest go once nothing in them is needed.

Each line stands behind its CRC-32, so that damage anywhere is seen, and what is not damaged is read.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from aetherra.kernel.datadir import AppendFile, sync_folder
from aetherra.kernel.errors import DataFileError

log = logging.getLogger("aetherra.kernel.actions.segments")
SEGMENT_BYTES = 1_000_000
"""How large a file grows before the next one begins."""
_NAME = re.compile(r"-(\d{8})\.log$")


def _unframed(line: bytes) -> bytes | None:
    try:
        told = int(line[:8], 16)
    except ValueError:
        return None
    record = line[9:]
    return record if line[8:9] == b" " and crc32(record) == told else None


class Segment:
    """One file: how much is in it, in how many lines, and how many of its records are needed."""

    __slots__ = ("descriptor", "lines", "live", "path", "size")

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.size = size
        self.lines = self.live = 0
        self.descriptor: int | None = None


class Segments:
    """The files of one log, oldest first; lines are appended to the last, and each run of the host begins another.

    Args:
        folder: Where they are.
        name: How their names begin.
        sync: Whether to survive a power cut: a new file's name waits for the disk, and nothing is deleted before what
            has taken its place is there.
    """

    def __init__(self, folder: Path, name: str, *, sync: bool) -> None:
        self.folder = folder
        self.files: deque[Segment] = deque()
        self._name = name
        self._sync = sync
        self.current: Segment | None = None
        self._last = 0
        self._torn = self._closed = False
        self._unsynced: list[Segment] = []
        self._lock = threading.Lock()

    def read(self) -> Iterator[tuple[Segment, bytes, bytes | None]]:
        """Yield the lines that an earlier run left, oldest first: where each is, and its record if it is whole.

        A file that cannot be read is logged and left where it is.
        """
        for number, path in sorted(self._numbered()):
            self._last = max(self._last, number)
            try:
                lines = AppendFile(path).lines()
                segment = Segment(path, path.stat().st_size)
            except (DataFileError, OSError) as exc:
                log.error("a file of the journal is left where it is, with what it holds: %s", exc)  # noqa: TRY400
                continue
            segment.lines = len(lines)
            self.files.append(segment)
            for line in filter(None, lines):
                yield segment, line, _unframed(line)

    def _numbered(self) -> list[tuple[int, Path]]:
        files: list[tuple[int, Path]] = []
        for path in self.folder.glob(f"{self._name}-*.log"):
            number = _NAME.search(path.name)
            if number is not None:
                files.append((int(number[1]), path))
        return files

    def append(self, record: bytes) -> Segment:
        """Append a record, which holds no newline, as a line, and return the file that has it.

        Raises:
            DataFileError: The disk is full, the folder is read-only, ...; the record is not in the file.
        """
        try:
            segment = self.current
            if segment is None or segment.size >= SEGMENT_BYTES:
                segment = self.begin()
            assert segment.descriptor is not None
            line = b"%08x %b\n" % (crc32(record), record)
            data = b"\n" + line if self._torn else line
            written = os.write(segment.descriptor, data)
        except OSError as exc:
            raise DataFileError(str(self.folder), f"the journal cannot be written: {exc.strerror or exc}") from exc
        if written < len(data):
            self._take_back(segment, written)
            raise DataFileError(str(segment.path), "only a part could be written; is the disk full?")
        self._torn = False
        segment.size += written
        segment.lines += 1
        return segment

    def _take_back(self, segment: Segment, written: int) -> None:
        assert segment.descriptor is not None
        try:
            os.ftruncate(segment.descriptor, segment.size)
        except OSError:
            self._torn = True
            segment.size += written

    def begin(self) -> Segment:
        """Begin another file, which is the current one from now on.

        Raises:
            OSError: It cannot be made; the current one stays.
        """
        if self._closed:
            raise OSError("the host has stopped")
        path = self.folder / f"{self._name}-{self._last + 1:08d}.log"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._sync:
            try:
                sync_folder(self.folder)
            except OSError:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
        self._last += 1
        before, self._torn = self.current, False
        segment = Segment(path)
        segment.descriptor = descriptor
        self.files.append(segment)
        self.current = segment
        if self._sync:
            self._unsynced.append(segment)
        elif before is not None:
            _close(before)
        return segment

    def is_gone(self, segment: Segment) -> bool:
        """Whether somebody has deleted a file, or has put another in its place while it was written to."""
        try:
            there = segment.path.stat()
            here = there if segment.descriptor is None else os.fstat(segment.descriptor)
        except OSError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)

    def sync(self) -> None:
        """Return when all that was written is on the disk; may run in a thread.

        Raises:
            OSError: The disk has failed.
        """
        with self._lock:
            written = list(self._unsynced)
            for segment in written:
                if segment.descriptor is not None:
                    os.fsync(segment.descriptor)
            for segment in written[:-1]:
                self._unsynced.remove(segment)
                _close(segment)

    def drop_oldest(self) -> None:
        """Delete the oldest file; nothing in it is needed.

        Raises:
            OSError: It cannot be deleted, or what has taken the place of its records cannot be kept.
        """
        if self._sync:
            self.sync()
        segment = self.files[0]
        segment.path.unlink(missing_ok=True)
        self.files.popleft()
        with self._lock:
            if segment in self._unsynced:
                self._unsynced.remove(segment)
            _close(segment)

    def close(self) -> None:
        """Close all files; nothing is written any more."""
        with self._lock:  # a thread may still wait for the disk
            for segment in self.files:
                _close(segment)
            self._unsynced.clear()
        self.current = None
        self._closed = True


def _close(segment: Segment) -> None:
    if segment.descriptor is not None:
        os.close(segment.descriptor)
        segment.descriptor = None
