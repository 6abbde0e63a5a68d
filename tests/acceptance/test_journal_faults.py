"""A journal that cannot be written, is taken away, or was damaged: what had been accepted is done all the same.

``AETHERRA_FAULT_ROUNDS`` set, each byte of the last records is cut at and damaged, here a part of them.
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import Config, Kernel

ROUNDS = int(os.environ.get("AETHERRA_FAULT_ROUNDS", "0"))
SEED = int(os.environ.get("AETHERRA_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(30)
PROGRAM = Path(__file__).with_name("fault_host.py")
DATA = ".aetherra"
HELD = list(range(10))
DONE = list(range(10, 16))
PATIENCE = 20.0


class ToldHost:
    """``fault_host.py`` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        self.said = self._hear()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def tell(self, do: str, **what: Any) -> Any:
        """Tell it to do something and return what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()}: {self.log}"
        return json.loads(line)

    def stop(self) -> int:
        """Have it stop in order and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def limit_files(self, size: int) -> None:
        """Let no file grow beyond a size: a disk that is full, as far as this process sees; -1 makes room again."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def told_host(folder: Path, *inside: str, **options: Any) -> Generator[ToldHost]:
    """Run a host that is told what to do, ``inside`` of another program if one is named; killed at the end."""
    log = folder.with_name(f"{folder.name}-{len(list(folder.parent.iterdir()))}.log")
    arguments = [*inside, sys.executable, str(PROGRAM), json.dumps({"root": str(folder), **options})]
    pipe = subprocess.PIPE
    # Its log goes through a pipe: files may be all that it cannot write.
    with log.open("wb") as out, subprocess.Popen(["cat"], stdin=pipe, stdout=out) as copier:
        assert copier.stdin is not None
        with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=copier.stdin, text=True) as process:
            copier.stdin.close()
            try:
                yield ToldHost(process, log)
            finally:
                process.kill()


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def journal_files(folder: Path) -> list[Path]:
    return sorted(file for file in (folder / DATA).glob("kernel_journal*") if file.is_file())


def errors(outcomes: list[Any]) -> list[Any]:
    return [outcome for outcome in outcomes if isinstance(outcome, dict) and "error" in outcome]


def assert_is_clear(outcome: Any, folder: Path) -> None:
    """A refusal for the disk's sake says which file and what is wrong with it."""
    assert outcome["error"] == "DataFileError", outcome
    assert outcome["os"]
    assert str(folder / DATA) in outcome["text"]
    assert "journal" in outcome["text"]


def started_again(folder: Path, expected: list[int], backend: str = "asyncio", settle: float = 0.0) -> list[int]:
    """Start a host over what was left, wait until it has begun what is expected, and return all that it began."""

    async def live() -> list[int]:
        async with Kernel(configuration(folder)) as kernel:
            with anyio.move_on_after(PATIENCE):
                while not set(expected) <= set((await kernel.call_tag("fault.runs"))["uids"]):  # noqa: ASYNC110  # by message
                    await anyio.sleep(0.002)
            await anyio.sleep(settle)
            uids: list[int] = (await kernel.call_tag("fault.runs"))["uids"]
            return uids

    return sorted(anyio.run(live, backend=backend))


def configuration(folder: Path) -> Config:
    limits = {"discover": False, "control_socket": False, "workers": 2}
    return Config.parse({"kernel": limits, "plugins": {"fault": {"source": f"{PROGRAM}:Worker"}}}, root=folder)


class FullDisk:
    """What a disk without room means, by whatever means it is full."""

    def check(self, folder: Path, host: ToldHost, fill: Any, clear: Any) -> None:
        assert not errors(host.tell("submit", uids=[1, 2, 3], kind="held"))
        assert not errors(host.tell("submit", uids=[4], kind="fail"))
        fill()

        refused = host.tell("submit", uids=[10, 11])
        for outcome in refused:
            assert_is_clear(outcome, folder)
        assert host.tell("call", uid=20) == {"uid": 20}, "calls are served"
        host.tell("let_go")
        assert [reply["uid"] for reply in host.tell("wait", uids=[1, 2, 3])] == [1, 2, 3], "work goes on"
        assert host.tell("wait", uids=[4])[0]["error"] == "HandlerError"
        assert len(host.tell("letters")) == 1, "the dead letter is known, though it is nowhere but in memory"

        clear()
        assert not errors(host.tell("submit", uids=[12, 13])), "there is room again"
        assert [reply["uid"] for reply in host.tell("wait", uids=[12, 13])] == [12, 13]
        runs = host.tell("runs")
        assert 10 not in runs and 11 not in runs
        assert host.stop() == 0, host.log
        letters = (folder / DATA / "kernel_dlq.jsonl").read_bytes().splitlines()
        assert len(letters) == 1, "the dead letter is on disk once there is room"
        assert "Traceback" not in host.log


