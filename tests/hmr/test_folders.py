"""Folders of plugins: what is put into one is brought up, what is taken out is stopped."""

from __future__ import annotations

import logging
import os

import anyio
import pytest

from aetherra.hmr import GetHmrStatus
from aetherra.hmr.folders import PluginFolders
from aetherra.plugins import AetherraError, Plugin

WATCH = {"watch": True, "sources": ["mine"]}


@pytest.fixture
def mine(project):
    """A project with a watched folder ``mine``, which is empty."""
    (project.root / "mine").mkdir()

    def put(name, *, version=1, plugin="counter"):
        text = project.counter(version=version).replace("counter", plugin)
        return project.write(f"mine/{name}", text.replace("class Counter", f"class {plugin.capitalize()}"))

    project.put = put
    return project


async def ready(kernel):
    with anyio.fail_after(10):
        while not (await kernel.call(GetHmrStatus())).watching:  # noqa: ASYNC110  # polls what has no event
            await anyio.sleep(0.001)


async def answers(kernel, version, tag="counter.ask"):
    """Return once a plugin answers, in that version; with ``None``, once it does not."""
    with anyio.fail_after(10):
        while True:
            try:
                found = (await kernel.call_tag(tag))["version"]
            except AetherraError:
                found = None
            if found == version:
                return
            await anyio.sleep(0.002)


class TestFolders:
    async def test_a_plugin_that_is_put_in_is_not_brought_up(self, mine):
        """It serves, is swapped when it is saved, and is stopped when it is taken out; and again."""
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            for _ in range(2):
                file = mine.put("counter.py")
                await answers(kernel, 1)
                mine.put("counter.py", version=2)
                await answers(kernel, 2)
                file.unlink()
                await answers(kernel, None)
                with anyio.fail_after(10):
                    while "counter" in [info.name for info in kernel.plugins()]:  # noqa: ASYNC110
                        await anyio.sleep(0.001)

    async def test_what_was_there_before_is_left_down(self, mine):
        """A host that starts over the folder has the same plugins as one that saw them come."""
        mine.put("counter.py", version=4)
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            await answers(kernel, 4)

    async def test_a_package_is_no_plugin(self, mine):
        """A folder with an ``__init__.py`` is, wherever in it the class is."""
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            mine.put("counting/plugin.py")
            mine.write("mine/counting/__init__.py", "from counting.plugin import Counter\n")
            await answers(kernel, 1)

    async def test_a_plugin_that_was_turned_off_comes_up(self, mine):
        """The configuration has the last word, and a plugin of the same name that serves from elsewhere is left."""
        mine.put("counter.py", version=9)
        mine.put("other.py", plugin="other", version=9)
        plugins = {"other": {"enabled": False}, "counter": {"source": "counter.py"}}
        async with mine.host(plugins, hmr=WATCH) as kernel:
            await ready(kernel)
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")
            await answers(kernel, 1)
            await answers(kernel, None, "other.ask")

    async def test_a_helper_is_run_as_a_plugin(self, mine):
        """What does not look like a plugin is read, not run."""
        mine.write("mine/script.py", "raise SystemExit('this was run')\n")
        mine.write("mine/broken.py", "def half(\n")
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            mine.put("counter.py")
            await answers(kernel, 1)
            assert [info.name for info in kernel.plugins()] == ["counter", "gate", "hmr"]

    async def test_a_plugin_that_fails_is_tried_again_and_again(self, mine, caplog):
        """It is said once, and tried again when it is saved."""
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            text = mine.put("counter.py").read_text()
            mine.write("mine/counter.py", text.replace("VERSION = 1", "raise ValueError('not yet')"))
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")
            await answers(kernel, None)
            assert sum("not yet" in line for line in caplog.messages) <= 1
            mine.put("counter.py", version=2)
            await answers(kernel, 2)

    async def test_a_file_that_is_written_anew_stops_its_plugin(self, mine):
        """Some editors delete a file before they write it again: nothing is stopped for that."""
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            file = mine.put("counter.py")
            await answers(kernel, 1)
            file.unlink()
            mine.put("counter.py", version=2)
            await answers(kernel, 2)
            (info,) = [info for info in kernel.plugins() if info.name == "counter"]
            assert info.generation == 2

    async def test_a_plugin_elsewhere_is_stopped_with_its_file(self, mine):
        """Only the folders that are named are kept in step."""
        plugins = {"counter": {"source": "counter.py"}}
        async with mine.host(plugins, hmr={"watch": True}) as kernel:
            await ready(kernel)
            (mine.root / "counter.py").unlink()
            await answers(kernel, 1)


async def is_gone(kernel, plugin="counter"):
    with anyio.fail_after(10):
        while plugin in [info.name for info in kernel.plugins()]:  # noqa: ASYNC110  # polls what has no event
            await anyio.sleep(0.001)


