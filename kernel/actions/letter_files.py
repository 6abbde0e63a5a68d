"""The files of the dead letter queue: one that is written to, older ones, and what is no letter kept aside."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from aetherra.kernel.actions import letter_file
from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.actions.letter_file import Tally
from aetherra.kernel.config import DlqConfig
from aetherra.kernel.datadir import sync_folder
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.filelock import FileLock

log = logging.getLogger("aetherra.kernel.dlq")
LOCK_TIMEOUT = 10.0
"""Seconds that a change of the files waits for somebody else's."""
LOOKS = 20
"""How often readers look for a moment at which no file is moved, before they ask for one."""


Keep = Callable[[list[bytes], list[DeadLetter]], None]
"""Keeps letters, given their lines, elsewhere."""


class _Opened(NamedTuple):
    """A file that is being read: no other file will have its inode meanwhile."""

    path: Path
    descriptor: int
    inode: int
    size: int


class LetterFiles:
    """``kernel_dlq.jsonl``, which is written to, and ``kernel_dlq.00000001.jsonl`` and so on, the older the lower.

    Whoever changes a file holds ``lock``, so that any number of processes may; readers need no lock, as a file only
    grows, or is replaced or moved in one step. A method that changes files says that the lock is to be held.

    Args:
        path: The file that is written to.
        limits: When it is put beside, and how long those are kept; ``None`` for a single file, which no letter leaves.
        sync: Whether written letters wait for the disk, to survive a power cut.
        lock: The lock, if other files have it, too.
    """

    def __init__(self, path: Path, limits: DlqConfig | None, *, sync: bool, lock: FileLock | None = None) -> None:
        self.path = path
        self.aside = path.with_suffix(".unreadable")
        self.lock = lock or FileLock(path.with_suffix(".lock"))
        self.dropped = 0
        self._path = str(path)
        self._beside = path.with_name(f"{path.name}.new")
        self._limits = limits
        self._span = math.inf if limits is None else limits.max_age / (limits.files - 1)
        self._sync = sync
        self._name = re.compile(rf"{re.escape(path.stem)}\.(\d{{8,}}){re.escape(path.suffix)}")
        self._descriptor: int | None = None
        self._guard = threading.Lock()
        self._tallies: dict[int, Tally] = {}
        self._changes = 0
        self._kept_aside = (0, 0)

    # Insight

    @property
    def letters(self) -> int:
        """Letters in all files, as far as they were counted."""
        with self._guard:
            return sum(tally.letters for tally in self._tallies.values())

    @property
    def strange(self) -> int:
        """Lines here that are no letters to us, as far as they were counted."""
        with self._guard:
            return sum(tally.strange for tally in self._tallies.values())

    @property
    def unreadable(self) -> int:
        """Lines that are no letters, here and kept aside, as far as they were counted."""
        return self.strange + self._kept_aside[1]

    def survey(self) -> None:
        """Count what others changed. May run beside any change.

        Raises:
            DataFileError: A file cannot be read.
        """
        for _ in range(LOOKS):
            with self._guard:
                begun, known = self._changes, dict(self._tallies)
            with self._reading(), self._opened() as files:
                found = {file.inode: self._counted(file, known.get(file.inode, Tally())) for file in files}
            with self._guard:
                if self._changes == begun:
                    self._tallies = found
                    break
        self._count_aside()

    @staticmethod
    def _counted(file: _Opened, known: Tally) -> Tally:
        known = known if known.is_of(file.descriptor, file.size) else Tally()
        return letter_file.count(file.descriptor, file.size, known)

    def _count_aside(self) -> None:
        try:
            size = self.aside.stat().st_size
            if size != self._kept_aside[0]:
                self._kept_aside = size, self.aside.read_bytes().count(b"\n")
        except OSError:
            self._kept_aside = 0, 0

    # Reading

    def backwards(self, since: float | None = None) -> Generator[DeadLetter]:
        """Yield the letters, the last written first; files that hold none since a time are not read.

        Raises:
            DataFileError: A file cannot be read.
        """
        with self._reading(), self._opened() as files:
            for file in files:
                tally = self._tallies.get(file.inode, Tally())
                known = tally.size == file.size and tally.is_of(file.descriptor, file.size)
                if since is None or not known or tally.newest >= since:
                    yield from letter_file.letters_backwards(file.descriptor, file.size)

    @contextmanager
    def _reading(self) -> Generator[None]:
        try:
            yield
        except OSError as exc:
            self._fail("cannot read", exc)

    @contextmanager
    def _opened(self) -> Generator[list[_Opened]]:
        """Open all files as they are at one moment, the newest first."""
        for _ in range(LOOKS):
            with ExitStack() as stack:
                files = self._open_all(stack)
                if files is not None:
                    yield files
                    return
        with ExitStack() as stack:
            with self.lock.held(LOCK_TIMEOUT):
                files = self._open_all(stack)
            yield files or []

    def _open_all(self, stack: ExitStack) -> list[_Opened] | None:
        """Open all files; ``None`` if they were moved meanwhile."""
        before = self._listing()
        files: list[_Opened] = []
        for path in before:
            try:
                descriptor = letter_file.open_file(path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            stack.callback(os.close, descriptor)
            told = os.fstat(descriptor)
            files.append(_Opened(path, descriptor, told.st_ino, told.st_size))
        moved = self._listing() != before or any(before[file.path] != file.inode for file in files)
        return None if moved else files

    def _listing(self) -> dict[Path, int]:
        """Return which files there are, the newest first, and the inode of each."""
        found: dict[Path, int] = {}
        for path in [self.path, *reversed(self._older())]:
            try:
                found[path] = path.stat().st_ino
            except FileNotFoundError:
                continue
        return found

    def _older(self) -> list[Path]:
        """Return the files that are not written to any more, the oldest first."""
        try:
            with os.scandir(self.path.parent) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        numbers = sorted((int(found[1]), name) for name in names if (found := self._name.fullmatch(name)))
        return [self.path.with_name(name) for _, name in numbers]

    # Writing

    def append(self, lines: list[bytes], letters: list[DeadLetter], *, sync: bool = False) -> None:
        """Write letters, all or none; ``sync`` waits for the disk in any case. The lock is to be held.

        Raises:
            DataFileError: The disk is full, the file is read-only, ...; none of them is there.
        """
        with self._writing():
            now, data = letters[-1].ts, letter_file.joined(lines)
            descriptor, told = self._open()
            if self._is_due(self._tallies.get(told.st_ino, Tally()), now):
                self._let_go(now)
                descriptor, told = self._open()
            if self._limits is not None and told.st_size and told.st_size + len(data) > self._limits.max_bytes:
                self._put_beside()
                self._let_go(now)
                descriptor, told = self._open()
            known = self._counted_so_far(descriptor, told)
            letter_file.append(descriptor, lines, sync=sync or self._sync)
            if known is not None:
                if known.size < told.st_size:  # a torn line was ended
                    known = letter_file.count(descriptor, told.st_size + 1, known)
                self._note(told.st_ino, known.plus(data, letters))

    def _counted_so_far(self, descriptor: int, told: os.stat_result) -> Tally | None:
        """Count what others wrote since the last look, if it is not too much for now: ``survey`` counts it then."""
        known = self._tallies.get(told.st_ino, Tally())
        if not known.is_of(descriptor, told.st_size):
            known = Tally()
        if known.size == told.st_size:
            return known
        much = told.st_size - known.size > letter_file.BLOCK
        return None if much else letter_file.count(descriptor, told.st_size, known)

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as exc:
            self._fail("cannot write", exc)

    def _fail(self, what: str, exc: OSError) -> NoReturn:
        if isinstance(exc, DataFileError):
            raise exc
        raise DataFileError(str(exc.filename or self.path), f"{what}: {exc.strerror or exc}") from exc

    def _open(self) -> tuple[int, os.stat_result]:
        """Return the file that is written to; another one if somebody moved, replaced or deleted it."""
        if self._descriptor is not None:
            told = os.fstat(self._descriptor)
            if self._is_in_place(told):
                return self._descriptor, told
            self.close()
        self._descriptor = letter_file.open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        if self._sync:
            sync_folder(self.path.parent)
        return self._descriptor, os.fstat(self._descriptor)

    def _is_in_place(self, told: os.stat_result) -> bool:
        try:
            there = os.stat(self._path)  # noqa: PTH116  # a text is taken more quickly, and this is done for each letter
        except FileNotFoundError:
            return False
        return there.st_ino == told.st_ino and there.st_dev == told.st_dev

    def _note(self, inode: int, tally: Tally | None, instead_of: int | None = None) -> None:
        with self._guard:
            self._changes += 1
            if instead_of is not None:
                self._tallies.pop(instead_of, None)
            if tally is None:
                self._tallies.pop(inode, None)
            else:
                self._tallies[inode] = tally

    # Letting go

    def _is_due(self, last: Tally, now: float) -> bool:
        """Whether something is too old, by what was counted; ``last`` is of the file that is written to."""
        if self._limits is None:
            return False
        if last.oldest < now - self._span and len(self._tallies) < self._limits.files:
            return True
        oldest = now - self._limits.max_age
        return any(tally.newest < oldest for tally in self._tallies.values() if tally.letters)

    def let_go(self, now: float) -> None:
        """Have the files that are too old or too many leave, at a Unix time. The lock is to be held.

        Raises:
            DataFileError: One cannot be moved or deleted.
        """
        with self._writing():
            self._let_go(now)

    def _let_go(self, now: float) -> None:
        """Files leave whole; the one that is written to is put beside after its share of ``max_age``, if it may."""
        limits = self._limits
        if limits is None:
            return
        older = self._older()
        last = self._tally_of(self.path)
        if last.letters and (
            last.newest < now - limits.max_age or (last.oldest < now - self._span and len(older) < limits.files - 1)
        ):
            older.append(self._put_beside())
        too_many = len(older) - (limits.files - 1)
        for i, path in enumerate(older):
            tally = self._tally_of(path)
            if i < too_many:
                self._drop(path, tally, f"there are more than {limits.files} files")
            elif tally.letters and tally.newest < now - limits.max_age:
                self._drop(path, tally, f"they are older than {limits.max_age:g} s")

    def _put_beside(self) -> Path:
        older = self._older()
        number = 1 + (int(older[-1].name.removesuffix(self.path.suffix).rpartition(".")[2]) if older else 0)
        beside = self.path.with_name(f"{self.path.stem}.{number:08d}{self.path.suffix}")
        with suppress(OSError):  # a full disk: the line is counted when it is set aside
            letter_file.end_line(self._open()[0])
        self.path.rename(beside)
        self.close()
        return beside

    def _tally_of(self, path: Path) -> Tally:
        try:
            descriptor = letter_file.open_file(path, os.O_RDONLY)
        except FileNotFoundError:
            return Tally()
        try:
            told = os.fstat(descriptor)
            file = _Opened(path, descriptor, told.st_ino, told.st_size)
            return self._counted(file, self._tallies.get(file.inode, Tally()))
        finally:
            os.close(descriptor)

    def _drop(self, path: Path, tally: Tally, why: str) -> None:
        inode = path.stat().st_ino
        path.unlink()
        self.dropped += tally.letters
        self._note(inode, None)
        log.warning("%d dead letters left the queue with %s, as %s", tally.letters, path, why)

    # Rewriting

    def tidy(self) -> None:
        """Set aside what is no letter, and clear away what a crash left. The lock is to be held.

        Raises:
            DataFileError: A file cannot be read or written; nothing is lost.
        """
        with self._writing():
            self._beside.unlink(missing_ok=True)
        self.take_out(lambda _: False)

    def take_out(self, goes: Callable[[DeadLetter], bool], first: Keep | None = None) -> int:
        """Delete the letters that are to go and return how many those were; the lock is to be held.

        Each file is replaced in one step, or stays. Letters of other versions, which cannot be read here, stay.

        Args:
            goes: Which letters are to go.
            first: Is given them, and their lines as they stand there, a file at a time, before they leave it.

        Raises:
            DataFileError: A file cannot be read or written; what is in it stays.
        """
        gone = 0
        with self._writing():
            for path in [*self._older(), self.path]:
                gone += self._take_out_of(path, goes, first)
        return gone

    def _take_out_of(self, path: Path, goes: Callable[[DeadLetter], bool], first: Keep | None) -> int:
        try:
            descriptor = letter_file.open_file(path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            found = letter_file.sort_lines(descriptor, goes)
            if first is not None and found.goes:
                first(found.going, found.goes)
            if found.goes or found.alien:
                self._rewrite(path, descriptor, found)
            elif found.tally.size == found.size:
                self._note(os.fstat(descriptor).st_ino, found.tally)
            return len(found.goes)
        finally:
            os.close(descriptor)

    def _rewrite(self, path: Path, descriptor: int, found: letter_file.Sorted) -> None:
        stays, tally = found.stays, found.tally
        try:
            self._set_aside(path, found.alien)
        except OSError:
            if not found.goes:
                raise
            stays = [*stays, *found.alien]  # a full disk keeps nobody from making room on it
            tally = tally.plus(letter_file.joined(found.alien), [], strange=len(found.alien))
        old = os.fstat(descriptor).st_ino
        letter_file.replace(path, descriptor, stays, found.size, self._beside)
        told = path.stat()
        if path != self.path and not told.st_size:
            path.unlink()
            self._note(old, None)
        else:
            self._note(told.st_ino, tally, instead_of=old)

    def _set_aside(self, path: Path, alien: list[bytes]) -> None:
        if not alien:
            return
        descriptor = letter_file.open_file(self.aside, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            letter_file.append(descriptor, alien, sync=True)
        finally:
            os.close(descriptor)
        self._count_aside()
        log.error("%d lines of %s are no dead letters; they are kept in %s", len(alien), path, self.aside)

    def close(self) -> None:
        """Close the file that is written to; the next letter opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
