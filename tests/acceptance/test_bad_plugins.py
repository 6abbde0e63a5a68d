"""Plugins that do their worst in a real host, which serves on and says what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aetherra.registry import AetherraError

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project, RunningHost

GOOD = """
class Pong(Message, tag="good.pong"):
    text: str

class Ping(Request[Pong], tag="good.ping"):
    text: str

class Good(Plugin):
    name = "good"

    @handler
    async def ping(self, request: Ping) -> Pong:
        return Pong(text=request.text)
"""
FAULTY = """
class Done(Message, tag="faulty.done"):
    pass

class Provoke(Request[Done], tag="faulty.provoke"):
    pass

def at(place):
    if place == "{place}":
        {fault}

at("import")

class Faulty(Plugin):
    name = "faulty"

    async def start(self, ctx):
        at("start")
        ctx.start_soon(self.work)

    async def work(self):
        at("task")

    @handler
    async def provoke(self, request: Provoke) -> Done:
        at("handler")
        return Done()

    async def stop(self):
        at("stop")
"""
FAULTS = {"raises": "raise OSError('no such probe')", "calls sys.exit": "sys.exit(3)"}
SAID = {"raises": "no such probe", "calls sys.exit": "3"}


def state_of(host: RunningHost, plugin: str) -> dict[str, Any]:
    """Return what the host says of a plugin."""
    return next(info for info in host.call("kernel.plugins")["plugins"] if info["name"] == plugin)


def assert_serves(host: RunningHost) -> None:
    """The good plugin answers."""
    assert host.call("good.ping", {"text": "still here"})["text"] == "still here"


@pytest.mark.parametrize("fault", list(FAULTS))
class TestAPluginThatFails:
    def faulty(self, project: Project, place: str, fault: str) -> None:
        project.plugin("good", GOOD)
        project.plugin("faulty", FAULTY.format(place=place, fault=FAULTS[fault]))

    @pytest.mark.parametrize(("place", "phase"), [("import", "importing"), ("start", "starting")])
    def test_it_is_listed_as_failed_and_the_host_serves_on(
        self, project: Project, place: str, phase: str, fault: str
    ) -> None:
        """One that fails on its way up is named with phase and reason; the others are not touched."""
        self.faulty(project, place, fault)
        with project.host() as host:
            info = state_of(host, "faulty")
            assert (info["state"], phase in info["reason"]) == ("failed", True), info
            assert SAID[fault] in info["reason"]
            assert "not brought up: faulty" in host.log
            assert_serves(host)
            assert host.stop() == 0

    def test_a_faulty_handler_is_the_callers_to_hear(self, project: Project, fault: str) -> None:
        """The caller is told plugin, tag and cause; the plugin and the host serve on."""
        self.faulty(project, "handler", fault)
        with project.host() as host:
            ended = project.aetherra("call", "faulty.provoke")
            assert (ended.status, ended.out) == (1, "")
            assert "plugin 'faulty'" in ended.err
            assert "'faulty.provoke'" in ended.err
            assert SAID[fault] in ended.err
            assert "Traceback" not in ended.err
            assert state_of(host, "faulty")["state"] == "serving"
            assert_serves(host)
            assert host.stop() == 0

    def test_a_faulty_task_degrades_its_plugin_alone(self, project: Project, fault: str) -> None:
        """A background task that fails is counted and named; nothing else changes."""
        self.faulty(project, "task", fault)
        with project.host() as host:
            info = state_of(host, "faulty")
            services = {service["name"]: service["status"] for service in host.call("kernel.services")["services"]}
            assert (info["state"], info["faults"]) == ("serving", 1)
            assert (services["faulty"], services["good"]) == ("degraded", "healthy")
            assert_serves(host)
            assert host.stop() == 0

    def test_a_faulty_stop_keeps_no_other_from_stopping(self, project: Project, fault: str) -> None:
        """The host ends in order, and says what stop() did."""
        self.faulty(project, "stop", fault)
        with project.host() as host:
            assert_serves(host)
            assert host.stop() == 0
            assert "plugin 'faulty' (generation 1)" in host.log
            assert SAID[fault] in host.log
        assert not project.socket.exists()


class TestAPluginThatHangs:
    HANGS = """
    class Stuck(Plugin):
        name = "stuck"

        async def {step}(self, *ctx):
            await self.wait_for_a_probe_that_never_answers()

        async def wait_for_a_probe_that_never_answers(self):
            await anyio.sleep_forever()
    """

    def test_a_hanging_start_is_given_up_and_named_with_its_stack(self, project: Project) -> None:
        """After start_timeout the host goes on without it, and says where it waited."""
        project.plugin("good", GOOD)
        project.plugin("stuck", self.HANGS.format(step="start"))
        project.configure(start_timeout=0.2)
        with project.host() as host:
            info = state_of(host, "stuck")
            assert info["state"] == "failed"
            assert "was not done with start() after 0.2 s" in info["reason"]
            assert "wait_for_a_probe_that_never_answers" in info["reason"]
            assert_serves(host)
            assert host.stop() == 0

    def test_a_hanging_stop_is_given_up_and_named_with_its_stack(self, project: Project) -> None:
        """After stop_timeout the host ends without it, and says where it waited."""
        project.plugin("stuck", self.HANGS.format(step="stop"))
        project.configure(stop_timeout=0.2)
        with project.host() as host:
            assert host.stop() == 0
            assert "was not done with stop() after 0.2 s" in host.log
            assert "wait_for_a_probe_that_never_answers" in host.log
        project.assert_left_clean()

    def test_a_hanging_import_is_given_up_and_the_host_can_still_end(self, project: Project) -> None:
        """A thread that never comes back from an import does not keep the process alive."""
        project.plugin("good", GOOD)
        project.plugin("stuck", "threading.Event().wait()\n")
        project.configure(import_timeout=0.2, shutdown_timeout=0.5)
        with project.host() as host:
            assert "still ran after 0.2 s" in state_of(host, "stuck")["reason"]
            assert_serves(host)
            assert host.stop() == 0, host.log
        project.assert_left_clean()


class TestAPluginThatBlocksTheEventLoop:
    BLOCKS = """
    class Rested(Message, tag="blocker.rested"):
        pass

    class Rest(Request[Rested], tag="blocker.rest"):
        pass

    class Blocker(Plugin):
        name = "blocker"

        @handler
        async def rest(self, request: Rest) -> Rested:
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                time.sleep(0.01)
            return Rested()
    """

    def test_the_watchdog_names_it_in_log_and_status(self, project: Project) -> None:
        """Who holds the loop is said while it does, with the line, and counted."""
        project.plugin("blocker", self.BLOCKS)
        project.configure(block_threshold=0.1)
        with project.host() as host:
            host.call("blocker.rest")
            host.wait_for("plugin 'blocker' blocks the event loop for more than 0.1 s")
            assert "time.sleep(0.01)" in host.log
            assert project.aetherra("status", "--json").json["blocked_by"] == {"blocker": 1}
            assert "blocked 1 times by blocker" in project.aetherra("status").out
            assert host.stop() == 0


class TestPluginsThatCannotBe:
    def reason(self, project: Project, plugin: str) -> str:
        with project.host() as host:
            info = state_of(host, plugin)
            assert info["state"] == "failed"
            assert host.stop() == 0
            return info["reason"]

    def test_one_made_for_another_api_is_refused(self, asyncio_project: Project) -> None:
        """The version that is wanted and the one that is here are both named."""
        asyncio_project.plugin("old", "class Old(Plugin):\n    name = 'old'\n    requires = ('aetherra-api>=9,<10',)\n")
        reason = self.reason(asyncio_project, "old")
        assert "aetherra-api>=9,<10" in reason

    def test_two_files_with_one_name_are_told_apart(self, asyncio_project: Project) -> None:
        """The one whose section and class agree serves; the other is told to use one name."""
        asyncio_project.plugin("good", GOOD)
        asyncio_project.plugin("other", GOOD)
        with asyncio_project.host() as host:
            assert "calls itself 'good'" in state_of(host, "other")["reason"]
            assert_serves(host)
            assert host.stop() == 0

    def test_two_plugins_that_answer_one_tag_are_told_apart(self, asyncio_project: Project) -> None:
        """One serves; the other is failed, and the tag and the holder are named."""
        asyncio_project.plugin("good", GOOD)
        asyncio_project.plugin("other", GOOD.replace('name = "good"', 'name = "other"'))
        with asyncio_project.host() as host:
            states = {info["state"]: info for info in host.call("kernel.plugins")["plugins"]}
            assert set(states) == {"serving", "failed"}
            assert "'good.ping'" in states["failed"]["reason"]
            assert_serves(host)
            assert host.stop() == 0

    def test_a_circle_of_requirements_is_spelled_out(self, asyncio_project: Project) -> None:
        """Each plugin of the circle is failed with the way round; the rest serves."""
        asyncio_project.plugin("good", GOOD)
        for name, need in (("a", "b"), ("b", "c"), ("c", "a")):
            asyncio_project.plugin(name, f"class P(Plugin):\n    name = '{name}'\n    requires = ('{need}',)\n")
        with asyncio_project.host() as host:
            assert "a -> b -> c -> a" in state_of(host, "a")["reason"]
            assert {state_of(host, name)["state"] for name in "abc"} == {"failed"}
            assert_serves(host)
            assert host.stop() == 0

    def test_a_source_that_is_not_there_is_named(self, asyncio_project: Project) -> None:
        """The path that was looked for is said, with what was expected there."""
        asyncio_project.configure(plugins={"ghost": {"source": "lost/ghost.py"}})
        assert "lost/ghost.py" in self.reason(asyncio_project, "ghost")

    def test_one_that_nobody_offers_is_named(self, asyncio_project: Project) -> None:
        """A section without a source whose plugin is not installed says what to do."""
        asyncio_project.configure(plugins={"ghost": {}})
        assert "no installed package offers a plugin 'ghost'" in self.reason(asyncio_project, "ghost")

    def test_wrong_settings_fail_that_plugin_with_file_path_and_expectation(self, asyncio_project: Project) -> None:
        """A plugin's own section is checked against its settings."""
        source = """
        class KeeperSettings(Settings):
            setpoint: float = 1.0

        class Keeper(Plugin[KeeperSettings]):
            name = "keeper"
        """
        asyncio_project.plugin("keeper", source, setpoint="warm")
        reason = self.reason(asyncio_project, "keeper")
        assert "config.json: `$.plugins.keeper.setpoint`: expected `float`, got `str`" in reason


