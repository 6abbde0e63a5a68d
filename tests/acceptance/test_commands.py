"""Every command, from another process, against a real host."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.acceptance.conftest import Project, RunningHost

GREETER = """
class Greeting(Message, tag="greeter.greeting"):
    text: str

class Greet(Request[Greeting], tag="greeter.greet"):
    name: str

class GreeterSettings(Settings):
    greeting: str = "Hello"

class Greeter(Plugin[GreeterSettings]):
    name = "greeter"
    version = "1.2"

    @handler
    async def greet(self, request: Greet) -> Greeting:
        return Greeting(text=f"{self.settings.greeting}, {request.name}")
"""
DOER = """
class Did(Message, tag="doer.did"):
    pass

class Do(Request[Did], tag="doer.do"):
    well: bool = False

class Doer(Plugin):
    name = "doer"

    @every(3600.0, at_start=True)
    async def submit(self):
        from aetherra.kernel import RetryPolicy
        if not os.path.exists("fixed"):
            await self.ctx.submit(Do(), retry=RetryPolicy(max_attempts=1))

    @handler
    async def do(self, request: Do) -> Did:
        if not os.path.exists("fixed"):
            raise OSError("no such probe")
        return Did()
"""


@pytest.fixture
def host(project: Project) -> Iterator[RunningHost]:
    """A host of our plugins and a greeter."""
    project.plugin("greeter", GREETER, greeting="Hi")
    project.configure(discover=True)
    with project.host() as running:
        yield running
        assert running.stop() == 0, running.log


class TestInspection:
    def test_the_host_tells_how_it_is(self, project: Project, host: RunningHost) -> None:
        """Each command has a table for people and a document for programs, and both are about this host."""
        status = project.aetherra("status", "--json").json
        assert status["pid"] == host.process.pid
        assert status["backend"] == project.backend
        assert status["root"] == str(project.path)
        assert status["plugins"] == {"serving": 6}
        assert 0.0 <= status["health"]["score"] <= 1.0
        told = project.aetherra("status").out
        assert str(host.process.pid) in told
        assert "by itself" in told
        assert project.aetherra("emergency", "stop", "a test of it").status == 0
        told = project.aetherra("status").out
        assert re.search(r"by itself +emergency stop by .*: a test of it", told), told
        assert project.aetherra("status", "--json").json["governance"]["stopped"]["why"] == "a test of it"
        assert project.aetherra("emergency", "lift", "it held").status == 0

        services = {service["name"]: service for service in project.aetherra("services", "--json").json}
        assert services["greeter"]["tags"] == ["greeter.greet"]
        assert {service["status"] for service in services.values()} == {"healthy"}
        assert "self_improvement_engine" in project.aetherra("services").out
        tags = project.aetherra("services", "--tags", "--json").json
        (greeting,) = [route for route in tags["calls"] if route["tag"] == "greeter.greet"]
        assert greeting["latency"].keys() == {"p50", "p95", "p99"}
        assert "p99" in project.aetherra("services", "--tags").out.lower()

        plugins = {plugin["name"]: plugin for plugin in project.aetherra("plugins", "--json").json}
        assert set(plugins) == {"governance", "greeter", "hmr", "homeostasis", "self_improvement", "self_incorporation"}
        assert (plugins["greeter"]["version"], plugins["greeter"]["state"]) == ("1.2", "serving")
        assert "greeter.py" in project.aetherra("plugins").out

        actions = project.aetherra("actions", "--json").json
        assert set(actions["lanes"]) == {"high", "normal", "background"}
        assert "background" in project.aetherra("actions").out

    def test_the_host_does_not_say_what_it_does_for_its_health(self, project: Project, host: RunningHost) -> None:
        """Phases, actuators, decisions and metrics are told, and a person can freeze it all."""
        project.aetherra("call", "homeostasis.collect", "{}")
        found = project.aetherra("heal", "status", "--json").json
        assert [phase["number"] for phase in found["phases"]] == list(range(1, 10))
        assert "error correction" in project.aetherra("heal", "status").out
        assert "restart_plugin" in project.aetherra("heal", "actuators").out
        assert "aetherra_system_health" in project.aetherra("heal", "metrics").out
        assert project.aetherra("heal", "freeze", "moving house").json["by"] == "remote client 'aetherra command line'"
        assert "moving house" in project.aetherra("heal", "status").out
        refused = project.aetherra("call", "homeostasis.act", '{"actuator": "release_memory"}')
        assert refused.status == 1
        assert "moving house" in refused.err
        assert not project.aetherra("heal", "unfreeze").json["frozen"]
        assert "no-such-decision" in project.aetherra("heal", "explain", "no-such-decision").err
        assert project.aetherra("heal", "explain").status == 0

    def test_a_call_prints_the_reply(self, project: Project, host: RunningHost) -> None:
        """Any service may be called by its tag."""
        assert project.aetherra("call", "greeter.greet", '{"name": "Ada"}').json["text"] == "Hi, Ada"
        trends = project.aetherra("call", "selfimprovement.trends").json
        assert "trends" in trends

    def test_a_project_is_named_by_path(self, project: Project, host: RunningHost) -> None:
        """Commands find the host of another folder than this one."""
        elsewhere = project.aetherra("status", "--json", "--path", project.path)
        assert elsewhere.json["pid"] == host.process.pid
        nowhere = project.aetherra("status", "--path", project.logs)
        assert (nowhere.status, "no host is running here" in nowhere.err) == (1, True)
        assert "aetherra run" in nowhere.err


class TestContracts:
    def test_the_host_tells_its_contract(self, project: Project, host: RunningHost) -> None:
        """What is printed is a contract that the running host keeps, whole, of one tag, and as AsyncAPI."""
        whole = project.aetherra("services", "--schema")
        (project.path / "whole.json").write_text(whole.out, encoding="utf-8")
        assert whole.json["messages"]["greeter.greet"]["plugin"] == "greeter"
        one = project.aetherra("services", "--schema", "greeter.greet")
        (project.path / "one.json").write_text(one.out, encoding="utf-8")
        assert list(one.json["messages"]) == ["greeter.greet"]
        assert project.aetherra("contract", "check", "one.json", "whole.json").status == 0
        assert project.aetherra("contract", "check", "one.json", "greeter.py").status == 0
        assert project.aetherra("contract", "check", "whole.json", "one.json").status == 1
        document = project.aetherra("services", "--asyncapi").json
        assert (document["asyncapi"], document["operations"]["greeter.greet"]["action"]) == ("3.0.0", "receive")

        slip = project.aetherra("services", "--schema", "greeter.great")
        assert (slip.status, slip.out) == (1, "")
        assert "'greeter.greet'" in slip.err
        assert project.aetherra("services", "--schema", "--json").status == 2

    def test_a_reload_that_breaks_it_needs_force(self, project: Project, host: RunningHost) -> None:
        """The command says each breaking change, and with ``--force`` swaps all the same."""
        project.plugin(
            "greeter", GREETER.replace("    name: str", "    who: str").replace("request.name", "request.who")
        )
        refused = project.aetherra("plugin", "reload", "greeter")
        assert (refused.status, refused.out) == (1, "")
        assert "contract_broken: greeter.greet: `$.who`: is new and required" in refused.err
        assert project.aetherra("plugin", "reload", "greeter", "--force").status == 0
        assert project.aetherra("call", "greeter.greet", '{"who": "Ada"}').json["text"] == "Hi, Ada"


class TestSwaps:
    def test_a_plugins_swaps_are_forgotten(self, project: Project, host: RunningHost) -> None:
        """``info`` tells each attempt with its outcome, the source's digest, and why."""
        project.plugin("greeter", GREETER.replace("{self.settings", "{1 / 0, self.settings"))
        assert project.aetherra("plugin", "reload", "greeter").status == 0
        back = project.aetherra("plugin", "rollback", "greeter", "--reason", "it fails")
        assert "greeter: generation 2 -> 3 in" in back.out
        project.plugin("greeter", GREETER + "(")
        refused = project.aetherra("plugin", "reload", "greeter")
        assert refused.status == 1
        assert "load_failed: '(' was never closed (" in refused.err

        swaps = project.aetherra("plugin", "info", "greeter", "--json").json["swaps"]
        assert [(swap["outcome"], swap["generation"]) for swap in swaps] == [
            ("swapped", 2),
            ("rolled_back", 3),
            ("failed", 3),
        ]
        assert (len(swaps[0]["source"]), swaps[0]["source"] != swaps[1]["source"]) == (64, True)
        text = project.aetherra("plugin", "info", "greeter").out
        assert re.search(r"swap .* rolled back, generation 2 -> 3 in .*, source [0-9a-f]{12}: it fails", text)
        assert re.search(r"swap .* generation 3 kept: load_failed: '\(' was never closed", text)

    def test_there_is_a_way_back_to_nothing(self, project: Project, host: RunningHost) -> None:
        """The first generation has none before it."""
        refused = project.aetherra("plugin", "rollback", "greeter", "--force")
        assert (refused.status, "no earlier generation is kept" in refused.err) == (1, True)


