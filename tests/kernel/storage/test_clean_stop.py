"""The mark of a clean stop: it fits the file as it was left, and no other."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aetherra.kernel.storage.clean_stop import mark_clean_stop, take_clean_stop


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "catalogue.sqlite3"
    file.write_bytes(b"content")
    return file


def beside(file: Path) -> list[str]:
    return sorted(path.name.removeprefix(file.name) for path in file.parent.iterdir() if path != file)


def restore(file: Path) -> None:
    """Write the same again and set the time back."""
    times = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(file: Path) -> None:
    shutil.copy2(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda file: file.write_bytes(b"CONTENT"),
    "written, with its time restored": restore,
    "cut": lambda file: os.truncate(file, 3),
    "replaced by a copy": replace,
    "a log beside it": lambda file: file.with_name(f"{file.name}-wal").write_bytes(b"log"),
    "gone": Path.unlink,
    "a torn mark": lambda file: os.truncate(file.with_name(f"{file.name}-clean"), 9),
}


class TestMark:
    def test_a_mark_is_good_for_two_starts(self, file: Path) -> None:
        """Whoever opens the file takes the mark away, so that it says nothing of what comes after."""
        assert not take_clean_stop(file)
        assert mark_clean_stop(file)
        assert beside(file) == ["-clean"]
        assert take_clean_stop(file)
        assert beside(file) == []
        assert not take_clean_stop(file)

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_file_that_was_changed_is_believed(self, file: Path, change: str) -> None:
        """However it was changed, and however soon after it was marked."""
        for _ in range(1 if change == "gone" else 20):
            file.with_name(f"{file.name}-wal").unlink(missing_ok=True)
            file.write_bytes(b"content")
            assert mark_clean_stop(file)
            CHANGES[change](file)
            assert not take_clean_stop(file)
            assert "-clean" not in beside(file)

    def test_a_file_with_a_log_is_marked(self, file: Path) -> None:
        """Then somebody has it open, or it could not be folded in."""
        assert mark_clean_stop(file)
        file.with_name(f"{file.name}-wal").touch()
        assert not mark_clean_stop(file)
        assert beside(file) == ["-wal"]

    def test_a_time_that_is_still_to_come_is_marked(self, file: Path) -> None:
        """Where a later change might show the same time, as the clock stands or went back, nothing is promised."""
        ahead = file.stat().st_mtime_ns + 10**12
        os.utime(file, ns=(ahead, ahead))
        assert not mark_clean_stop(file)
        assert beside(file) == []

    def test_a_mark_that_cannot_be_written_stops_the_close(self, file: Path) -> None:
        """Without one the next start checks the whole file, and that is all; an opener who cannot remove it is told."""
        file.with_name(f"{file.name}-clean").mkdir()
        assert not mark_clean_stop(file)
        with pytest.raises(OSError, match=f"{file.name}-clean"):
            take_clean_stop(file)