async def is_said(caplog, text):
    with anyio.fail_after(10):
        while not any(text in line for line in caplog.messages):  # noqa: ASYNC110  # polls what has no event
            await anyio.sleep(0.001)


class TestHalves:
    async def test_half_a_plugin_is_brought_up(self, mine):
        """What somebody holds open for writing is not there yet, and is asked for again without a further change."""
        text = mine.counter(version=1)
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            with (mine.root / "mine" / "counter.py").open("w") as file:
                file.write(text)
                file.flush()
                mine.put("fence.py", plugin="fence", version=5)
                await answers(kernel, 5, "fence.ask")
                assert "counter" not in [info.name for info in kernel.plugins()]
                file.write("\n\nVERSION = 2\n")
            await answers(kernel, 2)
            (info,) = [info for info in kernel.plugins() if info.name == "counter"]
            assert info.generation == 1

    async def test_what_was_written_just_now_is_brought_up(self, mine):
        """A file must have been left alone; until when is said."""
        folders = PluginFolders(Nobody(), [mine.root / "mine"], logging.getLogger("test"), quiet=60.0)
        file = mine.put("counter.py")
        assert 0 < await folders.look() <= 60
        os.utime(file, (1, 1))
        assert await folders.look() == 0


class Nobody:
    """A host whose configuration turns every plugin off."""

    def watched(self):
        return {}

    def states(self):
        return {}

    def is_wanted(self, plugin):
        return False


class TestComingBack:
    async def test_a_file_that_is_moved_out_and_back_stays_down(self, mine):
        """It is as old as it was, and comes up all the same."""
        file = mine.put("counter.py")
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)
            file.rename(mine.root / "away.py")
            await is_gone(kernel)
            (mine.root / "away.py").rename(file)
            await answers(kernel, 1)

    async def test_a_folder_that_is_moved_away_and_back_stays_empty(self, mine):
        """The same of the folder as a whole."""
        mine.put("counter.py")
        mine.put("pack/__init__.py", plugin="pack", version=2)
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)
            await answers(kernel, 2, "pack.ask")
            (mine.root / "mine").rename(mine.root / "away")
            await is_gone(kernel)
            await is_gone(kernel, "pack")
            (mine.root / "away").rename(mine.root / "mine")
            await answers(kernel, 1)
            await answers(kernel, 2, "pack.ask")

    async def test_a_renamed_file_leaves_its_plugin_down(self, mine, caplog):
        """The plugin is stopped with the file of the old name, and comes up from the new one; nobody is blamed."""
        caplog.set_level(logging.INFO)
        file = mine.put("counter.py")
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)
            file.rename(file.with_name("other.py"))
            await is_said(caplog, "other.py was found")
            await answers(kernel, 1)
            assert not [line for line in caplog.messages if "already" in line]

    async def test_a_plugin_that_was_stopped_comes_up_by_itself(self, mine):
        """Who stops a plugin whose file stays has the last word until the file is saved."""
        file = mine.put("counter.py")
        async with mine.host({"counter": {"source": "mine/counter.py"}}, hmr=WATCH) as kernel:
            await ready(kernel)
            await kernel.remove_plugin("counter")
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")
            assert "counter" not in [info.name for info in kernel.plugins()]
            file.write_text(mine.counter(version=2))
            await answers(kernel, 2)


class TestPassingReasons:
    async def test_what_it_requires_comes_too_late(self, mine):
        """A plugin comes up with what it requires, from this folder or another, in whatever order."""
        needy = mine.counter(('name = "counter"', 'name = "counter"\n    requires = ("fence", "late")'))
        mine.write("mine/counter.py", needy)
        mine.put("fence.py", plugin="fence", version=5)
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            await answers(kernel, 5, "fence.ask")
            await answers(kernel, None)
            await kernel.add_plugin(Late)
            await answers(kernel, 1)

    async def test_a_tag_that_is_free_again_goes_to_nobody(self, mine, caplog):
        """A plugin that answers another's tags comes up when that is gone."""
        first = mine.put("counter.py")
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)
            mine.write("mine/rival.py", mine.counter(('name = "counter"', 'name = "rival"'), version=2))
            await is_said(caplog, "rival.py was not brought up")
            first.unlink()
            await answers(kernel, 2)

    async def test_a_helper_is_mended_in_vain(self, mine, caplog):
        """What is beside a plugin may be what is wrong with it."""
        mine.write("mine/helper.py", "VALUE = (\n")
        mine.write("mine/counter.py", mine.counter(("VERSION = 1", "from helper import VALUE as VERSION")))
        async with mine.host({}, hmr=WATCH) as kernel:
            await is_said(caplog, "counter.py was not brought up")
            mine.write("mine/helper.py", "VALUE = 3\n")
            await answers(kernel, 3)

    async def test_failing_code_is_run_for_nothing(self, mine, caplog):
        """It is run again when something has changed, and only then; the same is not said twice."""
        runs = mine.root / "runs"
        fails = f"VERSION = 1\nwith open({str(runs)!r}, 'a') as runs:\n    runs.write('x')\nraise ValueError('not yet')"
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            mine.write("mine/counter.py", mine.counter(("VERSION = 1", fails)))
            await is_said(caplog, "not yet")
            for _ in range(5):
                os.utime(mine.write("mine/notes.txt", "changed"))
                mine.write("outside.py", "CHANGED = 1\n")
                mine.write("mine/none/inner.py", "CHANGED = 1\n")
                await anyio.sleep(0.02)
            assert runs.read_text() == "x"
            mine.write("mine/helper.py", "VALUE = 3\n")
            with anyio.fail_after(10):
                while runs.read_text() == "x":  # noqa: ASYNC110  # polls what has no event
                    await anyio.sleep(0.001)
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")
            assert sum("not yet" in line for line in caplog.messages) == 1


