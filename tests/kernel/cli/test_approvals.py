"""``aetherra approvals`` against a real host on its socket."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import anyio.to_thread
import pytest

from aetherra.kernel import AskPermission, Config, Intent, Kernel
from aetherra.kernel.cli.app import run_cli
from aetherra.kernel.cli.approvals import STATES
from aetherra.plugins.governance import Governance
from aetherra.plugins.governance.approvals import ApprovalState

WANTED = Intent(
    kind="integration", component="greeter", summary="bring it in", digest="a" * 64, needs_approval="policy says so"
)


async def run(path: Path, *words: str) -> int:
    """Run a command in a thread, as it has an event loop of its own."""
    return await anyio.to_thread.run_sync(run_cli, [*words, "--path", str(path)])


@asynccontextmanager
async def governed(path: Path, **settings: Any) -> AsyncGenerator[Kernel]:
    """Host governance over a folder."""
    async with Kernel(Config.parse({"kernel": {"discover": False}}, root=path)) as kernel:
        await kernel.add_plugin(Governance, settings=settings)
        yield kernel


class TestApprovals:
    async def test_a_person_cannot_decide(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What waits is listed, agreed to by name, used once, and may be denied before that."""
        async with governed(tmp_path) as kernel:
            waits = (await kernel.call(AskPermission(WANTED))).approval
            assert await run(tmp_path, "approvals", "list") == 0
            told = capsys.readouterr().out
            assert all(text in told for text in (waits, "pending", "integration of greeter", "aaaaaaaaaaaa", "policy"))

            assert await run(tmp_path, "approvals", "approve", waits, "--reason", "read it", "--as", "ada") == 0
            assert capsys.readouterr().out.startswith(f"{waits}: approved, until ")
            assert await run(tmp_path, "approvals", "deny", waits, "--json") == 0
            denied = json.loads(capsys.readouterr().out)
            assert (denied["state"], denied["decided_by"]) == ("denied", "remote client 'aetherra command line'")
            assert await run(tmp_path, "approvals", "approve", waits, "--as", "ada") == 0
            assert (await kernel.call(AskPermission(WANTED))).allowed
            capsys.readouterr()
            assert await run(tmp_path, "approvals", "list", "--state", "used", "--json") == 0
            assert [each["id"] for each in json.loads(capsys.readouterr().out)] == [waits]

    async def test_a_no_is_no_error(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What cannot be decided, or not here, is said, and the exit status is 1."""
        async with governed(tmp_path):
            assert await run(tmp_path, "approvals", "approve", "none") == 1
            assert "there is no approval 'none'; see 'aetherra approvals list'" in capsys.readouterr().err
        async with Kernel(Config.parse({"kernel": {"discover": False}}, root=tmp_path)):
            assert await run(tmp_path, "approvals", "list") == 1
            assert "nobody governs this host" in capsys.readouterr().err
        assert await run(tmp_path, "approvals", "list") == 1
        assert "no host is running here" in capsys.readouterr().err

    def test_a_state_cannot_be_asked_for(self) -> None:
        """``--state`` takes each state that an approval may be in, and no other."""
        assert set(STATES) == set(get_args(ApprovalState))
