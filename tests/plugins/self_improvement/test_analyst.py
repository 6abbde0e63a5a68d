"""The analyst over a real history: what it makes of points, and what it finds worth telling."""

from __future__ import annotations

import random

import pytest

from aetherra.plugins.self_improvement.analyst import MOST_CORRELATIONS, MOST_FOUND, Analyst, UnknownMetricError
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.history import MetricHistory, Point
from aetherra.plugins.self_improvement.proposals import Setpoint
from aetherra.plugins.self_improvement.proposals.problems import judge
from aetherra.plugins.self_improvement.settings import SelfImprovementSettings

NOW = 1_700_000_000.0
DAY = 86_400.0
KINDS = ("beyond_setpoint", "anomaly", "degrading", "improving", "crossing", "change_point", "correlation")


class Desk:
    """A history, its detectors and an analyst that looks every five minutes, while points come every minute."""

    def __init__(self, **settings):
        self.now = NOW
        self.settings = SelfImprovementSettings(**settings)
        self.history = MetricHistory(":memory:", lambda: self.now)
        self.anomalies = Anomalies(None)
        self.analyst = Analyst(self.history, self.anomalies, self.settings)
        self.told = []
        self._chance = random.Random(1)

    def record(self, name, value, at=None, unit="s"):
        point = Point(name, unit, self.now if at is None else at, value)
        self.history.record([point])
        self.anomalies.observe([point])

    def go_on(self, minutes, /, **laws):
        """Have so many minutes pass; a law says what a metric is so many minutes after the beginning."""
        for _ in range(minutes):
            minute = (self.now - NOW) / 60.0
            for name, law in laws.items():
                self.record(name, law(minute) + self._chance.gauss(0, 0.1))
            if minute and minute % 5 == 0:
                self.told += [(minute, one.metric, one.kind) for one in self.found()]
            self.now += 60.0
        return self

    def found(self):
        look = self.analyst.look(self.now, DAY)
        return self.analyst.found(look, [self.judged(one) for one in look.analyses])

    def judged(self, one):
        setpoint = self.settings.setpoints.get(one.name)
        return judge(one, setpoint=setpoint, good="down", now=self.now, horizon=DAY)

    def times(self, metric, kind):
        return [minute for minute, *what in self.told if what == [metric, kind]]


@pytest.fixture
def desk():
    opened = []

    def make(**settings):
        opened.append(Desk(**settings))
        return opened[-1]

    yield make
    for each in opened:
        each.history.close()


class TestAnalyse:
    def test_an_unknown_metric_is_analysed(self, desk):
        """A name without a history is a ``LookupError`` that says which have one."""
        one = desk()
        with pytest.raises(UnknownMetricError, match=r"'x'.*none") as caught:
            one.analyst.info("x")
        assert isinstance(caught.value, LookupError)
        one.record("plant.latency", 1.0)
        with pytest.raises(UnknownMetricError, match=r"plant\.latency"):
            one.analyst.infos("x")

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_a_few_points_are_an_error(self, desk, count):
        """Of one to three points nothing is known, and that is said."""
        one = desk().go_on(count, m=lambda _: 1.0)
        (analysis,) = one.analyst.look(one.now, DAY).analyses

        assert analysis.trend.direction == "unknown"
        assert analysis.trend.reason
        assert one.found() == ()

    def test_a_constant_is_found(self, desk):
        """A metric that never moves has nothing to tell."""
        one = desk()
        for minute in range(100):
            one.record("m", 3.0, NOW - 60.0 * minute)

        assert one.found() == ()
        (analysis,) = one.analyst.look(one.now, DAY).analyses
        assert analysis.trend.direction == "stable"

    def test_points_that_come_out_of_order_are_others(self, desk):
        """The clock may go back, and points come twice: the analysis is that of the points in order."""
        tidy, untidy = desk(), desk()
        chance = random.Random(7)
        points = [(NOW - 60.0 * number, 10.0 + 0.1 * number + chance.gauss(0, 0.1)) for number in range(60)]
        for at, value in points:
            tidy.record("m", value, at)
        for at, value in random.Random(2).sample(points, len(points)):
            untidy.record("m", value, at)

        assert untidy.analyst.look(NOW, DAY).analyses == tidy.analyst.look(NOW, DAY).analyses

    def test_what_is_wanted_is_not_known(self, desk):
        """The settings say which way is good and where the limit is; a setpoint counts before a direction."""
        rising = {"m": lambda minute: 10.0 + 0.1 * minute}
        for settings, direction in (
            ({"directions": {"m": "up"}}, "improving"),
            ({"directions": {"m": "down"}}, "degrading"),
            ({"directions": {"m": "up"}, "setpoints": {"m": Setpoint(20.0, 30.0)}}, "degrading"),
        ):
            one = desk(**settings).go_on(60, **rising)
            (analysis,) = one.analyst.look(one.now, DAY).analyses
            assert analysis.trend.direction == direction
            assert (analysis.crossing is None) == ("setpoints" not in settings)

    def test_points_before_the_window_count(self, desk):
        """Only the window is looked at."""
        one = desk().go_on(60, m=lambda _: 1.0)

        assert one.analyst.look(one.now, 600.0).points == 10
        assert one.analyst.look(one.now, DAY).points == 60

    def test_a_metric_without_points_in_the_window_is_left_out(self, desk):
        """It is unknown, and stays in the list."""
        one = desk().go_on(30, m=lambda _: 1.0)
        one.now += 7200.0
        (analysis,) = one.analyst.look(one.now, 3600.0).analyses

        assert (analysis.name, analysis.trend.direction, analysis.summary.count) == ("m", "unknown", 0)


