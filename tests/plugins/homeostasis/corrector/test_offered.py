"""Corrections that plugins offer: they mend by the same way, and can do no harm to ours."""

from __future__ import annotations

import logging

import anyio

from aetherra.plugins import Advise, Correction, LogFacts, Plugin, hookimpl
from aetherra.plugins.homeostasis.corrector.messages import MakeOffered

LOG = logging.getLogger("acme.valve")


class StuckValve(Correction):
    """Opens a valve that the log says is stuck."""

    name = "stuck_valve"

    def __init__(self) -> None:
        self.open = False
        self.moves = True
        self.advice = ""

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        return {"valve": "north"} if facts.logger == "acme.valve" and facts.template == "stuck: %s" else None

    async def fix(self, subject: dict[str, str]) -> str:
        if self.advice:
            raise Advise(self.advice)
        self.open = self.moves
        return f"valve {subject['valve']} was turned"

    async def check(self, subject: dict[str, str]) -> bool:
        return self.open


class Broken(Correction):
    """Fails in all it does."""

    name = "broken"

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        raise RuntimeError("cannot tell")

    async def fix(self, subject: dict[str, str]) -> str:
        raise RuntimeError("cannot mend")

    async def check(self, subject: dict[str, str]) -> bool:
        raise RuntimeError("cannot look")


class Plumber(Plugin):
    """Offers corrections."""

    name = "plumber"
    valve = StuckValve()

    @hookimpl
    def correction_categories(self) -> list[Correction]:
        return [Broken(), self.valve]


async def work_on(host, **valve):
    """Log the trouble, with a valve that is so, and return what came of it."""
    for name, value in {"open": False, "moves": True, "advice": "", **valve}.items():
        setattr(Plumber.valve, name, value)
    await host.clock.advance(700.0)
    LOG.warning("stuck: %s", "north")
    return await host.work()


class TestOffered:
    async def test_a_plugins_own_correction_is_not_made(self, clinic):
        """It is found by its facts, made by a request like any change, and looked at; each outcome is told as it is."""
        async with clinic() as host:
            await host.kernel.add_plugin(Plumber)

            assert await work_on(host) == [("plumber.stuck_valve", "fixed")]
            assert MakeOffered(category="plumber.stuck_valve", subject={"valve": "north"}) in host.doctor.asked
            assert await work_on(host, moves=False) == [("plumber.stuck_valve", "failed")]
            assert await work_on(host, advice="turn it by hand") == [("plumber.stuck_valve", "failed")]
            assert host.last == "turn it by hand"
            assert await work_on(host, open=True) == []
            assert host.corrector.get_statistics().gone == 1

    async def test_a_correction_is_made_while_nothing_may_be_changed(self, clinic):
        """With hands held, theirs are not asked to mend."""
        async with clinic(held="it is frozen") as host:
            await host.kernel.add_plugin(Plumber)

            assert await work_on(host) == [("plumber.stuck_valve", "advised")]
            assert not Plumber.valve.open

    async def test_a_broken_correction_stops_the_others(self, clinic, caplog):
        """One that raises is logged and left out, by the corrector's own logger, so that it is no trouble itself."""
        async with clinic() as host:
            await host.kernel.add_plugin(Plumber)
            LOG.error("lost", exc_info=ModuleNotFoundError("gone", name="nowhere_of_tests"))
            LOG.error("unknown")

            assert await host.work() == [("missing_module", "advised")]
            assert "cannot judge a record" in caplog.text
            assert await host.work() == []


class Nameless(Correction):
    """Has no name, as its author forgot it."""

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        return {}

    async def fix(self, subject: dict[str, str]) -> str:
        return ""

    async def check(self, subject: dict[str, str]) -> bool:
        return False


class SpoiledError(Exception):
    """Cannot even be told of."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Mute(StuckValve):
    """Fails by what nobody can read."""

    name = "mute"

    async def fix(self, subject: dict[str, str]) -> str:
        raise SpoiledError

    async def check(self, subject: dict[str, str]) -> bool:
        raise SpoiledError


class Careless(Plugin):
    """Offers what has no name, and what fails."""

    name = "careless"
    first: Correction = StuckValve()

    @hookimpl
    def correction_categories(self) -> list[Correction]:
        return [Nameless(), self.first]


class TestOffers:
    async def test_an_offer_without_a_name_ends_error_correction(self, clinic, caplog):
        """What cannot be used of what a plugin offers is left out and said once; the rest of it, and ours, go on."""
        async with clinic() as host:
            Careless.first = StuckValve()
            await host.kernel.add_plugin(Careless)
            for _ in range(2):
                LOG.warning("stuck: %s", "north")
                LOG.error("lost", exc_info=ModuleNotFoundError("gone", name="nowhere_of_tests"))
                ended = await host.work()
                await host.clock.advance(700.0)

            assert ended == [("missing_module", "advised")]  # the valve is open since the first time
            assert host.corrector.get_statistics().categories["careless.stuck_valve"]["successful"] == 1
            left_out = [line for line in caplog.messages if "is left out" in line]
            wanted = "Nameless: expected its name in snake_case, got None"
            assert left_out == [f"a correction of plugin 'careless' is left out: {wanted}"]

    async def test_a_correction_that_nobody_can_tell_of_ends_the_task(self, clinic, caplog):
        """Whatever a correction raises, the next record is looked at, by the same task, and it is said to run."""
        async with clinic(interval=1.0) as host:
            Careless.first = Mute()
            await host.kernel.add_plugin(Careless)
            LOG.warning("stuck: %s", "north")
            with anyio.fail_after(10):
                while "a look at a trouble in the log of acme.valve raised" not in caplog.text:
                    await host.clock.advance(1.0)
                    await anyio.sleep(0.001)
                LOG.error("lost", exc_info=ModuleNotFoundError("gone", name="nowhere_of_tests"))
                while not host.doctor.told:
                    await host.clock.advance(1.0)
                    await anyio.sleep(0.001)

            assert [done.category for done in host.corrector.get_statistics().recent] == ["missing_module"]
            assert host.corrector.get_statistics().running
