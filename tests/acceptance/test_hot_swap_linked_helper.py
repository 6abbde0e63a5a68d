"""A helper that is a link to a file elsewhere."""

from __future__ import annotations

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture


class TestLinks:
    async def test_an_edit_of_a_symlinked_helper_is_not_seen(self, project):
        """A helper that is linked to is watched at its real place."""
        project.write("elsewhere/real.py", "NUMBER = 1\n")
        (project.root / "helper.py").symlink_to(project.root / "elsewhere" / "real.py")
        project.write("counter.py", plugin("NUMBER", top="from helper import NUMBER"))
        async with project.host("counter") as host:
            for number, how in enumerate(("in_place", "atomically"), 2):
                await project.save("elsewhere/real.py", f"NUMBER = {number}\n", how)
                await host.outcomes_until(number)
