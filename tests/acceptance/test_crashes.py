"""``kill -9`` of a host that has accepted work: the next one takes it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

WORKER = """
from pathlib import Path

class Did(Message, tag="worker.did"):
    pass

class Do(Request[Did], tag="worker.do"):
    number: int

class Accepted(Message, tag="worker.accepted"):
    pass

class Accept(Request[Accepted], tag="worker.accept"):
    numbers: tuple[int, ...]

class Worker(Plugin):
    name = "worker"

    @handler
    async def accept(self, request: Accept) -> Accepted:
        for number in request.numbers:
            await self.ctx.submit(Do(number=number))
        return Accepted()

    @handler
    async def do(self, request: Do) -> Did:
        if not Path("open").exists():
            await anyio.sleep_forever()
        with Path("done").open("a") as done:
            done.write(f"{request.number}\\n")
        return Did()
"""


def numbers_done(project: Project) -> list[int]:
    """Return what the worker wrote down, in its order."""
    return [int(line) for line in (project.path / "done").read_text(encoding="utf-8").split()]


class TestAKilledHost:
    def test_leaves_its_accepted_actions_to_the_next(self, project: Project) -> None:
        """Whatever was accepted and not begun too often is done once somebody lives to do it."""
        project.plugin("worker", WORKER)
        for round_ in range(2):
            with project.host() as host:
                host.call("worker.accept", {"numbers": list(range(round_ * 5, round_ * 5 + 5))})
                host.kill()

        (project.path / "open").touch()
        with project.host() as host:
            assert "10 actions of the last run were not finished" in host.log
            project.until(lambda: host.call("kernel.status")["actions_done"] == 10, "all are done")
            assert host.stop() == 0
        assert sorted(numbers_done(project)) == list(range(10))
        with project.host() as host:
            assert "were not finished" not in host.log
            assert host.stop() == 0

    def test_that_an_action_kills_again_and_again_buries_it(self, project: Project) -> None:
        """After as many deaths as it has attempts, an action is dead-lettered: nothing is lost, and nothing goes on."""
        project.plugin("worker", WORKER)
        accepted: list[int] = []
        for round_ in range(5):
            with project.host() as host:
                numbers = list(range(round_ * 4, round_ * 4 + 4))
                host.call("worker.accept", {"numbers": numbers})
                accepted += numbers
                host.kill()

        (project.path / "open").touch()
        with project.host() as host:
            project.until(lambda: host.call("kernel.actions")["oldest_age"] is None, "none is open")
            dead = project.aetherra("dlq", "list", "--json", "--limit", "100").json
            assert host.stop() == 0
        assert dead
        assert all("the host died during attempt 3 of 3" in letter["message"] for letter in dead)
        assert sorted([*numbers_done(project), *(letter["params"]["number"] for letter in dead)]) == accepted

    def test_a_torn_last_line_of_the_journal_costs_that_line_alone(self, project: Project) -> None:
        """A death in the middle of a write is taken for what it is."""
        project.plugin("worker", WORKER)
        with project.host() as host:
            host.call("worker.accept", {"numbers": [1, 2]})
            host.kill()
        with (project.data / "kernel_journal.jsonl").open("ab") as journal:
            journal.write(b'{"torn":')
        (project.path / "open").touch()
        with project.host() as host:
            project.until(lambda: host.call("kernel.status")["actions_done"] == 2, "both are done")
            assert host.stop() == 0
