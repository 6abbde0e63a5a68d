"""What happened, kept for nights to learn from."""

from __future__ import annotations

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.night.evidence import MOST_PATHS, Changes, Evidence, Log, StepOutcome, Vote


def change(number):
    return Changes(at=float(number), root="/r", paths=(f"f{number}",))


class TestLog:
    def test_a_record_is_gone_after_a_restart(self, tmp_path):
        """What was added is there again, in order."""
        log = Log(tmp_path / "log", Changes)
        for number in range(3):
            log.add(change(number))
        log.close()

        assert [record.at for record in Log(tmp_path / "log", Changes).all()] == [0.0, 1.0, 2.0]

    def test_the_file_grows_for_ever(self, tmp_path):
        """The oldest go; the file is never more than twice as long."""
        log = Log(tmp_path / "log", Changes, kept=10)
        longest = 0
        for number in range(95):
            log.add(change(number))
            longest = max(longest, len((tmp_path / "log").read_bytes().splitlines()))
        log.close()

        assert longest == 20
        assert [record.at for record in log.all()] == [float(number) for number in range(85, 95)]
        assert Log(tmp_path / "log", Changes, kept=10).all() == log.all()

    def test_one_torn_line_costs_all(self, tmp_path):
        """A line that cannot be read is left out, and counted."""
        log = Log(tmp_path / "log", Changes)
        log.add(change(1))
        log.close()
        with (tmp_path / "log").open("ab") as file:
            file.write(b'{"at": 2, "ro\n\xff\xfe\n[]\n')

        found = Log(tmp_path / "log", Changes)
        assert len(found) == 1 and found.unreadable == 3 and found.last == change(1)

    def test_what_the_disk_does_not_take_is_learnt_from(self, tmp_path):
        """It is an error, and not kept."""
        log = Log(tmp_path / "none" / "log", Changes)

        with pytest.raises(DataFileError):
            log.add(change(1))
        assert len(log) == 0


class TestEvidence:
    def test_what_is_told_is_not_what_is_kept(self, tmp_path):
        """Labels, changes and plans are kept with the time; none of nothing is."""
        evidence = Evidence(tmp_path, lambda: 5.0)
        evidence.add_label("/r", "a.py", FileKind.AGENT, [Vote("x", FileKind.AGENT, 1.0)], by="person")
        evidence.add_changes("/r", (f"f{number}" for number in range(MOST_PATHS + 5)))
        evidence.add_changes("/r", ())
        evidence.add_plan([StepOutcome(item="a.py", after=(), risk=0.1, features={}, end="done")])
        evidence.add_plan([])
        evidence.close()

        again = Evidence(tmp_path, lambda: 5.0)
        assert (len(again.labels), len(again.changes), len(again.plans)) == (1, 1, 1)
        assert len(again.changes.all()[0].paths) == MOST_PATHS
        assert again.latest == 5.0 and Evidence(None, lambda: 0.0).latest == 0.0
