"""The page on messages, run: its plugin serves, and a stranger's program in another process talks to it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

from aetherra.kernel import Config, Kernel

PAGE = (Path(__file__).parents[1] / "docs" / "messages.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"messages.md has no example {name}"
    return found.group(1)


async def test_a_stranger_hears_something_else(tmp_path: Path) -> None:
    """The call is answered, the retained event heard, and the handler's error told, as the page says."""
    for name in ("weather.py", "stranger.py"):
        (tmp_path / name).write_text(example(name), encoding="utf-8")
    document = {"kernel": {"discover": False}, "plugins": {"weather": {"source": "weather.py"}}}
    async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
        assert await kernel.call_tag("weather.ask", {"place": "Oslo"}) == {"text": "fine in Oslo"}
        command = [sys.executable, "stranger.py"]
        ended = await anyio.run_process(command, cwd=tmp_path, check=False)
    lines = ended.stdout.decode().splitlines()
    assert lines[:2] == ["fine in Oslo", "21.5"], ended.stderr.decode()
    assert lines[2] == ("plugin 'weather' (generation 1) failed on 'weather.ask': ValueError: nowhere has no weather")
