"""A value on disk: kept, replaced as a whole, put aside where it is none, and refused where the disk is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import DataFileError
from aetherra.kernel.storage.state_file import StateFile, encoded


class Shelf(msgspec.Struct, frozen=True):
    books: dict[str, int] = {}


def shelf_at(folder: Path) -> StateFile[Shelf]:
    return StateFile(folder / "shelf.json", Shelf)


class TestStateFile:
    def test_a_value_is_lost(self, tmp_path: Path) -> None:
        """What was saved last is what is loaded, by this object and by the next."""
        assert shelf_at(tmp_path).load() is None
        file = shelf_at(tmp_path)
        file.save(Shelf({"Moby Dick": 1}))
        file.save(Shelf({"Moby Dick": 2}))

        assert file.load() == shelf_at(tmp_path).load() == Shelf({"Moby Dick": 2})
        assert (tmp_path / "shelf.json").stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("found", [b"", b"{", b'{"books": {"a": "b"}}', b"\xff\xfe", b"[" * 100_000, b"null"])
    def test_an_unreadable_value_is_lost_or_used(self, tmp_path: Path, found: bytes) -> None:
        """What is no such value is moved aside as it is, said, and never written over."""
        path = tmp_path / "shelf.json"
        for number in (1, 2):
            path.write_bytes(found)
            file = shelf_at(tmp_path)

            assert file.load() is None
            assert file.set_aside == tmp_path / f"shelf.json.corrupt-{number}"
            assert str(file.set_aside) in file.problem
            assert file.set_aside.read_bytes() == found
            assert not path.exists()

    def test_packed_numbers_are_text(self, tmp_path: Path) -> None:
        """Packed, the file is MessagePack and nothing else, and what is none is moved aside as text would be."""
        path = tmp_path / "shelf.packed"
        file = StateFile(path, Shelf, packed=True)
        file.save(Shelf({"Moby Dick": 1}))

        assert msgspec.msgpack.decode(path.read_bytes()) == {"books": {"Moby Dick": 1}}
        assert file.load() == Shelf({"Moby Dick": 1})
        path.write_bytes(b'{"books": {}}')
        assert file.load() is None
        assert file.set_aside == tmp_path / "shelf.packed.corrupt-1"

    def test_what_cannot_be_moved_keeps_its_owner_from_beginning_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who can do without the value is told that it is not moved aside, and goes on."""

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        shelf_at(tmp_path).save(Shelf())
        file = shelf_at(tmp_path)
        monkeypatch.setattr(Path, "replace", refuse)
        file.begin_anew("it is of no use")

        assert "it is of no use" in file.problem
        assert "nor moved aside: Permission denied" in file.problem

    def test_nothing_can_be_kept(self) -> None:
        """Without a path it neither keeps nor fails."""
        file = StateFile(None, Shelf)
        file.save(Shelf())
        file.put_aside("no reason")

        assert file.load() is None

    def test_a_failed_write_takes_the_value_before(self, tmp_path: Path) -> None:
        """Where the file cannot be written, the error names it and the value before stands."""
        folder = tmp_path / "library"
        folder.mkdir()
        file = shelf_at(folder)
        file.save(Shelf({"a": 1}))
        (folder / "shelf.json.new").mkdir()

        with pytest.raises(DataFileError, match=r"shelf\.json"):
            file.save(Shelf({"a": 2}))
        assert file.load() == Shelf({"a": 1})

    def test_a_kill_leaves_half_a_value(self, tmp_path: Path) -> None:
        """A process that is killed while it saves leaves a value that was saved."""
        code = (
            "import sys\nfrom pathlib import Path\nfrom aetherra.kernel.storage.state_file import StateFile\n"
            "file = StateFile(Path(sys.argv[1]), dict[str, int])\nnumber = 0\n"
            "while True:\n    number += 1\n    file.save({str(key): number for key in range(2000)})\n"
            "    print(number, flush=True)\n"
        )
        path = tmp_path / "numbers.json"
        for _ in range(5):
            process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(3)]
            os.kill(process.pid, signal.SIGKILL)
            told += [int(line) for line in process.stdout.read().splitlines()]
            process.wait()
            process.stdout.close()
            kept = StateFile(path, dict[str, int]).load()

            assert kept is not None
            assert len(kept) == 2000
            assert len(set(kept.values())) == 1
            assert kept["0"] >= told[-1]

    @given(st.dictionaries(st.text(), st.integers(-(2**63), 2**63 - 1)))
    def test_the_same_value_is_other_bytes(self, books: dict[str, int]) -> None:
        """The order in which a mapping was filled does not show."""
        assert encoded(Shelf(books)) == encoded(Shelf(dict(reversed(books.items()))))
