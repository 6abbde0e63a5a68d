"""The page on actions, run as its reader would run it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

PAGE = (Path(__file__).parents[1] / "docs" / "actions.md").read_text(encoding="utf-8")


async def test_the_mill_grinds_something_else(tmp_path: Path) -> None:
    """The program prints what its comments say."""
    found = re.search(r"<!-- example: mill.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "mill.py").write_text(found.group(1), encoding="utf-8")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    ended = await anyio.run_process([sys.executable, "mill.py"], cwd=tmp_path, check=False)

    lines = ended.stdout.decode().splitlines()
    assert lines[:3] == ["Flour(kilos=5)", "Flour(kilos=7)", "True"], ended.stderr.decode()
    assert lines[3].startswith("plugin 'mill' (generation 1) failed on 'mill.grind'")
    assert lines[4] == "{'kilos': 1, 'grain': 'sand'}"
