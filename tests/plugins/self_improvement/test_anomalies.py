"""Anomalies: a detector a metric, what it reported, and all of it kept."""

from __future__ import annotations

import random
import threading

import msgspec
import pytest

from aetherra.plugins.self_improvement.analysis import Detector
from aetherra.plugins.self_improvement.anomalies import FILE, REMEMBERED, THRESHOLD, Anomalies
from aetherra.plugins.self_improvement.history import Point
from aetherra.plugins.self_improvement.messages import Anomaly

NOW = 1_700_000_000.0


def quiet(count, *, name="plant.latency", first=0, seed=2):
    chance = random.Random(seed)
    return [Point(name, "s", NOW + 60.0 * (first + number), 10.0 + chance.gauss(0, 0.3)) for number in range(count)]


def spike(at, name="plant.latency", value=100.0):
    return Point(name, "s", NOW + 60.0 * at, value)


class TestObserve:
    def test_scores_are_others_than_the_detectors(self):
        """Each point's score is that of a detector of its metric alone, whatever comes in between."""
        detector, anomalies = Detector(), Anomalies(None)
        for one, other in zip(quiet(300), quiet(300, name="other", seed=9), strict=True):
            anomalies.observe([other, one])
            assert anomalies.score("plant.latency") == detector.update(one.timestamp, one.value)

    def test_a_spike_is_passed_over(self):
        """A point far out is reported with its time, value and score."""
        anomalies = Anomalies(None)
        anomalies.observe([*quiet(500), spike(500)])
        (found,) = [one for one in anomalies.since(NOW) if one.value == 100.0]

        assert (found.metric, found.timestamp) == ("plant.latency", NOW + 60.0 * 500)
        assert THRESHOLD <= found.score <= 1
        assert found.score == anomalies.score("plant.latency")

    def test_what_was_before_or_of_another_metric_is_told(self):
        """``since`` counts from its time on, of one metric or of all, in the order of time."""
        anomalies = Anomalies(None)
        for name in ("b", "a"):
            anomalies.observe([*quiet(500, name=name), spike(500, name=name)])
        at = NOW + 60.0 * 500

        assert [one.metric for one in anomalies.since(at)] == ["a", "b"]
        assert [one.metric for one in anomalies.since(at, "b")] == ["b"]
        assert anomalies.since(at + 1.0) == []
        assert anomalies.since(NOW, "unknown") == []
        assert anomalies.score("unknown") is None

    def test_reports_grow_without_end(self):
        """Only the latest hundred reports of a metric are remembered."""
        anomalies, reported, burst = Anomalies(None), [], 0
        anomalies.observe(quiet(200))
        while len(reported) <= REMEMBERED:
            first = 200 + 501 * burst
            for point in [*quiet(500, first=first, seed=burst), spike(first + 500)]:
                anomalies.observe([point])
                if anomalies.score(point.name) >= THRESHOLD:
                    reported.append(point.timestamp)
            burst += 1

        assert [one.timestamp for one in anomalies.since(NOW + 60.0 * 200)] == reported[-REMEMBERED:]

    def test_metrics_grow_without_end(self):
        """Metrics beyond the limit are not watched; those that are go on."""
        anomalies = Anomalies(None, most=2)
        for name in ("a", "b", "c"):
            anomalies.observe(quiet(3, name=name))

        assert [anomalies.score(name) is None for name in ("a", "b", "c")] == [False, False, True]
        anomalies.forget("a")
        anomalies.observe(quiet(3, name="c"))
        assert anomalies.score("c") is not None

    def test_a_forgotten_metric_is_remembered(self):
        """After ``forget`` a metric begins anew, without scores and reports."""
        anomalies = Anomalies(None)
        anomalies.observe([*quiet(500), spike(500)])
        anomalies.forget("plant.latency")
        anomalies.forget("unknown")
        assert (anomalies.score("plant.latency"), anomalies.since(0.0)) == (None, [])
        anomalies.observe(quiet(1))

        assert anomalies.score("plant.latency") == Detector().update(quiet(1)[0].timestamp, quiet(1)[0].value)

    def test_threads_lose_points(self):
        """Many threads at once: each metric has seen all its points."""
        anomalies = Anomalies(None)
        names = [f"m{number}" for number in range(8)]

        def feed(name):
            for point in quiet(200, name=name):
                anomalies.observe([point])
                anomalies.since(0.0)

        threads = [threading.Thread(target=feed, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        alone = Anomalies(None)
        alone.observe(quiet(200))

        assert {anomalies.score(name) for name in names} == {alone.score("plant.latency")}


class TestDisk:
    def test_a_restart_learns_anew(self, tmp_path):
        """After a restart the same points have the same scores, and what was reported is known."""
        first, straight = Anomalies(tmp_path), Anomalies(None)
        for each in (first, straight):
            each.observe([*quiet(500), spike(500)])
        first.save()
        again = Anomalies(tmp_path)
        again.load()

        assert (first.problem, again.problem) == ("", "")
        assert again.since(0.0) == straight.since(0.0) != []
        assert again.score("plant.latency") is None
        for point in [*quiet(50, first=501, seed=4), spike(551), *quiet(50, first=552, seed=5)]:
            for each in (again, straight):
                each.observe([point])
            assert again.score("plant.latency") == straight.score("plant.latency")

    def test_the_file_of_the_last_version_is_lost(self, tmp_path):
        """What was kept before, MessagePack and nothing else, is taken up as it is."""
        anomalies = Anomalies(tmp_path)
        anomalies.observe([*quiet(500), spike(500)])
        states = {"plant.latency": Detector()}
        for point in [*quiet(500), spike(500)]:
            states[point.name].update(point.timestamp, point.value)
        saved = {"detectors": {name: each.state() for name, each in states.items()}, "reports": {}}
        (tmp_path / FILE).write_bytes(msgspec.msgpack.encode(saved))
        again = Anomalies(tmp_path)
        again.load()
        for each in (anomalies, again):
            each.observe(quiet(1, first=501))

        assert again.problem == ""
        assert again.score("plant.latency") == anomalies.score("plant.latency")

    def test_nothing_saved_is_a_problem(self, tmp_path):
        """The first start of all has nothing to load, and says nothing."""
        anomalies = Anomalies(tmp_path)
        anomalies.load()

        assert anomalies.problem == ""
        assert list(tmp_path.iterdir()) == []

    def test_without_a_folder_a_file_is_written(self, tmp_path, monkeypatch):
        """In memory nothing is saved or loaded."""
        monkeypatch.chdir(tmp_path)
        anomalies = Anomalies(None)
        anomalies.observe(quiet(3))
        anomalies.save()
        anomalies.load()

        assert list(tmp_path.iterdir()) == []
        assert anomalies.score("plant.latency") is not None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not a state" * 1000,
            msgspec.msgpack.encode({"detectors": {"a": {"points": "many"}}, "reports": {}}),
            msgspec.msgpack.encode({"detectors": [], "reports": {}}),
            msgspec.msgpack.encode({"reports": {}}),
            msgspec.json.encode({"detectors": {}, "reports": {}}),
            b"\x91" * 100_000,
        ],
        ids=["empty", "junk", "no number", "a list", "half", "json", "deep"],
    )
    def test_a_damaged_file_is_an_error_or_deleted(self, tmp_path, body):
        """It is put aside and said so, with its path and why; detectors learn anew, and are saved again."""
        (tmp_path / FILE).write_bytes(body)
        anomalies = Anomalies(tmp_path)
        anomalies.load()

        assert str(tmp_path / FILE) in anomalies.problem
        assert "learn anew" in anomalies.problem
        (aside,) = tmp_path.iterdir()
        assert aside.read_bytes() == body
        anomalies.observe(quiet(3))
        anomalies.save()
        assert anomalies.problem == ""
        again = Anomalies(tmp_path)
        again.load()
        assert again.problem == ""

    def test_any_damage_of_a_byte_breaks_it(self, tmp_path):
        """A file of which any byte is damaged loads or is put aside; it never raises, nor does what it loads."""
        anomalies = Anomalies(tmp_path)
        anomalies.observe([*quiet(200), spike(200)])
        anomalies.save()
        body = (tmp_path / FILE).read_bytes()
        chance = random.Random(1)
        for place in range(0, len(body), 3):
            (tmp_path / FILE).write_bytes(
                bytes([*body[:place], body[place] ^ (1 << chance.randrange(8)), *body[place + 1 :]])
            )
            again = Anomalies(tmp_path)
            again.load()
            again.observe([*quiet(3, first=201), spike(210)])
            assert 0 <= again.score("plant.latency") <= 1
        again.save()

    def test_a_file_cut_short_is_half_read(self, tmp_path):
        """Of a file that was cut nothing is taken up."""
        anomalies = Anomalies(tmp_path)
        anomalies.observe(quiet(200))
        anomalies.save()
        body = (tmp_path / FILE).read_bytes()
        (tmp_path / FILE).write_bytes(body[: len(body) // 2])
        again = Anomalies(tmp_path)
        again.load()

        assert again.problem
        again.observe(quiet(1))
        assert again.score("plant.latency") == Detector().update(quiet(1)[0].timestamp, quiet(1)[0].value)

    def test_a_folder_that_is_gone_ends_the_host(self, tmp_path):
        """A file that cannot be written is a problem that says where, until it can be again; what is known stays."""
        folder = tmp_path / "state"
        anomalies = Anomalies(folder)
        anomalies.observe([*quiet(500), spike(500)])
        anomalies.save()
        assert str(folder / FILE) in anomalies.problem
        assert "cannot write" in anomalies.problem
        folder.mkdir()
        anomalies.save()

        assert anomalies.problem == ""
        assert [each.name for each in folder.iterdir()] == [FILE]
        assert all(isinstance(one, Anomaly) for one in anomalies.since(0.0))

    def test_a_failed_save_takes_the_last_good_one(self, tmp_path):
        """What was saved before is whole until what comes in its place is."""
        anomalies = Anomalies(tmp_path)
        anomalies.observe(quiet(10))
        anomalies.save()
        before = (tmp_path / FILE).read_bytes()
        (tmp_path / f"{FILE}.new").mkdir()
        anomalies.observe(quiet(10, first=10))
        anomalies.save()

        assert anomalies.problem
        assert (tmp_path / FILE).read_bytes() == before
