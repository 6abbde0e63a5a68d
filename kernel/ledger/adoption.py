"""Adoption: a person takes a ledger as it is, after a loss or a move, and the ledger says so for good."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from aetherra.kernel.datadir import sync_folder
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.filelock import FileLock
from aetherra.kernel.ledger.chain import Draft, Tip, anchor
from aetherra.kernel.ledger.disk import LOCK_NAME, LOCK_TIMEOUT
from aetherra.kernel.ledger.entry import Entry, Fact, is_sealed, read_line
from aetherra.kernel.ledger.head import HEAD_FILES, HeadError, HeadStore, SignedHead
from aetherra.kernel.ledger.keys import LedgerKeys
from aetherra.kernel.ledger.problem import Verification
from aetherra.kernel.ledger.reading import oldest_first
from aetherra.kernel.ledger.segments import Line, SegmentWriter, lines_of, segments_of
from aetherra.kernel.ledger.settings import LedgerSettings, head_folder, ledger_folder
from aetherra.kernel.ledger.verify import verify
from aetherra.kernel.signing import SigningUnavailableError
from aetherra.kernel.signing.disk import make_folder

ADOPTED = "audit.adopted"


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an adoption.

    Attributes:
        entry: The entry that tells of it; from there on the chain can be verified again.
        continued: Whether the entries before it still are part of the chain.
        aside: Where files were put that are not; ``None`` if there are none.
        found: What was wrong.
    """

    entry: Entry
    continued: bool
    aside: Path | None
    found: Verification


def adopt(
    data_dir: Path, settings: LedgerSettings, *, actor: str, reason: str, clock: Callable[[], float]
) -> Adopted | None:
    """Go on from what is there, with new keys; ``None`` if nothing is wrong.

    If only the head is lost or forged, a chain that is whole in itself is continued; where the key is still there, all
    of its entries have to be sealed by it. Any other is put aside, byte for byte, and a new one begins, with numbers
    higher than any that were given. Either way an entry says who did it and why, what was wrong, and what the last head
    said.

    Args:
        data_dir: The host's data directory.
        settings: Where the head is.
        actor: The person.
        reason: Why it is taken as it is.
        clock: Unix seconds.

    Raises:
        DataFileError: Something cannot be read or written, or the library is missing that its head is signed with; it
            can be done again.
    """
    folder = ledger_folder(data_dir)
    heads = HeadStore(head_folder(data_dir, settings), about=str(folder))
    try:
        make_folder(folder)
        with FileLock(folder / LOCK_NAME).held(LOCK_TIMEOUT):
            found = verify(folder, heads.folder)
            if found.ok:
                return None
            return _Adoption(folder, heads, found, clock).carry_out(actor, reason)
    except DataFileError:
        raise
    except OSError as exc:
        raise DataFileError(str(folder), f"cannot be adopted: {exc.strerror or exc}") from exc
    finally:
        heads.close()


