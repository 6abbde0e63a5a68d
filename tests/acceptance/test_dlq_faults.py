"""The dead letter queue where it hurts: processes side by side, deaths, torn and damaged files, full and lost disks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from aetherra.kernel import (
    ActionPriority,
    Config,
    DataFileError,
    DeadLetter,
    Kernel,
    Plugin,
    Reject,
    RetryPolicy,
    handler,
    hookimpl,
)
from aetherra.kernel.actions.dlq import FILE_NAME, DeadLetterQueue
from aetherra.kernel.actions.letter import write_letter
from aetherra.registry import HandlerError, Message, Request

WORKERS = Path(__file__).with_name("dlq_workers.py")


def letter(name: str) -> DeadLetter:
    return DeadLetter(1.0, "failed", name, "faults.water", {}, ActionPriority.LOW, 1, 1.0, RetryPolicy())


def names(path: Path) -> list[str]:
    queue = DeadLetterQueue(path, tidy=False)
    found = [one.trace_id for one in queue.items(limit=100_000)]
    queue.close()
    return found


@contextmanager
def worker(*arguments: str | Path) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, str(WORKERS), *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], stdin: str | None = None) -> dict[str, list[str]]:
    """What a worker told, by what it told of."""
    out, err = process.communicate(stdin, timeout=50)
    assert process.returncode == 0, err
    told: dict[str, list[str]] = {}
    for line in out.splitlines():
        what, _, name = line.partition(" ")
        told.setdefault(what, []).append(name)
    return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


class TestProcesses:
    def test_that_work_side_by_side_lose_and_double_nothing(self, path: Path) -> None:
        """Two add, two remove, one purges and one reads, hundreds of times each, over files that rotate meanwhile."""
        with (
            worker("add", path, "a", "300") as one,
            worker("add", path, "b", "300") as other,
            worker("remove", path, "1", "40") as remover,
            worker("remove", path, "2", "40") as rival,
            worker("purge", path, "60") as purger,
            worker("read", path) as reader,
        ):
            added = Counter(ended(one)["safe"] + ended(other)["safe"])
            gone = Counter([*ended(remover).get("gone", []), *ended(rival).get("gone", [])])
            purged = ended(purger)["purged"]
            seen = ended(reader, "s")

        assert added == Counter(f"{prefix}{i}" for prefix in "ab" for i in range(300))
        assert len(gone) > 50
        by_others = Counter(name for name in gone if name.startswith("purged"))
        assert Counter(names(path)) == added - gone
        assert gone - by_others <= added
        assert len(purged) + by_others.total() == 60
        assert list(seen) == ["rounds"]
        assert int(seen["rounds"][0]) > 10

    def test_that_are_killed_at_any_moment_lose_and_double_nothing(self, path: Path) -> None:
        """150 deaths amid appends, rotations and rewrites: what was said to be safe is there, once."""
        with worker("kill", path, "150", "7") as killer:
            out, err = killer.communicate(timeout=50)
        assert killer.returncode == 0, err
        told = json.loads(out)
        assert told["steps"] > 500
        assert told["left"] > 0
        queue = DeadLetterQueue(path)
        assert [file.name for file in path.parent.iterdir() if file.suffix == ".new"] == []
        queue.close()


class TestDamage:
    def test_a_file_cut_at_any_byte_gives_what_is_whole(self, path: Path) -> None:
        """The torn rest is kept aside, and the next letter stands on a line of its own."""
        lines = [write_letter(letter(name)) for name in ("t0", "t1")]
        whole = b"".join(line + b"\n" for line in lines)
        aside = path.with_suffix(".unreadable")
        for cut in range(len(whole) + 1):
            path.write_bytes(whole[:cut])
            aside.unlink(missing_ok=True)
            left = [f"t{i}" for i in range(2) if cut >= (i + 1) * len(lines[0]) + i]
            assert names(path) == left[::-1]
            tidy = cut % 2 == 0
            queue = DeadLetterQueue(path, tidy=tidy)
            assert queue.add(letter("t2")) == ["t2"]
            assert [one.trace_id for one in queue.items()] == ["t2", *left[::-1]]
            torn = whole[:cut].split(b"\n")[-1]
            if torn and torn not in lines:
                kept = aside.read_bytes() if tidy else path.read_bytes()
                assert torn in kept.split(b"\n")
                assert queue.statistics().unreadable == 1
            queue.close()

    def test_a_file_damaged_at_any_byte_costs_no_other_letter(self, path: Path) -> None:
        """It costs the letter that was hit, or two where it was the end of a line; the damaged bytes stay."""
        lines = [write_letter(letter(name)) for name in ("t0", "t1", "t2")]
        whole = b"".join(line + b"\n" for line in lines)
        for hit in range(len(lines[0]), 2 * len(lines[0]) + 2):
            damaged = whole[:hit] + b"\xff" + whole[hit + 1 :]
            path.write_bytes(damaged)
            spared = {f"t{i}" for i, line in enumerate(lines) if line in damaged.split(b"\n")}
            found = names(path)
            assert spared <= set(found)
            assert len(found) == len(set(found)) <= 3

        queue = DeadLetterQueue(path)
        assert path.with_suffix(".unreadable").read_bytes().count(b"\xff") == 1
        queue.close()


class TestDisk:
    def test_that_is_full_keeps_letters_waiting_and_nobody_from_making_room(self, path: Path) -> None:
        """A limit of the system's in place of the disk's end: half a line is taken back, and all is written later."""
        with worker("limited", path) as limited:
            ended(limited)
        assert names(path) == ["t3", "t2", "t1"]

    def test_that_is_really_full_or_read_only_is_told_and_outlived(self, tmp_path: Path) -> None:
        """A small disk of its own, filled, emptied, made read-only and writable again, under one queue."""
        probe = ["unshare", "--user", "--map-root-user", "--mount"]
        if (
            shutil.which("unshare") is None
            or subprocess.run([*probe, "true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("this system lets nobody mount a disk of their own")
        command = [*probe, sys.executable, str(WORKERS), "mounted", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
        assert done.returncode == 0, done.stderr
        assert "No space left on device" in done.stderr or "is the disk full?" in done.stderr, done.stderr
        assert done.stderr.count("wait in memory until the disk takes them") == 2, done.stderr
        assert "Read-only file system" in done.stderr
        assert done.stderr.count("the dead letters that waited in memory are on disk") == 2, done.stderr


class Watered(Message, tag="faults.watered"):
    pass


class Water(Request[Watered], tag="faults.water"):
    well: bool = False


class Garden(Plugin):
    @handler
    async def water(self, request: Water) -> Watered:
        if not request.well:
            raise Reject("dry")
        return Watered()


def block(path: Path) -> None:
    """Put a folder in the file's place, which stops a superuser as well."""
    path.mkdir()


