"""Verifying: whatever is done to a ledger, its files or its head is found, and a kill is not taken for it."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.ledger import LedgerBrokenError, SignedHead
from aetherra.kernel.ledger.chain import Draft, Tip
from aetherra.kernel.ledger.entry import Entry, hash_of, read_line
from aetherra.kernel.ledger.head import HEAD_NAME, SLOT
from aetherra.kernel.ledger.keys import SECRET_NAME, SIGNING_NAME, LedgerKeys
from tests.kernel.ledger.conftest import SMALL, Place, add, kinds

COUNT = 12
"""Entries of the ledger that is tampered with."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A ledger in one file, which nobody touches."""
    return Place(tmp_path_factory.mktemp("original") / "place").filled(COUNT - 1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where copies of it are tampered with, one after the other."""
    return tmp_path_factory.mktemp("bench")


def copied(original: Place, bench: Path) -> Place:
    shutil.rmtree(bench / "copy", ignore_errors=True)
    return original.copy(bench / "copy")


def rechained(lines: list[bytes], since: int) -> list[bytes]:
    """Recompute all hashes from a line on, as whoever has no key can; the seals stay."""
    entries = [msgspec.json.decode(line, type=Entry) for line in lines]
    for number in range(since, len(entries)):
        before = entries[number - 1].entry_hash if number else entries[0].prev_hash
        entry = msgspec.structs.replace(entries[number], prev_hash=before)
        entries[number] = msgspec.structs.replace(entry, entry_hash=hash_of(entry))
    return [entry.line + b"\n" for entry in entries]


def forged(tip: Tip, secret: bytes = b"guessed" * 5) -> bytes:
    """Return an entry that follows on a chain, made by somebody without the key."""
    return tip.next_entry(Draft(kind="audit", actor="nobody", summary="nothing happened"), 1.0, secret).line + b"\n"


def tip_of(place: Place) -> Tip:
    last = read_line(place.lines[-1].rstrip(b"\n"))
    assert isinstance(last, Entry)
    return Tip(ledger=place.head().ledger, sequence=last.sequence, entry_hash=last.entry_hash)


class TestUntouched:
    @pytest.mark.usefixtures("scheme")
    def test_an_honest_ledger_is_accused(self, place: Place) -> None:
        """In one file or in many, after none or many entries, under either key."""
        for count in (0, 1, 30):
            with place.open(segment_bytes=SMALL) as ledger:
                ledger.prepare()
                add(ledger, count)
            found = place.verify()

            assert (found.ok, found.problems, found.remains) == (True, (), ())
            assert (found.entries, found.first, found.last) == (found.last, 1, place.head().sequence)
        assert len(place.files) > 2

    def test_what_was_never_begun_is_accused(self, place: Place) -> None:
        """No ledger and no head: there is nothing to check."""
        assert place.verify().ok
        assert not place.root.exists()

    def test_checking_writes(self, place: Place) -> None:
        """Not a byte, not a time: also what a kill left is put in order by the next append alone."""
        place.filled(3)
        with place.files[0].open("ab") as file:
            file.write(b"torn")
        before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.root.rglob("*")}

        assert place.verify().ok
        assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.root.rglob("*")} == before

    def test_a_ledger_that_grows_meanwhile_is_accused(self, place: Place) -> None:
        """A host may append, begin files and drop old ones all the while."""
        done = threading.Event()

        def work() -> None:
            with place.open(segment_bytes=SMALL, max_bytes=3 * SMALL) as ledger:
                add(ledger, 400)
            done.set()

        place.filled(1)
        worker = threading.Thread(target=work)
        worker.start()
        found = []
        while not done.is_set():
            found.append(place.verify())
        worker.join()

        assert [each.problems for each in found if not each.ok] == []
        assert place.verify().last > 400


class TestAnyTampering:
    @settings(max_examples=150)
    @given(data=st.data())
    def test_a_byte_is_changed_unseen(self, original: Place, bench: Path, data: st.DataObject) -> None:
        """Any byte of the ledger, changed, put in or taken out."""
        place = copied(original, bench)
        content = bytearray(place.files[0].read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["change", "insert", "remove"])):
            case "change":
                content[at] ^= data.draw(st.integers(1, 255))
            case "insert":
                content.insert(at, data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at])))
            case _:
                del content[at]
        place.files[0].write_bytes(content)
        found = place.verify()

        assert not found.ok
        assert found.problems

    @settings(max_examples=100)
    @given(order=st.permutations(range(COUNT)).filter(lambda order: order != list(range(COUNT))))
    def test_lines_change_places_unseen(self, original: Place, bench: Path, order: list[int]) -> None:
        """Any other order of the same lines."""
        place = copied(original, bench)
        lines = place.lines
        place.write([lines[number] for number in order])
        found = place.verify()

        assert not found.ok
        assert {problem.kind for problem in found.problems} == {"reordered"}

    @settings(max_examples=100)
    @given(gone=st.sets(st.integers(0, COUNT - 1), min_size=1))
    def test_lines_are_taken_out_unseen(self, original: Place, bench: Path, gone: set[int]) -> None:
        """Any lines, from the beginning, from between, from the end, or all of them; and each is named."""
        place = copied(original, bench)
        place.write([line for number, line in enumerate(place.lines) if number not in gone])
        found = place.verify()

        assert not found.ok
        assert {problem.kind for problem in found.problems} <= {"missing", "truncated", "deleted"}
        assert min(problem.sequence for problem in found.problems) == min(gone) + 1

    @settings(max_examples=100)
    @given(copied_line=st.integers(0, COUNT - 1), to=st.integers(0, COUNT))
    def test_a_line_is_put_in_again_unseen(self, original: Place, bench: Path, copied_line: int, to: int) -> None:
        """Any line, at any place, the end too."""
        place = copied(original, bench)
        lines = place.lines
        place.write([*lines[:to], lines[copied_line], *lines[to:]])
        found = place.verify()

        assert not found.ok
        assert any(problem.kind == "duplicated" for problem in found.problems)

    @settings(max_examples=100)
    @given(at=st.integers(0, COUNT - 1), length=st.integers(1, 3), where=st.integers(0, COUNT))
    def test_lines_are_forged_unseen(self, original: Place, bench: Path, at: int, length: int, where: int) -> None:
        """Entries with the right hashes that somebody without the key has put in anywhere, following on any other."""
        place = copied(original, bench)
        lines = place.lines
        entry = read_line(lines[at].rstrip(b"\n"))
        assert isinstance(entry, Entry)
        tip = Tip(ledger=place.head().ledger, sequence=entry.sequence, entry_hash=entry.entry_hash)
        added = []
        for _ in range(length):
            added.append(forged(tip))
            tip = tip.after(msgspec.json.decode(added[-1], type=Entry))
        place.write([*lines[:where], *added, *lines[where:]])
        found = place.verify()

        assert not found.ok
        assert {problem.kind for problem in found.problems} & {"forged", "fork", "edited"}

    @pytest.mark.parametrize("at", range(COUNT))
    def test_one_entry_is_written_anew_unseen(self, original: Place, bench: Path, at: int) -> None:
        """It says something else and has the hash of that, and all others are as they were."""
        place = copied(original, bench)
        lines = place.lines
        before = lines[at]
        lines[at] = before.replace(b'"summary":"', b'"summary":"not ')
        lines[at] = rechained(lines, at)[at]
        place.write(lines)
        found = place.verify()

        assert not found.ok
        assert ("edited", at + 1) in kinds(found)

    def test_an_entry_is_added_unseen(self, place: Place) -> None:
        """Behind the last one, with the right number and the right hashes: all but the seal."""
        place.filled(3)
        with place.files[0].open("ab") as file:
            file.write(forged(tip_of(place)))

        assert kinds(place.verify()) == [("forged", 5)]

    @settings(max_examples=50)
    @given(at=st.integers(0, COUNT - 1), to=st.integers(1, COUNT))
    def test_history_is_written_anew_unseen(self, original: Place, bench: Path, at: int, to: int) -> None:
        """One entry says something else, and the hashes after it are made to fit, of all that are left."""
        place = copied(original, bench)
        lines = place.lines
        lines[at] = lines[at].replace(b'"summary":"', b'"summary":"not ')
        place.write(rechained(lines, at)[: max(to, at + 1)])
        found = place.verify()

        assert not found.ok
        assert ("edited", at + 1) in kinds(found)

    @settings(max_examples=60)
    @given(data=st.data())
    def test_the_head_is_changed_unseen(self, original: Place, bench: Path, data: st.DataObject) -> None:
        """Any byte of it: both of its places are signed, or blank."""
        place = copied(original, bench)
        path = place.heads / HEAD_NAME
        content = bytearray(path.read_bytes())
        text = [number for number, byte in enumerate(content) if byte not in b" \n"]
        content[data.draw(st.sampled_from(text))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        found = place.verify()

        assert not found.ok
        assert found.problems[0].kind == "head_forged"


class TestFiles:
    """What is done to whole files."""

    @pytest.fixture
    def place(self, place: Place) -> Place:
        return place.filled(40, segment_bytes=SMALL)

    def test_one_from_between_is_deleted_unseen(self, place: Place) -> None:
        """It is named, with the entries that were in it."""
        gone, following = place.files[1], place.files[2]
        first, end = int(gone.stem[6:]), int(following.stem[6:])
        gone.unlink()
        found = place.verify()

        assert kinds(found) == [("deleted", first)]
        assert (found.problems[0].file, found.ok) == (gone.name, False)
        assert f"entries {first} to {end - 1}" in found.problems[0].detail

    def test_the_oldest_is_deleted_unseen(self, place: Place) -> None:
        """Only what an entry says was dropped may be missing from the beginning."""
        place.files[0].unlink()

        assert kinds(place.verify()) == [("deleted", 1)]

    def test_the_oldest_is_deleted_and_the_next_takes_its_name_unseen(self, place: Place) -> None:
        """A file begins with the entry that its name says."""
        place.files[0].unlink()
        place.files[0].rename(place.folder / "audit-000000000001.jsonl")

        assert kinds(place.verify()) == [("deleted", 1)]
        with place.open() as ledger, pytest.raises(LedgerBrokenError):
            ledger.prepare()

    def test_the_newest_is_deleted_unseen(self, place: Place) -> None:
        """The head knows how far it went."""
        first = int(place.files[-1].stem[6:])
        place.files[-1].unlink()

        assert kinds(place.verify()) == [("truncated", first)]

    def test_all_are_deleted_unseen(self, place: Place) -> None:
        """The head stands apart, and tells how many there were."""
        shutil.rmtree(place.data_dir)
        found = place.verify()

        assert (kinds(found), found.ok) == ([("deleted", 1)], False)
        assert "entries 1 to 41" in found.problems[0].detail

    def test_two_change_names_unseen(self, place: Place) -> None:
        """Their lines are where they should not be."""
        a, b = place.files[1:3]
        content = a.read_bytes()
        a.write_bytes(b.read_bytes())
        b.write_bytes(content)

        assert {problem.kind for problem in place.verify().problems} == {"reordered"}

    def test_one_gets_another_name_unseen(self, place: Place) -> None:
        """Its name says which entry it begins with."""
        first = int(place.files[1].stem[6:])
        place.files[1].rename(place.folder / f"audit-{first + 1:012d}.jsonl")
        (problem,) = place.verify().problems

        assert problem.detail == f"audit-{first + 1:012d}.jsonl begins with entry {first}"

    def test_another_ledger_takes_its_place_unseen(self, place: Place, tmp_path: Path) -> None:
        """One just as whole, but with another history."""
        other = Place(tmp_path / "other").filled(40, segment_bytes=SMALL)
        shutil.rmtree(place.folder)
        shutil.copytree(other.folder, place.folder)

        assert any(kind == "fork" for kind, _ in kinds(place.verify()))

    def test_an_older_copy_of_it_takes_its_place_unseen(self, place: Place, tmp_path: Path) -> None:
        """A restored backup lacks what came since."""
        backup = place.copy(tmp_path / "backup")
        with place.open(segment_bytes=SMALL) as ledger:
            add(ledger, 5)
        shutil.rmtree(place.folder)
        shutil.copytree(backup.folder, place.folder)

        assert kinds(place.verify()) == [("truncated", 42)]

    @pytest.mark.parametrize(
        "name", ["audit-000000000099.jsonl", "audit-000000000005.jsonl", "audit-000000000000.jsonl"]
    )
    def test_one_is_put_in_unseen(self, place: Place, name: str) -> None:
        """With entries that follow on the last, or on none."""
        (place.folder / name).write_bytes(forged(tip_of(place)))

        assert {problem.kind for problem in place.verify().problems} & {"forged", "fork"}

    @pytest.mark.parametrize("what", ["symlink", "folder", "fifo", "long line"])
    def test_something_that_is_no_file_hangs_or_passes(self, place: Place, what: str, tmp_path: Path) -> None:
        """A link to a whole file elsewhere is not what was written; nothing is waited for, and nothing fills memory."""
        file = place.files[0]
        moved = file.rename(tmp_path / "moved")
        if what == "symlink":
            file.symlink_to(moved)
        elif what == "folder":
            file.mkdir()
        elif what == "fifo":
            os.mkfifo(file)
        else:
            with file.open("wb") as hole:
                hole.truncate(1 << 40)
        found = place.verify()

        assert ("unreadable", 0) in kinds(found) or ("unreadable", 1) in kinds(found)
        assert not found.ok

    def test_another_file_in_the_folder_is_taken_for_one(self, place: Place) -> None:
        """Notes and locks of other names mean nothing; nor does a name that only looks like one."""
        for name in ("notes.txt", "audit-1.jsonl", "audit-0000000000001.jsonl", "audit-000000000001.jsonl.bak"):
            (place.folder / name).write_text("whatever\n")

        assert place.verify().ok


class TestHead:
    @pytest.mark.parametrize("name", [HEAD_NAME, SECRET_NAME, ""])
    def test_a_part_of_the_head_is_deleted_unseen(self, place: Place, name: str) -> None:
        """Without head or key nothing is proven, and that is no success."""
        place.filled(3)
        if name:
            (place.heads / name).unlink()
        else:
            shutil.rmtree(place.heads)

        assert ("head_missing", 0) in kinds(place.verify())

    def test_the_head_is_emptied_unseen(self, place: Place) -> None:
        """A head that says nothing is none."""
        place.filled(3)
        (place.heads / HEAD_NAME).write_bytes(b"")

        assert kinds(place.verify())[0][0] == "head_forged"

    @pytest.mark.usefixtures("scheme")
    def test_the_head_of_an_earlier_day_is_put_back_with_the_ledger_cut_unseen_by_a_copy(
        self, place: Place, tmp_path: Path
    ) -> None:
        """All of it as it was an hour ago is whole in itself: a copy of the head that is kept elsewhere shows it."""
        place.filled(3)
        hour_ago = place.copy(tmp_path / "hour ago")
        with place.open() as ledger:
            add(ledger, 3)
        witness = place.head()

        assert hour_ago.verify().ok
        assert kinds(hour_ago.verify(witness=witness)) == [("truncated", 7)]
        assert place.verify(witness=witness).ok
        assert place.verify(witness=hour_ago.head()).ok

    def test_all_of_it_is_made_anew_unseen_by_a_copy(self, place: Place) -> None:
        """Ledger, head and key, made by the same program: only the copy tells."""
        witness = place.filled(3).head()
        shutil.rmtree(place.root)
        place.filled(5)

        assert place.verify().ok
        assert kinds(place.verify(witness=witness)) == [("fork", 4)]

    def test_a_forged_copy_is_believed(self, place: Place) -> None:
        """It has to be signed as well."""
        witness = msgspec.structs.replace(place.filled(3).head(), hash="0" * 64)

        assert kinds(place.verify(witness=witness)) == [("head_forged", 4)]

    def test_a_copy_of_what_was_dropped_proves_anything(self, place: Place) -> None:
        """An entry that is not kept any more cannot be compared, and that is said."""
        witness = place.filled(3).head()
        with place.open(segment_bytes=SMALL, max_bytes=2 * SMALL) as ledger:
            add(ledger, 60)

        assert place.verify().ok
        assert kinds(place.verify(witness=witness)) == [("missing", 4)]

    def test_the_signature_is_lowered_to_a_weaker_one_unseen(self, place: Place) -> None:
        """Who takes the Ed25519 key away and signs with the secret alone is found: the ledger names its key."""
        place.filled(3)
        tip = tip_of(place)
        (place.heads / SIGNING_NAME).unlink()
        keys = LedgerKeys.load(place.heads)
        assert keys is not None
        lower = SignedHead.of(tip, 1.0, keys)
        line = msgspec.json.encode(lower).ljust(SLOT - 1) + b"\n"
        assert kinds(place.verify()) == [("head_forged", 0)]
        (place.heads / HEAD_NAME).write_bytes(line + b" " * (SLOT - 1) + b"\n")

        assert not place.verify().ok

    def test_an_older_head_alone_is_put_back(self, place: Place) -> None:
        """Nothing is lost by that: what is behind it is sealed, and the next append signs it."""
        place.filled(3)
        head = (place.heads / HEAD_NAME).read_bytes()
        place.filled(3)
        (place.heads / HEAD_NAME).write_bytes(head)
        found = place.verify()

        assert (found.ok, [(each.kind, each.sequence) for each in found.remains]) == (True, [("ahead", 5)])


class TestTorn:
    def test_a_kill_is_taken_for_tampering(self, place: Place) -> None:
        """Half a line behind the head was never told to anybody: harmless, and named as such."""
        place.filled(3)
        for rest in (b"{", b'{"actor":"audit"', b"\0" * 300, forged(tip_of(place))[:-1], b"\0" * 300 + b"\n"):
            with place.copy(place.root.parent / f"torn {len(rest)} {rest[-1:]!r}").files[0].open("ab") as file:
                file.write(rest)
            found = Place(Path(file.name).parents[3]).verify()

            assert (found.ok, found.problems) == (True, ())
            assert [(each.kind, each.sequence, each.line) for each in found.remains] == [("torn", 5, 5)]

    def test_tampering_is_taken_for_a_kill(self, place: Place) -> None:
        """Half a line where the head knows of a whole one is a cut."""
        place.filled(3)
        content = place.files[0].read_bytes()
        place.files[0].write_bytes(content[:-30])

        assert ("edited", 0) in kinds(place.verify()) or ("truncated", 4) in kinds(place.verify())
        assert not place.verify().ok

    def test_a_torn_line_hides_what_is_behind_it(self, place: Place) -> None:
        """Nothing follows on a torn line, not even what is genuine: the host cuts it off first."""
        place.filled(3)
        head = (place.heads / HEAD_NAME).read_bytes()
        place.filled(1)
        (place.heads / HEAD_NAME).write_bytes(head)
        *lines, last = place.lines
        place.write([*lines, b"{torn\n", last])

        assert not place.verify().ok
        place.write([*lines, b"{torn"])
        (place.folder / "audit-000000000005.jsonl").touch()
        assert not place.verify().ok
        (place.folder / "audit-000000000005.jsonl").write_bytes(last)
        assert not place.verify().ok


class TestLibrary:
    def test_a_signature_that_cannot_be_checked_counts_as_good(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the library nothing is known of an Ed25519 head, and the remedy is named."""
        place.filled(3)
        monkeypatch.setitem(__import__("sys").modules, "cryptography.exceptions", None)
        monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
        found = place.verify()

        assert kinds(found) == [("unreadable", 0)]
        assert "pip install 'aetherra[sign]'" in found.problems[0].detail
