"""Tests of the streaming detector, on points whose truth is known."""

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.detector import REPORTED, Detector, DetectorState

START = 1_764_000_000.0
values = st.floats(allow_nan=False, allow_infinity=False)
times = st.floats(-1e10, 1e10)
points = st.lists(st.tuples(times, values), max_size=150)
Shape = Callable[[random.Random, float], float]


def noise(
    seed: int, count: int, *, memory: float = 0.0, shape: Shape = lambda _, state: state
) -> Iterator[tuple[float, float]]:
    """First-order autoregression of variance 1, a minute apart."""
    source = random.Random(seed)
    state = source.gauss(0, 1)
    for i in range(count):
        yield START + 60.0 * i, shape(source, state)
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)


def heavy(source: random.Random, state: float) -> float:
    """Student's t with 3 degrees of freedom."""
    return state / math.sqrt(sum(source.gauss(0, 1) ** 2 for _ in range(3)) / 3)


def scores(series: Iterable[tuple[float, float]], detector: Detector | None = None) -> list[float]:
    """Feed a detector point by point."""
    detector = detector or Detector()
    return [detector.update(time, value) for time, value in series]


def reported(series: Iterable[tuple[float, float]]) -> list[int]:
    """Which points are reported."""
    return [i for i, score in enumerate(scores(series)) if score >= REPORTED]


def lifted(series: Iterable[tuple[float, float]], begin: int, end: int, by: float) -> Iterator[tuple[float, float]]:
    """The series with some of its points lifted."""
    for i, (time, value) in enumerate(series):
        yield time, value + by * (begin <= i < end)


def day(seed: int, days: int) -> Iterator[tuple[float, float]]:
    """A working day between 8 and 18 hours each day, points five minutes apart."""
    source = random.Random(seed)
    for i in range(288 * days):
        yield 300.0 * i, (80 if 96 <= i % 288 < 216 else 20) + source.gauss(0, 1)


class TestScore:
    @given(points)
    def test_a_score_leaves_0_to_1(self, series: list[tuple[float, float]]) -> None:
        """Whatever finite values come in whatever order of times, scores are numbers from 0 to 1."""
        assert all(0 <= score <= 1 for score in scores(series))

    def test_everyday_points_score_high(self) -> None:
        """In plain noise nine points of ten score below 0.15."""
        assert sum(score < 0.15 for score in scores(noise(1, 5000))) > 0.9 * 5000

    def test_the_first_points_are_scored(self) -> None:
        """Nothing is concluded from fewer than 50 points, however wild they are."""
        assert set(scores((START + i, 10.0 ** (i % 20)) for i in range(50))) == {0.0}

    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_a_few_points_break_it(self, count: int) -> None:
        """So few points score 0, and the state they leave is whole."""
        detector = Detector()
        assert scores(noise(1, count), detector) == [0.0] * count
        assert detector.state().points == count


class TestFalseAlarms:
    @pytest.mark.parametrize(
        ("memory", "shape", "most"),
        [
            (0.0, lambda _, state: state, 1.1),
            (0.8, lambda _, state: state, 1.0),
            (0.95, lambda _, state: state, 1.0),
            (0.999, lambda _, state: state, 1.0),
            (0.0, heavy, 2.0),
            (0.0, lambda _, state: math.exp(state), 2.2),
        ],
        ids=["white", "remembers 0.8", "remembers 0.95", "wanders", "heavy tails", "log-normal"],
    )
    def test_noise_is_reported_often(self, memory: float, shape: Shape, most: float) -> None:
        """Reports in 1,000 points of noise are as rare as the docstring says, with some room for chance."""
        rounds = 4
        total = sum(len(reported(noise(seed, 10_000, memory=memory, shape=shape))) for seed in range(rounds))
        assert total / (10 * rounds) <= most

    def test_a_metric_that_is_always_wild_floods_its_readers(self) -> None:
        """However often a metric bursts, in the long run there are at most 3 reports in 1,000 points."""
        source = random.Random(1)
        bursts = ((START + 60.0 * i, 10 ** source.uniform(0, 12) * (i % 150 < 5)) for i in range(40_000))
        assert sum(i >= 10_000 for i in reported(bursts)) <= 0.003 * 30_000


