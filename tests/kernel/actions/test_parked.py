"""Parked letters: put aside and put back as they were, in one place each, whatever dies in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel import ActionPriority, DataFileError, DeadLetter, DlqConfig, RetryPolicy
from aetherra.kernel.actions import parked as module
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.letter import write_letter
from aetherra.kernel.actions.letter_files import LetterFiles


def letter(name: str, **fields: Any) -> DeadLetter:
    base = DeadLetter(1.0, "failed", name, "parked.water", {"zone": "é"}, ActionPriority.LOW, 3, 30.0, RetryPolicy())
    return msgspec.structs.replace(base, **fields)


def names(letters: list[DeadLetter]) -> list[str]:
    return [found.trace_id for found in letters]


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel_dlq.jsonl"


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, path: Path):
    """A queue with a data directory, and one without."""
    queue = DeadLetterQueue(path if request.param == "file" else None)
    yield queue
    queue.close()


class TestParking:
    def test_a_parked_letter_is_still_among_the_others(self, queue: DeadLetterQueue) -> None:
        """It is listed, counted and found with the parked ones alone; a purge leaves it where it is."""
        for name in ("a", "b", "c"):
            queue.add(letter(name, reason="timeout" if name == "b" else "failed"))

        assert queue.park(reason="timeout") == 1
        assert names(queue.items()) == ["c", "a"]
        assert names(queue.items(parked=True)) == ["b"]
        assert queue.find("b", parked=True).reason == "timeout"
        with pytest.raises(LookupError, match="'b'"):
            queue.find("b")
        assert (queue.statistics().depth, queue.statistics().parked) == (2, 1)
        assert queue.remove() == 2
        assert names(queue.items(parked=True)) == ["b"]

        assert queue.unpark() == 1
        assert names(queue.items()) == ["b"]
        assert (queue.statistics().depth, queue.statistics().parked) == (1, 0)

    def test_nothing_that_fits_is_moved_all_the_same(self, queue: DeadLetterQueue) -> None:
        """Neither there nor back; a filter that nobody knows is an error."""
        queue.add(letter("a"))
        assert queue.park(["b"]) == queue.unpark() == 0
        assert queue.park(before=1.0) == 0
        assert names(queue.items()) == ["a"]
        with pytest.raises(ValueError, match="expected a reason"):
            queue.park(reason="mood")

    def test_a_line_of_another_hand_is_written_anew(self, path: Path) -> None:
        """Blanks, an order of fields of its own and fields of a later version are in the line that comes back."""
        odd = write_letter(letter("a")).replace(b'"ts":1.0', b'"later":[1, 2] , "ts" : 1.00')
        path.write_bytes(odd + b"\n" + write_letter(letter("b")) + b"\n")
        queue = DeadLetterQueue(path)

        queue.park(["a"])
        assert lines(path.with_suffix(".parked")) == [odd]
        queue.unpark()
        assert lines(path) == [write_letter(letter("b")), odd]
        assert lines(path.with_suffix(".parked")) == []
        queue.close()

    def test_a_letter_that_waits_for_the_disk_is_not_parked(self, path: Path) -> None:
        """What another process kept from the disk is written first."""
        queue = DeadLetterQueue(path)
        other = LetterFiles(path, DlqConfig(), sync=False)
        with other.lock.held(1.0):
            assert queue.add(letter("a")) == []

        assert queue.park() == 1
        assert names(queue.items(parked=True)) == ["a"]
        assert queue.flush() == ["a"]  # whoever waits to hear that it is safe hears it
        queue.close()

    def test_the_file_grows_without_bounds(self, path: Path) -> None:
        """It holds as much as the files of the queue together; what there is no room for stays, and it is said."""
        queue = DeadLetterQueue(path, DlqConfig(max_bytes=1024, files=2))
        added = 0

        def fill() -> None:
            nonlocal added
            while added < 100:
                queue.add(letter(f"t{added}"))
                added += 1
                queue.park()

        with pytest.raises(DataFileError, match=r"has no room for 1 letters more \(2,048 bytes at most\)"):
            fill()
        assert added > 3
        assert names(queue.items()) == [f"t{added - 1}"]
        assert len(queue.items(parked=True)) == queue.statistics().parked == added - 1
        assert path.with_suffix(".parked").stat().st_size <= 2048
        queue.close()

    def test_parked_letters_leave_by_their_age(self, path: Path) -> None:
        """However old they are: somebody has put them aside."""
        queue = DeadLetterQueue(path, DlqConfig(max_age=10.0, files=2))
        queue.add(letter("a", ts=1.0))
        queue.park()
        queue.add(letter("b", ts=1000.0))
        queue.close()

        again = DeadLetterQueue(path, DlqConfig(max_age=10.0, files=2), now=lambda: 5000.0)
        assert names(again.items()) == []
        assert names(again.items(parked=True)) == ["a"]
        again.close()

    def test_another_process_is_not_seen_to_park(self, path: Path) -> None:
        """What somebody else moved counts from the next reading on."""
        queue, other = DeadLetterQueue(path), DeadLetterQueue(path)
        queue.add(letter("a"))
        other.park()

        assert names(queue.items(parked=True)) == ["a"]
        assert queue.items() == []
        assert (queue.statistics().depth, queue.statistics().parked) == (0, 1)
        queue.close()
        other.close()

    def test_memory_holds_more_than_it_may(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a disk the oldest parked letters go first, and are counted."""
        monkeypatch.setattr("aetherra.kernel.actions.dlq.IN_MEMORY", 2)
        queue = DeadLetterQueue(None)
        for name in ("a", "b", "c"):
            queue.add(letter(name))
            queue.park()
        assert names(queue.items(parked=True)) == ["c", "b"]
        assert (queue.statistics().dropped, queue.statistics().parked) == (1, 2)

    def test_what_leaves_for_good_leaves_a_parked_copy(self, queue: DeadLetterQueue) -> None:
        """Whoever says so removes letters wherever they are, and counts them."""
        for name in ("a", "b", "c", "d"):
            queue.add(letter(name))
        queue.park(["a", "b"])

        assert queue.remove(["a", "c"], also_parked=True) == 2
        assert (names(queue.items()), names(queue.items(parked=True))) == (["d"], ["b"])
        assert (queue.statistics().depth, queue.statistics().parked) == (1, 1)

    @pytest.mark.parametrize("what", ["park", "unpark"])
    def test_a_purge_beside_it_loses_letters_of_a_queue_without_a_disk(self, what: str) -> None:
        """Whoever waits for its end moves letters to where they are found, and brings none back."""
        queue = DeadLetterQueue(None)
        for name in ("a", "b", "c"):
            queue.add(letter(name))
        queue.park(["a"])
        queue._guard = Overtaken(lambda: queue.remove(["b"]))

        assert getattr(queue, what)() == 1
        assert names(queue.items()) == ([] if what == "park" else ["a", "c"])
        assert names(queue.items(parked=True)) == (["c", "a"] if what == "park" else [])


