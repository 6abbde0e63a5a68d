"""The page on contracts, run: its plugins serve, and its commands print what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aetherra.kernel import Config, Kernel

PAGE = (Path(__file__).parents[1] / "docs" / "contracts.md").read_text(encoding="utf-8")
AETHERRA = str(Path(sys.executable).with_name("aetherra"))


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"contracts.md has no example {name}"
    return found.group(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's files, and the contract of the first."""
    for name in ("greeter.py", "renamed.py", "mended.py"):
        (tmp_path / name).write_text(example(name), encoding="utf-8")
    shown = subprocess.run([AETHERRA, "contract", "show", "greeter.py"], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "contract.json").write_bytes(shown.stdout)
    return tmp_path


class TestPage:
    @pytest.mark.parametrize(("name", "status"), [("broken", 1), ("kept", 0)])
    def test_a_command_prints_something_else(self, folder: Path, name: str, status: int) -> None:
        """What the page shows is what a reader gets."""
        command, _, printed = example(name).partition("\n")
        arguments = shlex.split(command.removeprefix("$ aetherra "))
        ended = subprocess.run([AETHERRA, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert (ended.stdout, ended.stderr, ended.returncode) == (printed, "", status)

    async def test_an_old_caller_is_let_down(self, folder: Path) -> None:
        """The mended plugin takes the name that callers of the first one send."""
        for file, body in (
            ("greeter.py", {"name": "Ada"}),
            ("mended.py", {"name": "Ada"}),
            ("mended.py", {"who": "Ada"}),
        ):
            document = {
                "kernel": {"data_dir": None, "discover": False, "durability": "none"},
                "plugins": {"greeter": {"source": file}},
            }
            async with Kernel(Config.parse(document, root=folder)) as kernel:
                assert await kernel.call_tag("greeter.greet", body) == {"text": "Hello, Ada"}
