"""The roll-up: whatever is recorded, rolled up and pruned in whatever order, what is told equals what was recorded."""

import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aetherra.plugins.self_improvement.history import Aggregate, MetricHistory, Point, PointTimeError, Retention
from aetherra.plugins.self_improvement.history import roll_up as module

START = 1_700_000_000.0
DAY = 86_400.0
SHORT = Retention(raw=600.0, minutes=7_200.0, hours=2 * DAY)
VALUE = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([1.7e308, -1.7e308, 0.0, 5e-324]))
AGO = st.one_of(
    st.floats(-3_600.0, 600.0),
    st.floats(0.0, 7_200.0),
    st.floats(0.0, 2.2 * DAY),
    st.integers(0, 200).map(lambda minutes: minutes * 60.0),
)


class Model:
    """What a history holds, by the definition alone: each metric's points, and where each of them stands."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.raw: dict[str, dict[float, float]] = {}
        self.rolled: dict[str, list[tuple[int, int, float]]] = {}  # width, start, value
        self.reference: float | None = None

    def record(self, name: str, timestamp: float, value: float) -> None:
        self.raw.setdefault(name, {})[timestamp] = value
        self.rolled.setdefault(name, [])

    def roll_up(self, now: float) -> None:
        if self.reference is None:
            self.reference = max((at for points in self.raw.values() for at in points if at <= now), default=None)
        if self.reference is None:
            return
        self.reference = min(now, self.reference + DAY)
        oldest = self.reference - self.retention.hours
        self.drop(oldest)
        raw_before = max(oldest, self.reference - self.retention.raw) // 60 * 60
        minutes_before = max(oldest, self.reference - self.retention.minutes) // 3600 * 3600
        for name, points in self.raw.items():
            for at in [at for at in points if at < raw_before]:
                self.rolled[name].append((60, int(at // 60 * 60), points.pop(at)))
            self.rolled[name] = [
                (3600, start // 3600 * 3600, value) if width == 60 and start < minutes_before else (width, start, value)
                for width, start, value in self.rolled[name]
            ]
        self.forget_empty()

    def drop(self, before: float) -> int:
        count = self.points
        for name in self.raw:
            self.raw[name] = {at: value for at, value in self.raw[name].items() if at >= before}
            self.rolled[name] = [row for row in self.rolled[name] if row[0] + row[1] > before]
        return count - self.points

    def forget_empty(self) -> None:
        for name in [name for name in self.raw if not self.raw[name] and not self.rolled[name]]:
            del self.raw[name], self.rolled[name]

    @property
    def points(self) -> int:
        return sum(map(len, self.raw.values())) + sum(map(len, self.rolled.values()))

    def values(self, name: str) -> dict[tuple[float, int], list[float]]:
        """Return what stands in each row, by the row's middle and width."""
        rows = {(at, 0): [value] for at, value in self.raw.get(name, {}).items()}
        for width, start, value in self.rolled.get(name, []):
            rows.setdefault((start + width / 2, width), []).append(value)
        return rows


def assert_same(history: MetricHistory, model: Model) -> None:
    assert [info.name for info in history.names()] == sorted(model.raw)
    assert history.statistics().points == model.points
    for info in history.names():
        expected = model.values(info.name)
        told = history.aggregates(info.name, limit=10**6)
        assert {(row.timestamp, row.width) for row in told} == set(expected)
        assert len(told) == len(expected)
        assert [row.timestamp for row in told] == sorted(at for at, _ in expected)
        for row in told:
            assert_row(row, expected[row.timestamp, row.width])
        assert info.count == sum(row.count for row in told)
        assert (info.first, info.last) == (told[0].timestamp, told[-1].timestamp)
        assert sorted(history.points(info.name, limit=10**6)) == sorted((row.timestamp, row.mean) for row in told)


def assert_row(row: Aggregate, values: list[float]) -> None:
    assert (row.count, row.minimum, row.maximum) == (len(values), min(values), max(values))
    mean = math.fsum(value / len(values) for value in values)
    assert row.minimum <= row.mean <= row.maximum
    assert abs(row.mean - mean) <= 1e-9 * max(map(abs, values)) + 1e-290


