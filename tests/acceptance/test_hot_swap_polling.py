"""File systems that tell of no change: by looking again and again."""

from __future__ import annotations

import sys

import pytest

from aetherra.hmr import Swapped

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

POLL = 0.02


class TestPolling:
    @pytest.mark.parametrize("how", ["in_place", "atomically", "with_backup", "anew"])
    async def test_a_save_is_not_found_by_polling(self, project, how):
        """With ``poll_interval`` any way to save is found, of entry, helper and new module; a touch is no change."""
        project.write("pack/__init__.py", plugin("NUMBER", top="from .helper import NUMBER"))
        project.write("pack/helper.py", "NUMBER = 1\n")
        async with project.host("counter=pack", poll_interval=POLL) as host:
            for number in (2, 3):
                await project.save("pack/helper.py", f"NUMBER = {number}\n", how)
                await host.outcomes_until(number)
            await project.save("pack/helper.py", how="touch")
            await host.nothing_else()
            await project.save("pack/new/__init__.py", "NUMBER = 4\n")
            await project.save("pack/__init__.py", plugin("NUMBER", top="from .new import NUMBER"), how)
            await host.outcomes_until(4)
            await project.save("pack/new/__init__.py", "NUMBER = 5\n", how)
            await host.outcomes_until(5)

    @pytest.mark.skipif(sys.platform != "linux", reason="a write to a map is another matter elsewhere")
    async def test_a_save_that_the_system_does_not_tell_of_is_missed(self, project):
        """A write that is no event, as on a network file system, is found by its time."""
        async with project.host("counter", poll_interval=POLL) as host:
            await project.save("counter.py", how="map_")
            await host.nothing_else()
            await project.save("counter.py", plugin(2), "silently")
            await host.hear(Swapped)
            assert await host.answer() == 2
