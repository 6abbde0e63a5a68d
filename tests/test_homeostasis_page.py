"""The page on homeostasis, run: its plugin hangs, and is restarted, and the page's settings are taken."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from aetherra.plugins.homeostasis.settings import HomeostasisSettings

PAGE = (Path(__file__).parents[1] / "docs" / "homeostasis.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"homeostasis.md has no example {name}"
    return found.group(1)


@pytest.mark.timeout(120)
async def test_a_reader_sees_something_else(tmp_path: Path) -> None:
    """The plugin hangs, is restarted, and why is told."""
    for name in ("oracle.py", "host.py"):
        (tmp_path / name).write_text(example(name), encoding="utf-8")
    ended = await anyio.run_process([sys.executable, "host.py"], cwd=tmp_path, check=False)
    lines = ended.stdout.decode().splitlines()
    assert lines[:3] == ["42", "CallTimeoutError", "restart_plugin oracle"], ended.stderr.decode()
    told = "\n".join(lines[3:])
    assert "'restart_plugin' of 'oracle'" in told
    assert "wedged" in told
    assert "restarted 'oracle': generation 1 -> 2" in told


def test_the_settings_of_the_page_are_refused() -> None:
    """They make a policy, in which the rule of the page stands and those that it leaves out do not."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    policy = msgspec.convert(json.loads(block), HomeostasisSettings).policy()
    assert "hot" in policy.rules
    assert "blocking" not in policy.rules
    assert policy.knobs == {}
    assert policy.slos["answers"].target == 0.99