class TestADiskWithoutRoom(FullDisk):
    def test_refuses_new_actions_and_no_others(self, folder: Path, backend: str) -> None:
        """Files that may not grow: submit says so, all else goes on, and room is enough to have actions taken again."""
        with told_host(folder, hold=True, backend=backend) as host:
            self.check(folder, host, lambda: host.limit_files(1), lambda: host.limit_files(-1))
        assert started_again(folder, [], settle=0.1) == [], "what was done without room is not done again"

    @pytest.mark.parametrize("durability", ["process", "power"])
    def test_refuses_what_fits_by_half(self, folder: Path, durability: str) -> None:
        """A record that is cut short is taken back: it neither runs later nor spoils the one that comes after it."""
        with told_host(folder, hold=True, durability=durability) as host:
            assert not errors(host.tell("submit", uids=[1], kind="held"))
            for more in (1, 40, 150):
                host.limit_files(max(file.stat().st_size for file in journal_files(folder)) + more)
                assert_is_clear(host.tell("submit", uids=[10 + more], ballast=2000)[0], folder)
                host.limit_files(-1)
                assert not errors(host.tell("submit", uids=[more], kind="held"))
            host.kill()
        assert started_again(folder, [1, 40, 150]) == [1, 1, 40, 150]

    def test_keeps_no_host_from_what_it_accepted_before(self, folder: Path) -> None:
        """A start without room goes on, or says why not; with room, all is there."""
        with told_host(folder, hold=True) as host:
            assert not errors(host.tell("submit", uids=HELD, kind="held"))
            host.kill()
        limited = ["sh", "-c", 'ulimit -f 0 && exec "$@"', "limited"]
        with told_host(folder, *limited) as host:
            if host.said != "hosting":
                assert host.said["error"] == "DataFileError"
                assert str(folder / DATA) in host.said["text"]
        assert set(started_again(folder, [], settle=0.2)) | set(HELD) == set(HELD)

    def test_of_its_own(self, folder: Path) -> None:
        """A file system that is full to the last byte, where one can be mounted."""
        mount = f'mount -t tmpfs -o size=256k none {folder} && exec "$@"'
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "inside"]
        if subprocess.run(
            [*inside[:-2], mount.replace('exec "$@"', "true")], capture_output=True, check=False
        ).returncode:
            pytest.skip("no file system can be mounted here")
        with told_host(folder, *inside, hold=True) as host:
            seen_from_here = Path(f"/proc/{host.process.pid}/root/{folder}")
            self.check_seen(folder, seen_from_here, host)

    def check_seen(self, folder: Path, seen: Path, host: ToldHost) -> None:
        assert not errors(host.tell("submit", uids=[1, 2, 3], kind="held"))
        assert host.tell("fill") > 0
        refused = host.tell("submit", uids=[10], ballast=5000)
        assert_is_clear(refused[0], folder)
        assert host.tell("call", uid=20) == {"uid": 20}
        host.tell("clear")
        assert not errors(host.tell("submit", uids=[12], kind="held"))
        host.tell("let_go")
        assert [reply["uid"] for reply in host.tell("wait", uids=[1, 2, 3, 12])] == [1, 2, 3, 12]
        assert host.stop() == 0, host.log


class TestAJournalThatIsTakenAway:
    """It is deleted, or something else stands in its place, while a host runs."""

    def test_deleted_is_written_anew_with_all_that_is_open(self, folder: Path, backend: str) -> None:
        """Once a record was written the event loop's next turn finds it gone; a death after that loses nothing."""
        with told_host(folder, hold=True, backend=backend) as host:
            assert not errors(host.tell("submit", uids=HELD, kind="held"))
            for file in journal_files(folder):
                file.unlink()
            assert not errors(host.tell("submit", uids=[50], kind="held"))
            host.tell("statistics")  # one turn of the event loop at least
            host.kill()
        assert set(started_again(folder, [*HELD, 50], backend)) == {*HELD, 50}

    def test_with_a_folder_in_its_place_it_refuses_or_keeps(self, folder: Path, backend: str) -> None:
        """Submit says what is in the way, or finds another way; what it accepted survives either."""
        with told_host(folder, hold=True, backend=backend) as host:
            assert not errors(host.tell("submit", uids=HELD, kind="held"))
            for file in journal_files(folder):
                file.unlink()
                file.mkdir()
            (outcome,) = host.tell("submit", uids=[50], kind="held")
            if isinstance(outcome, dict):
                assert_is_clear(outcome, folder)
            assert host.tell("call", uid=20) == {"uid": 20}
            for file in (folder / DATA).glob("kernel_journal*"):
                if file.is_dir():
                    file.rmdir()
            assert not errors(host.tell("submit", uids=[51], kind="held"))
            host.kill()
        accepted = {*HELD, 51} | (set() if isinstance(outcome, dict) else {50})
        assert set(started_again(folder, sorted(accepted), backend)) == accepted

    def test_a_data_directory_that_is_deleted_is_said(self, folder: Path) -> None:
        """With the whole folder gone, submit fails by name or finds it anew; calls go on."""
        with told_host(folder, hold=True) as host:
            assert not errors(host.tell("submit", uids=[1], kind="held"))
            shutil.rmtree(folder / DATA)
            (outcome,) = host.tell("submit", uids=[50], kind="held")
            if isinstance(outcome, dict):
                assert_is_clear(outcome, folder)
            assert host.tell("call", uid=20) == {"uid": 20}
            host.tell("let_go")
            assert [reply["uid"] for reply in host.tell("wait", uids=[1])] == [1]


