"""Datasets: what tables a file of data holds, read off the file itself in one pass and with bounded memory."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

from aetherra.plugins.self_incorporation.integration.catalogue import Column, DatasetEntry, Table

__all__ = ["DatasetError", "describe_dataset", "format_of"]

MOST_COLUMNS = 2000
MOST_JSON = 64_000_000
LONGEST_FIELD = 1_000_000
SQLITE_MAGIC = b"SQLite format 3\0"
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}
_TYPES: dict[Any, str] = {
    bool: "boolean", int: "integer", float: "number", str: "text", bytes: "blob", list: "list", dict: "object"
}  # fmt: skip


class DatasetError(ValueError):
    """A file is no dataset that can be read; says what was expected."""


def format_of(path: str) -> str | None:
    """Return the format that a file's name stands for, ``None`` if none that can be indexed."""
    return _FORMATS.get(PurePosixPath(path).suffix.lower())


def describe_dataset(copy: Path, path: str, sha256: str, size: int) -> DatasetEntry:
    """Return the schema of a dataset.

    Args:
        copy: The bytes to read, which nobody changes meanwhile.
        path: Where the dataset is, absolute; its suffix says the format.
        sha256: Of the bytes.
        size: Theirs.

    Raises:
        DatasetError: It is of no known format, or not what its name says.
        OSError: It cannot be read.
    """
    kind = format_of(path)
    try:
        if kind == "sqlite":
            tables = tuple(_sqlite(copy))
        elif kind in ("csv", "tsv"):
            tables = (_table("", _delimited(copy, "\t" if kind == "tsv" else ",")),)
        elif kind == "jsonl":
            tables = (_table("", _json_lines(copy)),)
        elif kind == "json":
            tables = (_table("", _json(copy)),)
        else:
            raise DatasetError(f"{path!r} is of no format that can be indexed: {', '.join(sorted(set(_FORMATS)))}")
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError, sqlite3.Error) as exc:
        raise DatasetError(f"{path!r} is not {kind}: {exc}") from exc
    return DatasetEntry(path, str(kind), sha256, size, tables)


class _Columns:
    """What the values of each column are, as rows come by."""

    def __init__(self) -> None:
        self.rows = 0
        self._types: dict[str, str] = {}
        self._given: dict[str, int] = {}

    def see(self, row: dict[str, Any]) -> None:
        """Take in one row."""
        self.rows += 1
        for name, value in row.items():
            if name not in self._types:
                if len(self._types) == MOST_COLUMNS:
                    raise DatasetError(f"expected at most {MOST_COLUMNS:,} columns, got more by row {self.rows:,}")
                self._types[name], self._given[name] = "unknown", 0
            if value is not None:
                self._given[name] += 1
                self._types[name] = _joined(self._types[name], _TYPES.get(type(value), "mixed"))

    def table(self, name: str) -> Table:
        """Return what was seen."""
        columns = [Column(column, kind, self.rows - self._given[column]) for column, kind in self._types.items()]
        return Table(name, self.rows, tuple(columns))


def _joined(before: str, now: str) -> str:
    if before in ("unknown", now):
        return now
    return "number" if {before, now} == {"integer", "number"} else "mixed"


def _table(name: str, rows: Iterable[dict[str, Any]]) -> Table:
    columns = _Columns()
    for row in rows:
        columns.see(row)
    return columns.table(name)


def _delimited(copy: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        with copy.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(rows, None)
            if header is None:
                return
            if len(set(header)) < len(header):
                raise DatasetError("expected a first row of column names, each once")
            for row in rows:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DatasetError(f"line {rows.line_num}: expected {len(header)} fields, got {len(row)}")
                yield dict(zip(header, map(_value, row), strict=True))
    finally:
        csv.field_size_limit(before)


def _value(text: str) -> Any:
    """Return what a field without a type is."""
    if not text:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            if "_" not in text:
                return kind(text)
        except ValueError:
            continue
    return text


def _json_lines(copy: Path) -> Iterator[dict[str, Any]]:
    with copy.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _as_row(json.loads(line), f"line {number}")


def _json(copy: Path) -> Iterator[dict[str, Any]]:
    if (size := copy.stat().st_size) > MOST_JSON:
        raise DatasetError(f"expected at most {MOST_JSON:,} bytes of JSON, got {size:,}; write it as lines (.jsonl)")
    with io.TextIOWrapper(copy.open("rb"), encoding="utf-8-sig") as file:
        found: Any = json.load(file)
    is_list = _TYPES.get(type(found)) == "list"
    for number, row in enumerate(found if is_list else [found], 1):
        yield _as_row(row, f"row {number}")


def _as_row(value: Any, where: str) -> dict[str, Any]:
    kind = _TYPES.get(type(value), "null")
    if kind != "object":
        raise DatasetError(f"{where}: expected an object, got {kind}")
    row: dict[str, Any] = value
    return row


def _sqlite(copy: Path) -> Iterator[Table]:
    with copy.open("rb") as file:
        if file.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
            raise DatasetError("is no SQLite file")
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        for (name,) in names:
            quoted = '"' + str(name).replace('"', '""') + '"'
            cursor = connection.execute(f"SELECT * FROM {quoted}")  # noqa: S608  # the table's own name, quoted
            header = [column[0] for column in cursor.description]
            yield _table(str(name), (dict(zip(header, row, strict=True)) for row in cursor))
