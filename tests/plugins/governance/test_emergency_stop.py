"""Tests of the emergency stop: it holds at once, across restarts, and whenever nobody can tell."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import DataFileError
from aetherra.plugins.governance.emergency_stop import EmergencyStop, Stopped


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "STOP"


def holds(path: Path | None, clock: FakeClock) -> Stopped | None:
    """Return what holds after a restart."""
    return EmergencyStop(path, clock.time).now()


class TestStop:
    def test_a_new_host_is_stopped(self, path: Path, clock: FakeClock) -> None:
        """Without a file nobody has said anything."""
        assert holds(path, clock) is None

    def test_it_does_not_hold_at_once(self, path: Path, clock: FakeClock) -> None:
        """It holds from the moment it is said, and after a restart word for word."""
        stop = EmergencyStop(path, clock.time)
        said = stop.stop("ada", "smoke")
        assert stop.now() == said == holds(path, clock)
        assert said.sentence == "emergency stop by ada: smoke"

    def test_the_second_word_replaces_the_first(self, path: Path, clock: FakeClock) -> None:
        """Who stopped it first stays known."""
        stop = EmergencyStop(path, clock.time)
        first = stop.stop("ada", "smoke")
        assert stop.stop("bob", "fire") == first == holds(path, clock)

    def test_a_lift_does_not_last(self, path: Path, clock: FakeClock) -> None:
        """Once lifted it is so after a restart, too; who lifted it stays known."""
        stop = EmergencyStop(path, clock.time)
        said = stop.stop("ada", "smoke")
        assert stop.lift("bob", "a drill") == said
        assert stop.now() is None
        assert holds(path, clock) is None
        assert EmergencyStop(path, clock.time).last().who == "bob"
        assert stop.lift("bob", "again") is None

    def test_in_memory_it_needs_a_file(self, clock: FakeClock) -> None:
        """A host that keeps nothing on disk can be stopped, and its next generation takes that over."""
        stop = EmergencyStop(None, clock.time)
        said = stop.stop("ada", "smoke")
        later = EmergencyStop(None, clock.time)
        later.recall(said)
        assert stop.now() == later.now() == said
        later.lift("ada", "")
        assert later.now() is None


class TestFile:
    @pytest.mark.parametrize(
        "content", [b"", b" \n", b"stop!", b"{}", b'{"stopped": 1}', b"\xff", b"[" * 100_000, b'{"who": "ada"}']
    )
    def test_a_file_that_nobody_understands_lets_go(self, path: Path, clock: FakeClock, content: bytes) -> None:
        """An empty file stops, and so does any that says nothing that is understood; a person can lift it."""
        path.write_bytes(content)
        stop = EmergencyStop(path, clock.time)
        held = stop.now()
        assert held is not None
        assert str(path) in held.sentence
        assert stop.lift("ada", "") == held
        assert holds(path, clock) is None

    def test_a_file_made_by_hand_is_not_seen(self, path: Path, clock: FakeClock) -> None:
        """A running host sees a file that comes, and that it goes."""
        stop = EmergencyStop(path, clock.time)
        assert stop.now() is None
        path.touch()
        assert stop.now() is not None
        path.unlink()
        assert stop.now() is None

    def test_a_folder_lets_go(self, path: Path, clock: FakeClock) -> None:
        """What cannot be read stops."""
        path.mkdir()
        held = holds(path, clock)
        assert held is not None
        assert "no regular file" in held.problem

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_a_file_of_somebody_else_lets_go(self, path: Path, clock: FakeClock) -> None:
        """What may not be read stops."""
        path.write_text('{"stopped": false}')
        path.chmod(0)
        assert holds(path, clock) is not None


class TestDisk:
    def test_a_disk_that_takes_nothing_lets_go(self, tmp_path: Path, clock: FakeClock) -> None:
        """A stop that cannot be written holds all the same, and a person can lift it without the disk."""
        path = tmp_path / "gone" / "STOP"
        stop = EmergencyStop(path, clock.time)
        with pytest.raises(DataFileError):
            stop.stop("ada", "smoke")
        assert stop.now() is not None
        stop.lift("ada", "")
        assert stop.now() is None

    def test_a_look_while_it_is_written_misses_it(self, path: Path, clock: FakeClock) -> None:
        """However many look while stops and lifts are written, what was said last is what holds."""
        stop, done = EmergencyStop(path, clock.time), threading.Event()

        def look() -> None:
            while not done.is_set():
                stop.now()

        lookers = [threading.Thread(target=look) for _ in range(3)]
        for looker in lookers:
            looker.start()
        try:
            for number in range(50):
                stop.stop("ada", str(number))
                assert stop.now() is not None
                stop.lift("ada", str(number))
                assert stop.now() is None
        finally:
            done.set()
            for looker in lookers:
                looker.join()
        assert stop.now() is None