class TestListening:
    TICKER = """
    class Tick(Message, tag="ticker.tick"):
        number: int

    class Ticker(Plugin):
        name = "ticker"
        number = 0

        @every(0.02)
        async def tick(self):
            self.number += 1
            await self.ctx.publish(Tick(number=self.number))
    """

    def test_events_are_printed_in_order_a_line_each(self, project: Project) -> None:
        """Each line is one document with tag and body."""
        project.plugin("ticker", self.TICKER)
        with project.host() as host:
            ended = project.aetherra("listen", "ticker.*", "--count", "3")
            assert (ended.status, ended.err) == (0, "")
            events = [json.loads(line) for line in ended.out.splitlines()]
            assert [event["tag"] for event in events] == ["ticker.tick"] * 3
            numbers = [event["body"]["number"] for event in events]
            assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
            assert host.stop() == 0

    def test_ctrl_c_ends_it_well_and_in_silence(self, project: Project) -> None:
        """It was told to listen until Ctrl-C, and did."""
        project.plugin("ticker", self.TICKER)
        with project.host() as host:
            with self.listening(project) as listener:
                assert listener.stdout is not None
                assert listener.stdout.readline()
                listener.send_signal(signal.SIGINT)
                _, err = listener.communicate(timeout=20)
                assert (listener.returncode, err) == (0, b"")
            assert host.call("kernel.status")["pid"] == host.process.pid
            assert host.stop() == 0

    def test_a_reader_that_goes_away_ends_it_in_silence(self, project: Project) -> None:
        """As in ``aetherra listen '*' | head -1``."""
        project.plugin("ticker", self.TICKER)
        with project.host() as host:
            with self.listening(project) as listener:
                assert listener.stdout is not None
                assert listener.stdout.readline()
                listener.stdout.close()
                assert listener.stderr is not None
                assert listener.stderr.read() == b""
                assert listener.wait(20) in (0, 1)
            assert host.stop() == 0

    def test_a_host_that_stops_is_said(self, project: Project) -> None:
        """The listener ends when there is nobody left to hear."""
        project.plugin("ticker", self.TICKER)
        with project.host() as host, self.listening(project) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline()
            assert host.stop() == 0
            _, err = listener.communicate(timeout=20)
            assert listener.returncode == 1
            assert b"Traceback" not in err
            assert str(host.process.pid).encode() in err

    def listening(self, project: Project) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return project.begin("listen", "ticker.*")


