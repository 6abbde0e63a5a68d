"""Plugins that could not be loaded, really, and what brings them up."""

from __future__ import annotations

import logging

import pytest

from aetherra.kernel import PluginLoadError
from aetherra.plugins import AetherraError
from aetherra.registry.errors import ServiceQuarantinedError


class TestPluginLoadFailure:
    async def test_a_mended_plugin_stays_down(self, clinic, project, plugin_text):
        """A plugin that failed is brought up once its file was written."""
        file = project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"]) as host:
            assert await host.work() == [
                ("plugin_load_failure", "failed")
            ]  # tried once: nobody had heard why it is down
            file.write_text(plugin_text("mill"))
            await host.clock.advance(10.0)

            assert ("plugin_load_failure", "fixed") in await host.work()
            assert host.state("mill") == "serving"
            assert (await host.kernel.call_tag("mill.ask", {}))["text"] == "well"
            assert host.corrector.get_statistics().watched == 1

            await host.clock.advance(10.0)
            await host.work()
            assert host.corrector.get_statistics().watched == 0

    async def test_two_try_the_same_failed_plugin_within_seconds(self, clinic, project, plugin_text):
        """What something else brings up is left to it, whoever misses it; when that gives up, it is tried here."""
        file = project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"], treated="the rule 'failed'") as host:
            assert await host.work() == [("plugin_load_failure", "advised")]
            assert "is left to the rule 'failed'" in host.last
            with pytest.raises(AetherraError) as raised:
                await host.kernel.call_tag("mill.ask", {})
            logging.getLogger("acme").error("%s", raised.value)
            assert await host.work() == [("service_registration", "advised")]
            file.write_text(plugin_text("mill"))
            await host.clock.advance(10.0)
            await host.work()
            assert host.doctor.asked == []

            host.corrector._plugins.treated = lambda _: ""
            await host.clock.advance(10.0)
            assert await host.work() == [("plugin_load_failure", "fixed")]

    async def test_a_plugin_that_cannot_come_up_is_tried_again_and_again(self, clinic, project):
        """What has not changed since it failed is not tried again; a person is told what it needs."""
        project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"]) as host:
            await host.work()
            for _ in range(20):
                await host.clock.advance(60.0)
                await host.work()
            logging.getLogger("acme").error("%s", PluginLoadError("mill", "importing", "as before"))

            assert await host.work() == [("plugin_load_failure", "advised")]
            assert "needs its code to be mended" in host.last
            assert len(host.doctor.asked) == 1

    async def test_a_plugin_stays_down_though_what_it_requires_came_later(self, clinic, project, plugin_text):
        """A plugin that failed for a missing requirement is brought up once that serves."""
        project("baker.py", plugin_text("baker", requires="('mill',)"))
        mill = project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["baker", "mill"]) as host:
            await host.work()
            await host.work()
            assert "'mill'" in next(
                done.text for done in host.corrector.get_statistics().recent if done.subject == {"plugin": "baker"}
            )
            mill.write_text(plugin_text("mill"))
            for _ in range(3):
                await host.clock.advance(10.0)
                await host.work()

            assert host.state("mill") == "serving"
            assert host.state("baker") == "serving"

    async def test_a_plugin_whose_new_code_fails_too_is_called_fixed(self, clinic, project):
        """Only a plugin that serves is fixed."""
        file = project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"]) as host:
            await host.work()
            file.write_text("raise RuntimeError('still no mill')\n")
            await host.clock.advance(10.0)

            assert ("plugin_load_failure", "failed") in await host.work()
            assert host.corrector.get_statistics().successful == 0

    async def test_a_host_without_hot_swap_leaves_it_down(self, clinic, project, plugin_text):
        """Without the hmr plugin the kernel loads what has failed from its source."""
        file = project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"], hmr=False) as host:
            assert ("plugin_load_failure", "failed") in await host.work()
            file.write_text(plugin_text("mill"))
            await host.clock.advance(10.0)

            assert ("plugin_load_failure", "fixed") in await host.work()
            assert (await host.kernel.call_tag("mill.ask", {}))["text"] == "well"

    async def test_a_quarantined_plugin_is_brought_up(self, clinic, project, plugin_text):
        """What was taken out of service on purpose stays out of it, whoever asks for it."""
        project("mill.py", plugin_text("mill"))
        async with clinic(plugins=["mill"]) as host:
            await host.kernel.call_tag("kernel.disable_plugin", {"plugin": "mill", "reason": "for a test"})
            with pytest.raises(ServiceQuarantinedError) as raised:
                await host.kernel.call_tag("mill.ask", {})
            logging.getLogger("acme").error("%s", raised.value)
            logging.getLogger("acme").error("%s", PluginLoadError("mill", "importing", "as before"))

            assert set(await host.work()) == {("service_registration", "advised"), ("plugin_load_failure", "advised")}
            assert host.state("mill") == "quarantined"
            assert host.doctor.asked == []

    async def test_a_plugin_is_brought_up_while_nothing_may_be_changed(self, clinic, project):
        """With hands held, what would be asked for is advice, and nothing is asked for."""
        project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"], held="the mode is observe") as host:
            assert await host.work() == [("plugin_load_failure", "advised")]
            assert host.last.startswith(
                "nothing is changed, as the mode is observe; it would have asked for ReloadPlugin"
            )
            assert host.doctor.asked == []
