"""The ledger's keys: Ed25519 if it can be had, and for good; else a secret, and in no case somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import keys
from aetherra.kernel.ledger.chain import Tip
from aetherra.kernel.ledger.head import HeadStore
from aetherra.kernel.ledger.keys import SECRET_NAME, SIGNING_NAME, LedgerKeys
from aetherra.kernel.signing import KeyFileError, SigningKey, SigningUnavailableError


def made(folder: Path) -> LedgerKeys:
    keys = LedgerKeys.make(folder)
    LedgerKeys.keep(folder)
    return keys


class TestKeys:
    def test_keys_are_others_after_a_restart(self, tmp_path: Path, scheme: str) -> None:
        """What is loaded has signed what was signed by what was made, and nothing else."""
        keys = made(tmp_path)
        again = LedgerKeys.load(tmp_path)
        assert again is not None
        signature = keys.sign(b"statement")

        assert keys.id.startswith(f"{scheme}:")
        assert (again.id, again.secret) == (keys.id, keys.secret)
        assert again.has_signed(signature, b"statement")
        assert not again.has_signed(signature, b"another")
        assert not again.has_signed("", b"statement")
        assert not again.has_signed("no hex", b"statement")
        assert not again.has_signed(signature.upper(), b"statement")
        assert not again.has_signed("é", b"statement")

    @pytest.mark.usefixtures("scheme")
    def test_two_folders_have_one_key(self, tmp_path: Path) -> None:
        """Each is random, and printed by none."""
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        a, b = made(tmp_path / "a"), made(tmp_path / "b")

        assert a.id != b.id
        assert not b.has_signed(a.sign(b"x"), b"x")
        assert a.secret.hex() not in repr(a)

    def test_a_library_that_comes_later_changes_the_scheme(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The scheme is that of the key that is there, whatever is installed."""
        with monkeypatch.context() as patch:
            patch.setattr("aetherra.kernel.ledger.keys.signing_available", lambda: False)
            made(tmp_path)
        again = LedgerKeys.load(tmp_path)

        assert again is not None
        assert again.id.startswith("hmac-sha256:")

    def test_there_are_none(self, tmp_path: Path) -> None:
        """An empty folder, or none at all."""
        assert LedgerKeys.load(tmp_path) is None
        assert LedgerKeys.load(tmp_path / "not there") is None

    def test_a_kill_before_they_are_kept_loses_them(self, tmp_path: Path) -> None:
        """A secret that stands beside its place is found; one in its place comes first."""
        keys = LedgerKeys.make(tmp_path)
        beside = LedgerKeys.load(tmp_path)
        assert beside is not None
        LedgerKeys.keep(tmp_path)
        LedgerKeys.keep(tmp_path)
        LedgerKeys.make(tmp_path)
        kept = LedgerKeys.load(tmp_path)
        assert kept is not None

        assert beside.secret == keys.secret == kept.secret

    @pytest.mark.parametrize("content", [b"", b"abcd\n", b"no hex" * 10, b"ab" * 33, b"\xff" * 64, b"a" * 2000])
    def test_something_else_is_taken_for_a_secret(self, tmp_path: Path, content: bytes) -> None:
        """An error names the file."""
        made(tmp_path)
        (tmp_path / SECRET_NAME).write_bytes(content)
        with pytest.raises(DataFileError, match=SECRET_NAME):
            LedgerKeys.load(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    def test_something_else_is_taken_for_a_signing_key(self, tmp_path: Path, content: bytes) -> None:
        """An error names the file; the secret alone does not do instead."""
        made(tmp_path)
        (tmp_path / SIGNING_NAME).write_bytes(content)
        with pytest.raises(DataFileError, match=SIGNING_NAME):
            LedgerKeys.load(tmp_path)

    @pytest.mark.parametrize("fault", [SigningUnavailableError(), KeyFileError("head.pem", "the disk is full")])
    def test_a_key_that_cannot_be_made_is_another_error(
        self, tmp_path: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A library that is found and does not work, or a full disk: who appends knows one error for all of it."""

        def fail() -> None:
            raise fault

        monkeypatch.setattr(keys, "signing_available", lambda: True)
        monkeypatch.setattr(SigningKey, "generate", fail)
        with pytest.raises(DataFileError, match=SIGNING_NAME):
            HeadStore(tmp_path / "head").begin(Tip(ledger="l" * 32), 1.0)

    @pytest.mark.parametrize("name", [SECRET_NAME, SIGNING_NAME])
    def test_a_key_that_others_may_read_is_used(self, tmp_path: Path, name: str) -> None:
        """It is refused, and the remedy named."""
        made(tmp_path)
        (tmp_path / name).chmod(0o640)
        with pytest.raises(DataFileError, match="chmod 600"):
            LedgerKeys.load(tmp_path)