class TestPlugins:
    def test_a_plugin_is_described_swapped_rolled_back_and_removed(self, project: Project, host: RunningHost) -> None:
        """The whole of ``aetherra plugin``, over one plugin's life."""

        def greet() -> str:
            return host.call("greeter.greet", {"name": "Ada"})["text"]

        info = project.aetherra("plugin", "info", "greeter", "--json").json
        assert (info["state"], info["generation"], info["tags"]) == ("serving", 1, ["greeter.greet"])
        assert "greeter.greet" in project.aetherra("plugin", "info", "greeter").out

        project.plugin("greeter", GREETER.replace("}, {", "}!, {"))
        swapped = project.aetherra("plugin", "reload", "greeter", "--json").json
        assert (swapped["old_generation"], swapped["generation"]) == (1, 2)
        assert greet() == "Hi!, Ada"

        (old,) = project.aetherra("plugin", "info", "greeter", "--why", "--json").json["retired"]
        assert (old["generation"], old["kept"]) == (1, True)
        assert "retired     generation 1 ended " in project.aetherra("plugin", "info", "greeter").out

        back = project.aetherra("plugin", "rollback", "greeter")
        assert (back.status, "generation 2 -> 3" in back.out) == (0, True)
        assert greet() == "Hi, Ada"

        project.plugin("greeter", "nonsense(")
        refused = project.aetherra("plugin", "reload", "greeter")
        assert (refused.status, refused.out) == (1, "")
        assert "is as it was" in refused.err
        assert greet() == "Hi, Ada"

        restarted = project.aetherra("plugin", "restart", "greeter", "--reason", "for a test")
        assert (restarted.status, restarted.out) == (0, "greeter: generation 3 -> 4\n")
        assert project.aetherra("plugin", "disable", "greeter", "--reason", "it is sick").status == 0
        sick = project.aetherra("call", "greeter.greet", '{"name": "Ada"}')
        assert (sick.status, "is quarantined: it is sick" in sick.err) == (1, True)
        enabled = project.aetherra("plugin", "enable", "greeter", "--json")
        assert (enabled.status, enabled.json["plugin"]) == (0, "greeter")
        assert greet() == "Hi, Ada"

        removed = project.aetherra("plugin", "remove", "greeter", "--json")
        assert (removed.status, removed.json["plugin"]) == (0, "greeter")
        gone = project.aetherra("call", "greeter.greet", '{"name": "Ada"}')
        assert (gone.status, "'greeter.greet' is not answered now" in gone.err) == (1, True)

    def test_an_unknown_plugin_is_answered_with_those_there_are(self, project: Project, host: RunningHost) -> None:
        """A typo is told what it could have meant, whatever was to be done."""
        for command in ("info", "reload", "rollback", "restart", "disable", "enable", "remove"):
            ended = project.aetherra("plugin", command, "greter")
            assert (ended.status, ended.out) == (1, "")
            expected = "aetherra: there is no plugin 'greter' here; there are: governance, greeter"
            assert ended.err.startswith(expected), command


