"""Reading entries while files come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.kernel.ledger import reading
from aetherra.kernel.ledger.reading import entry_at, newest_first, oldest_first
from tests.kernel.ledger.conftest import SMALL, Place, add


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

    def test_entries_of_a_clock_that_was_set_back_hide_older_ones(self, tmp_path: Path) -> None:
        """All from a moment on are there; it ends with the first file of which all is older."""
        place = Place(tmp_path / "place")
        with place.open(segment_bytes=SMALL) as ledger:
            add(ledger, 30)
            place.clock.set_time(1_700_001_000.0)
            add(ledger, 5)
            place.clock.set_time(1_700_000_500.0)
            add(ledger, 3)
            since = [entry.sequence for entry in newest_first(place.folder, 1_700_000_900.0)]
            whole = [entry.sequence for entry in newest_first(place.folder, 1_700_000_400.0)]

        assert since == [36, 35, 34, 33, 32]
        assert whole == [39, 38, 37, *since]

    def test_all_files_are_read_for_what_is_new(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those behind the first that is older are not."""
        read: list[str] = []
        lines_of = reading.lines_of
        monkeypatch.setattr(reading, "lines_of", lambda path: (read.append(path.name), lines_of(path))[1])

        assert list(newest_first(place.folder, 4e9)) == []
        assert len(read) == 1

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
