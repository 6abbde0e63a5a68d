"""The dead letter queue: where actions end that were not done, until somebody looks."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Unpack

import msgspec

from aetherra.kernel.actions.letter import Choice, DeadLetter, LetterFilter, write_letter
from aetherra.kernel.actions.letter_files import LOCK_TIMEOUT, LetterFiles
from aetherra.kernel.actions.parked import ParkedLetters
from aetherra.kernel.config import DlqConfig
from aetherra.kernel.errors import DataFileError, LetterNotFoundError

log = logging.getLogger("aetherra.kernel.dlq")
FILE_NAME = "kernel_dlq.jsonl"
"""The file that a host writes its letters to, in its data directory."""
IN_MEMORY = 1000
"""Letters kept where there is no disk, or none that takes them; the oldest go first, counted in ``dropped``."""
CLOSE_TIMEOUT = 1.0
"""Seconds that letters may wait at the end for another process to let go of the files."""
AT_ONCE = 100
"""Letters that are written by one call of the system."""


class DlqStatistics(msgspec.Struct, frozen=True):
    """A snapshot of the dead letter queue; what other processes changed in its files counts from the next reading on.

    Attributes:
        depth: Letters held.
        unwritten: Letters of which ``add`` or ``flush`` has yet to say that they are safe.
        unreadable: Lines that are no letters, in the files and kept aside.
        dropped: Letters that there was no room for, in memory or on disk, or that were too old, since the start.
        parked: Letters put aside; they are in no other number.
    """

    depth: int
    unwritten: int
    unreadable: int
    dropped: int
    parked: int


class DeadLetterQueue:
    """Letters in JSONL files, or in memory where there is no data directory.

    A letter that the disk does not take now, as it is full or another process works on the files, is kept in memory and
    written as soon as one goes through. A line that is no letter is never in the way: it is kept in a file beside.

    ``add``, ``flush`` and ``statistics`` are for the event loop and never wait. What reads or removes reads files, and
    may wait for another process: call it in a worker thread. All of it may run at the same time, in several processes.

    Args:
        path: The file that letters are written to; older ones stand beside it. ``None`` keeps letters in memory.
        limits: Bounds of the files.
        sync: Whether written letters wait for the disk, to survive a power cut.
        now: The Unix time, by which what is too old leaves at the start; later a new letter's own time tells.
        tidy: Whether to put the files in order at the start; without it nothing is changed before it is asked for.
    """

    def __init__(
        self,
        path: Path | None,
        limits: DlqConfig | None = None,
        *,
        sync: bool = False,
        now: Callable[[], float] | None = None,
        tidy: bool = True,
    ) -> None:
        limits = limits or DlqConfig()
        self._files = LetterFiles(path, limits, sync=sync) if path is not None else None
        self._parked = None if self._files is None else ParkedLetters(self._files, limits.max_bytes * limits.files)
        self._put_aside: deque[tuple[DeadLetter, bytes]] = deque()  # those that are parked where there is no disk
        self._guard = threading.Lock()
        self._waiting: deque[tuple[DeadLetter, bytes]] = deque()
        self._safe: list[str] = []
        self._dropped = 0
        self._trouble = ""
        self._overflowing = False
        if self._files is not None and self._parked is not None and tidy:
            self._begin(self._files, self._parked, now)

    @staticmethod
    def _begin(files: LetterFiles, parked: ParkedLetters, now: Callable[[], float] | None) -> None:
        try:
            if files.path.parent.is_dir():
                with files.lock.held(LOCK_TIMEOUT):
                    files.tidy()
                    parked.tidy()
                    if now is not None:
                        files.let_go(now())
            files.survey()
            parked.survey()
            if files.strange:
                log.warning("%d lines of the dead letters cannot be read here; they stay", files.strange)
        except DataFileError as exc:
            log.error("the dead letters on disk are left as they are: %s", exc)  # noqa: TRY400  # no traceback needed

    # On the event loop

    def add(self, letter: DeadLetter) -> list[str]:
        """Keep a letter; return the trace ids of those that turned out to be safe where they are to stay.

        Those are this one and any that waited, or none while the disk does not take them.
        """
        with self._guard:
            self._waiting.append((letter, write_letter(letter)))
            full = len(self._waiting) > IN_MEMORY
            if full:
                self._waiting.popleft()
                self._dropped += 1
        if full and self._files is not None and not self._overflowing:
            self._overflowing = True
            log.error("the oldest dead letters are dropped, as %d wait in memory and the disk takes none", IN_MEMORY)
        return [letter.trace_id] if self._files is None else self.flush()

    def flush(self, *, wait: float = 0.0) -> list[str]:
        """Write what waits for the disk, as far as it goes; return the trace ids as ``add`` does.

        Args:
            wait: Seconds to wait for another process that works on the files, at the end of everything.
        """
        if self._files is not None and self._waiting:
            try:
                if self._files.lock.try_acquire(wait):
                    try:
                        self._write_waiting(self._files)
                    finally:
                        self._files.lock.release()
            except DataFileError as exc:
                self._say_trouble(exc)
        with self._guard:
            safe, self._safe = self._safe, []
        return safe

    def statistics(self) -> DlqStatistics:
        """Return a snapshot."""
        with self._guard:
            waiting, unwritten, dropped = len(self._waiting), len(self._waiting) + len(self._safe), self._dropped
        if self._files is None:
            return DlqStatistics(waiting, 0, 0, dropped, len(self._put_aside))
        parked = self._parked
        letters, unreadable = self._files.letters, self._files.unreadable + (parked.strange if parked else 0)
        dropped += self._files.dropped
        return DlqStatistics(letters + waiting, unwritten, unreadable, dropped, parked.letters if parked else 0)

    def _write_waiting(self, files: LetterFiles) -> None:
        """Write what waits; the lock is held."""
        at_once = AT_ONCE
        while self._waiting and (waiting := self._next_waiting(at_once)):
            try:
                files.append([line for _, line in waiting], [letter for letter, _ in waiting])
            except DataFileError as exc:
                if len(waiting) == 1:
                    self._say_trouble(exc)
                    return
                at_once = 1  # there may be room for one of them
                continue
            with self._guard:
                self._safe.extend(letter.trace_id for letter, _ in waiting)
                for entry in waiting:
                    if self._waiting and self._waiting[0] is entry:
                        self._waiting.popleft()
                    else:
                        self._dropped -= 1  # memory had no room for it while it was written
        if self._trouble:
            self._trouble, self._overflowing = "", False
            log.info("the dead letters that waited in memory are on disk")

    def _next_waiting(self, most: int) -> list[tuple[DeadLetter, bytes]]:
        with self._guard:
            return list(islice(self._waiting, most))

    def _say_trouble(self, exc: DataFileError) -> None:
        if str(exc) != self._trouble:
            self._trouble = str(exc)
            log.error("%d dead letters wait in memory until the disk takes them: %s", len(self._waiting), exc)

    # In a worker thread

    @property
    def aside(self) -> Path | None:
        """Where lines that are no letters are kept, if there are any."""
        return self._files.aside if self._files is not None and self._files.aside.exists() else None

    def items(
        self,
        *,
        limit: int = 100,
        trace_ids: Iterable[str] | None = None,
        reason: str | None = None,
        action_type: str | None = None,
        since: float | None = None,
        before: float | None = None,
        parked: bool = False,
    ) -> list[DeadLetter]:
        """Return the newest letters that fit all that is given, newest first; reads no further back than needed.

        Those that are ``parked``, or else the others.

        Raises:
            DataFileError: A file cannot be read.
        """
        named = None if trace_ids is None else frozenset(trace_ids)
        wanted = LetterFilter(trace_ids=named, reason=reason, action_type=action_type, since=since, before=before)
        with closing(self._fitting(wanted, parked=parked)) as fitting:
            return list(islice(fitting, max(0, limit)))

    def find(self, trace_id: str, *, parked: bool = False) -> DeadLetter:
        """Return one letter, the newest if several have this trace id; one that is ``parked``, or else not.

        Raises:
            LetterNotFoundError: There is none.
            DataFileError: A file cannot be read.
        """
        with closing(self._fitting(LetterFilter(trace_ids=frozenset([trace_id])), parked=parked)) as fitting:
            for letter in fitting:
                return letter
        raise LetterNotFoundError(trace_id)

    def _fitting(self, wanted: LetterFilter, *, parked: bool) -> Generator[DeadLetter]:
        yield from self._fitting_parked(wanted) if parked else self._fitting_queued(wanted)

    def _fitting_parked(self, wanted: LetterFilter) -> Generator[DeadLetter]:
        if self._parked is None:
            with self._guard:
                letters = [letter for letter, _ in reversed(self._put_aside)]
            yield from filter(wanted.fits, letters)
            return
        self._parked.survey()
        with closing(self._parked.backwards(wanted.since)) as found:
            yield from filter(wanted.fits, found)

    def _fitting_queued(self, wanted: LetterFilter) -> Generator[DeadLetter]:
        with self._guard:  # first: one that is written meanwhile is then seen twice, not missed
            waiting = [letter for letter, _ in reversed(self._waiting)]
        yield from filter(wanted.fits, waiting)
        if self._files is None:
            return
        self._files.survey()
        seen = {(letter.trace_id, letter.ts): letter for letter in waiting}
        with closing(self._files.backwards(wanted.since)) as letters:
            for letter in filter(wanted.fits, letters):
                if seen.get((letter.trace_id, letter.ts)) != letter:
                    yield letter

    def remove(
        self, trace_ids: Iterable[str] | None = None, *, also_parked: bool = False, **only: Unpack[Choice]
    ) -> int:
        """Delete the letters that fit all that is given, or all of them, and return how many those were.

        Waits up to ten seconds for another process that works on the files. Lines that are no letters stay, and so do
        parked letters, unless they are meant, too.

        Raises:
            DataFileError: A file cannot be rewritten; the letters in it stay, and so do those that wait in memory.
        """
        wanted = LetterFilter.of(trace_ids, only)
        if self._files is None or self._parked is None:
            return self._remove_from(wanted, self._waiting, *([self._put_aside] if also_parked else []))
        if not self._files.path.parent.is_dir():
            return 0
        with self._files.lock.held(LOCK_TIMEOUT):
            with suppress(DataFileError):  # a full disk keeps nobody from making room on it
                self._parked.settle()
            removed = self._files.take_out(wanted.fits) + self._remove_from(wanted, self._waiting)
            removed += self._parked.remove(wanted.fits) if also_parked else 0
            self._write_waiting(self._files)
        self._files.survey()
        return removed

    def _remove_from(self, wanted: LetterFilter, *places: deque[tuple[DeadLetter, bytes]]) -> int:
        going: list[str] = []
        with self._guard:
            for letters in places:
                going += [letter.trace_id for letter, _ in letters if wanted.fits(letter)]
                staying = [entry for entry in letters if not wanted.fits(entry[0])]
                letters.clear()  # and not another one in its place: somebody may wait to move letters to it
                letters.extend(staying)
            if self._files is not None:
                self._safe.extend(going)  # whoever waits to hear that they are safe need wait no longer
        return len(going)

    def park(self, trace_ids: Iterable[str] | None = None, **only: Unpack[Choice]) -> int:
        """Put the letters aside that fit all that is given, or all of them, and return how many those were.

        They are kept, in a file of their own where there is a disk, which may hold as much as the queue's together;
        in memory as many as the queue, of which the oldest go first. Waits up to ten seconds for another process.

        Raises:
            DataFileError: A file cannot be read or written, or has no room; each letter is in one place or the other.
        """
        wanted = LetterFilter.of(trace_ids, only)
        if self._files is None or self._parked is None:
            return self._move(self._waiting, self._put_aside, wanted)
        if not self._files.path.parent.is_dir():
            return 0
        with self._files.lock.held(LOCK_TIMEOUT):
            self._write_waiting(self._files)
            parked = self._parked.park(wanted.fits)
        self._files.survey()
        self._parked.survey()
        return parked

    def unpark(self, trace_ids: Iterable[str] | None = None, **only: Unpack[Choice]) -> int:
        """Put the parked letters back that fit all that is given, or all of them, and return how many those were.

        Their lines are as they were; they are the last ones now. Waits up to ten seconds for another process.

        Raises:
            DataFileError: A file cannot be read or written; each letter is in one place or the other.
        """
        wanted = LetterFilter.of(trace_ids, only)
        if self._files is None or self._parked is None:
            return self._move(self._put_aside, self._waiting, wanted)
        if not self._files.path.parent.is_dir():
            return 0
        with self._files.lock.held(LOCK_TIMEOUT):
            unparked = self._parked.unpark(wanted.fits)
        self._files.survey()
        self._parked.survey()
        return unparked

    def _move(
        self, here: deque[tuple[DeadLetter, bytes]], there: deque[tuple[DeadLetter, bytes]], wanted: LetterFilter
    ) -> int:
        with self._guard:
            going = [entry for entry in here if wanted.fits(entry[0])]
            staying = [entry for entry in here if not wanted.fits(entry[0])]
            here.clear()
            here.extend(staying)
            there.extend(going)
            while len(there) > IN_MEMORY:
                there.popleft()
                self._dropped += 1
        return len(going)

    # The end

    def close(self) -> None:
        """Write what waits, for which it may wait a second itself, or say what is lost; close the files."""
        if self._files is None:
            return
        self.flush(wait=CLOSE_TIMEOUT)
        for _, line in self._waiting:
            log.critical("a dead letter is lost: %s", line.decode())
        self._files.close()
        if self._parked is not None:
            self._parked.close()
        self._files.lock.close()
