"""The disk beside the code of a host that serves it: what is news, and when."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.hmr import disk as disk_module
from aetherra.hmr.disk import Disk
from aetherra.hmr.files import PluginFiles
from aetherra.kernel import Config, Kernel
from aetherra.plugins import Plugin

TEXT = ("VERSION = 1", "from helper import VERSION")


class Swapping(Plugin):
    """Has the privilege that the disk is compared with."""

    privileges = ("kernel:swap",)

    async def start(self, ctx) -> None:
        type(self).swapper = ctx.privilege("kernel:swap")


class Late:
    """A swapper of a host whose plugin serves once it is told so."""

    def __init__(self, swapper):
        self._swapper = swapper
        self.is_up = False

    def serving(self, plugin):
        return self._swapper.serving(plugin) if self.is_up else None


class Subject:
    """A disk, and the plugin that is looked at."""

    def __init__(self, swapper, place, quiet):
        self.swapper = swapper
        self.place = place
        self.disk = Disk(PluginFiles(swapper), quiet)

    async def news(self):
        with anyio.fail_after(10):
            return await self.disk.news("counter", self.place)

    async def changed(self):
        news = await self.news()
        return None if news is None else {file.name for file in news.changed}


@pytest.fixture
def looked_at(project):
    """Serve ``counter.py`` and compare the disk with it."""

    @asynccontextmanager
    async def serve(*, quiet=0.0, late=False):
        document = {"kernel": {"data_dir": None, "discover": False}, "plugins": {"counter": {"source": "counter.py"}}}
        async with Kernel(Config.parse(document, root=project.root)) as kernel:
            await kernel.add_plugin(Swapping)
            swapper = Late(Swapping.swapper) if late else Swapping.swapper
            subject = Subject(swapper, project.root / "counter.py", quiet)
            await subject.disk.adopt("counter", subject.place)
            yield subject

    project.serve = serve
    return project


class TestNews:
    async def test_a_save_is_no_news(self, looked_at):
        """Until it was tried; a touch is none."""
        async with looked_at.serve() as subject:
            os.utime(subject.place)
            assert await subject.news() is None
            looked_at.save(version=2)
            news = await subject.news()
            assert news.changed == (subject.place,)
            assert not news.pause
            await subject.disk.begin("counter", subject.place, news)
            await subject.disk.succeed("counter", subject.place)
            assert await subject.news() is None

    async def test_a_pipe_hangs_the_look(self, looked_at):
        """Beside a plugin it is nothing; in its place, the file is gone."""
        async with looked_at.serve() as subject:
            os.mkfifo(looked_at.root / "pipe.py")
            await subject.disk.begin("counter", subject.place)  # broken, so that what is beside counts
            assert await subject.news() is None
            subject.place.unlink()
            os.mkfifo(subject.place)
            assert await subject.news() is None

    @pytest.mark.parametrize("name", [".venv/lib/m.py", "node_modules/m.py", "part.old.py"])
    async def test_what_the_loader_leaves_out_is_news(self, looked_at, name):
        """It is no part of the code."""
        looked_at.place = "pack"
        looked_at.write("pack/__init__.py", looked_at.counter())
        looked_at.write(f"pack/{name}", "1")
        async with looked_at.serve() as subject:
            subject.place = looked_at.root / "pack"
            await subject.disk.begin("counter", subject.place)
            await subject.disk.succeed("counter", subject.place)
            looked_at.write(f"pack/{name}", "22")
            assert await subject.news() is None

    async def test_a_helper_that_is_written_anew_is_gone(self, looked_at, monkeypatch):
        """It is waited for; with what it said before, there is no news."""
        monkeypatch.setattr(disk_module, "COME_BACK_SEC", 5.0)
        monkeypatch.setattr(disk_module, "PATIENCE_SEC", 5.0)
        monkeypatch.setattr(disk_module, "STEP_SEC", 0.001)
        helper = looked_at.write("helper.py", "VERSION = 1\n")
        looked_at.save(TEXT, version=1)
        looks = []
        for text, expected in (("VERSION = 1\n", None), ("VERSION = 2\n", {"helper.py"})):
            async with looked_at.serve() as subject:
                real_look = subject.disk._look

                def look(*args, text=text, real_look=real_look):
                    looks.append(helper.exists())
                    found = real_look(*args)
                    if not helper.exists():
                        helper.write_text(text)
                    return found

                monkeypatch.setattr(subject.disk, "_look", look)
                helper.unlink()
                assert await subject.changed() == expected
        assert False in looks

    async def test_a_helper_that_stays_away_is_waited_for_for_ever(self, looked_at):
        """That it is gone is news then."""
        helper = looked_at.write("helper.py", "VERSION = 1\n")
        looked_at.save(TEXT, version=1)
        async with looked_at.serve() as subject:
            helper.unlink()
            assert await subject.changed() == {"helper.py"}

    async def test_a_file_seems_to_have_been_left_alone_for_longer_than_it_was(self, looked_at, monkeypatch):
        """Its time can lie a tick before its writing, which is no part of the time that it was left alone."""
        monkeypatch.setattr(disk_module, "PATIENCE_SEC", 0.0)
        async with looked_at.serve(quiet=60) as subject:
            looked_at.save(version=2)
            os.utime(subject.place, ns=(0, time.time_ns() - 59_999_000_000))
            news = await subject.news()
            assert news.pause > 0.001

    async def test_a_file_that_was_left_alone_is_waited_for(self, looked_at):
        """Also one of a time to come, from when it was found."""
        async with looked_at.serve(quiet=60) as subject:
            looked_at.save(version=2)
            os.utime(subject.place, (1, 1))
            assert not (await subject.news()).pause
        async with looked_at.serve(quiet=0.01) as subject:
            looked_at.save(version=3)
            os.utime(subject.place, (4e9, 4e9))
            assert not (await subject.news()).pause

    async def test_an_edit_behind_a_link_is_no_news(self, looked_at):
        """Of the same size and time, where only its real path was told."""
        target = looked_at.root / "real.py"
        (looked_at.root / "counter.py").rename(target)
        (looked_at.root / "counter.py").symlink_to(target)
        async with looked_at.serve() as subject:
            assert await subject.news() is None
            before = target.stat()
            target.write_text(looked_at.counter(version=2))
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
            subject.disk.distrust({target})
            assert await subject.changed() == {"counter.py"}


class TestAdopt:
    def save(self, looked_at, version=1):
        data = ('    name = "counter"\n', '    name = "counter"\n    data_files = ("*.txt",)\n')
        looked_at.save(TEXT, data, version=version)

    async def test_what_serves_at_last_is_news(self, looked_at):
        """A plugin that was noted before it served has data files and helpers that only its code tells of."""
        looked_at.write("a.txt", "1")
        looked_at.write("helper.py", "VERSION = 1\n")
        self.save(looked_at)
        async with looked_at.serve(late=True) as subject:
            subject.swapper.is_up = True
            assert await subject.news() is None
            looked_at.write("a.txt", "2")
            assert await subject.changed() == {"a.txt"}

    @pytest.mark.parametrize("name", ["counter.py", "helper.py"])
    async def test_a_save_before_it_served_is_lost(self, looked_at, name):
        """What is not as it was loaded is news."""
        looked_at.write("helper.py", "VERSION = 1\n")
        self.save(looked_at)
        async with looked_at.serve(late=True) as subject:
            looked_at.write(name, (looked_at.root / name).read_text() + "\n")
            subject.swapper.is_up = True
            assert await subject.changed() == {name}

    async def test_data_that_new_code_declares_is_news(self, looked_at):
        """It is noted as the code goes live."""
        looked_at.write("a.txt", "1")
        looked_at.write("helper.py", "VERSION = 1\n")
        async with looked_at.serve(late=True) as subject:
            subject.swapper.is_up = True
            await subject.disk.adopt("counter", subject.place)
            looked_at.save(("VERSION = 1", "VERSION = 2"), version=1)
            await subject.disk.begin("counter", subject.place, await subject.news())
            code = Swapping.swapper.serving("counter")
            code.spec.plugin_type.data_files = ("*.txt",)
            await subject.disk.succeed("counter", subject.place)
            assert await subject.news() is None
            looked_at.write("a.txt", "2")
            assert await subject.changed() == {"a.txt"}


class TestConcerns:
    async def test_a_folder_that_is_moved_concerns_nobody(self, looked_at):
        """It is told, but not what was in it."""
        data = ('    name = "counter"\n', '    name = "counter"\n    data_files = ("words/**/*.txt",)\n')
        looked_at.write("words/deep/a.txt", "1")
        looked_at.save(data, version=1)
        async with looked_at.serve() as subject:
            assert subject.disk.concerns("counter", subject.place, {looked_at.root / "words" / "deep"})
            assert not subject.disk.concerns("counter", subject.place, {looked_at.root / "words" / "other"})


@pytest.mark.parametrize("is_slow", [False, True])
class TestStill:
    @asynccontextmanager
    async def on_its_way(self, looked_at, monkeypatch, is_slow):
        """A save that was found, and loaded."""
        async with looked_at.serve() as subject:
            looked_at.save(version=2)
            news = await subject.news()
            await subject.disk.begin("counter", subject.place, news)
            loaded = await subject.swapper.load("counter")
            monkeypatch.setattr(disk_module, "SOON_SEC", 0.0 if is_slow else 60.0)
            yield subject.disk, news, loaded
            loaded.unload()

    async def test_a_touch_counts_as_a_save(self, looked_at, monkeypatch, is_slow):
        """Nor do the same bytes, written again, take a save's place."""
        async with self.on_its_way(looked_at, monkeypatch, is_slow) as (disk, news, loaded):
            assert await disk.still(news, loaded)
            os.utime(looked_at.root / "counter.py", (1, 1))
            assert await disk.still(news, loaded)
            looked_at.save_atomically(version=2)
            assert await disk.still(news, loaded)

    async def test_a_save_that_was_overtaken_goes_live(self, looked_at, monkeypatch, is_slow):
        """However soon the other save came; also if the file is gone."""
        async with self.on_its_way(looked_at, monkeypatch, is_slow) as (disk, news, loaded):
            looked_at.save_atomically(version=3)
            assert not await disk.still(news, loaded)
            (looked_at.root / "counter.py").unlink()
            assert not await disk.still(news, loaded)

    async def test_code_of_another_save_goes_live(self, looked_at, monkeypatch, is_slow):
        """What was loaded must be what was found."""
        async with self.on_its_way(looked_at, monkeypatch, is_slow) as (disk, news, _):
            looked_at.save(version=3)
            loaded = await Swapping.swapper.load("counter")
            looked_at.save(version=2)
            assert not await disk.still(news, loaded)
            loaded.unload()
