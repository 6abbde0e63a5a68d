"""Governance killed at random points: no approval is used twice, no guard is passed, and the ledger stays whole.

A few rounds are played by default; more by::

    AETHERRA_FAULT_ROUNDS=100 pytest -m slow tests/acceptance/test_permission_crashes.py
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from aetherra.kernel import AskPermission, Config, Intent, Kernel
from aetherra.plugins.governance import Governance
from aetherra.plugins.governance.messages import (
    Approve,
    GetAuditTail,
    GetGovernanceStatus,
    ListApprovals,
    VerifyAudit,
)
from aetherra.registry import Identity

ASKER = Path(__file__).with_name("permission_asker.py")
APPROVALS = 60
ROUNDS = int(os.environ.get("AETHERRA_FAULT_ROUNDS", "0"))


@pytest.fixture
def anyio_backend() -> str:
    """The asker is a process of its own; one event loop is enough."""
    return "asyncio"


async def prepare(config: Config) -> None:
    """Have a person agree to many things."""
    async with Kernel(config) as kernel:
        await kernel.add_plugin(Governance, settings={"most_waiting": APPROVALS})
        person = kernel.bus.caller(Identity("remote", "ada"))
        for number in range(APPROVALS):
            name = f"{number:064x}"
            intent = Intent(kind="rollback", component=str(number), summary="r", digest=name, needs_approval="p")
            waits = await kernel.call(AskPermission(intent))
            await person.call(Approve(waits.approval))


def killed(folder: Path, chance: random.Random) -> list[list[str]]:
    """Run the asker, kill it at some moment between two answers, and return what it was told by then."""
    with subprocess.Popen([sys.executable, str(ASKER), str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        told = [process.stdout.readline() for _ in range(chance.randrange(10))]
        time.sleep(chance.random() * 0.02)
        process.kill()
        return [line.split() for line in (*told, *process.stdout)]


async def ends_of_acts(kernel: Kernel) -> dict[int, int]:
    """Return how often each act that was allowed ended, by the ledger."""
    entries = (await kernel.call(GetAuditTail(limit=10_000))).entries
    told = Counter(each.refers_to for each in entries)
    return {each.sequence: told[each.sequence] for each in entries if each.code == "allowed"}


@pytest.mark.slow
@pytest.mark.timeout(180 + 10 * ROUNDS)
async def test_a_kill_lets_something_pass_twice(tmp_path: Path) -> None:
    """Whatever was told before a kill holds in the next run: used is used, counted is counted, written is written.

    No kill is taken for a state that was put back, and what each cut off ends in the ledger, once.
    """
    config = Config.parse({"kernel": {"discover": False, "control_socket": False}}, root=tmp_path)
    chance = random.Random(int(os.environ.get("AETHERRA_SEED", "8")))
    await prepare(config)
    used, quarantines, told = Counter[str](), 0, 0
    for _ in range(ROUNDS or 8):
        lines = await anyio.to_thread.run_sync(killed, tmp_path, chance)
        for code, kind, _component, approval in (line for line in lines if len(line) == 4):
            told += 1
            if code == "allowed":
                quarantines += kind == "quarantine"
                used[approval] += kind == "rollback"
    assert told
    assert quarantines <= 2
    assert not used or max(used.values()) == 1
    async with Kernel(config) as kernel:
        await kernel.add_plugin(Governance)
        states = {each.id: each.state for each in (await kernel.call(ListApprovals(limit=1000))).approvals}
        assert all(states[approval] == "used" for approval in used if approval != "-")
        verification = (await kernel.call(VerifyAudit())).verification
        assert verification.ok, verification.problems
        assert not [each for each in (await kernel.call(GetGovernanceStatus())).measures if each.guard == "state"]
        with anyio.fail_after(20):
            while not all((ends := await ends_of_acts(kernel)).values()):  # noqa: ASYNC110  # there is no event of it
                await anyio.sleep(0.01)
        assert set(ends.values()) == {1}
