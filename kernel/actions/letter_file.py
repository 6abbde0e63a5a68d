"""One file of dead letters: read from its end, counted, written to, and rewritten in one step."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from aetherra.kernel.actions.letter import DeadLetter, is_strange_letter, read_letter
from aetherra.kernel.datadir import sync_folder

BLOCK = 64 * 1024
"""Bytes that are read at a time, from the end of a file to its beginning."""
MARK = 1024
"""Bytes of a line that tell it from others: its time and its trace id stand there."""


class Tally(msgspec.Struct, frozen=True):
    """What is in the first ``size`` bytes of a file, all of them whole lines.

    Attributes:
        size: How many bytes were counted.
        letters: How many letters they hold.
        strange: How many lines that are no letters.
        oldest: The least ``ts`` of the letters; infinite if there are none.
        newest: The greatest.
        last: Where the last line begins.
        mark: How it begins, by which a file is told from a later one that got its inode.
    """

    size: int = 0
    letters: int = 0
    strange: int = 0
    oldest: float = math.inf
    newest: float = -math.inf
    last: int = 0
    mark: bytes = b""

    def plus(self, data: bytes, letters: Iterable[DeadLetter], strange: int = 0) -> Tally:
        """Return a tally with whole lines more, which hold these letters and so many lines that are none."""
        times = [letter.ts for letter in letters]
        last = data[:-1].rfind(b"\n") + 1
        return Tally(
            self.size + len(data),
            self.letters + len(times),
            self.strange + strange,
            min([self.oldest, *times]),
            max([self.newest, *times]),
            self.size + last if data else self.last,
            data[last : last + MARK] if data else self.mark,
        )

    def is_of(self, descriptor: int, size: int) -> bool:
        """Whether a file of this size is the one that was counted; it may have grown.

        Lines are only added at its end, and those that stay when it is rewritten move. So the same line at the same
        place, with its time and its trace id, has the same before it.
        """
        return self.size <= size and os.pread(descriptor, len(self.mark), self.last) == self.mark


def open_file(path: Path, flags: int) -> int:
    """Open a file, and nothing else that may stand in its place; no pipe is waited for.

    Raises:
        OSError: It cannot be opened, or is no file.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "is no regular file", str(path))


def count(descriptor: int, size: int, known: Tally) -> Tally:
    """Count what stands behind what is known, up to the last newline within ``size``."""
    data = _read(descriptor, known.size, size - known.size)
    data = data[: data.rfind(b"\n") + 1]  # what follows is a line that somebody is writing, or tore
    lines = [line for line in data.split(b"\n") if line.strip()]
    letters = [letter for letter in map(read_letter, lines) if letter is not None]
    return known.plus(data, letters, strange=len(lines) - len(letters))


def letters_backwards(descriptor: int, size: int) -> Iterator[DeadLetter]:
    """Yield the letters in the first ``size`` bytes of a file, the last first, reading no further than is asked for.

    Raises:
        OSError: It cannot be read.
    """
    for line in lines_backwards(descriptor, size):
        letter = read_letter(line)
        if letter is not None:
            yield letter


def lines_backwards(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield the lines in the first ``size`` bytes of a file, the last first, without newlines."""
    pieces: list[bytes] = []  # of the line whose beginning is not reached yet, the last first
    while size > 0:
        start = max(0, size - BLOCK)
        first, *others = os.pread(descriptor, size - start, start).split(b"\n")
        size = start
        if others:
            yield b"".join([others.pop(), *reversed(pieces)])
            yield from reversed(others)
            pieces = [first]
        else:
            pieces.append(first)
    if pieces:
        yield b"".join(reversed(pieces))


def append(descriptor: int, lines: list[bytes], *, sync: bool) -> int:
    """Write lines to the end of a file, all or none, on lines of their own; return how many bytes they are.

    Raises:
        OSError: The disk is full, ...; nothing of them is in the file, but for a fragment that cannot be taken back.
    """
    size = os.fstat(descriptor).st_size
    data = (b"\n" if _is_torn(descriptor, size) else b"") + joined(lines)
    written = os.write(descriptor, data)
    try:
        if written < len(data):
            raise OSError("only a part could be written; is the disk full?")
        if sync:
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            if os.fstat(descriptor).st_size == size + written:
                os.ftruncate(descriptor, size)  # else somebody wrote behind it: their bytes stay
        raise
    return written


def end_line(descriptor: int) -> None:
    """End a line that somebody tore, if there is one.

    Raises:
        OSError: The disk is full, ...
    """
    if _is_torn(descriptor, os.fstat(descriptor).st_size):
        os.write(descriptor, b"\n")


def _is_torn(descriptor: int, size: int) -> bool:
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


class Sorted(NamedTuple):
    """The lines of a file, told apart.

    Attributes:
        stays: Letters that stay, and those of other versions.
        goes: Letters that go.
        going: Their lines.
        alien: What is no letter of any version.
        size: How many bytes were read.
        tally: What the file holds once it has nothing but what stays.
    """

    stays: list[bytes]
    goes: list[DeadLetter]
    going: list[bytes]
    alien: list[bytes]
    size: int
    tally: Tally


def sort_lines(descriptor: int, goes: Callable[[DeadLetter], bool]) -> Sorted:
    """Read a whole file and tell its lines apart; blank ones are left out."""
    data = _read(descriptor, 0, os.fstat(descriptor).st_size)
    stays: list[bytes] = []
    going: list[bytes] = []
    alien: list[bytes] = []
    staying: list[DeadLetter] = []
    leaving: list[DeadLetter] = []
    for line in filter(bytes.strip, data.split(b"\n")):
        letter = read_letter(line)
        if letter is not None and goes(letter):
            leaving.append(letter)
            going.append(line)
        elif letter is not None:
            staying.append(letter)
            stays.append(line)
        else:
            (stays if is_strange_letter(line) else alien).append(line)
    tally = Tally().plus(joined(stays), staying, strange=len(stays) - len(staying))
    return Sorted(stays, leaving, going, alien, len(data), tally)


def replace(path: Path, descriptor: int, lines: list[bytes], size: int, beside: Path) -> None:
    """Put lines in a file's place in one step: whoever opens it finds the old content or the new.

    What somebody without the lock wrote behind the first ``size`` bytes of the old file meanwhile goes over as well.
    Until then the new content is ``beside``, where a crash leaves it.

    Raises:
        OSError: It cannot be written; the old content stands.
    """
    new = open_file(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    try:
        _write(new, joined(lines))
        size += _carry_over(descriptor, new, size)
        os.fsync(new)
        beside.replace(path)
        sync_folder(path.parent)
        _carry_over(descriptor, new, size)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(new)


def joined(lines: list[bytes]) -> bytes:
    """Return lines as they stand in a file."""
    return b"".join([line + b"\n" for line in lines])


def _carry_over(old: int, new: int, size: int) -> int:
    late = os.fstat(old).st_size - size
    return _write(new, _read(old, size, late)) if late > 0 else 0


def _read(descriptor: int, start: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size > 0 and (piece := os.pread(descriptor, size, start)):
        pieces.append(piece)
        start += len(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)