class TestFinding:
    @pytest.mark.parametrize("by", [8.0, -8.0, 50.0])
    def test_a_spike_is_missed(self, by: float) -> None:
        """One point far out is reported itself, in nine series of ten and more."""
        found = sum(3000 in reported(lifted(noise(seed, 3001), 3000, 3001, by)) for seed in range(20))
        assert found >= 18

    @pytest.mark.parametrize("memory", [0.0, 0.8])
    def test_a_step_is_missed_or_told_again_and_again(self, memory: float) -> None:
        """A level that moves by ten deviations is reported within 10 points; then it is the new normal."""
        told = [
            [i - 3000 for i in reported(lifted(noise(seed, 5000, memory=memory), 3000, 5000, 10.0)) if i >= 3000]
            for seed in range(20)
        ]
        assert sum(any(i < 10 for i in later) for later in told) >= 18
        assert sum(len([i for i in later if i >= 10]) for later in told) <= 10

    def test_a_step_blinds_it(self) -> None:
        """Bursts of more than the step's size are reported 150 points after it."""
        series = (lifted(lifted(noise(seed, 3200), 3000, 3200, 10.0), 3150, 3160, 25.0) for seed in range(10))
        assert sum(any(i >= 3150 for i in reported(it)) for it in series) >= 9

    def test_a_value_of_the_wrong_hour_is_missed(self) -> None:
        """A working day that does not come is reported, though each of its values is one of every night's."""
        holiday = 288 * 9
        quiet = ((t, v if not holiday <= i < holiday + 288 else 20 + v % 1) for i, (t, v) in enumerate(day(1, 11)))
        assert any(holiday + 96 <= i < holiday + 108 for i in reported(quiet))

    def test_an_ordinary_day_is_reported(self) -> None:
        """A daily cycle is no surprise by its third day."""
        assert len([i for i in reported(day(1, 12)) if i >= 288 * 3]) <= 4

    def test_one_event_is_reported_at_each_of_its_points(self) -> None:
        """A burst of 60 points is one report, or two if it grows."""
        told = reported(lifted(noise(3, 3200), 3000, 3060, 15.0))
        assert 1 <= sum(i >= 3000 for i in told) <= 2

    def test_a_far_worse_point_is_hidden_by_the_report_before(self) -> None:
        """While a report holds, a new record by a clear margin is another one."""
        twice = lifted(lifted(noise(4, 3100), 3000, 3001, 8.0), 3020, 3021, 500.0)
        assert {3000, 3020} <= set(reported(twice))


class TestStandingStill:
    def test_a_constant_is_a_surprise(self) -> None:
        """What never moves scores 0 for ever."""
        assert set(scores((START + 60.0 * i, 0.1) for i in range(5000))) == {0.0}

    def test_a_flat_metric_does_not_come_back_to_0(self) -> None:
        """A metric that was noisy, stepped and then stands still scores 0 after 17 points, and stays there."""
        detector = Detector()
        scores(noise(1, 2000), detector)
        flat = scores(((START + 120_000 + 60.0 * i, 50.0) for i in range(5000)), detector)
        assert flat[0] >= REPORTED
        assert set(flat[17:]) == {0.0}

    def test_the_move_after_a_long_rest_is_missed(self) -> None:
        """A counter that begins to count is reported at once."""
        told = reported((START + 60.0 * i, float(max(0, i - 2999))) for i in range(3001))
        assert told == [3000]

    def test_rounding_is_a_move(self) -> None:
        """Floating-point noise around a level is no deviation from it."""
        source = random.Random(1)
        jitter = [(START + 60.0 * i, 0.3 + source.choice([0.0, 5e-17, -5e-17])) for i in range(3000)]
        assert max(scores(jitter)) < 0.01


class TestState:
    @given(st.integers(0, 400), st.integers(0, 10))
    def test_a_restored_detector_scores_otherwise(self, stop: int, seed: int) -> None:
        """From any point on, a detector restored from JSON scores exactly as the one that went on."""
        series = list(lifted(noise(seed, 500), 300, 310, 9.0))
        detector = Detector()
        scores(series[:stop], detector)
        restored = Detector.restore(msgspec.json.decode(msgspec.json.encode(detector.state()), type=DetectorState))
        assert scores(series[stop:], restored) == scores(series[stop:], detector)
        assert restored.state() == detector.state()

    @given(points)
    def test_the_state_of_a_wild_metric_is_no_json(self, series: list[tuple[float, float]]) -> None:
        """Finite values leave finite numbers, which survive JSON unchanged."""
        detector = Detector()
        scores(series, detector)
        state = detector.state()
        assert msgspec.json.decode(msgspec.json.encode(state), type=DetectorState) == state

    def test_the_state_grows(self) -> None:
        """It holds as many numbers after 20,000 points as before the first."""
        detector = Detector()
        before = msgspec.to_builtins(detector.state())
        scores(noise(1, 20_000), detector)
        after = msgspec.to_builtins(detector.state())
        numbers = [sum(len(it) if isinstance(it, (list, tuple)) else 1 for it in of.values()) for of in (before, after)]
        assert numbers == [141, 141]
        assert len(json.dumps(after)) < 4000

    def test_two_detectors_share_what_they_learn(self) -> None:
        """Restoring twice from one state gives two detectors that know nothing of each other."""
        first, second = (Detector.restore(DetectorState()) for _ in range(2))
        scores(noise(1, 200), first)
        assert second.state() == DetectorState()

    @pytest.mark.parametrize(
        "broken",
        [
            {"hour_means": (0.0,)},
            {"surprises": ()},
            {"past": math.nan},
            {"spread": -1.0},
            {"remembered": -2.0},
            {"fatigue": math.inf},
            {"hour_points": (-1,) * 24},
        ],
        ids=lambda broken: next(iter(broken)),
    )
    def test_a_broken_state_is_taken(self, broken: dict[str, object]) -> None:
        """What no detector can have left is refused when it is read, not when the next point comes."""
        state = {**msgspec.to_builtins(DetectorState()), **broken}
        with pytest.raises((ValueError, msgspec.ValidationError), match="expected"):
            msgspec.convert(state, DetectorState)


