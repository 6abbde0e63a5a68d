"""Data files that a plugin declares are part of it."""

from __future__ import annotations

from aetherra.hmr import Swapped

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

READING = "import pathlib\nTEXT = pathlib.Path(__file__).parent.joinpath('{file}').read_text()"
DECLARED = 'data_files = ("*.txt", "words/*.json")\n'


class TestDataFiles:
    async def test_a_declared_data_file_that_is_saved_swaps_nothing(self, project):
        """A file that fits a pattern of ``data_files`` is watched like code, beside a single file."""
        project.write("greeting.txt", "one")
        project.write("counter.py", plugin("TEXT", top=READING.format(file="greeting.txt"), body=DECLARED))
        async with project.host("counter") as host:
            assert await host.answer() == "one"
            for text, how in (("two", "in_place"), ("three", "atomically")):
                await project.save("greeting.txt", text, how)
                await host.outcomes_until(text)

    async def test_a_declared_data_file_of_a_package_swaps_nothing(self, project):
        """Patterns are relative to the package's folder, and may name folders below; a touch is no change."""
        project.write("pack/words/greeting.json", '"one"')
        project.write("pack/__init__.py", plugin("TEXT", top=READING.format(file="words/greeting.json"), body=DECLARED))
        async with project.host("counter=pack") as host:
            await project.save("pack/words/greeting.json", how="touch")
            await project.save("pack/words/greeting.json", '"one"', "atomically")
            await host.nothing_else()
            await project.save("pack/words/greeting.json", '"two"')
            await host.hear(Swapped)
            assert await host.answer() == '"two"'

    async def test_a_new_data_file_swaps_nothing(self, project):
        """A file that comes and fits a pattern is a change, too."""
        listing = "import pathlib\nNAMES = sorted(file.name for file in pathlib.Path(__file__).parent.glob('*.txt'))"
        project.write("counter.py", plugin("NAMES", top=listing, body=DECLARED))
        async with project.host("counter") as host:
            await project.save("first.txt", "1")
            await host.outcomes_until(["first.txt"])

    async def test_a_data_file_that_is_not_declared_swaps(self, project):
        """A file that fits no pattern is none of the plugin's."""
        project.write("counter.py", plugin(1, body=DECLARED))
        async with project.host("counter") as host:
            await project.save("notes.md", "anything")
            await host.nothing_else()
            assert host.generation() == 1
