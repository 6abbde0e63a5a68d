"""What homeostasis knows, in its file: kept, put aside where it is nothing, and no error where the disk is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from aetherra.plugins.homeostasis.saved_state import NAME, Saved, SavedState

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = Saved("1, begun at 2", b"learnt", {"set_workers": {"": {"value": 8, "new": 16}}})


class TestSavedState:
    def test_a_restart_forgets(self, tmp_path: Path) -> None:
        """What was saved last is what the next one loads."""
        SavedState(tmp_path).save(KNOWN)
        again = SavedState(tmp_path)

        assert again.load() == KNOWN
        assert again.problem == ""
        assert [each.name for each in tmp_path.iterdir()] == [NAME]

    def test_the_file_of_the_last_version_is_lost(self, tmp_path: Path) -> None:
        """What was kept before, MessagePack and nothing else, is taken up as it is."""
        (tmp_path / NAME).write_bytes(msgspec.msgpack.encode(msgspec.to_builtins(KNOWN, builtin_types=(bytes,))))

        assert SavedState(tmp_path).load() == KNOWN

    def test_without_a_folder_there_is_a_problem(self) -> None:
        """In memory nothing is saved, loaded, put aside or told."""
        saved = SavedState(None)
        saved.save(KNOWN)
        saved.put_aside("no reason")

        assert saved.load() is None
        assert saved.problem == ""

    @pytest.mark.parametrize("body", [b"", b"junk", b"\x91" * 100_000])
    def test_what_nobody_can_read_is_deleted_or_an_error(self, tmp_path: Path, body: bytes) -> None:
        """It is moved aside as it is, and said with where to, until something is saved."""
        (tmp_path / NAME).write_bytes(body)
        saved = SavedState(tmp_path)

        assert saved.load() is None
        (aside,) = tmp_path.iterdir()
        assert aside.read_bytes() == body
        assert str(aside) in saved.problem
        saved.save(KNOWN)
        assert saved.problem == ""
        assert SavedState(tmp_path).load() == KNOWN

    def test_a_disk_that_reads_nothing_keeps_the_host_from_starting(self, tmp_path: Path) -> None:
        """Where the file cannot even be read, it is moved aside all the same."""
        (tmp_path / NAME).mkdir()
        saved = SavedState(tmp_path)

        assert saved.load() is None
        assert "Is a directory" in saved.problem
        assert [each.name for each in tmp_path.iterdir()] == [f"{NAME}.corrupt-1"]

    def test_a_disk_that_takes_nothing_is_an_error(self, tmp_path: Path) -> None:
        """What cannot be written is a problem that says where, until it can be again."""
        folder = tmp_path / "gone"
        saved = SavedState(folder)
        saved.save(KNOWN)
        assert str(folder / NAME) in saved.problem
        folder.mkdir()
        saved.save(KNOWN)

        assert saved.problem == ""
