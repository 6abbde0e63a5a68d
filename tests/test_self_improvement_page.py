"""The page on self-improvement, run: its baker gets more ovens, its detector reports, and its settings are taken."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from aetherra.plugins.self_improvement.settings import SelfImprovementSettings

PAGE = (Path(__file__).parents[1] / "docs" / "self-improvement.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"self-improvement.md has no example {name}"
    return found.group(1)


@pytest.mark.timeout(120)
async def test_a_reader_sees_something_else(tmp_path: Path) -> None:
    """The badly set knob is turned, the change is kept, and why is told."""
    for name in ("baker.py", "host.py"):
        (tmp_path / name).write_text(example(name), encoding="utf-8")
    with anyio.fail_after(100):
        ended = await anyio.run_process([sys.executable, "host.py"], cwd=tmp_path, check=False)
    lines = ended.stdout.decode().splitlines()
    assert lines[:3] == ["proposed", "applied", "kept"], ended.stderr.decode()
    assert "scale_up baker.ovens 1 -> 4 ovens" in lines[3]
    assert any(line.startswith("evidence: baker.wait") for line in lines)
    assert any(line.startswith("outcome: better") for line in lines)


def test_the_detector_of_the_page_reports_nothing() -> None:
    """It scores what is usual below a half, and what is not above."""
    exec(compile(example("detector.py"), "detector.py", "exec"), {})


def test_the_settings_of_the_page_are_refused() -> None:
    """All that the page names is a setting, and what it calls defaults are."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    said = msgspec.convert(json.loads(block), SelfImprovementSettings)
    assert said.setpoints["host.load"] is None
    defaults = SelfImprovementSettings()
    for name in ("analysis_interval", "window", "horizon", "retention", "confidence_threshold", "max_proposals",
                 "expiry", "cool_down", "give_back_after", "explore", "trial"):  # fmt: skip
        assert getattr(said, name) == getattr(defaults, name), name
