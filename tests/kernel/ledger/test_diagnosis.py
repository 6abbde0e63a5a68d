"""The diagnosis: what was done is told once, with the place, and without the head as far as that goes."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from aetherra.kernel.ledger import adopt, head
from aetherra.kernel.ledger.diagnosis import MOST_PROBLEMS, diagnose
from tests.kernel.ledger.conftest import SMALL, Place, kinds


@pytest.fixture
def place(place: Place) -> Place:
    return place.filled(9)


class TestPlaces:
    def test_an_edit_is_told_without_its_place(self, place: Place) -> None:
        """Which entry, in which line of which file, and in words."""
        lines = place.lines
        place.write([*lines[:4], lines[4].replace(b"number 3", b"number 4"), *lines[5:]])
        (problem,) = place.verify().problems

        assert (problem.kind, problem.sequence, problem.file, problem.line) == ("edited", 5, place.files[0].name, 5)
        assert problem.detail == "entry 5 does not have the hash that it says"

    def test_a_line_that_is_none_is_told_by_a_number(self, place: Place) -> None:
        """What cannot be read has no number; that an entry is missing there is told as well."""
        lines = place.lines
        place.write([*lines[:4], b"garbage\n", *lines[5:]])

        assert kinds(place.verify()) == [("edited", 0), ("missing", 5)]

    def test_two_holes_are_told_as_one(self, place: Place) -> None:
        """Each with how much is gone."""
        lines = place.lines
        place.write([*lines[:2], *lines[3:5], *lines[8:9]])
        details = [problem.detail for problem in place.verify().problems]

        assert details == [
            "entry 3 is gone from between others",
            "entries 6 to 8 are gone from between others",
            "entry 10 is gone from the end",
        ]

    def test_thousands_of_problems_are_told(self, place: Place) -> None:
        """No more than anybody reads."""
        place.write([b"x\n"] * 5000)

        assert len(place.verify().problems) == MOST_PROBLEMS


class TestMemory:
    @pytest.mark.parametrize("what", ["diagnosed", "adopted"])
    def test_a_broken_ledger_is_held_in_memory(self, place: Place, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is read line by line, whoever asks; what is kept of it does not grow with it."""
        monkeypatch.setattr(os, "fsync", lambda _: None)
        monkeypatch.setattr(head, "FLUSH", lambda _: None)
        place.filled(6000, segment_bytes=128 * 1024)
        with place.files[3].open("r+b") as file:
            file.write(b"x")
        (place.heads / head.HEAD_NAME).unlink()
        size = sum(file.stat().st_size for file in place.files)
        tracemalloc.start()
        try:
            if what == "diagnosed":
                assert kinds(place.verify())[0][0] == "head_missing"
            else:
                assert adopt(place.data_dir, place.settings(), actor="a", reason="b", clock=place.clock.time)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert peak < size / 2


class TestWithoutHead:
    def test_nothing_is_told_without_the_head(self, place: Place) -> None:
        """Edits, holes and disorder show by themselves; what is gone from the end does not."""
        lines = place.lines
        place.write([*lines[:2], lines[4], lines[3], lines[5].replace(b"number", b"nomber"), *lines[7:9]])
        found = diagnose(place.folder, None, None)

        assert found.entries == 6
        assert {(each.kind, each.sequence) for each in found.problems} == {
            ("edited", 6),
            ("reordered", 4),
            ("missing", 3),
            ("missing", 7),
        }

    def test_a_shortened_ledger_is_accused(self, place: Place) -> None:
        """Where it begins cannot be told without the head."""
        place.filled(60, segment_bytes=SMALL)
        place.files[0].unlink()

        assert diagnose(place.folder, None, None).problems == ()
