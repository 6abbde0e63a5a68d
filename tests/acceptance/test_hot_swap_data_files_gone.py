"""A declared data file that goes is a change, too."""

from __future__ import annotations

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

LISTING = "import pathlib\nNAMES = sorted(file.name for file in pathlib.Path(__file__).parent.glob('*.txt'))"


class TestDataFiles:
    async def test_a_data_file_that_is_deleted_swaps_nothing(self, project):
        """A file that fitted a pattern of ``data_files`` and is gone is a change, as one that comes is."""
        project.write("first.txt", "1")
        project.write("counter.py", plugin("NAMES", top=LISTING, body='data_files = ("*.txt",)\n'))
        async with project.host("counter") as host:
            assert await host.answer() == ["first.txt"]
            await project.save("first.txt", how="delete")
            await host.outcomes_until([])
