"""The signed head: how far the ledger goes and how it ends, kept where whoever changes the ledger does not reach."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Self

import msgspec

from aetherra.kernel.datadir import sync_folder
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger.chain import Tip
from aetherra.kernel.ledger.entry import canonical
from aetherra.kernel.ledger.keys import SECRET_NAME, SIGNING_NAME, LedgerKeys
from aetherra.kernel.ledger.problem import ProblemKind
from aetherra.kernel.signing.disk import NO_WAIT, make_folder

HEAD_NAME = "head.json"
ABOUT_NAME = "about.txt"
HEAD_FILES = (HEAD_NAME, SECRET_NAME, f"{SECRET_NAME}.new", SIGNING_NAME, ABOUT_NAME)
"""All that a ledger has in the folder of its head, where a person may have other things as well."""
FLUSH = getattr(os, "fdatasync", os.fsync)
"""The file keeps its size, so that its content is all that the disk has to take."""
REMEDY = "set XDG_STATE_HOME, or `$.plugins.governance.audit.head_folder`, to a folder that can be written"
SLOT = 512
"""Bytes of one of the two places that heads are written to in turn: a disk writes so many in one step."""


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a ledger ends.

    Attributes:
        ledger: Which ledger.
        sequence: The number of its last entry.
        count: How many entries are kept.
        hash: The hash of the last one.
        at: When that was written, in Unix seconds.
        key: What it is signed with.
        signature: Of all of this, in hex.
    """

    ledger: str
    sequence: int
    count: int
    hash: str
    at: float
    key: str
    signature: str = ""

    @classmethod
    def of(cls, tip: Tip, at: float, keys: LedgerKeys) -> Self:
        """Sign the end of a chain."""
        head = cls(ledger=tip.ledger, sequence=tip.sequence, count=tip.count, hash=tip.entry_hash, at=at, key=keys.id)
        return msgspec.structs.replace(head, signature=keys.sign(head.statement))

    @property
    def statement(self) -> bytes:
        """What is signed."""
        document = msgspec.structs.asdict(self)
        del document["signature"]
        return b"aetherra audit head\n" + canonical(document)


