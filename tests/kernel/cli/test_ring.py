"""Which ring a command is about, and whose passphrase it asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aetherra.kernel.cli.ring import private_key, ring_of
from aetherra.kernel.errors import ConfigError
from aetherra.kernel.signing import KeyRing, PassphraseNeededError, SigningKey

ASKING = """
import sys
from pathlib import Path
from aetherra.kernel.cli.ring import private_key
print(private_key(Path(sys.argv[1])).public.id)
"""


class TestRingOf:
    def test_a_project_has_another_ring(self, tmp_path: Path) -> None:
        """It is in the data directory that the configuration names, or where --keyring says."""
        (tmp_path / "config.json").write_text(json.dumps({"kernel": {"data_dir": "state"}}))
        key = SigningKey.generate().public
        KeyRing.load(tmp_path / "state" / "governance" / "keyring.json").add(key, "Ada")
        assert ring_of(None, tmp_path, None).get(key.id)
        assert ring_of(tmp_path / "other.json", tmp_path, None).keys == ()

    def test_a_host_without_a_disk_has_a_ring(self, tmp_path: Path) -> None:
        """It has none, which is said with the remedy."""
        (tmp_path / "config.json").write_text(json.dumps({"kernel": {"data_dir": None, "durability": "none"}}))
        with pytest.raises(ConfigError, match="name a ring with --keyring"):
            ring_of(None, tmp_path, None)
        assert ring_of(tmp_path / "ring.json", tmp_path, None).keys == ()


class TestPrivateKey:
    def test_nobody_is_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A bare key is read, and without a terminal an encrypted one is an error."""
        key = SigningKey.generate()
        key.save(tmp_path / "bare.key")
        key.save(tmp_path / "closed.key", passphrase="correct horse")
        assert private_key(tmp_path / "bare.key").public == key.public
        with Path(os.devnull).open() as nobody:
            monkeypatch.setattr(sys, "stdin", nobody)
            with pytest.raises(PassphraseNeededError):
                private_key(tmp_path / "closed.key")

    def test_the_passphrase_is_shown(self, tmp_path: Path) -> None:
        """On a terminal it is asked for, and does not appear there as it is typed."""
        key = SigningKey.generate()
        key.save(tmp_path / "closed.key", passphrase="correct horse")
        ours, theirs = os.openpty()
        command = [sys.executable, "-c", ASKING, str(tmp_path / "closed.key")]
        with subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True
        ) as asking:
            os.close(theirs)
            shown = b""
            while b"closed.key: " not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, b"correct horse\n")
            assert asking.stdout is not None
            assert asking.stdout.read().decode().strip() == key.public.id
            assert asking.wait(30) == 0
        os.set_blocking(ours, False)
        try:
            while part := os.read(ours, 1000):
                shown += part
        except OSError:  # nobody is at the other end any more
            pass
        os.close(ours)
        assert b"horse" not in shown
