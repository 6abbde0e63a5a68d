"""A missing module: installed by pip if the configuration names it, and never for another reason."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from aetherra.plugins import Advise, AetherraError, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.facts import SHOWN, is_builtin, shown, text_in
from aetherra.plugins.homeostasis.corrector.hands import Hands
from aetherra.plugins.homeostasis.corrector.hosted import HostedPlugins
from aetherra.plugins.homeostasis.corrector.messages import InstallModule, ModuleInstalled
from aetherra.plugins.homeostasis.corrector.port import Clock, Port
from aetherra.plugins.homeostasis.corrector.settings import CorrectorSettings

SAID = 2000
"""Characters of what pip says that are kept, from the end."""


class MissingModule(Correction):
    """Has a module installed that is in ``allow_modules``, and the plugin that failed for it brought up."""

    name = "missing_module"

    def __init__(self, port: Port, hands: Hands, plugins: HostedPlugins, settings: CorrectorSettings) -> None:
        self._port = port
        self._hands = hands
        self._plugins = plugins
        self._allowed = settings.allow_modules

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return the module by the exception's own ``name``, and the plugin that missed it, if that is known."""
        name = text_in(facts, "name")
        if not is_builtin(facts, "ModuleNotFoundError") or not all(part.isidentifier() for part in name.split(".")):
            return None  # among them what no import can have asked for
        return {"module": name, "plugin": text_in(facts, "plugin")}

    async def fix(self, subject: dict[str, str]) -> str:
        """Install it, unless it is there by now, and bring the plugin up."""
        module, plugin = subject["module"], subject["plugin"]
        done = f"module {module!r} is there"
        if not await self._port.run_sync(can_be_found, module):
            allowed = allowed_name(module, self._allowed)
            if allowed is None:
                top = module.partition(".")[0]
                line = json.dumps({"allow_modules": {top: "NAME>=VERSION"}})[1:-1]
                allow = f", or allow it in config.json under plugins.homeostasis.corrector: {line}"
                raise Advise(
                    f"module {shown(module)} is missing and may not be installed: install it"
                    f"{allow if len(top) <= SHOWN else ''}"
                )
            installed = await self._hands.act(InstallModule(module=allowed))
            done = f"{installed.requirement!r} was installed"
        return done + await self._plugins.see_up(plugin)

    async def check(self, subject: dict[str, str]) -> bool:
        """Whether the module can be found, and the plugin that missed it serves."""
        found = await self._port.run_sync(can_be_found, subject["module"])
        return found and await self._plugins.is_up(subject["plugin"])


class InstallError(AetherraError, RuntimeError):
    """pip did not install what it was asked for; ``said`` is the end of its output."""

    def __init__(self, requirement: str, problem: str, said: str) -> None:
        super().__init__(requirement, problem, said)
        self.requirement, self.problem, self.said = requirement, problem, said

    def __str__(self) -> str:
        return f"{self.requirement!r} was not installed, as pip {self.problem}: {self.said or 'it said nothing'}"


def allowed_name(module: str, allowed: dict[str, str]) -> str | None:
    """Return the name by which a module, or the package it is in, may be installed; ``None`` if it may not."""
    name = module
    while name:
        if name in allowed:
            return name
        name = name.rpartition(".")[0]
    return None


async def install(module: str, settings: CorrectorSettings, clock: Clock, root: Path) -> ModuleInstalled:
    """Install a module by the requirement that the configuration names for it; in a process of its own, with no shell.

    Cancelled, or when ``pip_timeout`` is over, it ends that process and all that it has begun.

    Raises:
        InstallError: The module is not allowed, or pip failed or took too long.
    """
    requirement = settings.allow_modules.get(module)
    if requirement is None:
        raise InstallError(module, "was not asked", "the configuration does not allow it")
    command = (
        sys.executable, "-P", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-color",
        *settings.pip_arguments, "--", requirement,
    )  # fmt: skip  # -P: a pip.py of the project is not what is meant
    said = bytearray()
    with clock.move_on_after(settings.pip_timeout) as scope:
        status = await _run(command, root, said)
        importlib.invalidate_caches()
        text = said.decode(errors="replace").strip()
        if status != 0:
            raise InstallError(requirement, f"ended with {status}", text)
        return ModuleInstalled(module, requirement, text)
    del scope
    raise InstallError(requirement, f"was not done after {settings.pip_timeout:g} s", said.decode(errors="replace"))


async def _run(command: tuple[str, ...], folder: Path, said: bytearray) -> int:
    process = await anyio.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        start_new_session=True,
    )
    async with process:
        try:
            assert process.stdout is not None
            async for chunk in process.stdout:
                said += chunk
                del said[:-SAID]
            return await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def can_be_found(module: str) -> bool:
    """Whether an import would find a module; no code of it runs, nor of the packages that it is in."""
    importlib.invalidate_caches()
    top, _, rest = module.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # a module without a spec is there
        return top in sys.modules
    for name in rest.split(".") if rest else ():
        if spec is None or spec.submodule_search_locations is None:
            return False
        spec = importlib.machinery.PathFinder.find_spec(f"{spec.name}.{name}", spec.submodule_search_locations)
    return spec is not None
