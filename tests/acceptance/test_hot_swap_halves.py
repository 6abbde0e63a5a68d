"""Half a save never serves: neither within the quiet time, nor while its writer has the file open."""

from __future__ import annotations

import sys
import time

import pytest

from .hot_swap_project import asking, editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

FIRST_HALF, SECOND_HALF = plugin("NUMBER", top="NUMBER = 2"), "\nNUMBER = 3\n"
"""The first is a whole plugin by itself, which answers 2; both together answer 3."""
QUIET = 1.5
"""Seconds of quiet; more than the machine takes from one piece to the next, and less than a test's patience."""


class TestHalves:
    async def test_a_half_goes_live_when_more_bytes_follow_within_the_quiet_time(self, project):
        """Code that compiles, and to which more is added within the quiet time, never answers."""
        async with project.host("counter", quiet=QUIET) as host, asking(host) as asked:
            await project.save("counter.py", FIRST_HALF)
            await asked.for_more(40)
            await project.save("counter.py", SECOND_HALF, "append")

            await host.outcomes_until(3)
            await asked.for_more(1)
        assert set(asked.values) == {1, 3}

    async def test_pieces_go_live_one_by_one(self, project):
        """Each piece begins the quiet time anew, also if they come in faster than it for longer than it."""
        async with project.host("counter", quiet=QUIET / 3) as host, asking(host) as asked:
            await project.save("counter.py", FIRST_HALF)
            last_piece = time.monotonic() + QUIET * 2 / 3
            while time.monotonic() < last_piece:
                await asked.for_more(20)
                await project.save("counter.py", "#\n", "append")
            await project.save("counter.py", SECOND_HALF, "append")

            await host.outcomes_until(3)
            await asked.for_more(1)
        assert set(asked.values) == {1, 3}

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can tell who has a file open")
    async def test_a_half_goes_live_whose_writer_has_the_file_open(self, project):
        """As long as somebody has the file open to write more, what is in it so far never answers."""
        async with project.host("counter") as host, asking(host) as asked:
            await project.save("counter.py", FIRST_HALF, "begin")
            for _ in range(3):
                await host.nothing_else()
            await project.save("counter.py", SECOND_HALF, "end")

            await host.outcomes_until(3)
            await asked.for_more(1)
        assert set(asked.values) == {1, 3}