class _Adoption:
    def __init__(self, folder: Path, heads: HeadStore, found: Verification, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._heads = heads
        self._found = found
        self._now = float(clock())
        moment = dt.datetime.fromtimestamp(self._now, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        self._name = f"aside-{moment}-{secrets.token_hex(4)}"

    def carry_out(self, actor: str, reason: str) -> Adopted:
        last_head = self._last_head()
        secret = self._secret()
        chain = _Chain(self._folder, secret)
        tip = chain.tip if last_head is None else None
        continued = tip is not None
        highest = max(chain.highest, 0 if last_head is None else last_head.sequence)
        facts: dict[str, Fact] = {f"found_{kind}": count for kind, count in sorted(self._counted().items())}
        if last_head is not None:
            facts |= {"last_head_sequence": last_head.sequence, "last_head_hash": last_head.hash}
        if continued:
            facts["seals_checked"] = secret is not None
        if tip is None:
            facts |= {"aside": self._name, "aside_digest": self._digest()}
            tip = Tip(ledger=secrets.token_hex(16), sequence=highest, first=highest + 1)
        from aetherra.kernel.ledger.redaction import Redactor  # noqa: PLC0415  # who adopts needs it, and no start

        draft = Redactor.of_environment().clean(
            Draft(kind=ADOPTED, actor=actor, component="audit", summary=reason, facts=facts)
        )
        self._put_aside(self._heads.folder, [self._heads.folder / name for name in HEAD_FILES])
        keys = self._heads.begin(tip, self._now)  # which does not fit until all is done: a kill leaves it to do again
        aside = None if continued else self._put_aside(self._folder, self._folder.glob("audit-*.jsonl"))
        entry = self._add(tip, draft, keys)
        return Adopted(entry=entry, continued=continued, aside=aside, found=self._found)

    def _counted(self) -> Counter[str]:
        return Counter(problem.kind for problem in self._found.problems)

    def _secret(self) -> bytes | None:
        try:
            keys = LedgerKeys.load(self._heads.folder)
        except DataFileError as exc:
            if isinstance(exc.__cause__, SigningUnavailableError):
                raise  # nothing need be wrong: install it first
            return None
        return None if keys is None else keys.secret

    def _last_head(self) -> SignedHead | None:
        try:
            return self._heads.read()[1]
        except (HeadError, DataFileError):
            return None

    def _digest(self) -> str:
        """Return one SHA-256 over the files that are put aside."""
        told = hashlib.sha256()
        for segment in segments_of(self._folder):
            with segment.path.open("rb") as file:
                told.update(f"{segment.path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return told.hexdigest()

    def _put_aside(self, folder: Path, files: Iterable[Path]) -> Path | None:
        """Move the files that there are into a folder of their own beside; ``None`` if there are none."""
        going = [path for path in files if path.is_symlink() or path.exists()]
        if not going:
            return None
        self._heads.close()
        aside = folder / self._name
        aside.mkdir(mode=0o700)
        for path in going:
            path.rename(aside / path.name)
        sync_folder(aside)
        sync_folder(folder)
        return aside

    def _add(self, tip: Tip, said: Draft, keys: LedgerKeys) -> Entry:
        draft = anchor(said.kind, tip, keys.id, actor=said.actor, summary=said.summary, **said.facts)
        entry = tip.next_entry(draft, self._now, keys.secret)
        writer = SegmentWriter(self._folder)
        try:
            writer.begin(entry.sequence)
            writer.append(entry.line + b"\n")
        finally:
            writer.close()
        _, _, slots = self._heads.read()
        self._heads.write(SignedHead.of(tip.after(entry), self._now, keys), slots)
        return entry


class _Chain:
    """What can be told of a chain without its head.

    Attributes:
        tip: Where it ends; ``None`` if it is not whole, or holds what the key has not sealed.
        highest: The highest number in it.
    """

    def __init__(self, folder: Path, secret: bytes | None) -> None:
        self.highest = 0
        self._folder = folder
        self._secret = secret
        self._begins: Entry | None = None
        self._tip: Tip | None = None
        self._adopted = 0
        is_whole = True
        for line in _lines_of(folder):
            is_whole = self._take(line) and is_whole
        self.tip = self._whole() if is_whole else None

    def _take(self, line: Line) -> bool:
        entry = read_line(line.data) if line.whole else "unreadable"
        if not isinstance(entry, Entry):
            return False
        self.highest = max(self.highest, entry.sequence)
        if self._tip is None:
            self._begins = entry
            self._tip = Tip(ledger="", sequence=entry.sequence - 1, entry_hash=entry.prev_hash)
        before = self._tip
        if entry.kind == ADOPTED:
            self._adopted = entry.sequence  # what came before is sealed by a key that was given up
        try:
            self._tip = before.after(entry)
        except ValueError:
            return False
        return (entry.sequence, entry.prev_hash) == (before.sequence + 1, before.entry_hash)

    def _whole(self) -> Tip | None:
        tip, begins = self._tip, self._begins
        if tip is None or begins is None or not tip.ledger or not self._is_sealed(tip.ledger):
            return None
        return msgspec.structs.replace(tip, first=begins.sequence, before=begins.prev_hash)

    def _is_sealed(self, ledger: str) -> bool:
        """Whether the key has sealed all since it was made: told at the end, which says what ledger it is."""
        if self._secret is None:
            return True
        entries = oldest_first(self._folder, self._adopted)
        return all(is_sealed(entry, ledger, self._secret) for entry in entries)


def _lines_of(folder: Path) -> Iterator[Line]:
    return (line for segment in segments_of(folder) for line in lines_of(segment.path))
