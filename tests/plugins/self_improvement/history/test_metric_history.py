"""Tests of the stored metric points: what is recorded is read back, whatever happens to the file."""

import itertools
import math
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.history import (
    MetricHistory,
    MetricInfo,
    Point,
    Retention,
    UnitMismatchError,
)

NOW = 1000.0
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TIME = st.floats(NOW - 730 * 86_400.0, NOW + 86_400.0)


def lag(timestamp: float, value: float) -> Point:
    return Point("loop.lag", "seconds", timestamp, value)


def opened(path: Path | str) -> MetricHistory:
    return MetricHistory(path, lambda: NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite3"


class TestRecord:
    def test_points_come_back_in_the_order_of_time(self) -> None:
        """Recorded out of order, read in order."""
        with opened(":memory:") as history:
            assert history.record([lag(3, 0.3), lag(1, 0.1)]) == 2
            assert history.record([lag(2, 0.2)]) == 1
            assert history.points("loop.lag") == [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]

    def test_the_same_time_replaces(self) -> None:
        """A metric has one value at one time, the last that was said."""
        with opened(":memory:") as history:
            history.record([lag(1, 0.1), lag(1, 0.2)])
            history.record([lag(1, 0.3), lag(2, 0.4)])
            assert history.points("loop.lag") == [(1.0, 0.3), (2.0, 0.4)]
            assert history.statistics().points == history.names()[0].count == 2

    def test_context_and_unit_come_back(self) -> None:
        """A whole point is read as it was recorded."""
        point = Point("calls.roundtrip", "seconds", 5.0, 0.01, {"tag": "greeter.greet", "tries": [1, None, True]})
        with opened(":memory:") as history:
            history.record([point, lag(1, 0.1)])
            assert history.recorded("calls.roundtrip") == [point]
            assert history.recorded("loop.lag") == [lag(1, 0.1)]

    def test_nothing_is_nothing(self) -> None:
        """An empty batch is fine, and no metric comes of it."""
        with opened(":memory:") as history:
            assert history.record([]) == 0
            assert history.names() == []

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_value_that_is_no_number_is_refused_and_nothing_is_stored(self, bad: float) -> None:
        """The error names metric and value; the sound points beside it are not stored either."""
        with opened(":memory:") as history:
            with pytest.raises(ValueError, match=rf"metric 'loop\.lag': expected a finite value .* got {bad!r} at 2"):
                history.record([lag(1, 0.1), lag(2, bad)])
            with pytest.raises(ValueError, match="timestamp"):
                history.record([lag(1, 0.1), lag(bad, 0.2)])
            assert history.names() == []

    def test_another_unit_is_refused_and_nothing_is_stored(self) -> None:
        """A metric keeps its unit; the error names both."""
        with opened(":memory:") as history:
            history.record([lag(1, 0.1)])
            with pytest.raises(UnitMismatchError, match="stored in 'seconds', got 'ms'") as caught:
                history.record([Point("other", "ms", 1, 1), Point("loop.lag", "ms", 2, 100)])
            assert (caught.value.name, caught.value.stored, caught.value.given) == ("loop.lag", "seconds", "ms")
            assert history.names() == [MetricInfo("loop.lag", "seconds", 1, 1.0, 1.0)]
            assert history.record([lag(2, 0.2)]) == 1

    def test_two_units_in_one_batch_are_refused(self) -> None:
        """The first point of a metric sets its unit for the second."""
        with opened(":memory:") as history, pytest.raises(UnitMismatchError):
            history.record([Point("a", "s", 1, 1), Point("a", "ms", 2, 1)])

    @pytest.mark.parametrize(
        ("point", "says"),
        [
            (Point("", "s", 1, 1), "expected a metric name"),
            (Point("a", "s", 1, 1, {"x": object()}), "metric 'a': JSON cannot say its context"),
        ],
    )
    def test_what_cannot_be_stored_is_refused(self, point: Point, says: str) -> None:
        """A point without a name or with a strange context says so."""
        with opened(":memory:") as history, pytest.raises(ValueError, match=says):
            history.record([point])

    @pytest.mark.parametrize("odd", ["\n", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"], ids=ascii)
    def test_a_name_that_breaks_the_line_is_refused(self, odd: str) -> None:
        """What cannot be printed is in no name and no unit, and the error names both it and where it stands."""
        named, counted = f"loop{odd}lag", f"se{odd}conds"
        with opened(":memory:") as history:
            history.record([lag(1, 0.1)])
            for what, text, attempt in (
                ("name", named, lambda: history.record([lag(2, 0.2), Point(named, "s", 1, 1)])),
                ("name", named, lambda: history.rename("loop.lag", named)),
                ("unit", counted, lambda: history.record([lag(2, 0.2), Point("loop.speed", counted, 1, 1)])),
            ):
                with pytest.raises(ValueError, match=f"expected a metric {what} of characters") as caught:
                    attempt()
                assert str(caught.value).endswith(f"that can be printed, got {text!r}, with {odd!r}")
                assert str(caught.value).isprintable()
            assert history.names() == [MetricInfo("loop.lag", "seconds", 1, 1.0, 1.0)]

    def test_a_name_in_any_script_is_refused(self) -> None:
        """Names and units are of whatever letters and signs people write."""
        with opened(":memory:") as history:
            for name, unit in (("Küche.Wärme", "°C"), ("キュー.待ち", "µs"), ("disk 1: used/all", "%"), ("🙂", "m²")):
                assert history.record([Point(name, unit, 1, 1)]) == 1

    @given(st.lists(st.tuples(st.sampled_from("abc"), TIME, FINITE), max_size=50), st.integers(1, 10))
    def test_what_is_recorded_is_read_back(self, points: list[tuple[str, float, float]], batch: int) -> None:
        """Any points in any batches read back as the last value of each time, sorted."""
        expected: dict[str, dict[float, float]] = {}
        with opened(":memory:") as history:
            for start in range(0, len(points), batch):
                history.record([Point(name, "s", at, value) for name, at, value in points[start : start + batch]])
            for name, at, value in points:
                expected.setdefault(name, {})[at] = value
            assert {info.name: dict(history.points(info.name)) for info in history.names()} == expected
            for name, values in expected.items():
                assert history.points(name) == sorted(values.items())


class TestRead:
    def test_a_window_holds_its_start_and_not_its_end(self) -> None:
        """Windows that follow each other share no point."""
        with opened(":memory:") as history:
            history.record([lag(t, t) for t in range(10)])
            assert history.points("loop.lag", since=2, until=4) == [(2.0, 2.0), (3.0, 3.0)]
            assert [point.timestamp for point in history.recorded("loop.lag", since=8)] == [8.0, 9.0]

    def test_a_limit_keeps_the_latest(self) -> None:
        """Of too many points the newest are returned, still in order."""
        with opened(":memory:") as history:
            history.record([lag(t, t) for t in range(10)])
            assert history.points("loop.lag", limit=2) == [(8.0, 8.0), (9.0, 9.0)]
            with pytest.raises(ValueError, match="limit of at least 1, got 0"):
                history.points("loop.lag", limit=0)

    def test_an_unknown_metric_has_no_points(self) -> None:
        """Asking for what never was is no error."""
        with opened(":memory:") as history:
            assert history.points("never") == []

    def test_names_tell_count_and_span(self) -> None:
        """Metrics are listed by name with what is known of them."""
        with opened(":memory:") as history:
            history.record([lag(5, 1), lag(2, 1), Point("a", "bytes", 7, 1)])
            assert history.names() == [
                MetricInfo("a", "bytes", 1, 7.0, 7.0),
                MetricInfo("loop.lag", "seconds", 2, 2.0, 5.0),
            ]

    def test_statistics_count(self, file: Path) -> None:
        """Metrics, points and bytes are those of the file."""
        with opened(file) as history:
            history.record([lag(5, 1), lag(2, 1), Point("a", "bytes", 7, 1)])
            statistics = history.statistics()
            assert (statistics.metrics, statistics.points, statistics.unreadable_contexts) == (2, 3, 0)
            size = statistics.size
        assert size == file.stat().st_size

    def test_another_thread_may_call(self) -> None:
        """A worker thread reads and writes what the opener opened."""
        with opened(":memory:") as history:
            thread = threading.Thread(target=lambda: history.record([lag(1, 0.1)]))
            thread.start()
            thread.join()
            assert history.points("loop.lag") == [(1.0, 0.1)]


class TestPrune:
    def test_old_points_go_and_the_rest_stays(self) -> None:
        """Everything older goes, the point at the very time stays."""
        with opened(":memory:") as history:
            history.record([lag(t, t) for t in range(10)] + [Point("a", "s", 1, 1), Point("a", "s", 9, 1)])
            assert history.prune(before=8) == 9
            assert history.points("loop.lag") == [(8.0, 8.0), (9.0, 9.0)]
            assert history.points("a") == [(9.0, 1.0)]

    def test_a_metric_without_points_is_forgotten_with_its_unit(self) -> None:
        """What is wholly pruned may come back in another unit."""
        with opened(":memory:") as history:
            history.record([lag(1, 1)])
            assert history.prune(before=2) == 1
            assert history.names() == []
            history.record([Point("loop.lag", "ms", 3, 1)])
            assert [info.unit for info in history.names()] == ["ms"]


WRITER = """
import itertools, sys
from aetherra.plugins.self_improvement.history import MetricHistory, Point
with MetricHistory(sys.argv[1], lambda: 1000.0) as history:
    for batch in itertools.count():
        history.record([Point(f"m{i}", "s", float(batch), float(batch)) for i in range(50)])
        print(batch, flush=True)
"""


class TestFile:
    def test_a_closed_history_opens_again(self, file: Path) -> None:
        """What was stored is there the next time, and closing leaves one file with its mark."""
        with opened(file) as history:
            history.record([lag(1, 0.1)])
        assert sorted(path.name for path in file.parent.iterdir()) == ["history.sqlite3", "history.sqlite3-clean"]
        with opened(file) as history:
            assert history.points("loop.lag") == [(1.0, 0.1)]
            assert (history.set_aside, history.set_aside_reason) == (None, "")
        history.close()
        with pytest.raises(sqlite3.ProgrammingError):
            history.points("loop.lag")

    def test_two_openers_share_a_file(self, file: Path) -> None:
        """What one stores the other reads, and neither takes the other's metric for its own."""
        with opened(file) as one, opened(file) as other:
            one.record([lag(1, 0.1)])
            other.record([lag(2, 0.2)])
            one.prune(before=5)
            other.record([lag(9, 0.9)])
            assert one.points("loop.lag") == [(9.0, 0.9)]

    @pytest.mark.parametrize("batches", [0, 3, 40])
    def test_a_killed_writer_loses_nothing_it_was_told_is_stored(self, file: Path, batches: int) -> None:
        """After kill -9 in the middle of writing, every acknowledged batch is there, and every batch is whole."""
        with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged = [int(said) for said in itertools.islice(writer.stdout, batches + 1)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(said) for said in writer.stdout if said.endswith("\n")]
        with opened(file) as history:
            assert history.set_aside is None
            stored = {tuple(at for at, _ in history.points(info.name)) for info in history.names()}
            assert len(history.names()) == 50
            (times,) = stored
            assert len(times) >= len(acknowledged)
            assert times == tuple(float(batch) for batch in range(len(times)))
            assert history.record([Point("m0", "s", 8e4, 1.0)]) == 1

    @pytest.mark.parametrize(
        "content", [b"not a database at all" * 100, b"SQLite format 3\0" + bytes(4000)], ids=["text", "zeros"]
    )
    def test_a_file_that_is_no_database_is_set_aside(self, file: Path, content: bytes) -> None:
        """The host starts with a new history, and the old file is kept byte for byte."""
        file.parent.mkdir()
        file.write_bytes(content)
        with opened(file) as history:
            assert history.set_aside == file.with_name("history.sqlite3.corrupt-1")
            assert history.set_aside_reason
            assert history.record([lag(1, 0.1)]) == 1
        assert history.set_aside.read_bytes() == content

    def test_no_set_aside_file_is_overwritten(self, file: Path) -> None:
        """Each damaged file gets a number of its own."""
        file.parent.mkdir()
        for number in (1, 2, 3):
            file.write_bytes(b"damage %d" % number * 50)
            with opened(file) as history:
                assert history.set_aside == file.with_name(f"history.sqlite3.corrupt-{number}")
        assert file.with_name("history.sqlite3.corrupt-1").read_bytes() == b"damage 1" * 50

    @pytest.mark.parametrize("statement", ["CREATE TABLE strange (x)", "PRAGMA user_version = 7"])
    def test_a_database_of_another_schema_is_set_aside(self, file: Path, statement: str) -> None:
        """A file of somebody else, or of a later version, is not written into."""
        file.parent.mkdir()
        database = sqlite3.connect(file)
        database.execute(statement)
        database.commit()
        database.close()
        content = file.read_bytes()
        with opened(file) as history:
            assert history.set_aside is not None
            assert history.set_aside.read_bytes() == content
            assert "expected a history of schema 2" in history.set_aside_reason

    @pytest.mark.parametrize(
        ("sound", "damaged"),
        [
            (b"naming", b"nami\xffg"),
            (b"value", b"valve"),
            (struct.pack(">d", 1234.5678), struct.pack(">d", math.inf)),
        ],
        ids=["a name that is no text", "a column of another name", "a value that is infinite"],
    )
    def test_damage_that_sqlite_does_not_mind_is_set_aside(self, file: Path, sound: bytes, damaged: bytes) -> None:
        """A whole database with absurd content is found out at opening."""
        with opened(file) as history:
            history.record([Point("naming", "s", 1.0, 1234.5678)])
        content = file.read_bytes()
        assert sound in content
        file.write_bytes(content.replace(sound, damaged))
        with opened(file) as history:
            assert history.set_aside is not None

    def test_a_place_that_is_no_file_is_an_error_and_stays(self, tmp_path: Path) -> None:
        """What is not damage is not moved: a folder in the way is the caller's to see."""
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            opened(tmp_path)
        assert tmp_path.is_dir()

    def test_a_locked_file_is_an_error_and_stays(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process in the middle of writing is no damage."""
        monkeypatch.setattr("aetherra.kernel.storage.sqlite_file._BUSY_SECONDS", 0.01)
        with opened(file) as history:
            history.record([lag(1, 0.1)])
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                opened(file)
            other.close()
            assert history.points("loop.lag") == [(1.0, 0.1)]

    def test_a_damaged_context_is_empty_and_counted(self, file: Path) -> None:
        """A point whose context is beyond reading is still a point."""
        with opened(file) as history:
            history.record([Point("a", "s", 1, 2, {"marker": "here"})])
        file.write_bytes(file.read_bytes().replace(b'{"marker', b'{"mark\xffr'))
        with opened(file) as history:
            assert history.recorded("a") == [Point("a", "s", 1, 2)]
            assert history.statistics().unreadable_contexts == 1


def rolled(path: Path) -> MetricHistory:
    return MetricHistory(path, lambda: 1e6, Retention(raw=2_000.0, minutes=8_000.0))


@pytest.fixture(scope="module")
def sound() -> tuple[bytes, bytes]:
    """A sound file with 600 points, minutes and hours, and the log of one that was not closed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "h"
        with rolled(file) as history:
            for m in range(6):
                history.record(
                    [Point(f"m{m}", "s", 1e6 - t * 150, t * 1.5, {"t": t} if t % 3 else {}) for t in range(100)]
                )
            history.roll_up()
            assert {row.width for row in history.aggregates("m0")} == {0, 60, 3600}
        content = file.read_bytes()
        with rolled(file) as history:
            history.record([Point("m0", "s", 1e6 + t, 0.0) for t in range(100)])
            history.roll_up()
            return content, file.with_name("h-wal").read_bytes()


class TestDamage:
    @settings(deadline=None, max_examples=300)
    @given(place=st.floats(0, 1, exclude_max=True), size=st.integers(1, 400), seed=st.integers(0), cut=st.booleans())
    def test_damage_anywhere_is_set_aside_or_read_over(
        self, sound: tuple[bytes, bytes], place: float, size: int, seed: int, cut: bool
    ) -> None:
        """No damage keeps a history from opening, reading and recording finite points."""
        content = bytearray(sound[0])
        start = int(place * len(content))
        content[start : start + size] = b"" if cut else random.Random(seed).randbytes(size)
        self.open_and_use(bytes(content), b"")

    @settings(deadline=None)
    @given(offset=st.integers(0, 99), byte=st.integers(0, 255))
    def test_a_damaged_header_is_set_aside_or_read_over(
        self, sound: tuple[bytes, bytes], offset: int, byte: int
    ) -> None:
        """Any byte of the header may be wrong, the format numbers included."""
        content = bytearray(sound[0])
        content[offset] = byte
        self.open_and_use(bytes(content), b"")

    @pytest.mark.parametrize("offset", [18, 19])
    def test_a_format_number_of_the_future_is_set_aside(self, sound: tuple[bytes, bytes], offset: int) -> None:
        """SQLite takes such a file for readable only; it is found out at opening, not at the first record."""
        content = bytearray(sound[0])
        content[offset] = 9
        self.open_and_use(bytes(content), b"")

    @settings(deadline=None)
    @given(place=st.floats(0, 1, exclude_max=True), size=st.integers(1, 400), seed=st.integers(0))
    def test_a_damaged_log_is_set_aside_or_read_over(
        self, sound: tuple[bytes, bytes], place: float, size: int, seed: int
    ) -> None:
        """The log a killed process left may be damaged, too."""
        log = bytearray(sound[1])
        start = int(place * len(log))
        log[start : start + size] = random.Random(seed).randbytes(size)
        self.open_and_use(sound[0], bytes(log))

    def open_and_use(self, content: bytes, log: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "h"
            file.write_bytes(content)
            if log:
                file.with_name("h-wal").write_bytes(log)
            with rolled(file) as history:
                for _ in range(2):
                    for info in history.names():
                        assert all(math.isfinite(at + value) for at, value in history.points(info.name))
                        history.aggregates(info.name)
                        history.recorded(info.name)
                    history.roll_up()
                assert history.record([Point("fresh", "s", 1e6, 1.0)]) == 1
                assert history.points("fresh") == [(1e6, 1.0)]
                assert history.prune(1e6 + 50.0) >= 1
                if history.set_aside:
                    assert history.set_aside.exists()