class TestFound:
    @pytest.mark.parametrize("minute", range(60, 65))
    def test_a_step_is_told_twice_or_never(self, desk, minute):
        """A step is told once, whenever between two looks it came, though it is seen only some points later."""
        one = desk().go_on(180, m=lambda at: 10.0 if at < minute else 15.0)

        assert len(one.times("m", "change_point")) == 1
        assert minute < one.times("m", "change_point")[0] <= minute + 15

    def test_the_second_step_is_taken_for_the_first(self, desk):
        """Another step of the same metric is told as well."""
        one = desk().go_on(240, m=lambda at: 10.0 if at < 60 else 15.0 if at < 120 else 25.0)

        assert len(one.times("m", "change_point")) == 2

    def test_a_spike_is_told_at_each_look(self, desk):
        """An anomaly is told once, at the next look."""
        one = desk().go_on(600, m=lambda at: 100.0 if at == 503 else 10.0)

        assert 505 in one.times("m", "anomaly")
        assert [at for at in one.times("m", "anomaly") if at >= 503] == [505]

    def test_a_point_that_comes_late_is_not_told(self, desk):
        """An anomaly whose point came only after the look that it is older than is told at the next."""
        one = desk().go_on(501, m=lambda _: 10.0)
        one.found()
        one.record("m", 100.0, one.now - 90.0)
        (odd,) = [each for each in one.found() if each.kind == "anomaly"]

        assert "100 is out of the ordinary" in odd.text
        assert [each for each in one.found() if each.kind == "anomaly"] == []

    def test_a_setpoint_is_crossed_in_silence(self, desk):
        """What is beyond its setpoint comes first, what will be is told before it is."""
        beyond = desk(setpoints={"m": Setpoint(1.0, 2.0)}).go_on(60, m=lambda _: 5.0)
        assert beyond.found()[0].kind == "beyond_setpoint"
        soon = desk(setpoints={"m": Setpoint(55.0, 60.0)}).go_on(60, m=lambda at: 10.0 + 0.5 * at)
        kinds = [each.kind for each in soon.found()]
        assert "crossing" in kinds
        assert "beyond_setpoint" not in kinds

    def test_a_trend_is_told_at_once(self, desk):
        """A trend is told when it has lasted for an hour of the day that is looked at, not the first time."""
        one = desk(directions={"m": "down"}).go_on(200, m=lambda at: 10.0 + 0.05 * at)
        times = one.times("m", "degrading")

        assert times
        assert times[0] >= 60

    def test_noise_is_told(self, desk):
        """A metric in which nothing happens has hardly anything to tell in three hours."""
        one = desk().go_on(180, m=lambda _: 10.0)

        assert len(one.told) <= 2, one.told

    def test_metrics_that_go_together_are_not_told(self, desk):
        """Two metrics of which one follows the other are told with the lag."""
        chance = random.Random(3)
        driver = [10.0 + chance.gauss(0, 1.0) for _ in range(400)]
        one = desk().go_on(300, a=lambda at: driver[int(at)], b=lambda at: 3.0 * driver[max(int(at) - 5, 0)])
        texts = [each.text for each in one.found() if each.kind == "correlation"]

        assert any("after 300 s" in text for text in texts), texts

    def test_a_look_tells_without_end(self, desk):
        """However many metrics there are, at most 200 findings and 50 correlations are told."""
        laws = {f"m{number}": (lambda at, number=number: number + 0.5 * at) for number in range(30)}
        one = desk(setpoints={"m0": Setpoint(1.0, 2.0)}).go_on(30, **laws)
        look = one.analyst.look(one.now, DAY)
        (problem, *_) = [each for each in map(one.judged, look.analyses) if each.problem]
        found = one.analyst.found(look, [problem] * (MOST_FOUND + 1))

        assert len(look.correlations) <= MOST_CORRELATIONS
        assert len(found) == MOST_FOUND
        assert {each.kind for each in found} <= set(KINDS)
