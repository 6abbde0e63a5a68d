"""The index on disk."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal, RiskFactor
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex, IndexStatistics, IndexUnusableError, Known
from aetherra.plugins.self_incorporation.index.rows import FileRecord, RefusalRecord
from aetherra.plugins.self_incorporation.index.walk import Stamp

STAMP = Stamp(10, 20, 30, 2**64 - 1)


def record(path: str, risk: float = 0.0, kind: FileKind = FileKind.UTILITY) -> FileRecord:
    return FileRecord(
        path=path,
        stamp=STAMP,
        rules="rules 1",
        indexed_at=5.5,
        sha256="ab" * 32,
        kind=kind,
        confidence=0.75,
        features=("suffix .py", 'a "quoted" one'),
        risk=risk,
        factors=(RiskFactor("network", 0.05, (1, 2)),),
        capabilities={"network": (1, 2)},
        imports=("os",),
        definitions=(Definition("A", "class", 3, ("B",), ("c",), ("d",)),),
        entry_points=("main()",),
        lines=9,
    )


REFUSED = RefusalRecord(Refusal("bad.py", "syntax_error", "line 1: no"), STAMP, "rules 1", 5.5)
FINDING = Finding("a.py", 3, "exec-of-decoded", "threat", "runs")


class TestCodeIndex:
    def test_what_is_written_is_read_back_whole(self, tmp_path: Path) -> None:
        """Every field survives the disk, and the closing of the index."""
        with CodeIndex(tmp_path / "index.sqlite3") as index:
            index.write("/root", [(record("a.py"), (FINDING,)), REFUSED])

        with CodeIndex(tmp_path / "index.sqlite3") as index:
            assert index.file("/root", "a.py") == record("a.py")
            assert index.findings("/root") == [FINDING]
            assert index.refusals("/root") == [REFUSED.refusal]
            assert index.known("/root") == {
                "a.py": Known(STAMP, "rules 1", 5.5, None),
                "bad.py": Known(STAMP, "rules 1", 5.5, REFUSED.refusal),
            }
            assert index.set_aside is None

    def test_a_new_entry_replaces_all_of_the_old(self) -> None:
        """A file that was fine and is refused leaves no finding behind, nor the other way round."""
        with CodeIndex(":memory:") as index:
            index.write("/root", [(record("bad.py"), (Finding("bad.py", 1, "x", "warning", ""),))])
            index.write("/root", [REFUSED])
            assert index.statistics() == IndexStatistics(roots=0, files=0, refusals=1, findings=0)

            index.write("/root", [(record("bad.py"), ())])
            assert index.statistics() == IndexStatistics(roots=1, files=1, refusals=0, findings=0)

    def test_roots_do_not_touch_each_other(self) -> None:
        """The same path under two roots is two files."""
        with CodeIndex(":memory:") as index:
            index.write("/one", [(record("a.py"), ())])
            index.write("/two", [(record("a.py"), ())])
            index.write("/one", [], gone=["a.py"])

            assert index.files("/one") == []
            assert index.files("/two") == [record("a.py")]

    def test_queries_filter_sort_and_stop(self) -> None:
        """Lists have an order and a bound."""
        with CodeIndex(":memory:") as index:
            files = [record("a.py", 0.2), record("b.py", 0.9), record("c.md", 0.0, FileKind.DOCS)]
            index.write("/root", [(file, (Finding(file.path, 1, "x", "info", ""),)) for file in files])

            assert [file.path for file in index.riskiest("/root")] == ["b.py", "a.py"]
            assert [file.path for file in index.files("/root", limit=2)] == ["a.py", "b.py"]
            assert [file.path for file in index.files("/root", kind=FileKind.DOCS)] == ["c.md"]
            assert index.kinds("/root") == {FileKind.DOCS: 1, FileKind.UTILITY: 2}
            assert index.severities("/root") == {"info": 3}
            assert index.findings("/root", severity="threat") == []


class TestUnusable:
    @pytest.mark.parametrize("damage", ["no database", "torn", "other schema"])
    def test_a_damaged_index_is_moved_aside_and_said_to_be(self, tmp_path: Path, damage: str) -> None:
        """Nothing is deleted, nothing is silent, and the new index works."""
        path = tmp_path / "index.sqlite3"
        if damage == "no database":
            path.write_bytes(b"not a database, but long enough to be read as one" * 100)
        elif damage == "torn":
            with CodeIndex(path) as index:
                index.write("/root", [(record(f"{n}.py"), ()) for n in range(500)])
            data = bytearray(path.read_bytes())
            data[4096:12288] = b"\xff" * 8192
            path.write_bytes(data)
        else:
            with closing(sqlite3.connect(path)) as connection:
                connection.executescript("CREATE TABLE files (a); PRAGMA user_version = 99;")
        before = path.read_bytes()

        with CodeIndex(path) as index:
            assert index.set_aside is not None
            assert index.set_aside.path == f"{path}.corrupt-1"
            assert Path(index.set_aside.path).read_bytes() == before
            index.write("/root", [(record("a.py"), ())])
            assert index.file("/root", "a.py") is not None

    def test_a_second_damage_does_not_overwrite_the_first(self, tmp_path: Path) -> None:
        """Each goes under a number of its own."""
        path = tmp_path / "index.sqlite3"
        for number in (1, 2):
            path.write_bytes(b"damage" * 1000)
            with CodeIndex(path) as index:
                assert index.set_aside is not None
                assert index.set_aside.path.endswith(f".corrupt-{number}")

    def test_a_place_that_cannot_hold_an_index_is_a_clear_error(self, tmp_path: Path) -> None:
        """A folder that is not there is no damage."""
        with pytest.raises(IndexUnusableError, match=r"index\.sqlite3' failed while opening: unable to open"):
            CodeIndex(tmp_path / "missing" / "index.sqlite3")

    def test_a_full_disk_is_a_clear_error_and_changes_nothing(self, tmp_path: Path) -> None:
        """A batch is written whole or not at all."""
        with CodeIndex(tmp_path / "index.sqlite3") as index:
            index.write("/root", [(record("a.py"), ())])
            pages = index._connection.execute("PRAGMA page_count").fetchone()[0]
            index._connection.execute(f"PRAGMA max_page_count = {pages}")

            with pytest.raises(IndexUnusableError, match="failed while writing: database or disk is full"):
                index.write("/root", [(record(f"{n}.py"), ()) for n in range(1000)], gone=["a.py"])

            assert [file.path for file in index.files("/root")] == ["a.py"]

    def test_a_closed_index_is_a_clear_error(self) -> None:
        """Not an error of SQLite's."""
        index = CodeIndex(":memory:")
        index.close()
        index.close()

        with pytest.raises(IndexUnusableError, match="reading"):
            index.known("/root")
