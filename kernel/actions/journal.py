"""The journal: which actions were accepted and are not finished, on disk for the next start."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.records import Accepted, Attempted, Finished
from aetherra.kernel.datadir import AppendFile
from aetherra.registry import MessageValidationError

_decoder: msgspec.json.Decoder[Accepted | Attempted | Finished] = msgspec.json.Decoder(Accepted | Attempted | Finished)


STALE = 10_000
"""Records that nobody needs any more and that may pile up before the file is rewritten without them."""


class Journal:
    """Records in a JSONL file, which is rewritten with what is open at the start and whenever much of it is stale.

    Args:
        path: The file.
        sync: Whether each record waits for the disk (``durability: power``) or for the operating system alone
            (``process``: survives the death of the process, not that of the machine).
    """

    def __init__(self, path: Path, *, sync: bool) -> None:
        self.unreadable = 0
        self._file = AppendFile(path, sync=sync)
        self._open: dict[str, bytes] = {}
        self._attempts: dict[str, int] = {}
        self._stale = 0

    def open(self) -> list[tuple[Accepted, int]]:
        """Return what was accepted and not finished, oldest first, each with the attempts it has had; forget the rest.

        Lines that are no records, as a crash leaves one at the end, are set aside in a file beside it.

        Raises:
            DataFileError: The file cannot be read or rewritten; nothing is lost.
        """
        pending: dict[str, Accepted] = {}
        alien: list[bytes] = []
        written = self._file.lines()
        for line in filter(None, written):
            try:
                record = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                alien.append(line)
                continue
            match record:
                case Accepted():
                    pending[record.trace_id] = record
                    self._open[record.trace_id] = line
                case Attempted():
                    self._attempts[record.trace_id] = record.attempts
                case Finished():
                    self._forget(record.trace_id)
                    pending.pop(record.trace_id, None)
        self.unreadable = len(alien)
        self._set_aside(alien)
        self._attempts = {trace_id: count for trace_id, count in self._attempts.items() if trace_id in pending}
        if written != self._lines():
            self._rewrite()
        return [(record, self._attempts.get(record.trace_id, 0)) for record in pending.values()]

    def accepted(self, envelope: ActionEnvelope) -> None:
        """Record an acceptance; it is kept once this returns.

        Raises:
            MessageValidationError: The request holds something that JSON cannot; the action must not be accepted.
            DataFileError: It could not be written; the action must not be accepted.
        """
        try:
            line = msgspec.json.encode(Accepted.of(envelope))
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise MessageValidationError(envelope.action_type, f"cannot be kept in the journal: {exc}") from exc
        self._file.append(line)
        self._open[envelope.trace_id] = line

    def attempted(self, trace_id: str, attempts: int) -> None:
        """Record how many attempts an open action has had.

        Raises:
            DataFileError: It could not be written; a crash would forget them.
        """
        self._file.append(msgspec.json.encode(Attempted(trace_id, attempts)))
        self._stale += trace_id in self._attempts
        self._attempts[trace_id] = attempts

    def finished(self, trace_id: str) -> None:
        """Record that an action was done or dead-lettered; one that is not open needs no record.

        Raises:
            DataFileError: It could not be written; after a crash the action would run again.
        """
        if trace_id not in self._open:
            return
        self._file.append(msgspec.json.encode(Finished(trace_id)))
        self._forget(trace_id)
        if self._stale > STALE:
            self._rewrite()

    def _forget(self, trace_id: str) -> None:
        self._open.pop(trace_id, None)
        self._stale += 2 + (self._attempts.pop(trace_id, None) is not None)

    def _lines(self) -> list[bytes]:
        lines: list[bytes] = []
        for trace_id, line in self._open.items():
            lines.append(line)
            if trace_id in self._attempts:
                lines.append(msgspec.json.encode(Attempted(trace_id, self._attempts[trace_id])))
        return lines

    def _rewrite(self) -> None:
        self._stale = 0
        self._file.replace(self._lines())

    def _set_aside(self, alien: list[bytes]) -> None:
        aside = AppendFile(self._file.path.with_suffix(".unreadable"))
        for line in alien:
            aside.append(line)
        aside.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
