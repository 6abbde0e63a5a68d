"""Corrections that are asked about, told of, and put off while they are not permitted."""

from __future__ import annotations

import logging

import pytest

from aetherra.plugins import Correction, Plugin, hookimpl
from aetherra.plugins.homeostasis.corrector.messages import RewriteImports

LOG = logging.getLogger("acme")
FAILING = "raise RuntimeError('no mill yet')\n"


class Screw(Correction):
    """Counts what is done by it."""

    name = "loose_screw"
    turned = 0

    def matches(self, facts):
        return {"screw": "left"} if facts.exception_type == "builtins.ZeroDivisionError" else None

    async def fix(self, subject):
        Screw.turned += 1
        return "it was turned"

    async def check(self, subject):
        return Screw.turned > 0


class Screws(Plugin):
    name = "screws"

    @hookimpl
    def correction_categories(self):
        return [Screw()]


@pytest.fixture
def loose():
    """Tell the log of a screw, which is as loose as ever."""
    Screw.turned = 0

    def tell():
        LOG.error("loose", exc_info=ZeroDivisionError())

    return tell


class TestAsking:
    async def test_a_correction_of_two_acts_is_asked_about_twice(
        self, clinic, governor, project, plugin_text, tmp_path
    ):
        """Making a file and bringing the plugin up that missed it are one correction, told as it ended."""
        open_zones = f"open({str(tmp_path / 'zones.json')!r}).close()\n"
        project("mill.py", plugin_text("mill", before=open_zones))
        project("default.json", "{}")
        async with clinic(plugins=["mill"], data_files={"zones.json": "default.json"}) as host:
            await host.kernel.add_plugin(governor)
            assert await host.work() == [("plugin_load_failure", "failed"), ("missing_data_file", "fixed")]
            assert [type(one).__name__ for one in host.doctor.asked] == ["ReloadPlugin", "MakeDataFile", "ReloadPlugin"]
            vain, made = governor.here.asked
            assert (vain.kind, vain.component) == ("correction", "mill")
            assert (made.kind, made.component, made.actuator) == ("correction", "zones.json", "corrector")
            assert made.summary == "missing_data_file: MakeDataFile(path='zones.json')"
            (_, first, _), (_, outcome, detail) = governor.here.told
            assert (first, outcome) == ("failed", "done")
            assert detail.endswith("zones.json was made and plugin 'mill' brought up")

    async def test_advice_is_asked_leave_for(self, clinic, governor):
        """Where nothing would be changed nobody is asked."""
        async with clinic() as host:
            await host.kernel.add_plugin(governor)
            LOG.error("lost", exc_info=ModuleNotFoundError("gone", name="nowhere_of_tests"))
            assert await host.work() == [("missing_module", "advised")]
            assert governor.here.asked == governor.here.peeked == []

    async def test_a_correction_that_did_not_help_is_told_as_done(self, clinic, governor, project, tmp_path):
        """What was tried and failed is told as failed, with why."""
        project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"]) as host:
            await host.kernel.add_plugin(governor)
            assert await host.work() == [("plugin_load_failure", "failed")]
            ((intent, outcome, detail),) = governor.here.told
            assert (intent.component, outcome) == ("mill", "failed")
            assert "no mill yet" in detail