class HeadError(Exception):
    """There is no head to rely on."""

    def __init__(self, kind: ProblemKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind: ProblemKind = kind
        self.detail = detail


class HeadStore:
    """The folder with a ledger's head and keys.

    Args:
        folder: Where; it is made, for this user alone, when a ledger begins.
        about: What a person who finds the folder is told: which ledger this is the head of.
    """

    def __init__(self, folder: Path, about: str = "") -> None:
        self.folder = folder
        self.path = folder / HEAD_NAME
        self._about = about
        self._descriptor: int | None = None

    def is_new(self) -> bool:
        """Whether no ledger was begun here, or a kill came before its first head was written.

        Raises:
            DataFileError: That cannot be told.
        """
        try:
            return not (_is_there(self.folder / SECRET_NAME) or (_is_there(self.path) and self.raw().strip()))
        except OSError as exc:
            if isinstance(exc, DataFileError):
                raise
            raise DataFileError(str(self.folder), f"cannot read: {exc.strerror or exc}; {REMEDY}") from exc

    def begin(self, tip: Tip, at: float) -> LedgerKeys:
        """Make keys and a first head, in an order that a kill does no harm to.

        Raises:
            DataFileError: They cannot be written.
        """
        try:
            make_folder(self.folder)
            (self.folder / ABOUT_NAME).write_text(f"{self._about}\n", encoding="utf-8", errors="backslashreplace")
            keys = LedgerKeys.make(self.folder)
            self._create()
            self.write(SignedHead.of(tip, at, keys), NO_SLOTS)
            LedgerKeys.keep(self.folder)
            sync_folder(self.folder)
        except DataFileError:
            raise
        except OSError as exc:
            raise DataFileError(
                str(self.folder), f"cannot keep the ledger's head here: {exc.strerror or exc}; {REMEDY}"
            ) from exc
        return keys

    def _create(self) -> None:
        self.close()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._descriptor = descriptor
        if os.pwrite(descriptor, NO_SLOTS, 0) < len(NO_SLOTS):
            raise OSError(0, "only a part could be written; is the disk full?")
        os.fsync(descriptor)
        sync_folder(self.folder)

    def raw(self) -> bytes:
        """Return both places as they are now.

        Raises:
            HeadError: They are not there.
            DataFileError: They cannot be read.
        """
        try:
            return os.pread(self._open(), 2 * SLOT + 1, 0)
        except FileNotFoundError as exc:
            raise HeadError("head_missing", f"the signed head is missing: there is no {self.path}") from exc
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot read: {exc.strerror or exc}") from exc

    def _open(self) -> int:
        if self._descriptor is not None:
            here = os.fstat(self._descriptor)
            there = self.path.lstat()
            if (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev):
                return self._descriptor
            self.close()
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self._descriptor = os.open(self.path, NO_WAIT | os.O_NOFOLLOW)  # to look at only
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise OSError(0, "it is no regular file")
        return self._descriptor

    def read(self) -> tuple[LedgerKeys, SignedHead, bytes]:
        """Return the keys, the newest head that they have signed, and what both places hold.

        Raises:
            HeadError: There is none, or a place holds what the keys have not signed.
            DataFileError: It cannot be read.
        """
        raw = self.raw()
        keys = LedgerKeys.load(self.folder)
        if keys is None:
            raise HeadError("head_missing", f"the key of the signed head is missing: {self.folder / SECRET_NAME}")
        heads = [self._read_slot(raw[start : start + SLOT], keys) for start in range(0, len(raw), SLOT)]
        newest = max((head for head in heads if head is not None), key=lambda head: head.sequence, default=None)
        if newest is None or len(heads) != 2:
            raise HeadError("head_forged", f"{self.path} holds no head, or more than belongs there")
        return keys, newest, raw

    def _read_slot(self, slot: bytes, keys: LedgerKeys) -> SignedHead | None:
        if not slot.strip():
            return None
        try:
            head = msgspec.json.decode(slot, type=SignedHead)
        except (msgspec.DecodeError, UnicodeError) as exc:
            raise HeadError("head_forged", f"{self.path} holds something that is no head: {exc}") from exc
        if _slot_of(head) != slot:
            raise HeadError(
                "head_forged", f"{self.path} does not hold the head of entry {head.sequence} as it was written"
            )
        if head.key != keys.id:
            raise HeadError("head_forged", f"{self.path} is signed by {head.key!r}; the key kept beside is {keys.id!r}")
        if not keys.has_signed(head.signature, head.statement):
            raise HeadError(
                "head_forged", f"{self.path}: the signature of the head of entry {head.sequence} is not its"
            )
        return head

    def write(self, head: SignedHead, current: bytes) -> bytes:
        """Put a head in the place of the older one, and return what both places hold once the disk has it.

        Raises:
            DataFileError: It could not be written; both places are as they were, or ``restore`` has to be called.
        """
        line = _slot_of(head)
        assert len(line) == SLOT, "a head has to fit its place"
        slot = _older_slot(current)
        changed = line + current[SLOT:] if slot == 0 else current[:SLOT] + line
        try:
            descriptor = self._open()
            if os.pwrite(descriptor, line, slot * SLOT) != SLOT:
                raise OSError(0, "only a part could be written; is the disk full?")
            FLUSH(descriptor)
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot write: {exc.strerror or exc}; {REMEDY}") from exc
        return changed

    def restore(self, current: bytes) -> bool:
        """Undo a ``write`` that failed, and say whether that went, to the disk."""
        try:
            descriptor = self._open()
            if os.pread(descriptor, 2 * SLOT + 1, 0) != current and os.pwrite(descriptor, current, 0) != 2 * SLOT:
                return False
            FLUSH(descriptor)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _slot_of(head: SignedHead) -> bytes:
    return canonical(msgspec.structs.asdict(head)).ljust(SLOT - 1) + b"\n"


def _older_slot(current: bytes) -> int:
    """Return which of two places is free, or holds the older head."""
    numbers = [msgspec.json.decode(slot, type=_Numbered).sequence if slot.strip() else -1 for slot in _halves(current)]
    return int(numbers[1] < numbers[0])


def _halves(current: bytes) -> tuple[bytes, bytes]:
    return current[:SLOT], current[SLOT:]


class _Numbered(msgspec.Struct):
    sequence: int


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


NO_SLOTS = (b" " * (SLOT - 1) + b"\n") * 2
"""Both places, before any head is written."""
