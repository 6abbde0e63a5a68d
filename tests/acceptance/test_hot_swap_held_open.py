"""A file that its writer has open for seconds."""

from __future__ import annotations

import sys
import time

import pytest

from .hot_swap_project import asking, editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

FIRST_HALF = plugin("[NUMBER, OTHER]", top="from helper import OTHER\nNUMBER = 2")
SECOND_HALF = "\nNUMBER = 3\n"
LONG = 2.5
"""Seconds that the writer takes; more than hot swap waits for files that go on changing."""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can tell who has a file open")
class TestHeldOpen:
    @pytest.mark.parametrize("other", ["fence", "helper"])
    async def test_a_half_goes_live_whose_writer_takes_long(self, project, other):
        """However long the writer has the file open, and whatever else is saved, what is in it so far never answers."""
        project.write("helper.py", "OTHER = 1\n")
        project.write("counter.py", FIRST_HALF.replace("NUMBER = 2", "NUMBER = 1"))
        async with project.host("counter") as host, asking(host) as asked:
            await project.save("counter.py", FIRST_HALF, "begin")
            end = time.monotonic() + LONG
            if other == "helper":
                await project.save("helper.py", "OTHER = 2\n")
            while time.monotonic() < end:
                if other == "fence":
                    await host.nothing_else()
                await asked.for_more(20)
            await project.save("counter.py", SECOND_HALF, "end")
            await host.outcomes_until([3, 1 if other == "fence" else 2])
            await asked.for_more(1)
        assert {number for number, _ in asked.values} == {1, 3}

    async def test_pieces_go_live_that_come_for_long(self, project):
        """However long pieces follow each other within the quiet time, none of them goes live before the last."""
        project.write("helper.py", "OTHER = 1\n")
        project.write("counter.py", FIRST_HALF.replace("NUMBER = 2", "NUMBER = 1"))
        async with project.host("counter", quiet=0.5) as host, asking(host) as asked:
            await project.save("counter.py", FIRST_HALF)
            end = time.monotonic() + LONG
            while time.monotonic() < end:
                await asked.for_more(20)
                await project.save("counter.py", "#\n", "append")
            await project.save("counter.py", SECOND_HALF, "append")
            await host.outcomes_until([3, 1])
            await asked.for_more(1)
        assert {number for number, _ in asked.values} == {1, 3}
