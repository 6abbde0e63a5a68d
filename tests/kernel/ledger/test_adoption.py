"""Adoption: a person goes on from what is there, nothing is lost, and nothing forged becomes genuine by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import Adopted, adopt
from aetherra.kernel.ledger.head import HEAD_NAME
from aetherra.kernel.ledger.keys import SECRET_NAME
from tests.kernel.ledger.conftest import Place, add


def adopted(place: Place, reason: str = "the disk was replaced") -> Adopted:
    done = adopt(place.data_dir, place.settings(), actor="person:somebody", reason=reason, clock=place.clock.time)
    assert done is not None
    return done


def goes_on(place: Place, entries: int) -> bool:
    """Whether one can append again, and all verifies, with so many entries."""
    with place.open() as ledger:
        add(ledger)
    found = place.verify()
    return found.ok and found.entries == entries


class TestWhole:
    """Only the head is lost: the chain is continued."""

    @pytest.mark.parametrize("what", ["head", "key", "folder", "forged", "readable"])
    @pytest.mark.usefixtures("scheme")
    def test_a_lost_head_costs_the_history(self, place: Place, what: str) -> None:
        """The entries stay part of the chain, and one tells who went on from there, and why; keys are new."""
        place.filled(5)
        key = place.head().key
        if what == "folder":
            shutil.rmtree(place.heads)
        elif what == "forged":
            path = place.heads / HEAD_NAME
            path.write_bytes(path.read_bytes().replace(b'"sequence":', b'"sequence":1'))
        elif what == "readable":
            (place.heads / SECRET_NAME).chmod(0o644)
        else:
            (place.heads / {"head": HEAD_NAME, "key": SECRET_NAME}[what]).unlink()
        done = adopted(place)

        assert (done.continued, done.aside, done.entry.sequence) == (True, None, 7)
        assert (done.entry.actor, done.entry.summary) == ("person:somebody", "the disk was replaced")
        assert done.entry.facts["seals_checked"] is (what in ("head", "forged"))
        assert place.head().key == done.entry.facts["key"] != key
        assert goes_on(place, 8)

    def test_a_moved_ledger_costs_the_history(self, place: Place, tmp_path: Path) -> None:
        """The data directory at another place, where no head is kept for it."""
        place.filled(5)
        moved = Place(tmp_path / "elsewhere")
        moved.root.mkdir()
        place.data_dir.rename(moved.data_dir)

        assert adopted(moved).continued
        assert goes_on(moved, 8)

    def test_it_can_be_adopted_but_once(self, place: Place) -> None:
        """Again and again, each time under new keys, by which only the entries since have to be sealed."""
        place.filled(2)
        for entries in (5, 7, 9):
            if entries == 5:
                shutil.rmtree(place.heads)
            else:
                (place.heads / HEAD_NAME).unlink()
            assert adopted(place).continued
            assert goes_on(place, entries)


class TestBroken:
    """The chain itself is not what was written: it is put aside, and a new one begins."""

    @pytest.mark.parametrize("what", ["edited", "truncated", "missing", "rewritten", "forged", "gone"])
    def test_tampering_is_made_good(self, place: Place, what: str) -> None:
        """Its files are kept byte for byte, its numbers are not given again, and the new chain says what was wrong."""
        place.filled(5)
        lines = place.lines
        if what == "edited":
            place.write([*lines[:2], lines[2].replace(b"number", b"nomber"), *lines[3:]])
        elif what == "truncated":
            place.write(lines[:-2])
        elif what == "missing":
            place.write([*lines[:2], *lines[3:]])
        elif what == "rewritten":
            other = Place(place.root.parent / "other").filled(5)
            place.write(other.lines)
        elif what == "forged":
            place.write([*lines, lines[-1]])
        else:
            shutil.rmtree(place.data_dir)
        before = [file.read_bytes() for file in place.files]
        done = adopted(place)

        assert (done.continued, done.entry.sequence) == (False, 7)
        kept = [] if done.aside is None else sorted(done.aside.iterdir())
        assert [file.read_bytes() for file in kept] == before
        assert done.entry.facts["last_head_sequence"] == 6
        assert any(name.startswith("found_") for name in done.entry.facts)
        assert goes_on(place, 2)

    def test_a_forged_history_without_its_head_is_continued(self, place: Place) -> None:
        """Where the key is still there, what it has not sealed is not gone on from."""
        place.filled(5)
        other = Place(place.root.parent / "other").filled(5)
        place.write(other.lines)
        (place.heads / HEAD_NAME).unlink()

        assert not adopted(place).continued

    def test_keys_are_lost_with_the_head(self, place: Place) -> None:
        """Old keys and heads are put aside too: by them, what was signed can still be checked."""
        place.filled(5)
        place.write(place.lines[:-1])
        old = (place.heads / SECRET_NAME).read_bytes()
        adopted(place)
        (aside,) = place.heads.glob("aside-*")

        assert (aside / SECRET_NAME).read_bytes() == old
        assert (aside / HEAD_NAME).is_file()

    def test_what_else_is_in_the_folder_of_the_head_is_moved(self, place: Place) -> None:
        """A person may name a folder that has other things in it, and links: they stay where they are."""
        place.filled(5)
        (place.heads / "other.txt").write_text("not the ledger's")
        (place.heads / ".new").symlink_to("nowhere")
        place.write(place.lines[:-1])
        adopted(place)

        assert (place.heads / "other.txt").read_text() == "not the ledger's"
        assert (place.heads / ".new").is_symlink()
        assert goes_on(place, 2)

    def test_a_running_host_has_to_be_restarted(self, place: Place) -> None:
        """What stopped recording goes on by itself once a person has adopted the ledger."""
        place.filled(3)
        with place.open() as ledger:
            add(ledger)
            place.write(place.lines[:-1])
            with pytest.raises(DataFileError):
                add(ledger)
            adopted(place)
            add(ledger)

            assert ledger.verify().ok


class TestRefusal:
    def test_a_ledger_in_order_is_adopted(self, place: Place) -> None:
        """There is nothing to adopt, and nothing is changed."""
        place.filled(3)
        lines = place.lines
        assert adopt(place.data_dir, place.settings(), actor="a", reason="b", clock=place.clock.time) is None

        assert place.lines == lines

    def test_a_ledger_is_adopted_as_a_library_is_missing(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing need be wrong with it: that is to be installed first."""
        place.filled(3)
        monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
        with pytest.raises(DataFileError, match=r"aetherra\[sign\]"):
            adopted(place)

    def test_a_secret_in_the_reason_is_written(self, place: Place) -> None:
        """People write them as well."""
        place.filled(3)
        shutil.rmtree(place.heads)

        assert "hunter2" not in str(adopted(place, "password=hunter2 was changed").entry)
