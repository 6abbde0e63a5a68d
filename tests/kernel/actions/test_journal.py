"""The journal: what was accepted and is not finished is there at the next start, wherever the last one ended."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import ActionEnvelope, DataFileError, RetryPolicy
from aetherra.kernel.actions import journal as journal_module
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.journal import Journal
from aetherra.registry import MessageValidationError, Request


class Dig(Request[None], tag="journal.dig"):
    depth: int
    extra: Any = None


def envelope(name: str, **fields: Any) -> ActionEnvelope:
    return ActionEnvelope(Dig(2), trace_id=name, enqueued=5.0, **fields)


def reopened(path: Path) -> dict[str, int]:
    """Open a journal as the next start does, and return attempts by trace id, in order."""
    journal = Journal(path, sync=False)
    found = {record.trace_id: attempts for record, attempts in journal.open()}
    journal.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel_journal.jsonl"


@pytest.fixture
def journal(path: Path):
    journal = Journal(path, sync=False)
    journal.open()
    yield journal
    journal.close()


class TestJournal:
    def test_an_action_that_is_not_finished_comes_back_as_it_was_accepted(self, path: Path, journal: Journal) -> None:
        """Params, priority, times, retry policy and attempts."""
        sent = envelope("a", timeout=3.0, deadline=99.0, retry=RetryPolicy(7, 1.0, 2.0))
        journal.accepted(sent)
        journal.attempted("a", 1)
        journal.attempted("a", 2)

        ((record, attempts),) = Journal(path, sync=False).open()

        assert attempts == 2
        assert (record.trace_id, record.action_type, record.params) == ("a", "journal.dig", {"depth": 2, "extra": None})
        assert (record.timeout, record.deadline, record.enqueued) == (3.0, 99.0, 5.0)
        assert (record.priority, record.retry) == (sent.priority, sent.retry)

    def test_finished_actions_are_forgotten_and_the_rest_keeps_its_order(self, path: Path, journal: Journal) -> None:
        """Oldest first, and the file holds no more than what is open."""
        for name in "abcd":
            journal.accepted(envelope(name))
        journal.attempted("c", 1)
        journal.finished("b")
        journal.finished("d")

        assert reopened(path) == {"a": 0, "c": 1}
        assert path.read_bytes().count(b"\n") == 3

    def test_the_end_of_an_action_that_was_never_accepted_needs_no_record(self, path: Path, journal: Journal) -> None:
        """A refusal under load costs no write."""
        journal.finished("stranger")

        assert not path.exists()

    def test_a_journal_of_a_long_run_stays_small(
        self, path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stale records are dropped while the host runs, and what is open survives it."""
        monkeypatch.setattr(journal_module, "STALE", 20)
        journal.accepted(envelope("open"))
        journal.attempted("open", 1)
        for number in range(500):
            journal.accepted(envelope(f"n{number}"))
            journal.attempted(f"n{number}", 1)
            journal.finished(f"n{number}")

        assert path.read_bytes().count(b"\n") < 40
        assert reopened(path) == {"open": 1}

    def test_a_request_that_json_cannot_hold_is_refused(self, path: Path, journal: Journal) -> None:
        """What could not be read back must not be accepted."""
        for extra in (object(), {(1, 2): 3}, "\ud800"):
            with pytest.raises(MessageValidationError, match="cannot be kept in the journal"):
                journal.accepted(ActionEnvelope(Dig(1, extra)))

        assert reopened(path) == {}

    def test_a_file_that_cannot_be_written_refuses_the_action(self, tmp_path: Path) -> None:
        """The error names the file."""
        journal = Journal(tmp_path, sync=False)
        with pytest.raises(DataFileError, match=str(tmp_path)):
            journal.accepted(envelope("a"))