class TestInvariance:
    @pytest.mark.parametrize("power", [-300, -20, 3, 300])
    def test_the_unit_matters(self, power: int) -> None:
        """Milliseconds and seconds get the same scores; exactly so for powers of two."""
        series = list(lifted(noise(5, 1500), 1000, 1005, 9.0))
        assert scores((t, v * 2.0**power) for t, v in series) == scores(series)

    @pytest.mark.parametrize(("factor", "offset"), [(-1.0, 0.0), (1.0, 1000.0), (0.001, -7.0), (3.7, 1e6)])
    def test_the_zero_matters(self, factor: float, offset: float) -> None:
        """Neither sign nor zero nor unit matters, but for rounding."""
        series = list(lifted(noise(6, 1500), 1000, 1005, 9.0))
        assert scores((t, factor * v + offset) for t, v in series) == pytest.approx(scores(series), abs=1e-3)

    def test_the_date_matters(self) -> None:
        """Of a time only the hour of the day counts."""
        series = list(noise(7, 1500))
        assert scores((t - 86400.0 * 30_000, v) for t, v in series) == scores(series)

    def test_it_looks_ahead(self) -> None:
        """A score depends on nothing that comes later."""
        series = list(lifted(noise(8, 1200), 1000, 1100, 30.0))
        assert scores(series[:1000]) == scores(series)[:1000]


class TestBadInput:
    @pytest.mark.parametrize(
        ("time", "value"),
        [
            (5.0, math.nan),
            (5.0, math.inf),
            (5.0, -math.inf),
            (math.nan, 1.0),
            (math.inf, 1.0),
            (5.0, 10**400),
            (5.0, -(10**5000)),
            (10**400, 1.0),
        ],
        ids=["nan", "inf", "-inf", "time nan", "time inf", "huge int", "unprintable int", "huge time"],
    )
    def test_what_is_not_finite_is_learnt(self, time: float, value: float) -> None:
        """It is refused with its time, and the detector is as it was."""
        detector = Detector()
        scores(noise(1, 100), detector)
        before = detector.state()
        with pytest.raises(ValueError, match=r"expected finite times and values, got value .* at time (5\.0|nan|inf)"):
            detector.update(time, value)
        assert detector.state() == before

    def test_what_is_no_number_is_learnt(self) -> None:
        """Text is refused, and the detector is as it was."""
        detector = Detector()
        with pytest.raises(TypeError):
            detector.update(START, "1.0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert detector.state() == DetectorState()

    def test_times_that_repeat_or_go_back_lose_the_detector(self) -> None:
        """Points count in the order in which they come: within an hour of the day any times give the same scores."""
        series = list(lifted(noise(2, 1000), 900, 905, 12.0))
        source = random.Random(1)
        jumbled = [(START - START % 3600 + source.choice([0.0, 1.0, 3599.0]), value) for _, value in series]
        frozen = [(START - START % 3600, value) for _, value in series]
        assert scores(jumbled) == scores(frozen)
        assert any(900 <= i < 905 for i in reported(jumbled))

    def test_a_gap_is_a_surprise(self) -> None:
        """A month without points changes nothing in the score of the next ordinary one."""
        gap = 86400.0 * 30
        series = [(t + gap * (i >= 1000), v) for i, (t, v) in enumerate(noise(9, 1100))]
        assert scores(series) == scores(noise(9, 1100))

    @pytest.mark.parametrize("largest", [1e308, -1.7e308, 1e-308, 5e-324])
    def test_huge_and_tiny_values_overflow(self, largest: float) -> None:
        """The ends of floating point are scored like anything else, and the detector goes on."""
        detector = Detector()
        scores(noise(1, 500), detector)
        wild = scores(((START + 60.0 * i, largest * (-1) ** i) for i in range(500)), detector)
        assert all(0 <= score <= 1 for score in wild)
        assert (max(wild) >= REPORTED) == (abs(largest) > 1)
        assert all(0 <= score <= 1 for score in scores(noise(2, 500), detector))

    def test_counts_beyond_the_exact_floats_break_it(self) -> None:
        """A counter of integers is taken, also one that floats cannot hold exactly."""
        counter = [(START + 60.0 * i, 2**60 + 1000 * i) for i in range(500)]
        detector = Detector()
        assert scores(counter, detector) == scores((t, float(v)) for t, v in counter)
        assert isinstance(detector.state().last, float)
