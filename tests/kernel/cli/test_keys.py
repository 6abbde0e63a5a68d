"""``aetherra keys``: real files, read back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel.cli.app import run_cli
from aetherra.kernel.ledger import AuditLedger, ledger_folder
from aetherra.kernel.signing import KeyRing, PublicKey, SigningKey

Capture = pytest.CaptureFixture[str]
RING = Path(".aetherra/governance/keyring.json")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty project."""
    monkeypatch.chdir(tmp_path)


def told(capsys: Capture, *words: str) -> Any:
    """Return what a program reads."""
    assert run_cli(["keys", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


class TestNew:
    def test_a_key_is_made_for_all(self, capsys: Capture) -> None:
        """The private one is its owner's alone; the public one is told, and can be taken in as it stands there."""
        assert run_cli(["keys", "new", "ada.key"]) == 0
        said = capsys.readouterr().out
        key = SigningKey.load(Path("ada.key")).public
        assert said.startswith(f"{key.id}: keep ada.key to yourself")
        assert PublicKey.load(Path("ada.key.pub")) == key
        assert Path("ada.key").stat().st_mode & 0o777 == 0o600
        assert run_cli(["keys", "add", "ada.key.pub", "--owner", "Ada"]) == 0
        assert KeyRing.load(RING).get(key.id)

    def test_a_key_is_written_over(self, capsys: Capture) -> None:
        """Neither file is, and half a pair is not left behind."""
        made = told(capsys, "new", "ada.key")
        assert (made["file"], made["public_file"]) == ("ada.key", "ada.key.pub")
        whole = Path("ada.key").read_bytes(), Path("ada.key.pub").read_bytes()
        assert run_cli(["keys", "new", "ada.key"]) == 1
        assert "a key is not written over" in capsys.readouterr().err
        assert (Path("ada.key").read_bytes(), Path("ada.key.pub").read_bytes()) == whole
        Path("ada.key.pub").unlink()
        assert run_cli(["keys", "new", "ada.key"]) == 1
        assert not Path("ada.key.pub").exists()
        assert run_cli(["keys", "new", "none/ada.key"]) == 1
        assert "cannot write a key: No such file" in capsys.readouterr().err

    def test_a_passphrase_is_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that was to be encrypted is."""
        monkeypatch.setattr("click.prompt", lambda *_, **__: "correct horse")
        assert run_cli(["keys", "new", "ada.key", "--passphrase"]) == 0
        assert SigningKey.load(Path("ada.key"), passphrase="correct horse")


class TestRing:
    def test_a_key_is_not_listed(self, capsys: Capture) -> None:
        """Each has a row for people, and all of it for programs, with what it may do now."""
        ada, bob = SigningKey.generate().public, SigningKey.generate().public
        assert told(capsys, "list") == []
        ada.save(Path("ada.pub"))
        assert told(capsys, "add", "ada.pub", "--owner", "Ada", "--pin", "--valid-for", "7d")["state"] == "pinned"
        assert told(capsys, "add", bob.text, "--owner", "Bob", "--not-before", "2100-01-01")["state"] == "not yet valid"
        found = told(capsys, "list")
        assert [(key["key"], key["owner"], key["public"]) for key in found] == [
            (ada.id, "Ada", ada.text),
            (bob.id, "Bob", bob.text),
        ]
        assert 0 <= time.time() + 7 * 86_400 - found[0]["not_after"] < 600
        assert told(capsys, "unpin", ada.id)["state"] == "known"
        assert told(capsys, "pin", ada.id)["state"] == "pinned"
        assert told(capsys, "revoke", ada.id, "--reason", "stolen")["state"] == "revoked"
        assert run_cli(["keys", "list"]) == 0
        header, first, second = capsys.readouterr().out.splitlines()
        assert header.split() == ["KEY", "OWNER", "STATE", "FROM", "UNTIL", "WHY"]
        assert first.split()[:3] == [ada.id, "Ada", "revoked"]
        assert first.endswith("stolen")
        assert second.split()[:3] == [bob.id, "Bob", "not"]

    def test_a_span_begins_elsewhere(self, capsys: Capture) -> None:
        """It counts from when the key begins to be valid."""
        key = SigningKey.generate().public.text
        added = told(capsys, "add", key, "--owner", "A", "--not-before", "2100-01-01T00:00+00:00", "--valid-for", "1d")
        assert added["not_after"] - added["not_before"] == 86_400

    @pytest.mark.parametrize(
        ("words", "status", "said"),
        [
            (["add", "none.pub", "--owner", "A"], 1, "none.pub': cannot read a public key: No such file"),
            (["add", "ed25519:AAAA", "--owner", "A"], 1, "expected an Ed25519 key of 32 bytes, got 3"),
            (["add", "ada.key", "--owner", "A"], 1, "this is a private key: it stays with its owner"),
            (["add", "ada.pub"], 2, "Missing option '--owner'"),
            (["add", "ada.pub", "--owner", " "], 1, "a key needs an owner"),
            (["add", "ada.pub", "--owner", "A", "--not-after", "soon"], 2, "expected Unix seconds"),
            (["add", "ada.pub", "--owner", "A", "--not-after", "1", "--valid-for", "1d"], 2, "give one of them"),
            (["add", "ada.pub", "--owner", "A", "--not-after", "1", "--not-before", "2"], 1, "end before it begins"),
            (["pin", "ed25519:00"], 1, "there is no key 'ed25519:00' in the ring; there are: none"),
            (["revoke", "ed25519:00"], 2, "Missing option '--reason'"),
            (["list", "--keyring", "ada.pub"], 1, "is no key ring"),
        ],
        ids=range(11),
    )
    def test_a_mistake_is_a_traceback(self, capsys: Capture, words: list[str], status: int, said: str) -> None:
        """What is wrong is said in a line, and no ring is made."""
        key = SigningKey.generate()
        key.save(Path("ada.key"))
        key.public.save(Path("ada.pub"))
        assert run_cli(["keys", *words]) == status
        out, err = capsys.readouterr()
        assert (out, said in err) == ("", True)
        assert not RING.exists()


class TestLedger:
    def test_a_change_of_the_ring_leaves_no_trace(self, capsys: Capture) -> None:
        """Where a host has run, who changed what stands in its ledger; of another ring nothing does."""
        key = told(capsys, "new", "ada.key")["key"]
        told(capsys, "add", "ada.key.pub", "--owner", "Ada", "--keyring", "other.json")
        told(capsys, "add", "ada.key.pub", "--owner", "Ada")
        data_dir = RING.parent.parent.absolute()
        assert not ledger_folder(data_dir).exists()
        with AuditLedger.open(data_dir) as ledger:
            ledger.prepare()
        told(capsys, "pin", key)
        told(capsys, "unpin", key)
        told(capsys, "revoke", key, "--reason", "stolen")
        told(capsys, "revoke", key, "--reason", "stolen", "--keyring", "other.json")
        with AuditLedger.open(data_dir) as ledger:
            entries = ledger.tail()

        assert [(entry.kind, entry.component) for entry in entries[1:]] == [
            ("keys.pin", key),
            ("keys.unpin", key),
            ("keys.revoke", key),
        ]
        assert entries[-1].facts == {"why": "stolen"}
        assert entries[-1].actor.startswith("person:")

    def test_a_ledger_that_cannot_be_written_keeps_a_key_from_being_revoked(self, capsys: Capture) -> None:
        """It is revoked, and the person told that the ledger does not say so."""
        key = told(capsys, "new", "ada.key")["key"]
        told(capsys, "add", "ada.key.pub", "--owner", "Ada")
        folder = ledger_folder(RING.parent.parent)
        folder.mkdir(parents=True)
        (folder / "audit-000000000001.jsonl").write_text("forged\n")
        assert run_cli(["keys", "revoke", key, "--reason", "stolen"]) == 0
        assert "not in the audit ledger" in capsys.readouterr().err
        known = KeyRing.load(RING).get(key)
        assert known is not None
        assert known.state(time.time()) == "revoked"
