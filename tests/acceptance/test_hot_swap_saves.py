"""Saves, as editors write them: whatever the way, the new code answers; what is no change does not."""

from __future__ import annotations

import sys

import pytest

from aetherra.hmr import Swapped

from .hot_swap_project import asking, editor_fixture, held_import, plugin, project_fixture

editor, project = editor_fixture, project_fixture


class TestWaysToSave:
    @pytest.mark.parametrize("how", ["in_place", "atomically", "with_backup", "anew"])
    async def test_an_edited_entry_does_not_answer(self, project, how):
        """However an editor saves the plugin's file, the new code answers; also the second and the third time."""
        async with project.host("counter") as host:
            for number in (2, 3, 4):
                await project.save("counter.py", plugin(number), how)
                await host.outcomes_until(number)
            await host.nothing_else()

    async def test_a_file_that_was_deleted_and_is_written_again_is_lost(self, project):
        """A deletion leaves the old code serving; what is written in its place is swapped in, however late."""
        async with project.host("counter") as host:
            await project.save("counter.py", how="delete")
            await host.nothing_else()
            assert await host.answer() == 1
            await project.save("counter.py", plugin(2))

            await host.outcomes_until(2)

    async def test_a_burst_of_8_saves_ends_on_another_than_the_last(self, project):
        """Of 8 saves in a row the last one serves in the end, and nothing is swapped after it."""
        async with project.host("counter") as host:
            for number in range(2, 10):
                await project.save("counter.py", plugin(number), "atomically")

            outcomes = await host.outcomes_until(9)
            assert {type(outcome) for outcome in outcomes} == {Swapped}
            await host.nothing_else()
            assert await host.answer() == 9

    async def test_the_second_save_in_a_second_is_taken_for_the_first(self, project, monkeypatch):
        """Neither equal size nor an equal time hides new content, and no bytecode is written for the next to find."""
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
        at = "1700000000000000000"
        async with project.host("counter") as host:
            for number in (2, 3, 4):
                await project.save("counter.py", plugin(number))
                await project.save("counter.py", at, "touch")
                await host.outcomes_until(number)

            assert not list(project.root.rglob("*.pyc"))


class TestNoChange:
    @pytest.mark.parametrize("how", ["in_place", "atomically", "with_backup"])
    async def test_the_same_bytes_are_a_change(self, project, how):
        """Events and new times without new bytes reload nothing."""
        async with project.host("counter") as host:
            await project.save("counter.py", how="touch")
            await project.save("counter.py", plugin(1), how)
            await host.nothing_else()
            await project.save("counter.py", plugin(2), how)

            assert (await host.outcomes_until(2))[-1].generation == 2

    async def test_another_file_beside_it_is_a_change(self, project):
        """What a plugin does not import is none of its business: neither a neighbour nor an editor's own files."""
        async with project.host("counter") as host:
            for name in ("nobodys.py", "counter.py.bak", ".counter.py.swp", "4913"):
                await project.save(name, "NUMBER = 1\n")
            await host.nothing_else()
            assert host.generation() == 1


class TestSlowImport:
    async def test_a_save_during_a_slow_import_loses(self, project):
        """What is saved last while older code is still being imported serves; none of what was saved before it does."""
        async with project.host("counter") as host, asking(host) as asked:
            with held_import(project) as held:
                await project.save("counter.py", plugin(2, top=held.code))
                await held.begins()
                await project.save("counter.py", plugin(3))
                await project.save("counter.py", plugin(4))
                await asked.for_more(50)
            await host.outcomes_until(4)
            await host.nothing_else()
            await asked.for_more(1)
        assert set(asked.values) == {1, 4}

    async def test_a_slow_import_holds_up_those_who_ask(self, project):
        """While new code is being imported its plugin and all others answer, as often as they are asked."""
        async with project.host("counter") as host:
            with held_import(project) as held:
                await project.save("counter.py", plugin(2, top=held.code))
                await held.begins()
                async with asking(host, "fence") as others, asking(host) as own:
                    await others.for_more(200)
                    await own.for_more(200)
                    assert not held.released, "both were answered 200 times before the import was let go on"
                    assert set(own.values) == {1}
            await host.outcomes_until(2)

    async def test_a_slow_import_holds_up_the_save_of_another_plugin(self, project):
        """While new code of one plugin is being imported, a save of another is swapped in."""
        async with project.host("counter") as host:
            with held_import(project) as held:
                await project.save("counter.py", plugin(2, top=held.code))
                await held.begins()
                await host.nothing_else()
                assert not held.released, "another plugin was swapped twice before the import was let go on"
            await host.outcomes_until(2)
