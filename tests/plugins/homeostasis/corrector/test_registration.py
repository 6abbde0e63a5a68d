"""Tags and services that nobody has under the name that was asked for."""

from __future__ import annotations

import logging

from aetherra.plugins import AetherraError, Message, Plugin, Request, handler


class Flour(Message, tag="mill.answer"):
    text: str


class Grind(Request[Flour], tag="mill.ask"):
    pass


class Mill(Plugin):
    name = "mill"

    @handler
    async def grind(self, _: Grind) -> Flour:
        return Flour("ground")


LOG = logging.getLogger("acme.caller")


async def fail_to_ask(host, tag):
    """Ask, and log what is raised, as a caller does."""
    try:
        await host.kernel.call_tag(tag, {})
    except AetherraError as exc:
        LOG.warning("no answer: %s", exc)


class TestServiceRegistration:
    async def test_a_caller_is_not_told_of_the_tag_that_it_meant(self, clinic, project, plugin_text):
        """A tag that no plugin has is advised on, with the nearest there is and whose it is."""
        project("mill.py", plugin_text("mill"))
        async with clinic(plugins=["mill"]) as host:
            await fail_to_ask(host, "mill.aks")

            assert await host.work() == [("service_registration", "advised")]
            assert "'mill.ask', of 'mill'" in host.last

    async def test_a_service_is_not_found_by_a_name_like_its_own(self, clinic, project, plugin_text):
        """A service that nobody provides is advised on with the nearest."""
        project("mill.py", plugin_text("mill"))
        async with clinic(plugins=["mill"]) as host:
            try:
                host.kernel.registry.unregister("mil")
            except AetherraError as exc:
                LOG.warning("gone: %s", exc)

            assert await host.work() == [("service_registration", "advised")]
            assert "'mill', of 'mill'" in host.last

    async def test_a_plugin_is_asked_for_and_not_brought_up(self, clinic, project, plugin_text):
        """A plugin that failed for want of another is brought up when somebody asks for it and that serves by now."""
        project("baker.py", plugin_text("baker", requires="('mill',)"))
        async with clinic(plugins=["baker"], revisit=80_000.0) as host:
            await host.work()
            await host.work()
            assert host.state("baker") == "failed"
            await host.kernel.add_plugin(Mill)
            await fail_to_ask(host, "baker.ask")

            assert await host.work() == [("service_registration", "fixed")]
            assert (await host.kernel.call_tag("baker.ask", {}))["text"] == "well"

    async def test_a_service_that_was_taken_off_stays_so(self, clinic, project, plugin_text):
        """A plugin that serves and whose service is gone from the directory gets it back."""
        project("mill.py", plugin_text("mill"))
        async with clinic(plugins=["mill"]) as host:
            host.kernel.registry.unregister("mill")
            try:
                host.kernel.registry.unregister("mill")
            except AetherraError as exc:
                LOG.warning("gone: %s", exc)

            assert await host.work() == [("service_registration", "fixed")]
            assert host.kernel.registry.get_service_info("mill") is not None

    async def test_an_answered_tag_is_mended(self, clinic):
        """A trouble that is over when it is looked at is counted as gone, and nothing is done."""
        async with clinic() as host:
            await fail_to_ask(host, "mill.ask")
            await host.kernel.add_plugin(Mill)

            assert await host.work() == []
            assert host.corrector.get_statistics().gone == 1
            assert host.doctor.asked == []

    async def test_words_bring_plugins_up(self, clinic):
        """What a message says in words is no trouble, whatever it says."""
        async with clinic() as host:
            LOG.error("nothing answers 'mill.ask': NoHandlerError")

            assert await host.work() == []
            assert host.corrector.get_statistics().seen == 1
            assert host.corrector.get_statistics().detected == 0
