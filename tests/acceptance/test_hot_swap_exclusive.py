"""A plugin that owns a port: the old code is stopped before the new starts, and brought back where that fails."""

from __future__ import annotations

import socket

import anyio
import pytest

from aetherra.hmr import Rollback, SwapFailed, Swapped

from .hot_swap_project import PATIENCE, editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

OWNING = """
exclusive = True
count = 0

async def start(self, ctx) -> None:
    {starting}
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port={port})
    await ctx.enter(listener)
    ctx.start_soon(listener.serve, self.serve)

async def serve(self, stream) -> None:
    async with stream:
        self.count += 1
        await stream.send(b"%d %d" % ({number}, self.count))

async def hand_over(self) -> Count:
    return Count(self.count)

async def take_over(self, state: Count) -> None:
    {taking}
    self.count = state.count
"""
COUNT = "class Count(msgspec.Struct):\n    count: int\n"


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def owning(port):
    """Return the code of a plugin that answers on the port with its version and a count."""

    def code(number, *, starting="pass", taking="pass", body=""):
        text = OWNING.format(number=number, port=port, starting=starting, taking=taking) + body
        return plugin(number, top=COUNT, body=text)

    return code


@pytest.fixture
def ask(port):
    """Return a function that asks on the port."""

    async def ask():
        with anyio.fail_after(PATIENCE):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                return (await stream.receive()).decode()

    return ask


class TestExclusive:
    async def test_new_code_starts_while_the_old_has_the_port(self, project, owning, ask):
        """The port goes from generation to generation with the count, and no call of the plugin fails meanwhile."""
        project.write("counter.py", owning(1))
        async with project.host("counter") as host:
            assert await ask() == "1 1"
            for number in (2, 3):
                await project.save("counter.py", owning(number))
                await host.hear(Swapped)
                assert await ask() == f"{number} {number}"
                assert await host.answer() == number

    @pytest.mark.parametrize(
        "fault",
        [
            {"starting": "raise ValueError('no way')"},
            {"taking": "raise ValueError('no way')"},
            {"body": "\nasync def self_test(self):\n    raise ValueError('no way')\n"},
        ],
        ids=["start", "take_over", "self_test"],
    )
    async def test_the_port_is_lost_when_new_code_fails(self, project, owning, ask, fault):
        """When the new code fails after the old was stopped, the old is back on the port, with its count."""
        project.write("counter.py", owning(1))
        async with project.host("counter") as host:
            assert await ask() == "1 1"
            await project.save("counter.py", owning(2, **fault))
            failed = await host.hear(SwapFailed)
            assert "no way" in failed.problem
            assert await ask() == "1 2"
            assert await host.answer() == 1
            await project.save("counter.py", owning(3))
            await host.hear(Swapped)
            assert await ask() == "3 3"

    async def test_the_port_is_lost_by_a_rollback(self, project, owning, ask):
        """A rollback hands the port back, and the count as the later code left it."""
        project.write("counter.py", owning(1))
        async with project.host("counter") as host:
            await project.save("counter.py", owning(2))
            await host.hear(Swapped)
            assert [await ask(), await ask()] == ["2 1", "2 2"]
            await host.kernel.call(Rollback("counter"))
            assert await ask() == "1 3"
            assert await host.answer() == 1

    async def test_calls_fail_while_nobody_serves(self, project, owning, ask):
        """Calls that come between the old code's stop and the new one's start wait, and none of them fails."""
        from .hot_swap_project import asking

        project.write("counter.py", owning(1))
        async with project.host("counter") as host, asking(host) as asked:
            for number in (2, 3, 4):
                await project.save("counter.py", owning(number, starting="await anyio.sleep(0.01)"))
                await host.hear(Swapped)
                await asked.for_more(10)
        assert asked.values == sorted(asked.values)
        assert asked.values[-1] == 4
