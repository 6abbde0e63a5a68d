"""Plugins in files and in installed packages for a host to bring up, and hosts with some that fail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel import Config, Kernel, Plugin, handler
from aetherra.kernel.config import KernelConfig, PluginConfig
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Message, Request

HEADER = "from aetherra.plugins import Plugin, Request, Settings, handler\nimport sys, anyio, time\n"


@pytest.fixture
def site(tmp_path: Path) -> Generator[Path]:
    """A folder on ``sys.path``, to write plugins in."""
    sys.path.insert(0, str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        del sys.modules[name]


def offer(site: Path, distribution: str, *entry_points: str) -> None:
    """Install a distribution that offers plugins, as far as metadata go."""
    folder = site / f"{distribution}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("\n".join(["[aetherra.plugins]", *entry_points, ""]))


def files(folder: Path, **texts: str) -> Config:
    """A configuration of plugins from files: each text is the class body, or with a class in it the whole module."""
    plugins: dict[str, PluginConfig] = {}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(
            HEADER + (text if "class" in text else f"class P(Plugin):\n    name = '{name}'\n    {text}\n")
        )
        plugins[name] = PluginConfig(source=str(folder / f"{name}.py"))
    return Config(kernel=KernelConfig(data_dir=None, discover=False), plugins=plugins, root=folder)


def states(kernel: Kernel) -> dict[str, str]:
    """Which plugin is in which state."""
    return {info.name: info.state for info in kernel.plugins()}


def reason(kernel: Kernel, name: str) -> str:
    """Why a plugin failed."""
    (info,) = (info for info in kernel.plugins() if info.name == name)
    return info.reason


Faulty = Callable[[], Awaitable[None]]


class Reading(Message, tag="generation_test.reading"):
    celsius: float


class Heat(Message, tag="generation_test.heat"):
    on: bool


class Ask(Request["Answer"], tag="generation_test.ask"):
    what: str = ""


class Answer(Message, tag="generation_test.answer"):
    text: str = ""


async def raise_error() -> None:
    raise ValueError("no such room")


async def exit_process() -> None:
    sys.exit(3)


async def cancel_oneself() -> None:
    raise asyncio.CancelledError


FAULTS = pytest.mark.parametrize("fault", [raise_error, exit_process, cancel_oneself])


class Room(Plugin):
    """A plugin that does well; the others in a test must not keep it from that."""

    @handler
    async def answer(self, ask: Ask) -> Answer:
        return Answer(ask.what)


async def assert_well(kernel: Kernel) -> None:
    """The host and the other plugin go on."""
    assert await kernel.call(Ask("still there"), timeout=1.0) == Answer("still there")


def status(kernel: Kernel, service: str) -> tuple[str, str]:
    """The status and reason of a service."""
    info = kernel.registry.get_service_info(service)
    assert info is not None
    return info.status, info.reason


@asynccontextmanager
async def hosting(*plugins: type[Plugin[Any]], clock: FakeClock | None = None) -> AsyncGenerator[Kernel]:
    """A host with these plugins, on a fake clock."""
    async with Kernel(clock=clock or FakeClock()) as kernel:
        for plugin in plugins:
            await kernel.add_plugin(plugin)
        yield kernel
