"""``aetherra emergency`` with a host, without one, beside one that hangs, and on a disk that takes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel import AskPermission, Config, Intent, Kernel
from aetherra.kernel.cli import emergency
from aetherra.plugins.governance.emergency_stop import FILE_NAME, EmergencyStop
from aetherra.registry import HandlerError
from tests.kernel.cli.test_approvals import governed, run

ACT = Intent(kind="actuator", component="oven", summary="heat")


def stop_file(path: Path) -> Path:
    return path / ".aetherra" / "governance" / FILE_NAME


class TestWithAHost:
    async def test_something_goes_on(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It is stopped when the command ends, and goes on when it is lifted."""
        async with governed(tmp_path) as kernel:
            assert await run(tmp_path, "emergency", "stop", "smoke", "--as", "ada") == 0
            assert "the host has stopped" in capsys.readouterr().out
            answer = await kernel.call(AskPermission(ACT))
            assert (answer.code, answer.reason) == ("stopped", "emergency stop by ada: smoke")
            assert await run(tmp_path, "emergency", "status") == 0
            assert capsys.readouterr().out == "everything autonomous is stopped by ada: smoke\n"
            assert await run(tmp_path, "emergency", "lift", "a drill") == 0
            assert capsys.readouterr().out == "the emergency stop is lifted\n"
            assert (await kernel.call(AskPermission(ACT))).allowed

    async def test_a_host_that_does_not_answer_goes_on(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file is there before anybody is asked; a host that answers late is said to stop at its next question."""
        monkeypatch.setattr(emergency, "PATIENCE", 0.2)
        async with governed(tmp_path) as kernel:
            plugin = next(entry for entry in kernel._running().plugins.entries() if entry.name == "governance")
            governance: Any = plugin.generation.plugin  # type: ignore[union-attr]
            with governance._clerk._turn:
                assert await run(tmp_path, "emergency", "stop", "smoke") == 0
                assert "did not answer" in capsys.readouterr().out
                assert governance._stop.now() is not None

    async def test_a_host_without_governance_is_said_to_stop(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where nobody heeds the file, that is said, and the exit status is 1."""
        async with Kernel(Config.parse({"kernel": {"discover": False}}, root=tmp_path)):
            assert await run(tmp_path, "emergency", "stop") == 1
            assert "has no governance" in capsys.readouterr().err

    async def test_a_stop_that_the_host_alone_held_was_none(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What was lifted is what the host says, also where its disk never had it."""
        async with governed(tmp_path) as kernel:
            (tmp_path / ".aetherra" / "governance" / "STOP.new").mkdir()
            with pytest.raises(HandlerError):
                await kernel.call_tag("governance.stop", {"reason": "smoke"})
            assert (await kernel.call(AskPermission(ACT))).code == "stopped"
            assert await run(tmp_path, "emergency", "lift", "--as", "ada") == 0
            assert capsys.readouterr().out == "the emergency stop is lifted\n"
            assert (await kernel.call(AskPermission(ACT))).allowed


class TestWithoutAHost:
    async def test_a_user_without_a_name_stops_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever runs the command, as a user whom nobody gave a name too, it stops."""

        def nameless() -> str:
            raise KeyError("getpwuid(): uid not found: 12345")

        monkeypatch.setattr("getpass.getuser", nameless)
        assert await run(tmp_path, "emergency", "stop", "smoke") == 0
        assert json.loads(stop_file(tmp_path).read_bytes())["who"] == f"{os.getuid()} on the command line"

    async def test_the_next_host_acts(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A stop that is said while none runs holds in the next one, which writes it down; so does its end."""
        assert await run(tmp_path, "emergency", "stop", "smoke", "--as", "ada", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["stopped"]["who"], told["file"]) == ("ada", str(stop_file(tmp_path)))
        async with governed(tmp_path) as kernel:
            assert (await kernel.call(AskPermission(ACT))).code == "stopped"
        assert await run(tmp_path, "emergency", "lift", "a drill", "--as", "bob") == 0
        async with governed(tmp_path) as kernel:
            assert (await kernel.call(AskPermission(ACT))).allowed
            entries = (await kernel.call_tag("governance.audit_tail"))["entries"]
            told = [(entry["kind"], entry["actor"]) for entry in entries if entry["kind"].startswith("governance.")]
            assert told == [("governance.stop", "ada"), ("governance.lift", "bob")]

    async def test_the_first_word_is_lost(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Who stopped it first stays known, and to lift what does not hold is no error."""
        assert await run(tmp_path, "emergency", "lift") == 0
        assert capsys.readouterr().out == "there was no emergency stop\n"
        assert not stop_file(tmp_path).exists()
        for who in ("ada", "bob"):
            assert await run(tmp_path, "emergency", "stop", "--as", who) == 0
        capsys.readouterr()
        assert await run(tmp_path, "emergency", "status", "--json") == 0
        assert json.loads(capsys.readouterr().out)["stopped"]["who"] == "ada"

    async def test_a_disk_that_takes_nothing_is_silent(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A stop that cannot be written where no host runs is no stop, and the exit status says so."""
        (tmp_path / ".aetherra").write_text("a file")
        assert await run(tmp_path, "emergency", "stop") == 1
        assert capsys.readouterr().err

    async def test_a_host_in_memory_has_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Where nothing is kept on disk there is no such file, and the command says who can stop that host."""
        (tmp_path / "config.json").write_text('{"kernel": {"data_dir": null}}')
        assert await run(tmp_path, "emergency", "stop") == 2
        assert "stopped by whoever embeds it" in capsys.readouterr().err


class TestRead:
    @pytest.mark.parametrize(
        "content",
        [b"", b" \n", b"stop!", b"{}", b'{"stopped": 1}', b"\xff", b"[1]", b'{"who": "ada"}', b'{"stopped": true}',
         b'{"stopped": false}', b'{"stopped": false, "since": "x"}', None],
    )  # fmt: skip
    def test_command_and_host_differ(self, tmp_path: Path, content: bytes | None) -> None:
        """The command line takes for a stop what the plugin does."""
        file = tmp_path / "STOP"
        if content is not None:
            file.write_bytes(content)
        found = emergency._read(file)
        assert (found is not None) == (EmergencyStop(file, lambda: 0.0).now() is not None)
        if found is not None:
            assert found.stopped

    def test_it_stands_elsewhere(self, tmp_path: Path) -> None:
        """Both speak of the same file."""
        assert emergency._file(tmp_path, None) == stop_file(tmp_path)
