"""The lines that an index is rebuilt from."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.index.backup import Backup, DroppedLine, Line, RefusalLine, RootLine
from aetherra.plugins.self_incorporation.index.report import LeftOut
from aetherra.plugins.self_incorporation.index.rows import RefusalRecord
from aetherra.plugins.self_incorporation.index.walk import Stamp

LINES: list[Line] = [
    RootLine("/root", "w", LeftOut((".git",))),
    *(
        RefusalLine("/root", RefusalRecord(Refusal(f"{number}.py", "symlink", "é\n"), Stamp(1, 2, 3, 4), "r", 5.0))
        for number in range(5)
    ),
    DroppedLine("/root", "0.py"),
    DroppedLine("/root", "pkg", folder=True),
]


class TestBackup:
    def test_lines_are_read_back_as_they_were_written(self, tmp_path: Path) -> None:
        """In their order, over as many transactions as there were; the last one's number stands at the end."""
        backup = Backup(tmp_path / "b.jsonl")
        backup.append(LINES[:3], 1)
        backup.append(LINES[3:], 2)
        backup.close()

        again = Backup(tmp_path / "b.jsonl")
        assert (list(again.lines()), again.writes(), again.damaged) == (LINES, 2, 0)

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_a_changed_byte_costs_no_more_than_its_line(self, data: st.DataObject) -> None:
        """And no line is believed that is not as it was written, even if it can be read."""
        with TemporaryDirectory() as folder:
            backup = Backup(Path(folder) / "b.jsonl")
            backup.rewrite(LINES, 7)
            content = bytearray(backup.path.read_bytes())
            head = content.index(b"\n") + 1
            place = data.draw(st.integers(head, len(content) - 1))
            content[place] ^= data.draw(st.integers(1, 255))
            backup.path.write_bytes(content)

            found = list(backup.lines())

            assert [line for line in LINES if line in found] == found
            assert len(found) >= len(LINES) - 2  # a newline that is gone joins two lines
            assert len(found) == len(LINES) or backup.damaged

    @pytest.mark.parametrize("content", [b"", b"something else\n", b"00000000 {}\n", b"\0" * 100])
    def test_a_file_that_is_no_backup_has_nothing(self, tmp_path: Path, content: bytes) -> None:
        """Nothing of it is believed."""
        backup = Backup(tmp_path / "b.jsonl")
        backup.path.write_bytes(content + b"x" * 10)

        assert (list(backup.lines()), backup.writes(), backup.damaged) == ([], 0, 1)

    def test_a_torn_end_is_not_taken_for_the_last_transaction(self, tmp_path: Path) -> None:
        """What came before it is there, and what comes after it is whole."""
        backup = Backup(tmp_path / "b.jsonl")
        backup.append(LINES[:3], 1)
        backup.close()
        whole = backup.path.read_bytes()
        backup.append(LINES[3:], 2)
        backup.close()
        torn = backup.path.read_bytes()[: len(whole) + 40]
        backup.path.write_bytes(torn)

        assert (backup.writes(), list(backup.lines()), backup.damaged) == (1, LINES[:3], 1)
        backup.append(LINES[3:], 2)
        assert (list(backup.lines()), backup.writes()) == (LINES, 2)

    def test_lines_are_not_appended_to_what_is_gone(self, tmp_path: Path) -> None:
        """It would look whole, and be a part."""
        backup = Backup(tmp_path / "b.jsonl")
        backup.append(LINES, 1)
        backup.path.unlink()

        with pytest.raises(DataFileError, match="it is gone"):
            backup.append(LINES, 2)
        assert backup.is_overgrown

    def test_a_rewrite_that_fails_leaves_what_stood_there(self, tmp_path: Path) -> None:
        """It is put in place as a whole."""
        backup = Backup(tmp_path / "b.jsonl")
        backup.append(LINES[:2], 1)
        before = backup.path.read_bytes()

        with pytest.raises(ZeroDivisionError):
            backup.rewrite((LINES[1 // number] for number in (1, 0)), 2)
        assert backup.path.read_bytes() == before
        assert backup.writes() == 1
