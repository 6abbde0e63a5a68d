"""The detector on real series with labelled anomalies, and the rules of the Numenta Anomaly Benchmark that judge it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DATA = Path(__file__).parents[1] / "data" / "nab"
sys.path.insert(0, str(BENCHMARKS))

from improving.contenders import CONTENDERS, OURS, reports  # noqa: E402  # found by the line above
from improving.nab import PROFILES, Profile, Series, load, score, tally, worth  # noqa: E402

STANDARD = PROFILES["standard"]


def series(windows, rows=1000):
    """A file of so many rows, a minute apart; its first 150 are probation."""
    return Series("made/up.csv", tuple(60.0 * i for i in range(rows)), (0.0,) * rows, tuple(windows))


def standard(windows, reported):
    return score([tally(series(windows), reported)], STANDARD)


class TestRules:
    def test_silence_is_not_0_or_perfection_not_100(self):
        """Whoever never reports gets 0, whoever reports each window's first row alone gets 100, in all profiles."""
        windows = [(200, 299), (600, 699)]
        for profile in PROFILES.values():
            assert score([tally(series(windows), [])], profile) == 0
            assert score([tally(series(windows), [200, 600])], profile) == pytest.approx(100)

    def test_a_late_report_is_worth_as_much_as_an_early_one(self):
        """The sigmoid falls from the left edge to the right: the paper's figures, and the earliest report counts."""
        assert worth(-1.0) == pytest.approx(0.98661, abs=1e-5)
        assert worth(-0.5) == pytest.approx(0.84828, abs=1e-5)
        assert worth(0.0) == 0
        assert worth(1.0) == pytest.approx(-0.98661, abs=1e-5)
        assert worth(3.0) == -1.0
        middle = tally(series([(200, 299)]), [299, 250, 251])
        assert middle.found == 1
        assert middle.early == pytest.approx(worth(-0.5) / worth(-1.0))

    def test_a_false_report_costs_the_same_everywhere(self):
        """Before any window it costs 1, shortly behind one less, each by itself; rows 100 and 149 are probation."""
        it = tally(series([(200, 300)]), [100, 149, 150, 301, 700])
        assert (it.found, it.false) == (0, 3)
        assert it.cost == pytest.approx(2 - worth(0.01))
        assert score([it], STANDARD) == pytest.approx(100 * -0.11 * it.cost / 2)

    def test_profiles_weigh_the_same(self):
        """Two false reports far from any window and one missed of two, worked out by hand for each profile."""
        it = tally(series([(200, 299), (600, 699)]), [160, 170, 200])
        figures = {name: score([it], profile) for name, profile in PROFILES.items()}
        assert figures == pytest.approx(
            {
                "standard": 100 * (2 - 0.22) / 4,
                "few false reports": 100 * (2 - 0.44) / 4,
                "few missed windows": 100 * (3 - 0.22) / 6,
            }
        )

    def test_a_window_of_the_probation_counts(self):
        """What lies in it wholly is no window; of a longer file no more than 750 rows are probation."""
        assert tally(series([(20, 90), (600, 699)]), [30]).windows == 1
        assert series([], rows=20_000).probation == 750
        assert series([], rows=1243).probation == 186

    def test_a_window_of_one_row_divides_by_0(self):
        """A report right behind it is far behind."""
        assert tally(series([(200, 200)]), [201]).cost == 1
        assert standard([(200, 200)], [200]) == pytest.approx(100)

    def test_a_series_without_windows_only_costs(self):
        """False reports in it lower the score of all."""
        quiet, loud = tally(series([]), [500]), tally(series([(200, 299)]), [200])
        assert score([quiet, loud], STANDARD) == pytest.approx(100 * (2 - 0.11) / 2)
        assert score([quiet], Profile(1, 1, 1)) == 0


class TestRealSeries:
    def test_the_detector_misses_what_people_labelled(self):
        """Of four series that come with these tests it finds most windows: at least 50 in the standard profile."""
        corpus = load(DATA)
        ours = [tally(it, reports(CONTENDERS[OURS], it)) for it in corpus]
        assert sum(it.windows for it in ours) == 8
        assert score(ours, STANDARD) >= 50
        assert sum(it.false for it in ours) <= 10

    def test_simple_ones_do_as_well(self):
        """It beats a z-score with the same hold, and a blind metronome by far."""
        corpus = load(DATA)
        ours, simple, blind = (
            score([tally(it, reports(CONTENDERS[name], it)) for it in corpus], STANDARD)
            for name in (OURS, "EWMA z-score, with hold", "blind metronome")
        )
        assert ours > simple + 10 > blind + 20

    def test_the_benchmark_fails_without_its_data(self, tmp_path):
        """It says that nothing was measured, and what to do."""
        done = subprocess.run(
            [sys.executable, BENCHMARKS / "nab_detector.py", tmp_path], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("nothing was measured:")
        assert str(tmp_path) in done.stdout and "NAB_DATA" in done.stdout
