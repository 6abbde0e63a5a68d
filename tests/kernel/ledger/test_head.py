"""The signed head: two places that are written to in turn, each signed or blank, and never half of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import head as module
from aetherra.kernel.ledger.chain import Tip
from aetherra.kernel.ledger.head import HEAD_NAME, NO_SLOTS, SLOT, HeadError, HeadStore, SignedHead
from aetherra.kernel.ledger.keys import LedgerKeys


@pytest.fixture
def store(tmp_path: Path):
    store = HeadStore(tmp_path / "head", about="of a test")
    yield store
    store.close()


def head(keys: LedgerKeys, sequence: int) -> SignedHead:
    return SignedHead.of(Tip(ledger="l" * 32, sequence=sequence, entry_hash="h" * 64), 1.5, keys)


class TestSignedHead:
    @pytest.mark.parametrize("field", [name for name in SignedHead.__struct_fields__ if name != "signature"])
    def test_a_field_is_not_signed(self, store: HeadStore, field: str) -> None:
        """The signature is of every field."""
        keys = store.begin(Tip(ledger="l"), 1.0)
        signed = head(keys, 3)
        other = msgspec.structs.replace(signed, **{field: getattr(signed, field) * 2})

        assert keys.has_signed(signed.signature, signed.statement)
        assert not keys.has_signed(signed.signature, other.statement)

    def test_the_longest_head_has_no_room(self, store: HeadStore) -> None:
        """With any number that a ledger comes to, it fits its place."""
        keys = store.begin(Tip(ledger="l" * 32), 1.0)
        raw = store.raw()
        tip = Tip(ledger="l" * 32, sequence=10**18, entry_hash="h" * 64, first=1)
        raw = store.write(SignedHead.of(tip, 1_700_000_000.123456, keys), raw)

        assert store.read()[1].sequence == 10**18


class TestStore:
    def test_what_was_written_is_not_read(self, store: HeadStore) -> None:
        """The newest head of the two is read, also by another object; a person is told what it is of."""
        keys = store.begin(Tip(ledger="l" * 32), 1.0)
        raw = store.raw()
        for sequence in range(1, 6):
            raw = store.write(head(keys, sequence), raw)
            assert store.raw() == raw
            other = HeadStore(store.folder)
            assert other.read()[1] == head(keys, sequence)
            other.close()
        assert store.path.stat().st_size == 2 * SLOT
        assert (store.folder / "about.txt").read_text() == "of a test\n"

    def test_the_head_before_is_written_over(self, store: HeadStore) -> None:
        """Until the disk has the new head, the one before stands: a torn write destroys the older one at most."""
        keys = store.begin(Tip(ledger="l" * 32), 1.0)
        raw = store.write(head(keys, 1), store.raw())
        raw = store.write(head(keys, 2), raw)
        torn = bytearray(store.write(head(keys, 3), raw))
        at = torn.index(b'"sequence":3') // SLOT * SLOT
        torn[at : at + SLOT] = NO_SLOTS[:SLOT]
        store.path.write_bytes(torn)

        assert store.read()[1].sequence == 2

    def test_it_is_new_until_its_first_head(self, store: HeadStore) -> None:
        """A folder is new without files, with a blank head, and not once there is a head or a kept key."""
        assert store.is_new()
        store.begin(Tip(ledger="l" * 32), 1.0)
        assert not store.is_new()
        whole = store.raw()
        store.path.write_bytes(NO_SLOTS)
        assert not store.is_new()
        (store.folder / "secret.key").rename(store.folder / "secret.key.new")
        assert store.is_new()
        store.path.write_bytes(whole)
        assert not store.is_new()

    def test_a_restored_head_is_another(self, store: HeadStore) -> None:
        """What was written and is not to stand can be undone."""
        keys = store.begin(Tip(ledger="l" * 32), 1.0)
        before = store.write(head(keys, 1), store.raw())
        store.write(head(keys, 2), before)

        assert store.restore(before)
        assert store.raw() == before

    @pytest.mark.parametrize("was_written", [True, False])
    def test_a_head_that_was_taken_back_is_on_the_disk_all_the_same(
        self, store: HeadStore, was_written: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was put back is flushed, or it is not said to be: a power cut finds the one or the other."""
        keys = store.begin(Tip(ledger="l" * 32), 1.0)
        before = store.write(head(keys, 1), store.raw())
        if was_written:
            store.write(head(keys, 2), before)
        flushed: list[bytes] = []
        monkeypatch.setattr(module, "FLUSH", lambda _: flushed.append(store.path.read_bytes()))
        assert store.restore(before)
        assert flushed == [before]

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "the disk is dying")

        monkeypatch.setattr(module, "FLUSH", fail)
        assert not store.restore(before)

    @pytest.mark.parametrize("content", [b"", NO_SLOTS, NO_SLOTS + b"x", b"{}" + NO_SLOTS[2:], b"\xff" * 2 * SLOT])
    def test_something_else_is_taken_for_a_head(self, store: HeadStore, content: bytes) -> None:
        """It is said to be none."""
        store.begin(Tip(ledger="l" * 32), 1.0)
        store.path.write_bytes(content)
        with pytest.raises(HeadError) as caught:
            store.read()

        assert caught.value.kind == "head_forged"

    @pytest.mark.parametrize(
        "change", [(b"1.5", b"15e-1"), (b'{"at"', b'{ "at"'), (b'"l', b'"\\u006c'), (b"\n", b"\n ")]
    )
    def test_a_head_is_taken_that_says_the_same_in_another_way(
        self, store: HeadStore, change: tuple[bytes, bytes]
    ) -> None:
        """What is signed is read as it was written, to the last byte of both places."""
        keys = store.begin(Tip(ledger="l" * 32), 1.5)
        content = store.write(head(keys, 1), store.raw())
        changed = content.replace(*change)
        store.path.write_bytes(changed if len(change[0]) == len(change[1]) else changed.replace(b"    ", b"", 1))
        with pytest.raises(HeadError) as caught:
            store.read()

        assert caught.value.kind == "head_forged"

    @pytest.mark.parametrize("what", ["symlink", "folder", "fifo"])
    def test_something_that_is_no_file_hangs_or_is_followed(self, store: HeadStore, what: str, tmp_path: Path) -> None:
        """An error names it."""
        store.begin(Tip(ledger="l" * 32), 1.0)
        store.close()
        store.path.rename(tmp_path / "moved")
        if what == "symlink":
            store.path.symlink_to(tmp_path / "moved")
        elif what == "folder":
            store.path.mkdir()
        else:
            os.mkfifo(store.path)
        with pytest.raises(DataFileError, match=HEAD_NAME):
            store.read()
