"""The journal: which actions were accepted and are not finished, on disk for the next start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.envelope import ActionEnvelope, ActionPriority, RetryPolicy


class Accepted(msgspec.Struct, frozen=True, tag="accepted", tag_field="op"):
    """An action was accepted; its params are the request's fields, to be read by the class of that day."""

    trace_id: str
    action_type: str
    params: Any
    priority: ActionPriority
    timeout: float
    deadline: float | None
    retry: RetryPolicy
    enqueued: float


class Attempted(msgspec.Struct, frozen=True, tag="attempted", tag_field="op"):
    """An attempt was begun: ``attempts`` counts it."""

    trace_id: str
    attempts: int


class Finished(msgspec.Struct, frozen=True, tag="finished", tag_field="op"):
    """An action was done or dead-lettered."""

    trace_id: str


_decoder: msgspec.json.Decoder[Accepted | Attempted | Finished] = msgspec.json.Decoder(Accepted | Attempted | Finished)


class Journal:
    """Records in a JSONL file, rewritten with what is open when it is opened.

    Args:
        path: The file.
        sync: Whether each record waits for the disk (``durability: power``) or for the operating system alone
            (``process``: survives the death of the process, not that of the machine).
    """

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._file = AppendFile(path, sync=sync)
        self.unreadable = 0

    def open(self) -> list[tuple[Accepted, int]]:
        """Return what was accepted and not finished, oldest first, each with its attempts; forget the rest.

        Lines that are no records, as a crash leaves one at the end, are set aside in a file beside it.

        Raises:
            DataFileError: The file cannot be read or rewritten; nothing is lost.
        """
        pending: dict[str, Accepted] = {}
        attempts: dict[str, int] = {}
        alien: list[bytes] = []
        written = self._file.lines()
        for line in written:
            try:
                record = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                alien.append(line)
                continue
            match record:
                case Accepted():
                    pending[record.trace_id] = record
                case Attempted():
                    attempts[record.trace_id] = record.attempts
                case Finished():
                    pending.pop(record.trace_id, None)
        self.unreadable = len(alien)
        if alien:
            aside = AppendFile(self._file.path.with_suffix(".unreadable"))
            for line in alien:
                aside.append(line)
            aside.close()
        open_actions = [(record, attempts.get(record.trace_id, 0)) for record in pending.values()]
        lines: list[bytes] = []
        for record, begun in open_actions:
            lines.append(msgspec.json.encode(record))
            if begun:
                lines.append(msgspec.json.encode(Attempted(record.trace_id, begun)))
        if written != lines:
            self._file.replace(lines)
        return open_actions

    def accepted(self, envelope: ActionEnvelope) -> None:
        """Record an acceptance; it is kept once this returns.

        Raises:
            DataFileError: It could not be written: the action must not be accepted.
        """
        params = msgspec.to_builtins(envelope.request)
        params.pop("$tag", None)
        self._write(
            Accepted(
                envelope.trace_id,
                envelope.action_type,
                params,
                envelope.priority,
                envelope.timeout,
                envelope.deadline,
                envelope.retry,
                envelope.enqueued,
            )
        )

    def attempted(self, trace_id: str, attempts: int) -> None:
        """Record that an attempt begins."""
        self._write(Attempted(trace_id, attempts))

    def finished(self, trace_id: str) -> None:
        """Record that an action was done or dead-lettered."""
        self._write(Finished(trace_id))

    def _write(self, record: Accepted | Attempted | Finished) -> None:
        self._file.append(msgspec.json.encode(record))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
