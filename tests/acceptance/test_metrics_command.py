"""``aetherra metrics`` and ``aetherra improve``, from another process, against a real host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Project

COMMANDS = [
    ["metrics", "list"],
    ["metrics", "show", "loop.lag"],
    ["metrics", "show", "loop.lag", "--plot", "lag.svg"],
    ["improve", "status"],
    ["improve", "proposals"],
    ["improve", "explain", "nope"],
    ["improve", "approve", "nope"],
    ["improve", "reject", "nope"],
    ["improve", "undo", "nope"],
    ["improve", "strategies"],
    ["improve", "simulate"],
    ["improve", "cycles"],
]


class TestNobodyToAsk:
    def test_no_host_is_an_answer(self, asyncio_project: Project) -> None:
        """Each command says that none runs here, and how to start one."""
        asyncio_project.configure()
        for command in COMMANDS:
            ended = asyncio_project.aetherra(*command)
            assert (ended.status, ended.out) == (1, ""), command
            assert "no host is running here" in ended.err
            assert "aetherra run ." in ended.err
        assert not (asyncio_project.path / "lag.svg").exists()

    def test_a_host_without_the_plugin_answers(self, asyncio_project: Project) -> None:
        """It says that it does not do that, and what was asked of it."""
        asyncio_project.configure()
        with asyncio_project.host() as host:
            for command in COMMANDS:
                ended = asyncio_project.aetherra(*command)
                assert (ended.status, ended.out) == (1, ""), command
                does_not = "keeps no history of its metrics" if command[0] == "metrics" else "does not improve itself"
                assert does_not in ended.err
                assert "nothing answers 'selfimprovement." in ended.err
            assert host.stop() == 0


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["metrics", "show"], "Missing argument 'NAME'"),
            (["metrics", "show", "loop.lag", "--window", "soon"], "expected seconds, or a span as 90s"),
            (["metrics", "show", "loop.lag", "--window", "0"], "expected seconds, or a span as 90s"),
            (["metrics", "show", "loop.lag", "--plot", "lag.pdf"], "ends with .png or .svg, got 'lag.pdf'"),
            (["metrics", "show", "loop.lag", "--plot", "lag"], "ends with .png or .svg, got 'lag'"),
            (["metrics", "show", "loop.lag", "--plot", "folder.svg"], "is a directory"),
            (["improve", "proposals", "--state", "forgotten"], "'waiting_approval'"),
            (["improve", "approve"], "Missing argument 'ID'"),
            (["improve", "simulate", "--window", "x"], "expected seconds, or a span as 90s"),
            (["improve", "cycles", "--limit", "0"], "1<=x<="),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_ends_with_another_status_than_2(self, asyncio_project: Project, arguments: list[str], said: str) -> None:
        """What makes no sense is told before a host is asked."""
        (asyncio_project.path / "folder.svg").mkdir()
        ended = asyncio_project.aetherra(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert said in ended.err
        assert "Traceback" not in ended.err
