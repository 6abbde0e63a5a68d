"""Actuators on one plugin, on a real host with hot swap."""

from __future__ import annotations

import textwrap

import pytest

from aetherra.hmr import HmrController
from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import AetherraError
from aetherra.plugins.homeostasis.actuators.actuator import ActuatorError
from aetherra.plugins.homeostasis.actuators.plugin_life import (
    PluginQuarantine,
    PluginReload,
    PluginRestart,
    PluginRollback,
)
from aetherra.registry import ServiceQuarantinedError

SHOP = """
from aetherra.plugins import Message, Plugin, Request, handler

class Count(Message, tag="shop.count_reply"):
    version: int
    asked: int

class Ask(Request[Count], tag="shop.count"):
    pass

class Shop(Plugin):
    name = "shop"

    def __init__(self, settings=None):
        super().__init__(settings)
        self.asked = 0

    @handler
    async def count(self, request: Ask) -> Count:
        self.asked += 1
        return Count({version}, self.asked)
"""


class ShopHost:
    """A host with hot swap and a plugin from a file."""

    def __init__(self, folder, lender, *, hmr=True):
        self.file = folder / "shop.py"
        self.write(1)
        plugins = {"shop": {"source": "shop.py"}}
        document = {"kernel": {"data_dir": None, "durability": "none", "discover": False}, "plugins": plugins}
        self.kernel = Kernel(Config.parse(document, root=folder), clock=FakeClock())
        self.hmr, self.lender = hmr, lender

    def write(self, version):
        self.file.write_text(textwrap.dedent(SHOP.replace("{version}", str(version))))

    async def __aenter__(self):
        await self.kernel.__aenter__()
        if self.hmr:
            await self.kernel.add_plugin(HmrController, settings={"watch": False})
        await self.kernel.add_plugin(self.lender)
        self.ctx = self.lender.lent.pop()
        return self

    async def __aexit__(self, *exc):
        return await self.kernel.__aexit__(*exc)

    async def ask(self):
        reply = await self.kernel.call_tag("shop.count")
        return reply["version"], reply["asked"]

    async def do(self, kind, target="shop"):
        actuator = kind(self.ctx)
        assert (await actuator.plan(target, actuator.read({}))).changed
        return await actuator.apply(target, actuator.read({}))


class TestPluginLife:
    async def test_a_restart_keeps_the_state(self, tmp_path, lender):
        """The same code serves as a new generation, and knows nothing of before; code on disk is no matter."""
        async with ShopHost(tmp_path, lender) as host:
            assert (await host.ask(), await host.ask()) == ((1, 1), (1, 2))
            host.write(2)
            applied = await host.do(PluginRestart)
            assert (applied.changed, applied.before) == (True, {})
            assert await host.ask() == (1, 1)
            with pytest.raises(ActuatorError, match="nothing that could be taken back"):
                await PluginRestart(host.ctx).undo("shop", {})

    async def test_a_reload_brings_no_new_code(self, tmp_path, lender):
        """What is on disk serves; taken back, what served before does."""
        async with ShopHost(tmp_path, lender) as host:
            host.write(2)
            applied = await host.do(PluginReload)
            assert (await host.ask())[0] == 2
            await PluginReload(host.ctx).undo("shop", applied.before)
            assert (await host.ask())[0] == 1

    async def test_a_rollback_brings_no_old_code(self, tmp_path, lender):
        """What served before serves; taken back, what is on disk does."""
        async with ShopHost(tmp_path, lender) as host:
            host.write(2)
            await host.do(PluginReload)
            applied = await host.do(PluginRollback)
            assert (await host.ask())[0] == 1
            await PluginRollback(host.ctx).undo("shop", applied.before)
            assert (await host.ask())[0] == 2

    async def test_a_plugin_that_is_kept_away_answers(self, tmp_path, lender):
        """Its callers are told; taken back, it serves again."""
        async with ShopHost(tmp_path, lender) as host:
            applied = await host.do(PluginQuarantine)
            with pytest.raises(ServiceQuarantinedError, match="homeostasis"):
                await host.ask()
            await PluginQuarantine(host.ctx).undo("shop", applied.before)
            assert (await host.ask())[0] == 1

    @pytest.mark.parametrize("kind", [PluginRestart, PluginReload, PluginRollback, PluginQuarantine])
    async def test_a_wrong_target_is_taken(self, tmp_path, lender, kind):
        """Homeostasis spares itself, and a plugin that is not there is told with those that are."""
        async with ShopHost(tmp_path, lender) as host:
            for target, said in (("homeostasis", "itself"), ("shopp", "hmr, lender, shop")):
                with pytest.raises(ActuatorError, match=said):
                    await kind(host.ctx).apply(target, kind(host.ctx).read({}))

    async def test_a_plugin_that_does_not_serve_is_rolled_back(self, tmp_path, lender):
        """Each has states that it can be done in."""
        async with ShopHost(tmp_path, lender) as host:
            await host.do(PluginQuarantine)
            with pytest.raises(ActuatorError, match="is quarantined; expected one that is serving"):
                await host.do(PluginRollback)

    async def test_without_hot_swap_a_rollback_succeeds(self, tmp_path, lender):
        """It fails, and says who does not answer."""
        async with ShopHost(tmp_path, lender, hmr=False) as host:
            with pytest.raises(AetherraError, match=r"hmr\.rollback"):
                await host.do(PluginRollback)
