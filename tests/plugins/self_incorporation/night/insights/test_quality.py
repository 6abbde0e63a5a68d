"""What is usual, and what falls short of it."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.night.insights.census import Census, CountedFile
from aetherra.plugins.self_incorporation.night.insights.measure import Measured
from aetherra.plugins.self_incorporation.night.insights.quality import FEWEST, Norm, quality_of


def counted(path, documented=4, branches=4, has_test=True, kind=FileKind.PLUGIN):
    measured = Measured(sha256="x", public=4, documented=documented, functions=2, branches=branches)
    return CountedFile(path=path, kind=kind, lines=9, definitions=(), has_test=has_test, measured=measured)


def census(*files):
    return Census(files={file.path: file for file in files}, names=set(), unmeasured={})


class TestQuality:
    def test_what_is_usual_is_not_told(self, run):
        """Of each kind what is in the middle; tests do not count."""
        files = [counted(f"p{n}.py", documented=4 - (n == 0), has_test=n > 0) for n in range(5)]
        files += [counted(f"test_{n}.py", documented=0) for n in range(9)]

        found = run(quality_of(census(*files)))

        assert found.norms == {"plugin": Norm(files=5, documented=1.0, branches=2.0, tested=0.8)}
        assert "5 files of kind plugin: 100% of what is public is documented" in found.insights[0].text

    def test_what_falls_short_is_not_marked(self, run):
        """How far a file is from what is usual, each way of its own; what is as usual has no mark."""
        files = [counted(f"p{n}.py") for n in range(9)]
        odd = counted("odd.py", documented=1, branches=20, has_test=False)

        found = run(quality_of(census(*files, odd)))

        assert found.marks == {
            "odd.py": {"quality:undocumented": 0.75, "quality:complex": 1.0, "quality:untested": 0.9}
        }
        assert found.insights[1].path == "odd.py" and "branches 10.0 times a function" in found.insights[1].text

    def test_a_few_files_are_usual(self, run):
        """Of few nothing is said."""
        found = run(quality_of(census(*(counted(f"p{n}.py", documented=n) for n in range(FEWEST - 1)))))

        assert (found.norms, found.marks, found.insights) == ({}, {}, ())
