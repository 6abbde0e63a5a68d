"""All that the night cycle has on disk."""

from __future__ import annotations

import time

from aetherra.plugins.self_incorporation.night.phases import Phase
from aetherra.plugins.self_incorporation.night.progress import Progress
from aetherra.plugins.self_incorporation.night.store import NightStore


class TestStore:
    def test_what_was_saved_is_gone_after_a_restart(self, tmp_path):
        """Marks and an unfinished night are there again; a finished one is not."""
        progress = Progress(number=3, began_at=1.0, revision="r", phase=Phase.VALIDATION, finished=["census"])
        with NightStore(tmp_path / "night", time.time) as store:
            store.save_progress(progress)
            store.save_marks({"a.py": {"quality:complex": 0.5}})

        with NightStore(tmp_path / "night", time.time) as store:
            assert store.unfinished == progress and store.marks == {"a.py": {"quality:complex": 0.5}}
            store.save_progress(None)

        with NightStore(tmp_path / "night", time.time) as store:
            assert store.unfinished is None

    def test_a_damaged_file_keeps_the_host_from_starting(self, tmp_path):
        """Each is put aside, and it is said."""
        with NightStore(tmp_path, time.time) as store:
            store.save_progress(Progress(number=1, began_at=1.0, revision="r"))
            store.save_marks({})
        for name in ("unfinished.json", "marks.json", "learned.json"):
            (tmp_path / name).write_bytes(b'{"')
        said = []

        with NightStore(tmp_path, time.time, said.append) as store:
            assert store.unfinished is None and store.marks == {}
        assert len(said) == 3

    def test_nothing_on_disk_is_nothing_at_all(self):
        """Without a folder all is kept in memory."""
        with NightStore(None, time.time) as store:
            store.save_marks({"a": {"b": 1.0}})
            store.save_progress(Progress(number=1, began_at=1.0, revision="r"))

            assert store.marks and store.unfinished