class TestDeadLetters:
    def test_a_dead_letter_is_listed_shown_sent_again_and_deleted(self, project: Project) -> None:
        """The whole of ``aetherra dlq``, over one letter's life."""
        project.plugin("doer", DOER)
        with project.host() as host:
            project.until(lambda: host.call("kernel.status")["dead_letters"] == 1, "the action is dead")
            (letter,) = project.aetherra("dlq", "list", "--json").json
            assert (letter["action_type"], letter["reason"], letter["attempts"]) == ("doer.do", "failed", 1)
            trace_id = letter["trace_id"]
            assert trace_id in project.aetherra("dlq", "list").out
            assert project.aetherra("dlq", "list", "--json", "--reason", "expired").json == []
            shown = project.aetherra("dlq", "show", trace_id).json
            assert "no such probe" in shown["message"]

            (project.path / "fixed").touch()
            planned = project.aetherra("dlq", "redrive", "--reason", "failed", "--since", "1h", "--dry-run")
            assert planned.out == f"{trace_id} would be submitted again\n"
            again = project.aetherra("dlq", "redrive", trace_id, "--json")
            (redriven,) = again.json["redriven"]
            assert (again.status, again.json["refused"], redriven["trace_id"]) == (0, [], trace_id)
            assert redriven["new_trace_id"] != trace_id
            project.until(lambda: host.call("kernel.status")["actions_done"] == 1, "the action is done")
            assert project.aetherra("dlq", "list", "--json").json == []
            nothing = project.aetherra("dlq", "redrive", "--all")
            assert (nothing.status, nothing.out, nothing.err) == (0, "", "aetherra: no dead letter fits\n")
            assert host.stop() == 0

    def test_letters_outlive_their_host_until_they_are_purged(self, project: Project) -> None:
        """The queue is on disk; deleting all has to be said."""
        project.plugin("doer", DOER)
        with project.host() as host:
            project.until(lambda: host.call("kernel.status")["dead_letters"] == 1, "the action is dead")
            assert host.stop() == 0
        (project.path / "fixed").touch()
        with project.host() as host:
            assert len(project.aetherra("dlq", "list", "--json").json) == 1
            assert project.aetherra("dlq", "purge").status == 2
            assert project.aetherra("dlq", "purge", "--all").status == 2
            assert project.aetherra("dlq", "purge", "--before", "1h").out == "0 deleted\n"
            assert project.aetherra("dlq", "purge", "--all", "--yes", "--json").json["removed"] == 1
            assert project.aetherra("dlq", "list", "--json").json == []
            assert host.stop() == 0

    def test_where_no_host_runs_its_files_are_read_and_purged(self, asyncio_project: Project) -> None:
        """List, show and purge work on the files, which is said; sending again takes a host, which is said too."""
        project = asyncio_project
        project.plugin("doer", DOER)
        empty = project.aetherra("dlq", "list", "--json")
        assert (empty.status, empty.json) == (0, [])
        assert not project.data.exists()
        with project.host() as host:
            project.until(lambda: host.call("kernel.status")["dead_letters"] == 1, "the action is dead")
            assert host.stop() == 0
        file = project.data / "kernel_dlq.jsonl"
        with file.open("ab") as torn:
            torn.write(b'{"torn":\n')

        listed = project.aetherra("dlq", "list", "--json", "--type", "doer.do", "--since", "1h")
        assert listed.status == 0
        assert listed.err.splitlines() == [
            f"aetherra: no host is running here; these are the files: {file}",
            "aetherra: 1 lines are no letters that can be read, as another version may have written them",
        ]
        (letter,) = listed.json
        trace_id = letter["trace_id"]
        assert project.aetherra("dlq", "show", trace_id).json == letter
        missing = project.aetherra("dlq", "show", "nope")
        assert (missing.status, missing.out, "nothing with trace id 'nope'" in missing.err) == (1, "", True)
        redrive = project.aetherra("dlq", "redrive", trace_id)
        assert (redrive.status, redrive.out) == (1, "")
        assert "start one with 'aetherra run .': it is the host's handlers" in redrive.err
        assert project.aetherra("dlq", "purge", "--reason", "expired").out == "0 deleted\n"
        purged = project.aetherra("dlq", "purge", trace_id)
        assert (purged.status, purged.out) == (0, "1 deleted\n")
        assert "no host is running here" in purged.err

        aside = project.data / "kernel_dlq.unreadable"
        assert aside.read_bytes() == b'{"torn":\n'
        assert project.aetherra("dlq", "list", "--json").err.endswith(
            f"aetherra: 1 lines are no letters that can be read; see {aside}\n"
        )
        file.unlink()
        file.mkdir()
        broken = project.aetherra("dlq", "list")
        assert (broken.status, broken.out) == (1, "")
        assert f"{file}: cannot read: Is a directory" in broken.err

    def test_who_is_asked_may_say_no(self, asyncio_project: Project) -> None:
        """On a terminal, deleting everything asks first; anything but a yes deletes nothing."""
        import pty

        project = asyncio_project
        project.plugin("doer", DOER)
        with project.host() as host:
            project.until(lambda: host.call("kernel.status")["dead_letters"] == 1, "the action is dead")
            assert host.stop() == 0
        for answer, left in ((b"n\n", 1), (b"y\n", 0)):
            ours, theirs = pty.openpty()
            os.write(ours, answer)
            ended = subprocess.run(
                [project.command, "dlq", "purge", "--all"],
                check=False,
                cwd=project.path,
                stdin=theirs,
                capture_output=True,
                timeout=20,
            )
            os.close(ours)
            os.close(theirs)
            assert b"Delete all dead letters" in ended.stderr
            assert ended.returncode == left
            assert len(project.aetherra("dlq", "list", "--json").json) == left

    def test_an_unknown_letter_is_said(self, asyncio_project: Project) -> None:
        """A trace id that is not there fails the command, with where to look."""
        asyncio_project.configure()
        with asyncio_project.host() as host:
            for command in ("show", "redrive"):
                ended = asyncio_project.aetherra("dlq", command, "nope")
                assert (ended.status, ended.out) == (1, "")
                assert ended.err.startswith("aetherra: the dead letter queue holds nothing with trace id 'nope'")
            assert host.stop() == 0


