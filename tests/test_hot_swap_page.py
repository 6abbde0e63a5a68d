"""The page on hot swap, run as its reader would run it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

PAGE = (Path(__file__).parents[1] / "docs" / "hot-swap.md").read_text(encoding="utf-8")


async def test_the_counter_counts_otherwise(tmp_path: Path) -> None:
    """The program prints what its comments say, and its log says what the page shows, but for times."""
    found = re.search(r"<!-- example: swaps.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "swaps.py").write_text(found.group(1), encoding="utf-8")

    ended = await anyio.run_process([sys.executable, "swaps.py"], cwd=tmp_path, check=False)

    said = ended.stderr.decode()
    comments = [line.rpartition("# ")[2] for line in found.group(1).splitlines() if line.strip().startswith("print(")]
    for line, comment in zip(ended.stdout.decode().splitlines(), comments, strict=True):
        assert line.startswith(comment.removesuffix(" ...")), said
    shown = re.search(r"```text\n(counter swapped.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    log = re.sub(r"in [\d.]+ ms", "in N ms", said).replace(f"{tmp_path}/", "")
    for line in re.sub(r"in [\d.]+ ms", "in N ms", shown.group(1)).splitlines():
        assert line.strip() in log
