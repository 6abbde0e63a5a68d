"""The page on the decision core, run as its reader would run it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

PAGE = (Path(__file__).parents[1] / "docs" / "decision-core.md").read_text(encoding="utf-8")


async def test_the_example_decides_otherwise(tmp_path: Path) -> None:
    """It restarts at the third bad sample, and says afterwards that it helped."""
    found = re.search(r"<!-- example: drive.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "drive.py").write_text(found.group(1), encoding="utf-8")

    ended = await anyio.run_process([sys.executable, "drive.py"], cwd=tmp_path, check=False)

    lines = ended.stdout.decode().splitlines()
    assert len(lines) == 2, ended.stderr.decode()
    assert lines[0].startswith("28 act restart mail - wedged of mail: svc.mail.stalled is 8, bad above 5, 3 of 5")
    assert lines[1].startswith("38 True - restart on mail helped against wedged: svc.mail.stalled went from 8 to 0")