class TestConfiguration:
    def test_what_is_right_is_checked_shown_and_described(self, asyncio_project: Project) -> None:
        """``config`` needs no running host."""
        asyncio_project.plugin("greeter", "print('imported')\n" + GREETER, greeting="Hi")
        asyncio_project.configure(plugins={"guest": {"source": "later", "grants": ["call:greeter.*"]}})
        check = asyncio_project.aetherra("config", "check")
        assert (check.status, "all right, with 1 plugins: greeter" in check.out) == (0, True), check.err
        shown = asyncio_project.aetherra("config", "show").json
        assert shown["plugins"]["greeter"]["greeting"] == "Hi"
        assert shown["kernel"]["data_dir"] == ".aetherra"
        schema = asyncio_project.aetherra("config", "schema").json
        assert schema["properties"]["plugins"]["properties"]["greeter"]["properties"]["greeting"]["default"] == "Hello"

    def test_every_problem_is_named_at_once(self, asyncio_project: Project) -> None:
        """A wrong setting, a broken file and a lost one are three lines and status 1."""
        asyncio_project.plugin("greeter", GREETER, greeting=7)
        asyncio_project.plugin("leaver", "sys.exit('bye')")
        asyncio_project.configure(plugins={"ghost": {}})
        ended = asyncio_project.aetherra("config", "check")
        assert (ended.status, ended.out) == (1, "")
        assert len(ended.err.splitlines()) == 3
        for said in ("$.plugins.greeter.greeting", "'leaver'", "$.plugins.ghost"):
            assert said in ended.err


