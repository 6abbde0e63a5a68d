"""Schemas read off real files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.integration.catalogue import Column, Table
from aetherra.plugins.self_incorporation.integration.datasets import DatasetError, describe_dataset, format_of


def tables(path: Path) -> tuple[Table, ...]:
    return describe_dataset(path, str(path), "hash", path.stat().st_size).tables


class TestASchema:
    def test_of_delimited_text(self, tmp_path: Path) -> None:
        """Types are those of the values; a field that is empty is missing."""
        file = tmp_path / "a.csv"
        file.write_bytes(
            b'\xef\xbb\xbfid,price,ok,note,"odd, name"\r\n1,2,true,a,\r\n2,2.5,false,"b\nc",\r\n3,,TRUE,1,\r\n'
        )
        assert tables(file) == (
            Table(
                "",
                3,
                (
                    Column("id", "integer"),
                    Column("price", "number", 1),
                    Column("ok", "boolean"),
                    Column("note", "mixed"),
                    Column("odd, name", "unknown", 3),
                ),
            ),
        )

    def test_of_json(self, tmp_path: Path) -> None:
        """A list of objects, an object, or objects by line; a field that is not there is missing."""
        rows = '{"a": 1, "b": null}', '{"a": 1.5, "c": [1], "d": {}}'
        (tmp_path / "a.json").write_text(f"[{rows[0]}, {rows[1]}]", encoding="utf-8")
        (tmp_path / "a.jsonl").write_text(f"{rows[0]}\n\n{rows[1]}\n", encoding="utf-8")
        expected = (
            Column("a", "number"),
            Column("b", "unknown", 2),
            Column("c", "list", 1),
            Column("d", "object", 1),
        )
        assert tables(tmp_path / "a.json") == tables(tmp_path / "a.jsonl") == (Table("", 2, expected),)

    def test_of_sqlite(self, tmp_path: Path) -> None:
        """Each table, whatever its name; the file is only read."""
        path = tmp_path / "a.db"
        connection = sqlite3.connect(path)
        connection.executescript(
            'CREATE TABLE "odd ""name" (a, b); INSERT INTO "odd ""name" VALUES (1, x\'00\'), (2, NULL);'
        )
        connection.executescript("CREATE TABLE empty (x INTEGER);")
        connection.close()
        before = path.read_bytes()
        assert tables(path) == (
            Table("empty", 0, ()),
            Table('odd "name', 2, (Column("a", "integer"), Column("b", "blob", 1))),
        )
        assert path.read_bytes() == before
        assert [found.name for found in tmp_path.iterdir()] == ["a.db"]

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.csv", b"a,b\n1\n", "line 2: expected 2 fields, got 1"),
            ("a.csv", b"a,a\n1,2\n", "each once"),
            ("a.csv", b"a\n\xff\n", "utf-8"),
            ("a.jsonl", b"[1]\n", "line 1: expected an object, got list"),
            ("a.json", b"[" * 200_000, "not json"),
            ("a.json", b"{", "not json"),
            ("a.db", b"nothing", "no SQLite"),
            ("a.db", b"SQLite format 3\0" + b"x" * 5000, "not sqlite"),
            ("a.xyz", b"", "no format"),
        ],
    )
    def test_of_what_is_none_says_what_was_expected(
        self, tmp_path: Path, name: str, content: bytes, expected: str
    ) -> None:
        """Wherever it is wrong."""
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(DatasetError, match=expected):
            tables(file)

    def test_goes_by_the_name(self) -> None:
        """Of the file, in any case."""
        assert (format_of("x/A.CSV"), format_of("a.ndjson"), format_of("a.py")) == ("csv", "jsonl", None)
