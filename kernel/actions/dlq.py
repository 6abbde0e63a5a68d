"""The dead letter queue: where actions end that were not done, until somebody looks."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

import msgspec

from aetherra.kernel.actions.letter import DeadLetter, read_letter
from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.errors import DataFileError, LetterNotFoundError

log = logging.getLogger("aetherra.kernel.dlq")
IN_MEMORY = 1000
"""Letters kept where there is no disk, or none that takes them; the oldest go first, counted in ``dropped``."""


class DlqStatistics(msgspec.Struct, frozen=True):
    """A snapshot of the dead letter queue.

    Attributes:
        depth: Letters held.
        unwritten: Those of them that the disk did not take yet.
        unreadable: Lines of the file that are no letters.
        dropped: Letters that memory had no room for.
    """

    depth: int
    unwritten: int
    unreadable: int
    dropped: int


class DeadLetterQueue:
    """Letters in a JSONL file, or in memory where there is no data directory.

    A letter that the disk refuses is kept in memory, said loudly, and written with the next one that goes through, or
    when the queue is closed. A line that is no letter is counted, never removed and never in the way.

    Letters are added and removed on the event loop; ``items`` and ``find`` may run in a worker thread meanwhile.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = AppendFile(path) if path is not None else None
        self._unwritten: deque[DeadLetter] = deque()
        self._memory: deque[DeadLetter] = deque()
        self._dropped = 0
        self._depth = 0
        self._unreadable = 0
        if self._file is not None:
            self._depth = len(self._read())

    def add(self, letter: DeadLetter) -> list[str]:
        """Keep a letter; return the trace ids of those that are safe where they are to stay by this call."""
        self._depth += 1
        waiting = self._memory if self._file is None else self._unwritten
        waiting.append(letter)
        if len(waiting) > IN_MEMORY:
            waiting.popleft()
            self._depth -= 1
            self._dropped += 1
        return [letter.trace_id] if self._file is None else self.flush()

    def flush(self) -> list[str]:
        """Write what waits for the disk, as far as it goes; return the trace ids of those that are there now."""
        written: list[str] = []
        try:
            while self._file is not None and self._unwritten:
                self._file.append(msgspec.json.encode(self._unwritten[0]))
                written.append(self._unwritten.popleft().trace_id)
        except DataFileError as exc:
            log.error("%d dead letters wait in memory: %s", len(self._unwritten), exc)  # noqa: TRY400  # no traceback needed
        return written

    def items(
        self, *, limit: int = 100, reason: str | None = None, action_type: str | None = None, since: float | None = None
    ) -> list[DeadLetter]:
        """Return the newest letters that fit, newest first. Reads the file: call it in a worker thread."""
        fitting = (
            letter
            for letter in reversed(self._all())
            if (reason is None or letter.reason == reason)
            and (action_type is None or letter.action_type == action_type)
            and (since is None or letter.ts >= since)
        )
        return [letter for letter, _ in zip(fitting, range(limit), strict=False)]

    def find(self, trace_id: str) -> DeadLetter:
        """Return one letter.

        Raises:
            LetterNotFoundError: There is none with this trace id.
        """
        for letter in reversed(self._all()):
            if letter.trace_id == trace_id:
                return letter
        raise LetterNotFoundError(trace_id)

    def remove(self, trace_ids: set[str] | None = None) -> int:
        """Take letters out, or all of them, and return how many; lines that are no letters stay.

        Raises:
            DataFileError: The file cannot be rewritten; all letters stay.
        """
        removed = 0
        if self._file is not None:
            lines = self._file.lines()
            kept = [line for line in lines if not _goes(line, trace_ids)]
            removed = len(lines) - len(kept)
            if removed:
                self._file.replace(kept)
        for letters in (self._memory, self._unwritten):
            staying = [letter for letter in letters if trace_ids is not None and letter.trace_id not in trace_ids]
            removed += len(letters) - len(staying)
            letters.clear()
            letters.extend(staying)
        self._depth -= removed
        return removed

    def _all(self) -> list[DeadLetter]:
        unwritten = list(self._unwritten)  # first: one that is written meanwhile is then seen, not missed
        letters = self._read() if self._file is not None else list(self._memory)
        seen = {letter.trace_id for letter in letters} if unwritten else set[str]()
        return [*letters, *(letter for letter in unwritten if letter.trace_id not in seen)]

    def _read(self) -> list[DeadLetter]:
        if self._file is None:
            return []
        read = [read_letter(line) for line in self._file.lines() if line.strip()]
        self._unreadable = sum(letter is None for letter in read)
        return [letter for letter in read if letter is not None]

    def statistics(self) -> DlqStatistics:
        """Return a snapshot."""
        return DlqStatistics(self._depth, len(self._unwritten), self._unreadable, self._dropped)

    def close(self) -> None:
        """Write what waits, or say what is lost; close the file."""
        if self._file is not None:
            self.flush()
            for letter in self._unwritten:
                log.critical("a dead letter is lost: %s", msgspec.json.encode(letter).decode())
            self._file.close()


def _goes(line: bytes, trace_ids: set[str] | None) -> bool:
    letter = read_letter(line)
    return letter is not None and (trace_ids is None or letter.trace_id in trace_ids)