class TestPuttingOff:
    async def test_a_guard_lets_a_trouble_lie(self, clinic, governor, loose):
        """What a guard holds is advised on, waits for as long as the guard says, and is mended then by itself."""
        async with clinic() as host:
            await host.kernel.add_plugin(governor)
            await host.kernel.add_plugin(Screws)
            governor.here.says("correction", "guard", reason="one a minute", retry_after=40.0)
            loose()
            assert await host.work() == [("screws.loose_screw", "advised")]
            assert "one a minute" in host.last
            await host.clock.advance(39.0)
            governor.here.says("correction")
            assert await host.work() == []
            await host.clock.advance(1.0)
            assert await host.work() == [("screws.loose_screw", "fixed")]
            assert (Screw.turned, len(governor.here.asked)) == (1, 1)

    async def test_a_person_is_asked_over_and_over(self, clinic, governor, loose):
        """Their agreement is asked for once, then looked for quietly; once they agree it is mended."""
        async with clinic() as host:
            await host.kernel.add_plugin(governor)
            await host.kernel.add_plugin(Screws)
            governor.here.says("correction", "needs_approval", reason="it waits for a person")
            loose()
            assert await host.work() == [("screws.loose_screw", "advised")]
            governor.here.says("correction", "needs_approval", reason="it waits for a person", approval="a1")
            for _ in range(5):
                await host.clock.advance(130.0)
                assert await host.work() == []
            assert len(governor.here.asked) == 1
            governor.here.says("correction", approval="a1")
            await host.clock.advance(130.0)
            assert await host.work() == [("screws.loose_screw", "fixed")]
            first, second = governor.here.asked
            assert first == second, "the approval is of something else"

    async def test_what_a_person_has_not_decided_in_time_is_never_asked_for_again(self, clinic, governor, loose):
        """Where nobody waits for their agreement any more, they are asked once more, and it goes on by that."""
        async with clinic() as host:
            await host.kernel.add_plugin(governor)
            await host.kernel.add_plugin(Screws)
            governor.here.says("correction", "needs_approval", reason="it waits for a person")
            loose()
            assert await host.work() == [("screws.loose_screw", "advised")]
            await host.clock.advance(130.0)
            assert await host.work() == [("screws.loose_screw", "advised")]
            assert len(governor.here.asked) == 2
            governor.here.says("correction", approval="a2")
            await host.clock.advance(130.0)
            assert await host.work() == [("screws.loose_screw", "fixed")]

    async def test_what_a_person_denied_is_asked_for_again(self, clinic, governor, loose):
        """It is let go, until the log tells of it after the cooldown."""
        async with clinic() as host:
            await host.kernel.add_plugin(governor)
            await host.kernel.add_plugin(Screws)
            governor.here.says("correction", "needs_approval", reason="it waits for a person")
            loose()
            await host.work()
            governor.here.says("correction", "denied", reason="a person said no")
            await host.clock.advance(130.0)
            await host.work()
            governor.here.says("correction")
            await host.clock.advance(130.0)
            assert await host.work() == []
            assert Screw.turned == 0

    async def test_what_is_put_off_keeps_the_plugin_that_offers_it(self, clinic, governor, loose):
        """One whose plugin has gone meanwhile is forgotten."""
        async with clinic() as host:
            await host.kernel.add_plugin(governor)
            await host.kernel.add_plugin(Screws)
            governor.here.says("correction", "guard", reason="one a minute", retry_after=40.0)
            loose()
            await host.work()
            await host.kernel.remove_plugin("screws")
            governor.here.says("correction")
            await host.clock.advance(41.0)
            assert await host.work() == []
            assert len(host.corrector._put_offs) == 0

    async def test_more_is_put_off_than_there_is_room_for(self, clinic, governor):
        """No more than fifty wait; the others are told of again by the log, or not."""
        async with clinic(allow_modules={f"m{number}": "yaml" for number in range(60)}) as host:
            await host.kernel.add_plugin(governor)
            governor.here.says("correction", "guard", reason="one a minute", retry_after=40.0)
            for number in range(60):
                logging.getLogger(f"acme.{number}").error(
                    f"lost {number}", exc_info=ModuleNotFoundError("gone", name=f"m{number}")
                )
            await host.work()
            assert len(host.corrector._put_offs) == 50

    async def test_a_failed_plugin_that_may_not_be_tried_is_given_up(self, clinic, governor, project):
        """What spoke for another try still does once it is permitted."""
        mill = project("mill.py", FAILING)
        async with clinic(plugins=["mill"], revisit=5.0) as host:
            await host.kernel.add_plugin(governor)
            await host.work()
            mill.write_text("from aetherra.plugins import Plugin\nclass Mill(Plugin):\n    name = 'mill'\n")
            governor.here.says("correction", "guard", reason="one a minute", retry_after=40.0)
            await host.clock.advance(6.0)
            assert await host.work() == [("plugin_load_failure", "advised")]
            governor.here.says("correction")
            await host.clock.advance(40.0)
            assert await host.work() == [("plugin_load_failure", "fixed")]
            assert host.state("mill") == "serving"

    async def test_an_edit_stays_that_a_stop_came_upon(
        self, clinic, governor, project, plugin_text, tmp_path, monkeypatch
    ):
        """A correction that is stopped between two acts is not gone on with, and its edit is put back."""
        mill = project("mill.py", plugin_text("mill", before="from oldlib import thing\n"))
        project("site/newlib_of_put_off.py", "thing = 1\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        before, moved = mill.read_text(), {"oldlib.thing": "newlib_of_put_off.thing"}
        async with clinic(plugins=["mill"], allow_edits=True, moved=moved) as host:
            await host.kernel.add_plugin(governor)
            act = host.doctor._act

            async def stop_after(request):
                try:
                    return await act(request)
                finally:
                    if isinstance(request, RewriteImports):
                        edited.append(mill.read_text())
                        governor.here.says("*", "stopped", reason="a person said stop")

            edited: list[str] = []
            host.corrector._hands._act = stop_after
            await host.work()
            assert "from newlib_of_put_off import thing" in edited[0]
            assert mill.read_text() == before
            assert "a person said stop" in host.last
            assert host.state("mill") == "failed"
            assert [outcome for _, outcome, _ in governor.here.told] == ["failed", "failed"]
