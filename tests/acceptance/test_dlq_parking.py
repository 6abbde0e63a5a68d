"""Parking dead letters: from the command line, on a running host and on files, and through the death of a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aetherra.kernel import ActionPriority, DeadLetter, DeadLetters, Kernel, ListDeadLetters, RetryPolicy
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.messages import ParkDeadLetters, Parked, UnparkDeadLetters, Unparked
from aetherra.kernel.cli.app import cli
from aetherra.plugins import Plugin, Reject, Request, handler

MOVES = """
import os, signal, sys
from pathlib import Path
from aetherra.kernel.actions import letter_file
from aetherra.kernel.actions.dlq import DeadLetterQueue

path, what, place = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
calls = 0

def die(name, real):
    def instead(*args, **kwargs):
        global calls
        calls += 1
        if calls > place:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return instead

queue = DeadLetterQueue(path)
letter_file.replace = die("replace", letter_file.replace)
letter_file.append = die("append", letter_file.append)
getattr(queue, what)()
"""


def letter(name: str) -> DeadLetter:
    return DeadLetter(1.0, "failed", name, "park.water", {}, ActionPriority.LOW, 1, 1.0, RetryPolicy())


def everything(path: Path) -> list[str]:
    """Return the trace ids of all letters as a new host finds them, and hold its figures to them."""
    queue = DeadLetterQueue(path)
    here = [found.trace_id for found in queue.items()]
    aside = [found.trace_id for found in queue.items(parked=True)]
    assert (queue.statistics().depth, queue.statistics().parked) == (len(here), len(aside))
    queue.close()
    return sorted(here + aside)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("what", ["park", "unpark"])
def test_a_process_that_is_killed_while_it_moves_letters_loses_one(tmp_path: Path, what: str, place: int) -> None:
    """Before a line is written where it goes to, before it is deleted where it was, or after: each is there once."""
    path = tmp_path / "kernel_dlq.jsonl"
    queue = DeadLetterQueue(path)
    for name in ("a", "b", "c"):
        queue.add(letter(name))
    if what == "unpark":
        queue.park()
    queue.close()

    ended = subprocess.run([sys.executable, "-c", MOVES, path, what, str(place)], check=False, timeout=60)
    assert ended.returncode == (-signal.SIGKILL if place < 2 else 0)
    assert path.with_suffix(".moving").exists() == (place < 2)
    assert everything(path) == ["a", "b", "c"]
    assert not path.with_suffix(".moving").exists()


class Water(Request[None], tag="parking.water"):
    zone: str


class Garden(Plugin):
    name = "parking"

    @handler
    async def water(self, request: Water) -> None:
        if request.zone == "north":
            raise Reject("frozen")


async def test_a_parked_letter_is_sent_again_by_a_filter() -> None:
    """On a running host, by message: it is neither sent again nor counted until it is put back."""
    async with Kernel() as kernel:
        await kernel.add_plugin(Garden)
        for _ in range(2):
            with pytest.raises(Exception, match="frozen"):
                await kernel.submit_and_wait(Water("north"))
        newest, oldest = await kernel.get_dlq_items()

        assert await kernel.call(ParkDeadLetters(trace_ids=(oldest.trace_id,))) == Parked(1)
        assert kernel.statistics().actions.dlq.parked == 1
        assert await kernel.call(ListDeadLetters()) == DeadLetters((newest,))
        assert await kernel.call(ListDeadLetters(parked=True)) == DeadLetters((oldest,))
        assert await kernel.call(ListDeadLetters(trace_id=oldest.trace_id, parked=True)) == DeadLetters((oldest,))
        report = await kernel.redrive_where(dry_run=True)
        assert [sent.trace_id for sent in report.redriven] == [newest.trace_id]
        assert await kernel.get_dlq_items(parked=True) == [oldest]

        assert await kernel.call(UnparkDeadLetters()) == Unparked(1)
        assert await kernel.park(reason="rejected") == 2
        assert await kernel.unpark([newest.trace_id]) == 1
        assert await kernel.get_dlq_items() == [newest]


class TestCommands:
    def test_a_command_forgets_parked_letters(self, tmp_path: Path) -> None:
        """``park``, ``list --parked``, ``show --parked`` and ``unpark``, on the files that a host left."""
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / ".aetherra").mkdir()
        queue = DeadLetterQueue(tmp_path / ".aetherra" / "kernel_dlq.jsonl")
        queue.add(letter("a"))
        queue.add(letter("b"))
        queue.close()

        def run(*args: str) -> str:
            ended = CliRunner().invoke(cli, ["dlq", *args, "--path", str(tmp_path)])
            assert ended.exit_code == 0, ended.output
            return ended.stdout

        assert run("park", "a") == "1 parked\n"
        assert [found["trace_id"] for found in json.loads(run("list", "--json"))] == ["b"]
        assert [found["trace_id"] for found in json.loads(run("list", "--parked", "--json"))] == ["a"]
        assert json.loads(run("show", "--parked", "a"))["trace_id"] == "a"
        assert run("unpark", "--all") == "1 unparked\n"
        assert json.loads(run("park", "--type", "park.water", "--json")) == {"parked": 2}

    def test_all_letters_are_parked_by_mistake(self, tmp_path: Path) -> None:
        """Which ones are meant has to be said."""
        ended = CliRunner().invoke(cli, ["dlq", "park", "--path", str(tmp_path)])
        assert ended.exit_code == 2
        assert "name the trace ids to park" in ended.output