class Overtaken:
    """A lock that somebody else gets first, once."""

    def __init__(self, other: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._others = [other]

    def __enter__(self) -> None:
        while self._others:
            self._others.pop()()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Died(BaseException):
    """The process ends here."""


class TestDeath:
    """A process dies between the two files: once with the new line written, and the old one not yet deleted."""

    @staticmethod
    def die(path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        """Have a process die while it moves letters; nothing that runs at the end of one does so."""
        queue = DeadLetterQueue(path)
        with monkeypatch.context() as patch:
            patch.setattr(module.ParkedLetters, "settle", lambda _: None)
            patch.setattr("aetherra.kernel.actions.letter_file.replace", lambda *_: (_ for _ in ()).throw(Died))
            with pytest.raises(Died):
                getattr(queue, what)()
        queue._files.lock.close()

    @pytest.mark.parametrize("what", ["park", "unpark"])
    def test_a_letter_in_two_files_is_counted_twice(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        """Whoever reads sees it once, in the queue, and changes nothing; the next start has it there once."""
        first = DeadLetterQueue(path)
        for name in ("a", "b", "c"):
            first.add(letter(name))
        first.park(["c"] if what == "park" else None)
        first.close()
        kept = ["a", "b"] if what == "park" else ["a", "b", "c"]
        parked = ["c"] if what == "park" else []
        self.die(path, monkeypatch, what)
        assert len(lines(path)) + len(lines(path.with_suffix(".parked"))) == 3 + len(kept)

        reader = DeadLetterQueue(path, tidy=False)
        assert sorted(names(reader.items())) == kept
        assert names(reader.items(parked=True)) == parked
        assert (reader.statistics().depth, reader.statistics().parked) == (len(kept), len(parked))
        assert len(lines(path)) + len(lines(path.with_suffix(".parked"))) == 3 + len(kept)
        reader.close()

        host = DeadLetterQueue(path)
        assert (host.statistics().depth, host.statistics().parked) == (len(kept), len(parked))
        assert len(lines(path)) + len(lines(path.with_suffix(".parked"))) == 3
        assert not path.with_suffix(".moving").exists()
        host.close()

    @pytest.mark.parametrize("step", ["park", "unpark", "remove"])
    def test_a_running_host_trips_over_it(self, path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        """Whoever moves or deletes letters next puts it right first, so that a purged letter does not come back."""
        host = DeadLetterQueue(path)
        host.add(letter("a"))
        self.die(path, monkeypatch, "park")

        assert getattr(host, step)(["a"]) == (0 if step == "unpark" else 1)
        there = lines(path) + lines(path.with_suffix(".parked"))
        assert len(there) == (0 if step == "remove" else 1)
        host.close()

    @pytest.mark.parametrize("what", ["park", "unpark"])
    def test_a_disk_that_takes_no_more_has_it_twice(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        """An error leaves each letter in one place, at once."""
        queue = DeadLetterQueue(path)
        queue.add(letter("a"))
        queue.add(letter("b"))
        if what == "unpark":
            queue.park()

        def full(*_: Any) -> None:
            monkeypatch.undo()
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("aetherra.kernel.actions.letter_file.replace", full)
        with pytest.raises(DataFileError, match="No space left"):
            getattr(queue, what)()
        assert len(lines(path)) + len(lines(path.with_suffix(".parked"))) == 2
        assert queue.statistics().depth + queue.statistics().parked == 2
        assert sorted(names(queue.items()) + names(queue.items(parked=True))) == ["a", "b"]
        queue.close()


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "park", "unpark", "take", "purge", "restart", "other"]),
        st.integers(0, 3),
        st.integers(0, 7),
    ),
    max_size=40,
)


class TestAnySequence:
    @settings(max_examples=150, deadline=None)
    @given(todo=steps, on_disk=st.booleans())
    def test_a_letter_is_lost_doubled_or_changed(self, todo: list[tuple[str, int, int]], on_disk: bool) -> None:
        """Bury, park, unpark, redrive and purge: each letter is in one place, byte for byte.

        By ``type`` of the letter or its id; "take" is what a redrive does once its action was accepted; "other" is a
        process beside.
        """
        with TemporaryDirectory() as folder:
            path = Path(folder) / "kernel_dlq.jsonl"
            limits = DlqConfig(max_bytes=2048, files=1000)
            queue = DeadLetterQueue(path if on_disk else None, limits)
            here: dict[str, bytes] = {}
            aside: dict[str, bytes] = {}
            for number, (step, kind, which) in enumerate(todo):
                action_type = f"parked.t{kind}"
                by: dict[str, Any] = {"action_type": action_type} if which < 6 else {}
                if step == "add":
                    made = letter(
                        f"n{number}", action_type=action_type, params={"x": "y" * 100 * which}, ts=number * 1.0
                    )
                    queue.add(made)
                    here[made.trace_id] = write_letter(made)
                elif step in ("park", "unpark"):
                    source, target = (here, aside) if step == "park" else (aside, here)
                    going = [name for name in source if not by or action_type.encode() in source[name]]
                    assert getattr(queue, step)(**by) == len(going)
                    target.update({name: source.pop(name) for name in going})
                elif step == "take" and here:
                    name = list(here)[which % len(here)]
                    assert queue.remove([name]) == 1
                    del here[name]
                elif step == "purge":
                    going = [name for name in here if not by or action_type.encode() in here[name]]
                    assert queue.remove(**by) == len(going)
                    for name in going:
                        del here[name]
                elif on_disk and step == "restart":
                    queue.close()
                    queue = DeadLetterQueue(path, limits)
                elif on_disk and step == "other":
                    other = DeadLetterQueue(path, limits, tidy=False)
                    assert other.park(**by) == len([n for n in here if not by or action_type.encode() in here[n]])
                    going = [name for name in here if not by or action_type.encode() in here[name]]
                    aside.update({name: here.pop(name) for name in going})
                    other.close()
                assert {a.trace_id: write_letter(a) for a in queue.items(limit=1000)} == here
                assert {a.trace_id: write_letter(a) for a in queue.items(limit=1000, parked=True)} == aside
                assert (queue.statistics().depth, queue.statistics().parked) == (len(here), len(aside))
                if on_disk:
                    files = [line for file in Path(folder).glob("kernel_dlq*.jsonl") for line in lines(file)]
                    assert sorted(files) == sorted(here.values())
                    assert sorted(lines(path.with_suffix(".parked"))) == sorted(aside.values())
            queue.close()
