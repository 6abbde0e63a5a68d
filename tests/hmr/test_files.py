"""The files of a plugin, asked of a host that serves it."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager

import pytest

from aetherra.hmr.files import PluginFiles, is_dir, python_files, real
from aetherra.kernel import Config, Kernel
from aetherra.plugins import Plugin


class Swapping(Plugin):
    """Has the privilege that files are asked with."""

    privileges = ("kernel:swap",)

    async def start(self, ctx) -> None:
        type(self).swapper = ctx.privilege("kernel:swap")


@pytest.fixture
def asked(project):
    """Serve a plugin from ``counter.py``, or another place, and ask for its files."""

    @asynccontextmanager
    async def serve(place="counter.py"):
        document = {
            "kernel": {"data_dir": None, "discover": False},
            "plugins": {"counter": {"source": place}},
        }
        async with Kernel(Config.parse(document, root=project.root)) as kernel:
            await kernel.add_plugin(Swapping)
            yield PluginFiles(Swapping.swapper), project.root / place

    project.serve = serve
    return project


def declaring(*patterns):
    return ('    name = "counter"\n', f'    name = "counter"\n    data_files = {patterns!r}\n')


class TestPluginFiles:
    async def test_what_the_loader_leaves_out_decides(self, asked):
        """Environments, caches, and files that no import can name are no part of a package."""
        asked.write("counter/__init__.py", asked.counter())
        asked.write("counter/part.py", "")
        for name in (".venv/lib/m.py", "venv/pyvenv.cfg", "venv/m.py", ".git/m.py", "env/pyvenv.cfg", "env/m.py"):
            asked.write(f"counter/{name}", "")
        asked.write("counter/part.old.py", "")
        async with asked.serve("counter") as (files, place):
            assert files.of("counter", place) == {place / "__init__.py", place / "part.py"}

    async def test_a_package_of_an_unlikely_name_is_not_watched(self, asked):
        """What was loaded is watched, though it is in a folder that is left out of walks."""
        asked.write("counter/__init__.py", asked.counter())
        file = asked.write("counter/venv/__init__.py", "")
        async with asked.serve("counter") as (files, place):
            assert files.places("counter", place) == {place, file}
            assert file in files.of("counter", place)

    @pytest.mark.parametrize(
        ("pattern", "place"), [("prices.json", "prices.json"), ("*.txt", "*.txt"), ("sub/**/*.txt", "sub")]
    )
    async def test_a_pattern_has_everything_watched(self, asked, pattern, place):
        """Only what it can mean: with all that is below only where it says so."""
        asked.save(declaring(pattern), version=1)
        async with asked.serve() as (files, own):
            assert files.places("counter", own) == {own, asked.root / place}

    async def test_what_fits_no_pattern_concerns_a_plugin(self, asked):
        """As the host's own journal, which is in the same folder."""
        asked.save(declaring("prices.json", "words/**/*.txt"), version=1)
        async with asked.serve() as (files, own):
            no = [".aetherra/journal.jsonl", "other.json", "words/a.json", "notes.txt"]
            assert not files.concern("counter", own, {asked.root / name for name in no})
            for name in ("prices.json", "words/a.txt", "words/deep/b.txt", "counter.py"):
                assert files.concern("counter", own, {asked.root / name})

    async def test_a_pipe_is_a_data_file(self, asked):
        """Whoever read it would wait."""
        os.mkfifo(asked.root / "pipe.txt")
        asked.write("a.txt", "")
        asked.save(declaring("*.txt"), version=1)
        async with asked.serve() as (files, own):
            assert files.data("counter", own) == {asked.root / "a.txt"}

    async def test_a_plugin_that_is_gone_raises(self, asked):
        """It has no files but its place."""
        async with asked.serve() as (files, own):
            assert files.of("other", own) == {own}
            assert files.snapshot("other") == {}
            assert not files.serves("other")
            assert not files.data("other", own)


class TestPythonFiles:
    def test_links_to_folders_are_left_out(self, project):
        """Imports follow them, too; what they lead to is listed by the way it is reached."""
        project.write("pack/__init__.py", "")
        project.write("real/a.py", "")
        (project.root / "pack" / "link").symlink_to(project.root / "real")
        assert python_files(project.root / "pack") == {
            project.root / f"pack/{name}" for name in ("__init__.py", "link/a.py")
        }

    def test_what_is_below_is_beside(self, project):
        """Without ``below`` only the folder itself is listed."""
        shutil.rmtree(project.root)
        project.write("a.py", "")
        project.write("sub/b.py", "")
        assert python_files(project.root, below=False) == {project.root / "a.py"}


class TestReal:
    def test_a_link_to_itself_raises(self, tmp_path):
        """It leads to itself."""
        (tmp_path / "round").symlink_to("round")
        assert real(tmp_path / "round" / "a.py") == tmp_path / "round" / "a.py"
        assert not is_dir(tmp_path / "round")

    def test_a_link_leads_nowhere(self, tmp_path):
        """It leads to what it says."""
        (tmp_path / "link").symlink_to(tmp_path / "there")
        assert real(tmp_path / "link") == tmp_path.resolve() / "there"