class TestHelp:
    def commands(self) -> list[list[str]]:
        from aetherra.kernel.cli.app import cli

        def walk(command: Any, path: list[str]) -> Iterator[list[str]]:
            yield path
            context = command.make_context(path[-1] if path else "aetherra", [], resilient_parsing=True)
            for name in getattr(command, "list_commands", lambda _: [])(context):
                yield from walk(command.get_command(context, name), [*path, name])

        return list(walk(cli, []))

    def test_every_command_tells_what_it_does(self, asyncio_project: Project) -> None:
        """``--help`` is there on all levels, and says something."""
        from click.testing import CliRunner

        from aetherra.kernel.cli.app import cli

        commands = self.commands()
        assert len(commands) > 25
        for path in commands:
            result = CliRunner().invoke(cli, [*path, "--help"])
            assert (result.exit_code, result.output.startswith("Usage:")) == (0, True), path
            assert len(result.output.splitlines()) > 4, path

    def test_without_the_extra_it_says_what_to_install(self, asyncio_project: Project) -> None:
        """The library installs without the command line's own libraries."""
        for library in ("click", "rich"):
            (asyncio_project.path / "sitecustomize.py").write_text(
                f"import sys\nsys.modules[{library!r}] = None\n", encoding="utf-8"
            )
            ended = asyncio_project.aetherra("--help", PYTHONPATH=str(asyncio_project.path))
            if library == "click":
                assert (ended.status, ended.out) == (1, "")
                assert ended.err == "aetherra: the command line needs 'click': pip install 'aetherra[cli]'\n"
            else:
                assert ended.status == 0  # what goes to no terminal needs no rich

    def test_the_module_runs_as_the_command(self, asyncio_project: Project) -> None:
        """``python -m`` works where scripts are not on the path."""
        assert "aetherra" in asyncio_project.module("--version").out


class TestMisuse:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["run", "--json"],
            ["run", "--once", "--for", "1"],
            ["run", "--for", "-1"],
            ["run", "--backend", "twisted"],
            ["run", "not/there"],
            ["run", "config.json"],
            ["status", "--path", "not/there"],
            ["scan", "not/there"],
            ["plugin", "new", "Not-A-Name"],
            ["plugin", "new", "class"],
            ["dlq", "list", "--limit", "0"],
            ["dlq", "list", "--since", "soon"],
            ["dlq", "redrive"],
            ["dlq", "redrive", "--all", "--reason", "failed"],
            ["dlq", "purge"],
            ["dlq", "purge", "--all"],
            ["dlq", "purge", "--all", "--yes", "some-id"],
            ["call"],
        ],
        ids=" ".join,
    )
    def test_is_told_and_exits_with_2(self, asyncio_project: Project, arguments: list[str]) -> None:
        """A command that makes no sense does nothing, on standard error."""
        asyncio_project.configure()
        ended = asyncio_project.aetherra(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert "Usage:" in ended.err or "aetherra:" in ended.err
        assert "Traceback" not in ended.err
        assert not asyncio_project.data.exists()
