"""The page on the audit ledger, run: its commands do what it says, and its figures are the settings' own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from aetherra.kernel.cli.app import run_cli
from aetherra.kernel.ledger import AuditLedger, LedgerSettings, ProblemKind, ledger_folder

PAGE = (Path(__file__).parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"audit.md has no example {name}"
    return found.group(1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a ledger, in which the page's commands are run."""
    with AuditLedger.open(tmp_path / ".aetherra") as ledger:
        ledger.append(kind="knob", actor="plugin:tuner", component="plant.pool", summary="turned", code="allowed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str, capfd: pytest.CaptureFixture[str], *more: str) -> list[int]:
    """Run each command of an example and return how they ended."""
    ended: list[int] = []
    for line in example(name).splitlines():
        _, _, *arguments = shlex.split(line.removeprefix("$ "))
        target = arguments[arguments.index(">") + 1] if ">" in arguments else None
        ended.append(run_cli(["audit", *arguments[: arguments.index(">") if target else None], *more]))
        out = capfd.readouterr().out
        if target:
            Path(target).write_text(out, encoding="utf-8")
    return ended


@pytest.mark.usefixtures("project")
class TestCommands:
    def test_a_command_of_the_page_fails(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Reading, checking, and keeping a copy."""
        assert run("check", capfd) == [0, 0]
        assert run("copy", capfd) == [0, 0]

    def test_the_hash_is_another_by_hand(self, project: Path) -> None:
        """The line of shell prints what the first entry says."""
        folder = ledger_folder(project / ".aetherra")
        told = subprocess.run(["sh", "-c", example("by hand")], cwd=folder, capture_output=True, text=True, check=True)
        first = json.loads(next(folder.glob("*.jsonl")).read_bytes().splitlines()[0])

        assert told.stdout.split()[0] == first["entry_hash"]

    def test_the_way_out_leads_nowhere(self, state_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """A lost head fails the check, is adopted, and the check holds again."""
        shutil.rmtree(state_home / "aetherra")
        assert run("check", capfd) == [0, 1]
        assert run("adopt", capfd, "--yes") == [0]
        assert run("check", capfd) == [0, 0]


class TestTables:
    def test_a_problem_is_not_explained(self) -> None:
        """Each kind that ``verify`` may say stands on the page; a torn line is told below."""
        table = PAGE.split("| It says |")[1].split("\n\n")[0]

        assert set(re.findall(r"`(\w+)`", table)) == set(get_args(ProblemKind)) - {"torn"}

    def test_a_default_is_another(self) -> None:
        """Bounds, in the units of the page."""
        settings = LedgerSettings()

        assert f"| {settings.segment_bytes // 2**20} MiB, {settings.segment_age / 86_400:g} days |" in PAGE
        assert f"| {settings.max_bytes // 2**20} MiB, {settings.max_age / 86_400 / 365:g} years |" in PAGE
        assert set(LedgerSettings.__struct_fields__) <= set(re.findall(r"`(\w+)`", PAGE.split("## Settings")[1]))