class RollUps(RuleBasedStateMachine):
    """Any sequence of recording, time passing, rolling up, pruning and forgetting."""

    @initialize(step_rows=st.sampled_from([3, 10, 100]))
    def open(self, step_rows: int) -> None:
        self.patch = patch.object(module, "_STEP_ROWS", step_rows)
        self.patch.start()
        self.now = START
        self.model = Model(SHORT)
        self.history = MetricHistory(":memory:", lambda: self.now, SHORT)

    @rule(points=st.lists(st.tuples(st.sampled_from("abc"), AGO, VALUE), min_size=1, max_size=30))
    def record(self, points: list[tuple[str, float, float]]) -> None:
        for name, ago, value in points:
            at = self.now - ago
            if at < self.now - SHORT.hours:
                with pytest.raises(PointTimeError):
                    self.history.record([Point(name, "s", at, value)])
            else:
                self.history.record([Point(name, "s", at, value)])
                self.model.record(name, at, value)

    @rule(seconds=st.one_of(st.floats(0.0, 7_200.0), st.floats(0.0, 3 * DAY)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def roll_up(self) -> None:
        self.model.roll_up(self.now)
        self.history.roll_up()

    @rule()
    def roll_up_again(self) -> None:
        """What is rolled up is not rolled up once more, as long as nothing happens in between."""
        self.roll_up()
        reference = self.model.reference
        before = [self.history.aggregates(name) for name in sorted(self.model.raw)]
        self.model.roll_up(self.now)
        self.history.roll_up()
        if self.model.reference == reference:
            assert [self.history.aggregates(name) for name in sorted(self.model.raw)] == before

    @rule(ago=AGO)
    def prune(self, ago: float) -> None:
        removed = self.model.drop(self.now - ago)
        self.model.forget_empty()
        assert self.history.prune(self.now - ago) == removed

    @precondition(lambda self: self.model.raw)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.raw)))
        assert self.history.forget(name) == len(self.model.raw[name]) + len(self.model.rolled[name])
        del self.model.raw[name], self.model.rolled[name]

    @invariant()
    def what_is_told_is_what_was_recorded(self) -> None:
        assert_same(self.history, self.model)

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.close()
            self.patch.stop()


TestRollUps = RollUps.TestCase
TestRollUps.settings = settings(deadline=None, max_examples=60, stateful_step_count=20)


class TestPortions:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_STEP_ROWS", 7)

    @settings(deadline=None, max_examples=40)
    @given(
        points=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, DAY), VALUE), min_size=1, max_size=80),
        portions=st.integers(0, 20),
        late=st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.0, DAY), VALUE), max_size=20),
    )
    def test_a_roll_up_that_is_left_half_way_loses_nothing(
        self, points: list[tuple[str, float, float]], portions: int, late: list[tuple[str, float, float]]
    ) -> None:
        """What is read between two portions, and what is recorded there, is whole; the next one ends it all."""
        with patch.object(module, "_STEP_ROWS", 7), MetricHistory(":memory:", lambda: START, SHORT) as history:
            recorded = dict[tuple[str, float], float]()
            for name, ago, value in [*points, ("a", 0.0, 1.0)]:
                history.record([Point(name, "s", START - ago, value)])
                recorded[name, START - ago] = value
            rolling = history.rolling()
            for _, _ in zip(range(portions), rolling, strict=False):
                assert history.statistics().points == len(recorded)
                rows = [row for info in history.names() for row in history.aggregates(info.name)]
                assert sum(row.count for row in rows) == len(recorded)
                assert min(row.minimum for row in rows) == min(recorded.values())
                assert max(row.maximum for row in rows) == max(recorded.values())
            rolling.close()
            more = {(name, START - ago): value for name, ago, value in late if (name, START - ago) not in recorded}
            history.record([Point(name, "s", at, value) for (name, at), value in more.items()])
            model = Model(SHORT)
            for (name, at), value in [*recorded.items(), *more.items()]:
                model.record(name, at, value)
            model.roll_up(START)
            history.roll_up()
            assert_same(history, model)

    def test_a_portion_is_bounded(self) -> None:
        """However much there is to roll up, a transaction moves no more than its share and a row a table."""
        with MetricHistory(":memory:", lambda: START, SHORT) as history:
            history.record([Point(f"m{n % 20}", "s", START - n * 10, 1.0) for n in range(3_000)])
            moved = [portion.moved for portion in history.rolling()]
            assert sum(moved) >= 2_900
            assert max(moved) <= 7 + 2


