"""Swaps on save: real files, edited from outside, watched by the real watchfiles."""

from __future__ import annotations

import os
import shutil
import sys

import anyio
import pytest

from aetherra.hmr import GetHmrStatus, Prepared, Reload, Rollback, RolledBack, SwapFailed, Swapped

WATCH = {"watch": True}


@pytest.fixture
def watched(project):
    """Run a host that watches, and wait until the watch is on."""

    async def ready(kernel):
        with anyio.fail_after(10):
            while not (await kernel.call(GetHmrStatus())).watching:  # noqa: ASYNC110  # polls what has no event
                await anyio.sleep(0.001)  # gives worker threads the interpreter

    project.ready = ready
    return project


async def version(kernel, tag="counter.ask"):
    return (await kernel.call_tag(tag))["version"]


async def hear(events, kind, plugin="counter"):
    """Return the next event, which must be of this kind and about this plugin."""
    with anyio.fail_after(10):
        event = await anext(events)
        while isinstance(event, Prepared | RolledBack) and kind not in (Prepared, RolledBack):
            event = await anext(events)
    assert isinstance(event, kind), event
    assert event.plugin == plugin
    return event


class TestSave:
    async def test_a_save_in_place_is_not_noticed(self, watched):
        """A file that is written over answers with its new code."""
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                for number in (2, 3):
                    watched.save(version=number)
                    await hear(events, Swapped)
                    assert await version(kernel) == number

    async def test_an_atomic_save_is_not_noticed(self, watched):
        """A file that is replaced by another, as editors do, answers with its new code, also the second time."""
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                for number in (2, 3):
                    watched.save_atomically(version=number)
                    await hear(events, Swapped)
                    assert await version(kernel) == number

    async def test_a_save_before_the_watch_was_on_is_not_noticed(self, watched):
        """What was saved between the plugin's load and the first look is swapped in, too."""
        async with watched.host() as kernel:
            watched.save(version=2)
            await kernel.remove_plugin("hmr")
            from aetherra.hmr import HmrController

            with kernel.subscribe("hmr.*") as events:
                await kernel.add_plugin(HmrController, settings=WATCH)
                await hear(events, Swapped)
            assert await version(kernel) == 2

    async def test_a_touch_is_a_change(self, watched):
        """Neither a new time nor the same content written again is a reason to swap."""
        watched.write("other.py", watched.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {"counter": {"source": "counter.py"}, "other": {"source": "other.py"}}
        async with watched.host(plugins, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                os.utime(watched.root / "counter.py")
                watched.save(version=1)
                watched.save_atomically(version=1)
                watched.write("other.py", (watched.root / "other.py").read_text() + "\n")
                await hear(events, Swapped, "other")
                watched.save(version=2)

                assert (await hear(events, Swapped)).generation == 2

    async def test_the_last_save_of_a_burst_loses(self, watched):
        """Of many saves in a row the last one serves in the end."""
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                for number in range(2, 40):
                    watched.save(version=number)
                while await version(kernel) != 39:
                    await hear(events, Swapped)

    async def test_a_file_that_is_deleted_and_written_again_is_lost(self, watched):
        """A deletion leaves the code serving; the file that comes in its place is swapped in."""
        watched.write("other.py", watched.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {"counter": {"source": "counter.py"}, "other": {"source": "other.py"}}
        async with watched.host(plugins, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                (watched.root / "counter.py").unlink()
                watched.write("other.py", (watched.root / "other.py").read_text() + "\n")
                await hear(events, Swapped, "other")
                assert await version(kernel) == 1
                watched.save(version=2)
                await hear(events, Swapped)

            assert await version(kernel) == 2

    async def test_a_save_that_cannot_be_loaded_stops_the_watch(self, watched):
        """A broken save is told with its line and the old code serves; the next save is looked at as ever."""
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.write("counter.py", "class Counter(:\n")
                failed = await hear(events, SwapFailed)
                assert f"{watched.root / 'counter.py'}, line 1" in failed.problem
                assert await version(kernel) == 1
                watched.save(version=2)
                await hear(events, Swapped)

            assert await version(kernel) == 2

    async def test_a_save_after_a_reload_by_hand_swaps_twice(self, watched):
        """What was reloaded on request is not news when the watch sees it."""
        watched.write("other.py", watched.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {"counter": {"source": "counter.py"}, "other": {"source": "other.py"}}
        async with watched.host(plugins, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.save(version=2)
                await kernel.call(Reload("counter"))
                await hear(events, Swapped)
                watched.write("other.py", (watched.root / "other.py").read_text() + "\n")

                await hear(events, Swapped, "other")

    async def test_the_watch_undoes_a_rollback(self, watched):
        """After a rollback the earlier code serves until there is another save; the same content is none."""
        watched.write("other.py", watched.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {"counter": {"source": "counter.py"}, "other": {"source": "other.py"}}
        async with watched.host(plugins, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.save(version=2)
                await hear(events, Swapped)
                await kernel.call(Rollback("counter"))
                await hear(events, Swapped)
                watched.save(version=2)
                watched.write("other.py", (watched.root / "other.py").read_text() + "\n")
                await hear(events, Swapped, "other")

                assert await version(kernel) == 1

    async def test_a_save_that_met_a_busy_plugin_is_lost(self, watched):
        """It is tried again by itself, though nothing is saved meanwhile."""
        async with watched.host(hmr={**WATCH, "drain_timeout": 0.05}) as kernel:
            await watched.ready(kernel)
            watched.shut("ask")
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call_tag, "counter.ask_slowly")
                await watched.reached("ask")
                with kernel.subscribe("hmr.*") as events:
                    watched.save(version=2)
                    failed = await hear(events, SwapFailed)
                    assert failed.code == "quiesce_timeout"
                    watched.open("ask")
                    await hear(events, Swapped)
            assert await version(kernel) == 2


class TestPlaces:
    async def test_a_module_of_a_package_is_not_watched(self, watched):
        """Any module of a package plugin counts, in folders below it as well, and one that is new."""
        watched.write("pack/__init__.py", "from .plugin import Counter\n")
        watched.write("pack/deep/__init__.py", "")
        watched.write("pack/deep/number.py", "NUMBER = 1\n")
        watched.write("pack/plugin.py", watched.counter(("VERSION = 1", "from .deep.number import NUMBER as VERSION")))
        async with watched.host({"counter": {"source": "pack"}}, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.write("pack/deep/number.py", "NUMBER = 2\n")
                await hear(events, Swapped)
                assert await version(kernel) == 2
                watched.write("pack/deep/newcomer.py", "NUMBER = 3\n")
                await hear(events, Swapped)

    async def test_a_helper_beside_a_single_file_is_not_watched(self, watched):
        """A module beside a single-file plugin that it imports is part of it."""
        watched.write("number.py", "NUMBER = 1\n")
        watched.save(("VERSION = 1", "from number import NUMBER as VERSION"), version=1)
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.write("number.py", "NUMBER = 2\n")
                await hear(events, Swapped)

            assert await version(kernel) == 2

    async def test_a_package_of_helpers_is_not_watched(self, watched):
        """A package beside a single-file plugin that it imports is part of it, also when new code brings it in."""
        watched.write("numbers_/__init__.py", "")
        watched.write("numbers_/odd.py", "NUMBER = 3\n")
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.save(("VERSION = 1", "from numbers_.odd import NUMBER as VERSION"), version=1)
                await hear(events, Swapped)
                assert await version(kernel) == 3
                await watched.ready(kernel)
                watched.write("numbers_/odd.py", "NUMBER = 5\n")
                await hear(events, Swapped)

            assert await version(kernel) == 5

    async def test_a_neighbour_that_is_nobodys_helper_swaps(self, watched):
        """A file beside a plugin that it does not import is none of its business."""
        watched.write("number.py", "NUMBER = 1\n")
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.write("number.py", "NUMBER = 2\n")
                watched.save(version=2)

                assert (await hear(events, Swapped)).generation == 2
                assert not len(events.mailbox)

    async def test_a_helper_that_broke_a_save_cannot_mend_it(self, watched):
        """When new code fails for the sake of a helper that is new, too, a better helper brings it up."""
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.write("number.py", "NUMBER = = 2\n")
                watched.write("counter.py", watched.counter(("VERSION = 1", "from number import NUMBER as VERSION")))
                await hear(events, SwapFailed)
                watched.write("number.py", "NUMBER = 2\n")
                await hear(events, Swapped)

            assert await version(kernel) == 2

    async def test_a_package_folder_that_is_replaced_is_lost(self, watched):
        """A folder that is put in the package's place, as a checkout does, is watched like the first."""

        def fill(folder, number):
            watched.write(f"{folder}/__init__.py", "from .plugin import Counter\n")
            watched.write(f"{folder}/plugin.py", watched.counter(version=number))

        fill("pack", 1)
        async with watched.host({"counter": {"source": "pack"}}, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                fill("beside", 2)
                shutil.rmtree(watched.root / "pack")
                (watched.root / "beside").rename(watched.root / "pack")
                while await version(kernel) != 2:
                    await hear(events, Swapped)
                fill("pack", 3)
                while await version(kernel) != 3:
                    await hear(events, Swapped)


class TestPlugins:
    async def test_a_plugin_that_failed_stays_down(self, watched):
        """A plugin that could not start is brought up by a save that mends it."""
        watched.write("counter.py", "oops oops\n")
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.save(version=2)
                await hear(events, Swapped)

            assert await version(kernel) == 2

    async def test_a_source_that_comes_later_is_not_watched(self, watched):
        """A plugin whose file, and its folder, are not there yet is brought up when they come."""
        plugins = {"late": {"source": "some/where/late.py"}, "counter": {"source": "counter.py"}}
        async with watched.host(plugins, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.write("some/where/late.py", watched.counter(version=7).replace("counter", "late"))
                await hear(events, Swapped, "late")
                assert await version(kernel, "late.ask") == 7
                watched.save(version=2)
                await hear(events, Swapped)

    async def test_a_plugin_that_was_added_is_not_watched(self, watched, monkeypatch):
        """A plugin that comes while the watch is on is watched, too."""
        watched.write("newcomer.py", NEWCOMER.replace("NUMBER", "1"))
        monkeypatch.syspath_prepend(watched.root)
        monkeypatch.delitem(sys.modules, "newcomer", raising=False)
        async with watched.host({}, hmr=WATCH) as kernel:
            import newcomer

            await watched.ready(kernel)
            await kernel.add_plugin(newcomer.Newcomer)
            with kernel.subscribe(Swapped) as events, anyio.fail_after(10):
                number = 1
                while not len(events.mailbox):  # the first saves may come before anybody looks
                    number += 1
                    watched.write("newcomer.py", NEWCOMER.replace("NUMBER", "2") + f"# {number}")
                    await anyio.sleep(0.1)
                await hear(events, Swapped, "newcomer")

            assert await version(kernel, "newcomer.ask") == 2

    async def test_a_plugin_that_is_removed_ends_the_watch(self, watched):
        """After a plugin was removed the others are still watched."""
        watched.write("other.py", watched.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {"counter": {"source": "counter.py"}, "other": {"source": "other.py"}}
        async with watched.host(plugins, hmr=WATCH) as kernel:
            await watched.ready(kernel)
            await kernel.remove_plugin("other")
            with kernel.subscribe("hmr.*") as events:
                watched.save(version=2)
                await hear(events, Swapped)

            assert (await kernel.call(GetHmrStatus())).watched == {"counter": str(watched.root / "counter.py")} | {
                name: place for name, place in (await kernel.call(GetHmrStatus())).watched.items() if name == "gate"
            }

    async def test_a_source_that_is_not_allowed_is_watched(self, watched):
        """A save outside of ``sources`` is not even looked at."""
        watched.write("free/other.py", watched.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {"counter": {"source": "counter.py"}, "other": {"source": "free/other.py"}}
        async with watched.host(plugins, hmr={"watch": True, "sources": ["free/"]}) as kernel:
            await watched.ready(kernel)
            with kernel.subscribe("hmr.*") as events:
                watched.save(version=2)
                watched.write("free/other.py", (watched.root / "free/other.py").read_text() + "\n")
                await hear(events, Swapped, "other")

            assert (await kernel.call(GetHmrStatus())).watched.keys() == {"other"}
            assert await version(kernel) == 1

    async def test_a_stop_waits_for_the_watcher(self, watched):
        """A watch ends at once, where watchfiles alone would look up only after 5 seconds."""
        async with watched.host(hmr=WATCH) as kernel:
            await watched.ready(kernel)
            with anyio.fail_after(4):
                await kernel.remove_plugin("hmr")


NEWCOMER = """
from aetherra.plugins import Message, Plugin, Request, handler


class Answer(Message, tag="newcomer.answer"):
    version: int


class Ask(Request[Answer], tag="newcomer.ask"):
    pass


class Newcomer(Plugin):
    @handler
    async def ask(self, request: Ask) -> Answer:
        return Answer(NUMBER)
"""
