"""A ledger on disk: kills, full disks, rights and other processes; what was acknowledged is there, and nothing half."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.filelock import FileLock
from aetherra.kernel.ledger import AuditLedger, LedgerBrokenError, head
from aetherra.kernel.ledger.chain import Draft, Tip
from aetherra.kernel.ledger.disk import LOCK_NAME
from aetherra.kernel.ledger.head import HEAD_NAME, SLOT
from aetherra.kernel.ledger.keys import SECRET_NAME
from tests.kernel.ledger.conftest import SMALL, Place, add, kinds

ROUNDS = 8
"""How often a process is killed at a random moment."""

APPEND = """
import sys
from pathlib import Path
from aetherra.kernel.ledger import AuditLedger, LedgerSettings
data, heads, count, name = sys.argv[1:]
settings = LedgerSettings(head_folder=heads, segment_bytes=4096, max_bytes=3 * 4096 if name == "bounded" else 2**30)
with AuditLedger.open(Path(data), settings) as ledger:
    for number in range(int(count)):
        print(ledger.append(kind="knob", actor=name, summary=str(number)).sequence, flush=True)
"""

KILLED_AT_EACH_STEP = """
# Forks a child for each call that changes files; it is killed at that call, and the parent looks at what is left.
import json, os, shutil, signal, sys
from pathlib import Path
from aetherra.kernel.ledger import AuditLedger, LedgerSettings, adopt, head, ledger_folder, verify

os.fsync = os.fdatasync = head.FLUSH = lambda descriptor: None  # a kill takes nothing from the system's memory
root, what = Path(sys.argv[1]), sys.argv[2]
CALLS = ("write", "pwrite", "fsync", "fdatasync", "ftruncate", "open", "unlink", "rename", "replace", "mkdir")

def ledger_at(place):
    settings = LedgerSettings(head_folder=str(place / "head"), segment_bytes=4096, max_bytes=2 * 4096)
    return AuditLedger.open(place / "data", settings), settings

def work(place, told):
    ledger, settings = ledger_at(place)
    if what == "adopt":
        adopted = adopt(place / "data", settings, actor="person:me", reason="test", clock=lambda: 1.0)
        told(adopted.entry.sequence)
    for number in range(3 if what == "adopt" else 12):
        told(ledger.append(kind="knob", actor="plugin:a", summary="far " * 240).sequence)

