"""Helpers that only a call imports are of the generation that the call is in."""

from __future__ import annotations

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture


class TestLazy:
    async def test_an_old_entry_meets_a_new_helper_in_its_first_call(self, project):
        """A helper beside a file, imported by a call only, is as it was when its generation was loaded."""
        body = "def number(self):\n    from late import NUMBER\n    return NUMBER\n"
        project.write("counter.py", plugin("[NUMBER, self.number()]", top="from early import NUMBER", body=body))
        project.write("early.py", "NUMBER = 1\n")
        project.write("late.py", "NUMBER = 1\n")
        async with project.host("counter") as host:
            await project.save_all({"late.py": "NUMBER = 2\n", "early.py": "oops oops\n"})
            await host.outcome()
            assert await host.answer() == [1, 1]
            await project.save("early.py", "NUMBER = 2\n")
            await host.outcomes_until([2, 2])
