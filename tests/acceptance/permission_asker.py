"""Ask for permission without end, and say each answer once it is there; to be killed at any moment."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from aetherra.kernel import AskPermission, Config, Intent, Kernel, TellOutcome
from aetherra.plugins.governance import Governance
from aetherra.plugins.governance.messages import ListApprovals


async def main(folder: Path) -> None:
    """Use up what persons have agreed to, integrate as often as is let pass, and act on one part after the other."""
    config = Config.parse({"kernel": {"discover": False, "control_socket": False}}, root=folder)
    async with Kernel(config) as kernel:
        await kernel.add_plugin(Governance)
        approved = (await kernel.call(ListApprovals(state="approved", limit=1000))).approvals
        wanted = [
            Intent(
                kind=each.kind, component=each.component, summary=each.summary, digest=each.digest, needs_approval="p"
            )
            for each in approved
        ]
        wanted += [Intent(kind="quarantine", component=str(number), summary="q") for number in range(3)]
        print("began", flush=True)
        for intent in wanted:
            answer = await kernel.call(AskPermission(intent))
            print(answer.code, intent.kind, intent.component, answer.approval or "-", flush=True)
            if answer.allowed:
                await kernel.call(TellOutcome(answer.entry, "done"))
    print("ended", flush=True)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