def die_at(step):
    left = [step]
    def counted(function, half):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                if half and len(args[1]) > 1:  # a write of which only a part arrives
                    function(args[0], args[1][: len(args[1]) // 2], *args[2:])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name), half=name == "write"))
    head.FLUSH = os.fdatasync

def prepared(place):
    if what == "adopt":
        ledger, _ = ledger_at(place)
        for number in range(12):
            ledger.append(kind="knob", actor="plugin:a", summary=str(number))
        ledger.close()
        file = sorted(ledger_folder(place / "data").glob("*.jsonl"))[-1]
        file.write_bytes(file.read_bytes()[:-20])

step, outcomes = 0, []
while True:
    step += 1
    place = root / str(step)
    prepared(place)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        die_at(step)
        work(place, lambda number: os.writev(writer, [b"%d " % number]))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        told = [int(number) for number in stream.read().split()]
    status = os.waitpid(child, 0)[1]
    finished = os.WIFEXITED(status)
    if finished and os.WEXITSTATUS(status):
        sys.exit(f"failed at step {step}")
    ledger, settings = ledger_at(place)
    before = verify(ledger_folder(place / "data"), place / "head")
    if what == "adopt" and not before.ok:
        adopt(place / "data", settings, actor="person:me", reason="again", clock=lambda: 2.0)
    try:
        number = ledger.append(kind="knob", actor="plugin:a", summary="after").sequence
        there = {entry.sequence for entry in ledger.entries()}
        after = ledger.verify()
        lost = [each for each in told if after.first <= each and each not in there]
        again = number in told
        fault = ""
    except Exception as exc:
        lost, again, after, fault = [], False, ledger.verify(), repr(exc)
    ledger.close()
    outcomes.append({"step": step, "before": before.ok, "problems": [str(p) for p in before.problems], "lost": lost,
                     "again": again, "after": after.ok, "told": len(told), "fault": fault})
    shutil.rmtree(place)
    if finished:
        break
print(json.dumps(outcomes))
"""

FULL = """
import json, os, sys
from pathlib import Path
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import AuditLedger, LedgerSettings
data, heads, ballast = map(Path, sys.argv[1:])
told, refused = [], []
ledger = AuditLedger.open(data, LedgerSettings(head_folder=str(heads), segment_bytes=4096))
with open(ballast, "wb", buffering=0) as stream:
    def fill():
        try:
            while stream.write(bytes(512)):
                pass
        except OSError:
            pass
    def append():
        try:
            told.append(ledger.append(kind="knob", actor="plugin:a", summary="x" * 300).sequence)
        except DataFileError as exc:
            refused.append(str(exc))
            return False
        return True
    for _ in range(3):
        append()
    fill()
    APPEND
    whole = ledger.verify().ok
    statistics = ledger.statistics()
    stream.truncate(0)
    append()
print(json.dumps({"told": told, "refused": refused, "whole": whole, "after": ledger.verify().ok,
                  "there": [entry.sequence for entry in ledger.entries()], "problem": statistics.problem}))
"""


def run(program: str, *arguments: object, inside: list[str] | None = None) -> str:
    command = [*(inside or []), sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """Let no file grow beyond a size, as on a full disk: a write that passes it is cut short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
class TestKill:
    def test_a_kill_loses_what_was_acknowledged(self, place: Place) -> None:
        """At random moments, again and again over one ledger: it verifies, goes on, and has all that was told."""
        told: list[int] = []
        chance = random.Random(8)
        for _ in range(ROUNDS):
            command = [sys.executable, "-c", APPEND, str(place.data_dir), str(place.heads), "100000", "plugin:a"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                told += [int(process.stdout.readline()) for _ in range(chance.randint(1, 60))]
                process.send_signal(signal.SIGKILL)
                told += [int(line) for line in process.stdout.read().split("\n")[:-1]]
            assert place.verify().problems == ()
            with place.open(segment_bytes=SMALL) as ledger:
                add(ledger)
                assert set(told) <= {entry.sequence for entry in ledger.entries()}
                assert ledger.verify().remains == ()
        assert len(set(told)) == len(told)

    def test_a_kill_at_any_step_leaves_what_cannot_be_gone_on_from(self, tmp_path: Path) -> None:
        """At each call that changes files, from the making of the keys to files that leave: no problem afterwards."""
        outcomes = json.loads(run(KILLED_AT_EACH_STEP, tmp_path, "append"))

        assert len(outcomes) > 100
        for outcome in outcomes:
            assert (outcome["problems"], outcome["lost"], outcome["fault"]) == ([], [], ""), outcome
            assert (outcome["before"], outcome["after"], outcome["again"]) == (True, True, False), outcome

    def test_a_kill_in_an_adoption_leaves_what_cannot_be_adopted(self, tmp_path: Path) -> None:
        """At any step: it can be done again, and then all is in order, and no number was given twice."""
        outcomes = json.loads(run(KILLED_AT_EACH_STEP, tmp_path, "adopt"))

        assert not all(outcome["before"] for outcome in outcomes)
        for outcome in outcomes:
            assert (outcome["lost"], outcome["fault"]) == ([], ""), outcome
            assert (outcome["after"], outcome["again"]) == (True, False), outcome

    def test_what_a_kill_left_is_put_in_order_unsaid(self, place: Place) -> None:
        """An entry behind the head is kept, half a line is cut off, and an entry tells of both."""
        place.filled(3)
        slots = (place.heads / HEAD_NAME).read_bytes()
        place.filled(1)
        (place.heads / HEAD_NAME).write_bytes(slots)
        with place.files[0].open("ab") as file:
            file.write(b'{"actor":"pl')
        with place.open() as ledger:
            ledger.prepare()
            (told,) = ledger.tail(1)

        assert (told.kind, told.sequence) == ("audit.recovered", 6)
        assert told.facts == {"entries_behind_the_head": 1, "torn_line_cut_off": True}
        assert place.verify().ok


class TestFullDisk:
    def test_a_part_of_an_entry_is_left(self, place: Place) -> None:
        """Whatever room is left, down to the last byte of a line: refused, and not one byte of it is there."""
        place.filled(2)
        size = place.files[0].stat().st_size
        with place.open() as ledger:
            for room in (0, 1, 100, 300):
                with full_disk(size + room), pytest.raises(DataFileError, match="cannot write"):
                    add(ledger)
                assert place.files[0].stat().st_size == size
                assert place.verify().remains == ()
            assert "is the disk full?" in ledger.statistics().problem or "too large" in ledger.statistics().problem
            add(ledger)

            assert (ledger.statistics().problem, ledger.statistics().refused) == ("", 4)
        assert [entry.sequence for entry in place.open().entries()] == [1, 2, 3, 4]

    @pytest.mark.parametrize("full", ["data", "head"])
    def test_a_real_full_disk_is_not_survived(self, tmp_path: Path, full: str) -> None:
        """Ledger or head on a small file system of its own: refused while full, whole all the time, going on after."""
        folder = tmp_path / "mounted"
        folder.mkdir()
        mount = f"mount -t tmpfs -o size=256k none {folder} && "
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        if (
            shutil.which("unshare") is None
            or subprocess.run([*inside, f"{mount}true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("no file system can be mounted here")
        places = {"data": tmp_path, "head": tmp_path, full: folder}
        arguments = (places["data"] / "data", places["head"] / "head", folder / "ballast")
        appended = "append()" if full == "head" else "while append():\n        pass"
        program = FULL.replace("APPEND", appended)
        told = json.loads(run(program, *arguments, inside=[*inside, mount + 'exec "$@"', "inside"]))

        assert told["there"] == [1, *told["told"]]
        assert (told["whole"], told["after"]) == (True, True)
        if full == "data":
            assert all("No space left on device" in text or "is the disk full?" in text for text in told["refused"])
            assert told["refused"]
            assert told["problem"] == told["refused"][0]
        else:
            assert told["refused"] == []  # the head has its room from the beginning on

    @pytest.mark.parametrize("step", ["pwrite", "fdatasync", "fsync"])
    def test_an_entry_stays_whose_head_could_not_be_written(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        """The disk fails under the ledger or under the head: both are as they were, and the next append goes on."""
        place.filled(2)
        before = place.lines, place.head()

        def broken(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with place.open() as ledger:
            ledger.prepare()
            with monkeypatch.context() as patch:
                patch.setattr(head, "FLUSH", broken) if step == "fdatasync" else patch.setattr(os, step, broken)
                with pytest.raises(DataFileError, match="Input/output error"):
                    add(ledger)
            add(ledger)

        assert place.lines[:3] == before[0]
        assert len(place.lines) == 4
        assert place.verify().ok

    def test_a_failed_write_is_not_taken_back_later(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """If not even taking it back works, nothing is added until it does, and then the entry is not there."""
        place.filled(2)

        def broken(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with place.open() as ledger:
            ledger.prepare()
            with monkeypatch.context() as patch:
                patch.setattr(head, "FLUSH", broken)
                patch.setattr(os, "ftruncate", broken)
                with pytest.raises(DataFileError, match="Input/output error"):
                    ledger.append(kind="knob", actor="lost")
                assert len(place.lines) == 4
                with pytest.raises(DataFileError, match="cannot be taken back"):
                    add(ledger)
            add(ledger)

            assert [entry.actor for entry in ledger.tail(2)] == ["plugin:tuner", "plugin:tuner"]
        assert place.verify().ok

    def test_what_another_process_went_on_from_is_taken_back(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A line that could not be taken back, and was adopted by another process meanwhile, stays."""
        place.filled(2)

        def broken(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with place.open() as ledger, place.open() as other:
            ledger.prepare()
            with monkeypatch.context() as patch:
                patch.setattr(head, "FLUSH", broken)
                patch.setattr(os, "ftruncate", broken)
                with pytest.raises(DataFileError):
                    add(ledger)
            (place.heads / HEAD_NAME).write_bytes(_older(place))
            theirs = other.append(kind="knob", actor="plugin:other")
            add(ledger)

            assert theirs in ledger.tail()
        assert place.verify().problems == ()


def _older(place: Place) -> bytes:
    """Return the head's places without the newer head."""
    raw = (place.heads / HEAD_NAME).read_bytes()
    slots = [raw[:SLOT], raw[SLOT:]]
    newer = max(range(2), key=lambda number: json.loads(slots[number])["sequence"])
    slots[newer] = b" " * (SLOT - 1) + b"\n"
    return b"".join(slots)


class TestRights:
    @pytest.mark.parametrize("which", ["data", "head"])
    def test_a_folder_that_may_only_be_read_is_written_or_not_named(self, tmp_path: Path, which: str) -> None:
        """Ledger or head cannot be written: each append says where, and what to do; verifying works."""
        folder = tmp_path / "readonly"
        place = Place(folder).filled(2)
        locked = {"data": place.data_dir, "head": place.heads}[which]
        program = """
import sys
from pathlib import Path
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import AuditLedger, LedgerSettings
ledger = AuditLedger.open(Path(sys.argv[1]), LedgerSettings(head_folder=sys.argv[2]))
try:
    ledger.append(kind="a", actor="b")
except DataFileError as exc:
    print(exc)
print(ledger.verify().ok)
"""
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        mount = f"mount --bind {locked} {locked} && mount -o remount,bind,ro {locked} && "
        if (
            shutil.which("unshare") is None
            or subprocess.run([*inside, f"{mount}true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("nothing can be mounted here")
        before = place.lines
        told = run(program, place.data_dir, place.heads, inside=[*inside, mount + 'exec "$@"', "inside"]).splitlines()

        assert str(locked) in told[0]
        assert "Read-only file system" in told[0] or "Bad file descriptor" in told[0]
        assert (told[1], place.lines) == ("True", before)

    def test_the_files_are_for_everybody(self, place: Place) -> None:
        """Files are this user's alone, and so are folders."""
        place.filled(3)
        modes = {path.name: path.stat().st_mode & 0o777 for path in [*place.folder.iterdir(), *place.heads.iterdir()]}

        assert {mode for name, mode in modes.items() if name != "about.txt"} == {0o600}
        assert (place.folder.stat().st_mode & 0o777, place.heads.stat().st_mode & 0o777) == (0o700, 0o700)

    def test_a_key_that_others_may_read_is_used(self, place: Place) -> None:
        """It may have been copied: nothing is signed by it until a person looked."""
        place.filled(1)
        (place.heads / SECRET_NAME).chmod(0o644)
        with place.open() as ledger, pytest.raises(DataFileError, match="others may read this key"):
            add(ledger)

        assert kinds(place.verify()) == [("unreadable", 0)]

    def test_a_head_that_cannot_be_kept_has_no_remedy(self, place: Place) -> None:
        """Where the state folder cannot be made, the error names it and the setting."""
        place.root.mkdir()
        place.heads.write_text("a file in the way")
        with place.open() as ledger, pytest.raises(DataFileError, match="head_folder"):
            ledger.prepare()

        assert place.files == []


class TestProcesses:
    def test_two_processes_break_the_chain(self, place: Place) -> None:
        """Two that append at the same time, with files that begin and leave: one chain, and each number once."""
        commands = [
            [sys.executable, "-c", APPEND, str(place.data_dir), str(place.heads), "150", name]
            for name in ("one", "two")
        ]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        told = [[int(line) for line in process.communicate(timeout=60)[0].split()] for process in running]

        assert [process.returncode for process in running] == [0, 0]
        assert sorted(told[0] + told[1]) == list(range(2, 302))
        assert place.verify().entries == 301
        assert place.verify().ok

    def test_two_that_begin_at_once_make_two_ledgers(self, place: Place) -> None:
        """The second finds the first one's."""
        with place.open() as one, place.open() as two:
            threads = [threading.Thread(target=ledger.prepare) for ledger in (one, two)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert [entry.kind for entry in place.open().entries()] == ["audit.begun"]

    def test_a_holder_that_hangs_is_waited_for_without_end(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A lock that is never let go ends in an error that names it."""
        place.filled(1)
        monkeypatch.setattr("aetherra.kernel.ledger.disk.LOCK_TIMEOUT", 0.05)
        with (
            FileLock(place.folder / LOCK_NAME).held(1.0),
            place.open() as ledger,
            pytest.raises(DataFileError, match=LOCK_NAME),
        ):
            add(ledger)


class TestTampering:
    """What is found while a host runs, or when it starts: nothing is added to a ledger that is not what was written."""

    def test_a_cut_is_written_over(self, place: Place) -> None:
        """A running ledger sees that its file is shorter, and so does the next one; a person is called for."""
        place.filled(5)
        with place.open() as ledger:
            add(ledger)
            place.write(place.lines[:-1])
            for each in (ledger, place.open()):
                with pytest.raises(LedgerBrokenError, match="aetherra audit adopt"):
                    add(each)
                each.close()
            assert "it ends before entry 7" in ledger.statistics().problem
        assert len(place.lines) == 6

    @pytest.mark.parametrize("what", ["ledger", "head"])
    def test_a_deletion_begins_a_new_ledger(self, place: Place, what: str) -> None:
        """Whoever deletes the ledger or the head under a running host has it stop recording, and resets nothing."""
        place.filled(5)
        with place.open() as ledger:
            add(ledger)
            shutil.rmtree(place.data_dir if what == "ledger" else place.heads)
            with pytest.raises(LedgerBrokenError):
                add(ledger)
            with place.open() as restarted, pytest.raises(LedgerBrokenError):
                restarted.prepare()
        assert place.verify().problems[0].kind == ("deleted" if what == "ledger" else "head_missing")

    def test_a_forged_entry_is_gone_on_from(self, place: Place) -> None:
        """What somebody without the key put behind the last entry is not signed by the next."""
        place.filled(5)
        head = place.head()
        tip = Tip(ledger=head.ledger, sequence=head.sequence, entry_hash=head.hash)
        entry = tip.next_entry(Draft(kind="knob", actor="nobody"), 1.0, b"guessed")
        with place.files[0].open("ab") as file:
            file.write(entry.line + b"\n")
        with place.open() as ledger, pytest.raises(LedgerBrokenError, match="not sealed by the ledger's key"):
            add(ledger)

    def test_what_is_broken_is_read_for_each_append(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """While nothing changes it is refused at once, and looked at anew once something did."""
        place.filled(5)
        lines = place.lines
        place.write(lines[:-1])
        with place.open() as ledger:
            with pytest.raises(LedgerBrokenError):
                add(ledger)
            with monkeypatch.context() as patch:
                patch.setattr("aetherra.kernel.ledger.disk.segments_of", None)
                with pytest.raises(LedgerBrokenError):
                    add(ledger)
            place.write(lines)
            add(ledger)

        assert place.verify().ok


class TestRetention:
    def test_a_chain_that_was_shortened_cannot_be_verified(self, place: Place) -> None:
        """The oldest files leave, an entry tells how many entries went, and what is left verifies, now and later."""
        place.filled(100, segment_bytes=SMALL, max_bytes=4 * SMALL)
        found = place.verify()
        with place.open() as ledger:
            kept = list(ledger.entries())
            add(ledger)

        assert (found.ok, found.problems) == (True, ())
        assert kept[0].sequence == found.first > 1
        assert sum(file.stat().st_size for file in place.files) <= 4 * SMALL + 1000
        dropped = [entry for entry in kept if entry.kind == "audit.retained"]
        assert dropped[-1].facts["first"] == found.first
        assert dropped[-1].facts["before"] == kept[0].prev_hash
        assert place.verify().ok

    def test_old_files_stay_for_ever(self, place: Place) -> None:
        """A file leaves once its last entry is too old, though there is room."""
        bounds = {"segment_age": 100.0, "max_age": 1000.0}
        with place.open(**bounds) as ledger:
            for day in range(15):
                place.clock.set_time(1_700_000_000.0 + 100.0 * day)
                add(ledger)
            oldest = ledger.tail(100)[0]

            assert place.clock.time() - oldest.at <= 1000.0 + 100.0
            assert oldest.sequence > 1
        assert place.verify().ok

    def test_one_entry_by_a_clock_that_is_ahead_empties_the_ledger(self, place: Place) -> None:
        """What was kept stays, and all that comes once the clock is right again."""
        with place.open(segment_bytes=SMALL) as ledger:
            add(ledger, 60)
            for ahead in (10 * 365 * 86_400.0, 0.0, 30 * 365 * 86_400.0, 0.0):
                place.clock.set_time(1_700_000_000.0 + ahead)
                add(ledger, 20)

            assert [entry.sequence for entry in ledger.tail(1000)] == list(range(1, 142))
        assert place.verify().ok

    def test_a_file_that_a_kill_kept_from_leaving_stays(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is harmless while it is genuine, and gone after the next start; one that was edited is found."""
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            place.filled(60, segment_bytes=SMALL, max_bytes=4 * SMALL)
        found = place.verify()
        left = {file.name for file in place.files if int(file.stem[6:]) < found.first}
        assert (found.ok, {(each.kind, each.file) for each in found.remains}) == (
            True,
            {("dropped", name) for name in left},
        )
        assert left

        oldest = place.files[0]
        content = oldest.read_bytes()
        oldest.write_bytes(content.replace(b"number 3", b"number 4"))
        assert ("edited", 5) in kinds(place.verify())
        with place.open() as ledger, pytest.raises(LedgerBrokenError):
            ledger.prepare()
        oldest.write_bytes(content)
        with place.open() as ledger:
            ledger.prepare()

        assert place.verify().remains == ()
        assert int(place.files[0].stem[6:]) == place.verify().first

    def test_too_little_may_be_dropped(self, place: Place) -> None:
        """Who deletes one file more than the ledger itself did is found."""
        place.filled(100, segment_bytes=SMALL, max_bytes=4 * SMALL)
        first = place.verify().first
        place.files[0].unlink()

        assert kinds(place.verify()) == [("deleted", first)]


class TestThreads:
    def test_threads_that_append_at_once_are_in_each_others_way(self, place: Place) -> None:
        """Each has an entry of its own, and none is lost or written twice."""
        with place.open() as ledger:
            got: list[int] = []
            threads = [threading.Thread(target=lambda: got.append(_append(ledger))) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert sorted(got) == list(range(2, 14))
        assert place.verify().ok


def _append(ledger: AuditLedger) -> int:
    return ledger.append(kind="knob", actor="plugin:a").sequence
