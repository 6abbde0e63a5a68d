"""Taking a file's bytes: opened once, no link followed, hashed, and refused when they changed under the reader."""

import errno
import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.examine import HEAD_BYTES
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.index.walk import FoundFile, Stamp

__all__ = ["Content", "NotRegularError", "read", "regular_file"]

_CHUNK = 1 << 20
# A path may have become a link or a pipe since it was found: neither may be followed or waited for.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class NotRegularError(OSError):
    """It is a folder, a pipe, a device or a socket."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EINVAL, "is no regular file", path)


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Generator[tuple[int, os.stat_result]]:
    """Open a regular file and yield its descriptor and what it is; no link is followed, and nothing waited for.

    Raises:
        NotRegularError: It is something else.
        OSError: It cannot be opened; ``ELOOP`` where it is a link.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(os.fspath(path))
        yield descriptor, status
    finally:
        os.close(descriptor)


class Content(Struct, frozen=True):
    """What was read of a file.

    Attributes:
        stamp: As it was when the last byte had been read.
        sha256: Of all bytes, in hex.
        data: All bytes if they were to be kept, else the first `HEAD_BYTES`.
    """

    stamp: Stamp
    sha256: str
    data: bytes


def read(found: FoundFile, *, max_bytes: int, keep: bool) -> Content | Refusal:
    """Read a file to its end, once more if it changed meanwhile.

    Whatever goes wrong is a refusal: this never raises `OSError`.
    """
    outcome = _attempt(found, max_bytes, keep)
    if isinstance(outcome, Refusal) and outcome.reason == "changed_while_read":
        outcome = _attempt(found, max_bytes, keep)
    return outcome


def _attempt(found: FoundFile, max_bytes: int, keep: bool) -> Content | Refusal:
    try:
        with regular_file(found.location) as (descriptor, status):
            return _take(found.path, descriptor, Stamp.of(status), max_bytes, keep)
    except NotRegularError:
        return Refusal(found.path, "not_a_regular_file", "it became a special file after it was found")
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            return Refusal(found.path, "symlink", "it became a link after it was found")
        return Refusal(found.path, "unreadable", exc.strerror or str(exc))


def _take(path: str, descriptor: int, before: Stamp, max_bytes: int, keep: bool) -> Content | Refusal:
    if before.size > max_bytes:
        return Refusal(path, "too_large", f"expected at most {max_bytes} bytes, got {before.size}")
    digest = hashlib.sha256()
    kept: list[bytes] = []
    length = 0
    # One chunk past the size shows a file that grows while it is read, and ends the reading of one that never stops.
    while length <= before.size and (chunk := os.read(descriptor, _CHUNK)):
        digest.update(chunk)
        if keep:
            kept.append(chunk)
        elif not kept:
            kept.append(chunk[:HEAD_BYTES])
        length += len(chunk)
    if length != before.size or Stamp.of(os.fstat(descriptor)) != before:
        return Refusal(path, "changed_while_read", "it was written to while it was read, twice in a row")
    return Content(before, digest.hexdigest(), b"".join(kept))
