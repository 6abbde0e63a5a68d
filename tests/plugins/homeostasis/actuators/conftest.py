"""A host that lends its context to actuators."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Plugin


class Lender(Plugin):
    """Has every grant that homeostasis has."""

    name = "lender"
    capabilities = ("call:kernel.*", "call:hmr.*")

    async def start(self, ctx):
        self.lent.append(ctx)

    lent: list = []


@pytest.fixture
def lender():
    """The plugin that lends its context."""
    return Lender


@pytest.fixture
def lending(tmp_path):
    """Return a host over ``tmp_path``, on a clock that stands still, and a context to use it by."""

    @asynccontextmanager
    async def host(*plugins, durability="none"):
        kernel_part = {"data_dir": ".state", "durability": durability, "discover": False, "control_socket": False}
        config = Config.parse({"kernel": kernel_part}, root=tmp_path)
        async with Kernel(config, clock=FakeClock()) as kernel:
            await kernel.add_plugin(Lender)
            for plugin in plugins:
                await kernel.add_plugin(plugin)
            yield kernel, Lender.lent.pop()

    return host
