"""The journal: which actions were accepted and are not finished, on disk for the next start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from aetherra.kernel.actions import records
from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.records import Accepted, Attempted, Finished
from aetherra.kernel.actions.segments import Segment, Segments
from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.errors import DataFileError
from aetherra.registry import Clock

log = logging.getLogger("aetherra.kernel.actions.journal")
NAME = "kernel_journal"
SPARE = 20_000
"""Records that nobody needs any more and that may pile up, beyond as many as are needed."""
TOGETHER = 100
"""Records that are moved in one line."""
Known = tuple[ActionEnvelope | Accepted, int]
"""An action that is not finished, and how many attempts were begun."""


class Unfinished(msgspec.Struct, frozen=True):
    """What an earlier run has left.

    Attributes:
        actions: What was accepted and not finished, oldest first, each with the attempts that were begun.
        done: What was done under an idempotency key that still counts.
    """

    actions: list[tuple[Accepted, int]]
    done: list[Finished]


class Journal:
    """Records of actions in segments.

    An acceptance, and the beginning of an attempt, are with the operating system once they are recorded, and so survive
    the death of the process; ``sync()`` returns once they are on the disk, too. Ends are written before the event loop
    turns, or with the next record: after a crash an action whose end was not written runs again.

    Args:
        folder: Where the files are.
        clock: For the time until which an idempotency key counts.
        sync: Whether acceptances have to survive a power cut (``durability: power``).

    ``recall`` tells of an action of this run that is not finished, ``None`` if it knows none of that trace id.
    """

    def __init__(self, folder: Path, clock: Clock, *, sync: bool) -> None:
        self.unreadable = 0
        self.is_synced = sync
        self.recall: Callable[[str], Known | None] = _nothing
        self._clock = clock
        self._segments = Segments(folder, NAME, sync=sync)
        self._open: dict[str, Segment] = {}  # in the order of their files
        self._earlier: dict[str, tuple[Accepted, int]] = {}
        self._done: dict[str, tuple[Segment, Finished]] = {}
        self._ends: list[bytes] = []
        self._late: list[Finished] = []  # those of the ends that were done under a key
        self._flushing = self._failing = self._has_turned = self._is_lost = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._written = self._synced = 0
        self._syncing: _Sync | None = None

    # Reading

    def open(self) -> Unfinished:
        """Return what an earlier run has left, and forget the rest.

        Lines that are no records, as a crash leaves one at the end, are set aside in a file beside it. Files that
        cannot be read, and all of them if nothing can be written, are left as they are.
        """
        alien: list[bytes] = []
        for segment, line, record in self._segments.read():
            said = [None] if record is None else [records.read(part) for part in record.split(b"\t")]
            for each in said:
                if each is not None:
                    self._learn(segment, each)
            if None in said:
                alien.append(line)
        self.unreadable = len(alien)
        try:
            if alien:
                self._set_aside(alien)
            if alien or self._is_wasteful():
                self._renew()
        except OSError as exc:
            log.error("the journal stays as it is, damaged lines and all: %s", exc)  # noqa: TRY400
        self._drop_empty()
        actions = sorted(self._earlier.values(), key=lambda known: known[0].enqueued)  # some have moved since
        return Unfinished(actions, [finished for _, finished in self._done.values()])

    def _learn(self, segment: Segment, said: Accepted | Attempted | Finished) -> None:
        trace_id = said.trace_id
        match said:
            case Accepted():
                self._forget(trace_id)
                self._earlier[trace_id] = (said, 0)
                self._keep(trace_id, segment)
            case Attempted(attempts=attempts):
                if trace_id in self._earlier:
                    self._earlier[trace_id] = (self._earlier[trace_id][0], attempts)
            case Finished():
                self._forget(trace_id)
                if said.key is not None and said.until > self._clock.time():
                    self._keep_done(segment, said)

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
        record = records.accepted(envelope)
        if self._is_lost or (not self._flushing and not self._schedule() and self._is_gone()):
            self._renew_or_refuse()
        segment, trace_id = self._write(record), envelope.trace_id
        if trace_id in self._open or trace_id in self._done:
            self._forget(trace_id)
        self._keep(trace_id, segment)
        if self._has_turned:
            self._clean()

    async def sync(self) -> None:
        """Return when all acceptances recorded so far are on the disk; those who wait meanwhile share one ``fsync``.

        Raises:
            DataFileError: The disk has failed; what it has of them is not known.
        """
        wanted = self._written
        while self._synced < wanted:
            running = self._syncing
            if running is None:
                await self._sync()
                continue
            await running.over.wait()
            if running.error and running.upto >= wanted:
                raise DataFileError(str(self._segments.folder), running.error)

    async def _sync(self) -> None:
        self._syncing = sync = _Sync()
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
        """Record that an open action has begun so many attempts; if it cannot be written, a crash forgets it."""
        if trace_id in self._open:
            try:
                self._write(records.attempted(trace_id, attempts))
                if self._has_turned:
                    self._clean()
            except DataFileError as exc:
                self._complain(exc)

    def finish(self, trace_id: str) -> None:
        """Record that an action was done or dead-lettered; one that is not open needs no record.

        A disk that does not take it now is asked again with each record.
        """
        segment = self._open.pop(trace_id, None)
        if segment is None:
            return
        segment.live -= 1
        if self._earlier:
            self._earlier.pop(trace_id, None)
        self._ends.append(records.finished(trace_id))
        if not self._flushing and not self._schedule():
            self.flush()

    def finish_done(self, finished: Finished) -> None:
        """Record that an action was done under an idempotency key, and with what."""
        self._forget(finished.trace_id)
        try:
            self._keep_done(self._write(records.done(finished)), finished)
            if self._has_turned:
                self._clean()
        except DataFileError as exc:
            self._ends.append(records.done(finished))
            self._late.append(finished)
            self._complain(exc)

    def forget_done(self, trace_id: str) -> None:
        """Need no record any more of an action that was done under a key, as the key does not count any more."""
        done = self._done.pop(trace_id, None)
        if done is not None:
            done[0].live -= 1

    def _schedule(self) -> bool:
        """Have ``flush`` run before anybody hears of what was recorded, if the event loop can be told to."""
        if self._loop is None:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:  # trio
                return False
        self._flushing = True
        self._loop.call_soon(self.flush)
        return True

    def flush(self) -> None:
        """Write the ends that wait for it; what the disk refuses waits on."""
        self._flushing = False
        try:
            if self._ends:
                self._write(b"")
            if self._has_turned:
                self._clean()
            self._failing = False
        except DataFileError as exc:
            self._complain(exc)
        if self._is_gone():
            self._renew_safely()
        self._drop_empty()

    def _is_gone(self) -> bool:
        current = self._segments.current
        return current is not None and self._segments.is_gone(current)

    def _complain(self, exc: OSError) -> None:
        if not self._failing:
            log.error("the journal waits for the disk, %d ends would run again after a crash: %s", len(self._ends), exc)
        self._failing = True

    def _write(self, record: bytes) -> Segment:
        """Append a record, and the ends that wait before it, in one line.

        If that began another file, it is time to clean, once it is known who needs the record.
        """
        segments = self._segments
        before = segments.current
        if self._ends:
            segment = segments.append(b"\t".join((*self._ends, record) if record else self._ends))
            self._ends.clear()
            while self._late:
                self._keep_done(segment, self._late.pop())
        else:
            segment = segments.append(record)
        self._written += 1
        if segment is not before and before is not None:
            self._has_turned = True
        return segment

    # What is needed

    def _keep(self, trace_id: str, segment: Segment) -> None:
        self._open[trace_id] = segment
        segment.live += 1

    def _keep_done(self, segment: Segment, finished: Finished) -> None:
        self._done[finished.trace_id] = (segment, finished)
        segment.live += 1

    def _forget(self, trace_id: str) -> None:
        segment = self._open.pop(trace_id, None)
        self._earlier.pop(trace_id, None)
        if segment is not None:
            segment.live -= 1
        self.forget_done(trace_id)

    def _is_wasteful(self) -> bool:
        lines = sum(segment.lines for segment in self._segments.files)
        return lines > 2 * (len(self._open) + len(self._done)) + SPARE

    def _drop_empty(self) -> None:
        segments = self._segments
        try:
            while segments.files and segments.files[0].live == 0 and segments.files[0] is not segments.current:
                segments.drop_oldest()
        except OSError as exc:
            self._complain(exc)

    def _clean(self) -> None:
        """Delete the files that are not needed, moving what is needed of the oldest while there is too much else."""
        self._has_turned = False
        segments = self._segments
        if any(segments.is_gone(segment) for segment in segments.files):
            self._renew_safely()
        self._drop_empty()
        try:
            if len(segments.files) > 1 and self._is_wasteful():  # one at a time, as the host serves meanwhile
                self._move(segments.files[0])
                if not segments.files[0].live:
                    segments.drop_oldest()
        except OSError as exc:
            self._complain(exc)

    def _move(self, segment: Segment) -> None:
        """Write what is needed of the oldest file once more: what it has comes first among what is kept."""
        now = self._clock.time()
        old = takewhile(lambda entry: entry[1][0] is segment, self._done.items())
        done = [finished for _, (_, finished) in old]
        for i in range(0, len(done), TOGETHER):
            counting = [finished for finished in done[i : i + TOGETHER] if finished.until > now]
            target = self._segments.append(b"\t".join(map(records.done, counting))) if counting else segment
            for finished in done[i : i + TOGETHER]:
                self.forget_done(finished.trace_id)
            for finished in counting:
                self._keep_done(target, finished)
        moving = [trace_id for trace_id, _ in takewhile(lambda entry: entry[1] is segment, self._open.items())]
        for i in range(0, len(moving), TOGETHER):
            chunk = moving[i : i + TOGETHER]
            target = self._segments.append(b"\t".join(map(self._recorded, chunk)))
            for trace_id in chunk:
                segment.live -= 1
                del self._open[trace_id]
                self._keep(trace_id, target)

    def _recorded(self, trace_id: str) -> bytes:
        """Return the records of an open action, as they would be written now."""
        known = self.recall(trace_id) or self._earlier.get(trace_id)
        if known is None:
            raise DataFileError(str(self._segments.folder), f"nobody knows action {trace_id} any more")
        envelope, attempts = known
        record = records.accepted(envelope)
        return record + b"\t" + records.attempted(trace_id, attempts) if attempts else record

    def _renew(self) -> None:
        """Write all that is needed into a new file and delete the others."""
        old = list(self._segments.files)
        self._segments.begin()
        for segment in old:
            self._move(segment)
        self._drop_empty()

    def _renew_or_refuse(self) -> None:
        try:
            self._renew()
            self._is_lost = False
        except DataFileError:
            raise
        except (OSError, ValueError) as exc:
            raise DataFileError(str(self._segments.folder), f"the journal cannot be written anew: {exc}") from exc

    def _renew_safely(self) -> None:
        """Write all that is needed anew, as files are gone or not to be trusted; else accept nothing."""
        try:
            self._renew_or_refuse()
        except DataFileError as exc:
            self._is_lost = True
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
        self.error = ""


def _nothing(_: str) -> Known | None:
    return None
