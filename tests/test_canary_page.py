"""The page on canaries, run: its program tries new code on a share of the calls, and promotes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

PAGE = (Path(__file__).parents[1] / "docs" / "canary.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"canary.md has no example {name}"
    return found.group(1)


async def test_a_reader_sees_something_else(tmp_path: Path) -> None:
    """The program prints what the page says, and no state is lost at the promotion."""
    for name in ("prices.py", "trial.py"):
        (tmp_path / name).write_text(example(name), encoding="utf-8")
    ended = await anyio.run_process([sys.executable, "trial.py"], cwd=tmp_path, check=False)
    begun, split, last = ended.stdout.decode().splitlines() or [ended.stderr.decode(), "", ""]
    assert begun == "generation 2 beside 1"
    calls, by_candidate, failed = map(int, re.findall(r"\d+", split))
    assert (calls, failed) == (1000, 0)
    assert 50 <= by_candidate <= 150
    assert last == "{'cents': 90, 'asked': 1001}"
    assert last in PAGE
