"""The ring: who is known, until when, and that nobody else puts a key in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel.signing import KeyRing, KeyRingError, PublicKey, SigningKey, UnknownKeyError
from tests.kernel.signing.conftest import NOW
from tests.kernel.signing.test_disk import room_for

ADDING = """
import sys
from pathlib import Path
from aetherra.kernel.signing import KeyRing, SigningKey
for number in range(15):
    KeyRing.load(Path(sys.argv[1])).add(SigningKey.generate().public, f"{sys.argv[2]} {number}")
"""


def public() -> PublicKey:
    return SigningKey.generate().public


class TestKeyRing:
    def test_a_key_is_forgotten(self, tmp_path: Path) -> None:
        """What was added is there after a restart, with all that was said of it, in order."""
        file = tmp_path / "data" / "governance" / "keyring.json"
        ring = KeyRing.load(file, clock=lambda: NOW)
        ada, bob = public(), public()
        ring.add(ada, " Ada ", not_before=NOW, not_after=NOW + 10, pinned=True)
        ring.add(bob, "Bob")
        again = KeyRing.load(file)
        assert again.keys == ring.keys
        assert [key.owner for key in again.keys] == ["Ada", "Bob"]
        assert (again.keys[0].id, again.keys[0].public_key(), again.changed_at) == (ada.id, ada, NOW)
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == file.parents[1].stat().st_mode & 0o777 == 0o700

    def test_a_key_is_taken_in_twice(self, ring: KeyRing, key: SigningKey) -> None:
        """A key that is there keeps its owner, and a revoked one stays revoked."""
        with pytest.raises(KeyRingError, match="in the ring already: its owner is 'Ada'"):
            ring.add(key.public, "Eve", pinned=True)
        ring.revoke(key.public.id, "stolen")
        with pytest.raises(KeyRingError, match="revoked, which is not taken back"):
            ring.add(key.public, "Ada")
        with pytest.raises(KeyRingError, match=r"is revoked \(stolen\) and cannot be pinned"):
            ring.pin(key.public.id)
        assert ring.keys[0].state(NOW) == "revoked"

    def test_a_revocation_is_changed(self, key: SigningKey) -> None:
        """The first reason and its time stay, a reason there has to be, and a revoked key is not pinned."""
        times = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        ring = KeyRing.in_memory(clock=lambda: next(times))
        ring.add(key.public, "Ada", pinned=True)
        with pytest.raises(KeyRingError, match="needs a reason"):
            ring.revoke(key.public.id, "  ")
        first = ring.revoke(key.public.id, "stolen")
        assert ring.revoke(key.public.id, "never mind") == first
        assert (first.revoked_because, first.pinned) == ("stolen", False)

    def test_a_pin_holds_for_ever(self, ring: KeyRing, key: SigningKey) -> None:
        """It is put in and taken out, and the key stays known."""
        assert ring.pin(key.public.id).state(NOW) == "pinned"
        assert ring.unpin(key.public.id).state(NOW) == "known"
        for change in (ring.pin, ring.unpin, lambda name: ring.revoke(name, "x")):
            with pytest.raises(UnknownKeyError, match=f"no key 'ed25519:0' in the ring; there are: {key.public.id}"):
                change("ed25519:0")

    def test_nobody_owns_a_key(self, ring: KeyRing) -> None:
        """Each key has an owner, and ends after it begins."""
        with pytest.raises(KeyRingError, match="needs an owner"):
            ring.add(public(), " ")
        with pytest.raises(KeyRingError, match="would end before it begins"):
            ring.add(public(), "Eve", not_before=2.0, not_after=1.0)
        assert len(ring.keys) == 1

    def test_a_state_is_another(self) -> None:
        """What keeps a key from being relied on comes before what it may do."""
        ring = KeyRing.in_memory(clock=lambda: NOW)
        key = ring.add(public(), "Ada", not_before=10.0, not_after=20.0, pinned=True)
        assert [key.state(at) for at in (9.0, 10.0, 20.0, 21.0)] == ["not yet valid", "pinned", "pinned", "expired"]


class TestFile:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is no key ring"),
            (b"{", "is no key ring"),
            (b"\xff", "is no key ring"),
            (b"[" * 100_000, "is no key ring"),
            (b"{}", "format"),
            (b'{"format": "aetherra-keyring/2"}', "aetherra-keyring/2"),
            (b'{"format": "aetherra-keyring/1", "keys": [{"public": "x", "owner": "a", "added_at": 1}]}', "keys"),
            (b'{"format": "aetherra-keyring/1", "keys": [], "more": 1}', "more"),
            (b" " * (5 << 20), "more than"),
        ],
        ids=range(9),
    )
    def test_a_damaged_ring_is_an_empty_one(self, tmp_path: Path, content: bytes, said: str) -> None:
        """It is an error with its place, nobody is known by it, and no change writes over it."""
        file = tmp_path / "ring.json"
        KeyRing.load(file).add(public(), "Ada")
        ring = KeyRing.load(file)
        file.write_bytes(content)
        with pytest.raises(KeyRingError, match=rf"ring\.json'(?s:.*){said}"):
            KeyRing.load(file)
        with pytest.raises(KeyRingError):
            ring.add(public(), "Bob")
        assert ring.keys == ()
        assert file.read_bytes() == content

    def test_a_key_is_there_under_two_owners(self, tmp_path: Path) -> None:
        """A ring with one key twice is none."""
        file = tmp_path / "ring.json"
        KeyRing.load(file).add(public(), "Ada")
        document = json.loads(file.read_text())
        document["keys"].append(document["keys"][0] | {"owner": "Eve", "pinned": True})
        file.write_text(json.dumps(document))
        with pytest.raises(KeyRingError, match="twice"):
            KeyRing.load(file)

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664])
    def test_others_put_a_key_in(self, tmp_path: Path, mode: int) -> None:
        """A ring that others may write is not relied on; one that they may read is."""
        file = tmp_path / "ring.json"
        KeyRing.load(file).add(public(), "Ada")
        file.chmod(mode)
        with pytest.raises(KeyRingError, match=rf"others may write it \(mode {mode:04o}\); 'chmod 600' it"):
            KeyRing.load(file)
        file.chmod(0o644)
        assert len(KeyRing.load(file).keys) == 1

    def test_others_put_another_ring_there(self, tmp_path: Path) -> None:
        """Nor is one in a folder in which others may replace files; with the sticky bit they cannot."""
        folder = tmp_path / "folder"
        file = folder / "ring.json"
        KeyRing.load(file).add(public(), "Ada")
        folder.chmod(0o777)
        with pytest.raises(KeyRingError, match="others may write its folder"):
            KeyRing.load(file)
        folder.chmod(0o1777)
        assert len(KeyRing.load(file).keys) == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
    def test_a_ring_is_somebody_elses(self, tmp_path: Path) -> None:
        """What another user may change at will says nothing."""
        file = tmp_path / "ring.json"
        KeyRing.load(file).add(public(), "Ada")
        os.chown(file, 12345, -1)
        with pytest.raises(KeyRingError, match="somebody else's file"):
            KeyRing.load(file)

    def test_a_full_disk_takes_the_ring(self, tmp_path: Path) -> None:
        """A change that cannot be written is no change, on disk or in memory, and the next one that can is made."""
        file = tmp_path / "ring.json"
        ring = KeyRing.load(file)
        ring.add(public(), "Ada")
        before = file.read_bytes()
        with room_for(10), pytest.raises(KeyRingError, match="cannot be written: File too large"):
            ring.add(public(), "Bob")
        assert (file.read_bytes(), [key.owner for key in ring.keys]) == (before, ["Ada"])
        ring.add(public(), "Bob")
        assert [key.owner for key in KeyRing.load(file).keys] == ["Ada", "Bob"]

    def test_a_folder_stands_in_its_place(self, tmp_path: Path) -> None:
        """What is no file is an error, and a file where a folder should be as well."""
        (tmp_path / "ring.json").mkdir()
        with pytest.raises(KeyRingError, match="no regular file"):
            KeyRing.load(tmp_path / "ring.json")
        (tmp_path / "file").touch()
        with pytest.raises(KeyRingError):
            KeyRing.load(tmp_path / "file" / "ring.json").add(public(), "Ada")

    def test_two_processes_lose_each_others_keys(self, tmp_path: Path) -> None:
        """Each change is made to what is there by then."""
        file = tmp_path / "ring.json"
        processes: list[Any] = [
            subprocess.Popen([sys.executable, "-c", ADDING, str(file), name]) for name in ("Ada", "Bob")
        ]
        assert [process.wait(60) for process in processes] == [0, 0]
        owners = {key.owner for key in KeyRing.load(file).keys}
        assert owners == {f"{name} {number}" for name in ("Ada", "Bob") for number in range(15)}

    def test_a_change_of_others_is_not_seen(self, tmp_path: Path) -> None:
        """A ring that is open sees what another process revoked, once it looks again."""
        file = tmp_path / "ring.json"
        ring = KeyRing.load(file)
        key = ring.add(public(), "Ada")
        KeyRing.load(file).revoke(key.id, "stolen")
        assert ring.get(key.id) == key
        ring.reload()
        assert ring.keys[0].revoked_because == "stolen"

    def test_the_clock_of_a_change_goes_back(self, tmp_path: Path) -> None:
        """The last change is the latest time that the ring has ever seen."""
        file, times = tmp_path / "ring.json", [NOW]
        ring = KeyRing.load(file, clock=lambda: times[0])
        ring.add(public(), "Ada")
        times[0] = NOW - 1000
        ring.add(public(), "Bob")
        assert KeyRing.load(file).changed_at == NOW
