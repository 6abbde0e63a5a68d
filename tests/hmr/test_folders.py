"""Folders of plugins: what is put into one is brought up, what is taken out is stopped."""

from __future__ import annotations

import anyio
import pytest

from aetherra.hmr import GetHmrStatus
from aetherra.hmr.folders import plugin_name
from aetherra.plugins import AetherraError

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


class TestPluginName:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("from aetherra.plugins import Plugin\nclass SlowCounter(Plugin): ...", "slow_counter"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin):\n    name = 'given'", "given"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin):\n    name: str = 'given'", "given"),
            ("from aetherra.kernel import Plugin as P\nclass A(P[int]): ...", "a"),
            ("import aetherra.plugins\nclass A(aetherra.plugins.Plugin): ...", "a"),
            ("import aetherra.plugins as ap\nclass A(ap.Plugin[int]): ...", "a"),
            ("from aetherra import plugins\nclass A(plugins.Plugin): ...", "a"),
            ("from aetherra.plugins import Plugin\nclass Base(Plugin): ...\nclass B(Base): ...", "b"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin): ...\nclass B(Plugin): ...", None),
            ("from elsewhere import Plugin\nclass A(Plugin): ...", None),
            ("from aetherra.plugins import Plugin\nprint(Plugin)", None),
            ("from aetherra.plugins import Plugin\nclass A(Plugin:", None),
            ("\x00", None),
            ("# -*- coding: no-such -*-\nclass A: ...", None),
        ],
    )
    def test_a_plugin_is_not_known_by_its_text(self, tmp_path, text, name):
        """By the base of its class, whatever that is called there."""
        file = tmp_path / "some.py"
        file.write_text(text)
        assert plugin_name(file) == name
