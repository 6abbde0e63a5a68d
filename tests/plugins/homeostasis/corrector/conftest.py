"""A host over a folder with a corrector in it, wired as homeostasis wires it; plugins are files, and really broken."""

from __future__ import annotations

import gc
import logging
import random
import textwrap
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aetherra.hmr import HmrController
from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Message, Plugin, PluginContext, Request, RetryPolicy, Settings, handler
from aetherra.plugins.homeostasis.corrector import AutonomousErrorCorrector, CorrectorSettings
from aetherra.plugins.homeostasis.corrector.messages import (
    Corrected,
    DataFileMade,
    EditRestored,
    ImportsRewritten,
    InstallModule,
    MakeDataFile,
    MakeOffered,
    ModuleInstalled,
    OfferedDone,
    RestoreEdit,
    RewriteImports,
)


class Ready(Message, tag="probe.ready"):
    text: str


class DoctorSettings(Settings):
    corrector: CorrectorSettings = CorrectorSettings()
    held: str = ""
    treated: str = ""


class Doctor(Plugin[DoctorSettings]):
    """Runs a corrector, and answers what it asks for."""

    name = "homeostasis"
    capabilities = ("call:kernel.*", "submit:kernel.restart_plugin", "submit:hmr.reload")

    async def start(self, ctx: PluginContext) -> None:
        self.asked: list[Request[Any]] = []
        self.told: list[Corrected] = []
        self.corrector = AutonomousErrorCorrector(
            ctx,
            self.settings.corrector,
            act=self._act,
            held=lambda: self.settings.held,
            treated=lambda _: self.settings.treated,
            rng=random.Random(7),
        )
        ctx.defer(self.corrector.stop)
        ctx.subscribe(Corrected, self._hear)
        self.corrector.start()

    async def _act(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        return await (await self.ctx.submit(request, timeout=60.0, retry=RetryPolicy(max_attempts=1))).wait()

    async def _hear(self, corrected: Corrected) -> None:
        self.told.append(corrected)

    @handler
    async def install_module(self, request: InstallModule) -> ModuleInstalled:
        return await self.corrector.install_module(request)

    @handler
    async def make_data_file(self, request: MakeDataFile) -> DataFileMade:
        return await self.corrector.make_data_file(request)

    @handler
    async def rewrite_imports(self, request: RewriteImports) -> ImportsRewritten:
        return await self.corrector.rewrite_imports(request)

    @handler
    async def restore_edit(self, request: RestoreEdit) -> EditRestored:
        return await self.corrector.restore_edit(request)

    @handler
    async def make_offered(self, request: MakeOffered) -> OfferedDone:
        return await self.corrector.make_offered(request)


class Clinic:
    """A running host with a corrector, and what it was seen to do."""

    def __init__(self, kernel: Kernel, clock: FakeClock, doctor: Doctor) -> None:
        self.kernel = kernel
        self.clock = clock
        self.doctor = doctor
        self.corrector = doctor.corrector

    async def work(self) -> list[tuple[str, str]]:
        """Have all looked at that was logged, and return category and outcome of what came of it."""
        before = len(self.corrector.get_statistics().recent)
        await self.corrector.work()
        return [(done.category, done.outcome) for done in self.corrector.get_statistics().recent[before:]]

    @property
    def last(self) -> str:
        """What was said last."""
        return self.corrector.get_statistics().recent[-1].text

    def state(self, plugin: str) -> str:
        """A plugin's state."""
        return next(info.state for info in self.kernel.plugins() if info.name == plugin)


@pytest.fixture
def project(tmp_path):
    """Return a function that writes a file of the project, and returns its path."""

    def write(path: str, text: str):
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(text), encoding="utf-8")
        return place

    return write


@pytest.fixture
def clinic(tmp_path):
    """Return a host over ``tmp_path`` whose plugins are in files there, with a corrector and, by default, hot swap."""

    @asynccontextmanager
    async def host(*, plugins=(), hmr=True, held="", treated="", data=True, profile="standard", **corrector):
        clock = FakeClock()
        root_level = logging.getLogger().level
        config = Config.parse(
            {
                "profile": profile,
                "kernel": {"data_dir": ".state" if data else None, "discover": False, "control_socket": False},
                "plugins": {name: {"source": f"{name}.py"} for name in plugins},
            },
            root=tmp_path,
        )
        settings = {"corrector": {"interval": 86_000.0, **corrector}, "held": held, "treated": treated}
        made: list[Doctor] = []

        class OwnDoctor(Doctor):
            name = "homeostasis"

            def __init__(self, settings: DoctorSettings | None = None) -> None:
                super().__init__(settings)
                made.append(self)

        logging.getLogger().setLevel(logging.WARNING)
        try:
            async with Kernel(config, clock=clock) as kernel:
                if hmr:
                    await kernel.add_plugin(HmrController)
                await kernel.add_plugin(OwnDoctor, settings=settings)
                yield Clinic(kernel, clock, made[0])
        finally:
            logging.getLogger().setLevel(root_level)
            gc.collect()

    return host


@pytest.fixture
def plugin_text():
    """Return the code of a plugin that answers ``<name>.ask``, with lines before it."""

    def text(name: str, before: str = "", requires: str = "()", body: str = "return Answer('well')") -> str:
        code = f"""
            from aetherra.plugins import Message, Plugin, Request, handler
            BEFORE
            class Answer(Message, tag="{name}.answer"):
                text: str

            class Ask(Request[Answer], tag="{name}.ask"):
                pass

            class {name.title()}(Plugin):
                name = "{name}"
                requires = {requires}

                @handler
                async def ask(self, _: Ask) -> Answer:
                    {body}
            """
        return textwrap.dedent(code).replace("BEFORE", before)

    return text
