"""Rounds of death in the middle of integrating and rolling back: real hosts, forked, killed, and looked at afterwards.

Run by ``test_integration_crashes.py``; prints a JSON report. Each round has three lives of a host over one folder: one
brings something in; one integrates over it, or rolls that back, and dies at a call that writes; the last recovers, and
what it finds must be all old or all new, to the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from aetherra.hmr import HmrController
from aetherra.kernel import Config, Kernel
from aetherra.plugins import Plugin, PluginContext
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.integration.host_hands import CAPABILITIES, HostHands
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner
from aetherra.plugins.self_incorporation.integration.probation import Terms
from tests.acceptance import crash_points
from tests.plugins.self_incorporation.integration.conftest import Leave, item_at, judged, snapshot

crash_points.BY_PATH = (*crash_points.BY_PATH, "mkdir", "rmdir", "chmod")  # type: ignore[assignment]

LAMP = """
from aetherra.plugins import Message, Plugin, Request, handler
import bulb

class {name}Lit(Message, tag="{tag}.lit"):
    text: str

class {name}Light(Request[{name}Lit], tag="{tag}.light"):
    pass

class {name}(Plugin):
    @handler
    async def light(self, request: {name}Light) -> {name}Lit:
        return {name}Lit("{version} " + bulb.COLOUR)
