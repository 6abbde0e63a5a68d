"""The page on signatures, run: its commands in the order that they stand there, and its program."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from aetherra.kernel.signing import PublicKey, Status

PAGE = (Path(__file__).parents[1] / "docs" / "signatures.md").read_text(encoding="utf-8")
AETHERRA = str(Path(sys.executable).with_name("aetherra"))


def example(name: str) -> str:
    """Return the block of the page that bears this name."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"signatures.md has no example {name}"
    return found.group(1)


def run(folder: Path, *words: str) -> str:
    """Run a command that has to go well."""
    ended = subprocess.run(list(words), cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, ""), words
    return ended.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with something to sign in it."""
    (tmp_path / "greeter").mkdir()
    (tmp_path / "greeter" / "__init__.py").touch()
    return tmp_path


def test_a_command_fails(folder: Path) -> None:
    """A reader who types them one after the other ends with a signature that holds, and then with a revoked key."""
    last = ""
    for name in ("sign", "verify", "ring"):
        for line in example(name).splitlines():
            key = PublicKey.load(folder / "ada.key.pub").id if "KEY" in line else ""
            last = run(folder, AETHERRA, *shlex.split(line.removeprefix("$ aetherra ").replace("KEY", key)))
        if name == "verify":
            assert last.startswith("greeter: valid: 1 file signed by 'Ada'")
    assert last.endswith("of Ada: revoked\n")


def test_the_program_prints_something_else(folder: Path) -> None:
    """The program signs, and finds the signature to hold."""
    (folder / "check.py").write_text(example("check.py"), encoding="utf-8")
    assert run(folder, sys.executable, "check.py") == "valid Ada True\n"


def test_a_status_is_not_explained() -> None:
    """Each that there is stands in the table, and no other."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(get_args(Status))
