"""The proof that a module can be imported, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.integration.errors import IntegrationError
from aetherra.plugins.self_incorporation.integration.utilities import prove_import


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestTheProof:
    async def test_passes_for_a_module_with_its_neighbours(self, tmp_path: Path) -> None:
        """Modules beside it are found, and nothing is written there."""
        (tmp_path / "tool.py").write_text("import other\ndef f(): ...\n", encoding="utf-8")
        (tmp_path / "other.py").write_text("", encoding="utf-8")
        await prove_import(tmp_path, "tool", ("f",))
        assert names_in(tmp_path) == ["other.py", "tool.py"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("import nothing_there", "No module named 'nothing_there'"),
            ("raise RuntimeError('no')", "RuntimeError: no"),
            ("import sys; sys.exit(3)", "ended with 3"),
            ("def f(:", "SyntaxError"),
            (
                "import os; assert 'HOME' not in os.environ and 'SECRET' not in os.environ; raise OSError('clean')",
                "clean",
            ),
            ("", "has no f"),
        ],
    )
    async def test_says_what_python_said(
        self, tmp_path: Path, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last line, which names the error."""
        monkeypatch.setenv("SECRET", "1")
        (tmp_path / "tool.py").write_text(text, encoding="utf-8")
        with pytest.raises(IntegrationError, match=expected):
            await prove_import(tmp_path, "tool", ("f",))

    async def test_ends_what_does_not_end(self, tmp_path: Path) -> None:
        """The process, and what it started."""
        (tmp_path / "tool.py").write_text(
            "import subprocess, sys, time\n"
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\ntime.sleep(60)\n",
            encoding="utf-8",
        )
        with pytest.raises(IntegrationError, match="within"):
            await prove_import(tmp_path, "tool", patience=0.5)
