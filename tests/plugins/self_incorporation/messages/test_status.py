"""Messages of status: who says and hears no others loads no others."""

from __future__ import annotations

import subprocess
import sys

ASKING = """
import sys
from aetherra.plugins.self_incorporation.messages import GetSelfIncorporationStatus
print(*sorted(name for name in sys.modules if name.startswith("aetherra.plugins.")))
"""


def test_who_asks_for_the_status_loads_the_plugin() -> None:
    """Of self-incorporation it needs these messages alone: no gate, no night, nor the plugin itself."""
    ended = subprocess.run([sys.executable, "-c", ASKING], capture_output=True, text=True, check=True, timeout=60)

    assert ended.stdout.split() == [
        "aetherra.plugins.self_incorporation",
        "aetherra.plugins.self_incorporation.messages",
        "aetherra.plugins.self_incorporation.messages.status",
    ]
