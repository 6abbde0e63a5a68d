"""An author's way: a new plugin project, installed, found, served, edited while it serves, and removed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project


def python(*arguments: str | Path, cwd: Path) -> None:
    """Run Python, which must end well."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr


class TestAnAuthorsWay:
    def test_from_nothing_to_a_served_edited_and_removed_plugin(self, project: Project, tmp_path: Path) -> None:
        """Every step of the README's path for authors, on an installed package."""
        made = project.aetherra("plugin", "new", "gardener")
        assert made.status == 0, made.err
        folder, installed = project.path / "gardener", tmp_path / "site"
        pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
        python(*pip, "--target", installed, folder, cwd=tmp_path)
        file = installed / "aetherra_gardener" / "plugin.py"
        source = file.read_text(encoding="utf-8")

        project.configure(discover=True)
        with project.host("--watch", PYTHONPATH=str(installed)) as host:

            def greet() -> str:
                return host.call("gardener.greet", {"name": "Ada"})["text"]

            info = next(plugin for plugin in host.call("kernel.plugins")["plugins"] if plugin["name"] == "gardener")
            assert "entry point of aetherra-gardener" in info["source"]
            assert greet() == "Hello, Ada"

            project.until(lambda: host.call("hmr.status")["watching"], "files are watched")
            file.write_text(source.replace("}, {", "} there, {"), encoding="utf-8")
            project.until(lambda: greet() == "Hello there, Ada", "the saved code serves")

            file.write_text(source.replace("async def greet", "async def greet("), encoding="utf-8")
            host.wait_for("gardener stays at generation")
            assert greet() == "Hello there, Ada"

            file.write_text(source, encoding="utf-8")
            project.until(lambda: greet() == "Hello, Ada", "the mended code serves")

            assert project.aetherra("plugin", "remove", "gardener").status == 0
            assert project.aetherra("call", "gardener.greet", '{"name": "Ada"}').status == 1
            assert host.stop() == 0
            assert "Traceback" not in host.log.replace("SyntaxError", "")

    def test_a_new_plugins_own_test_passes(self, asyncio_project: Project) -> None:
        """What ``plugin new`` writes is a project that works, also under a name that clashes with its own words."""
        for name in ("gardener", "greet", "plugin"):
            assert asyncio_project.aetherra("plugin", "new", name).status == 0
            folder = asyncio_project.path / name
            python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)

    def test_a_new_plugin_overwrites_nothing(self, asyncio_project: Project) -> None:
        """A second one of that name is refused before anything is written."""
        assert asyncio_project.aetherra("plugin", "new", "gardener").status == 0
        mine = asyncio_project.path / "gardener" / "aetherra_gardener" / "plugin.py"
        mine.write_text("mine", encoding="utf-8")
        again = asyncio_project.aetherra("plugin", "new", "gardener")
        assert (again.status, "nothing was written" in again.err) == (1, True)
        assert mine.read_text(encoding="utf-8") == "mine"
