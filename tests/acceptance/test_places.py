"""Where a host runs and what it finds there: configurations, folders, locks and sockets, good and bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project


class TestAConfiguration:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"kernel": {', "is not JSON: line 1 column 13"),
            ('{"kernel": {"wokers": 3}}', "`$.kernel`: unknown key 'wokers'; did you mean 'workers'?"),
            ('{"kernel": {"workers": "3"}}', "`$.kernel.workers`: expected `int`, got `str`"),
            ('{"kernel": {"workers": 0}}', "`$.kernel.workers`: expected `int` >= 1"),
            ('{"plugins": {"hmr": true}}', "`$.plugins.hmr`: expected `object`, got `bool`"),
            ('{"profile": "production"}', "expected one of 'dev', 'test', 'standard', 'prod'"),
            ('{"kernel": {}, "kernel": {}}', "key 'kernel' stands twice"),
        ],
    )
    @pytest.mark.parametrize("command", [["run", "--once", "--json"], ["status"]])
    def test_that_cannot_be_used_names_file_path_and_expectation(
        self, asyncio_project: Project, text: str, said: str, command: list[str]
    ) -> None:
        """A wrong configuration is a misuse: status 2, one line, nothing started."""
        (asyncio_project.path / "config.json").write_text(text, encoding="utf-8")
        ended = asyncio_project.aetherra(*command)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith("aetherra: config.json: "), ended.err
        assert said in ended.err
        assert ended.err.count("\n") == 1
        assert not asyncio_project.data.exists()

    def test_of_somebody_else_is_left_alone_which_is_said(self, asyncio_project: Project) -> None:
        """Many tools keep a config.json; one without our sections is not read."""
        (asyncio_project.path / "config.json").write_text('{"compilerOptions": {"strict": true}}', encoding="utf-8")
        with asyncio_project.host() as host:
            assert "config.json has none of profile, kernel, plugins and is not read" in host.log
            assert len(host.call("kernel.plugins")["plugins"]) >= 4
            assert host.stop() == 0

    def test_that_is_named_must_be_there(self, asyncio_project: Project) -> None:
        """``--config`` is no wish."""
        ended = asyncio_project.aetherra("run", "--config", "lost.json")
        assert (ended.status, "lost.json: cannot be read" in ended.err) == (2, True)

    def test_elsewhere_is_relative_to_its_own_folder(self, asyncio_project: Project) -> None:
        """Plugin sources go by the file, the state by PATH."""
        shared = asyncio_project.path / "shared"
        shared.mkdir()
        source = "from aetherra.plugins import Plugin\n\nclass Quiet(Plugin):\n    name = 'quiet'\n"
        (shared / "quiet.py").write_text(source, encoding="utf-8")
        document = {"kernel": {"discover": False}, "plugins": {"quiet": {"source": "quiet.py"}}}
        (shared / "host.json").write_text(json.dumps(document), encoding="utf-8")
        with asyncio_project.host("--config", "shared/host.json") as host:
            assert "hosting quiet" in host.log
            status = asyncio_project.aetherra("status", "--json", "--config", "shared/host.json").json
            assert status["data_dir"] == str(asyncio_project.data)
            assert host.stop() == 0

    def test_with_state_in_memory_alone_writes_nothing(self, asyncio_project: Project) -> None:
        """Such a host has no socket, and who asks for it is told so."""
        asyncio_project.configure(data_dir=None)
        with asyncio_project.host() as host:
            ended = asyncio_project.aetherra("status")
            assert (ended.status, "has no control socket" in ended.err) == (2, True)
            assert host.stop() == 0
        assert not asyncio_project.data.exists()

    @pytest.mark.parametrize(("variable", "value"), [("AETHERRA_PROFILE", "fast"), ("AETHERRA_LOG_LEVEL", "LOUD")])
    def test_by_environment_is_checked_too(self, asyncio_project: Project, variable: str, value: str) -> None:
        """The variable is named, with what may stand in it."""
        ended = asyncio_project.aetherra("run", **{variable: value})
        assert (ended.status, ended.err.startswith(f"aetherra: {variable}: ")) == (2, True), ended.err


class TestADataDirectory:
    def test_that_a_host_holds_refuses_a_second_and_names_the_first(self, project: Project) -> None:
        """One host a folder; the one that runs is not disturbed."""
        with project.host() as host:
            ended = project.aetherra("run", "--backend", project.backend)
            assert (ended.status, ended.out) == (1, "")
            assert ended.err.startswith(f"aetherra: process {host.process.pid} already runs a host over"), ended.err
            assert ended.err.count("\n") == 1
            assert host.call("kernel.status")["pid"] == host.process.pid
            assert host.stop() == 0

    def test_of_a_killed_host_is_taken_over(self, project: Project) -> None:
        """A socket and a lock that nobody holds are in nobody's way."""
        with project.host() as host:
            host.kill()
        assert project.socket.is_socket()
        ended = project.aetherra("status")
        assert (ended.status, "no host is running here" in ended.err) == (1, True)
        with project.host() as host:
            assert host.call("kernel.status")["pid"] == host.process.pid
            assert host.stop() == 0
        assert not project.socket.exists()

    def test_that_is_a_file_is_said(self, asyncio_project: Project) -> None:
        """What is in the way is named and not touched."""
        asyncio_project.data.write_text("mine", encoding="utf-8")
        ended = asyncio_project.aetherra("run")
        assert (ended.status, ended.err.count("\n")) == (1, 1), ended.err
        assert f"{asyncio_project.data}: cannot keep state here" in ended.err
        assert asyncio_project.data.read_text(encoding="utf-8") == "mine"

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root may write to")
    def test_that_cannot_be_written_is_said(self, asyncio_project: Project) -> None:
        """A read-only project is one line and status 1."""
        ended = asyncio_project.aetherra("run", "/proc/self")
        assert (ended.status, ended.err.count("\n")) == (1, 1), ended.err
        assert "/.aetherra: cannot keep state here" in ended.err

    def test_with_a_folder_in_the_sockets_place_is_said(self, asyncio_project: Project) -> None:
        """What is in the way of the socket is one line, too."""
        asyncio_project.socket.mkdir(parents=True)
        ended = asyncio_project.aetherra("run")
        assert (ended.status, "Traceback" in ended.err) == (1, False), ended.err

    def test_deeper_than_a_socket_address_can_say_works_as_any_other(self, project: Project, tmp_path: Path) -> None:
        """108 bytes are the operating system's limit for a socket, not ours."""
        deep = tmp_path / ("d" * 80) / ("e" * 80) / "project"
        deep.parent.mkdir(parents=True)
        project.path.rename(deep)
        project.path = deep
        with project.host() as host:
            assert host.call("kernel.status")["root"] == str(deep)
            assert project.aetherra("status", "--json").json["pid"] == host.process.pid
            assert host.stop() == 0
        assert not project.socket.exists()
