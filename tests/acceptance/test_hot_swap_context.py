"""Log handlers, folders and threads taken through the context end with their generation."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from aetherra.hmr import SwapFailed, Swapped

from .hot_swap_project import editor_fixture, plugin, project_fixture, until

editor, project = editor_fixture, project_fixture

TAKING = """
async def start(self, ctx) -> None:
    handler = logging.NullHandler()
    handler.set_name("handler of counter {number}")
    ctx.add_log_handler(handler)
    self.folder = str(ctx.temporary_folder())
    ctx.start_thread(self.turn, name="thread of counter {number}")

def turn(self, ended):
    threading.current_thread().name = "thread of counter {number}"
    ended.wait()
"""


def code(number, more=""):
    return plugin("self.folder", top="import logging, threading", body=TAKING.format(number=number) + more)


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("thread of counter")]


def handlers():
    return [handler.name for handler in logging.getLogger().handlers if "of counter" in str(handler.name)]


class TestContext:
    async def test_what_was_taken_through_the_context_is_left_after_three_reloads(self, project):
        """After three saves there is one log handler, thread and folder, the newest, and none after the host."""
        project.write("counter.py", code(1))
        folders = []
        async with project.host("counter") as host:
            folders.append(Path(await host.answer()))
            for number in (2, 3, 4):
                await project.save("counter.py", code(number))
                await host.hear(Swapped)
                folders.append(Path(await host.answer()))
            await until(lambda: threads() == ["thread of counter 4"], f"one thread is left of {threads()}")
            await until(lambda: handlers() == ["handler of counter 4"], f"one handler is left of {handlers()}")
            await until(lambda: [folder.exists() for folder in folders] == [False] * 3 + [True], "one folder is left")
        assert handlers() == []
        await until(lambda: threads() == [], f"no thread is left of {threads()}")  # it has returned; it may yet unwind
        assert not folders[-1].exists()

    async def test_what_refused_code_took_is_left(self, project):
        """What code took in ``start()`` goes when it is refused by its own test."""
        project.write("counter.py", code(1))
        async with project.host("counter") as host:
            await project.save("counter.py", code(2, "async def self_test(self):\n    raise ValueError('no')\n"))
            await host.hear(SwapFailed)
            await until(lambda: threads() == ["thread of counter 1"], f"one thread is left of {threads()}")
            assert handlers() == ["handler of counter 1"]