@pytest.fixture(params=[":memory:", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return tmp_path / "history.sqlite3" if request.param == "disk" else ":memory:"


class TestClock:
    def test_a_clock_of_2100_drops_nothing_at_once(self, place: Path | str) -> None:
        """A roll-up goes a day beyond the one before at most; once the clock is right again, nothing more is lost."""
        now = START
        with MetricHistory(place, lambda: now) as history:
            history.record([Point("a", "s", START - day * DAY, 1.0) for day in range(30)])
            history.roll_up()
            before = history.statistics().points
            now = 4_102_444_800.0
            history.record([Point("a", "s", now, 1.0)])
            for _ in range(100):
                history.roll_up()
            assert history.statistics().points == before + 1
            now = START + 60.0
            history.record([Point("a", "s", now, 1.0)])
            history.roll_up()
            assert history.statistics().points == before + 2

    def test_a_point_of_2100_is_refused(self, place: Path | str) -> None:
        """It says by how much it is ahead, and all others stay."""
        with MetricHistory(place, lambda: START) as history:
            with pytest.raises(PointTimeError, match=r"'a': expected a timestamp .* got 4102444800\.0, 27806\.\d days"):
                history.record([Point("a", "s", 4_102_444_800.0, 1.0)])
            assert history.record([Point("a", "s", START + 3600.0, 1.0), Point("a", "s", START, 1.0)]) == 2
            history.roll_up()
            assert history.statistics().points == 2

    def test_a_host_that_was_off_for_long_drops_a_day_at_a_time(self, place: Path | str) -> None:
        """After a year what is too old goes with the roll-ups of some days, and not with the first."""
        now = START
        with MetricHistory(place, lambda: now, Retention(hours=300 * DAY)) as history:
            history.record([Point("a", "s", START - minute * 60, 1.0) for minute in range(100)])
            history.roll_up()
            now = START + 365 * DAY
            for _ in range(299):
                history.roll_up()
            assert history.statistics().points == 100
            history.record([Point("a", "s", now, 1.0)])
            for _ in range(3):
                history.roll_up()
            assert history.statistics().points == 1


class TestSize:
    @pytest.fixture
    def full(self, tmp_path: Path) -> Iterator[MetricHistory]:
        bounded = Retention(raw=3 * DAY, minutes=10 * DAY, hours=100 * DAY, max_size=400_000)
        with MetricHistory(tmp_path / "history.sqlite3", lambda: START, bounded) as history:
            yield history

    def test_too_much_is_kept_less_closely(self, full: MetricHistory) -> None:
        """Points become minutes and hours before their time, until the file is within its bound; none is dropped."""
        for start in range(0, 200_000, 5_000):
            full.record([Point(f"m{n % 4}", "s", START - start - n, float(n)) for n in range(5_000)])
        full.roll_up()
        statistics = full.statistics()
        assert statistics.size - statistics.free <= 400_000
        assert 0 < statistics.share < 1
        assert statistics.points == 200_000
        widths = {row.width for row in full.aggregates("m0")}
        assert widths == {0, 60, 3600}

    def test_points_are_kept_longer_again_when_there_is_room(self, full: MetricHistory) -> None:
        """The share goes back to the whole."""
        for start in range(0, 200_000, 5_000):
            full.record([Point(f"m{n % 4}", "s", START - start - n, float(n)) for n in range(5_000)])
        full.roll_up()
        share = full.statistics().share
        full.prune(START - 10)
        for _ in range(200):
            full.roll_up()
        assert share < full.statistics().share == 1

    def test_hours_go_when_nothing_else_is_left(self, full: MetricHistory) -> None:
        """The bound holds whatever is recorded."""
        for metric in range(20):
            full.record([Point(f"m{metric}", "s", START - hour * 3600, 1.0) for hour in range(2_390)])
        full.roll_up()
        statistics = full.statistics()
        assert statistics.size - statistics.free <= 400_000
        assert 0 < statistics.points < 20 * 2_390


class TestKilled:
    @pytest.mark.parametrize("portions", [1, 20, 60])
    def test_a_host_killed_while_it_rolls_up_has_every_point(self, tmp_path: Path, portions: int) -> None:
        """After kill -9 between and within portions each point stands in one place, and the next roll-up ends it."""
        file = tmp_path / "history.sqlite3"
        with subprocess.Popen(
            [sys.executable, "-c", ROLLING, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as host:
            assert host.stdout is not None
            for _ in range(portions):
                host.stdout.readline()
            host.send_signal(signal.SIGKILL)
            host.stdout.read()
        now = START + 3 * DAY
        with MetricHistory(file, lambda: now) as history:
            assert history.set_aside is None
            for _ in range(2):
                for name in ("a", "b"):
                    rows = history.aggregates(name, limit=10**6)
                    assert sum(row.count for row in rows) == 10_000
                    assert math.isclose(sum(row.count * row.mean for row in rows), 10_000 * 9_999 / 2)
                    assert {row.width for row in rows} <= {0, 60}
                assert history.statistics().points == 20_000
                history.roll_up()


ROLLING = """
import sys
from aetherra.plugins.self_improvement.history import MetricHistory, Point, Retention
from aetherra.plugins.self_improvement.history import roll_up as module
START, DAY = 1_700_000_000.0, 86_400.0
module._STEP_ROWS = 200
now = START
with MetricHistory(sys.argv[1], lambda: now, Retention(raw=DAY)) as history:
    history.record([Point(name, "s", START + number, float(number)) for number in range(9_999) for name in "ab"])
    now = START + 3 * DAY
    history.record([Point(name, "s", now, 9_999.0) for name in "ab"])
    for portion in history.rolling():
        print(portion, flush=True)
    sys.stdin.read()
"""
