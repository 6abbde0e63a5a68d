"""``aetherra guards`` against a real host on its socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aetherra.kernel import AskPermission, Intent
from tests.kernel.cli.test_approvals import governed, run

ACT = Intent(kind="actuator", component="oven", summary="heat", actuator="heater")


class TestGuards:
    async def test_a_breach_is_not_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each guard has a row, who counts one of their own, and what is in force stands below; a reset ends it."""
        async with governed(tmp_path) as kernel:
            for _ in range(2):
                await kernel.call(AskPermission(ACT))
            assert await run(tmp_path, "guards", "list") == 0
            told = capsys.readouterr().out
            assert "1 of 1 in 60.0 s" in told
            assert "in force until 20" in told
            assert "disable actuator (the host heater): one more actuator" in told
            assert await run(tmp_path, "guards", "list", "--json") == 0
            found = json.loads(capsys.readouterr().out)
            assert [each["key"] for each in found["guards"] if each["used"]] == ["oven"]

            words = ("guards", "reset", "actions_per_component_per_minute", "--key", "oven", "--reason", "it is well")
            assert await run(tmp_path, *words) == 0
            assert capsys.readouterr().out == (
                "actions_per_component_per_minute begins anew, 1 forgotten; no longer in force: 1\n"
            )
            assert (await kernel.call(AskPermission(ACT))).allowed

    async def test_an_unknown_guard_is_reset(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A name that is none is answered with those there are."""
        async with governed(tmp_path):
            assert await run(tmp_path, "guards", "reset", "integrations") == 1
            assert "expected one of integrations_per_hour" in capsys.readouterr().err
