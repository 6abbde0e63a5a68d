"""The page on error correction, run as its reader would run it."""

from __future__ import annotations

import json
import logging
import random
import re
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Plugin, PluginContext, Request, RetryPolicy, handler
from aetherra.plugins.homeostasis.corrector import AutonomousErrorCorrector, CorrectorSettings
from aetherra.plugins.homeostasis.corrector.messages import DataFileMade, MakeDataFile, MakeOffered, OfferedDone

PAGE = (Path(__file__).parents[1] / "docs" / "error-correction.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return an example of the page."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


class StuckError(Exception):
    """What the page's plugin mends."""


StuckError.__module__ = "acme.valves"


class Doctor(Plugin):
    """Runs a corrector with the page's settings."""

    name = "homeostasis"
    settings_of_page = CorrectorSettings()

    async def start(self, ctx: PluginContext) -> None:
        self.corrector = AutonomousErrorCorrector(ctx, self.settings_of_page, act=self._act, rng=random.Random(1))
        ctx.defer(self.corrector.stop)
        self.corrector.start()
        Doctor.running = self.corrector

    running: AutonomousErrorCorrector

    async def _act(self, request: Request[Any]) -> Any:
        return await (await self.ctx.submit(request, retry=RetryPolicy(max_attempts=1))).wait()

    @handler
    async def make_data_file(self, request: MakeDataFile) -> DataFileMade:
        return await self.corrector.make_data_file(request)

    @handler
    async def make_offered(self, request: MakeOffered) -> OfferedDone:
        return await self.corrector.make_offered(request)


async def test_the_thermostat_stays_down(tmp_path: Path) -> None:
    """The file is made of its default, and the plugin that missed it serves."""
    document = json.loads(example("config.json"))
    Doctor.settings_of_page = CorrectorSettings(**document["plugins"].pop("homeostasis")["corrector"])
    document["kernel"] = {"discover": False, "control_socket": False, "data_dir": None}
    (tmp_path / "thermostat.py").write_text(example("thermostat.py"))
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults" / "zones.json").write_text("{}")

    async with Kernel(Config.parse(document, root=tmp_path), clock=FakeClock()) as kernel:
        await kernel.add_plugin(Doctor)
        await Doctor.running.work()

        assert (await kernel.call_tag("thermostat.zones", {}))["text"] == "{}"
        assert Doctor.running.get_statistics().recent[-1].outcome == "fixed"


async def test_a_stuck_valve_stays_stuck(tmp_path: Path) -> None:
    """The plugin's own category is found by the exception, and called fixed after its own look."""
    (tmp_path / "valves.py").write_text(example("valves.py"))
    Doctor.settings_of_page = CorrectorSettings()
    document = {
        "kernel": {"discover": False, "control_socket": False, "data_dir": None},
        "plugins": {"valves": {"source": "valves.py"}},
    }
    async with Kernel(Config.parse(document, root=tmp_path), clock=FakeClock()) as kernel:
        await kernel.add_plugin(Doctor)
        logging.getLogger("acme").error("stuck", exc_info=StuckError())
        await Doctor.running.work()

        (done,) = Doctor.running.get_statistics().recent
        assert (done.category, done.outcome) == ("valves.stuck_valve", "fixed")
        assert done.text == "valve north was turned"


@pytest.mark.parametrize("name", CorrectorSettings.__struct_fields__)
def test_a_setting_is_not_on_the_page(name: str) -> None:
    """Each setting stands in the table, with its default."""
    row = next((line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]), "")
    default = getattr(CorrectorSettings(), name)
    shown = json.dumps(int(default) if isinstance(default, float) else default)

    assert f"`{shown}`" in row.split("|")[2]
