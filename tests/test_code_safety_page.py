"""The page on code safety says what is so."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

from aetherra.plugins.self_incorporation.code.rules import INDICATORS
from aetherra.plugins.self_incorporation.gate.grants import GRANT_OF
from aetherra.plugins.self_incorporation.gate.policy import PolicySettings

PAGE = (Path(__file__).parents[1] / "docs" / "code-safety.md").read_text(encoding="utf-8")


def block(mark: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def rows(width: int) -> list[list[str]]:
    lines = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line[:1] == "|"
    ]
    return [cells for cells in lines if len(cells) == width]


class TestPage:
    def test_the_example_says_something_else(self) -> None:
        """The example runs, and prints what stands below it."""
        told = io.StringIO()
        with redirect_stdout(told):
            exec(compile(block("example: gate.py"), "gate.py", "exec"), {})

        assert told.getvalue() == block("output: gate.py")

    def test_a_table_is_of_yesterday(self) -> None:
        """Indicators and grants are those in force."""
        indicators = {cells[0]: (float(cells[1]), cells[2]) for cells in rows(3) if cells[0] in INDICATORS}
        grants = {cells[0]: cells[1] for cells in rows(2) if cells[0] in GRANT_OF}

        assert indicators == {code: (each.weight, each.message) for code, each in INDICATORS.items()}
        assert grants == GRANT_OF

    def test_the_tiers_are_others(self) -> None:
        """Bounds and grants of each tier are the defaults."""
        policy = PolicySettings()
        told = {
            cells[0]: (float(cells[2]), set(re.findall(r"[a-z]+:[a-z:*]+", cells[3])))
            for cells in rows(4)
            if cells[2][:2] == "0."
        }

        for name in ("verified", "trusted", "standard", "experimental"):
            tier = getattr(policy, name)
            assert told[name] == (tier.max_risk, set(tier.grants))