class TestCalls:
    def test_what_a_caller_got_wrong_is_said(self, project: Project) -> None:
        """Unknown tags name the nearest, wrong fields their path, and what is no JSON is a misuse."""
        project.plugin("good", GOOD)
        with project.host() as host:
            unknown = project.aetherra("call", "good.pinng")
            assert (unknown.status, "'good.ping'" in unknown.err) == (1, True)
            wrong = project.aetherra("call", "good.ping", '{"text": 7}')
            assert (wrong.status, "`$.text`" in wrong.err, "expected `str`, got `int`" in wrong.err.lower()) == (
                1,
                True,
                True,
            ), wrong.err
            for body in ("{", "text", '{"text": NaN}', ""):
                misused = project.aetherra("call", "good.ping", body)
                assert (misused.status, "is not JSON" in misused.err) == (2, True), misused.err
            assert project.aetherra("call", "good.ping", "-", stdin='{"text": "in"}').json["text"] == "in"
            assert_serves(host)
            assert host.stop() == 0

    def test_a_refused_call_raises_for_another_process_what_it_raises_here(self, asyncio_project: Project) -> None:
        """A Python client gets the error, not a text of it."""
        asyncio_project.plugin("good", GOOD)
        with asyncio_project.host() as host, pytest.raises(AetherraError, match=r"\$\.text"):
            host.call("good.ping", {"text": 7})
