"""Every example, run as its reader would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*command: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of Python's."""
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=50
    )


class TestExamples:
    @pytest.mark.parametrize(
        ("script", "said"),
        [("embed.py", "6.0 9.0 {'value': 6.0} healthy\n"), ("embed_blocking.py", "HELLO AGAIN\n")],
    )
    def test_a_host_prints_what_it_computed(self, script: str, said: str, tmp_path: Path) -> None:
        """The scripts run as they stand."""
        ended = run(str(EXAMPLES / script), cwd=tmp_path)

        assert (ended.stdout, ended.stderr) == (said, "")

    def test_the_greeter_passes_its_own_tests(self) -> None:
        """A plugin in a distribution of its own is tested in a host without being installed."""
        greeter = EXAMPLES / "greeter"
        ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=greeter, path=greeter)

        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "passed" in ended.stdout
