"""What waits, over restarts, full disks and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.waiting import Waiting, WaitingList
from aetherra.plugins.storage import StateFile

ONE = Waiting(("one",), "ada")


def listed(folder: Path) -> WaitingList:
    return WaitingList(StateFile(folder / "waiting.json", dict[str, Waiting]))


class TestWaitingList:
    def test_what_waits_is_gone_after_a_restart(self, tmp_path: Path) -> None:
        """What was put on the list is on it in the next run, until it is taken off."""
        first = listed(tmp_path)
        first.put("d1", ONE)
        first.put("d2", Waiting(("two",), ""))
        first.take("d2")
        first.take("d2")

        assert listed(tmp_path).all() == {"d1": ONE}
        assert listed(tmp_path).problem == ""

    def test_what_waits_since_the_last_version_is_lost(self, tmp_path: Path) -> None:
        """A list that says nothing of items or settings is read."""
        (tmp_path / "waiting.json").write_text('{"d1":{"items":["one"],"sender":"ada","approval":"a1"}}')

        assert listed(tmp_path).all() == {"d1": Waiting(("one",), "ada", approval="a1")}
        assert listed(tmp_path).problem == ""

    def test_the_same_waits_twice_once_it_has_changed(self, tmp_path: Path) -> None:
        """What the same asked of the same items takes the place of what they asked before."""
        waiting = listed(tmp_path)
        waiting.put("d1", ONE)
        waiting.put("d3", Waiting(("one",), "bob"))
        waiting.put("d2", Waiting(("one",), "ada", "", "a7"))

        assert set(waiting.all()) == {"d2", "d3"}
        assert waiting.get("d1") is None

    def test_a_full_disk_has_something_waited_for_that_nobody_keeps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What cannot be written does not wait; what cannot be taken off is off in this run."""
        waiting = listed(tmp_path)
        waiting.put("d1", ONE)

        def full(*_: object) -> None:
            raise DataFileError("waiting.json", "the disk is full")

        monkeypatch.setattr(StateFile, "save", full)
        with pytest.raises(DataFileError):
            waiting.put("d2", Waiting(("two",), ""))
        assert set(waiting.all()) == {"d1"}
        with pytest.raises(DataFileError):
            waiting.take("d1")
        assert waiting.all() == {}

    def test_a_damaged_list_is_an_empty_one_without_a_word(self, tmp_path: Path) -> None:
        """What cannot be read is moved aside, and said."""
        (tmp_path / "waiting.json").write_text("{")

        assert "moved to" in listed(tmp_path).problem
