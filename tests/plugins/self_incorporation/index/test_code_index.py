"""The index on disk."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from aetherra.plugins.self_incorporation.code.classifier import Feature, FileKind, HeuristicClassifier
from aetherra.plugins.self_incorporation.code.declared import Handler
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal, RiskFactor
from aetherra.plugins.self_incorporation.code.script import Script
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex, IndexStatistics, Known
from aetherra.plugins.self_incorporation.index.index_file import INDEX
from aetherra.plugins.self_incorporation.index.report import LeftOut
from aetherra.plugins.self_incorporation.index.rows import FileRecord, RefusalRecord
from aetherra.plugins.self_incorporation.index.walk import Stamp
from aetherra.plugins.storage import DatabaseUnusableError

STAMP = Stamp(10, 20, 30, 2**64 - 1)
SHA = "ab" * 32


def record(path: str, risk: float = 0.0, kind: FileKind = FileKind.UTILITY) -> FileRecord:
    return FileRecord(
        path=path,
        stamp=STAMP,
        rules="rules 1",
        indexed_at=5.5,
        sha256=SHA,
        kind=kind,
        confidence=0.75,
        features=("suffix .py", 'a "quoted" one'),
        risk=risk,
        factors=(RiskFactor("network", 0.05, (1, 2)),),
        capabilities={"network": (1, 2)},
        imports=("os",),
        definitions=(
            Definition("f", "function", 2),
            Definition(
                "A",
                "class",
                3,
                ("B",),
                ("c",),
                ("d",),
                {"name": "a", "requires": ("x",), "exclusive": True, "heartbeat": 2.0, "service": None},
                {"tag": "a.b"},
                (Handler("d", "E"),),
            ),
        ),
        entry_points=("main()",),
        lines=9,
        evidence=(Feature("suffix .md", FileKind.DOCS, 4.0),),
        imported=("os.path",),
        version="1.2",
        script=Script(("rich",), ">=3", ""),
    )


REFUSED = RefusalRecord(Refusal("deep/bad.py", "syntax_error", "line 1: no"), STAMP, "rules 1", 5.5)
FINDING = Finding("a.py", 3, "exec-of-decoded", "threat", "runs")
LEFT_OUT = LeftOut((".git",), (Refusal("shut", "unreadable", "no"),))


def filled(index: CodeIndex) -> None:
    index.write("/root", [(record("a.py"), (FINDING,)), (record("deep/b.py", 0.5), ()), REFUSED])
    index.write("/other", [(record("a.py"), ())])
    index.note("/root", weights="w", left_out=LEFT_OUT)


def check_filled(index: CodeIndex) -> None:
    """Check that all that `filled` wrote is there."""
    assert index.files("/root") == [record("a.py"), record("deep/b.py", 0.5)]
    assert index.file("/other", "a.py") == record("a.py")
    assert index.findings("/root") == [FINDING]
    assert index.findings("/other") == []
    assert index.refusals("/root") == [REFUSED.refusal]
    assert index.known("/root", "deep") == {
        "deep/b.py": Known(STAMP, "rules 1", 5.5, SHA, None),
        "deep/bad.py": Known(STAMP, "rules 1", 5.5, "", REFUSED.refusal),
    }
    assert (index.weights("/root"), index.left_out("/root")) == ("w", LEFT_OUT)
    assert (index.weights("/other"), index.left_out("/other")) == ("", LeftOut())


class TestCodeIndex:
    def test_what_is_written_is_read_back_whole(self, tmp_path: Path) -> None:
        """Every field survives the disk, and the closing of the index."""
        with CodeIndex(tmp_path / "index.sqlite3") as index:
            filled(index)

        with CodeIndex(tmp_path / "index.sqlite3") as index:
            check_filled(index)
            assert index.set_aside is None

    def test_a_new_entry_replaces_all_of_the_old(self) -> None:
        """A file that was fine and is refused leaves no finding behind, nor the other way round."""
        with CodeIndex(":memory:") as index:
            index.write("/root", [(record("deep/bad.py"), (Finding("deep/bad.py", 1, "x", "warning", ""),))])
            index.write("/root", [REFUSED])
            assert index.statistics() == IndexStatistics(roots=0, files=0, refusals=1, findings=0)

            index.write("/root", [(record("deep/bad.py"), ())])
            assert index.statistics() == IndexStatistics(roots=1, files=1, refusals=0, findings=0)

    def test_what_is_gone_leaves_nothing_behind(self) -> None:
        """Neither a file nor a folder leaves findings or refusals; a folder takes none with it that lie deeper."""
        with CodeIndex(":memory:") as index:
            filled(index)
            index.write("/root", [(record("deep/er/c.py"), ()), (record("deeper/c.py"), ())])

            index.write("/root", [], gone=["a.py"], gone_folders=["deep"])

            assert [file.path for file in index.files("/root")] == ["deep/er/c.py", "deeper/c.py"]
            assert index.refusals("/root") == []
            assert index.statistics().findings == 0
            assert index.folders("/root") == {"deep/er", "deeper"}

    def test_roots_do_not_touch_each_other(self) -> None:
        """The same path under two roots is two files."""
        with CodeIndex(":memory:") as index:
            index.write("/one", [(record("a.py"), ())])
            index.write("/two", [(record("a.py"), ())])
            index.write("/one", [], gone=["a.py"])

            assert index.files("/one") == []
            assert index.files("/two") == [record("a.py")]

    def test_a_root_that_is_forgotten_leaves_bit_by_bit_and_stays_gone(self, tmp_path: Path) -> None:
        """No step drops more than it may; at the end nothing of it is there, nor comes back from the backup."""
        with CodeIndex(tmp_path / "index.sqlite3") as index:
            filled(index)
            left = []
            while not index.forget("/root", at_most=1):
                left.append(sum(index.counts("/root")))

            assert left == [2, 1, 0]
            assert index.roots() == ["/other"]
            assert index.statistics() == IndexStatistics(roots=1, files=1, refusals=0, findings=0)
            assert index.left_out("/root") == LeftOut()
        (tmp_path / "index.sqlite3").unlink()
        with CodeIndex(tmp_path / "index.sqlite3") as index:
            assert index.roots() == ["/other"]
            assert index.forget("/never")

    def test_queries_filter_sort_and_stop(self) -> None:
        """Lists have an order and a bound."""
        with CodeIndex(":memory:") as index:
            files = [record("a.py", 0.2), record("b.py", 0.9), record("c.md", 0.0, FileKind.DOCS)]
            index.write("/root", [(file, (Finding(file.path, 1, "x", "info", ""),)) for file in files])

            assert [file.path for file in index.riskiest("/root")] == ["b.py", "a.py"]
            assert [file.path for file in index.files("/root", limit=2)] == ["a.py", "b.py"]
            assert [file.path for file in index.files("/root", after="a.py")] == ["b.py", "c.md"]
            assert [file.path for file in index.files("/root", kind=FileKind.DOCS)] == ["c.md"]
            assert index.kinds("/root") == {FileKind.DOCS: 1, FileKind.UTILITY: 2}
            assert index.severities("/root") == {"info": 3}
            assert index.findings("/root", severity="threat") == []
            assert [finding.path for finding in index.findings_of("/root", "b.py")] == ["b.py"]
            assert (index.counts("/root"), index.counts("/root", folder="x")) == ((3, 0), (0, 0))

    def test_a_folder_is_asked_for_by_itself(self) -> None:
        """What only begins alike does not lie in it."""
        paths = ["deep.py", "deep/a.py", "deep/er/b.py", "deep0/c.py", "deeper/d.py"]
        with CodeIndex(":memory:") as index:
            index.write("/root", [(record(path), (Finding(path, 1, "x", "info", ""),)) for path in paths])
            refused = [replace(REFUSED, refusal=Refusal(f"{path}c", "symlink", "")) for path in paths]
            index.write("/root", refused)

            below = ["deep/a.py", "deep/er/b.py"]
            assert [file.path for file in index.files("/root", below="deep")] == below
            assert [finding.path for finding in index.findings("/root", below="deep")] == below
            assert [refusal.path for refusal in index.refusals("/root", below="deep")] == [f"{it}c" for it in below]
            assert list(index.paths("/root", below="deep")) == below

    def test_many_records_come_page_by_page(self) -> None:
        """All of them, once, in order, without all being held."""
        with CodeIndex(":memory:") as index:
            paths = sorted(f"{folder}/{number:03}.py" for folder in "abc" for number in range(300))
            index.write("/root", [(record(path), ()) for path in paths])

            assert [file.path for file in index.records("/root")] == paths
            assert [file.path for file in index.records("/root", below="b")] == paths[300:600]
            assert list(index.paths("/root")) == paths

    def test_files_are_classified_anew_from_what_is_known_of_them(self, tmp_path: Path) -> None:
        """No file is read, findings stay, and the backup knows of it."""
        path = tmp_path / "index.sqlite3"
        with CodeIndex(path) as index:
            filled(index)
            assert index.reclassify("/root", HeuristicClassifier().score) == 2
            assert index.reclassify("/root", HeuristicClassifier().score) == 0

            assert index.kinds("/root") == {FileKind.DOCS: 2}
            assert index.kinds("/other") == {FileKind.UTILITY: 1}
            assert index.findings("/root") == [FINDING]
            known = index.file("/root", "a.py")
        path.unlink()
        with CodeIndex(path) as index:
            assert index.file("/root", "a.py") == known

    def test_a_revision_tells_of_every_change_of_its_root(self) -> None:
        """New files, files that are gone, refusals and other weights; and of nothing else."""
        with CodeIndex(":memory:") as index:
            filled(index)
            seen = [index.revision("/root")]
            index.write("/other", [], gone=["x.py"])
            assert index.revision("/root") == seen[0]
            for change in (
                lambda: index.write("/root", [(record("new.py"), ())]),
                lambda: index.write("/root", [], gone=["new.py"]),
                lambda: index.write("/root", [REFUSED], gone=["a.py"]),
                lambda: index.note("/root", weights="other"),
            ):
                change()
                seen.append(index.revision("/root"))

        assert seen[2] == seen[0] and len(set(seen)) == 4

    def test_what_is_asked_of_an_unknown_root_is_empty(self) -> None:
        """It is no error: a root is known from its first scan on."""
        with CodeIndex(":memory:") as index:
            assert (index.files("/x"), index.refusals("/x"), index.folders("/x")) == ([], [], set())
            assert (index.left_out("/x"), index.weights("/x"), index.counts("/x")) == (LeftOut(), "", (0, 0))


class TestRebuilding:
    @pytest.mark.parametrize("damage", ["gone", "no database", "torn"])
    def test_an_index_that_is_lost_is_rebuilt_whole(self, tmp_path: Path, damage: str) -> None:
        """From its backup, and it is said; what was damaged is kept beside it."""
        path = tmp_path / "index.sqlite3"
        with CodeIndex(path) as index:
            filled(index)
            index.write("/root", [(record(f"{number}.py"), ()) for number in range(500)])
            index.write("/root", [], gone=[f"{number}.py" for number in range(500)])
        if damage == "gone":
            path.unlink()
        elif damage == "no database":
            path.write_bytes(b"not a database, but long enough to be read as one" * 100)
        else:
            data = bytearray(path.read_bytes())
            data[4096:12288] = b"\xff" * 8192
            path.write_bytes(data)
        told: list[str] = []

        with CodeIndex(path, told.append) as index:
            check_filled(index)
            assert (index.set_aside is None) == (damage == "gone")
        assert told == ["the code index was rebuilt from its backup: 4 files"]
        with CodeIndex(path, told.append) as index:
            check_filled(index)
        assert len(told) == 1

    def test_an_index_that_is_damaged_while_in_use_is_rebuilt_at_the_next_question(self, tmp_path: Path) -> None:
        """The call that meets the damage raises; the index is whole again for the one after."""
        path = tmp_path / "index.sqlite3"
        with CodeIndex(path) as index:
            filled(index)
        with CodeIndex(path) as index:
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(b"\xff" * (size - 4096))
            index._database._reader.execute("PRAGMA shrink_memory")

            with pytest.raises(DatabaseUnusableError, match="a new one begun"):
                index.files("/root")
            check_filled(index)

    def test_a_restart_in_the_midst_of_rebuilding_rebuilds_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of the backup is taken in, or nothing."""
        path = tmp_path / "index.sqlite3"
        with CodeIndex(path) as index:
            filled(index)
        path.unlink()
        with monkeypatch.context() as patch:
            patch.setattr("aetherra.plugins.self_incorporation.index.code_index.refusal_row", None)
            with pytest.raises(TypeError):
                CodeIndex(path)

        with CodeIndex(path) as index:
            check_filled(index)

    def test_a_backup_that_is_lost_is_written_anew(self, tmp_path: Path) -> None:
        """At the next start, so that there is always one."""
        path, backup = tmp_path / "index.sqlite3", tmp_path / "index.jsonl"
        with CodeIndex(path) as index:
            filled(index)
        backup.unlink()
        CodeIndex(path).close()
        path.unlink()

        with CodeIndex(path) as index:
            check_filled(index)

    def test_a_backup_that_misses_the_end_is_written_anew(self, tmp_path: Path) -> None:
        """A kill between the commit and the append leaves it a transaction behind."""
        path, backup = tmp_path / "index.sqlite3", tmp_path / "index.jsonl"
        with CodeIndex(path) as index:
            filled(index)
            behind = backup.read_bytes()
            index.write("/root", [(record("late.py"), ())])
        for torn in (behind, behind + b"00000000 {", b""):
            backup.write_bytes(torn)
            CodeIndex(path).close()
            aside = path.rename(tmp_path / "aside")
            with CodeIndex(path) as index:
                assert index.file("/root", "late.py") is not None
            path.unlink()
            aside.rename(path)

    def test_a_backup_that_cannot_be_written_stops_nothing(self, tmp_path: Path) -> None:
        """It is said, once, and made up for as soon as that is possible."""
        path, backup = tmp_path / "index.sqlite3", tmp_path / "index.jsonl"
        backup.mkdir()
        told: list[str] = []
        with CodeIndex(path, told.append) as index:
            filled(index)
            index.sync()
            assert "directory" in index.backup_problem
            check_filled(index)
            backup.rmdir()
            index.sync()
            assert index.backup_problem == ""
        assert [text.partition(":")[0] for text in told if "behind" in text] == [
            "the backup of the code index cannot be written and is behind"
        ]
        path.unlink()
        with CodeIndex(path) as index:
            check_filled(index)

    def test_a_backup_does_not_grow_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that changes again and again leaves old lines, which go when they are most of it."""
        monkeypatch.setattr("aetherra.plugins.self_incorporation.index.backup._SLACK", 10_000)
        path, backup = tmp_path / "index.sqlite3", tmp_path / "index.jsonl"
        sizes: list[int] = []
        for _ in range(5):
            with CodeIndex(path) as index:
                filled(index)
                for number in range(20):
                    index.write("/root", [(replace(record("a.py"), indexed_at=float(number)), (FINDING,))])
                    index.sync()
            sizes.append(backup.stat().st_size)

        assert max(sizes) < 25_000
        path.unlink()
        with CodeIndex(path) as index:
            assert index.file("/root", "a.py") == replace(record("a.py"), indexed_at=19.0)

    def test_an_index_in_memory_has_no_backup(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is written anywhere."""
        monkeypatch.chdir(tmp_path)
        with CodeIndex(":memory:") as index:
            filled(index)
            index.sync()
            check_filled(index)

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are looked up in /proc")
    def test_an_index_in_memory_does_not_stay_there_when_it_grows(self, tmp_path: Path) -> None:
        """A scan of a large tree by a host that keeps nothing must not need room for all of it."""
        with CodeIndex(":memory:") as index:
            for folder in range(40):
                index.write("/root", [(record(f"{folder}/{number}.py"), ()) for number in range(256)])
                index.write("/other", [(record(f"{folder}/{number}.py"), ()) for number in range(256)])

            assert unnamed_bytes() > 5_000_000
            assert index.counts("/root") == (40 * 256, 0)
        assert unnamed_bytes() == 0

    def test_an_index_is_in_memory_where_nothing_can_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A system without any folder for temporary files has one all the same."""

        def nowhere() -> str:
            raise FileNotFoundError("no usable temporary directory found")

        monkeypatch.setattr("aetherra.plugins.self_incorporation.index.code_index.gettempdir", nowhere)
        with CodeIndex(":memory:") as index:
            filled(index)
            check_filled(index)


def unnamed_bytes() -> int:
    """Return how large the files are that SQLite has open and that nobody else could open."""
    total = 0
    for entry in list(os.scandir("/proc/self/fd")):
        with suppress(OSError):
            if "etilqs" in str(Path(entry.path).readlink()):  # how SQLite names them
                total += entry.stat().st_size
    return total


class TestSchemas:
    def test_an_index_of_the_first_schema_is_begun_anew_in_its_place(self, tmp_path: Path) -> None:
        """It lacks most of what is kept now, so all files are read again; it is no damage."""
        path = tmp_path / "index.sqlite3"
        assert INDEX.older is not None
        with closing(sqlite3.connect(path)) as db:
            for create in INDEX.older.tables.values():
                db.execute(create)
            db.execute("INSERT INTO findings VALUES ('/root', 'a.py', 1, 'x', 'info', '')")
            db.execute("PRAGMA user_version = 1")
            db.commit()

        with CodeIndex(path) as index:
            assert index.set_aside is None
            assert index.statistics() == IndexStatistics(0, 0, 0, 0)
            filled(index)
            check_filled(index)

    def test_an_index_of_another_schema_is_moved_aside_and_said_to_be(self, tmp_path: Path) -> None:
        """Nothing is deleted, and the new index works."""
        path = tmp_path / "index.sqlite3"
        with closing(sqlite3.connect(path)) as db:
            db.executescript("CREATE TABLE files (a); PRAGMA user_version = 99;")
        before = path.read_bytes()

        with CodeIndex(path) as index:
            assert index.set_aside is not None
            assert index.set_aside.path == f"{path}.corrupt-1"
            assert Path(index.set_aside.path).read_bytes() == before
            filled(index)
            check_filled(index)


class TestUnusable:
    def test_a_place_that_cannot_hold_an_index_is_a_clear_error(self, tmp_path: Path) -> None:
        """A file where its folder should be is no damage."""
        (tmp_path / "file").touch()

        with pytest.raises(DatabaseUnusableError, match=r"code index at .*index\.sqlite3 could not be opened"):
            CodeIndex(tmp_path / "file" / "index.sqlite3")

    def test_a_full_disk_is_a_clear_error_and_changes_nothing(self, tmp_path: Path) -> None:
        """A batch is written whole or not at all, and the backup has none of it."""
        path = tmp_path / "index.sqlite3"
        with CodeIndex(path) as index:
            index.write("/root", [(record("a.py"), ())])
            before = path.with_suffix(".jsonl").read_bytes()
            pages = index._database._writer.execute("PRAGMA page_count").fetchone()[0]
            index._database._writer.execute(f"PRAGMA max_page_count = {pages}")

            with pytest.raises(DatabaseUnusableError, match="could not be written: database or disk is full"):
                index.write("/root", [(record(f"{n}.py"), ()) for n in range(1000)], gone=["a.py"])

            assert [file.path for file in index.files("/root")] == ["a.py"]
            assert path.with_suffix(".jsonl").read_bytes() == before

    def test_a_closed_index_is_a_clear_error(self) -> None:
        """Closing it twice is none."""
        index = CodeIndex(":memory:")
        index.close()
        index.close()

        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            index.files("/root")
