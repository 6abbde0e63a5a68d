"""What may be asked of the index: files, findings and refusals of a root, at once or page by page."""

# ruff: noqa: S608  # statements are put together of conditions that stand in this file

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal, Severity
from aetherra.plugins.self_incorporation.index.report import LeftOut
from aetherra.plugins.self_incorporation.index.rows import FileRecord, Known, file_record, known_of, place_of

__all__ = ["IndexQueries", "IndexStatistics"]

_ROOT = "root = (SELECT id FROM roots WHERE name = ?)"
_PATH = "CASE folder WHEN '' THEN name ELSE folder || '/' || name END"
_STAMP = "size, mtime_ns, ctime_ns, inode, rules, indexed_at"
_PAGE = 256


class IndexStatistics(Struct, frozen=True):
    """What an index holds, over all its roots."""

    roots: int
    files: int
    refusals: int
    findings: int


class IndexQueries:
    """The reading half of the index. Whatever is asked of a root that is not in it has an empty answer.

    Lists are in the order of folders, then names. ``below`` asks for what lies in a folder, or deeper, alone.

    Every method raises `DatabaseUnusableError` where the database cannot be read.
    """

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a view of the last commit."""
        raise NotImplementedError

    def roots(self) -> list[str]:
        """Return the names of all roots that anything is known of."""
        return [name for (name,) in self._rows("SELECT name FROM roots ORDER BY name", ())]

    def known(self, root: str, folder: str, *, name: str | None = None) -> dict[str, Known]:
        """Return what is known of every file right in a folder, or of the one of that name, by its path."""
        prefix = folder and folder + "/"
        which, values = ("", (root, folder)) if name is None else (" AND name = ?", (root, folder, name))
        found: dict[str, Known] = {}
        with self._reading() as db:
            sql = f"SELECT name, {_STAMP}, sha256 FROM files WHERE {_ROOT} AND folder = ?{which}"
            for file, *stamp in db.execute(sql, values):
                found[prefix + file] = known_of(*stamp, None)
            sql = f"SELECT name, {_STAMP}, reason, detail FROM refusals WHERE {_ROOT} AND folder = ?{which}"
            for file, *stamp, reason, detail in db.execute(sql, values):
                found[prefix + file] = known_of(*stamp, "", Refusal(prefix + file, reason, detail))
        return found

    def folders(self, root: str) -> set[str]:
        """Return the folders that files of a root lie right in."""
        sql = " UNION ".join(f"SELECT DISTINCT folder FROM {table} WHERE {_ROOT}" for table in ("files", "refusals"))
        return {folder for (folder,) in self._rows(sql, (root, root))}

    def file(self, root: str, path: str) -> FileRecord | None:
        """Return the record of one file, or None."""
        sql = f"SELECT record FROM files WHERE {_ROOT} AND folder = ? AND name = ?"
        found = self._rows(sql, (root, *place_of(path)))
        return file_record(found[0][0]) if found else None

    def files(
        self, root: str, *, kind: FileKind | None = None, below: str = "", after: str = "", limit: int = 1000
    ) -> list[FileRecord]:
        """Return records of a root, at most ``limit``, from behind the path ``after`` on."""
        where, values = _below(below)
        if kind is not None:
            where, values = f"{where} AND kind = ?", (*values, kind.value)
        if after:
            where, values = f"{where} AND (folder, name) > (?, ?)", (*values, *place_of(after))
        sql = f"SELECT record FROM files WHERE {_ROOT}{where} ORDER BY folder, name LIMIT ?"
        return [file_record(text) for (text,) in self._rows(sql, (root, *values, limit))]

    def records(self, root: str, *, kind: FileKind | None = None, below: str = "") -> Iterator[FileRecord]:
        """Yield all records of a root, holding few of them at a time.

        What is written meanwhile may be among them or not.
        """
        page = self.files(root, kind=kind, below=below, limit=_PAGE)
        while page:
            yield from page
            page = self.files(root, kind=kind, below=below, after=page[-1].path, limit=_PAGE)

    def paths(self, root: str, *, below: str = "") -> Iterator[str]:
        """Yield the paths of all files of a root, holding few of them at a time."""
        where, values = _below(below)
        sql = (
            f"SELECT {_PATH} FROM files WHERE {_ROOT}{where} AND (folder, name) > (?, ?) ORDER BY folder, name LIMIT ?"
        )
        page = self._rows(sql, (root, *values, "", "", _PAGE))
        while page:
            for (path,) in page:
                yield path
            page = self._rows(sql, (root, *values, *place_of(page[-1][0]), _PAGE))

    def riskiest(self, root: str, *, limit: int = 10) -> list[FileRecord]:
        """Return the records of highest risk, at most ``limit``, and none that is without."""
        sql = f"SELECT record FROM files WHERE {_ROOT} AND risk > 0 ORDER BY risk DESC, folder, name LIMIT ?"
        return [file_record(text) for (text,) in self._rows(sql, (root, limit))]

    def findings(
        self, root: str, *, severity: Severity | None = None, below: str = "", limit: int = 1000
    ) -> list[Finding]:
        """Return findings of a root by path and line, at most ``limit``."""
        where, values = _below(below)
        if severity is not None:
            where, values = f"{where} AND severity = ?", (*values, severity)
        sql = f"""SELECT {_PATH}, line, code, severity, message FROM findings JOIN files ON files.id = findings.file
            WHERE findings.{_ROOT}{where} ORDER BY folder, name, line, code LIMIT ?"""
        return [Finding(*row) for row in self._rows(sql, (root, *values, limit))]

    def findings_of(self, root: str, path: str) -> list[Finding]:
        """Return all findings of one file, by line."""
        sql = f"""SELECT {_PATH}, line, code, severity, message FROM files JOIN findings ON findings.file = files.id
            WHERE files.{_ROOT} AND folder = ? AND name = ? ORDER BY line, code"""
        return [Finding(*row) for row in self._rows(sql, (root, *place_of(path)))]

    def refusals(self, root: str, *, below: str = "", limit: int | None = None) -> list[Refusal]:
        """Return the refusals of a root, at most ``limit``; all by default."""
        where, values = _below(below)
        sql = f"SELECT {_PATH}, reason, detail FROM refusals WHERE {_ROOT}{where} ORDER BY folder, name LIMIT ?"
        return [Refusal(*row) for row in self._rows(sql, (root, *values, -1 if limit is None else limit))]

    def kinds(self, root: str) -> dict[FileKind, int]:
        """Return how many files of each kind a root has."""
        sql = f"SELECT kind, count(*) FROM files WHERE {_ROOT} GROUP BY kind ORDER BY kind"
        return {FileKind(kind): count for kind, count in self._rows(sql, (root,))}

    def severities(self, root: str) -> dict[Severity, int]:
        """Return how many findings of each severity a root has."""
        return dict(self._rows(f"SELECT severity, count(*) FROM findings WHERE {_ROOT} GROUP BY severity", (root,)))

    def counts(self, root: str, *, folder: str | None = None) -> tuple[int, int]:
        """Return how many files and how many refusals a root has, or one folder of it by itself."""
        where, values = ("", ()) if folder is None else (" AND folder = ?", (folder,))
        files, refusals = (
            self._rows(f"SELECT count(*) FROM {table} WHERE {_ROOT}{where}", (root, *values))[0][0]
            for table in ("files", "refusals")
        )
        return files, refusals

    def left_out(self, root: str) -> LeftOut:
        """Return what of a root the last scan did not enter."""
        found = self._rows("SELECT left_out FROM roots WHERE name = ?", (root,))
        return msgspec.json.decode(found[0][0], type=LeftOut) if found else LeftOut()

    def weights(self, root: str) -> str:
        """Return under which weights the files of a root were classified: `HeuristicClassifier.fingerprint`."""
        found = self._rows("SELECT weights FROM roots WHERE name = ?", (root,))
        return found[0][0] if found else ""

    def revision(self, root: str) -> str:
        """Return what is another text once any file of a root is other than it was, or classified by other weights."""
        sql = f"SELECT count(*), max(indexed_at), total(size) FROM files WHERE {_ROOT}"
        (files,) = self._rows(sql, (root,))
        refused = self._rows(f"SELECT count(*) FROM refusals WHERE {_ROOT}", (root,))[0][0]
        return " ".join(map(str, (*files, refused, self.weights(root)))).rstrip()

    def statistics(self) -> IndexStatistics:
        """Return how much the index holds."""
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("files", "refusals", "findings"))
        (row,) = self._rows(f"SELECT (SELECT count(DISTINCT root) FROM files), {counts}", ())
        return IndexStatistics(*row)

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        with self._reading() as db:
            return db.execute(sql, values).fetchall()


def _below(folder: str) -> tuple[str, tuple[Any, ...]]:
    """Return the condition that a file lies in a folder or deeper, and its values; ``0`` is what follows ``/``."""
    if not folder:
        return "", ()
    return " AND (folder = ? OR (folder > ? AND folder < ?))", (folder, f"{folder}/", f"{folder}0")
