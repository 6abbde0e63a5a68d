"""Tests of the freeze: it holds at once, across restarts, and whenever nobody can tell."""

from __future__ import annotations

import math
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import DataFileError
from aetherra.plugins.homeostasis.freeze import Freeze, Frozen


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "freeze.json"


def holds(path: Path | None, clock: FakeClock) -> Frozen | None:
    """Return what holds after a restart."""
    return Freeze(path, clock.time).now()


class TestFreeze:
    def test_a_new_host_is_frozen(self, path: Path, clock: FakeClock) -> None:
        """Without a file nobody has said anything."""
        assert holds(path, clock) is None

    def test_it_does_not_hold_at_once(self, path: Path, clock: FakeClock) -> None:
        """It holds from the moment it is said, with who and why."""
        freeze = Freeze(path, clock.time)
        said = freeze.freeze("ada", "the network is being moved")
        assert freeze.now() == said
        assert said.sentence == "all actuators are frozen by ada: the network is being moved"

    def test_a_restart_thaws_it(self, path: Path, clock: FakeClock) -> None:
        """It holds after a restart, word for word."""
        said = Freeze(path, clock.time).freeze("ada", "work", until=clock.time() + 60)
        assert holds(path, clock) == said

    def test_unfreeze_does_not_last(self, path: Path, clock: FakeClock) -> None:
        """Once ended it is so after a restart too; the file is gone."""
        freeze = Freeze(path, clock.time)
        said = freeze.freeze("ada", "work")
        assert freeze.unfreeze("bob", "done") == said
        assert freeze.now() is None
        assert holds(path, clock) is None
        assert not path.exists()

    async def test_it_outlasts_its_end(self, path: Path, clock: FakeClock) -> None:
        """A freeze with an end ends by itself, in this run and in the next."""
        freeze = Freeze(path, clock.time)
        freeze.freeze("ada", "work", until=clock.time() + 60)
        await clock.advance(59.9)
        assert freeze.now() is not None
        await clock.advance(0.1)
        assert freeze.now() is None
        assert holds(path, clock) is None

    @pytest.mark.parametrize("ahead", [0.0, -1.0, math.nan, math.inf])
    def test_an_end_that_is_none_is_taken(self, path: Path, clock: FakeClock, ahead: float) -> None:
        """An end that has passed, or is no time, is refused, and nothing has changed."""
        freeze = Freeze(path, clock.time)
        said = freeze.freeze("ada", "work")
        with pytest.raises(ValueError, match="expected until"):
            freeze.freeze("bob", "more", until=clock.time() + ahead)
        assert freeze.now() == said

    def test_it_needs_a_disk(self, clock: FakeClock) -> None:
        """Without a data directory it holds until the host ends."""
        freeze = Freeze(None, clock.time)
        said = freeze.freeze("ada", "work")
        assert freeze.now() == said
        assert freeze.unfreeze("ada", "done") == said
        assert freeze.now() is None


class TestProblems:
    @pytest.mark.parametrize(
        "content",
        [b"", b"\0" * 40, b'{"frozen": tr', b"[]", b"\xff\xfe", b'{"frozen": "no"}', b'{"who": "ada"}', b"null"],
    )
    def test_a_corrupt_file_frees(self, path: Path, clock: FakeClock, content: bytes) -> None:
        """A file that says nothing that is understood freezes, and says what to do."""
        path.write_bytes(content)
        held = holds(path, clock)
        assert held is not None
        assert str(path) in held.sentence
        assert "remove the file" in held.sentence

    def test_a_folder_in_its_place_frees(self, path: Path, clock: FakeClock) -> None:
        """Whatever cannot be read freezes."""
        path.mkdir()
        held = holds(path, clock)
        assert held is not None
        assert "no regular file" in held.problem

    def test_a_corrupt_file_cannot_be_mended(self, path: Path, clock: FakeClock) -> None:
        """Unfreezing puts a sound file in its place."""
        path.write_bytes(b"?")
        freeze = Freeze(path, clock.time)
        assert freeze.unfreeze("ada", "looked at it") is not None
        assert freeze.now() is None
        assert holds(path, clock) is None

    def test_a_freeze_that_cannot_be_written_does_not_hold(self, path: Path, clock: FakeClock) -> None:
        """It holds in this run, also while others look, and whoever froze is told that it will not outlive it."""
        freeze = Freeze(path, clock.time)
        beside = path.with_name(path.name + ".new")
        beside.mkdir()  # in the way of whatever is written
        with pytest.raises(DataFileError):
            freeze.freeze("ada", "work")
        assert [freeze.now() is not None for _ in range(3)] == [True] * 3
        beside.rmdir()
        freeze.unfreeze("ada", "done")
        assert freeze.now() is None


