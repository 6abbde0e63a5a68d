"""A host in memory or over a folder, for the built-in plugins."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from aetherra.kernel import Config, Kernel


@pytest.fixture
def hosting(tmp_path):
    """Return a host over ``tmp_path``; ``data`` keeps its state there, too; the rest are settings by plugin."""

    @asynccontextmanager
    async def host(*plugins, data=False, clock=None, **settings):
        kernel_part = {"data_dir": ".state" if data else None, "discover": False, "control_socket": False}
        config = Config.parse({"kernel": kernel_part}, root=tmp_path)
        async with Kernel(config, clock=clock) as kernel:
            for plugin in plugins:
                await kernel.add_plugin(plugin, settings=settings.get(plugin.name, {}))
            yield kernel

    return host
