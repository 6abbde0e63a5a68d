"""The dead letter queue: where actions end that were not done, until somebody looks."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from pathlib import Path
from typing import Any, Literal

import msgspec

from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.envelope import ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.errors import DataFileError, LetterNotFoundError
from aetherra.registry import HandlerError

log = logging.getLogger("aetherra.kernel.dlq")
Reason = Literal[
    "queue_full", "expired", "timeout", "failed", "rejected", "invalid", "no_handler", "cancelled", "shutdown"
]
IN_MEMORY = 1000
"""Letters that a kernel without a data directory keeps; the oldest go first, counted in ``dropped``."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One action that ended undone, and why. One line of JSON each."""

    ts: float
    reason: Reason
    trace_id: str
    action_type: str
    params: Any
    priority: ActionPriority
    attempts: int
    timeout: float
    retry: RetryPolicy
    error_type: str = ""
    message: str = ""
    traceback: str = ""
    plugin: str = ""
    generation: int = 0

    @classmethod
    def of(
        cls, envelope: ActionEnvelope, reason: Reason, *, ts: float, attempts: int, error: BaseException | None
    ) -> DeadLetter:
        """Write the letter for an envelope that ended with ``error``."""
        cause = error.__cause__ if isinstance(error, HandlerError) and error.__cause__ is not None else error
        params = msgspec.to_builtins(envelope.request)
        params.pop("$tag", None)
        return cls(
            ts=ts,
            reason=reason,
            trace_id=envelope.trace_id,
            action_type=envelope.action_type,
            params=params,
            priority=envelope.priority,
            attempts=attempts,
            timeout=envelope.timeout,
            retry=envelope.retry,
            error_type=type(cause).__name__ if cause is not None else "",
            message=str(error) if error is not None else "",
            traceback="".join(traceback.format_exception(cause)) if cause is not None and cause.__traceback__ else "",
            plugin=error.plugin if isinstance(error, HandlerError) else "",
            generation=error.generation if isinstance(error, HandlerError) else 0,
        )


class DlqStatistics(msgspec.Struct, frozen=True):
    """A snapshot: letters held, letters that could not be written to disk yet, lines that are no letters."""

    depth: int
    unwritten: int
    unreadable: int
    dropped: int


class DeadLetterQueue:
    """Letters in a JSONL file, or in memory where there is no data directory.

    A letter that the disk refuses is kept in memory, said loudly, and written with the next one that goes through.
    A line that is no letter is counted, never removed and never in the way.
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

    def add(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        self._depth += 1
        if self._file is None:
            self._memory.append(letter)
            if len(self._memory) > IN_MEMORY:
                self._memory.popleft()
                self._depth -= 1
                self._dropped += 1
            return
        self._unwritten.append(letter)
        try:
            while self._unwritten:
                self._file.append(msgspec.json.encode(self._unwritten[0]))
                self._unwritten.popleft()
        except DataFileError as exc:
            log.error("%d dead letters wait in memory: %s", len(self._unwritten), exc)  # noqa: TRY400  # no traceback needed

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
        """Take letters out, or all of them, and return how many; lines that are no letters stay."""
        before = self._depth
        if self._file is None:
            kept = [letter for letter in self._memory if trace_ids is not None and letter.trace_id not in trace_ids]
            self._memory = deque(kept)
            self._depth = len(kept)
        else:
            lines = self._file.lines()
            kept_lines = [line for line in lines if not self._goes(line, trace_ids)]
            self._file.replace(kept_lines)
            self._unwritten = deque(
                letter for letter in self._unwritten if trace_ids is not None and letter.trace_id not in trace_ids
            )
            self._depth = len(self._all())
        return before - self._depth

    @staticmethod
    def _goes(line: bytes, trace_ids: set[str] | None) -> bool:
        letter = _read_letter(line)
        return letter is not None and (trace_ids is None or letter.trace_id in trace_ids)

    def _all(self) -> list[DeadLetter]:
        return [*self._read(), *self._unwritten] if self._file is not None else list(self._memory)

    def _read(self) -> list[DeadLetter]:
        if self._file is None:
            return []
        read = [_read_letter(line) for line in self._file.lines() if line.strip()]
        self._unreadable = sum(letter is None for letter in read)
        return [letter for letter in read if letter is not None]

    def statistics(self) -> DlqStatistics:
        """Return a snapshot."""
        return DlqStatistics(self._depth, len(self._unwritten), self._unreadable, self._dropped)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _read_letter(line: bytes) -> DeadLetter | None:
    try:
        return msgspec.json.decode(line, type=DeadLetter)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