class TestByHand:
    def test_an_empty_file_is_not_noticed(self, path: Path, clock: FakeClock) -> None:
        """Whoever can only touch a file freezes a running host so, and frees it by removing the file."""
        freeze = Freeze(path, clock.time)
        assert freeze.now() is None
        path.touch()
        assert freeze.now() is not None
        path.unlink()
        assert freeze.now() is None

    def test_a_file_put_in_its_place_is_not_noticed(self, path: Path, clock: FakeClock) -> None:
        """A file by another program counts from the next look."""
        freeze = Freeze(path, clock.time)
        freeze.freeze("ada", "work")
        other = path.with_name("other")
        other.write_bytes(msgspec.json.encode(Frozen(frozen=True, who="bob", why="mine")))
        other.replace(path)
        held = freeze.now()
        assert held is not None
        assert held.who == "bob"

    def test_a_look_reads_the_file(self, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that has not changed is not read again."""
        freeze = Freeze(path, clock.time)
        freeze.freeze("ada", "work")
        freeze.now()
        mark = path.stat()
        path.write_bytes(b"x" * mark.st_size)
        os.utime(path, ns=(mark.st_atime_ns, mark.st_mtime_ns))  # as if it were the same
        held = freeze.now()
        assert held is not None
        assert held.problem == ""


WORDS = st.lists(
    st.one_of(
        st.tuples(st.just("freeze"), st.one_of(st.none(), st.floats(0.1, 100.0))),
        st.tuples(st.sampled_from(["unfreeze", "restart", "corrupt", "remove"]), st.none()),
        st.tuples(st.just("wait"), st.floats(0.0, 100.0)),
    ),
    max_size=12,
)


class TestAnyCourse:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
    @given(WORDS)
    def test_it_forgets_what_was_said_last(self, tmp_path: Path, words: list[tuple[str, float | None]]) -> None:
        """In any course, what was said last holds until its end, across restarts; a corrupt file freezes."""
        now = 1000.0

        def time() -> float:
            return now

        path = tmp_path / "any.json"
        path.unlink(missing_ok=True)
        freeze = Freeze(path, time)
        frozen, until = False, math.inf
        for number, (word, seconds) in enumerate(words):
            if word == "freeze":
                until = math.inf if seconds is None else now + seconds
                freeze.freeze("ada", str(number), until=None if seconds is None else until)
                frozen = True
            elif word == "unfreeze":
                freeze.unfreeze("ada", "")
                frozen = False
            elif word == "restart":
                freeze = Freeze(path, time)
            elif word == "corrupt":
                path.write_bytes(b"?" * (number + 1000))
                frozen, until = True, math.inf
            elif word == "remove":
                path.unlink(missing_ok=True)
                frozen = False
            else:
                now += seconds or 0.0
            assert (freeze.now() is not None) == (frozen and now < until)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.binary(max_size=200))
    def test_some_content_makes_it_raise(self, tmp_path: Path, content: bytes) -> None:
        """No content makes a look raise, and none but a whole, sound one frees."""
        path = tmp_path / "any.json"
        path.write_bytes(content)
        held = Freeze(path, lambda: 1000.0).now()
        try:
            said = msgspec.json.decode(content, type=Frozen)
        except (msgspec.DecodeError, UnicodeDecodeError):
            assert held is not None
        else:
            assert (held is not None) == said.frozen
