"""The README's own words, run: its example plugin, configuration and host."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from aetherra.kernel import Config, Kernel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return the block of the README that is marked as this file."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"README.md has no example {name}"
    return found.group(1)


class TestReadme:
    async def test_its_plugin_and_configuration_serve(self, tmp_path: Path) -> None:
        """A newcomer who saves both files has a greeter that answers as the README says."""
        for name in ("greeter.py", "config.json"):
            (tmp_path / name).write_text(example(name), encoding="utf-8")

        async with Kernel(Config.load(tmp_path / "config.json")) as kernel:
            assert await kernel.call_tag("greeter.greet", {"name": "Ada"}) == {"text": "Hi, Ada"}
            assert not [info for info in kernel.plugins() if info.state == "failed"]

    def test_its_host_runs(self, tmp_path: Path) -> None:
        """The embedding example prints what its plugin greets with."""
        for name in ("greeter.py", "host.py"):
            (tmp_path / name).write_text(example(name), encoding="utf-8")

        ended = subprocess.run([sys.executable, "host.py"], cwd=tmp_path, capture_output=True, text=True, check=False)

        assert (ended.stdout, ended.stderr) == ("Welcome, Ada; Welcome, Grace; Welcome, Edsger\n", "")

    def test_its_links_lead_somewhere(self) -> None:
        """No link of the README or of the pages beside it is broken."""
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
            for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


class TestConfigFile:
    def test_the_one_at_the_top_runs_as_it_stands(self, tmp_path: Path) -> None:
        """``config.json`` is right by its own schema and by the plugins it names."""
        command = [
            sys.executable,
            "-c",
            "from aetherra.kernel.cli import main; main()",
            "config",
            "check",
            str(tmp_path),
        ]
        checked = subprocess.run(
            [*command, "--config", str(ROOT / "config.json")], capture_output=True, text=True, check=False
        )

        assert checked.returncode == 0, checked.stderr
        assert json.loads((ROOT / "config.json").read_text())["profile"] == "standard"