class TestDamage:
    def test_a_journal_cut_at_any_byte_opens_with_all_whole_records(self, path: Path, tmp_path: Path) -> None:
        """A crash anywhere leaves the records before it; the fragment is set aside, and later records are whole."""
        journal = Journal(path, sync=False)
        journal.accepted(envelope("a"))
        journal.accepted(envelope("b"))
        journal.attempted("b", 1)
        journal.finished("a")
        journal.close()
        whole = path.read_bytes()
        ends = [index for index, byte in enumerate(whole) if byte == ord("\n")]
        stages: list[dict[str, int]] = [{}, {"a": 0}, {"a": 0, "b": 0}, {"a": 0, "b": 1}, {"b": 1}]

        for size in range(len(whole) + 1):
            cut = tmp_path / "cut" / f"{size}.jsonl"
            cut.parent.mkdir(exist_ok=True)
            cut.write_bytes(whole[:size])
            records = sum(end <= size for end in ends)  # whole without its newline is whole
            fragment = whole[ends[records - 1] + 1 if records else 0 : size]
            journal = Journal(cut, sync=False)
            found = {record.trace_id: attempts for record, attempts in journal.open()}
            assert found == stages[records], size
            assert journal.unreadable == bool(fragment)
            if fragment:
                assert cut.with_suffix(".unreadable").read_bytes() == fragment + b"\n"
            journal.accepted(envelope("z"))
            journal.close()
            assert reopened(cut) == {**stages[records], "z": 0}, size

    @given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)))
    def test_no_bytes_in_the_file_stop_the_next_start(
        self, tmp_path_factory: pytest.TempPathFactory, alien: list[bytes]
    ) -> None:
        """Alien lines between records are set aside, byte for byte."""
        path = tmp_path_factory.mktemp("journal") / "j.jsonl"
        journal = Journal(path, sync=False)
        journal.accepted(envelope("a"))
        journal.close()
        with path.open("ab") as file:
            file.writelines(line + b"\n" for line in alien)

        assert reopened(path) == {"a": 0}
        kept = [line for line in alien if line]
        if kept:
            assert path.with_suffix(".unreadable").read_bytes() == b"".join(line + b"\n" for line in kept)

    def test_endless_nesting_does_not_stop_the_next_start(self, path: Path) -> None:
        """A line may be valid up to any depth."""
        path.write_bytes(b'{"op": "accepted", "params": ' + b"[" * 100_000 + b"\n")

        assert reopened(path) == {}


DIGGER = """
import os, sys
from pathlib import Path
import anyio
import anyio.lowlevel
from aetherra.kernel import Config, Kernel, KernelConfig, Plugin, Reject, RetryPolicy, ActionQueueFullError
from aetherra.kernel.plugin import handler
from aetherra.registry import Request

folder, backend, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
holes = os.open(folder / "holes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Dig(Request[None], tag="crash.dig"):
    hole: str


class Digger(Plugin):
    name = "digger"

    @handler
    async def dig(self, request: Dig) -> None:
        await anyio.lowlevel.checkpoint()
        if request.hole.endswith("3"):
            raise Reject("rock")
        os.write(holes, request.hole.encode() + b"\\n")


async def main():
    config = Config(kernel=KernelConfig(discover=False, workers=3), root=folder)
    async with Kernel(config) as kernel:
        await kernel.add_plugin(Digger)
        if mode == "last":
            while kernel.statistics().actions.oldest_age is not None:
                await anyio.sleep(0.01)
            return
        number = 0
        while True:
            number += 1
            try:
                await kernel.submit(Dig(f"{mode}-{number}"), retry=RetryPolicy(1))
            except ActionQueueFullError:
                await anyio.sleep(0.001)
            else:
                os.write(1, f"{mode}-{number}\\n".encode())

anyio.run(main, backend=backend)
"""


class TestKill:
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_what_was_accepted_survives_kill_9(self, tmp_path: Path, backend: str) -> None:
        """Hosts killed in full work, one after the other: each accepted action is done or dead-lettered in the end."""
        command = [sys.executable, "-c", DIGGER, str(tmp_path), backend]
        accepted: list[str] = []
        for run, lines in enumerate((1, 40, 333, 1200)):
            with subprocess.Popen([*command, f"r{run}"], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                accepted.extend(process.stdout.readline().strip() for _ in range(lines))
                process.kill()
                accepted.extend(line.strip() for line in process.stdout if line.endswith("\n"))
        subprocess.run([*command, "last"], check=True, timeout=50)

        done = Counter((tmp_path / "holes").read_text().split())
        letters = DeadLetterQueue(tmp_path / ".aetherra" / "kernel_dlq.jsonl").items(limit=10**6)
        dead = Counter(letter.params["hole"] for letter in letters if letter.reason == "rejected")
        assert set(accepted) <= set(done) | set(dead)
        assert all(hole.endswith("3") for hole in dead)
        assert not set(done) & set(dead)
        again = (done + dead).total() - len(done | dead)
        assert again <= 4 * 3  # at most what each killed host's workers had in hand
        assert reopened(tmp_path / ".aetherra" / "kernel_journal.jsonl") == {}
