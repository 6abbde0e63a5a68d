"""Looking at every file, once."""

from __future__ import annotations

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.night.insights.census_taker import CensusTaker, MeasureCache

FILES = {
    "a.py": '"""Doc."""\nfrom b import used\n',
    "b.py": "def used(): ...\n\n\ndef started(): ...\n",
    "test_b.py": "",
    "pyproject.toml": '[project.scripts]\nx = "b:started"\n',
    "broken.py": "def (",
}


class TestCensus:
    def test_a_file_is_missing(self, run, folder):
        """Each file of the index is there; code is measured, and what cannot be says why."""
        folder.write({**FILES, "large.py": "a = 1\n" * 50})

        census = run(CensusTaker(folder, MeasureCache(None), 100, 200).census())

        assert sorted(census.files) == ["a.py", "b.py", "large.py", "pyproject.toml", "test_b.py"]
        assert {"used", "started"} <= census.names
        assert census.files["b.py"].has_test and not census.files["a.py"].has_test
        assert [file.path for file in census.sources()] == ["a.py", "b.py", "test_b.py"]
        assert census.unmeasured == {"large.py": "it has 300 bytes, more than 200"}

    def test_too_many_files_are_measured(self, run, folder):
        """Only so many, and of the others it is said."""
        folder.write({f"f{number}.py": "" for number in range(9)})

        census = run(CensusTaker(folder, MeasureCache(None), 5, 200).census())

        assert len(list(census.sources())) == 5 and len(census.files) == 9
        assert set(census.unmeasured.values()) == {"more than 5 files changed after it"}

    def test_a_file_is_parsed_again(self, run, folder, tmp_path, monkeypatch):
        """What was measured is not read again, also after a restart; what changed is, and what is gone is let go."""
        folder.write({f"f{number}.py": f"a{number} = 1\n" for number in range(5)})
        read = []
        really = folder.read
        monkeypatch.setattr(folder, "read", lambda path, limit: read.append(path) or really(path, limit=limit))
        run(CensusTaker(folder, MeasureCache(tmp_path / "m"), 100, 200).census())
        assert len(read) == 5

        folder.write({"f3.py": "b3 = a3\n"})
        cache = MeasureCache(tmp_path / "m")
        census = run(CensusTaker(folder, cache, 100, 200).census())
        run(CensusTaker(folder, cache, 100, 200).census())

        assert read[5:] == ["f3.py"] and {"b3", "a0"} <= census.names
        assert len((tmp_path / "m").read_bytes().splitlines()) == 5

    def test_other_bytes_are_measured_than_the_index_knows(self, run, folder, tmp_path):
        """What has changed since the scan is not measured, nor kept for what it was; once it is that again, it is."""
        folder.write({"a.py": "one = 1\n"})
        (folder.path / "a.py").write_text("two = 2\n")
        census = run(CensusTaker(folder, MeasureCache(tmp_path / "m"), 100, 200).census())
        assert census.unmeasured == {"a.py": "it is not there as it was"}
        assert "two" not in census.names

        (folder.path / "a.py").write_text("one = 1\n")
        census = run(CensusTaker(folder, MeasureCache(tmp_path / "m"), 100, 200).census())
        assert "one" in census.names and not census.unmeasured

    def test_a_root_that_does_not_end(self, run, folder):
        """Records are asked for page by page, and each is there once."""
        folder.write({f"d{number % 3}/f{number}.py": "" for number in range(120)})

        assert len(run(CensusTaker(folder, MeasureCache(None), 999, 200).census()).files) == 120
        assert folder.asked == 4


class TestCache:
    def test_a_torn_line_costs_all(self, run, folder, tmp_path):
        """It is left out, and measured anew."""
        folder.write(FILES)
        run(CensusTaker(folder, MeasureCache(tmp_path / "m"), 100, 999).census())
        text = (tmp_path / "m").read_bytes()
        (tmp_path / "m").write_bytes(text[:-20] + b"\n\xff")

        assert len(run(CensusTaker(folder, MeasureCache(tmp_path / "m"), 100, 999).census()).files) == 4

    def test_a_full_disk_is_kept_quiet(self, run, folder, tmp_path):
        """It ends the census with an error."""
        folder.write(FILES)

        with pytest.raises(DataFileError):
            run(CensusTaker(folder, MeasureCache(tmp_path / "none" / "m"), 100, 999).census())