class TestAJournalThatCannotBeWritten:
    def test_at_the_start_it_is_said_and_nothing_is_lost(self, folder: Path) -> None:
        """A file that may only be read: the start says which, or goes on without it; what it holds is done at last."""
        with told_host(folder, hold=True) as host:
            assert not errors(host.tell("submit", uids=HELD, kind="held"))
            host.kill()
        runs: list[int] = []
        with read_only(journal_files(folder)) as inside, told_host(folder, *inside) as host:
            if host.said == "hosting":
                outcomes = host.tell("submit", uids=[50])
                for outcome in errors(outcomes):
                    assert_is_clear(outcome, folder)
                assert host.tell("call", uid=20) == {"uid": 20}
                runs = host.tell("runs")
                host.kill()
            else:
                assert_is_clear(host.said, folder)
        assert set(HELD) <= {*started_again(folder, [], settle=0.3), *runs}

    def test_a_folder_in_its_place_at_the_start_is_said(self, folder: Path) -> None:
        """What cannot be read as a journal is named; it is no traceback."""
        with told_host(folder) as host:
            assert not errors(host.tell("submit", uids=[1]))
            assert host.stop() == 0
        for file in journal_files(folder):
            file.unlink()
            file.mkdir()
        with told_host(folder) as host:
            if host.said != "hosting":
                assert_is_clear(host.said, folder)
            else:
                assert not errors(host.tell("submit", uids=[2]))


@contextmanager
def read_only(files: list[Path]) -> Generator[list[str]]:
    """Make files such that nobody can write them while the block lasts; yields what a host is to run inside of."""
    if os.geteuid():
        for file in files:
            file.chmod(0o400)
        yield []
        for file in files:
            file.chmod(0o600)
        return
    # For the superuser a mode says nothing; a mount does.
    mounts = " && ".join(f"mount --bind '{file}' '{file}' && mount -o remount,bind,ro '{file}'" for file in files)
    inside = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "inside"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the superuser can write everything here")
    yield inside


# Damage


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a host left that was killed with ten actions in hand and six done; not to be changed."""
    folder = tmp_path_factory.mktemp("killed") / "project"
    folder.mkdir()
    with told_host(folder, hold=True) as host:
        assert not errors(host.tell("submit", uids=DONE))
        assert not errors(host.tell("wait", uids=DONE))
        assert not errors(host.tell("submit", uids=HELD, kind="held"))
        host.kill()
    assert started_again(copy(folder, "whole"), HELD, settle=0.05) == HELD
    return folder


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


class Damaged:
    """A copy of what the killed host left, with its journal changed."""

    def __init__(self, killed: Path, name: str) -> None:
        self.folder = copy(killed, name)
        self.file = max(journal_files(self.folder), key=lambda file: file.stat().st_size)
        self.before = self.file.read_bytes()

    def intact(self, after: bytes) -> list[int]:
        """Which held actions were accepted by a line that is still there, byte for byte."""
        lines = set(after.split(b"\n"))
        return [
            uid
            for uid in HELD
            for line in self.before.split(b"\n")
            if f'"uid":{uid},'.encode() in line and line in lines
        ]

    def becomes(self, after: bytes, caplog: pytest.LogCaptureFixture, what: str) -> None:
        """Put other bytes in the journal's place and see what a host makes of them."""
        self.file.write_bytes(after)
        intact = self.intact(after)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            runs = started_again(self.folder, intact)
        assert set(intact) <= set(runs), f"{what}: not all that is whole was taken up (seed {SEED})"
        whole = set(self.before.split(b"\n"))
        strange = [line for line in after.split(b"\n") if line.strip(b"\0 \r\t") and line not in whole]
        kept = b"\n".join(file.read_bytes() for file in (self.folder / DATA).iterdir() if file.is_file())
        unkept = [line for line in strange if line not in kept]
        assert len(unkept) <= len(runs) - len(intact), (
            f"{what}: neither taken up nor kept aside: {unkept} (seed {SEED})"
        )
        if strange and len(runs) == len(intact):
            assert "journal" in caplog.text, f"{what}: nothing was said"
        shutil.rmtree(self.folder)


