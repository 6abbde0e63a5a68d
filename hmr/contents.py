"""What files hold: a hash of each, computed once for as long as the file looks the same."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Container, Iterable
from pathlib import Path

import msgspec

from aetherra.hmr.files import real

Signature = tuple[int, int, int]
"""When a file was written in nanoseconds, its bytes, and its inode."""
TICK_NS = 4_000_000
"""How far a file's time can lie before its writing: the kernel's clock for it ticks every so often."""


class Content(msgspec.Struct, frozen=True):
    """A file as it was found.

    Attributes:
        signature: How the system described it before it was read.
        digest: The SHA-256 of its bytes, in hex.
        written_ns: When it was written at the latest, by the wall clock.
    """

    signature: Signature
    digest: str
    written_ns: int


class Contents:
    """Reads files, and remembers what they hold until they look another way or are distrusted.

    Only files are read: a pipe or a device counts as nothing, as it would be waited for.
    """

    def __init__(self) -> None:
        self._read: dict[Path, Content] = {}
        self._links: dict[Path, tuple[Path, ...]] = {}
        self._doubts = 0

    def of(self, files: Iterable[Path]) -> dict[Path, Content]:
        """Return what these hold, but for those that cannot be read. May take long: call it in a worker thread."""
        return {file: found for file in files if (found := self._of(file)) is not None}

    def digests(self, files: Iterable[Path]) -> dict[Path, str]:
        """Return the digest of each that can be read."""
        return {file: content.digest for file, content in self.of(files).items()}

    def distrust(self, changed: Iterable[Path]) -> None:
        """Read these again, even if they look as they did: two writes can fall into one tick of the file's clock."""
        self._doubts += 1
        for path in changed:
            for name in (path, *self._links.get(path, ())):
                self._read.pop(name, None)

    def forget_all_but(self, files: Container[Path]) -> None:
        """Let go of what was read of others."""
        self._read = {file: content for file, content in self._read.copy().items() if file in files}
        links = {target: tuple(link for link in links if link in files) for target, links in self._links.copy().items()}
        self._links = {target: kept for target, kept in links.items() if kept}

    def _of(self, file: Path) -> Content | None:
        doubts, now = self._doubts, time.time_ns()
        found = signature(file)
        if found is None:
            return None
        known = self._read.get(file)
        if known is not None and known.signature == found:
            return known
        if (target := real(file)) != file and file not in self._links.get(target, ()):
            self._links[target] = (*self._links.get(target, ()), file)
        data = _bytes(file)
        if data is None:
            return None
        content = Content(found, digest(data), min(now, found[0] + TICK_NS))
        if doubts == self._doubts:  # or it may have been written since
            self._read[file] = content
        return content


def signature(file: Path) -> Signature | None:
    """Return how the system describes a file; ``None`` if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def _bytes(file: Path) -> bytes | None:
    """Return what a file holds, without waiting if a pipe was put in its place just now."""
    try:
        with open(file, "rb", opener=_open) as reader:
            return reader.read() if stat.S_ISREG(os.fstat(reader.fileno()).st_mode) else None
    except OSError:
        return None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
