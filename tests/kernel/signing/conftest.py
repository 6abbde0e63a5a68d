"""What the tests of signatures share: a key, a ring that knows it, a signed folder, and a world without the library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aetherra.kernel.signing import KeyRing, SigningKey, sign

NOW = 1_800_000_000.0


@pytest.fixture
def key() -> SigningKey:
    """A key of Ada's."""
    return SigningKey.generate()


@pytest.fixture
def ring(key: SigningKey) -> KeyRing:
    """A ring that knows her, and does not pin her."""
    ring = KeyRing.in_memory(clock=lambda: NOW)
    ring.add(key.public, "Ada")
    return ring


@pytest.fixture
def greeter(tmp_path: Path, key: SigningKey) -> Path:
    """A folder that she signed."""
    folder = tmp_path / "greeter"
    (folder / "words").mkdir(parents=True)
    (folder / "__init__.py").write_text("from greeter.words import polite\n")
    (folder / "words" / "polite.py").write_text("HELLO = 'Good day'\n")
    (folder / "words" / "rude.py").write_text("HELLO = 'Oi'\n")
    sign(folder, key, now=NOW)
    return folder


@pytest.fixture
def no_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the library not be there."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"] + ["cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
