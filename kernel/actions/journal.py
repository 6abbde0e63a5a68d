"""The journal: which actions were accepted and are not finished, on disk for the next start."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from aetherra.kernel.actions.records import Accepted, Attempted, Finished
from aetherra.kernel.actions.segments import Segment, Segments, framed, unframed
from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.errors import DataFileError
from aetherra.registry import MessageValidationError
from aetherra.registry.messages import TAG_FIELD

if TYPE_CHECKING:
    from pathlib import Path

    from aetherra.kernel.actions.envelope import ActionEnvelope
    from aetherra.registry import Clock

log = logging.getLogger("aetherra.kernel.actions.journal")
NAME = "kernel_journal"
SPARE = 4_000_000
"""Bytes of records that nobody needs any more and that may pile up, beyond as many as are needed."""
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Accepted | Attempted | Finished] = msgspec.json.Decoder(Accepted | Attempted | Finished)


class Unfinished(msgspec.Struct, frozen=True):
    """What an earlier run has left.

    Attributes:
        actions: What was accepted and not finished, oldest first, each with the attempts that were begun.
        done: What was done under an idempotency key that may still count.
    """

    actions: list[tuple[Accepted, int]]
    done: list[Finished]


class _Live(msgspec.Struct):
    """A record that is needed: which file has it, as what line, and how many attempts were begun since."""

    segment: Segment
    line: bytes
    attempts: int = 0
    until: float | None = None


class Journal:
    """Records of actions in segments.

    An acceptance, and the beginning of an attempt, are with the operating system once they are recorded, and so survive
    the death of the process; ``sync()`` returns once they are on the disk, too. Ends are written before the event loop
    turns, or with the next record: after a crash an action whose end was not written runs again.

    Args:
        folder: Where the files are.
        clock: For the time until which an idempotency key counts.
        sync: Whether acceptances have to survive a power cut (``durability: power``).
    """

    def __init__(self, folder: Path, clock: Clock, *, sync: bool) -> None:
        self.unreadable = 0
        self.is_synced = sync
        self._clock = clock
        self._segments = Segments(folder, NAME, sync=sync)
        self._live: dict[str, _Live] = {}  # in the order of their files
        self._live_bytes = 0
        self._ends: list[bytes] = []
        self._flushing = False
        self._failing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._written = self._synced = 0
        self._syncing: _Sync | None = None

    # Reading

    def open(self) -> Unfinished:
        """Return what an earlier run has left, and forget the rest.

        Lines that are no records, as a crash leaves one at the end, are set aside in a file beside it. Files that
        cannot be read, and all of them if nothing can be written, are left as they are.
        """
        accepted: dict[str, Accepted] = {}
        done: dict[str, Finished] = {}
        alien: list[bytes] = []
        for segment, lines in self._segments.read():
            for line in filter(None, lines):
                record = _read(line)
                match record:
                    case None:
                        alien.append(line)
                    case Accepted(trace_id=trace_id):
                        self._forget(trace_id)
                        accepted[trace_id] = record
                        self._keep(trace_id, segment, line + b"\n")
                    case Attempted(trace_id=trace_id, attempts=attempts):
                        if trace_id in accepted:
                            self._live[trace_id].attempts = attempts
                    case Finished(trace_id=trace_id, key=key, until=until):
                        accepted.pop(trace_id, None)
                        self._forget(trace_id)
                        if key is not None and until > self._clock.time():
                            done[trace_id] = record
                            self._keep(trace_id, segment, line + b"\n", until)
        self.unreadable = len(alien)
        try:
            if alien:
                self._set_aside(alien)
            if alien or self._segments.size > self._live_bytes + SPARE:
                self._renew()
        except OSError as exc:
            log.error("the journal stays as it is, damaged lines and all: %s", exc)  # noqa: TRY400
        self._drop_empty()
        return Unfinished(
            [(record, self._live[trace_id].attempts) for trace_id, record in accepted.items()], list(done.values())
        )

    def _set_aside(self, alien: list[bytes]) -> None:
        aside = AppendFile(self._segments.folder / f"{NAME}.unreadable")
        for line in alien:
            aside.append(line)
        aside.close()

    # Writing

    def accept(self, envelope: ActionEnvelope) -> None:
        """Record an acceptance.

        Raises:
            MessageValidationError: The request holds something that JSON cannot; the action must not be accepted.
            DataFileError: It could not be written; the action must not be accepted.
        """
        try:
            line = framed(_encode(Accepted.of(envelope)))
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise MessageValidationError(envelope.action_type, f"cannot be kept in the journal: {exc}") from exc
        self._keep(envelope.trace_id, self._write(line), line)

    async def sync(self) -> None:
        """Return when all acceptances recorded so far are on the disk; those who wait meanwhile share one ``fsync``.

        Raises:
            DataFileError: The disk has failed; what it has of them is not known.
        """
        wanted = self._written
        while self._synced < wanted:
            if self._syncing is not None:
                running = self._syncing
                await running.over.wait()
                if running.error is not None and running.upto >= wanted:
                    raise DataFileError(str(self._segments.folder), running.error)
                continue
            await self._sync(self._syncing_now())

    def _syncing_now(self) -> _Sync:
        self._syncing = _Sync()
        return self._syncing

    async def _sync(self, sync: _Sync) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.lowlevel.checkpoint()  # whoever is about to submit, too, joins
                sync.upto = self._written
                await anyio.to_thread.run_sync(self._segments.sync, limiter=anyio.CapacityLimiter(1))
                self._synced = sync.upto
            except OSError as exc:
                sync.error = f"the disk has failed to keep the journal: {exc.strerror or exc}"
                self._renew_safely()
                raise DataFileError(str(self._segments.folder), sync.error) from exc
            finally:
                self._syncing = None
                sync.over.set()

    def begin(self, trace_id: str, attempts: int) -> None:
        """Record that an open action has begun so many attempts.

        Raises:
            DataFileError: It could not be written; a crash would forget it.
        """
        live = self._live.get(trace_id)
        if live is not None:
            live.attempts = attempts
            self._write(framed(_encode(Attempted(trace_id, attempts))))

    def finish(self, trace_id: str, key: tuple[str, str] | None = None, until: float = 0.0, reply: Any = None) -> None:
        """Record that an action was done or dead-lettered, and the idempotency key that it was done under, if any.

        One that is not open needs no record. A disk that does not take it now is asked again with each record.
        """
        if self._live.get(trace_id) is None:
            return
        self._forget(trace_id)
        if key is None:
            self._ends.append(framed(_encode(Finished(trace_id))))
            if not self._flushing:
                self._flush_soon()
            return
        line = framed(_encoded_end(Finished(trace_id, key, until, reply)))
        try:
            self._keep(trace_id, self._write(line), line, until)
        except DataFileError as exc:
            self._ends.append(line)
            self._complain(exc)

    def _flush_soon(self) -> None:
        """Write the ends before anybody who waits for one hears of it."""
        if self._loop is None:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:  # trio
                self.flush()
                return
        self._flushing = True
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write the ends that wait for it; what the disk refuses waits on."""
        self._flushing = False
        try:
            if self._ends:
                self._write(b"")
            self._failing = False
        except DataFileError as exc:
            self._complain(exc)
        current = self._segments.current
        if current is not None and self._segments.is_gone(current):
            self._renew_safely()
        self._drop_empty()

    def _complain(self, exc: OSError) -> None:
        if not self._failing:
            log.error("the journal waits for the disk, %d ends would run again after a crash: %s", len(self._ends), exc)
        self._failing = True

    def _write(self, line: bytes) -> Segment:
        segments = self._segments
        before = segments.current
        if self._ends:
            segment = segments.append(b"".join((*self._ends, line)))
            self._ends.clear()
        else:
            segment = segments.append(line)
        self._written += 1
        if segment is not before and before is not None:
            self._clean()
        return segment

    # What is needed

    def _keep(self, name: str, segment: Segment, line: bytes, until: float | None = None) -> None:
        self._live[name] = _Live(segment, line, 0, until)
        self._live_bytes += len(line)
        segment.live += 1

    def _forget(self, name: str) -> None:
        live = self._live.pop(name, None)
        if live is not None:
            live.segment.live -= 1
            self._live_bytes -= len(live.line)

    def _drop_empty(self) -> None:
        files = self._segments.files
        try:
            while files and files[0].live == 0 and files[0] is not self._segments.current:
                self._segments.drop_oldest()
        except OSError as exc:
            self._complain(exc)

    def _clean(self) -> None:
        """Delete the files that are not needed, moving what is needed of the oldest while there is too much else."""
        if any(self._segments.is_gone(segment) for segment in self._segments.files):
            self._renew_safely()
        self._drop_empty()
        try:
            while len(self._segments.files) > 1 and self._segments.size > 2 * self._live_bytes + SPARE:
                self._move(self._segments.files[0])
                self._segments.drop_oldest()
        except OSError as exc:
            self._complain(exc)

    def _move(self, segment: Segment) -> None:
        """Write what is needed of a file, the oldest, once more."""
        now = self._clock.time()
        moving: list[tuple[str, _Live]] = []
        for name, live in self._live.items():
            if live.segment is not segment:
                break
            moving.append((name, live))
        lines: list[bytes] = []
        for name, live in moving:
            if live.until is None or live.until > now:
                lines.append(live.line)
                if live.attempts:
                    lines.append(framed(_encode(Attempted(name, live.attempts))))
        target = self._segments.append(b"".join(lines)) if lines else segment
        for name, live in moving:
            self._forget(name)
            if live.until is None or live.until > now:
                self._keep(name, target, live.line, live.until)
                self._live[name].attempts = live.attempts

    def _renew(self) -> None:
        """Write all that is needed into a new file and delete the others."""
        old = list(self._segments.files)
        self._segments.begin()
        for segment in old:
            self._move(segment)
        self._drop_empty()

    def _renew_safely(self) -> None:
        try:
            self._renew()
        except OSError as exc:
            self._complain(exc)

    def close(self) -> None:
        """Write what waits, and close the files."""
        self.flush()
        try:
            if self.is_synced:
                self._segments.sync()
        except OSError as exc:
            log.error("the journal's last records may not be on the disk: %s", exc)  # noqa: TRY400
        self._segments.close()


class _Sync:
    """One ``fsync``, and all who wait for it."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.upto = 0
        self.error: str | None = None


def _read(line: bytes) -> Accepted | Attempted | Finished | None:
    body = unframed(line)
    try:
        record = None if body is None else _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(record, Accepted) and isinstance(record.params, dict):
        record.params.pop(TAG_FIELD, None)
    return record


def _encoded_end(finished: Finished) -> bytes:
    """Return an end with its reply, or without one that JSON cannot hold."""
    try:
        return _encode(finished)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _encode(msgspec.structs.replace(finished, reply=None, lost=True))
