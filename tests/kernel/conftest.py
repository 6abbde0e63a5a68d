"""Plugins in files and in installed packages, for a host to bring up."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from aetherra.kernel import Config, Kernel
from aetherra.kernel.config import KernelConfig, PluginConfig

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