class TestADamagedJournal:
    def cuts(self, size: int, last: int) -> list[int]:
        draw = random.Random(SEED)
        near_the_end = range(size - last, size) if ROUNDS else draw.sample(range(size - last, size), 40)
        return [*near_the_end, *draw.sample(range(size - last), ROUNDS or 15)]

    @pytest.mark.slow
    @pytest.mark.timeout(60 + 2 * ROUNDS)
    def test_cut_off_at_any_byte_loses_what_was_cut_off_alone(
        self, killed: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each byte of the last two records, and random ones before them."""
        journal = Damaged(killed, "measured").before
        last = sum(len(line) + 1 for line in journal.splitlines()[-2:])
        for cut in self.cuts(len(journal), last):
            damaged = Damaged(killed, f"cut-{cut}")
            damaged.becomes(damaged.before[:cut], caplog, f"cut off at byte {cut}")

    @pytest.mark.slow
    @pytest.mark.timeout(60 + 2 * ROUNDS)
    def test_with_a_byte_changed_anywhere_loses_that_record_at_most(
        self, killed: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No byte of it stops the start, and the others' records count."""
        draw = random.Random(SEED)
        for number in range(ROUNDS or 40):
            damaged = Damaged(killed, f"flipped-{number}")
            after = bytearray(damaged.before)
            at = draw.randrange(len(after))
            after[at] = draw.choice([0, 0xFF, after[at] ^ 0x80, after[at] ^ 1 << draw.randrange(8)])
            damaged.becomes(bytes(after), caplog, f"byte {at} was {damaged.before[at]} and is {after[at]}")

    @pytest.mark.parametrize("size", [1, 512, 4096])
    def test_with_a_block_of_nothing_loses_what_stood_there(
        self, killed: Path, caplog: pytest.LogCaptureFixture, size: int
    ) -> None:
        """A power cut leaves blocks of NUL: at the end, or where a page was not written."""
        draw = random.Random(SEED + size)
        for number in range(4):
            damaged = Damaged(killed, f"nul-{size}-{number}")
            before = damaged.before
            at = draw.randrange(len(before)) if number else len(before)
            damaged.becomes(before[:at] + bytes(size) + before[at + size :], caplog, f"{size} NUL at {at}")

    def test_with_alien_lines_keeps_them_aside(self, killed: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Text of another program, JSON of another shape, halves of characters: none is in the way of a record."""
        aliens = [
            b"-- not of this world --",
            b"{}",
            b"[]",
            b"null",
            b'{"op":"accepted"}',
            b'{"op":"something else","trace_id":"x"}',
            b'{"op":"accepted","trace_id":7}',
            b"\xff\xfe\xc3",
            b'{"op":"finished","trace_id":"never heard of"',
            b"[" * 100_000,
            b'{"op":"attempted","trace_id":"x","attempts":-1e400}',
            b"x" * 1_000_000,
        ]
        for number, alien in enumerate(aliens):
            damaged = Damaged(killed, f"alien-{number}")
            lines = damaged.before.splitlines()
            lines.insert(len(lines) // 2, alien)
            damaged.becomes(b"\n".join(lines) + b"\n", caplog, f"alien {alien[:60]!r}")

    def test_with_its_lines_in_another_order_loses_none(self, killed: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever was accepted is taken up, whichever line comes first."""
        draw = random.Random(SEED)
        for number in range(5):
            damaged = Damaged(killed, f"order-{number}")
            lines = damaged.before.splitlines()
            one, other = sorted(draw.sample(range(len(lines)), 2))
            lines[one], lines[other] = lines[other], lines[one]
            damaged.becomes(b"\n".join(lines) + b"\n", caplog, f"lines {one} and {other} swapped")

    def test_doubled_does_nothing_twice(self, killed: Path) -> None:
        """A line that stands there twice is one action."""
        damaged = Damaged(killed, "doubled")
        damaged.file.write_bytes(b"".join(line + b"\n" + line + b"\n" for line in damaged.before.splitlines()))
        assert started_again(damaged.folder, HELD, settle=0.05) == HELD

    def test_is_no_worse_the_second_time(self, killed: Path) -> None:
        """A host that dies over a damaged journal leaves the next one all that it found."""
        damaged = Damaged(killed, "twice")
        damaged.file.write_bytes(damaged.before[:-7] + b"\0" * 300)
        with told_host(damaged.folder, hold=True) as host:
            host.kill()
        assert set(started_again(damaged.folder, HELD[:-1])) >= set(HELD[:-1])
