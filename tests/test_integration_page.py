"""The page on integration: its workflow can be done, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from aetherra.plugins.self_incorporation.integration.integrator import KEPT
from aetherra.plugins.self_incorporation.integration.plan import Action, ConflictCode
from aetherra.plugins.self_incorporation.integration.probation import Terms, Verdict, calls_needed
from aetherra.plugins.self_incorporation.integration.workflows import read_workflow

PAGE = (Path(__file__).parents[1] / "docs" / "integration.md").read_text(encoding="utf-8")


def test_the_workflow_of_the_page_cannot_be_read() -> None:
    """It is one, with a way back for its first step."""
    found = re.search(r"<!-- example: flow.json -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    flow = read_workflow(found.group(1).encode())
    assert [(step.tag, step.undo is not None) for step in flow.steps] == [("lights.add", True), ("lights.test", False)]


def test_something_is_not_on_the_page() -> None:
    """Each action, conflict, verdict and term that there is stands there, and the figures are those of the code."""
    for name in (*get_args(Action), *get_args(ConflictCode), *get_args(Verdict)):
        assert f"`{name}`" in PAGE, name
    terms = Terms()
    for name in re.findall(r"`trial\.(\w+)`", PAGE):
        assert hasattr(terms, name), name
    assert f"({calls_needed(terms)} within two minutes by default)" in PAGE
    assert terms.seconds == 120
    assert f"The latest {KEPT} integrations" in PAGE