def unblock(path: Path) -> None:
    path.rmdir()


def delete(path: Path) -> None:
    path.unlink()
    path.with_suffix(".lock").unlink()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    document = {"kernel": {"discover": False, "data_dir": ".", "control_socket": False}}
    return Config.parse(document, root=tmp_path)


async def bury(kernel: Kernel) -> str:
    """Have an action die and return its trace id."""
    handle = await kernel.submit(Water())
    with pytest.raises(HandlerError):
        await handle.wait()
    return handle.trace_id


class TestHost:
    async def test_without_its_file_serves_on(
        self, config: Config, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It starts, answers and tells; letters wait in memory and go to the file once there can be one."""
        block(path)
        async with Kernel(config) as kernel:
            await kernel.add_plugin(Garden)
            first = await bury(kernel)
            assert await kernel.call(Water(well=True)) == Watered()
            assert kernel.statistics().actions.dlq.unwritten == 1
            assert f"{path}: cannot write: Is a directory" in caplog.text
            with pytest.raises(DataFileError, match=f"{path}: cannot read: Is a directory"):
                await kernel.get_dlq_items()
            with pytest.raises(DataFileError, match="Is a directory"):
                await kernel.purge()
            unblock(path)
            second = await bury(kernel)
            assert [one.trace_id for one in await kernel.get_dlq_items()] == [second, first]
            assert kernel.statistics().actions.dlq.unwritten == 0
        assert names(path) == [second, first]

    async def test_whose_file_is_deleted_begins_another(self, config: Config, path: Path) -> None:
        """What was deleted is gone; what comes is kept, and counted."""
        async with Kernel(config) as kernel:
            await kernel.add_plugin(Garden)
            await bury(kernel)
            delete(path)
            second = await bury(kernel)
            assert [one.trace_id for one in await kernel.get_dlq_items()] == [second]
            assert kernel.statistics().actions.dlq.depth == 1
            assert await kernel.purge() == 1
        assert names(path) == []

    async def test_that_stops_before_a_letter_could_be_written_loses_no_action(
        self, config: Config, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The journal has it until its letter is safe: the next start takes it up and buries it properly."""
        buried = anyio.Event()

        class Witness(Plugin):
            @hookimpl
            def dead_letter(self) -> None:
                buried.set()

        block(path)
        async with Kernel(config) as kernel:
            await kernel.add_plugin(Garden)
            dead = await bury(kernel)
            assert kernel.statistics().actions.dlq.unwritten == 1
        assert "a dead letter is lost" in caplog.text
        unblock(path)
        async with Kernel(config) as kernel:
            await kernel.add_plugin(Witness)
            await kernel.add_plugin(Garden)
            with anyio.fail_after(20):
                await buried.wait()
            assert [one.trace_id for one in await kernel.get_dlq_items()] == [dead]
        assert names(path) == [dead]
