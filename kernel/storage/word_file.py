"""A person's word in a file: that something is held, said by any means, with or without a host, until it is unsaid."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from aetherra.kernel.datadir import AppendFile, sync_folder
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.signing.disk import opened, read_bounded, write_whole

__all__ = ["Word", "WordFile"]

MOST_BYTES = 1 << 16
"""What a file may have to be read at all."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """That something is held, or no more. The file holds one of these as JSON; who inherits adds the field for which.

    Attributes:
        who: Who said so.
        why: And why.
        since: Unix time of it.
        problem: Why it is held though nobody said so: what is wrong with the file.
    """

    who: str = ""
    why: str = ""
    since: float = 0.0
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is held."""
        raise NotImplementedError


WordT = TypeVar("WordT", bound=Word)


class WordFile(Generic[WordT]):
    """What was said last, in a file that outlives the host.

    A word that holds counts from when it is said, also when it cannot be written. A file that cannot be read, or says
    nothing that is understood, holds: whoever cannot tell must not act. So a person whose host answers nobody can make
    a file of that name by any means, an empty one will do, and remove it again: ``last`` looks whether it has changed.
    To unsay a word is to remove the file, so that making one says it again; who did it stands in another beside it.

    Any thread may use it; no thread that looks, or says that something is held, waits for one that writes.

    Args:
        path: The file; ``None``: a word ends with the host.
        held: Makes a word that holds.
        free: The word that nothing holds, where nobody has said anything.

    Attributes:
        problem: Why the disk has not taken what was said last; ``""`` if it has.
    """

    def __init__(self, path: Path | None, held: Callable[..., WordT], free: WordT) -> None:
        self._path = path
        self._file = AppendFile(path) if path is not None else None
        self._unsaid = None if path is None else path.with_name(f"{path.name}.lifted")
        self._held = held
        self._free = free
        self._said = free
        self._is_written = True
        self._unsaying = False
        self._mark: object = None
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self.problem = ""

    def last(self) -> WordT:
        """Return what was said last. Never raises; one look at the file system."""
        with self._lock:
            return self._last()

    def say(self, word: WordT, *, instead: bool = False) -> WordT:
        """Have something held from now on, and return the word that holds; ``write`` makes it last.

        Args:
            word: Which holds.
            instead: Whether it takes the place of one that holds already.
        """
        with self._lock:
            before = self._last()
            if before.holds and not instead and not self._unsaying:
                return before
            self._said, self._is_written = word, self._path is None
            return word

    def write(self) -> None:
        """Put on the disk what is not there yet.

        Raises:
            DataFileError: It could not be written: it holds, and across a restart if at least an empty file could be
                made, as on a full disk.
        """
        with self._turn:
            with self._lock:
                word, is_written = self._said, self._is_written
            if not is_written:
                self._replace(word)
                self._settle(word, word)

    def unsay(self, free: WordT) -> WordT:
        """Have nothing held, and return what was said until now; what is said meanwhile holds. No room is needed.

        Raises:
            DataFileError: The file could not be removed: what holds goes on, as it would after a restart.
        """
        with self._turn:
            with self._lock:
                held = self._last()
                self._unsaying = True
            try:
                self._remove(free)
            finally:
                with self._lock:
                    self._unsaying = False
            self._settle(held, free)
            return held

    def fleeting(self) -> WordT | None:
        """Return what ends with this object unless another one recalls it, as it is on no disk; ``None`` if nothing."""
        with self._lock:
            return None if self._path is not None and self._is_written else self._said

    def recall(self, word: WordT) -> None:
        """Take over what was ``fleeting``."""
        with self._lock:
            self._said, self._is_written = word, self._path is None

    def _last(self) -> WordT:
        if self._path is not None and self._is_written and (mark := _mark_of(self._path)) != self._mark:
            self._mark = mark
            self._said = self._read(self._path)
        return self._said

    def _replace(self, word: WordT) -> None:
        if self._file is None:
            return
        try:
            self._file.replace([msgspec.json.encode(word)])
        except DataFileError as exc:
            self.problem = str(exc)
            with suppress(OSError):
                self._file.path.touch(mode=0o600)
                sync_folder(self._file.path.parent)
            raise
        self.problem = ""

    def _remove(self, free: WordT) -> None:
        if self._path is None or self._unsaid is None:
            return
        try:
            with suppress(OSError):
                write_whole(self._unsaid, msgspec.json.encode(free), mode=0o600)
            self._path.unlink(missing_ok=True)
            if self._path.parent.exists():
                sync_folder(self._path.parent)
        except OSError as exc:
            raise DataFileError(str(self._path), f"cannot remove: {exc.strerror or exc}") from exc

    def _settle(self, before: WordT, word: WordT) -> None:
        """Let the file say from now on what holds, unless something else was said since ``before``."""
        with self._lock:
            if self._said is before:
                self._said, self._is_written, self.problem = word, True, ""
                self._mark = None if self._path is None else _mark_of(self._path)

    def _read(self, path: Path) -> WordT:
        try:
            with opened(path, follow=True) as (descriptor, told):
                text = read_bounded(descriptor, MOST_BYTES)
            if not text.strip():
                why = f"lift it, or remove the file {path}"
                return self._held(who="whoever made an empty file", why=why, since=told.st_mtime)
            return msgspec.json.decode(text, type=type(self._free))
        except FileNotFoundError:
            if os.path.lexists(path):
                return self._held(problem=f"{path}: it is a link to nothing; lift it, or remove the file")
            return self._read_unsaid()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            problem = f"{path}: {getattr(exc, 'strerror', None) or exc}; lift it, or remove the file"
            return self._held(problem=problem)

    def _read_unsaid(self) -> WordT:
        """Return who has unsaid the last word, as far as anybody can tell: nothing hangs on it."""
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if self._unsaid is not None:
                with opened(self._unsaid) as (descriptor, _):
                    said = msgspec.json.decode(read_bounded(descriptor, MOST_BYTES), type=type(self._free))
                if not said.holds:
                    return said
        return self._free


def _mark_of(path: Path) -> object:
    """Return what differs once the file is another or has another content; another word where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # at each question, and a third of the time of Path.stat
    except FileNotFoundError:
        return "a link to nothing" if os.path.lexists(path) else "nothing"
    except OSError as exc:
        return exc.errno
    return found.st_ino, found.st_dev, found.st_mtime_ns, found.st_size
