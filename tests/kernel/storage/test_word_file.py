"""Tests of a word in a file: it holds from when it is said, whenever nobody can tell, and until it is unsaid."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.stopped import Stopped, stop_file
from aetherra.kernel.storage import WordFile
from tests.plugins.governance.conftest import room_for

FREE = Stopped(stopped=False, who="bob")


def stop(who: str) -> Stopped:
    return Stopped(stopped=True, who=who)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "STOP"


class Gated:
    """Holds a writer up, so that something can be done meanwhile."""

    def __init__(self, file: WordFile[Stopped], step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.came, self.go = threading.Event(), threading.Event()
        write = getattr(file, step)

        def held_up(word: Stopped) -> None:
            self.came.set()
            assert self.go.wait(20)
            write(word)

        monkeypatch.setattr(file, step, held_up)


class TestSaying:
    def test_it_counts_once_it_is_written(self, path: Path) -> None:
        """A word counts from when it is said, and is on disk once it is written."""
        file = stop_file(path)
        file.say(stop("ada"))
        assert file.last() == file.fleeting() == stop("ada")
        assert not path.exists()
        file.write()
        assert (file.fleeting(), stop_file(path).last()) == (None, stop("ada"))

    def test_a_word_said_while_one_is_unsaid_is_lost(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody says while the word before is being unsaid holds, at once and on disk."""
        file = stop_file(path)
        file.say(stop("ada"))
        file.write()
        gate = Gated(file, "_remove", monkeypatch)
        lifter = threading.Thread(target=file.unsay, args=(FREE,))
        lifter.start()
        assert gate.came.wait(20)
        file.say(stop("eve"))
        assert file.last() == stop("eve")
        gate.go.set()
        lifter.join()
        assert file.last() == stop("eve")
        file.write()
        assert stop_file(path).last() == stop("eve")

    def test_saying_waits_for_who_writes(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A word counts while another one is being written, however long the disk takes."""
        file = stop_file(path)
        file.say(stop("ada"))
        gate = Gated(file, "_replace", monkeypatch)
        writer = threading.Thread(target=file.write)
        writer.start()
        assert gate.came.wait(20)
        file.say(stop("eve"), instead=True)
        assert file.last() == stop("eve")
        gate.go.set()
        writer.join()
        assert file.fleeting() == stop("eve")

    def test_two_that_write_trip_each_other(self, path: Path) -> None:
        """However many say and unsay at the same time, none fails, and the file says what holds."""
        file, faults = stop_file(path), list[BaseException]()

        def both(name: str) -> None:
            try:
                for _ in range(20):
                    file.say(stop(name))
                    file.write()
                    file.unsay(FREE)
            except BaseException as exc:
                faults.append(exc)

        threads = [threading.Thread(target=both, args=(name,)) for name in ("ada", "eve", "joe")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert file.last() == stop_file(path).last()


class TestDisk:
    def test_what_no_disk_took_is_said_to_be_there(self, tmp_path: Path) -> None:
        """A word that cannot be written holds, says so, can be recalled by the next, and is written once it can be."""
        folder = tmp_path / "gone"
        file = stop_file(folder / "STOP")
        file.say(stop("ada"))
        with pytest.raises(DataFileError):
            file.write()
        assert file.last() == stop("ada")
        assert file.problem
        later = stop_file(folder / "STOP")
        fleeting = file.fleeting()
        assert fleeting is not None
        later.recall(fleeting)
        assert later.last() == stop("ada")
        folder.mkdir()
        later.write()
        assert (later.problem, stop_file(folder / "STOP").last()) == ("", stop("ada"))

    def test_a_full_disk_forgets_it(self, path: Path) -> None:
        """Where there is no room for a word there is for an empty file, which holds; to unsay it takes no room."""
        file = stop_file(path)
        with room_for(0):
            file.say(stop("ada"))
            with pytest.raises(DataFileError):
                file.write()
            assert stop_file(path).last().stopped
            assert file.unsay(FREE) == stop("ada")
        assert [each.last().stopped for each in (file, stop_file(path))] == [False, False]


class TestUnsaying:
    def test_an_empty_file_holds_once_alone(self, path: Path) -> None:
        """After any number of words that were unsaid, making an empty file holds again; who has unsaid is known."""
        for _ in range(2):
            file = stop_file(path)
            assert not file.last().stopped
            path.touch()
            assert file.last().stopped
            file.unsay(FREE)
            assert file.last() == stop_file(path).last() == FREE

    def test_what_cannot_be_removed_is_free(self, path: Path) -> None:
        """Where the file cannot be removed what holds goes on, as it would after a restart."""
        path.mkdir()
        file = stop_file(path)
        with pytest.raises(DataFileError):
            file.unsay(FREE)
        assert file.last().stopped


class TestReading:
    def test_a_link_to_nothing_is_nothing(self, path: Path) -> None:
        """A link is there, whatever it leads to."""
        path.symlink_to(path.with_name("gone"))
        assert stop_file(path).last().stopped

    def test_a_pipe_makes_whoever_looks_wait(self, path: Path) -> None:
        """What is no regular file holds, at once: nobody waits for a writer."""
        os.mkfifo(path)
        found: list[Stopped] = []
        looker = threading.Thread(target=lambda: found.append(stop_file(path).last()), daemon=True)
        looker.start()
        looker.join(20)
        assert [(word.stopped, "no regular file" in word.problem) for word in found] == [(True, True)]

    def test_a_huge_file_is_read(self, path: Path) -> None:
        """What is too long to be a word holds, and is not read to its end."""
        with path.open("wb") as file:
            file.truncate(1 << 40)
        said = stop_file(path).last()
        assert said.stopped
        assert "more than" in said.problem
