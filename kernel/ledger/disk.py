"""A ledger on disk: lines in files, and the head apart, which is written after them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import msgspec

from aetherra.kernel.datadir import sync_folder
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.filelock import FileLock
from aetherra.kernel.ledger.chain import Draft, Tip, anchor
from aetherra.kernel.ledger.entry import Entry, read_line
from aetherra.kernel.ledger.follow import BrokenChainError, Followed, Follower, kept_of
from aetherra.kernel.ledger.head import HEAD_FILES, HeadError, HeadStore, SignedHead
from aetherra.kernel.ledger.keys import LedgerKeys
from aetherra.kernel.ledger.problem import LedgerBrokenError, Verification
from aetherra.kernel.ledger.reading import newest_first, oldest_first
from aetherra.kernel.ledger.retention import Kept, leaving
from aetherra.kernel.ledger.segments import Segment, SegmentWriter, lines_of, segments_of
from aetherra.kernel.ledger.settings import LedgerSettings, head_folder, ledger_folder
from aetherra.kernel.ledger.verify import verify
from aetherra.kernel.signing.disk import make_folder

LOCK_NAME = "audit.lock"
LOCK_TIMEOUT = 10.0
"""Seconds that another process may take to add an entry."""


class DiskTrail:
    """Entries on disk.

    The files are written first, and the head once the disk has them: a kill between the two leaves entries that the
    head does not sign yet, which their seals show to be genuine.

    Args:
        folder: Where the files are.
        heads: Where the head is.
        settings: How large the ledger may grow.
        clock: Unix seconds.
    """

    def __init__(self, folder: Path, heads: HeadStore, settings: LedgerSettings, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.heads = heads
        self._settings = settings
        self._clock = clock
        self._lock = FileLock(folder / LOCK_NAME)
        self._writer = SegmentWriter(folder)
        self._files: list[Kept] = []
        self._tip: Tip | None = None
        self._keys: LedgerKeys | None = None
        self._slots = b""
        self._half_done: object = None
        self._broken: tuple[object, str] | None = None

    @classmethod
    def of(cls, data_dir: Path, settings: LedgerSettings, clock: Callable[[], float]) -> Self:
        """Return the ledger of a data directory."""
        folder = ledger_folder(data_dir)
        return cls(folder, HeadStore(head_folder(data_dir, settings), about=str(folder)), settings, clock)

    @property
    def tip(self) -> Tip | None:
        """Where the chain ends, as far as is known without reading."""
        return self._tip

    def prepare(self) -> Tip:
        """Return where the chain ends, once entries can be added to it.

        Raises:
            LedgerBrokenError: It is not what was written.
            DataFileError: It cannot be written.
        """
        with self._held():
            return self._current()

    def commit(self, draft: Draft) -> Entry:
        """Add an entry, and return it once disk and head have it.

        Raises:
            LedgerBrokenError: The ledger is not what was written.
            DataFileError: It cannot be written.
        """
        with self._held():
            return self._write(self._current(), draft)

    @contextmanager
    def _held(self) -> Generator[None]:
        try:
            if not self.folder.is_dir():
                make_folder(self.folder)
        except OSError as exc:
            raise DataFileError(str(self.folder), f"cannot keep a ledger here: {exc.strerror or exc}") from exc
        with self._lock.held(LOCK_TIMEOUT):
            yield

    def _current(self) -> Tip:
        """Return where the chain ends; read anew if anybody but this object has touched it."""
        if self._half_done is not None:
            self._settle()
        try:
            if self._tip is not None and self._writer.is_as_left() and self.heads.raw() == self._slots:
                return self._tip
            if self._broken is not None and self._broken == (self._traces(), self._broken[1]):
                raise LedgerBrokenError(str(self.folder), self._broken[1])
            return self._load()
        except (HeadError, BrokenChainError) as exc:
            self._tip = None
            self._broken = self._traces(), exc.detail
            raise LedgerBrokenError(str(self.folder), exc.detail) from exc
        except OSError as exc:
            self._tip = None
            if isinstance(exc, DataFileError):
                raise
            raise DataFileError(str(self.folder), f"cannot be read or written: {exc.strerror or exc}") from exc

    def _traces(self) -> object:
        """Return what changes whenever somebody changes a file of the ledger or of its head."""
        heads = [self.heads.folder / name for name in HEAD_FILES]
        files = [*self.folder.glob("audit-*.jsonl"), *(path for path in heads if path.is_symlink() or path.exists())]
        told = [(path, path.lstat()) for path in files]
        return sorted((path, it.st_ino, it.st_size, it.st_mtime_ns, it.st_ctime_ns) for path, it in told)

    def _load(self) -> Tip:
        self._tip = None
        segments = segments_of(self.folder)
        if self.heads.is_new():
            if segments:
                raise HeadError("head_missing", f"its signed head is missing from {self.heads.folder}")
            self.heads.begin(Tip(ledger=secrets.token_hex(16)), float(self._clock()))
        self._keys, head, self._slots = self.heads.read()
        LedgerKeys.keep(self.heads.folder)
        kept = kept_of(segments, head)
        self._files = [_kept(segment, head) for segment in kept]
        followed = self._follow(segments, kept, head)
        tip = followed.tip
        if followed.segment is None:
            self._writer.begin(tip.sequence + 1)
        else:
            self._writer.open(followed.segment, followed.size)
        if self._writer.size == 0:
            self._files[-1:] = [self._begun(tip)]
        for segment in segments[: len(segments) - len(kept)]:
            segment.path.unlink(missing_ok=True)
        if tip.sequence > head.sequence:
            self._slots = self.heads.write(SignedHead.of(tip, self._clock(), self._keys), self._slots)
        self._tip = tip
        if tip.sequence == 0:
            self._write(tip, anchor("audit.begun", tip, self._keys.id, actor="audit", summary="the ledger begins"))
        elif followed.ahead is not None or followed.torn is not None:
            self._write(tip, _recovered(head, followed))
        return self._tip

    def _begun(self, tip: Tip) -> Kept:
        """Return what is known of a file that nothing is in yet."""
        return Kept(Segment(self._writer.path, tip.sequence + 1), 0, self._clock(), tip.entry_hash)

    def _follow(self, segments: list[Segment], kept: list[Segment], head: SignedHead) -> Followed:
        """Follow the end of the chain; all of it if there is more than is to be kept, which is deleted thereupon."""
        assert self._keys is not None
        follower = Follower(head, self._keys.secret)
        if not head.count or len(segments) > len(kept):
            return follower.follow(segments, None)
        begin = max(i for i, segment in enumerate(kept) if segment.first <= head.sequence)
        start = Tip(
            ledger=head.ledger,
            sequence=kept[begin].first - 1,
            entry_hash=self._files[begin].before,
            first=kept[0].first,
            before=self._files[0].before,
            key=head.key,
        )
        return follower.follow(kept[begin:], start)

    def _write(self, tip: Tip, draft: Draft) -> Entry:
        assert self._keys is not None
        now = float(self._clock())
        going: list[Kept] = []
        drafts, entries = [draft], list[Entry]()
        try:
            if self._is_full(now):
                self._writer.begin(tip.sequence + 1)
                going = self._files[: leaving(self._files, self._settings, now)]
                self._files.append(self._begun(tip))
            after = tip
            if going:
                after = msgspec.structs.replace(
                    after, first=self._files[len(going)].segment.first, before=self._files[len(going)].before
                )
                drafts.insert(0, _retained(after, tip, self._keys.id))
            for each in drafts:
                entries.append(after.next_entry(each, now, self._keys.secret))
                after = after.after(entries[-1])
            data = b"".join(entry.line + b"\n" for entry in entries)
            self._writer.append(data)
            slots = self.heads.write(SignedHead.of(after, now, self._keys), self._slots)
        except BaseException as exc:
            self._undo()
            if isinstance(exc, DataFileError) or not isinstance(exc, OSError):
                raise
            raise DataFileError(str(self.folder), f"cannot write: {exc.strerror or exc}") from exc
        self._writer.kept(len(data))
        self._tip, self._slots = after, slots
        self._files[-1] = self._files[-1]._replace(size=self._writer.size)
        self._drop(going)
        return entries[-1]

    def _is_full(self, now: float) -> bool:
        size, begun_at = self._writer.size, self._files[-1].begun_at
        return size > 0 and (size >= self._settings.segment_bytes or now - begun_at >= self._settings.segment_age)

    def _undo(self) -> None:
        """Take back what was half written; what cannot be now is the next time, before anything else is done."""
        taken_back = self._writer.take_back()
        restored = self.heads.restore(self._slots)
        self._half_done = None if taken_back and restored else self._as_it_is()

    def _settle(self) -> None:
        """Take back what could not be at first, unless another process has gone on from it meanwhile."""
        if self._half_done != self._as_it_is():
            self._half_done = self._tip = None
            return
        self._undo()
        if self._half_done is not None:
            raise DataFileError(str(self.folder), "what was half written cannot be taken back; is the disk full?")

    def _as_it_is(self) -> object:
        """Return what tells whether anybody has written since."""
        try:
            return self._writer.path.stat().st_size, self.heads.raw()
        except (OSError, HeadError) as exc:
            return str(exc)

    def _drop(self, going: list[Kept]) -> None:
        """Delete files that an entry says were dropped; what cannot be is, when the ledger is read the next time."""
        with suppress(OSError):
            for kept in going:
                kept.segment.path.unlink(missing_ok=True)
            if going:
                sync_folder(self.folder)
        del self._files[: len(going)]

    def newest_first(self) -> Iterator[Entry]:
        """Yield what is kept, the last one first."""
        return newest_first(self.folder)

    def oldest_first(self, since: int) -> Iterator[Entry]:
        """Yield what is kept from a number on."""
        return oldest_first(self.folder, since)

    def verify(self) -> Verification:
        """Check all of it."""
        return verify(self.folder, self.heads.folder)

    def close(self) -> None:
        """Let go of all files."""
        self._writer.close()
        self.heads.close()
        self._lock.close()
        self._tip = None


def _kept(segment: Segment, head: SignedHead) -> Kept:
    """Return what is known of a file by its first line; the rest of it is not read.

    Raises:
        BrokenChainError: It does not begin with the entry that its name says.
    """
    size = segment.path.stat().st_size
    line = next(lines_of(segment.path), None)
    entry = "unreadable" if line is None else read_line(line.data)
    if isinstance(entry, Entry) and entry.sequence == segment.first:
        return Kept(segment, size, entry.at, entry.prev_hash)
    if segment.first <= head.sequence:
        raise BrokenChainError(f"{segment.path.name} does not begin with entry {segment.first}")
    return Kept(segment, size, 0.0, "")  # begun when a kill came


def _retained(after: Tip, before: Tip, key: str) -> Draft:
    dropped = after.first - before.first
    summary = f"entries {before.first} to {after.first - 1} were dropped, as the ledger's bounds have it"
    return anchor("audit.retained", after, key, actor="audit", summary=summary, dropped=dropped)


def _recovered(head: SignedHead, followed: Followed) -> Draft:
    return Draft(
        kind="audit.recovered",
        actor="audit",
        component="audit",
        summary="what a kill or a power cut had left was put in order",
        facts={
            "entries_behind_the_head": followed.tip.sequence - head.sequence,
            "torn_line_cut_off": followed.torn is not None,
        },
    )
