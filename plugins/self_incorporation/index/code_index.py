"""The index on disk: what every scanned file was, so that what did not change need not be read again.

The index is a cache of what the files themselves say. A database that is damaged is moved aside, `CodeIndex.set_aside`
says so, and the index is rebuilt from its backup; so is one that is gone.
"""

# ruff: noqa: S608  # statements are put together of conditions and names that stand in this file

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import gettempdir
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import Classification, Feature
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal
from aetherra.plugins.self_incorporation.index.backup import (
    Backup,
    DroppedLine,
    DroppedRootLine,
    FileLine,
    Line,
    RefusalLine,
    RootLine,
)
from aetherra.plugins.self_incorporation.index.index_file import INDEX
from aetherra.plugins.self_incorporation.index.queries import IndexQueries, IndexStatistics
from aetherra.plugins.self_incorporation.index.report import LeftOut
from aetherra.plugins.self_incorporation.index.rows import (
    Entry,
    FileRecord,
    Known,
    RefusalRecord,
    file_record,
    file_row,
    known_of,
    place_of,
    refusal_row,
)
from aetherra.plugins.storage import Database, silent

__all__ = ["CodeIndex", "IndexStatistics", "Known", "SetAside"]

_COLUMNS = "size, mtime_ns, ctime_ns, inode, rules, indexed_at, sha256, kind, risk, record"
_PUT_FILE = f"""INSERT INTO files (root, folder, name, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (root, folder, name) DO UPDATE SET {", ".join(f"{each} = excluded.{each}" for each in _COLUMNS.split(", "))}
RETURNING id"""
_PUT_REFUSAL = "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_ROOT = """INSERT INTO roots (name, weights, left_out) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET weights = excluded.weights, left_out = excluded.left_out"""
_ALL_REFUSALS = """SELECT folder, name, size, mtime_ns, ctime_ns, inode, rules, indexed_at, reason, detail FROM refusals
WHERE root = ?"""
_PAGE = 256


class SetAside(Struct, frozen=True):
    """A database that was moved out of the way: where to, and why."""

    path: str
    reason: str


class CodeIndex(IndexQueries):
    """Files, findings and refusals by root, in one SQLite file with a backup beside it, or in memory.

    Any thread may use it; one at a time writes.

    Attributes:
        backup_problem: Why the backup is behind, or an empty string: the index serves all the same, and the next
            `sync` writes the backup anew.
    """

    def __init__(self, path: str | Path, tell: Callable[[str], None] = silent) -> None:
        """Open the index, or begin one.

        Args:
            path: Of the file, beside which the backup lies, as ``.jsonl``; or ``:memory:``, for an index that nobody
                else sees and that ends with this one. What it holds beyond a few megabytes is put where the system has
                its temporary files, under no name.
            tell: Told, from whichever thread, what was done about damage.

        Raises:
            DatabaseUnusableError: It can be neither opened nor begun, for want of rights or room.
        """
        self.path = str(path)
        self.backup_problem = ""
        self._tell = tell
        self._backup = None if self.path == ":memory:" else Backup(Path(path).with_suffix(".jsonl"))
        self._database = Database(_nameless() if self._backup is None else Path(path), INDEX, tell)
        try:
            self._opened()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; closing it twice does nothing, any other call then raises."""
        self._database.close()
        if self._backup is not None:
            self._backup.close()

    @property
    def set_aside(self) -> SetAside | None:
        """Where the last damaged database went, and why, or None."""
        aside = self._database.set_aside
        return None if aside is None else SetAside(str(aside), self._database.reason)

    # Writing

    def write(
        self, root: str, entries: Sequence[Entry], gone: Iterable[str] = (), gone_folders: Iterable[str] = ()
    ) -> None:
        """Replace the entries of these files; drop those that are gone, and all right in folders that are gone.

        Raises:
            DatabaseUnusableError: It could not be written (a full disk, say); the index is as it was.
        """
        lost = [*(DroppedLine(root, path) for path in gone), *(DroppedLine(root, it, True) for it in gone_folders)]
        lines = [*lost, *(_line(root, entry) for entry in entries)]
        if lines:
            with self._writing(lines) as db:
                _put(db, lines)

    def note(self, root: str, *, weights: str | None = None, left_out: LeftOut | None = None) -> None:
        """Keep under which weights a root was classified, or what of it was not entered; None leaves that as it is."""
        line = RootLine(
            root,
            self.weights(root) if weights is None else weights,
            self.left_out(root) if left_out is None else left_out,
        )
        if line != RootLine(root, self.weights(root), self.left_out(root)):
            with self._writing([line]) as db:
                _put(db, [line])

    def forget(self, root: str, *, at_most: int = _PAGE) -> bool:
        """Drop so many files and refusals of a root, and with the last of them the root; say whether that is done.

        Raises:
            DatabaseUnusableError: It could not be written; the index is as it was.
        """
        gone = list(islice(self.paths(root), at_most))
        gone += [refusal.path for refusal in self.refusals(root, limit=at_most - len(gone))]
        if len(gone) == at_most:
            self.write(root, (), gone=gone)
            return False
        lines: list[Line] = [*(DroppedLine(root, path) for path in gone), DroppedRootLine(root)]
        with self._writing(lines) as db:
            _put(db, lines)
        return True

    def reclassify(self, root: str, score: Callable[[Sequence[Feature]], Classification]) -> int:
        """Classify all files of a root anew by the features that are known of them; no file is read.

        Returns:
            How many are of another kind now, or as sure of another confidence.
        """
        changed = 0
        page = self.files(root, limit=_PAGE)
        while page:
            rescored = [new for record in page if (new := _rescored(record, score)) != record]
            entries: list[Entry] = [(record, tuple(self.findings_of(root, record.path))) for record in rescored]
            self.write(root, entries)
            changed += len(entries)
            page = self.files(root, after=page[-1].path, limit=_PAGE)
        return changed

    def sync(self) -> None:
        """Write the backup anew if it is behind, or more of it is out of date than not; quick where neither is so."""
        if self._backup is None:
            return
        with self._reading() as db:
            writes = _writes(db)
        try:
            if self._backup.writes() != writes or self._backup.is_overgrown:
                self._backup.rewrite(self._all_lines(), writes)
        except OSError as exc:
            self._behind(exc)
        else:
            self.backup_problem = ""

    # The database and its backup

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        self._look_after()
        with self._database.reading() as db:
            yield db

    @contextmanager
    def _writing(self, lines: Sequence[Line]) -> Generator[sqlite3.Connection]:
        """Give a transaction, and append these lines to the backup once it is committed."""
        self._look_after()
        with self._database.writing() as db:
            yield db
            db.execute("INSERT INTO state VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = writes + 1")
            writes = _writes(db)
        if self._backup is not None and not self.backup_problem:
            try:
                self._backup.append(lines, writes)
            except OSError as exc:
                self._behind(exc)

    def _behind(self, exc: Exception) -> None:
        if not self.backup_problem:
            self._tell(f"the backup of the code index cannot be written and is behind: {exc}")
        self.backup_problem = str(exc)

    def _look_after(self) -> None:
        """Rebuild the index if its database was found damaged since, and a new one begun."""
        if self._database.set_aside != self._seen_aside:
            self._opened()

    def _opened(self) -> None:
        self._seen_aside = self._database.set_aside
        if self._backup is None:
            return
        with self._database.reading() as db:
            writes = _writes(db)
        try:
            if not writes and self._backup.path.exists():
                self._restore(self._backup)
            elif writes and self._backup.writes() != writes:
                self._backup.rewrite(self._all_lines(), writes)
        except OSError as exc:
            self._behind(exc)

    def _restore(self, backup: Backup) -> None:
        with self._database.writing() as db:
            for line in backup.lines():
                _put(db, [line])
            files, refusals = (
                db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("files", "refusals")
            )
            if files or refusals:
                db.execute("INSERT INTO state VALUES (1, 1)")
        damaged = f"; {backup.damaged} of its lines were damaged" if backup.damaged else ""
        self._tell(f"the code index was rebuilt from its backup: {files + refusals} files{damaged}")
        backup.rewrite(self._all_lines(), int(bool(files or refusals)))

    def _all_lines(self) -> Iterator[Line]:
        """Yield the whole index as lines."""
        with self._database.reading() as db:
            roots = db.execute("SELECT id, name, weights, left_out FROM roots").fetchall()
            for number, root, weights, left_out in roots:
                yield RootLine(root, weights, msgspec.json.decode(left_out, type=LeftOut))
                with closing(db.cursor()) as files:
                    for file, text in files.execute("SELECT id, record FROM files WHERE root = ?", (number,)):
                        record = file_record(text)
                        rows = db.execute("SELECT line, code, severity, message FROM findings WHERE file = ?", (file,))
                        yield FileLine(root, record, tuple(Finding(record.path, *row) for row in rows))
                for folder, name, *values, reason, detail in db.execute(_ALL_REFUSALS, (number,)):
                    path = f"{folder}/{name}" if folder else name
                    known = known_of(*values, "", Refusal(path, reason, detail))
                    assert known.refusal is not None
                    yield RefusalLine(root, RefusalRecord(known.refusal, known.stamp, known.rules, known.indexed_at))


