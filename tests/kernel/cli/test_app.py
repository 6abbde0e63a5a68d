"""The command itself: its groups, and how an error becomes a line and an exit status."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest

from aetherra.kernel.cli import app
from aetherra.kernel.errors import ConfigError, HostRunningError
from aetherra.registry import AetherraError, HandlerError, NoHandlerError, NoHostError, RemoteError


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Run a command that raises."""

    @click.command()
    def status() -> None:
        raise error

    monkeypatch.setattr("aetherra.kernel.cli.inspect.status", status)
    return app.run_cli(["status"])


class TestCommands:
    def test_each_is_where_the_list_says(self) -> None:
        """The help that loads nothing names what is really there, in its own words."""
        for name, (file, _) in app.COMMANDS.items():
            command = getattr(importlib.import_module(f"aetherra.kernel.cli.{file}"), name)
            assert isinstance(command, click.Command)
            assert command.name == name

    def test_every_file_of_commands_is_listed(self) -> None:
        """A file with commands that nobody can reach is a defect."""
        folder = Path(app.__file__).parent
        commands = {file.stem for file in folder.glob("*.py") if "@click." in file.read_text(encoding="utf-8")}
        assert commands - {"app"} == {file for file, _ in app.COMMANDS.values()} | {"project"} & commands


class TestExitStatus:
    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [
            (AetherraError("no luck"), 1, "aetherra: no luck\n"),
            (NoHostError("/x"), 1, "aetherra: no host is running here: nothing answers at /x\n"),
            (HostRunningError("/x", 7), 1, "aetherra: process 7 already runs a host over /x"),
            (NoHandlerError("a.b", ["a.c"]), 1, "aetherra: nothing answers 'a.b'; nearest tags: 'a.c'\n"),
            (RemoteError("LetterNotFoundError", "gone"), 1, "aetherra: gone\n"),
            (HandlerError("p", 2, "p.do", "OSError: no"), 1, "plugin 'p' (generation 2) failed on 'p.do': OSError: no"),
            (ConfigError("config.json", "is wrong"), 2, "aetherra: config.json: is wrong\n"),
            (click.ClickException("did not work"), 1, "aetherra: did not work\n"),
            (click.UsageError("say it so"), 2, "Error: say it so\n"),
            (PermissionError(13, "Permission denied", "/x"), 1, "aetherra: [Errno 13] Permission denied: '/x'\n"),
            (KeyboardInterrupt(), 1, "aetherra: stopped\n"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
    )
    def test_an_expected_error_is_a_line_and_a_status(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
        status: int,
        said: str,
    ) -> None:
        """1 where it failed, 2 where it was misused, and never a traceback."""
        assert fail_with(monkeypatch, error) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err

    def test_a_mistake_of_ours_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What nobody expected keeps its traceback."""
        with pytest.raises(ZeroDivisionError):
            fail_with(monkeypatch, ZeroDivisionError())
