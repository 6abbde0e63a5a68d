"""What a person brought back stays until its own files are saved."""

from __future__ import annotations

from aetherra.hmr import Rollback, SwapFailed, Swapped

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

ONCE = """
async def self_test(self):
    if not (self.ctx.root / "sensor").exists():
        raise ValueError("no sensor")
"""


class TestRollback:
    async def test_a_mistake_that_is_taken_back_spoils_the_way_back(self, project):
        """Where what serves is saved again after a save that was refused, nothing is swapped: the code before stays."""
        async with project.host("counter") as host:
            await project.save("counter.py", plugin(2))
            await host.hear(Swapped)
            await project.save("counter.py", "def")
            await host.hear(SwapFailed)
            await project.save("counter.py", plugin(2))
            await host.nothing_else()
            assert await host.answer() == 2
            await host.kernel.call(Rollback("counter"))
            assert await host.answer() == 1

    async def test_what_was_rolled_back_cannot_be_saved_again(self, project):
        """Saved after a rollback, the code before changes nothing, and the later code is swapped in once more."""
        async with project.host("counter") as host:
            await project.save("counter.py", plugin(2))
            await host.hear(Swapped)
            await host.kernel.call(Rollback("counter"))
            await project.save("counter.py", plugin(1))
            await host.nothing_else()
            await project.save("counter.py", plugin(2))
            await host.hear(Swapped)
            assert await host.answer() == 2

    async def test_a_save_of_a_neighbour_undoes_a_rollback(self, project):
        """After a rollback, code on disk that was refused before is not tried again when a stranger is saved."""
        async with project.host("counter") as host:
            await project.save("counter.py", plugin(2))
            await host.hear(Swapped)
            await project.save("counter.py", plugin(3, body=ONCE))
            await host.hear(SwapFailed)
            await host.kernel.call(Rollback("counter"))
            assert await host.answer() == 1
            await project.save("sensor", "")
            await project.save("nobodys.py", "NUMBER = 1\n")
            await host.nothing_else()
            assert await host.answer() == 1