def _nameless() -> str:
    """Return the path of a database that ends with its connection, and that may grow beyond memory where it can."""
    try:
        gettempdir()
    except FileNotFoundError:  # nothing can be written anywhere
        return ":memory:"
    return ""


def _line(root: str, entry: Entry) -> Line:
    return RefusalLine(root, entry) if isinstance(entry, RefusalRecord) else FileLine(root, *entry)


def _put(db: sqlite3.Connection, lines: Iterable[Line]) -> None:
    """Bring what some lines say into the tables."""
    numbers: dict[str, int] = {}
    for line in lines:
        if isinstance(line, RootLine):
            db.execute(_PUT_ROOT, (line.name, line.weights, msgspec.json.encode(line.left_out).decode()))
            continue
        if isinstance(line, DroppedRootLine):
            numbers.pop(line.name, None)
            _drop_root(db, line.name)
            continue
        if (root := numbers.get(line.root)) is None:
            db.execute(
                "INSERT INTO roots (name, weights, left_out) VALUES (?, '', '{}') ON CONFLICT DO NOTHING", (line.root,)
            )
            (root,) = db.execute("SELECT id FROM roots WHERE name = ?", (line.root,)).fetchone()
            numbers[line.root] = root
        match line:
            case FileLine(record=record):
                (file,) = db.execute(_PUT_FILE, file_row(root, record)).fetchone()
                db.execute(
                    "DELETE FROM refusals WHERE root = ? AND folder = ? AND name = ?", (root, *place_of(record.path))
                )
                db.execute("DELETE FROM findings WHERE file = ?", (file,))
                rows = [(file, root, it.line, it.code, it.severity, it.message) for it in line.findings]
                db.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?)", rows)
            case RefusalLine(record=record):
                _drop_files(db, "name = ?", (root, *place_of(record.refusal.path)))
                db.execute(_PUT_REFUSAL, refusal_row(root, record))
            case DroppedLine(path=path, folder=True):
                _drop_files(db, "true", (root, path))
                db.execute("DELETE FROM refusals WHERE root = ? AND folder = ?", (root, path))
            case DroppedLine(path=path):
                place = (root, *place_of(path))
                _drop_files(db, "name = ?", place)
                db.execute("DELETE FROM refusals WHERE root = ? AND folder = ? AND name = ?", place)


def _drop_files(db: sqlite3.Connection, which: str, place: tuple[Any, ...]) -> None:
    where = f"root = ? AND folder = ? AND {which}"
    db.execute(f"DELETE FROM findings WHERE file IN (SELECT id FROM files WHERE {where})", place)
    db.execute(f"DELETE FROM files WHERE {where}", place)


def _drop_root(db: sqlite3.Connection, name: str) -> None:
    for table in ("findings", "files", "refusals"):
        db.execute(f"DELETE FROM {table} WHERE root = (SELECT id FROM roots WHERE name = ?)", (name,))
    db.execute("DELETE FROM roots WHERE name = ?", (name,))


def _writes(db: sqlite3.Connection) -> int:
    """Return how many transactions have written."""
    found = db.execute("SELECT writes FROM state").fetchone()
    return 0 if found is None else int(found[0])


def _rescored(record: FileRecord, score: Callable[[Sequence[Feature]], Classification]) -> FileRecord:
    found = score(record.evidence)
    return msgspec.structs.replace(
        record, kind=found.kind, confidence=found.confidence, features=found.features, evidence=found.evidence
    )
