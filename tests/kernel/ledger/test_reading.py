"""Reading entries while files come and go."""

from __future__ import annotations

import pytest

from aetherra.kernel.ledger import reading
from aetherra.kernel.ledger.reading import entry_at, newest_first, oldest_first
from tests.kernel.ledger.conftest import SMALL, Place


@pytest.fixture
def place(place: Place) -> Place:
    return place.filled(40, segment_bytes=SMALL)


class TestReading:
    def test_an_entry_is_left_out_at_a_seam(self, place: Place) -> None:
        """Over many files, in either direction, and from any number on."""
        numbers = list(range(1, 42))

        assert [entry.sequence for entry in oldest_first(place.folder)] == numbers
        assert [entry.sequence for entry in newest_first(place.folder)] == numbers[::-1]
        for since in numbers:
            assert [entry.sequence for entry in oldest_first(place.folder, since)] == numbers[since - 1 :]

    def test_all_files_are_read_for_one_entry(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """The names of the files tell which one it is in."""
        read: list[str] = []
        lines_of = reading.lines_of
        monkeypatch.setattr(reading, "lines_of", lambda path: (read.append(path.name), lines_of(path))[1])
        entry = entry_at(place.folder, 25)

        assert entry is not None
        assert entry.sequence == 25
        assert len(read) == 1

    def test_a_line_that_is_no_entry_stops_it(self, place: Place) -> None:
        """It is left out; to find it is for ``verify``."""
        file = place.files[1]
        file.write_bytes(b"garbage\n" + file.read_bytes() + b"torn")

        assert [entry.sequence for entry in oldest_first(place.folder)] == list(range(1, 42))

    def test_a_file_that_leaves_meanwhile_stops_it(self, place: Place) -> None:
        """What it held is not there any more."""
        entries = oldest_first(place.folder)
        assert next(entries).sequence == 1
        place.files[1].unlink()

        assert [entry.sequence for entry in entries][-1] == 41
