"""Edits and their way back, to the byte."""

from __future__ import annotations

import stat

import pytest

from aetherra.plugins.homeostasis.corrector.edits import EditError, Edits

BEFORE, AFTER = b"\xef\xbb\xbfone\r\n\x00\xff", b"two\n"


@pytest.fixture
def file(tmp_path):
    """Return a file of somebody's."""
    place = tmp_path / "mine.py"
    place.write_bytes(BEFORE)
    place.chmod(0o754)
    return place


def test_an_edit_cannot_be_undone(file, tmp_path):
    """What was there comes back byte for byte, with its permissions, also by another process."""
    Edits(tmp_path / "data").replace(file, BEFORE, AFTER)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (AFTER, 0o754)

    Edits(tmp_path / "data").restore(file)

    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (BEFORE, 0o754)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mine.py"]


def test_a_persons_own_edit_is_lost(file, tmp_path):
    """A file that somebody has edited meanwhile, or since, is left as it is."""
    edits = Edits(tmp_path / "data")
    with pytest.raises(EditError, match="meanwhile"):
        edits.replace(file, b"what was read before", AFTER)
    assert file.read_bytes() == BEFORE

    edits.replace(file, BEFORE, AFTER)
    file.write_bytes(b"mine")
    with pytest.raises(EditError, match="edited it since"):
        edits.restore(file)
    assert file.read_bytes() == b"mine"


def test_a_damaged_backup_is_put_back(file, tmp_path):
    """A backup that is not what it was is not put back, and where none is, that is said."""
    edits = Edits(tmp_path / "data")
    with pytest.raises(EditError, match="no edit of it to undo"):
        edits.restore(file)
    backup = edits.replace(file, BEFORE, AFTER)
    with open(backup, "ab") as damaged:  # noqa: PTH123
        damaged.write(b"!")

    with pytest.raises(EditError, match="damaged"):
        edits.restore(file)
    assert file.read_bytes() == AFTER


def test_an_edit_that_was_withdrawn_is_made_by_a_thread_that_comes_late(file, tmp_path):
    """Whoever gave up finds the file as it was, whether the thread had made the edit by then or comes to it later."""
    edits = Edits(tmp_path / "data")
    edits.replace(file, BEFORE, AFTER)
    edits.withdraw(file, BEFORE)
    assert file.read_bytes() == BEFORE

    with pytest.raises(EditError, match="withdrawn"):
        edits.replace(file, BEFORE, AFTER)
    assert file.read_bytes() == BEFORE

    edits.want(file)
    edits.replace(file, BEFORE, AFTER)
    assert file.read_bytes() == AFTER


def test_a_withdrawn_edit_takes_a_persons_own_along(file, tmp_path):
    """What a person wrote over the edit stays, and that is said; other contents than were withdrawn may be edited."""
    edits = Edits(tmp_path / "data")
    edits.replace(file, BEFORE, AFTER)
    file.write_bytes(b"mine")
    with pytest.raises(EditError, match="edited it since"):
        edits.withdraw(file, BEFORE)
    assert file.read_bytes() == b"mine"
    edits.replace(file, b"mine", AFTER)
    assert file.read_bytes() == AFTER