class Late(Plugin):
    """A plugin that is made of no file."""


class TestLinks:
    async def test_a_link_to_itself_ends_the_look(self, mine):
        """It is no plugin, and no harm."""
        for name in ("loop.py", "loop"):
            (mine.root / "mine" / name).symlink_to(name)
        folders = PluginFolders(Nobody(), [mine.root / "mine"], logging.getLogger("test"), quiet=0.0)
        assert await folders.look() == 0
        mine.put("counter.py")
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")

    async def test_a_link_leads_out_of_the_folder(self, mine, caplog):
        """What is allowed is below the folder; a plugin that is not is named, a helper that is not is nothing new."""
        target = mine.root / "elsewhere" / "real.py"
        mine.write("elsewhere/real.py", mine.counter())
        mine.write("elsewhere/helper.py", "VALUE = 1\n")
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            (mine.root / "mine" / "link.py").symlink_to(target)
            (mine.root / "mine" / "helper.py").symlink_to(target.with_name("helper.py"))
            await is_said(caplog, str(target))
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")
            assert "counter" not in [info.name for info in kernel.plugins()]
            assert sum("link.py" in line for line in caplog.messages) == 1
            assert not [line for line in caplog.messages if "helper.py" in line]

    async def test_a_link_inside_the_folder_leads_nowhere(self, mine):
        """A package may be a link to another place in it, as releases are."""
        mine.put("releases/1/__init__.py")
        (mine.root / "mine" / "counter").symlink_to("releases/1")
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such pipes")
    async def test_a_pipe_is_waited_for(self, mine, caplog):
        """Only regular files are read; a pipe is no plugin, and no part of one."""
        os.mkfifo(mine.root / "mine" / "pipe.py")
        mine.put("pack/__init__.py", plugin="pack")
        os.mkfifo(mine.root / "mine" / "pack" / "pipe.py")
        mine.put("stay.py", plugin="stay")
        async with mine.host({}, hmr=WATCH) as kernel:
            await is_said(caplog, "pipe.py is not a file")
            await answers(kernel, 1, "stay.ask")


class TestWhatIsPassedOver:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("from aetherra.plugins import Plugin\nclass Counter(Plugin:\n", "some.py, line 2"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin): ...\nclass B(Plugin): ...\n", "(a, b)"),
            ("from aetherra.plugins import Plugin\nclass Gate(Plugin): ...\n", "a plugin 'gate' already"),
        ],
    )
    async def test_nobody_is_told_why_a_file_is_no_plugin(self, mine, caplog, text, said):
        """A file that seems to be meant as one is named once, with what is wrong with it."""
        async with mine.host({}, hmr=WATCH) as kernel:
            await ready(kernel)
            file = mine.write("mine/some.py", text)
            await is_said(caplog, said)
            mine.write("mine/broken.py", "def half(\n")
            mine.put("fence.py", plugin="fence", version=5)
            await answers(kernel, 5, "fence.ask")
            (line,) = [line for line in caplog.messages if str(file) in line]
            assert "was not brought up" in line
            assert not [line for line in caplog.messages if "broken.py" in line]


class TestNeighbours:
    async def test_a_plugin_with_its_base_beside_it_is_none(self, mine):
        """The base is read where it is, and is no plugin itself."""
        base = mine.counter(("class Counter(Plugin)", "class Base(Plugin)"), ('    name = "counter"\n', ""))
        mine.write("mine/base.py", base)
        mine.write("mine/q.py", "from base import Base\n\nclass Q(Base):\n    pass\n")
        async with mine.host({}, hmr=WATCH) as kernel:
            await answers(kernel, 1)
            assert [info.name for info in kernel.plugins()] == ["gate", "hmr", "q"]
