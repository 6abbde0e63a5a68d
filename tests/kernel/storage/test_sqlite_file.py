"""A SQLite file of ours: any schema, brought up from older ones, and set aside when it is something else."""

import sqlite3
from pathlib import Path

import pytest

from aetherra.kernel.storage.sqlite_file import Schema, connected, open_sqlite


def second(db: sqlite3.Connection) -> None:
    db.execute(TWO.tables["names"])
    db.execute("INSERT INTO names SELECT id, 'number ' || id FROM things")
    db.execute("DROP TABLE things")


def third(db: sqlite3.Connection) -> None:
    db.execute(THREE.tables["by_name"])


ONE = Schema("catalogue", 1, {"things": "CREATE TABLE things (id INTEGER PRIMARY KEY)"})
TWO = Schema(
    kind="catalogue",
    number=2,
    tables={"names": "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'wrong'))"},
    text=("SELECT name FROM names",),
    older=ONE,
    upgrade=second,
)
THREE = Schema(
    kind="catalogue",
    number=3,
    tables={**TWO.tables, "by_name": "CREATE INDEX by_name ON names (name)"},
    text=TWO.text,
    older=TWO,
    upgrade=third,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalogue.sqlite3"


def filled(file: Path, schema: Schema, *statements: str) -> None:
    db = open_sqlite(file, schema).db
    for statement in statements:
        db.execute(statement)
    db.close()


class TestOpening:
    def test_a_new_file_is_of_the_newest_schema(self, file: Path) -> None:
        """Nothing is upgraded that never was older, and folder and file are made."""
        opened = open_sqlite(file, THREE)
        assert (opened.set_aside, opened.reason) == (None, "")
        assert opened.db.execute("PRAGMA user_version").fetchone() == (3,)
        assert opened.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        opened.db.close()
        filled(file, THREE, "INSERT INTO names VALUES (1, 'one')")

    @pytest.mark.parametrize("schema", [TWO, THREE], ids=["by one", "by two"])
    def test_an_older_file_is_upgraded(self, file: Path, schema: Schema) -> None:
        """All steps from the file's schema to ours are taken, and what it held is there."""
        filled(file, ONE, "INSERT INTO things VALUES (7)")
        opened = open_sqlite(file, schema)
        assert opened.set_aside is None
        assert opened.db.execute("SELECT * FROM names").fetchall() == [(7, "number 7")]
        assert opened.db.execute("PRAGMA user_version").fetchone() == (schema.number,)
        opened.db.close()
        filled(file, schema, "INSERT INTO names VALUES (8, 'eight')")

    def test_an_upgrade_that_fails_changes_nothing(self, file: Path) -> None:
        """Upgrading is one transaction: the file opens as before with the code of before."""
        filled(file, ONE, "INSERT INTO things VALUES (7)")

        def broken(db: sqlite3.Connection) -> None:
            second(db)
            raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            open_sqlite(file, Schema("catalogue", 2, TWO.tables, older=ONE, upgrade=broken))
        opened = open_sqlite(file, ONE)
        assert opened.db.execute("SELECT * FROM things").fetchall() == [(7,)]
        opened.db.close()

    def test_another_connection_reads_what_is_written(self, file: Path) -> None:
        """A second connection sees each commit of the first."""
        opened = open_sqlite(file, ONE)
        other = connected(file)
        opened.db.execute("INSERT INTO things VALUES (7)")
        assert other.execute("SELECT * FROM things").fetchall() == [(7,)]
        other.close()
        opened.db.close()


class TestSettingAside:
    @pytest.mark.parametrize(
        "statement",
        ["PRAGMA user_version = 4", "PRAGMA user_version = 1", "CREATE TABLE other (x)", "DROP INDEX by_name"],
    )
    def test_another_schema_goes_aside_whole(self, file: Path, statement: str) -> None:
        """A later number, one whose tables are not its own, a table too many or too few: none is written into."""
        filled(file, THREE, statement)
        content = file.read_bytes()
        opened = open_sqlite(file, THREE)
        assert opened.set_aside == file.with_name("catalogue.sqlite3.corrupt-1")
        assert opened.set_aside.read_bytes() == content
        assert "expected a catalogue of schema 3, got schema" in opened.reason
        assert opened.db.execute("SELECT * FROM names").fetchall() == []
        opened.db.close()

    def test_text_that_is_none_goes_aside(self, file: Path) -> None:
        """Bytes that are no UTF-8 are found at opening, not at the first read of that row."""
        filled(file, TWO, "INSERT INTO names VALUES (1, 'naming')")
        file.write_bytes(file.read_bytes().replace(b"naming", b"nami\xffg"))
        opened = open_sqlite(file, TWO)
        assert opened.set_aside is not None
        assert "utf-8" in opened.reason
        opened.db.close()

    def test_a_row_that_breaks_a_check_goes_aside(self, file: Path) -> None:
        """A sound tree of pages with content that was never written by us is damage."""
        filled(file, TWO, "INSERT INTO names VALUES (1, 'right')")
        file.write_bytes(file.read_bytes().replace(b"right", b"wrong"))
        opened = open_sqlite(file, TWO)
        assert opened.set_aside is not None
        assert "CHECK constraint" in opened.reason
        opened.db.close()
