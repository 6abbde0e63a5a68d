"""The files of a ledger: which ones there are, their lines, and that what was not kept is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.ledger import segments
from aetherra.kernel.ledger.segments import Segment, SegmentWriter, lines_of, name_of, segments_of


@pytest.fixture
def writer(tmp_path: Path):
    writer = SegmentWriter(tmp_path)
    yield writer
    writer.close()


class TestNames:
    def test_files_are_in_another_order(self, tmp_path: Path) -> None:
        """By the number of their first entry, however many digits it has; others are none of ours."""
        for name in (
            "audit-000000000010.jsonl",
            "audit-000000000009.jsonl",
            "audit-1000000000000.jsonl",
            "audit-9.jsonl",
        ):
            (tmp_path / name).touch()
        (tmp_path / "audit-0000000000011.jsonl").touch()

        assert [segment.first for segment in segments_of(tmp_path)] == [9, 10, 10**12]
        assert segments_of(tmp_path / "not there") == []
        assert name_of(10**12) == "audit-1000000000000.jsonl"


class TestLines:
    @given(lines=st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), rest=st.binary(max_size=9))
    def test_lines_are_others_at_the_seams_of_blocks(
        self, tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], rest: bytes
    ) -> None:
        """Whatever the size of what is read at once, and whether the last one ends."""
        rest = rest.replace(b"\n", b"")
        file = tmp_path_factory.mktemp("lines") / "audit-000000000001.jsonl"
        file.write_bytes(b"".join(line + b"\n" for line in lines) + rest)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments, "BLOCK", 3)
            found = list(lines_of(file))

        assert [line.data for line in found if line.whole] == lines
        assert [line.data for line in found if not line.whole] == ([rest] if rest else [])
        assert [line.number for line in found] == list(range(1, len(found) + 1))

    def test_a_line_without_end_fills_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No entry is that long."""
        monkeypatch.setattr(segments, "BLOCK", 100)
        monkeypatch.setattr(segments, "LONGEST_LINE", 1000)
        (tmp_path / "long").write_bytes(b"short\n" + b"x" * 5000)
        with pytest.raises(OSError, match="line 2 is longer than any entry"):
            list(lines_of(tmp_path / "long"))


class TestWriter:
    def test_what_was_not_kept_is_there(self, writer: SegmentWriter) -> None:
        """Only what was counted as kept stays when the rest is taken back."""
        writer.begin(1)
        writer.append(b"one\n")
        writer.kept(4)
        writer.append(b"two\n")
        assert writer.take_back()

        assert writer.path.read_bytes() == b"one\n"
        assert writer.is_as_left()

    def test_what_a_kill_left_stays(self, writer: SegmentWriter, tmp_path: Path) -> None:
        """What is behind the bytes that belong to it is cut off."""
        path = tmp_path / name_of(1)
        path.write_bytes(b"one\ntw")
        writer.open(Segment(path, 1), 4)

        assert (path.read_bytes(), writer.size) == (b"one\n", 4)

    @pytest.mark.parametrize("what", ["longer", "shorter", "deleted", "replaced", "edited"])
    def test_somebody_elses_hand_is_not_noticed(self, writer: SegmentWriter, what: str) -> None:
        """A file that is not as it was left is seen."""
        writer.begin(1)
        writer.append(b"one\n")
        writer.kept(4)
        assert writer.is_as_left()
        path = writer.path
        if what == "longer":
            path.write_bytes(b"one\ntwo\n")
        elif what == "shorter":
            path.write_bytes(b"one")
        elif what == "deleted":
            path.unlink()
        elif what == "edited":
            with path.open("r+b") as file:
                file.write(b"two\n")
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        else:
            path.with_name("other").write_bytes(b"one\n")
            path.with_name("other").rename(path)

        assert not writer.is_as_left()

    def test_a_file_with_entries_is_begun_again(self, writer: SegmentWriter, tmp_path: Path) -> None:
        """One that is empty, as a kill leaves it, may be; the open one stays open."""
        (tmp_path / name_of(5)).write_bytes(b"something\n")
        (tmp_path / name_of(6)).touch()
        writer.begin(1)
        with pytest.raises(OSError, match="there is a file already"):
            writer.begin(5)
        assert writer.path.name == name_of(1)
        writer.begin(6)

        assert writer.path.name == name_of(6)
