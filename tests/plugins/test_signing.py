"""The front door for signatures: what plugins find there, and what it costs to open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from aetherra.plugins import signing

COST = """
import sys
import aetherra.plugins.signing, aetherra.kernel.cli.app
print([name for name in sys.modules if name.partition(".")[0] in ("cryptography", "_cffi_backend")])
"""


def test_the_door_leads_nowhere(tmp_path: Path) -> None:
    """A plugin signs and checks with what it finds there."""
    key, ring = signing.SigningKey.generate(), signing.KeyRing.in_memory()
    ring.add(key.public, "Ada")
    (tmp_path / "x.py").touch()
    signing.sign(tmp_path / "x.py", key)
    found = signing.verify(tmp_path / "x.py", ring)
    assert (found.status, found.owner) == ("valid", "Ada")
    assert set(signing.__all__) == {name for name in vars(signing) if not name.startswith("_")}


def test_the_door_costs_a_library() -> None:
    """Whoever imports it imports no cryptography: that is loaded when something is signed or checked."""
    done = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
