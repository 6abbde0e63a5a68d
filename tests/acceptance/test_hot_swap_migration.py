"""State of several versions goes from code to code, and back."""

from __future__ import annotations

from aetherra.hmr import Rollback, SwapFailed, Swapped

from .hot_swap_project import editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

IMPORT = "from typing import Any, ClassVar\nfrom aetherra.plugins import State\n"
PLAIN = "class Count(msgspec.Struct):\n    count: int\n"
FIRST = IMPORT + "class Count(State):\n    count: int\n"
FARSIGHTED = """
class Count(State):
    count: int

    @classmethod
    def migrate(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        assert version == 2, version
        return {"count": fields["total"]}
"""
SECOND = """
class Count(State):
    version: ClassVar[int] = 2
    total: int
    steps: list[int]

    @classmethod
    def migrate(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        assert version == 1, version
        return {"total": fields["count"], "steps": [1] * fields["count"]}
"""
WITH_COUNT = """
count = 0

def next(self):
    self.count += 1
    return [{number}, self.count]

async def hand_over(self) -> Count:
    return Count(self.count)

async def take_over(self, state: Count) -> None:
    self.count = state.count
"""
WITH_TOTAL = """
total = 0

def next(self):
    self.total += 1
    self.steps = [*getattr(self, "steps", []), 1]
    return [{number}, self.total, len(self.steps)]

async def hand_over(self) -> Count:
    return Count(self.total, self.steps)

async def take_over(self, state: Count) -> None:
    self.total, self.steps = state.total, state.steps
"""


def first(state=FIRST, number=1):
    return plugin("self.next()", top=state, body=WITH_COUNT.format(number=number))


def second(number=2, state=IMPORT + SECOND):
    return plugin("self.next()", top=state, body=WITH_TOTAL.format(number=number))


class TestMigration:
    async def test_state_of_an_older_version_is_not_read(self, project):
        """State without a version is of the first, which ``migrate`` makes the second; the same version is taken."""
        project.write("counter.py", first(PLAIN))
        async with project.host("counter") as host:
            assert [await host.answer(), await host.answer()] == [[1, 1], [1, 2]]
            await project.save("counter.py", second())
            await host.hear(Swapped)
            assert await host.answer() == [2, 3, 3]
            await project.save("counter.py", second(3))
            await host.hear(Swapped)
            assert await host.answer() == [3, 4, 4]

    async def test_a_rollback_loses_what_the_newer_state_counted(self, project):
        """Old code whose ``migrate`` reads the newer version goes on from it after a rollback."""
        project.write("counter.py", first(IMPORT + FARSIGHTED))
        async with project.host("counter") as host:
            assert await host.answer() == [1, 1]
            await project.save("counter.py", second())
            await host.hear(Swapped)
            assert [await host.answer(), await host.answer()] == [[2, 2, 2], [2, 3, 3]]
            await host.kernel.call(Rollback("counter"))
            assert await host.answer() == [1, 4]

    async def test_a_migration_that_fails_touches_the_old_state(self, project):
        """State that the new code cannot read, or whose migration raises, leaves the old code with it."""
        project.write("counter.py", first())
        async with project.host("counter") as host:
            assert await host.answer() == [1, 1]
            for migrate in ('return {"total": "many", "steps": []}', "raise ValueError('many')"):
                broken = SECOND.replace('return {"total": fields["count"], "steps": [1] * fields["count"]}', migrate)
                await project.save("counter.py", second(state=IMPORT + broken))
                failed = await host.hear(SwapFailed)
                assert failed.code == "state_import_failed"
                assert "total" in failed.problem or "many" in failed.problem
            assert await host.answer() == [1, 2]
            await project.save("counter.py", second(4))
            await host.hear(Swapped)
            assert await host.answer() == [4, 3, 3]
