"""``aetherra contract``: what an author's CI runs, and the status that it goes by."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel.cli.app import run_cli

PLUGIN = """
from typing import Annotated
from aetherra.plugins import Message, Plugin, Request, handler
from aetherra.registry.messages import renamed_from

class Greeting(Message, tag="greeter.greeting"):
    text: str

class Greet(Request[Greeting], tag="greeter.greet"):
    {fields}

class Greeter(Plugin):
    @handler
    async def greet(self, request: Greet) -> Greeting: ...
"""


def write(folder: Path, name: str, fields: str) -> Path:
    """Write a version of the plugin."""
    path = folder / name
    path.write_text(PLUGIN.format(fields=fields), encoding="utf-8")
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command and return its status and what it printed."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        status = run_cli(["contract", *map(str, arguments)])
        return status, *capfd.readouterr()

    return command


class TestCheck:
    def test_a_compatible_version_fails(self, run: Any, tmp_path: Path) -> None:
        """Status 0, and what changed."""
        old, new = (
            write(tmp_path, "old.py", "name: str"),
            write(tmp_path, "new.py", "name: str\n    loud: bool = False"),
        )
        status, out, _ = run("check", old, new)
        assert status == 0
        assert out.splitlines() == [
            "fine    greeter.greet: `$.loud`: is new, and may be left out",
            f"{new} keeps what {old} promised",
        ]

    def test_a_breaking_version_passes(self, run: Any, tmp_path: Path) -> None:
        """Status 1, and each break with its path, why, and what to do."""
        old, new = write(tmp_path, "old.py", "name: str"), write(tmp_path, "new.py", "who: str")
        status, out, _ = run("check", old, new)
        assert status == 1
        assert "breaks  greeter.greet: `$.who`: is new and required" in out
        assert 'who: Annotated[..., renamed_from("name")]' in out
        assert out.endswith(f"{new} breaks {old}: 2 breaking changes\n")

    def test_a_rename_that_is_declared_breaks(self, run: Any, tmp_path: Path) -> None:
        """Having done what was said, the author's check passes."""
        old = write(tmp_path, "old.py", "name: str")
        new = write(tmp_path, "new.py", 'who: Annotated[str, renamed_from("name")]')
        assert run("check", old, new)[0] == 0

    def test_a_document_is_another_thing_than_its_source(self, run: Any, tmp_path: Path) -> None:
        """What ``show`` prints can be kept in a file, and is compared like the code."""
        source = write(tmp_path, "greeter.py", "name: str")
        document = tmp_path / "contract.json"
        document.write_text(run("show", source)[1], encoding="utf-8")
        assert run("check", document, source)[:2] == (0, f"{source} keeps what {document} promised\n")
        assert run("check", document, write(tmp_path, "new.py", "name: int"))[0] == 1

    def test_what_the_code_prints_is_in_the_document(self, tmp_path: Path) -> None:
        """Standard output is the document's, and what plugins print goes to standard error."""
        source = write(tmp_path, "greeter.py", "name: str")
        source.write_text("print('loaded')\n" + source.read_text(encoding="utf-8"), encoding="utf-8")
        command = [sys.executable, "-m", "aetherra.kernel.cli", "contract", "show", str(source)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "loaded\n")
        assert "greeter.greet" in json.loads(ended.stdout)["messages"]

    def test_a_program_reads_prose(self, run: Any, tmp_path: Path) -> None:
        """With ``--json`` the same is said in one document."""
        old, new = write(tmp_path, "old.py", "name: str"), write(tmp_path, "new.py", "name: int")
        status, out, _ = run("check", "--json", old, new)
        told = json.loads(out)
        assert (status, told["compatible"]) == (1, False)
        (change,) = told["changes"]
        assert (change["tag"], change["path"], change["kind"]) == ("greeter.greet", "$.name", "type changed")
        assert "was str, is int" in change["why"]


class TestMisuse:
    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("a.json", "{", "is neither a Python file nor JSON"),
            ("a.json", "\xff", "is neither a Python file nor JSON"),
            ("a.json", "[" * 100_000, "is neither a Python file nor JSON"),
            ("a.json", "[]", "is no contract: Expected `object`, got `array`"),
            ("package.json", '{"name": "x"}', "is no contract: Object missing required field `format`"),
            ("a.py", "raise ValueError('no')", "cannot be loaded: ValueError: no"),
            ("a.py", "", "defines neither"),
        ],
    )
    def test_another_file_is_a_traceback_or_a_break(
        self, run: Any, tmp_path: Path, name: str, text: str, problem: str
    ) -> None:
        """Status 2, so that a CI does not take a wrong path for a broken contract."""
        good, bad = write(tmp_path, "good.py", "name: str"), tmp_path / name
        bad.write_text(text, encoding="latin-1")
        for order in ((good, bad), (bad, good)):
            status, out, err = run("check", *order)
            assert (status, out) == (2, "")
            assert str(bad) in err
            assert problem in err

    def test_a_missing_file_is_a_break(self, run: Any, tmp_path: Path) -> None:
        """Status 2 here, too."""
        status, _, err = run("check", tmp_path / "nowhere.json", tmp_path / "nowhere.json")
        assert status == 2
        assert "does not exist" in err