"""


class Integrating(Plugin):
    """Has the privilege, and hands out its integrator."""

    name = "integrating"
    capabilities = CAPABILITIES
    privileges = ("kernel:swap",)
    integrator: CoreIntegrator

    async def start(self, ctx: PluginContext) -> None:
        assert ctx.data_dir is not None
        hands = HostHands(ctx, ctx.privilege("kernel:swap"), Terms(look=0.005, first_time=0.01, traffic=0.0))
        type(self).integrator = CoreIntegrator(hands, ctx.data_dir, now=ctx.clock.time, log=ctx.log)
        await self.integrator.recover()


def lay_out(root: Path, version: int) -> None:
    """Write what is to be brought in: a plugin, a package that is there from version 2 on, what both import, data."""
    root.mkdir(exist_ok=True)
    (root / "lamp.py").write_text(LAMP.format(name="Lamp", tag="lamp", version=version), encoding="utf-8")
    (root / "bulb.py").write_text(f"COLOUR = 'colour {version}'\n", encoding="utf-8")
    (root / "a.csv").write_text("x\n" + "1\n" * version, encoding="utf-8")
    if version > 1:
        (root / "hall" / "deep").mkdir(parents=True, exist_ok=True)
        (root / "hall" / "deep" / "data.py").write_text(f"V = {version}\n", encoding="utf-8")
        text = "from .deep import data\n" + LAMP.format(name="Hall", tag="hall", version=version)
        (root / "hall" / "__init__.py").write_text(text, encoding="utf-8")


async def integrate(integrator: CoreIntegrator, root: Path) -> str:
    """Bring in what is laid out, and return the token."""
    items = [
        item_at(root, "lamp.py", imports=("bulb",), name="lamp", risk=0.4),
        item_at(root, "bulb.py", FileKind.UTILITY, risk=0.1),
        item_at(root, "a.csv", FileKind.DATASET, risk=0.2),
    ]
    if (root / "hall").exists():
        items.append(item_at(root, "hall", imports=("bulb",), name="hall", risk=0.3))
    plan = IntegrationPlanner().plan([judged(item) for item in items], await integrator.world(), at=0.0)
    assert not plan.left_out, plan.left_out
    return (await integrator.integrate(plan, Leave())).token


async def hosted(folder: Path, act: Callable[[Kernel, CoreIntegrator], Awaitable[Any]]) -> Any:
    """Do something in a host over a folder, once it has recovered and brought up what was integrated."""
    document = {"kernel": {"discover": False, "data_dir": str(folder / "data")}, "plugins": {}}
    async with Kernel(Config.parse(document, root=folder)) as kernel:
        await kernel.add_plugin(HmrController)
        await kernel.add_plugin(Integrating)
        problems = [one for one in await Integrating.integrator.bring_up() if one.problem]
        assert not problems, problems
        return await act(kernel, Integrating.integrator)


def live(folder: Path, backend: str, act: Callable[[Kernel, CoreIntegrator], Awaitable[Any]]) -> tuple[int, Any]:
    """Do something in a process of its own; return its exit status, and what it said or ``None`` if it died."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(read)
            said = anyio.run(hosted, folder, act, backend=backend)
            os.write(write, json.dumps(said).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return status, json.loads(said) if said and not os.WIFSIGNALED(status) else None


def look(folder: Path) -> dict[str, Any]:
    """Return what was integrated, byte for byte, in a form that compares."""
    data = folder / "data" / "integrating"
    return snapshot(data / "incorporated", data / "registrations")


async def tell(kernel: Kernel, integrator: CoreIntegrator) -> dict[str, Any]:
    """Say what serves, and whether each file is as the last integration that counts wants it."""
    serving = {}
    for name in integrator.registered:
        if integrator.registered[name].action == "load_plugin":
            serving[name] = (await kernel.call_tag(f"{name}.light"))["text"]
    committed = [history for history in integrator.integrations() if history.stage == "committed"]
    differing = integrator._archive.tree.differing(committed[-1].begun.changes, "after") if committed else []
    open_ = [history.stage for history in integrator.integrations() if history.stage in ("open", "going_back")]
    return {
        "serving": serving,
        "committed": len(committed),
        "differing": [str(one) for one in differing],
        "problems": [*integrator.problems, *map(str, integrator.unreadable), *open_],
    }


class Round:
    """One round, in a folder of its own."""

    def __init__(self, folder: Path, backend: str, back: bool) -> None:
        self.folder, self.backend, self.back = folder, backend, back

    def expect(self, outcome: tuple[int, Any], what: str) -> Any:
        status, said = outcome
        if status:
            raise AssertionError(f"{what} ended with {status}")
        return said

    def prepare(self) -> None:
        """Have the old in place; to roll back from, the new, too."""
        root = self.folder / "project"
        for version in (1, 2) if self.back else (1,):
            lay_out(root, version)
            self.expect(live(self.folder, self.backend, lambda _, it: integrate(it, root)), f"integrating {version}")
        self.old = look(self.folder)
        self.told = self.expect(live(self.folder, self.backend, tell), "looking")
        lay_out(root, 2)

    def die(self, number: int, how: crash_points.How, delay: float) -> tuple[bool, int]:
        """Do it, and die at a call, or after some time; say whether it died, and how many calls there were."""
        count = [0]

        async def act(_: Kernel, integrator: CoreIntegrator) -> int:
            fate = crash_points.Fate(str(self.folder / "data" / "integrating"), number, how, lambda _: None)
            fate.arm()
            if delay:
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                signal.setitimer(signal.ITIMER_REAL, delay)
            if self.back:
                tokens = [one.token for one in integrator.integrations() if one.stage == "committed"]
                await integrator.trigger_rollback(tokens[-1], Leave())
            else:
                await integrate(integrator, self.folder / "project")
            return fate._count

        status, said = live(self.folder, self.backend, act)
        if not os.WIFSIGNALED(status):
            count[0] = self.expect((status, said), "the act")
        return os.WIFSIGNALED(status), count[0]

    def judge(self, died: bool) -> str:
        """Have the next host recover; return ``old`` or ``new``, or raise what is neither."""
        told = self.expect(live(self.folder, self.backend, tell), "the next host")
        found = look(self.folder)
        if told["problems"] or told["differing"]:
            raise AssertionError(f"in disorder: {told}")
        if found == self.old:
            if told["serving"] != self.told["serving"]:
                raise AssertionError(f"the files are old, and {told['serving']} serves")
            if not died:
                raise AssertionError("it did not die, and all is old")
            return "old"
        if self.back:
            expected, committed = {"lamp": "1 colour 1"}, 1
        else:
            expected, committed = {"lamp": "2 colour 2", "hall": "2 colour 2"}, 2
        if told["serving"] != expected or told["committed"] != committed:
            raise AssertionError(f"neither old nor new: {told}, {sorted(found)}")
        return "new"


def main() -> int:
    """Play rounds; 3 if one of them broke something."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--part", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(f"{options.seed}.{options.part}")
    calls = {True: 0, False: 0}
    report: dict[str, Any] = {"broken": [], "rounds": 0, "deaths": 0, "found": Counter()}
    for number in range(options.rounds):
        backend, back = ("asyncio", "trio")[number // 2 % 2], bool(number % 2)
        folder = Path(tempfile.mkdtemp(prefix="aetherra-round-"))
        play = Round(folder, backend, back)
        at, how, delay = 0, chance.choice(("before", "half", "after")), 0.0
        try:
            if not calls[back]:  # one that lives, to know how long a life is
                rehearsal = Round(folder / "rehearsal", backend, back)
                rehearsal.folder.mkdir()
                rehearsal.prepare()
                died, calls[back] = rehearsal.die(0, "before", 0.0)
                assert rehearsal.judge(died) == "new"
            play.prepare()
            if chance.random() < 0.25:
                delay = chance.uniform(0.001, 0.25)
            else:
                at = chance.randint(1, calls[back])
            died, _ = play.die(at, how, delay)
            report["deaths"] += died
            report["found"][f"{'back' if back else 'in'}: {play.judge(died)}"] += 1
        except Exception as exc:
            where = (
                f"round {number} of seed {options.seed}.{options.part}: {backend}, back {back}, at {at} {how}, {delay}"
            )
            report["broken"].append(f"{where}: {exc!r}, in {folder}")
        else:
            shutil.rmtree(folder)
        report["rounds"] += 1
    report["calls"] = calls[False], calls[True]
    print(json.dumps(report))
    return 3 if report["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
